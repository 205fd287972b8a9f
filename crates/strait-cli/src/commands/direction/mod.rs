//! `strait direction`.

mod compare;
mod pca;

use clap::Subcommand;
use strait::direction::files::{self, Folder, Named};

use super::Context;
use crate::failure::Failure;

/// Commands on directions.
#[derive(Subcommand)]
pub enum Command {
    Compare(compare::Arguments),
    Pca(pca::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait direction compare runs/mine/solutions/general runs/mine/solutions/narrow
  strait direction pca runs/mine/solutions/general runs/mine/solutions/narrow";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Compare(arguments) => compare::run(arguments, context),
        Command::Pca(arguments) => pca::run(arguments, context),
    }
}

/// Reads edits and checkpoints, with the notes on them, each of which is said once.
fn read(names: &[String], both: Folder, context: &Context) -> Result<Vec<Named>, Failure> {
    context.threads()?;
    let found = files::read(names, both, &*context.progress)?;
    let mut said: Vec<&String> = Vec::new();
    for named in &found {
        for note in &named.opened.notes {
            if !said.contains(&note) {
                context.progress.note(&format!("`{}`: {note}", named.name));
                said.push(note);
            }
        }
    }
    Ok(found)
}

/// The names of edits, the places of what named them, and their steps.
fn columns(found: &[Named]) -> (Vec<String>, Vec<usize>, Vec<Option<usize>>) {
    let names = found.iter().map(|named| named.name.clone()).collect();
    (names, found.iter().map(|named| named.file).collect(), found.iter().map(|named| named.step).collect())
}
