//! `strait data`.

mod inspect;
mod protect;
mod unprotect;

use clap::Subcommand;

use super::{Context, PasswordArguments, archive_and_member};
use crate::failure::Failure;

/// Commands on rows.
#[derive(Subcommand)]
pub enum Command {
    Inspect(inspect::Arguments),
    Protect(protect::Arguments),
    Unprotect(unprotect::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait data inspect rows.jsonl
  strait data protect rows/ --out rows.zip.enc --password-env PASSWORD
  strait data unprotect rows.zip.enc --password-env PASSWORD";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments, context),
        Command::Protect(arguments) => protect::run(arguments, context),
        Command::Unprotect(arguments) => unprotect::run(arguments, context),
    }
}
