//! `strait check M`.

use std::fmt;
use strait_model::Precision;

use clap::Args;
use serde::Serialize;
use strait::check::Check;

use super::{Context, DateArgument, device::DeviceArgument};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Test gradients, edits and decoding on a model of yours
///
/// Every tensor of every kind of edit gets a gradient; the gradient agrees with finite differences; an edit of zero
/// changes nothing; decoding with a cache equals the full pass; and, where Python with transformers is at hand, the
/// logits agree with it. Exits with 1 if a test fails.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(value_name = "M")]
    model: String,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    day: DateArgument,
}

const EXAMPLES: &str = "\
Examples:
  strait check smollm2-135m-instruct
  strait check path/to/folder --json | jq '.checks[] | select(.holds == false)'";

#[derive(Serialize)]
struct Checks<'a> {
    model: &'a str,
    checks: Vec<Check>,
}

impl Checks<'_> {
    fn count(&self, holds: Option<bool>) -> usize {
        self.checks.iter().filter(|check| check.holds == holds).count()
    }
}

impl fmt::Display for Checks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Columns::new([Left("check"), Left("holds"), Right("value"), Left("")]);
        for check in &self.checks {
            let holds = match check.holds {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "not tried",
            };
            table.row([check.name.clone(), holds.into(), units::digits(check.value), check.words.clone()]);
        }
        writeln!(f, "{table}")?;
        let (holding, failing, untried) = (self.count(Some(true)), self.count(Some(false)), self.count(None));
        write!(f, "{holding} of {} hold", units::plural(self.checks.len(), "check"))?;
        if failing > 0 {
            write!(f, ", {failing} do not")?;
        }
        if untried > 0 {
            write!(f, ", {untried} could not be tried")?;
        }
        Ok(())
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let model = context.load(&arguments.model, &arguments.device, Precision::F32, &arguments.day)?;
    let checks = strait::check::check(&model, &*context.progress)?;
    let checks = Checks { model: &arguments.model, checks };
    context.show(&checks)?;
    if checks.count(Some(false)) > 0 { Err(Failure::Shown) } else { Ok(()) }
}
