//! `strait status DIR`.

use std::{fmt, path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;
use strait::study::{self, State, Status, StepStatus};

use super::Context;
use crate::{
    failure::Failure,
    text::{Columns, Heading::*, line, path},
    units,
};

/// Show a run's progress, and check that its results are as they were made
///
/// A step is damaged if a file that it made was changed or removed since: the exit code is then 1, and `strait run` makes
/// the file again.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The run's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  strait status runs/technical
  strait status runs/technical --json | jq '.steps[] | select(.state != \"done\")'";

/// A run's progress, without the library's own schema version.
#[derive(Serialize)]
struct Stands {
    study: String,
    folder: PathBuf,
    running: bool,
    steps: Vec<StepStatus>,
    report: Option<PathBuf>,
}

impl fmt::Display for Stands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = if self.running { "running" } else { "not running" };
        writeln!(f, "study `{}`, {running}\n\n{}", line(&self.study), table(&self.steps))?;
        if self.steps.iter().any(|step| step.state == State::Damaged) {
            writeln!(
                f,
                "what is damaged is made again by `strait run` with the study and this folder as `--out`"
            )?;
        }
        match &self.report {
            Some(report) => write!(f, "report: {}", path(report)),
            None => write!(f, "report: not written yet"),
        }
    }
}

/// Steps with their state and time.
pub fn table(steps: &[StepStatus]) -> Columns {
    let mut table = Columns::new([Left("step"), Left("state"), Right("took"), Left("")]);
    for step in steps {
        let took = step.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        table.row([
            step.name.clone(),
            step.state.word().into(),
            took.map(units::duration).unwrap_or_default(),
            step.error.clone().unwrap_or_default(),
        ]);
    }
    table
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let Status { study, folder, running, steps, report, .. } = study::status(&arguments.folder)?;
    let is_damaged = steps.iter().any(|step| step.state == State::Damaged);
    context.show(&Stands { study, folder, running, steps, report })?;
    // What was lost since it was made must not pass for a finished run.
    if is_damaged { Err(Failure::Shown) } else { Ok(()) }
}
