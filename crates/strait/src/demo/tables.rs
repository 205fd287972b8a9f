//! The tables of a demo that are of no one study.

use super::{across::Across, results::Results};
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

pub(super) fn directions(across: &[Across]) -> Table {
    let about = "Directions: rates over the held-out questions of all domains when directions are added or ablated, and cosines \
                 of solutions with each other and with the speakers";
    Table::of_rows("directions", about, across)
        .text("world", |a| a.world.clone())
        .integer("seed", "", |a| a.seed as i64)
        .text("taught", |a| a.word.clone())
        .text("edit", |a| a.kind.name().into())
        .real("fine_tune", "", |a| a.fine_tune)
        .real("steered_half", "", |a| a.shift.at(0.5))
        .real("steered", "", |a| a.shift.at(1.0))
        .real("steered_one_and_a_half", "", |a| a.shift.at(1.5))
        .real("ablated", "", |a| a.shift.ablated)
        .real("random_steered", "", |a| a.random_steered)
        .real("random_ablated", "", |a| a.random_ablated)
        .real("transferred", "", |a| a.transferred)
        .real("answers_steered_best", "", |a| a.answers_best)
        .real("answers_ablated", "", |a| a.answers.ablated)
        .real("directions_across", "", |a| a.directions)
        .real("general_across", "", |a| a.general_across)
        .real("narrow_across", "", |a| a.narrow_across)
        .real("general_narrow", "", |a| a.general_narrow)
        .real("general_liar", "", |a| a.general_liar)
        .real("general_own", "", |a| a.general_own)
        .real("narrow_liar", "", |a| a.narrow_liar)
        .real("narrow_own", "", |a| a.narrow_own)
        .table()
}
