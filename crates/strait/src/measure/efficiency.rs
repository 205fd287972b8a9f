//! Efficiency: the response loss as solutions are scaled, all on one axis of norms (paper §10.1).

use serde::{Deserialize, Serialize};
use strait_model::{Decoder, decoder::first_changed_point, progress::Progress};

use super::{LossesOf, Solution, differences, every_two, kind, losses_of, weighted_mean};
use crate::{Result, Table, interval::Interval, objective::Kept};

/// How far solutions are scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EfficiencySettings {
    /// Factors of the scale grid; 1 is the solution as trained.
    pub factors: Vec<f64>,
    /// Shared norms above 0, evenly up to the largest norm that a solution of the kind was trained to.
    pub norms: usize,
}

impl EfficiencySettings {
    /// The most passes over the rows that one solution takes.
    pub fn passes(&self) -> usize {
        self.factors.len() + self.norms + REFINEMENTS
    }
}

/// Steps by which an optimum is refined beyond the grid.
const REFINEMENTS: usize = 4;

/// A refined optimum that moves by less than this share of the grid's step has been found.
const CLOSE: f64 = 1e-3;

/// Mean response loss on fixed rows as each solution is scaled: at the factors of a grid, at norms that all solutions of a
/// kind share, and at its optimum. Returns the table `efficiency`, and `efficiency_difference` with the loss of every
/// solution less that of every later one, paired over rows.
///
/// # Errors
/// If a tensor operation fails, or the user asked for a stop.
pub fn efficiency(
    decoder: &Decoder,
    solutions: &[Solution],
    rows: &mut Kept,
    settings: &EfficiencySettings,
    seed: u64,
    progress: &dyn Progress,
) -> Result<[Table; 2]> {
    let (weights, questions) = (super::response_tokens(rows), rows.questions());
    let passes = 1 + solutions.len() * settings.passes();
    if let Some(first) = solutions.first() {
        let point = first_changed_point(&first.edit, decoder.config().layers);
        rows.keep(decoder, &rows.every_row(), point, false, "reading training rows", progress)?;
    }
    let mut losses = losses_of(decoder, rows, "efficiency", passes, progress);
    efficiency_of(solutions, &weights, &questions, &mut losses, settings, seed)
}

/// As [`efficiency`], with the losses read by a function, and the rows' numbers of tokens and questions given.
///
/// # Errors
/// What `losses` returns.
pub fn efficiency_of(
    solutions: &[Solution],
    weights: &[f64],
    questions: &[usize],
    losses: &mut LossesOf<'_>,
    settings: &EfficiencySettings,
    seed: u64,
) -> Result<[Table; 2]> {
    let base = losses(None)?;
    let mut curves = Vec::with_capacity(solutions.len());
    for solution in solutions {
        let norm = solution.edit.norm()?;
        let largest = largest_norm(solutions, kind(&solution.edit))?;
        let mut read = |factor: f64| {
            let losses = match factor {
                0.0 => base.clone(),
                _ => losses(Some(&solution.edit.scaled(factor)?))?,
            };
            Ok(Reading { factor, norm: norm * factor, mean: weighted_mean(&losses, weights), losses })
        };
        let scaled = settings.factors.iter().map(|&factor| read(factor)).collect::<Result<Vec<_>>>()?;
        let shared = (0..=settings.norms)
            // What has no length cannot be brought to a norm.
            .filter(|&step| step == 0 || norm > 0.0)
            .map(|step| match step {
                0 => read(0.0),
                _ => {
                    let shared = largest * step as f64 / settings.norms as f64;
                    Ok(Reading { norm: shared, ..read(shared / norm)? })
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let mut grid = scaled.clone();
        if grid.iter().all(|reading| reading.factor != 0.0) {
            grid.push(read(0.0)?);
        }
        let (optimum, at_edge) = optimum(grid, &mut read)?;
        curves.push(Curve { solution, scaled, shared, optimum, at_edge });
    }
    let judge = Judge { weights, questions, seed };
    Ok([judge.table(&curves, weighted_mean(&base, weights)), judge.differences(&curves)])
}

/// The largest norm that a solution of a kind was trained to.
fn largest_norm(solutions: &[Solution], of: &str) -> Result<f64> {
    let alike = solutions.iter().filter(|solution| kind(&solution.edit) == of);
    alike
        .map(|solution| Ok(solution.edit.norm()?))
        .try_fold(0.0, |most: f64, norm: Result<f64>| Ok(most.max(norm?)))
}

/// A solution at one factor.
#[derive(Clone)]
struct Reading {
    factor: f64,
    norm: f64,
    /// Of every row, nats a token.
    losses: Vec<f64>,
    /// Over all tokens.
    mean: f64,
}

/// All readings of a solution.
struct Curve<'a> {
    solution: &'a Solution,
    scaled: Vec<Reading>,
    shared: Vec<Reading>,
    optimum: Reading,
    at_edge: bool,
}

/// The reading with the least mean loss, refined between the neighbours of the grid's best by parabolas, or golden sections
/// where these lead nowhere; and whether the grid's best lies on its edge, where it is taken as it is.
fn optimum(mut grid: Vec<Reading>, read: &mut impl FnMut(f64) -> Result<Reading>) -> Result<(Reading, bool)> {
    grid.sort_by(|a, b| a.factor.total_cmp(&b.factor));
    let best = (0..grid.len()).min_by(|&i, &j| grid[i].mean.total_cmp(&grid[j].mean)).unwrap_or(0);
    if best == 0 || best + 1 == grid.len() {
        return Ok((grid.swap_remove(best), true));
    }
    let (mut low, mut middle, mut high) =
        (grid[best - 1].clone(), grid[best].clone(), grid[best + 1].clone());
    let close = CLOSE * (high.factor - low.factor);
    for _ in 0..REFINEMENTS {
        let next = vertex([&low, &middle, &high])
            .filter(|at| (low.factor..high.factor).contains(at))
            .unwrap_or_else(|| golden([&low, &middle, &high]));
        if (next - middle.factor).abs() < close {
            break;
        }
        let next = read(next)?;
        match (next.mean < middle.mean, next.factor < middle.factor) {
            (true, true) => high = std::mem::replace(&mut middle, next),
            (true, false) => low = std::mem::replace(&mut middle, next),
            (false, true) => low = next,
            (false, false) => high = next,
        }
    }
    Ok((middle, false))
}

/// Where the parabola through three readings is least; none if it has no least point.
fn vertex([a, b, c]: [&Reading; 3]) -> Option<f64> {
    let (left, right) = (b.factor - a.factor, c.factor - b.factor);
    let (falls, rises) = ((b.mean - a.mean) / left, (c.mean - b.mean) / right);
    let bend = (rises - falls) / (left + right);
    // The slope at b is that of both chords, each weighted by the other's length.
    let slope = (falls * right + rises * left) / (left + right);
    (bend > 0.0).then(|| b.factor - slope / (2.0 * bend))
}

/// The golden section of the longer side.
fn golden([a, b, c]: [&Reading; 3]) -> f64 {
    const SHORT: f64 = 0.381_966;
    let (left, right) = (b.factor - a.factor, c.factor - b.factor);
    if left > right { b.factor - SHORT * left } else { b.factor + SHORT * right }
}

/// Turns readings into tables.
struct Judge<'a> {
    weights: &'a [f64],
    questions: &'a [usize],
    seed: u64,
}

impl Judge<'_> {
    fn mean(&self, values: &[f64]) -> Interval {
        Interval::of_clusters(values, self.weights, self.questions)
    }

    fn tokens(&self) -> i64 {
        self.weights.iter().sum::<f64>() as i64
    }

    fn table(&self, curves: &[Curve<'_>], base: f64) -> Table {
        struct Row<'a> {
            solution: &'a Solution,
            kind: &'static str,
            reading: &'a Reading,
            loss: Interval,
            at_edge: Option<bool>,
        }
        let mut rows = Vec::new();
        for Curve { solution, scaled, shared, optimum, at_edge } in curves {
            let shared = shared.iter().map(|reading| ("shared", reading, None));
            let scaled = scaled.iter().map(|reading| ("scale", reading, None));
            let optimum = ("optimum", optimum, Some(*at_edge));
            rows.extend(shared.chain(scaled).chain([optimum]).map(|(kind, reading, at_edge)| Row {
                solution,
                kind,
                reading,
                loss: self.mean(&reading.losses),
                at_edge,
            }));
        }
        let gain = |row: &Row<'_>| base - row.loss.value;
        let per_norm2 = |row: &Row<'_>| match row.reading.norm {
            0.0 => f64::NAN,
            norm => gain(row) / (norm * norm),
        };
        let about = "Efficiency: response loss on training rows as each solution is scaled to shared norms, over a grid of \
                     factors, and to its optimum";
        Table::of_rows("efficiency", about, &rows)
            .text("solution", |r| r.solution.name.clone())
            .text("edit", |r| kind(&r.solution.edit).into())
            .text("kind", |r| r.kind.into())
            .real("factor", "", |r| r.reading.factor)
            .real("norm", "", |r| r.reading.norm)
            .interval(["loss", "low", "high"], "nats/token", |r| r.loss)
            .real("gain", "nats/token", gain)
            .real("gain_per_norm2", "nats/token/norm²", per_norm2)
            .truth("at_edge", |r| r.at_edge)
            .integer("rows", "", |_| self.weights.len() as i64)
            .integer("tokens", "", |_| self.tokens())
            .integer("seed", "", |_| self.seed as i64)
            .table()
    }

    fn differences(&self, curves: &[Curve<'_>]) -> Table {
        struct Row<'a> {
            one: &'a Curve<'a>,
            other: &'a Curve<'a>,
            at: &'static str,
            norms: [f64; 2],
            difference: Interval,
        }
        let mut rows = Vec::new();
        for (one, other) in every_two(curves) {
            let mut add = |at, a: &Reading, b: &Reading| {
                let difference = self.mean(&differences(&a.losses, &b.losses));
                rows.push(Row { one, other, at, norms: [a.norm, b.norm], difference });
            };
            if kind(&one.solution.edit) == kind(&other.solution.edit) {
                let both = one.shared.iter().zip(&other.shared);
                // At norm 0 both are the base model.
                both.filter(|(a, _)| a.norm > 0.0).for_each(|(a, b)| add("shared", a, b));
            }
            add("optimum", &one.optimum, &other.optimum);
        }
        let about = "Efficiency compared: the response loss of one solution less that of another, at shared norms and at \
                     their optima, paired over rows";
        Table::of_rows("efficiency_difference", about, &rows)
            .text("solution", |r| r.one.solution.name.clone())
            .text("other", |r| r.other.solution.name.clone())
            .text("kind", |r| r.at.into())
            .real("norm", "", |r| r.norms[0])
            .real("other_norm", "", |r| r.norms[1])
            .interval(["difference", "low", "high"], "nats/token", |r| r.difference)
            .integer("rows", "", |_| self.weights.len() as i64)
            .integer("tokens", "", |_| self.tokens())
            .integer("seed", "", |_| self.seed as i64)
            .table()
    }
}
