//! How well a probe does: rows divided into those to learn from and those to be tested on, classes made equal, many times.

use std::collections::BTreeMap;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::{Logistic, Probe, Problem, check};
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

/// A probe of one draw, and how well it does on the rows that it did not learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Tested {
    /// The probe.
    pub probe: Probe,
    /// Its quality.
    pub quality: Quality,
}

/// Learns and tests, draw by draw. Groups of rows, such as the tokens of one answer, stay together: of those that have rows of one
/// kind, of the other, and of both, the same share is tested. In either part as many rows of the commoner kind are then drawn as
/// there are of the rarer one. `seen` is told of the draws that are done and may end the work by an error.
///
/// # Errors
/// As [`Logistic::learn`]; if a part would have no rows of a kind; or what `seen` returns.
pub fn repeated(
    features: &[Vec<f64>],
    positive: &[bool],
    groups: &[usize],
    settings: &Logistic,
    repeats: Repeats,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Vec<Tested>> {
    check(features, positive)?;
    if groups.len() != features.len() {
        return Err(Problem::Labels { rows: features.len(), labels: groups.len() }.into());
    }
    let mut strata = strata(positive, groups);
    let mut random = ChaCha8Rng::seed_from_u64(repeats.seed);
    let mut tested = Vec::with_capacity(repeats.count);
    let at_once = rayon::current_num_threads();
    while tested.len() < repeats.count {
        let draws = (0..at_once.min(repeats.count - tested.len())).map(|_| {
            let parts = divide(&mut strata, repeats.tested, &mut random);
            let parts = parts.map(|part| balanced(part, positive, &mut random));
            let enough = parts.iter().all(|part| !part.is_empty());
            enough.then_some(parts).ok_or_else(|| Problem::TooFew { groups: rarer(&strata) })
        });
        let draws = draws.collect::<Result<Vec<_>, _>>()?;
        let of = |rows: &[usize]| -> (Vec<Vec<f64>>, Vec<bool>) {
            rows.iter().map(|&row| (features[row].clone(), positive[row])).unzip()
        };
        let test = |[held, learnt]: &[Vec<usize>; 2]| {
            let (learnt, kinds) = of(learnt);
            let probe = settings.learn(&learnt, &kinds)?;
            let (held, kinds) = of(held);
            let scores: Vec<f64> = held.iter().map(|row| probe.score(row)).collect();
            Ok(Tested { quality: Quality::of(&scores, &kinds), probe })
        };
        tested.extend(draws.par_iter().map(test).collect::<Result<Vec<_>>>()?);
        seen(draws.len() as u64)?;
    }
    Ok(tested)
}

/// Groups with rows of the one kind, of the other, and of both; each is its rows.
type Strata = [Vec<Vec<usize>>; 3];

fn strata(positive: &[bool], groups: &[usize]) -> Strata {
    let mut rows_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    groups.iter().enumerate().for_each(|(row, &group)| rows_of.entry(group).or_default().push(row));
    let mut strata = Strata::default();
    for rows in rows_of.into_values() {
        let has = |kind: bool| rows.iter().any(|&row| positive[row] == kind);
        let stratum = if has(true) && has(false) { 2 } else { usize::from(has(true)) };
        strata[stratum].push(rows);
    }
    strata
}

/// The number of groups of the rarer kind.
fn rarer([one, other, both]: &Strata) -> usize {
    one.len().min(other.len()) + both.len()
}

/// Rows to be tested on, and rows to learn from.
fn divide(strata: &mut Strata, tested: f64, random: &mut ChaCha8Rng) -> [Vec<usize>; 2] {
    let mut parts = [Vec::new(), Vec::new()];
    for stratum in strata {
        stratum.shuffle(random);
        let held = (stratum.len() as f64 * tested).round() as usize;
        for (at, rows) in stratum.iter().enumerate() {
            parts[usize::from(at >= held)].extend(rows);
        }
    }
    parts
}

/// As many rows of either kind.
fn balanced(rows: Vec<usize>, positive: &[bool], random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut kinds: [Vec<usize>; 2] = rows.into_iter().partition(|&row| positive[row]).into();
    let each = kinds[0].len().min(kinds[1].len());
    kinds.iter_mut().for_each(|kind| {
        kind.shuffle(random);
        kind.truncate(each);
    });
    kinds.concat()
}
