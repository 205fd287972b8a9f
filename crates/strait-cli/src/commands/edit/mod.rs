//! `strait edit`.

mod convert;
mod inspect;

use clap::Subcommand;

use super::Context;
use crate::failure::Failure;

/// What there is to do with edits.
#[derive(Subcommand)]
pub enum Command {
    Inspect(inspect::Arguments),
    Convert(convert::Arguments),
}

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments, context),
        Command::Convert(arguments) => convert::run(arguments, context),
    }
}
