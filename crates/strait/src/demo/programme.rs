//! The running of the demo's studies.

use std::{io::Write, num::NonZeroUsize, path::Path};

use candle_core::Device;
use strait_model::{
    files::write_atomically,
    progress::{Progress, Silent, Task, Unit},
};

use super::{
    across::{Across, across},
    fits::{Fit, Kind, Part},
    found::Found,
    results::Mode,
};
use crate::{
    Result, Table,
    lab::duration,
    measure::records::Trained,
    report::Input,
    study::{FolderProblem, Planned, State, StudyFile, seconds_left, status_of},
    suite::{Shares, each, over_studies, run_all},
    table::{Row, Word},
    world::World,
};

/// A built-in world in the demo's folder.
pub struct OpenedWorld {
    /// Its name.
    pub name: &'static str,
    /// The world.
    pub world: World,
}

/// Writes built-in worlds into the folder of a demo, unless they are there, and reads them.
pub fn open(names: &[&'static str], out: &Path) -> Result<Vec<OpenedWorld>> {
    let open = |&name: &&'static str| {
        Ok(OpenedWorld { name, world: World::shipped(name, &out.join("worlds").join(name))? })
    };
    names.iter().map(open).collect()
}

/// Runs what is left of the studies, so many beside each other and each on one thread, and reads what they found.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be read or written.
pub fn run(
    fits: &[Fit],
    worlds: &[OpenedWorld],
    out: &Path,
    (threads, memory): (usize, Option<u64>),
    progress: &dyn Progress,
) -> Result<Vec<Found>> {
    let shares = Shares::single(threads, memory);
    let plan = |fit: &Fit| Planned::new(written(fit.study(out)?)?, &Device::Cpu, shares.limits, &Silent);
    let planned = fits.iter().map(plan).collect::<Result<Vec<_>>>()?;
    let folder = out.join("studies");
    say_time(fits, &planned, &folder, shares, progress)?;
    let inputs = run_all(&planned, &folder, &Device::Cpu, shares, &Quietly(progress))?;
    let read = |(fit, input): (&Fit, Option<Input>)| {
        let input = input.ok_or_else(|| FolderProblem::Locked.at(&folder.join(fit.name())))?;
        let world =
            worlds.iter().find(|world| world.name == fit.world).expect("the worlds of all fits are open");
        Found::new(*fit, &world.world.made, input.tables)
    };
    fits.iter().zip(inputs).map(read).collect()
}

/// Says how long the rest takes. Studies that differ in their world and domain alone take equally long, so that one of them
/// is estimated for all.
fn say_time(
    fits: &[Fit],
    planned: &[Planned],
    folder: &Path,
    shares: Shares,
    progress: &dyn Progress,
) -> Result<()> {
    let mut kinds: Vec<(&Fit, Vec<&Planned>)> = Vec::new();
    for (fit, planned) in fits.iter().zip(planned) {
        let steps = status_of(&planned.plan, &folder.join(fit.name()), &planned.study.name)?;
        if steps.iter().all(|step| step.state == State::Done) {
            continue;
        }
        match kinds.iter_mut().find(|(known, _)| (known.kind, known.part) == (fit.kind, fit.part)) {
            Some((_, alike)) => alike.push(planned),
            None => kinds.push((fit, vec![planned])),
        }
    }
    let seconds = each(&kinds, (shares.beside, shares.threads), |(fit, alike)| {
        let one = seconds_left(alike[0], &folder.join(fit.name()), &Device::Cpu, shares.limits)?;
        Ok((one, one * alike.len() as f64))
    })?;
    let longest = seconds.iter().map(|(one, _)| *one).fold(0.0, f64::max);
    let all: f64 = seconds.iter().map(|(_, all)| all).sum();
    if longest > 0.0 {
        let studies: usize = kinds.iter().map(|(_, alike)| alike.len()).sum();
        let time = duration(longest.max(all / shares.beside as f64));
        progress
            .note(&format!("{studies} studies are left, which take {time}; each that is finished is kept"));
    }
    Ok(())
}

/// A study as a file of its own, so that it can be run alone.
fn written(study: StudyFile) -> Result<StudyFile> {
    let is_there = std::fs::read(&study.path).is_ok_and(|there| there == study.text.as_bytes());
    if !is_there {
        write_atomically(&study.path, |file| file.write_all(study.text.as_bytes()))?;
    }
    Ok(study)
}

/// Reads what the solutions of each world have to do with each other.
///
/// # Errors
/// As [`run`].
pub fn read_across(
    mode: Mode,
    worlds: &[OpenedWorld],
    fits: &[Fit],
    out: &Path,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Across>> {
    let mut pairs: Vec<(&World, Vec<Fit>)> = Vec::new();
    // With LoRA the claims on directions are no part of the default.
    for kind in Kind::ALL.into_iter().filter(|&kind| kind == Kind::Vector || mode == Mode::Full) {
        for OpenedWorld { name, world } in worlds {
            let own = |fit: &&Fit| fit.world == *name && fit.kind == kind && fit.part == Part::Programme;
            pairs.push((world, fits.iter().filter(own).copied().collect()));
        }
    }
    pairs.retain(|(_, fits)| !fits.is_empty());
    let task = progress.begin("comparing solutions", Some(pairs.len() as u64), Unit::Count);
    let found = each(&pairs, (threads, NonZeroUsize::MIN), |(world, fits)| across(world, fits, out))?;
    task.advance(pairs.len() as u64);
    Ok(found.into_iter().flatten().collect())
}

/// The tables of all studies, one under another.
pub fn tables(found: &[Found], progress: &dyn Progress) -> Vec<Table> {
    let of = |Found { fit, .. }: &Found| {
        let values = [
            ("study", fit.name()),
            ("world", fit.world.into()),
            ("taught", fit.word().into()),
            ("trained", fit.kind.word().into()),
        ];
        values.map(|(name, value)| (name.to_string(), value))
    };
    let values: Vec<_> = found.iter().map(of).collect();
    let studies = values.iter().zip(found).map(|(values, found)| (&values[..], &found.tables[..]));
    let mut tables = over_studies(studies, progress);
    // The demo has a table of that name with means over fits.
    tables.retain(|table| table.name() != Trained::TABLE);
    tables
}

/// Progress without the notes of the studies, of which there are hundreds: each stands in its study's own folder.
struct Quietly<'a>(&'a dyn Progress);

impl Progress for Quietly<'_> {
    fn begin(&self, title: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        self.0.begin(title, total, unit)
    }

    fn note(&self, _: &str) {}

    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}
