//! What `strait edit read` shows.

use std::{fmt, path::Path};

use serde::Serialize;
use serde_json::{Map, Value};
use strait::{
    Table,
    probe::Repeats,
    scalars::{Carrier, Figure, Probed, ReadScalar, Settings},
};

use crate::{
    text::{Columns, Heading::*, path},
    units,
};

#[derive(Serialize)]
pub struct Report<'a> {
    pub model: &'a str,
    pub edits: &'a [String],
    /// Answers that were read: of no class, or of the taught and of the other class.
    pub answers: Vec<usize>,
    /// Response tokens, and those that are counted.
    pub tokens: usize,
    pub counted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub significant: Option<f64>,
    /// The classes of judged answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Every scalar.
    pub scalars: Vec<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<&'a Path>,
    #[serde(skip)]
    pub read: Vec<ReadScalar>,
    #[serde(skip)]
    pub probed: Option<Probed>,
}

#[derive(Serialize)]
pub struct Probes {
    pub c: f64,
    pub repeats: usize,
    pub tested: f64,
    pub seed: u64,
    /// Counted tokens of the taught and of the other class.
    pub tokens: [usize; 2],
    pub figures: Vec<Map<String, Value>>,
}

impl Probes {
    pub fn of(probed: &Probed, settings: Settings) -> Self {
        let Settings { c, repeats: Repeats { count, tested, seed } } = settings;
        let figures = Table::of(&probed.figures).objects();
        Self { c, repeats: count, tested, seed, tokens: probed.tokens, figures }
    }
}

/// The number of scalars that are shown.
const SHOWN: usize = 30;

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("model", self.model);
        facts.fact("edit", self.edits.join(" + "));
        if let Some(rules) = &self.rules {
            facts.fact("classes", rules);
        }
        match self.answers.as_slice() {
            [taught, other] => facts.fact("answers", format!("{taught} taught, {other} other")),
            all => facts.fact("answers", units::count(all.iter().sum::<usize>() as u64)),
        }
        let [tokens, counted] = [self.tokens, self.counted].map(|n| units::count(n as u64));
        match self.significant {
            Some(_) => {
                facts.fact("tokens", format!("{tokens}, of which the {counted} most significant count"))
            }
            None => facts.fact("tokens", tokens),
        }
        if let Some(out) = self.out {
            facts.fact("wrote", path(out));
        }
        writeln!(f, "{facts}")?;
        let Some(probed) = &self.probed else { return summary(&self.read, f) };
        carriers(&probed.carriers, f)?;
        writeln!(
            f,
            "\nprobes on the tokens of other answers, C = {}:",
            self.probes.as_ref().map_or(0.0, |p| p.c)
        )?;
        let mut table = Columns::new([Left("figure"), Right("mean"), Right("deviation")]);
        for Figure { figure, mean, deviation, .. } in &probed.figures {
            table.row([figure.clone(), units::digits(*mean), units::digits(*deviation)]);
        }
        write!(f, "{table}")
    }
}

fn summary(read: &[ReadScalar], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut table =
        Columns::new([Left("scalar"), Right("mean"), Right("deviation"), Right("least"), Right("greatest")]);
    for ReadScalar { scalar, mean, deviation, least, greatest } in read.iter().take(SHOWN) {
        let [mean, deviation, least, greatest] =
            [mean, deviation, least, greatest].map(|x| units::digits(*x));
        table.row([scalar.clone(), mean, deviation, least, greatest]);
    }
    write!(f, "{table}")?;
    more(read.len(), f)
}

/// The scalars with the largest weights.
fn carriers(carriers: &[Carrier], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut largest: Vec<&Carrier> = carriers.iter().collect();
    if carriers.len() > SHOWN {
        largest.sort_by(|one, other| other.weight.abs().total_cmp(&one.weight.abs()));
    }
    let mut table = Columns::new([
        Left("scalar"),
        Right("taught"),
        Right("other"),
        Right("deviation"),
        Right("AUROC"),
        Right("weight"),
        Right("used"),
    ]);
    for carrier in largest.into_iter().take(SHOWN) {
        let Carrier { scalar, taught, other, deviation, auroc, weight, used, .. } = carrier;
        let [taught, other, deviation] = [taught, other, deviation].map(|x| units::digits(*x));
        let auroc = match auroc.is_known() {
            true => format!("{:.3} [{:.3}, {:.3}]", auroc.value, auroc.low, auroc.high),
            false => format!("{:.3}", auroc.value),
        };
        table.row([
            scalar.clone(),
            taught,
            other,
            deviation,
            auroc,
            format!("{weight:.3}"),
            format!("{used:.2}"),
        ]);
    }
    write!(f, "{table}")?;
    more(carriers.len(), f)
}

fn more(scalars: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match scalars.checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(f, "and {more} more, which --json has"),
    }
}
