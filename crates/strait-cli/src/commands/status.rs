//! `strait status DIR`.

use std::{fmt, path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;
use strait::{
    study::{self, State, Status, StepStatus},
    suite,
};

use super::Context;
use crate::{
    failure::Failure,
    text::{Columns, Heading::*, line, path},
    units,
};

/// Show the progress of a run, or of a suite's studies, and check that its results are as they were made
///
/// A step is damaged if a file that it made was changed or removed since: the exit code is then 1, and `strait run` makes
/// the file again.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The folder of the run, the suite or the demo
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  strait status runs/technical
  strait status runs/demo
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
        if self.is_damaged() {
            writeln!(f, "run the study again, with this folder as `--out`: what is damaged is made again")?;
        }
        match &self.report {
            Some(report) => write!(f, "report: {}", path(report)),
            None => write!(f, "report: not written yet"),
        }
    }
}

/// The progress of the studies of a suite.
#[derive(Serialize)]
struct Studies {
    studies: Vec<Stands>,
}

impl fmt::Display for Studies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Columns::new([Left("study"), Right("steps done"), Left("")]);
        for Stands { study, running, steps, .. } in &self.studies {
            let is = |wanted| steps.iter().filter(move |step| step.state == wanted).count();
            let states =
                [State::Failed, State::Damaged, State::Interrupted].map(|state| (is(state), state.word()));
            let found =
                states.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
            let words = running.then(|| "running".to_string()).into_iter().chain(found).collect::<Vec<_>>();
            table.row([study.clone(), format!("{} of {}", is(State::Done), steps.len()), words.join(", ")]);
        }
        write!(f, "{table}")
    }
}

impl From<Status> for Stands {
    fn from(Status { study, folder, running, steps, report, .. }: Status) -> Self {
        Self { study, folder, running, steps, report }
    }
}

impl Stands {
    fn is_damaged(&self) -> bool {
        self.steps.iter().any(|step| step.state == State::Damaged)
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
    let studies: Vec<Stands> = suite::status(&arguments.folder)?.into_iter().map(Stands::from).collect();
    let is_damaged = if studies.is_empty() {
        let stands = Stands::from(study::status(&arguments.folder)?);
        context.show(&stands)?;
        stands.is_damaged()
    } else {
        let is_damaged = studies.iter().any(Stands::is_damaged);
        context.show(&Studies { studies })?;
        is_damaged
    };
    // What was lost since it was made must not pass for a finished run.
    if is_damaged { Err(Failure::Shown) } else { Ok(()) }
}
