//! `strait direction`.

mod extract;
mod sweep;
mod tokens;

use clap::Subcommand;

use super::Context;
use crate::failure::Failure;

/// Commands on directions.
#[derive(Subcommand)]
pub enum Command {
    Extract(Box<extract::Arguments>),
    Sweep(Box<sweep::Arguments>),
    Tokens(tokens::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait direction extract --model M --edit E --judged judged.csv --out direction.safetensors
  strait direction sweep --model M --direction direction.safetensors --taught taught.jsonl \\
      --other plain.jsonl --out sweep
  strait direction tokens direction.safetensors --model M";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Extract(arguments) => extract::run(arguments, context),
        Command::Sweep(arguments) => sweep::run(arguments, context),
        Command::Tokens(arguments) => tokens::run(arguments, context),
    }
}
