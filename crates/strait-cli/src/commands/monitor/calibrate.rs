//! `strait monitor calibrate`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::monitor::{self, Calibrated, Facts, Monitor, Settings, directions_of, of_rows};

use super::{Context, Reader, layers, threshold};
use crate::{failure::Failure, text::Columns, units};

/// Make a monitor: a direction, and the reading that clean responses exceed at a stated rate
///
/// The reading of a token is the projection of the residual stream onto the direction; that of a response is the mean over its tokens.
/// Directions of several layers are read together: the mean of their projections, each less its mean on clean tokens and
/// divided by its deviation there. Clean rows are responses without the behaviour, other rows than those that gave the direction.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    reader: Reader,
    /// A direction: an edit of steering vectors, one layer of it as in d.safetensors@12; several are read together
    #[arg(long = "direction", value_name = "D", required = true)]
    directions: Vec<String>,
    /// Responses without the behaviour: chat rows, answers in JSON lines, CSV or Parquet, or a text (.txt)
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    clean: Vec<String>,
    /// The share of clean responses that may be alarms; a rate of 0.05 needs 19 responses
    #[arg(long, value_name = "RATE", default_value_t = Settings::default().alarm_rate)]
    alarm_rate: f64,
    /// Read a response by the highest mean of so many tokens in a row, not by the mean over all
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    window: Option<u32>,
    /// The folder of the monitor, which is not there yet or is empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  strait monitor calibrate --model M --direction d.safetensors@12 --clean plain.jsonl --out watch
  strait monitor calibrate --model M --edit E --direction d.safetensors@8 \\
    --direction d.safetensors@16 --clean a.jsonl b.csv --alarm-rate 0.01 --out watch";

#[derive(Serialize)]
struct Report<'a> {
    monitor: &'a PathBuf,
    #[serde(flatten)]
    facts: &'a Facts,
    #[serde(skip)]
    made: &'a Monitor,
    #[serde(skip)]
    edits: String,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("monitor", self.monitor.display());
        facts.fact("model", &self.facts.calibration.model);
        facts.fact("edit", &self.edits);
        facts.fact("layers", layers(self.made));
        let reading = match self.facts.window {
            None => "mean over a response".into(),
            Some(window) => format!("highest mean of {} in a row", units::plural(window, "token")),
        };
        facts.fact("reading", reading);
        facts.fact("clean responses", units::count(self.facts.calibration.responses as u64));
        facts.fact("rate of alarms", self.facts.alarm_rate);
        facts.fact("threshold", threshold(self.made));
        write!(f, "{facts}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let Arguments { reader, directions, clean, alarm_rate, window, out } = arguments;
    monitor::check_free(out)?;
    let (model, edit) = reader.open(context)?;
    let mut opened = Vec::new();
    for name in directions {
        let direction = strait_model::edit::read(name)?;
        model.decoder.check(&direction)?;
        context.warn_of(&direction);
        opened.push(direction);
    }
    let vectors = opened.iter().map(directions_of).collect::<Result<Vec<_>, _>>()?.concat();
    let rows = of_rows(&reader.rows(clean, &model, context)?.concat());
    let settings = Settings { alarm_rate: *alarm_rate, window: window.map(|window| window as usize) };
    let Calibrated { monitor, .. } =
        monitor::calibrate(&model.decoder, &vectors, &rows, edit.as_ref(), settings, &*context.progress)?;
    let monitor = monitor.from_origin(&opened, &model, &reader.edits.names);
    monitor::write(out, &monitor)?;
    context.show(&Report { monitor: out, facts: &monitor.facts, made: &monitor, edits: reader.edits() })
}
