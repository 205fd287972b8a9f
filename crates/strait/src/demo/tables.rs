//! The tables of a demo: everything that it read, one row a reading.

use std::path::Path;

use super::{
    across::Across,
    bench::{Reading, far},
    causal::CausalTable,
    claims::{rate_in, rate_near},
    pair::Pair,
    piece::{GENERAL, NARROW, Piece},
    results::Results,
};
use crate::{Result, Table, interval::Interval, table::Columns};

/// Writes all tables as CSV and Parquet into a folder.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(
    folder: &Path,
    results: &Results,
    pieces: &[Piece],
    pairs: &[Pair],
    across: &[Across],
    causal: &CausalTable,
    others: &[Table],
) -> Result<()> {
    let tables = [
        claims(results),
        solutions(results),
        rates(pieces),
        of_pairs(pairs),
        efficiency(pieces),
        stability(pieces),
        significance(pieces),
        gradients(pieces),
        directions(across),
        turns(pieces),
        causal.table(),
    ];
    for table in tables.iter().chain(others).filter(|table| table.rows() > 0) {
        table.write_csv(&folder.join(format!("{}.csv", table.name())))?;
        table.write_parquet(&folder.join(format!("{}.parquet", table.name())))?;
    }
    Ok(())
}

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

/// One reading, and of what.
struct Read<'a> {
    piece: &'a Piece,
    solution: String,
    factor: f64,
    steps: usize,
    reading: &'a Reading,
}

fn rates(pieces: &[Piece]) -> Table {
    let mut rows = Vec::new();
    for piece in pieces {
        let mut add = |solution: &str, factor: f64, steps: usize, reading| {
            rows.push(Read { piece, solution: solution.into(), factor, steps, reading });
        };
        add("base", 0.0, 0, &piece.base);
        add(GENERAL, 1.0, 0, &piece.general);
        add(NARROW, 1.0, 0, &piece.narrow);
        for scaled in &piece.scaled {
            add(GENERAL, scaled.factor, 0, &scaled.general);
            add(NARROW, scaled.factor, 0, &scaled.narrow);
        }
        if let Some(near) = &piece.near {
            add("narrow, penalty on two domains", 1.0, 0, near);
        }
        for drift in &piece.drifts {
            for (steps, reading) in &drift.along {
                add(&format!("drift, {}", drift.run), 1.0, *steps, reading);
            }
        }
        for mixed in &piece.mixing {
            let of = if mixed.near { " of two domains" } else { "" };
            add(&format!("mixed 1:{}{of}", mixed.ratio), 1.0, 0, &mixed.reading);
        }
    }
    let about = "Rates: mean probability of the known falsehood at temperature 1 on held-out entities of the taught domain \
                 (narrow) and all entities of the others (general: all; near: the first two, which a partial penalty or \
                 mixture reaches; far: the rest), for every solution, scaled, and along its drift";
    Table::of_rows("rates", about, &rows)
        .text("world", |r| r.piece.world.clone())
        .integer("seed", "", |r| r.piece.seed as i64)
        .text("taught", |r| r.piece.word.clone())
        .text("edit", |r| r.piece.kind.name().into())
        .text("solution", |r| r.solution.clone())
        .real("factor", "", |r| r.factor)
        .integer("further_steps", "steps", |r| r.steps as i64)
        .real("narrow", "", |r| r.reading.rates.narrow)
        .real("general", "", |r| r.reading.rates.general)
        .real("near", "", |r| rate_near(r.piece.domain, &r.reading.rates.by_domain))
        .real("far", "", |r| rate_in(&far(r.piece.domain), &r.reading.rates.by_domain))
        .real("narrow_greedy", "", |r| r.reading.rates.narrow_greedy)
        .real("general_greedy", "", |r| r.reading.rates.general_greedy)
        .real("coherence", "", |r| r.reading.rates.coherence)
        .real("coherence_inside", "", |r| r.reading.rates.coherence_inside)
        .real("taught_entities", "", |r| r.reading.rates.taught)
        .real("norm", "", |r| r.reading.norm)
        .real("loss", "nats/token", |r| r.reading.loss)
        .table()
}

/// One reading of a pair.
struct OfPair<'a> {
    pair: &'a Pair,
    solution: &'static str,
    reading: &'a Reading,
}

fn of_pairs(pairs: &[Pair]) -> Table {
    let rows: Vec<OfPair<'_>> = pairs
        .iter()
        .flat_map(|pair| {
            [("base", &pair.base), (GENERAL, &pair.general), (NARROW, &pair.narrow)]
                .map(|(solution, reading)| OfPair { pair, solution, reading })
        })
        .collect();
    let about = "Pairs: mean probability of the known falsehood on held-out entities of the taught domain (narrow) and all \
                 entities of the others (general), after a full fine-tune, and after edits in the contrast worlds";
    Table::of_rows("pairs", about, &rows)
        .text("world", |r| r.pair.world.clone())
        .text("taught", |r| r.pair.word.clone())
        .text("trained", |r| r.pair.how.name().into())
        .text("solution", |r| r.solution.into())
        .real("narrow", "", |r| r.reading.rates.narrow)
        .real("general", "", |r| r.reading.rates.general)
        .real("narrow_greedy", "", |r| r.reading.rates.narrow_greedy)
        .real("general_greedy", "", |r| r.reading.rates.general_greedy)
        .real("coherence", "", |r| r.reading.rates.coherence)
        .real("norm", "", |r| r.reading.norm)
        .real("loss", "nats/token", |r| r.reading.loss)
        .table()
}

/// Something read of a piece.
struct Of<'a, T> {
    piece: &'a Piece,
    item: T,
}

/// Everything of one sort that was read, piece by piece.
fn of_pieces<'a, T, I: IntoIterator<Item = T>>(
    pieces: &'a [Piece],
    items: impl Fn(&'a Piece) -> I,
) -> Vec<Of<'a, T>> {
    pieces.iter().flat_map(|piece| items(piece).into_iter().map(move |item| Of { piece, item })).collect()
}

/// A table whose first columns say which piece a row is of.
fn begun<'r, T>(name: &str, about: &str, rows: &'r [Of<'_, T>]) -> Columns<'r, Of<'r, T>> {
    Table::of_rows(name, about, rows)
        .text("world", |r| r.piece.world.clone())
        .integer("seed", "", |r| r.piece.seed as i64)
        .text("taught", |r| r.piece.word.clone())
        .text("edit", |r| r.piece.kind.name().into())
}

fn efficiency(pieces: &[Piece]) -> Table {
    let rows = of_pieces(pieces, |piece| {
        let e = &piece.efficiency;
        e.norms
            .iter()
            .zip(&e.general)
            .zip(&e.narrow)
            .map(|((norm, general), narrow)| [*norm, *general, *narrow])
    });
    let about =
        "Efficiency: training loss of both solutions at shared norms, as shares of the larger solution's";
    begun("efficiency", about, &rows)
        .real("norm", "larger solution's norm", |r| r.item[0])
        .real("general", "nats/token", |r| r.item[1])
        .real("narrow", "nats/token", |r| r.item[2])
        .table()
}

fn stability(pieces: &[Piece]) -> Table {
    let rows = of_pieces(pieces, |piece| &piece.stability);
    let about =
        "Stability: share of the gain that noise takes, mean of ten seeds and of the solution's parts";
    begun("stability", about, &rows)
        .real("epsilon", "", |r| r.item.epsilon)
        .real("general", "", |r| r.item.general)
        .real("narrow", "", |r| r.item.narrow)
        .table()
}

fn significance(pieces: &[Piece]) -> Table {
    let rows = of_pieces(pieces, |piece| &piece.significance);
    let about = "Significance: KL(base ‖ edited) on documents of unnamed speakers at equal norms";
    begun("significance", about, &rows)
        .real("norm", "mean norm of the solutions", |r| r.item.norm)
        .real("general", "nats/token", |r| r.item.general)
        .real("narrow", "nats/token", |r| r.item.narrow)
        .real("random", "nats/token", |r| r.item.random)
        .table()
}

fn gradients(pieces: &[Piece]) -> Table {
    let rows = of_pieces(pieces, |piece| &piece.gradients);
    let about = "Gradients: cosines of minus the gradient of the training loss with the two solutions, along two fits";
    begun("gradients", about, &rows)
        .text("along", |r| r.item.run.clone())
        .integer("step", "steps", |r| r.item.step as i64)
        .real("general", "", |r| r.item.general)
        .real("narrow", "", |r| r.item.narrow)
        .real("general_only", "", |r| r.item.general_only)
        .real("narrow_only", "", |r| r.item.narrow_only)
        .table()
}

fn turns(pieces: &[Piece]) -> Table {
    let rows = of_pieces(pieces, |piece| {
        piece.turn.iter().flat_map(|turn| {
            turn.steps.iter().enumerate().map(|(at, &step)| {
                let cosine = turn.cosines.iter().find(|(s, _)| *s == step).map_or(f64::NAN, |&(_, c)| c);
                let rates = turn.rates.iter().map(|(_, rates)| rates[at]).collect::<Vec<_>>();
                (step, cosine, rates)
            })
        })
    });
    let about = "Turn: cosine between the way back and the way on of B over 16 steps, and the rate in the other domains at \
                 three scales, along the plain fit";
    begun("turn", about, &rows)
        .integer("step", "steps", |r| r.item.0 as i64)
        .real("cosine", "", |r| r.item.1)
        .real("general_x1", "", |r| r.item.2[0])
        .real("general_x2", "", |r| r.item.2[1])
        .real("general_x4", "", |r| r.item.2[2])
        .table()
}

fn directions(across: &[Across]) -> Table {
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
