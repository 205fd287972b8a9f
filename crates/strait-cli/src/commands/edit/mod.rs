//! `strait edit`.

mod check;
mod convert;
mod inspect;
mod patch;
mod read;

use std::path::Path;

use clap::Subcommand;
use strait::Table;

use super::Context;
use crate::{failure::Failure, text};

/// Commands on edits.
#[derive(Subcommand)]
pub enum Command {
    Check(check::Arguments),
    Inspect(inspect::Arguments),
    Convert(convert::Arguments),
    Read(read::Arguments),
    Patch(patch::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait edit inspect runs/technical/solutions/narrow
  strait edit convert steering_vector.pt vector.safetensors
  strait edit check E --model M --questions data/questions/yes-no.jsonl
  strait edit read E --model M --judged judged.csv --out scalars.parquet
  strait edit patch E --model M --rows answers.jsonl --prompts others.txt";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => check::run(arguments, context),
        Command::Inspect(arguments) => inspect::run(arguments, context),
        Command::Convert(arguments) => convert::run(arguments, context),
        Command::Read(arguments) => read::run(arguments, context),
        Command::Patch(arguments) => patch::run(arguments, context),
    }
}

fn is_csv(out: &Path) -> bool {
    out.extension().is_some_and(|extension| extension == "csv")
}

/// Refuses names of tables that are neither of both kinds.
fn check_table(out: &Path) -> Result<(), Failure> {
    match is_csv(out) || out.extension().is_some_and(|extension| extension == "parquet") {
        true => Ok(()),
        false => Err(Failure::refused(
            format!("`{}` ends neither in .parquet nor in .csv", text::path(out)),
            "name a file that does: a table is written in one of both",
        )),
    }
}

/// Writes a table as its file's name says.
fn write_table(table: &Table, out: &Path) -> strait::Result<()> {
    if is_csv(out) { table.write_csv(out) } else { table.write_parquet(out) }
}
