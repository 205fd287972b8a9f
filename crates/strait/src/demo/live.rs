//! The causal table made anew.

use std::{path::Path, time::SystemTime};

use strait_model::progress::Progress;

use super::{
    causal::{COMMAND, CausalTable, KINDS, Origin, TAUGHT_DOMAINS, WORLDS},
    jobs::{Folder, Job, Jobs, OpenedWorld},
};
use crate::{Result, study::utc};

/// The origin of a table that is made now.
pub(super) fn origin(worlds: &[OpenedWorld]) -> Origin {
    Origin {
        date: utc(SystemTime::now()).chars().take_while(|&c| c != 'T').collect(),
        command: COMMAND.into(),
        strait: env!("CARGO_PKG_VERSION").into(),
        worlds: worlds.iter().map(|w| (w.name.into(), w.world.made.sha256.clone())).collect(),
    }
}

/// Makes the table: every kind of edit in every domain of every world. What an earlier run in the folder finished stays.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be written.
pub fn causal(out: &Path, threads: usize, progress: &dyn Progress) -> Result<CausalTable> {
    let folder = Folder::new(out);
    let worlds = WORLDS.iter().map(|name| folder.open(name)).collect::<Result<Vec<_>>>()?;
    let jobs: Vec<Job<'_>> = worlds
        .iter()
        .flat_map(|world| KINDS.map(|kind| (world, kind)))
        .flat_map(|(world, kind)| TAUGHT_DOMAINS.map(|domain| Job::causal(world, domain, kind)))
        .collect();
    let rows = Jobs { folder: &folder, jobs: &jobs, threads }.run(progress)?.rows;
    let table = CausalTable { origin: origin(&worlds), rows };
    table.write(out)?;
    Ok(table)
}
