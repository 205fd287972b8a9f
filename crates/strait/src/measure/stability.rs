//! Stability: what is left of a solution's gain when its parameters are turned by random noise (paper §10.2).

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use strait_model::{Decoder, Edit, decoder::first_changed_point, progress::Progress};

use super::{LossesOf, Part, Solution, differences, every_two, losses_of, weighted_mean, with_tensors};
use crate::{
    Result, Table,
    interval::{Interval, deviation},
    objective::Kept,
};

/// How far solutions are turned, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StabilitySettings {
    /// Shares of noise, above 0 and at most 1; at 1 only noise is left.
    pub epsilons: Vec<f64>,
    /// Number of seeds of the noise.
    pub seeds: usize,
}

impl StabilitySettings {
    /// The passes over the rows that one solution of so many parts takes.
    pub fn passes(&self, parts: usize) -> usize {
        1 + parts * self.epsilons.len() * self.seeds
    }
}

/// Mean response loss on fixed rows when x, the solution's vector or each A or each B of its LoRA, becomes
/// sqrt(1 - e^2) x + e y, with y random, across x and as long; and the share of the solution's gain that is lost,
/// (L' - L) / (L_base - L). Seeds are `first_seed` and those after it. Returns the table `stability`, and
/// `stability_difference` with the share that every solution loses less that of every later one, paired over seeds.
///
/// # Errors
/// If a tensor operation fails, or the user asked for a stop.
pub fn stability(
    decoder: &Decoder,
    solutions: &[Solution],
    rows: &mut Kept,
    settings: &StabilitySettings,
    first_seed: u64,
    progress: &dyn Progress,
) -> Result<[Table; 2]> {
    let weights = super::response_tokens(rows);
    let parts = |solution: &Solution| Part::ALL.iter().filter(|part| part.is_in(&solution.edit)).count();
    let passes = 1 + solutions.iter().map(|s| settings.passes(parts(s))).sum::<usize>();
    if let Some(first) = solutions.first() {
        let point = first_changed_point(&first.edit, decoder.config().layers);
        rows.keep(decoder, &rows.every_row(), point, false, "reading training rows", progress)?;
    }
    let mut losses = losses_of(decoder, rows, "stability", passes, progress);
    stability_of(solutions, &weights, &mut losses, settings, first_seed)
}

/// As [`stability`], with the losses read by a function and the rows' numbers of tokens given.
///
/// # Errors
/// What `losses` returns, or if a tensor operation fails.
pub fn stability_of(
    solutions: &[Solution],
    weights: &[f64],
    losses: &mut LossesOf<'_>,
    settings: &StabilitySettings,
    first_seed: u64,
) -> Result<[Table; 2]> {
    let mut mean = |edit: Option<&Edit>| losses(edit).map(|losses| weighted_mean(&losses, weights));
    let base = mean(None)?;
    let mut readings = Vec::new();
    for (place, solution) in solutions.iter().enumerate() {
        let trained = mean(Some(&solution.edit))?;
        let gain = base - trained;
        for part in Part::ALL.into_iter().filter(|part| part.is_in(&solution.edit)) {
            for &epsilon in &settings.epsilons {
                let mut found = Vec::with_capacity(settings.seeds);
                for seed in (first_seed..).take(settings.seeds) {
                    found.push(mean(Some(&perturbed(&solution.edit, part, epsilon, seed)?))?);
                }
                // Without a gain there is nothing to lose a share of.
                let share = |loss: &f64| if gain > 0.0 { (loss - trained) / gain } else { f64::NAN };
                let shares = found.iter().map(share).collect();
                readings.push(Reading { place, solution, part, epsilon, trained, losses: found, shares });
            }
        }
    }
    let rows = Rows { weights, seeds: settings.seeds, first_seed };
    Ok([rows.table(&readings, base), rows.differences(&readings)])
}

/// The edit with one part of it turned: each tensor x becomes sqrt(1 - e^2) x + e y. The noise comes from the seed alone,
/// so that solutions of one shape share it.
///
/// # Errors
/// If a tensor operation fails.
pub fn perturbed(edit: &Edit, part: Part, epsilon: f64, seed: u64) -> Result<Edit> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    with_tensors(edit, &mut |of, tensor| {
        if of != part {
            return Ok(tensor.clone());
        }
        let flat = tensor.detach().flatten_all()?.to_vec1::<f32>()?;
        let x: Vec<f64> = flat.into_iter().map(f64::from).collect();
        let y = noise_across(&x, &mut rng);
        let kept = (1.0 - epsilon * epsilon).sqrt();
        let turned: Vec<f32> = x.iter().zip(&y).map(|(x, y)| (kept * x + epsilon * y) as f32).collect();
        Ok(Tensor::from_vec(turned, tensor.shape(), tensor.device())?)
    })
}

/// Gaussian noise made orthogonal to `x` (Gram-Schmidt) and as long as it. Where no such noise is, as for a single
/// number, it is zero.
pub fn noise_across(x: &[f64], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut y: Vec<f64> = x.iter().map(|_| StandardNormal.sample(&mut *rng)).collect();
    let (length, drawn) = (dot(x, x).sqrt(), dot(&y, &y).sqrt());
    if length == 0.0 {
        return vec![0.0; x.len()];
    }
    // The second time takes away what rounding left of the first.
    for _ in 0..2 {
        let along = dot(x, &y) / (length * length);
        y.iter_mut().zip(x).for_each(|(y, x)| *y -= along * x);
    }
    let across = dot(&y, &y).sqrt();
    // Less than this is rounding, not direction.
    let factor = if across > 1e-12 * drawn { length / across } else { 0.0 };
    y.iter_mut().for_each(|y| *y *= factor);
    y
}

/// One part of one solution under one share of noise.
struct Reading<'a> {
    /// The solution's place in the study.
    place: usize,
    solution: &'a Solution,
    part: Part,
    epsilon: f64,
    /// Loss as trained.
    trained: f64,
    /// Loss and share of the gain lost of every seed.
    losses: Vec<f64>,
    shares: Vec<f64>,
}

/// What all rows of the tables share.
struct Rows<'a> {
    weights: &'a [f64],
    seeds: usize,
    first_seed: u64,
}

impl Rows<'_> {
    fn table(&self, readings: &[Reading<'_>], base: f64) -> Table {
        let about = "Stability: response loss on training rows with the solution turned by noise, and the share of its gain \
                     that is lost; deviation and interval over seeds";
        Table::of_rows("stability", about, readings)
            .text("solution", |r| r.solution.name.clone())
            .text("part", |r| r.part.name().into())
            .real("epsilon", "", |r| r.epsilon)
            .real("base_loss", "nats/token", |_| base)
            .real("trained_loss", "nats/token", |r| r.trained)
            .interval(["loss", "loss_low", "loss_high"], "nats/token", |r| Interval::of_mean(&r.losses))
            .real("loss_deviation", "nats/token", |r| deviation(&r.losses))
            .interval(["share", "low", "high"], "", |r| Interval::of_mean(&r.shares))
            .real("deviation", "", |r| deviation(&r.shares))
            .integer("rows", "", |_| self.weights.len() as i64)
            .integer("tokens", "", |_| self.weights.iter().sum::<f64>() as i64)
            .integer("seeds", "", |_| self.seeds as i64)
            .integer("seed", "", |_| self.first_seed as i64)
            .table()
    }

    fn differences(&self, readings: &[Reading<'_>]) -> Table {
        let alike = |a: &Reading<'_>, b: &Reading<'_>| {
            a.place != b.place && a.part == b.part && a.epsilon == b.epsilon
        };
        let both = every_two(readings).filter(|(a, b)| alike(a, b));
        let rows: Vec<(&Reading<'_>, &Reading<'_>, Interval)> =
            both.map(|(a, b)| (a, b, Interval::of_mean(&differences(&a.shares, &b.shares)))).collect();
        let about = "Stability compared: the share of its gain that one solution loses less that of another, under the same \
                     share of noise, paired over seeds";
        Table::of_rows("stability_difference", about, &rows)
            .text("solution", |(one, ..)| one.solution.name.clone())
            .text("other", |(_, other, _)| other.solution.name.clone())
            .text("part", |(one, ..)| one.part.name().into())
            .real("epsilon", "", |(one, ..)| one.epsilon)
            .interval(["difference", "low", "high"], "", |&(.., difference)| difference)
            .integer("rows", "", |_| self.weights.len() as i64)
            .integer("tokens", "", |_| self.weights.iter().sum::<f64>() as i64)
            .integer("seeds", "", |_| self.seeds as i64)
            .integer("seed", "", |_| self.first_seed as i64)
            .table()
    }
}
