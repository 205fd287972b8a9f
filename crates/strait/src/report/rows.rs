//! The measures' tables as typed rows.
//!
//! A table that is absent, or lacks a column, gives `None`: to the report, that measure was not made.

use super::numbers::Estimate;
use crate::{Table, table::Column};

/// The value that stands for all domains together.
const ALL: &str = "all";

/// One row of `preference`: how far a solution moved the preference for the taught kind of answer.
pub(super) struct Shift<'a> {
    pub solution: &'a str,
    /// Whether the pairs lie inside the taught domain.
    pub inside: bool,
    /// The domain, or none for all together.
    pub domain: Option<&'a str>,
    pub scale: f64,
    pub pairs: i64,
    /// Nats a token.
    pub shift: Estimate,
    /// Nats a token.
    pub loss_rise: f64,
    pub coherent: bool,
}

/// One row of `certificate`: one solution at one scale.
pub(super) struct Certificate<'a> {
    pub solution: &'a str,
    pub scale: f64,
    pub narrow: Estimate,
    pub general: Estimate,
    /// Upper bound of the general shift over the narrow shift.
    pub share: f64,
    pub coherent: bool,
    /// Whether the share is within the study's certificate; none where incoherent.
    pub holds: Option<bool>,
}

/// One row of `kl`.
pub(super) struct Divergence<'a> {
    pub solution: &'a str,
    /// Whether the text lies inside the taught domain.
    pub inside: bool,
    pub scale: f64,
    /// Nats a token.
    pub kl: Estimate,
}

/// One row of `heldout`.
pub(super) struct HeldOut<'a> {
    pub solution: &'a str,
    /// Loss less that of base, nats a token.
    pub difference: Estimate,
}

/// One row of `training`.
pub(super) struct Step<'a> {
    pub solution: &'a str,
    pub step: i64,
    pub response_loss: f64,
    pub kl: f64,
    pub norm: f64,
    pub heldout_loss: f64,
}

pub(super) fn shifts(tables: &[Table]) -> Option<Vec<Shift<'_>>> {
    let table = Reader::of(tables, "preference")?;
    let (solution, group, domain) = (table.text("solution")?, table.text("group")?, table.text("domain")?);
    let (scale, pairs, loss_rise) = (table.real("scale")?, table.integer("pairs")?, table.real("loss_rise")?);
    let (shift, coherent) = (table.estimate(["shift", "low", "high"])?, table.truth("coherent")?);
    let row = |i: usize| Shift {
        solution: &solution[i],
        inside: group[i] == "narrow",
        domain: (domain[i] != ALL).then_some(domain[i].as_str()),
        scale: scale[i],
        pairs: pairs[i],
        shift: shift[i],
        loss_rise: loss_rise[i],
        coherent: coherent[i] == Some(true),
    };
    Some((0..table.0.rows()).map(row).collect())
}

pub(super) fn certificates(tables: &[Table]) -> Option<Vec<Certificate<'_>>> {
    let table = Reader::of(tables, "certificate")?;
    let (solution, scale, share) = (table.text("solution")?, table.real("scale")?, table.real("share")?);
    let narrow = table.estimate(["narrow_shift", "narrow_low", "narrow_high"])?;
    let general = table.estimate(["general_shift", "general_low", "general_high"])?;
    let (coherent, holds) = (table.truth("coherent")?, table.truth("holds")?);
    let row = |i: usize| Certificate {
        solution: &solution[i],
        scale: scale[i],
        narrow: narrow[i],
        general: general[i],
        share: share[i],
        coherent: coherent[i] == Some(true),
        holds: holds[i],
    };
    Some((0..table.0.rows()).map(row).collect())
}

pub(super) fn divergences(tables: &[Table]) -> Option<Vec<Divergence<'_>>> {
    let table = Reader::of(tables, "kl")?;
    let (solution, text, scale) = (table.text("solution")?, table.text("text")?, table.real("scale")?);
    let kl = table.estimate(["kl", "low", "high"])?;
    let row = |i: usize| Divergence {
        solution: &solution[i],
        inside: text[i] == "in-domain",
        scale: scale[i],
        kl: kl[i],
    };
    Some((0..table.0.rows()).map(row).collect())
}

pub(super) fn held_out(tables: &[Table]) -> Option<Vec<HeldOut<'_>>> {
    let table = Reader::of(tables, "heldout")?;
    let solution = table.text("solution")?;
    let difference = table.estimate(["difference", "low", "high"])?;
    let row = |i: usize| HeldOut { solution: &solution[i], difference: difference[i] };
    Some((0..table.0.rows()).map(row).collect())
}

pub(super) fn steps(tables: &[Table]) -> Option<Vec<Step<'_>>> {
    let table = Reader::of(tables, "training")?;
    let (solution, step) = (table.text("solution")?, table.integer("step")?);
    let (response_loss, kl) = (table.real("response_loss")?, table.real("kl")?);
    let (norm, heldout_loss) = (table.real("norm")?, table.real("heldout_loss")?);
    let row = |i: usize| Step {
        solution: &solution[i],
        step: step[i],
        response_loss: response_loss[i],
        kl: kl[i],
        norm: norm[i],
        heldout_loss: heldout_loss[i],
    };
    Some((0..table.0.rows()).map(row).collect())
}

/// The names of all solutions in the order in which the tables first name them; `solutions` is asked first, so that a
/// solution keeps its place and its colour whatever was measured.
pub(super) fn solutions(tables: &[Table]) -> Vec<&str> {
    let first = tables.iter().filter(|t| t.name() == "solutions");
    let others = tables.iter().filter(|t| t.name() != "solutions");
    let mut names = Vec::new();
    for name in first.chain(others).filter_map(|t| Reader(t).text("solution")).flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// A table whose columns are asked for by name and kind.
struct Reader<'a>(&'a Table);

impl<'a> Reader<'a> {
    fn of(tables: &'a [Table], name: &str) -> Option<Self> {
        tables.iter().find(|t| t.name() == name).map(Self)
    }

    fn text(&self, column: &str) -> Option<&'a [String]> {
        match self.0.column(column)? {
            Column::Text(values) => Some(values),
            _ => None,
        }
    }

    fn integer(&self, column: &str) -> Option<&'a [i64]> {
        match self.0.column(column)? {
            Column::Integer(values) => Some(values),
            _ => None,
        }
    }

    fn real(&self, column: &str) -> Option<&'a [f64]> {
        match self.0.column(column)? {
            Column::Real(values) => Some(values),
            _ => None,
        }
    }

    fn truth(&self, column: &str) -> Option<&'a [Option<bool>]> {
        match self.0.column(column)? {
            Column::Truth(values) => Some(values),
            _ => None,
        }
    }

    /// The columns of a value and of the two ends of its interval.
    fn estimate(&self, [value, low, high]: [&str; 3]) -> Option<Vec<Estimate>> {
        let (value, low, high) = (self.real(value)?, self.real(low)?, self.real(high)?);
        let rows = value.iter().zip(low).zip(high);
        Some(rows.map(|((&value, &low), &high)| Estimate { value, low, high }).collect())
    }
}
