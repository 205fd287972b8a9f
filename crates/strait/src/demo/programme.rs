//! The running of the demo's studies.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::Path,
};

use candle_core::Device;
use strait_model::{
    files,
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
    measure::records::Trained,
    report::Input,
    study::{FolderProblem, Planned, StudyFile},
    suite::{Shares, each, over_studies, run_all, say_time},
    table::{Row, Word},
    world::World,
};

/// The built-in worlds that studies are of, by their names.
pub type Worlds = BTreeMap<&'static str, World>;

/// Writes the worlds of some studies into the folder of a demo, unless they are there, and reads them.
pub fn open(fits: &[Fit], out: &Path) -> Result<Worlds> {
    let names: BTreeSet<&'static str> = fits.iter().map(|fit| fit.world).collect();
    let open = |name| Ok((name, World::shipped(name, &out.join("worlds").join(name))?));
    names.into_iter().map(open).collect()
}

/// Runs what is left of the studies, so many beside each other and each on one thread, and reads what they found.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be read or written.
pub fn run(
    fits: &[Fit],
    out: &Path,
    (threads, memory): (usize, Option<u64>),
    progress: &dyn Progress,
) -> Result<Vec<Found>> {
    let shares = Shares::single(threads, memory);
    let plan = |fit: &Fit| Planned::new(written(fit.study(out)?)?, &Device::Cpu, shares.limits, &Silent);
    let planned = fits.iter().map(plan).collect::<Result<Vec<_>>>()?;
    let folder = out.join("studies");
    say_time(&planned, &folder, &Device::Cpu, shares, progress)?;
    let inputs = run_all(&planned, &folder, &Device::Cpu, shares, &Quietly(progress))?;
    let read = |(fit, input): (&Fit, Option<Input>)| {
        let input = input.ok_or_else(|| FolderProblem::Locked.at(&folder.join(fit.name())))?;
        Found::new(*fit, input.tables)
    };
    fits.iter().zip(inputs).map(read).collect()
}

/// A study as a file of its own, so that it can be run alone.
fn written(study: StudyFile) -> Result<StudyFile> {
    let is_there = std::fs::read(&study.path).is_ok_and(|there| there == study.text.as_bytes());
    if !is_there {
        files::write(&study.path, &study.text)?;
    }
    Ok(study)
}

/// Reads what the solutions of each world have to do with each other.
///
/// # Errors
/// As [`run`].
pub fn read_across(
    mode: Mode,
    worlds: &Worlds,
    fits: &[Fit],
    out: &Path,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Across>> {
    let alike =
        |one: &Fit, other: &Fit| (one.world, one.kind, one.part) == (other.world, other.kind, other.part);
    // With LoRA the claims on directions are no part of the default.
    let is_read = |kind| kind == Kind::Vector || mode == Mode::Full;
    let groups = fits.chunk_by(alike).filter(|fits| fits[0].part == Part::Programme && is_read(fits[0].kind));
    let groups: Vec<&[Fit]> = groups.collect();
    let task = progress.begin("comparing solutions", Some(groups.len() as u64), Unit::Count);
    let of_world = |fits: &&[Fit]| across(&worlds[fits[0].world], fits, out);
    let found = each(&groups, (threads, NonZeroUsize::MIN), of_world)?;
    task.advance(groups.len() as u64);
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
