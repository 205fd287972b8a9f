//! `strait status DIR`.

use std::{fmt, path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;
use strait::study::{self, Status};

use super::Context;
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Say where a run stands
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

#[derive(Serialize)]
struct Shown(Status);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Columns::new([Left("step"), Left("state"), Right("took")]);
        for step in &self.0.steps {
            let took = step.seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).map(units::duration);
            table.row([step.name.clone(), step.state.to_string(), took.unwrap_or_default()]);
        }
        writeln!(f, "{table}")?;
        match &self.0.report {
            Some(report) => write!(f, "report: {}", report.display()),
            None => write!(f, "report: not written yet"),
        }
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    context.show(&Shown(study::status(&arguments.folder)?))
}
