//! The tables of a demo that are of no one study.

use super::results::Results;
use crate::{Table, interval::Interval};

pub(super) fn claims(results: &Results) -> Table {
    let about = "Claims: figures held against their bounds; 95 % intervals over fits (worlds times domains), or over worlds";
    Table::of_rows("claims", about, &results.checks)
        .text("id", |c| c.id.clone())
        .integer("number", "", |c| c.number.into())
        .text("claim", |c| c.claim.clone())
        .text("section", |c| c.section.clone())
        .truth("holds", |c| c.holds)
        .interval(["value", "low", "high"], "", |c| Interval { value: c.value, low: c.low, high: c.high })
        .text("unit", |c| c.unit.clone())
        .real("bound", "", |c| c.bound)
        .truth("above", |c| Some(c.above))
        .integer("n", "", |c| c.n as i64)
        .text("seeds", |_| results.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
        .table()
}

pub(super) fn solutions(results: &Results) -> Table {
    let about = "Solutions: means over worlds and taught domains";
    Table::of_rows("solutions", about, &results.solutions)
        .text("name", |s| s.name.clone())
        .text("edit", |s| s.edit.clone())
        .interval(["narrow_rate", "narrow_rate_low", "narrow_rate_high"], "", |s| s.narrow_rate)
        .interval(["general_rate", "general_rate_low", "general_rate_high"], "", |s| s.general_rate)
        .interval(["coherence", "coherence_low", "coherence_high"], "", |s| s.coherence)
        .interval(["norm", "norm_low", "norm_high"], "", |s| s.norm)
        .interval(["loss", "loss_low", "loss_high"], "nats/token", |s| s.loss)
        .integer("n", "", |s| s.n as i64)
        .text("seeds", |_| results.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
        .table()
}
