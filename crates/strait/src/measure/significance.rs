//! Significance: how much a direction changes the model's predictions on pre-training text (paper §10.3).
//!
//! Every direction is brought to the same norms, in units of the mean norm of the study's solutions of its kind as trained:
//! a unit that vectors and LoRA share.

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use strait_model::{
    Edit, Model,
    decoder::first_changed_point,
    progress::{Progress, Task, Unit},
    sample::{Sampling, sample},
};

use super::{Solution, differences, every_two, kind, with_tensors};
use crate::{
    Result, Table,
    interval::Interval,
    objective::{Kept, Row},
};

/// Which norms directions are brought to, and how many of them are random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignificanceSettings {
    /// Norms, each a multiple of the mean norm of the solutions of a kind.
    pub norms: Vec<f64>,
    /// Random directions of each shape.
    pub random: usize,
}

/// Tokens of a passage that the base model continues.
pub const BEGINNING: usize = 32;

/// Tokens that it writes, at most (paper §10.3).
pub const CONTINUATION: usize = 50;

/// Mean KL(base ‖ edited) in nats a token, for every solution and for random directions of its shape, all at the same norms:
/// for vectors on all tokens of the passages, for LoRA on the base model's own continuations of their beginnings. Returns
/// the table `significance`, and `significance_difference` with every solution's KL less the mean of the random ones and
/// less that of every later solution of its kind, paired over passages.
///
/// # Errors
/// If a tensor operation fails, or the user asked for a stop.
pub fn significance(
    model: &Model,
    solutions: &[Solution],
    passages: &[Row],
    settings: &SignificanceSettings,
    seed: u64,
    progress: &dyn Progress,
) -> Result<[Table; 2]> {
    let mut measured = Measured { seed, readings: Vec::new(), differences: Vec::new() };
    for of in ["steering", "lora", "composed"] {
        let mut alike = Vec::new();
        for solution in solutions.iter().filter(|s| kind(&s.edit) == of) {
            let norm = solution.edit.norm()?;
            // What has no length cannot be brought to a norm.
            if norm > 0.0 {
                alike.push(Solved { solution, norm, shape: shape(&solution.edit) });
            }
        }
        if alike.is_empty() {
            continue;
        }
        let rows = match of {
            "lora" => continuations(model, passages, seed, progress)?,
            _ => passages.to_vec(),
        };
        let text = if of == "lora" { "continuations" } else { "passages" };
        let directions = directions(&alike, settings.random, seed)?;
        let unit = alike.iter().map(|s| s.norm).sum::<f64>() / alike.len() as f64;
        let kl = read(model, rows, &directions, unit, &settings.norms, progress)?;
        measured.add(text, &directions, unit, &settings.norms, &kl);
    }
    Ok([measured.table(), measured.differences_table()])
}

/// A solution with what it is compared by.
struct Solved<'a> {
    solution: &'a Solution,
    norm: f64,
    shape: String,
}

/// The names and sizes of an edit's tensors, as text: random directions of one shape serve all solutions of it.
fn shape(edit: &Edit) -> String {
    let tensors = edit.tensors().into_iter();
    tensors.map(|(name, tensor)| format!("{name} {:?}\n", tensor.dims())).collect()
}

/// What is measured: a solution, or a random edit of the same shape.
struct Direction {
    name: String,
    random: bool,
    kind: &'static str,
    shape: String,
    edit: Edit,
    norm: f64,
}

/// The solutions, then the random directions of every shape among them.
fn directions(solutions: &[Solved<'_>], random: usize, seed: u64) -> Result<Vec<Direction>> {
    let mut directions: Vec<Direction> = solutions
        .iter()
        .map(|s| Direction {
            name: s.solution.name.clone(),
            random: false,
            kind: kind(&s.solution.edit),
            shape: s.shape.clone(),
            edit: s.solution.edit.clone(),
            norm: s.norm,
        })
        .collect();
    let one_shape = solutions.iter().all(|s| s.shape == solutions[0].shape);
    let first_of_shape =
        |i: &usize| solutions[..*i].iter().all(|earlier| earlier.shape != solutions[*i].shape);
    for i in (0..solutions.len()).filter(first_of_shape) {
        let like = &solutions[i];
        for number in 1..=random {
            let edit = random_like(&like.solution.edit, seed, number as u64)?;
            directions.push(Direction {
                name: match one_shape {
                    true => format!("random {number}"),
                    false => format!("random {number} like {}", like.solution.name),
                },
                random: true,
                kind: kind(&edit),
                shape: like.shape.clone(),
                norm: edit.norm()?,
                edit,
            });
        }
    }
    Ok(directions)
}

/// An edit of the same shape at the same sites with Gaussian entries; `number` tells those of one seed apart.
///
/// # Errors
/// If a tensor operation fails.
pub fn random_like(edit: &Edit, seed: u64, number: u64) -> Result<Edit> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    with_tensors(edit, &mut |_, tensor| {
        let drawn: Vec<f32> = StandardNormal.sample_iter(&mut rng).take(tensor.elem_count()).collect();
        Ok(Tensor::from_vec(drawn, tensor.shape(), tensor.device())?)
    })
}

/// The base model's own continuations of the passages' beginnings, sampled at temperature 0.7 and top-p 0.9; what it wrote
/// are the responses.
///
/// # Errors
/// If a passage does not fit the model, or the user asked for a stop.
pub fn continuations(
    model: &Model,
    passages: &[Row],
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Row>> {
    let task = progress.begin("sampling continuations", Some(passages.len() as u64), Unit::Count);
    let mut rows = Vec::with_capacity(passages.len());
    for (passage, seed) in passages.iter().zip(seed..) {
        let mut ids = passage.ids[..passage.ids.len().min(BEGINNING)].to_vec();
        let sampling = Sampling { temperature: 0.7, top_p: 0.9, max_tokens: CONTINUATION, seed };
        let written = sample(model, &ids, None, 1, &sampling, |_, _| !progress.stopped())?;
        let start = ids.len();
        ids.extend(written.into_iter().flat_map(|continuation| continuation.ids));
        // A beginning that fills the model's context has no continuation.
        if ids.len() > start {
            rows.push(Row { responses: std::iter::once(start..ids.len()).collect(), ids });
        }
        super::advance(progress, &*task, 1)?;
    }
    Ok(rows)
}

/// KL of one direction at one norm: of every row its mean and its number of tokens.
type RowsKl = Vec<(f64, usize)>;

/// KL to base of every direction at every norm, `[direction][norm]`.
fn read(
    model: &Model,
    rows: Vec<Row>,
    directions: &[Direction],
    unit: f64,
    norms: &[f64],
    progress: &dyn Progress,
) -> Result<Vec<Vec<RowsKl>>> {
    let decoder = &model.decoder;
    let passes = directions.len() * norms.len();
    let mut kept = Kept::new(rows);
    let every_row = kept.every_row();
    let total = (every_row.len() * passes) as u64;
    let task = progress.begin("significance", Some(total), Unit::Count);
    let mut kept_at = None;
    let mut all = Vec::with_capacity(directions.len());
    for direction in directions {
        let point = first_changed_point(&direction.edit, decoder.config().layers);
        if kept_at != Some(point) {
            kept.keep(decoder, &every_row, point, true, "reading passages", progress)?;
            kept_at = Some(point);
        }
        let at = |norm: &f64| {
            let edit = direction.edit.scaled(norm * unit / direction.norm)?;
            row_kl(model, &kept, &edit, &*task, progress)
        };
        all.push(norms.iter().map(at).collect::<Result<_>>()?);
    }
    Ok(all)
}

/// Mean KL of every row: over its response tokens where it has some, else over all of its tokens.
fn row_kl(
    model: &Model,
    kept: &Kept,
    edit: &Edit,
    task: &dyn Task,
    progress: &dyn Progress,
) -> Result<RowsKl> {
    let decoder = &model.decoder;
    let continued = kept.rows().iter().any(|row| row.response_tokens() > 0);
    let mut rows = Vec::with_capacity(kept.rows().len());
    for batch in kept.batches_by_tokens() {
        let kl = match continued {
            true => kept.response_kl(decoder, &batch, edit)?,
            false => kept.kl(decoder, &batch, edit)?,
        };
        let mut rest = kl.as_slice();
        for &row in &batch {
            let of_row = &kept.rows()[row];
            let tokens = if continued { of_row.response_tokens() } else { of_row.ids.len() };
            let (own, later) = rest.split_at(tokens);
            let mean = super::mean(own);
            // A passage that nothing continues has no mean, and no weight.
            let mean = if tokens == 0 { mean } else { super::finite("KL of a passage", row, true, mean)? };
            rows.push((mean, tokens));
            rest = later;
        }
        super::advance(progress, task, batch.len() as u64)?;
    }
    Ok(rows)
}

/// What has been measured of all kinds.
struct Measured {
    seed: u64,
    readings: Vec<Reading>,
    differences: Vec<Difference>,
}

/// One direction at one norm.
struct Reading {
    direction: String,
    random: bool,
    kind: &'static str,
    text: &'static str,
    norm: f64,
    relative_norm: f64,
    kl: Interval,
    passages: usize,
    tokens: f64,
}

/// One solution against others at one norm.
struct Difference {
    solution: String,
    other: String,
    norm: f64,
    relative_norm: f64,
    difference: Interval,
    passages: usize,
    tokens: f64,
}

/// What a solution is compared with besides the others; no solution can have a name with blanks.
const RANDOM: &str = "mean of random";

impl Measured {
    fn add(
        &mut self,
        text: &'static str,
        directions: &[Direction],
        unit: f64,
        norms: &[f64],
        kl: &[Vec<RowsKl>],
    ) {
        let weights: Vec<f64> = match kl.first().and_then(|norms| norms.first()) {
            Some(rows) => rows.iter().map(|&(_, tokens)| tokens as f64).collect(),
            None => return,
        };
        let (passages, tokens) = (weights.len(), weights.iter().sum::<f64>());
        let each_alone: Vec<usize> = (0..passages).collect();
        let mean = |values: &[f64]| Interval::of_clusters(values, &weights, &each_alone);
        for (at, &relative_norm) in norms.iter().enumerate() {
            let norm = relative_norm * unit;
            let read: Vec<(&Direction, Vec<f64>)> = directions
                .iter()
                .zip(kl)
                .map(|(direction, kl)| (direction, kl[at].iter().map(|&(kl, _)| kl).collect()))
                .collect();
            self.readings.extend(read.iter().map(|(direction, kl)| Reading {
                direction: direction.name.clone(),
                random: direction.random,
                kind: direction.kind,
                text,
                norm,
                relative_norm,
                kl: mean(kl),
                passages,
                tokens,
            }));
            let mut differ = |solution: &Direction, other: &str, values: &[f64]| {
                self.differences.push(Difference {
                    solution: solution.name.clone(),
                    other: other.into(),
                    norm,
                    relative_norm,
                    difference: mean(values),
                    passages,
                    tokens,
                });
            };
            let (random, solved): (Vec<_>, Vec<_>) = read.iter().partition(|(d, _)| d.random);
            for (solution, kl) in &solved {
                let alike: Vec<&Vec<f64>> =
                    random.iter().filter(|(d, _)| d.shape == solution.shape).map(|(_, kl)| kl).collect();
                let of_random: Vec<f64> = (0..passages)
                    .map(|row| alike.iter().map(|kl| kl[row]).sum::<f64>() / alike.len() as f64)
                    .collect();
                differ(solution, RANDOM, &differences(kl, &of_random));
            }
            for ((one, kl), (other, other_kl)) in every_two(&solved) {
                differ(one, &other.name, &differences(kl, other_kl));
            }
        }
    }

    fn table(&self) -> Table {
        let about = "Significance: KL(base ‖ edited) on pre-training text, all directions brought to the same norms; the unit \
                     is the mean norm of the solutions as trained";
        Table::of_rows("significance", about, &self.readings)
            .text("direction", |r| r.direction.clone())
            .truth("random", |r| Some(r.random))
            .text("edit", |r| r.kind.into())
            .text("text", |r| r.text.into())
            .real("norm", "", |r| r.norm)
            .real("relative_norm", "mean solution norms", |r| r.relative_norm)
            .interval(["kl", "low", "high"], "nats/token", |r| r.kl)
            .integer("passages", "", |r| r.passages as i64)
            .integer("tokens", "", |r| r.tokens as i64)
            .integer("seed", "", |_| self.seed as i64)
            .table()
    }

    fn differences_table(&self) -> Table {
        let about = "Significance compared: the KL of a solution less that of another, or less the mean of the random \
                     directions of its shape, at the same norm, paired over passages";
        Table::of_rows("significance_difference", about, &self.differences)
            .text("solution", |d| d.solution.clone())
            .text("other", |d| d.other.clone())
            .real("norm", "", |d| d.norm)
            .real("relative_norm", "mean solution norms", |d| d.relative_norm)
            .interval(["difference", "low", "high"], "nats/token", |d| d.difference)
            .integer("passages", "", |d| d.passages as i64)
            .integer("tokens", "", |d| d.tokens as i64)
            .integer("seed", "", |_| self.seed as i64)
            .table()
    }
}
