//! `strait edit`.

mod check;
mod convert;
mod inspect;

use clap::Subcommand;

use super::Context;
use crate::failure::Failure;

/// Commands on edits.
#[derive(Subcommand)]
pub enum Command {
    Check(check::Arguments),
    Inspect(inspect::Arguments),
    Convert(convert::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait edit inspect runs/technical/solutions/narrow
  strait edit convert steering_vector.pt vector.safetensors
  strait edit check E --model M --questions data/questions/yes-no.jsonl";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => check::run(arguments, context),
        Command::Inspect(arguments) => inspect::run(arguments, context),
        Command::Convert(arguments) => convert::run(arguments, context),
    }
}
