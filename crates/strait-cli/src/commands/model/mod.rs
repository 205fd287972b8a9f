//! `strait model`.

mod inspect;
mod pull;

use clap::Subcommand;

use super::Context;
use crate::failure::Failure;

/// Commands on models.
#[derive(Subcommand)]
pub enum Command {
    Pull(pull::Arguments),
    Inspect(inspect::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait model pull smollm2-135m-instruct
  strait model inspect path/to/model.gguf";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Pull(arguments) => pull::run(arguments, context),
        Command::Inspect(arguments) => inspect::run(arguments, context),
    }
}
