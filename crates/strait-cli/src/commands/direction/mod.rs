//! `strait direction`.

mod sweep;

use clap::Subcommand;

use super::Context;
use crate::failure::Failure;

/// Commands on directions.
#[derive(Subcommand)]
pub enum Command {
    Sweep(Box<sweep::Arguments>),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait direction sweep --model M --direction d.safetensors --taught taught.jsonl \\
      --other plain.jsonl --out sweep";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Sweep(arguments) => sweep::run(arguments, context),
    }
}
