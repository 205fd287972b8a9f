//! `strait report DIR`.

use std::path::PathBuf;

use clap::Args;

use super::{Context, run::Ended};
use crate::failure::Failure;

/// Write the report of a run again, from its tables
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The run's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  strait report runs/technical
  strait report runs/technical --json | jq .conclusion";

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    context.show(&Ended(strait::study::write_report(&arguments.folder)?))
}
