//! `strait data`.

mod inspect;
mod unprotect;

use clap::Subcommand;

use super::{Context, PasswordArguments, archive_and_member};
use crate::failure::Failure;

#[derive(Subcommand)]
pub enum Command {
    Inspect(inspect::Arguments),
    Unprotect(unprotect::Arguments),
}

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments, context),
        Command::Unprotect(arguments) => unprotect::run(arguments, context),
    }
}
