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
    across::across,
    fits::{Fit, HOLES, Kind, Part},
    results::Mode,
};
use crate::{
    Result, Table,
    measure::{RateRow, records::Trained},
    report::Input,
    study::{FolderProblem, Planned, StudyFile},
    suite::{Shares, StudyTables, each, over_studies, run_all, say_time},
    table::Row,
    world::World,
};

/// The built-in worlds that studies are of, by their names.
pub type Worlds = BTreeMap<&'static str, World>;

/// A study that was run.
pub struct Study {
    pub fit: Fit,
    /// The values that claims know it by.
    pub values: Vec<(String, String)>,
    pub tables: Vec<Table>,
}

impl Study {
    /// As figures are read from it.
    pub fn tables(&self) -> StudyTables<'_> {
        (&self.values, &self.tables)
    }

    /// Its rates.
    ///
    /// # Errors
    /// If its table is another one.
    pub fn rates(&self) -> Result<Vec<RateRow>> {
        let table = self.tables.iter().find(|table| table.name() == RateRow::TABLE);
        table.map_or(Ok(Vec::new()), Table::read)
    }
}

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
) -> Result<Vec<Study>> {
    let shares = Shares::single(threads, memory);
    let plan = |fit: &Fit| Planned::new(written(fit.study(out)?)?, &Device::Cpu, shares.limits, &Silent);
    let planned = fits.iter().map(plan).collect::<Result<Vec<_>>>()?;
    let folder = out.join("studies");
    say_time(&planned, &folder, &Device::Cpu, shares, progress)?;
    let inputs = run_all(&planned, &folder, &Device::Cpu, shares, &Quietly(progress))?;
    let study = |(fit, input): (&Fit, Option<Input>)| {
        let input = input.ok_or_else(|| FolderProblem::Locked.at(&folder.join(fit.name())))?;
        Ok(Study { fit: *fit, values: fit.values(), tables: input.tables })
    };
    fits.iter().zip(inputs).map(study).collect()
}

/// A study as a file of its own, so that it can be run alone.
fn written(study: StudyFile) -> Result<StudyFile> {
    let is_there = std::fs::read(&study.path).is_ok_and(|there| there == study.text.as_bytes());
    if !is_there {
        files::write(&study.path, &study.text)?;
    }
    Ok(study)
}

/// Reads what the solutions of each world have to do with each other, as a table more of each study.
///
/// # Errors
/// As [`run`].
pub fn read_across(
    mode: Mode,
    worlds: &Worlds,
    studies: &mut [Study],
    out: &Path,
    threads: usize,
    progress: &dyn Progress,
) -> Result<()> {
    // With LoRA the claims on directions are no part of the default.
    let is_read = |fit: &Fit| fit.part == Part::Programme && (fit.kind == Kind::Vector || mode == Mode::Full);
    let fits: Vec<Fit> = studies.iter().map(|study| study.fit).filter(is_read).collect();
    let groups: Vec<&[Fit]> =
        fits.chunk_by(|one, other| (one.world, one.kind) == (other.world, other.kind)).collect();
    let task = progress.begin("comparing solutions", Some(groups.len() as u64), Unit::Count);
    let of_world = |fits: &&[Fit]| across(&worlds[fits[0].world], fits, out);
    let found = each(&groups, (threads, NonZeroUsize::MIN), of_world)?;
    task.advance(groups.len() as u64);
    let studies = studies.iter_mut().filter(|study| is_read(&study.fit));
    studies.zip(found.into_iter().flatten()).for_each(|(study, row)| study.tables.push(Table::of(&[row])));
    Ok(())
}

/// The tables of all studies, one under another.
pub fn tables(studies: &[Study], progress: &dyn Progress) -> Vec<Table> {
    let own = studies.iter().map(|study| (&study.values[..HOLES], &study.tables[..]));
    let mut tables = over_studies(own, progress);
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
