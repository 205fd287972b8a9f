//! `strait bench`.

mod apart;

use std::fmt;

use clap::{Args, builder::PossibleValuesParser};
use serde::Serialize;
use strait::{
    bench::{self, Machine, Report, Sizes},
    world::locate,
};
use strait_model::template::Date;

use super::{Context, DateArgument, device::DeviceArgument, precision::PrecisionArgument};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Measure the speed of this machine, and how near to it the steps of studies come
///
/// Steps of scoring, training and sampling are timed on rows of random tokens, as long as those of data/technical, so that no
/// data are needed; each in a process of its own, beside its floor: the matrix products that it cannot avoid, by themselves. A
/// time is the median of at least three; memory is the most that the process held.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M", default_value = "world:default-0")]
    model: String,
    /// Measure these, with commas between them [default: all]
    #[arg(long, value_name = "STEPS", value_delimiter = ',', overrides_with = "steps",
          value_parser = PossibleValuesParser::new(bench::names()))]
    steps: Vec<String>,
    /// Tokens of the longest of the rows
    #[arg(long, value_name = "N", default_value_t = Sizes::default().row_tokens, value_parser = size)]
    row_tokens: usize,
    /// Answers that are sampled at once
    #[arg(long, value_name = "N", default_value_t = Sizes::default().answers, value_parser = size)]
    answers: usize,
    /// Tokens of each answer
    #[arg(long, value_name = "N", default_value_t = Sizes::default().answer_tokens, value_parser = size)]
    answer_tokens: usize,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
}

const EXAMPLES: &str = "\
Examples:
  strait bench
  strait bench --model smollm2-135m-instruct --threads 2
  strait bench --model M --steps steering,lora --row-tokens 1024
  strait bench --model M --precision bf16
  strait bench --model M --steps sample --answers 50 --answer-tokens 128
  strait bench --model M --json | jq '.results[] | {name, seconds, ratio}'";

/// The most that a size may be: more than any model bears, and far from where products of sizes overflow.
const MOST: usize = 1 << 20;

/// A number of tokens or answers.
fn size(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MOST}"))
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    report: Report,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { model, precision, threads, machine, results, failed, .. } = &self.report;
        let mut facts = Columns::facts();
        facts.fact("model", model);
        facts.fact("precision", precision.name());
        facts.fact("threads", threads);
        if let Some(Machine { peak_gflops, read_gbps }) = machine {
            facts.fact("matrix products", format!("{} GFLOP/s at most, in f32", units::digits(*peak_gflops)));
            if let Some(rate) = read_gbps {
                facts.fact("memory", format!("{} GB/s read", units::digits(*rate)));
            }
        }
        write!(f, "{facts}")?;
        let mut table = Columns::new([
            Left("step"),
            Right("seconds"),
            Right("from"),
            Right("to"),
            Right("floor"),
            Right("ratio"),
            Right("GFLOP/s"),
            Right("memory"),
            Right("tokens/s"),
        ]);
        let mut abouts = Columns::facts();
        for step in results {
            let digits = units::digits;
            table.row([
                step.name.clone(),
                digits(step.times.seconds),
                digits(step.times.low),
                digits(step.times.high),
                digits(step.floor_seconds),
                format!("{:.2}", step.ratio),
                digits(step.gflops),
                step.peak_bytes.map_or("-".into(), units::bytes),
                step.tokens_per_second.map_or(String::new(), digits),
            ]);
            abouts.fact(&step.name, &step.about);
        }
        if !results.is_empty() {
            write!(f, "\n{table}\n{abouts}")?;
        }
        for step in failed {
            write!(f, "\n{}: not timed: {}", step.name, step.error)?;
        }
        Ok(())
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let steps = match arguments.steps.is_empty() {
        true => bench::names().into_iter().map(String::from).collect(),
        false => arguments.steps.clone(),
    };
    let report = match &steps[..] {
        [step] => here(arguments, step, context)?,
        several => {
            // Fetched once, before the clock runs.
            locate(&arguments.model, &*context.progress)?;
            apart::each(several, context)?
        }
    };
    let complete = report.failed.is_empty();
    context.show(&Shown { report })?;
    if complete { Ok(()) } else { Err(Failure::Shown) }
}

/// Measures in this process.
fn here(arguments: &Arguments, step: &str, context: &Context) -> Result<Report, Failure> {
    let day = DateArgument { date: Date::default() };
    let model = context.load(&arguments.model, &arguments.device, arguments.precision.precision, &day)?;
    let &Arguments { row_tokens, answers, answer_tokens, .. } = arguments;
    let sizes = Sizes { row_tokens, answers, answer_tokens };
    Ok(bench::bench((&arguments.model, &model), &[step.into()], sizes, &*context.progress)?)
}
