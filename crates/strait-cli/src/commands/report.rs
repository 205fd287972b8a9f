//! `strait report DIR`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Context, run::Ended};
use crate::{failure::Failure, text::path};

/// Write a run's report again from its tables, or a page that compares runs
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The run's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Show this run beside it (may be given again), on a page comparison.html in the first run's folder
    #[arg(long, value_name = "DIR")]
    compare: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  strait report runs/technical
  strait report runs/technical --json | jq .conclusion
  strait report runs/technical --compare runs/medical";

/// The page that was written.
#[derive(Serialize)]
struct Compared {
    report: PathBuf,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "report: {}", path(&self.report))
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    if !arguments.compare.is_empty() {
        let folders: Vec<_> = std::iter::once(&arguments.folder).chain(&arguments.compare).cloned().collect();
        return context.show(&Compared { report: strait::study::write_comparison(&folders)? });
    }
    context.show(&Ended(strait::study::write_report(&arguments.folder)?))
}
