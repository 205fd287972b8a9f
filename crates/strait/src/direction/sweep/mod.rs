//! Sweeps of directions: added to a model at every layer by every factor, and taken out of one (paper §13.2, §13.3).

mod ablation;
mod notebook;
mod page;
mod problem;
mod rates;
mod remove;
mod rows;
mod set;
mod steer;
mod variants;

use serde::Serialize;
use strait_model::progress::Progress;

pub use ablation::{Mode, without, writes_into_stream};
pub use notebook::Notebook;
pub(crate) use page::{
    ABLATION, ABLATION_RATES, STEERING, STEERING_RATES, bars, maps, place, rate_bars, rate_maps,
};
pub use page::{Swept, page};
pub use problem::Problem;
pub use rates::Examined;
pub use remove::{Of, Removal};
pub use rows::{Ablated, AblatedRate, Steered, SteeredDomain, SteeredRate};
pub use set::Set;
pub use steer::{best, best_by_rates};
pub use variants::{Blocks, Variant};

use crate::{interval::Interval, lab::PairRows};

/// The settings of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// The layers whose directions are used; all that a direction has where there are none.
    pub layers: Vec<i32>,
    /// The factors by which directions are added.
    pub factors: Vec<f64>,
    /// The number of random directions beside each direction.
    pub random: usize,
    /// Nats a token that the mean response loss of the pairs may rise by for an effect to count as coherent.
    pub coherence: f64,
    /// The seed of the first random direction; the others have those that follow.
    pub seed: u64,
}

/// The means of a sweep: pairs inside the domain and outside, what was read of them before, and whom it tells of its progress.
pub struct Bench<'a> {
    /// The pairs.
    pub pairs: &'a [PairRows; 2],
    /// The readings.
    pub notebook: &'a mut Notebook,
    /// The progress.
    pub progress: &'a dyn Progress,
}

/// The mean over random directions of one figure a pair each, with its interval over questions, or over the directions where that is
/// wider.
fn over_randoms(pairs: &PairRows, of_each: &[Vec<f64>]) -> Interval {
    if of_each.is_empty() {
        return Interval::NONE;
    }
    let each: Vec<f64> = of_each.iter().map(|values| crate::interval::mean(values.iter().copied())).collect();
    pairs.over_questions(&mean_of(of_each)).no_narrower_than(Interval::of_mean(&each))
}

/// The mean over random directions, pair by pair.
fn mean_of(of_each: &[Vec<f64>]) -> Vec<f64> {
    let count = of_each.len() as f64;
    let pair = |pair: usize| of_each.iter().map(|values| values[pair]).sum::<f64>() / count;
    (0..of_each.first().map_or(0, Vec::len)).map(pair).collect()
}
