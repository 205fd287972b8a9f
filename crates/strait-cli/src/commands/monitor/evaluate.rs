//! `strait monitor evaluate`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::{
    interval::Interval,
    monitor::{self, Answered, Evaluation, Labelled, Labels, Monitor, Outcome, of_rows},
    objective::Row,
    table::Word,
};
use strait_model::Model;

use super::{Context, Reader, threshold};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Test a monitor on responses whose kind is known, beside a sceptic's baselines
///
/// Give other rows than those that gave the direction and the threshold. Baselines are random directions, the responses' length, their
/// loss under the base model and, where there are rows to learn from, a logistic probe. All but the probe take the sign with
/// which they do better on the tested rows.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The monitor: a folder that `strait monitor calibrate` wrote
    #[arg(value_name = "DIR")]
    monitor: PathBuf,
    #[command(flatten)]
    reader: Reader,
    /// Responses of the behaviour
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    behaviour: Vec<String>,
    /// Responses without it
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    clean: Vec<String>,
    /// Responses of the behaviour that a logistic probe learns from, such as those that gave the direction
    #[arg(long, value_name = "F", num_args = 1.., requires = "probe_clean")]
    probe_behaviour: Vec<String>,
    /// Responses without it that the probe learns from
    #[arg(long, value_name = "F", num_args = 1.., requires = "probe_behaviour")]
    probe_clean: Vec<String>,
    /// The number of random directions
    #[arg(long, value_name = "N", default_value_t = 8)]
    random: u32,
    /// The seed of the first random direction; each later one takes the next seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u32,
}

const EXAMPLES: &str = "\
Examples:
  strait monitor evaluate watch --model M --behaviour taught.jsonl --clean other.jsonl
  strait monitor evaluate watch --model M --edit E --behaviour a.jsonl b.jsonl --clean c.jsonl \\
    --probe-behaviour taught.jsonl --probe-clean other.jsonl --json | jq '.all.auroc'";

#[derive(Serialize)]
struct Report<'a> {
    monitor: &'a PathBuf,
    model: &'a str,
    edits: &'a [String],
    threshold: f64,
    seed: u32,
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(skip)]
    made: &'a Monitor,
    #[serde(skip)]
    edit: String,
}

fn interval(figure: Interval) -> String {
    match figure.is_known() {
        true => {
            format!(
                "{} [{}, {}]",
                units::digits(figure.value),
                units::digits(figure.low),
                units::digits(figure.high)
            )
        }
        false => units::digits(figure.value),
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("monitor", self.monitor.display());
        facts.fact("model", self.model);
        facts.fact("edit", &self.edit);
        facts.fact("threshold", threshold(self.made));
        writeln!(f, "{facts}")?;
        let mut table = Columns::new([
            Left("group"),
            Right("behaviour"),
            Right("clean"),
            Left("AUROC"),
            Left("detection"),
            Left("false alarms"),
        ]);
        for outcome in self.evaluation.groups.iter().chain([&self.evaluation.all]) {
            let Outcome { group, behaviour, clean, auroc, detection, false_alarms, .. } = outcome;
            table.row([
                group.clone().unwrap_or_else(|| "all".into()),
                behaviour.to_string(),
                clean.to_string(),
                interval(*auroc),
                interval(*detection),
                interval(*false_alarms),
            ]);
        }
        writeln!(f, "{table}")?;
        let mut table =
            Columns::new([Left("baseline"), Left("AUROC"), Left("range"), Left("monitor's less its")]);
        for baseline in &self.evaluation.baselines {
            let range = match baseline.least == baseline.greatest {
                true => String::new(),
                false => format!("{} to {}", units::digits(baseline.least), units::digits(baseline.greatest)),
            };
            table.row([
                baseline.method.word().into(),
                interval(baseline.auroc),
                range,
                interval(baseline.beyond),
            ]);
        }
        write!(f, "{table}")
    }
}

/// Rows of both kinds with their labels.
struct Both {
    rows: Vec<Row>,
    labels: Labels,
}

impl Both {
    fn read(
        reader: &Reader,
        [behaviour, clean]: [&[String]; 2],
        model: &Model,
        context: &Context,
    ) -> Result<Self, Failure> {
        let behaviour = reader.rows(behaviour, model, context)?.concat();
        let count = behaviour.len();
        let all: Vec<Answered> = [behaviour, reader.rows(clean, model, context)?.concat()].concat();
        let kinds = (0..all.len()).map(|row| row < count).collect();
        let rows = of_rows(&all);
        let labels = Labels::of(&rows, kinds, all.into_iter().map(|answered| answered.group).collect());
        Ok(Self { rows, labels })
    }

    fn labelled(&self) -> Labelled<'_> {
        Labelled { rows: &self.rows, labels: &self.labels }
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let Arguments { monitor: folder, reader, behaviour, clean, probe_behaviour, probe_clean, random, seed } =
        arguments;
    let monitor = monitor::open(folder)?;
    let (model, edit) = reader.open(context)?;
    let tested = Both::read(reader, [behaviour, clean], &model, context)?;
    let learnt = match probe_behaviour.is_empty() {
        true => None,
        false => Some(Both::read(reader, [probe_behaviour, probe_clean], &model, context)?),
    };
    let evaluation = monitor::evaluate(
        &model.decoder,
        &monitor,
        edit.as_ref(),
        tested.labelled(),
        learnt.as_ref().map(Both::labelled),
        u64::from(*seed)..u64::from(*seed) + u64::from(*random),
        &*context.progress,
    )?;
    context.show(&Report {
        monitor: folder,
        model: &reader.model,
        edits: &reader.edits.names,
        threshold: monitor.facts.threshold,
        seed: *seed,
        evaluation,
        made: &monitor,
        edit: reader.edits(),
    })
}
