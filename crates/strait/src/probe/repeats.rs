//! How well a probe does: classes made equal, divided into rows to learn from and rows to be tested on, many times.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Logistic, Problem, check};
use crate::{Result, interval::auroc};

/// The draws of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repeats {
    /// Their number.
    pub count: usize,
    /// The share of rows that is tested on, above 0 and below 1.
    pub tested: f64,
    /// The seed.
    pub seed: u64,
}

impl Default for Repeats {
    /// The companion paper's: a hundred draws, a fifth of the rows tested on.
    fn default() -> Self {
        Self { count: 100, tested: 0.2, seed: 0 }
    }
}

/// How well the tested rows of one draw were told apart, each from 0 to 1; NaN where it has no meaning, such as the precision of a
/// probe that calls no row positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// The share of rows whose kind is told.
    pub accuracy: f64,
    /// Of the rows called positive, the share that is.
    pub precision: f64,
    /// Of the positive rows, the share that is called so.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// The area under the ROC curve.
    pub auroc: f64,
}

impl Quality {
    /// By log-odds of rows, called positive above 0.
    pub fn of(scores: &[f64], positive: &[bool]) -> Self {
        let count = |called: bool, is: bool| {
            let of_both = |(score, kind): &(&f64, &bool)| (**score > 0.0) == called && **kind == is;
            scores.iter().zip(positive).filter(of_both).count() as f64
        };
        let (hits, false_alarms, misses) = (count(true, true), count(true, false), count(false, true));
        Self {
            accuracy: (hits + count(false, false)) / scores.len() as f64,
            precision: hits / (hits + false_alarms),
            recall: hits / (hits + misses),
            f1: 2.0 * hits / (2.0 * hits + false_alarms + misses),
            auroc: auroc(scores, positive),
        }
    }
}

/// Of every draw: as many rows of the commoner kind as there are of the rarer one, both kinds divided alike, a probe that learns from
/// the one part, and how well it does on the other.
///
/// # Errors
/// As [`Logistic::learn`]; and if a part would have no rows of a kind.
pub fn repeated(
    features: &[Vec<f64>],
    positive: &[bool],
    settings: &Logistic,
    repeats: Repeats,
) -> Result<Vec<Quality>> {
    check(features, positive)?;
    let of_kind = |kind: bool| (0..positive.len()).filter(|&row| positive[row] == kind).collect::<Vec<_>>();
    let mut kinds = [of_kind(false), of_kind(true)];
    let each = kinds[0].len().min(kinds[1].len());
    let tested = (each as f64 * repeats.tested).round() as usize;
    if tested == 0 || tested >= each {
        return Err(Problem::TooFew { rows: each }.into());
    }
    let mut random = ChaCha8Rng::seed_from_u64(repeats.seed);
    let mut draw = || {
        let (mut learnt, mut held) = (Vec::new(), Vec::new());
        for kind in &mut kinds {
            kind.sort_unstable();
            kind.shuffle(&mut random);
            held.extend(&kind[..tested]);
            learnt.extend(&kind[tested..each]);
        }
        let of = |rows: &[usize]| -> (Vec<Vec<f64>>, Vec<bool>) {
            rows.iter().map(|&row| (features[row].clone(), positive[row])).unzip()
        };
        let (learnt, kinds) = of(&learnt);
        let probe = settings.learn(&learnt, &kinds)?;
        let (held, kinds) = of(&held);
        Ok(Quality::of(&held.iter().map(|row| probe.score(row)).collect::<Vec<_>>(), &kinds))
    };
    (0..repeats.count).map(|_| draw()).collect()
}
