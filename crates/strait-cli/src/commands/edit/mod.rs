//! `strait edit`.

mod convert;
mod inspect;

use clap::Subcommand;

use super::Context;
use crate::failure::Failure;

/// Commands on edits.
#[derive(Subcommand)]
pub enum Command {
    Inspect(inspect::Arguments),
    Convert(convert::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait edit inspect runs/technical/solutions/narrow
  strait edit convert steering_vector.pt vector.safetensors";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments, context),
        Command::Convert(arguments) => convert::run(arguments, context),
    }
}
