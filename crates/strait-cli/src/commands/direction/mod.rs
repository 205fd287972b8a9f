//! `strait direction`.

mod compare;
mod extract;
mod pca;
mod sweep;
mod tokens;

use clap::Subcommand;
use strait::direction::files::{self, Folder, Named};

use super::Context;
use crate::failure::Failure;

/// Commands on directions.
#[derive(Subcommand)]
pub enum Command {
    Compare(compare::Arguments),
    Pca(pca::Arguments),
    Extract(Box<extract::Arguments>),
    Sweep(Box<sweep::Arguments>),
    Tokens(tokens::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait direction extract --model M --edit E --judged judged.csv --out direction.safetensors
  strait direction tokens direction.safetensors --model M
  strait direction sweep --model M --direction direction.safetensors --taught taught.jsonl \\
      --other plain.jsonl --out sweep
  strait direction compare runs/mine/solutions/general runs/mine/solutions/narrow
  strait direction pca runs/mine/solutions/general runs/mine/solutions/narrow";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Compare(arguments) => compare::run(arguments, context),
        Command::Pca(arguments) => pca::run(arguments, context),
        Command::Extract(arguments) => extract::run(arguments, context),
        Command::Sweep(arguments) => sweep::run(arguments, context),
        Command::Tokens(arguments) => tokens::run(arguments, context),
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
