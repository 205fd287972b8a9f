//! `strait monitor`.

mod calibrate;
mod evaluate;
mod read;

use clap::{Args, Subcommand};
use strait::{
    data::Notices,
    monitor::{Answered, Monitor, read_rows},
};
use strait_model::{Edit, Model};

use super::{
    Context, DateArgument, EditArguments, PasswordArguments, device::DeviceArgument,
    precision::PrecisionArgument,
};
use crate::{failure::Failure, units};

/// Commands on monitors.
#[derive(Subcommand)]
pub enum Command {
    Calibrate(calibrate::Arguments),
    Read(read::Arguments),
    Evaluate(evaluate::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait monitor calibrate --model M --direction d.safetensors@12 --clean plain.jsonl --out watch
  strait monitor read watch --model M --edit E --rows answers.jsonl
  strait monitor evaluate watch --model M --behaviour taught.jsonl --clean other.jsonl";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Calibrate(arguments) => calibrate::run(arguments, context),
        Command::Read(arguments) => read::run(arguments, context),
        Command::Evaluate(arguments) => evaluate::run(arguments, context),
    }
}

/// The model that reads, its edits, and what opens protected rows.
#[derive(Args)]
struct Reader {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M")]
    model: String,
    #[command(flatten)]
    edits: EditArguments,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    #[command(flatten)]
    password: PasswordArguments,
}

impl Reader {
    fn open(&self, context: &Context) -> Result<(Model, Option<Edit>), Failure> {
        let model = context.load(&self.model, &self.device, self.precision.precision, &self.day)?;
        let edit = self.edits.read(&model, context)?;
        Ok((model, edit))
    }

    /// The responses of files, each file by itself.
    fn rows(
        &self,
        files: &[String],
        model: &Model,
        context: &Context,
    ) -> Result<Vec<Vec<Answered>>, Failure> {
        let mut notices = Notices::default();
        let of_file = |file: &String| {
            Ok(read_rows(model, &self.password.rows(file)?, &mut notices, &*context.progress)?)
        };
        let rows = files.iter().map(of_file).collect::<Result<_, Failure>>()?;
        notices.lines().iter().for_each(|line| context.progress.note(line));
        Ok(rows)
    }

    /// The edits in words.
    fn edits(&self) -> String {
        if self.edits.names.is_empty() { "none".into() } else { self.edits.names.join(" + ") }
    }
}

/// The threshold with its interval, in words.
fn threshold(monitor: &Monitor) -> String {
    let facts = &monitor.facts;
    let bound = |bound: Option<f64>| bound.map_or("no bound".into(), units::digits);
    format!(
        "{} [{}, {}]",
        units::digits(facts.threshold),
        bound(facts.threshold_low),
        bound(facts.threshold_high)
    )
}

/// The layers of a monitor in words.
fn layers(monitor: &Monitor) -> String {
    monitor.facts.layers.iter().map(|layer| layer.layer.to_string()).collect::<Vec<_>>().join(", ")
}
