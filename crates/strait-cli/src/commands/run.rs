//! `strait run STUDY.toml`.

use std::{fmt, num::NonZeroUsize, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::study::{self, DryRun, Limits, Outcome, StepStatus};

use super::{Context, device::DeviceArgument, status};
use crate::{
    failure::Failure,
    interrupt,
    memory::MemoryArgument,
    text::{self, path},
    threads,
};

/// Run a study, or continue one
///
/// Finished steps are kept; after a change of the study or of a file only the steps that depend on it run again. The results
/// lie in one folder: tables, edits, metrics and a report. After Ctrl-C, a kill or a power cut run the same command to
/// continue.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The study file
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,
    /// The folder for the results [default: runs/ and the study's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run N steps that do not need each other at the same time, sharing the threads [default: as many as use four threads
    /// each, while memory lasts]
    #[arg(long, value_name = "N", value_parser = threads::number)]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    memory: MemoryArgument,
    #[command(flatten)]
    device: DeviceArgument,
    /// Check the study and show the steps to run, with their time and memory; run none of them
    #[arg(long)]
    dry_run: bool,
}

const EXAMPLES: &str = "\
Examples:
  strait run studies/technical.toml
  strait run studies/technical.toml --dry-run
  strait run my.toml --out /data/runs/my --threads 8
  strait run studies/technical-full.toml --jobs 2 --memory 4GiB";

#[derive(Serialize)]
struct Plan {
    steps: Vec<StepStatus>,
    lines: Vec<String>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", status::table(&self.steps))?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{}", text::line(line)))
    }
}

/// A run that ended.
#[derive(Serialize)]
pub struct Ended(pub Outcome);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.0.verdict.trim_end())?;
        write!(f, "report: {}", path(&self.0.report))
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let out = arguments.out.as_deref();
    let device = arguments.device.open()?;
    context.threads()?;
    let limits = Limits { jobs: arguments.jobs, memory: arguments.memory.memory };
    if arguments.dry_run {
        let DryRun { steps, lines, .. } =
            study::dry_run(&arguments.study, out, &device, limits, &*context.progress)?;
        return context.show(&Plan { steps, lines });
    }
    let progress = context.progress.clone();
    let _guard = interrupt::stop_first(move || {
        progress.note("stopping as soon as the state is saved; Ctrl-C again stops at once");
    });
    let outcome = study::run(&arguments.study, out, &device, limits, &*context.progress)?;
    context.show(&Ended(outcome))
}
