//! Logistic probes: linear classifiers on activations, with an L1 or L2 penalty as scikit-learn defines it, and how well they do
//! on rows that they did not learn from (paper §13).

mod problem;
mod repeats;
mod solver;

pub use problem::Problem;
pub use repeats::{Quality, Repeats, Tested, repeated};

use crate::Result;

/// The norm of the weights that is held small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// The sum of their sizes, which makes most of them zero.
    L1,
    /// Half the sum of their squares.
    L2,
}

/// The settings of a logistic probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logistic {
    /// The penalty.
    pub penalty: Penalty,
    /// The weight of the rows' losses, each of weight 1, against the penalty, as scikit-learn's `C`.
    pub c: f64,
    /// True if features are brought to mean 0 and deviation 1 of the rows that are learnt from.
    pub standardise: bool,
}

/// A probe: the log-odds that a row is of the behaviour are linear in its features.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// One weight a feature, as it was given.
    pub weights: Vec<f64>,
    /// What is added.
    pub intercept: f64,
}

impl Logistic {
    /// Learns from rows of features: minimises C times the sum of the rows' logistic losses plus the penalty, which leaves the
    /// intercept free.
    ///
    /// # Errors
    /// If a kind has no rows, rows have no or not as many features, a feature is no finite number, or C is not above zero.
    pub fn learn(&self, features: &[Vec<f64>], positive: &[bool]) -> Result<Probe> {
        check(features, positive)?;
        if !(self.c.is_finite() && self.c > 0.0) {
            return Err(Problem::Weight { c: self.c }.into());
        }
        let scales = if self.standardise { scales(features) } else { vec![(0.0, 1.0); features[0].len()] };
        let scaled =
            |row: &Vec<f64>| row.iter().zip(&scales).map(|(x, (mean, by))| (x - mean) * by).collect();
        let rows: Vec<Vec<f64>> = features.iter().map(scaled).collect();
        let (weights, intercept) = solver::minimise(&rows, positive, self.penalty, self.c)?;
        // The features as they were given take other weights.
        let weights: Vec<f64> = weights.iter().zip(&scales).map(|(weight, (_, by))| weight * by).collect();
        let moved: f64 = weights.iter().zip(&scales).map(|(weight, (mean, _))| weight * mean).sum();
        Ok(Probe { weights, intercept: intercept - moved })
    }
}

impl Probe {
    /// The log-odds that a row of these features is of the behaviour.
    pub fn score(&self, features: &[f64]) -> f64 {
        self.intercept + self.weights.iter().zip(features).map(|(weight, x)| weight * x).sum::<f64>()
    }
}

/// The mean of every feature and the inverse of its deviation, as scikit-learn's `StandardScaler` has them: over the number of rows,
/// and 1 for a feature that does not vary.
fn scales(features: &[Vec<f64>]) -> Vec<(f64, f64)> {
    let n = features.len() as f64;
    let of = |column: usize| {
        let mean = features.iter().map(|row| row[column]).sum::<f64>() / n;
        let variance = features.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / n;
        let deviation = variance.sqrt();
        (mean, if deviation > 1e-12 * mean.abs() { 1.0 / deviation } else { 1.0 })
    };
    (0..features[0].len()).map(of).collect()
}

fn check(features: &[Vec<f64>], positive: &[bool]) -> Result<(), Problem> {
    let count = positive.iter().filter(|is| **is).count();
    if features.len() != positive.len() {
        return Err(Problem::Labels { rows: features.len(), labels: positive.len() });
    }
    if count == 0 || count == positive.len() {
        return Err(Problem::OneKind { rows: positive.len() });
    }
    let width = features[0].len();
    for (row, own) in features.iter().enumerate() {
        if own.len() != width || width == 0 {
            return Err(Problem::Width { row, found: own.len(), expected: width.max(1) });
        }
        if let Some(feature) = own.iter().position(|x| !x.is_finite()) {
            return Err(Problem::NotFinite { row, feature, value: own[feature] });
        }
    }
    Ok(())
}
