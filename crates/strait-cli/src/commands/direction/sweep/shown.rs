//! The result of a sweep, for people and for `--json`.

use std::{fmt, path::PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use strait::{
    direction::sweep::{Blocks, Swept},
    interval::Interval,
    table::Word,
};

use crate::{
    commands::endpoint::Usage,
    text::{Columns, Heading::*},
};

/// The result.
#[derive(Serialize)]
pub struct Report<'a> {
    pub model: &'a str,
    pub edits: &'a [String],
    pub directions: &'a [String],
    /// Pairs inside the domain, and outside.
    pub pairs: [usize; 2],
    /// Questions inside the domain, and outside, where answers are judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub questions: Option<[usize; 2]>,
    /// Answers to each, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<usize>,
    /// A row a direction, layer, factor and side of the domain.
    pub steering: Vec<Map<String, Value>>,
    /// A row a domain, where a direction shifts most.
    pub domains: Vec<Map<String, Value>>,
    /// A row a direction, mode, layer and side of the domain.
    pub ablation: Vec<Map<String, Value>>,
    /// The rows of `steering` by judged answers, one for each verdict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steering_rates: Vec<Map<String, Value>>,
    /// The rows of `ablation` by judged answers, one for each verdict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ablation_rates: Vec<Map<String, Value>>,
    /// Passes of a batch through a block: made, and needed above each first difference.
    pub blocks: Blocks,
    /// The account of the endpoint that judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<PathBuf>,
    #[serde(skip)]
    pub shown: Swept,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("model", self.model);
        facts.fact("edit", if self.edits.is_empty() { "none".into() } else { self.edits.join(" + ") });
        facts.fact("pairs", format!("{} inside the domain, {} outside", self.pairs[0], self.pairs[1]));
        if let (Some([inside, outside]), Some(answers)) = (self.questions, self.answers) {
            let said = format!("{inside} inside the domain, {outside} outside, {answers} answers to each");
            facts.fact("questions", said);
        }
        if let Some(usage) = &self.endpoint {
            usage.show(&mut facts);
        }
        facts.fact("shifts", "nats a token");
        if let Some(report) = &self.report {
            facts.fact("report", report.display().to_string());
        }
        writeln!(f, "{facts}")?;
        let Swept { steered, domains, ablated, .. } = &self.shown;
        if !steered.is_empty() {
            let mut table = Columns::new([
                Left("direction"),
                Right("layer"),
                Right("factor"),
                Left("group"),
                Right("shift"),
                Left("interval"),
                Right("random"),
                Right("loss rise"),
                Left("coherent"),
            ]);
            for row in steered {
                table.row([
                    row.direction.clone(),
                    row.layer.to_string(),
                    row.factor.to_string(),
                    row.group.word().into(),
                    figure(row.shift.value),
                    interval(row.shift),
                    figure(row.random.value),
                    figure(row.loss_rise),
                    yes(row.coherent),
                ]);
            }
            writeln!(f, "{table}")?;
            let mut table = Columns::new([
                Left("most at"),
                Left("group"),
                Left("domain"),
                Right("shift"),
                Left("interval"),
            ]);
            for row in domains {
                let at = format!("{}, layer {}, times {}", row.direction, row.layer, row.factor);
                table.row([
                    at,
                    row.group.word().into(),
                    row.domain.clone(),
                    figure(row.shift.value),
                    interval(row.shift),
                ]);
            }
            write!(f, "{table}")?;
        }
        if !ablated.is_empty() {
            let mut table = Columns::new([
                Left("direction"),
                Left("mode"),
                Right("layer"),
                Left("group"),
                Right("shift left"),
                Right("gone"),
                Left("interval"),
                Right("gone, random"),
                Left("coherent"),
            ]);
            for row in ablated {
                let layer = if row.layer.is_nan() { "each".into() } else { row.layer.to_string() };
                table.row([
                    row.direction.clone(),
                    row.mode.word().into(),
                    layer,
                    row.group.word().into(),
                    figure(row.shift.value),
                    figure(row.removed.value),
                    interval(row.removed),
                    figure(row.random_removed.value),
                    yes(row.coherent),
                ]);
            }
            write!(f, "{table}")?;
        }
        self.rates(f)
    }
}

impl Report<'_> {
    /// The tables of judged answers.
    fn rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Swept { steered_rates, ablated_rates, .. } = &self.shown;
        if !steered_rates.is_empty() {
            let mut table = Columns::new([
                Left("direction"),
                Right("layer"),
                Right("factor"),
                Left("group"),
                Left("verdict"),
                Right("rate"),
                Left("interval"),
                Right("without"),
                Right("random"),
                Right("coherent"),
                Left("interval"),
            ]);
            for row in steered_rates {
                table.row([
                    row.direction.clone(),
                    row.layer.to_string(),
                    row.factor.to_string(),
                    row.group.word().into(),
                    row.verdict.clone(),
                    figure(row.rate.value),
                    interval(row.rate),
                    figure(row.before.value),
                    figure(row.random.value),
                    figure(row.coherent.value),
                    interval(row.coherent),
                ]);
            }
            write!(f, "\n{table}")?;
        }
        if !ablated_rates.is_empty() {
            let mut table = Columns::new([
                Left("direction"),
                Left("mode"),
                Right("layer"),
                Left("group"),
                Left("verdict"),
                Right("rate"),
                Left("interval"),
                Right("with it"),
                Right("base"),
                Right("random"),
                Right("coherent"),
                Left("interval"),
            ]);
            for row in ablated_rates {
                table.row([
                    row.direction.clone(),
                    row.mode.word().into(),
                    if row.layer.is_nan() { "each".into() } else { row.layer.to_string() },
                    row.group.word().into(),
                    row.verdict.clone(),
                    figure(row.rate.value),
                    interval(row.rate),
                    figure(row.before.value),
                    figure(row.base.value),
                    figure(row.random.value),
                    figure(row.coherent.value),
                    interval(row.coherent),
                ]);
            }
            write!(f, "\n{table}")?;
        }
        Ok(())
    }
}

fn figure(value: f64) -> String {
    if value.is_nan() { "-".into() } else { format!("{value:.3}") }
}

fn interval(found: Interval) -> String {
    if found.is_known() { format!("{:.3} to {:.3}", found.low, found.high) } else { "-".into() }
}

fn yes(holds: bool) -> String {
    if holds { "yes" } else { "no" }.into()
}
