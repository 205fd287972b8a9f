//! Intervals: what a figure may be, given how few rows it rests on.

use std::collections::HashMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A figure with its 95 % interval; the bounds are NaN where the data cannot give any.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// Numbers each distinct key, in order of first appearance: what [`bootstrap_mean`] takes as clusters.
pub fn clusters<K: std::hash::Hash + Eq>(keys: impl IntoIterator<Item = K>) -> Vec<usize> {
    let mut numbers = HashMap::new();
    keys.into_iter()
        .map(|key| {
            let next = numbers.len();
            *numbers.entry(key).or_insert(next)
        })
        .collect()
}

/// Weighted mean with a percentile bootstrap over clusters (questions, rows): answers to one question are not independent,
/// so whole clusters are drawn.
///
/// `values[i]` has weight `weights[i]` and belongs to cluster `clusters[i]`. Fewer than two clusters give no bounds.
pub fn bootstrap_mean(
    values: &[f64],
    weights: &[f64],
    clusters: &[usize],
    resamples: usize,
    seed: u64,
) -> Interval {
    let count = clusters.iter().max().map_or(0, |&c| c + 1);
    let mut sums = vec![(0.0, 0.0); count];
    for ((value, weight), &cluster) in values.iter().zip(weights).zip(clusters) {
        sums[cluster].0 += weight * value;
        sums[cluster].1 += weight;
    }
    let mean = |picked: &mut dyn Iterator<Item = (f64, f64)>| {
        let (sum, weight) = picked.fold((0.0, 0.0), |(s, w), (ds, dw)| (s + ds, w + dw));
        sum / weight
    };
    let value = mean(&mut sums.iter().copied());
    if count < 2 || resamples == 0 {
        return Interval { value, low: f64::NAN, high: f64::NAN };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> =
        (0..resamples).map(|_| mean(&mut (0..count).map(|_| sums[rng.random_range(0..count)]))).collect();
    means.sort_by(f64::total_cmp);
    Interval { value, low: quantile(&means, 0.025), high: quantile(&means, 0.975) }
}

/// Mean of a few independent draws (seeds) with Student's 95 % interval: a bootstrap of so few would be too narrow.
/// Fewer than two draws give no bounds.
pub fn student_mean(values: &[f64]) -> Interval {
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let half = student_975(values.len().saturating_sub(1)) * deviation(values) / n.sqrt();
    Interval { value, low: value - half, high: value + half }
}

/// As [`student_mean`], of shares from 0 to 1: the interval is cut off there.
pub fn student_share(shares: &[f64]) -> Interval {
    let Interval { value, low, high } = student_mean(shares);
    // A comparison with NaN leaves the bound as it is: there is none.
    Interval { value, low: if low < 0.0 { 0.0 } else { low }, high: if high > 1.0 { 1.0 } else { high } }
}

/// Spearman's rank correlation of pairs, ties at their mean rank, with a percentile bootstrap over pairs. Fewer than three
/// pairs, or values that are all the same, give no figure.
pub fn rank_correlation(pairs: &[(f64, f64)], resamples: usize, seed: u64) -> Interval {
    let value = spearman(pairs);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let resample = |_| {
        let drawn: Vec<_> = pairs.iter().map(|_| pairs[rng.random_range(0..pairs.len())]).collect();
        spearman(&drawn)
    };
    // A resample of one pair drawn again and again has no ranks.
    let mut found: Vec<f64> = (0..resamples).map(resample).filter(|rho| !rho.is_nan()).collect();
    found.sort_by(f64::total_cmp);
    if value.is_nan() || found.is_empty() {
        return Interval { value, low: f64::NAN, high: f64::NAN };
    }
    Interval { value, low: quantile(&found, 0.025), high: quantile(&found, 0.975) }
}

fn spearman(pairs: &[(f64, f64)]) -> f64 {
    if pairs.len() < 3 {
        return f64::NAN;
    }
    let (one, other): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let centred = |values: &[f64]| {
        let middle = (values.len() - 1) as f64 / 2.0;
        let rank = |x: &f64| {
            let below = values.iter().filter(|y| *y < x).count();
            let alike = values.iter().filter(|y| *y == x).count();
            below as f64 + (alike - 1) as f64 / 2.0 - middle
        };
        values.iter().map(rank).collect::<Vec<_>>()
    };
    let (one, other) = (centred(&one), centred(&other));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt()
}

/// Standard deviation of a sample; NaN for fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    if values.len() < 2 { f64::NAN } else { (squares / (n - 1.0)).sqrt() }
}

/// The 97.5 % point of Student's distribution: from its table up to 10 degrees of freedom, beyond them by the first terms
/// of its expansion about the normal one, which are right to a thousandth there.
fn student_975(degrees: usize) -> f64 {
    const FEW: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    const NORMAL: f64 = 1.959_964;
    match degrees {
        0 => f64::NAN,
        1..=10 => FEW[degrees - 1],
        _ => {
            let n = degrees as f64;
            let z = NORMAL;
            z + (z.powi(3) + z) / (4.0 * n) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n)
        }
    }
}

/// Linear interpolation between the order statistics of sorted numbers.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] * (1.0 - part) + sorted[above] * part
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, Normal};

    use super::*;

    #[test]
    fn the_interval_of_a_normal_mean_is_near_its_textbook_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let values: Vec<f64> = Normal::new(3.0, 2.0).unwrap().sample_iter(&mut rng).take(400).collect();
        let mean = values.iter().sum::<f64>() / 400.0;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 399.0).sqrt();
        let each_alone: Vec<usize> = (0..400).collect();
        let interval = bootstrap_mean(&values, &[1.0; 400], &each_alone, 4000, 7);
        assert_eq!(interval.value, mean);
        let half = 1.96 * deviation / 20.0;
        assert!((interval.low - (mean - half)).abs() < 0.1 * half, "{interval:?}, {half}");
        assert!((interval.high - (mean + half)).abs() < 0.1 * half, "{interval:?}, {half}");
    }

    #[test]
    fn repeated_answers_to_one_question_do_not_narrow_the_interval() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 5)).collect();
        let alone: Vec<usize> = (0..100).collect();
        let five = clusters((0..100).map(|i| i % 5));
        let width = |i: Interval| i.high - i.low;
        let (alone, five) = (
            bootstrap_mean(&values, &[1.0; 100], &alone, 2000, 1),
            bootstrap_mean(&values, &[1.0; 100], &five, 2000, 1),
        );
        assert!(width(five) > 3.0 * width(alone));
    }

    #[test]
    fn students_interval_is_that_of_the_textbook() {
        let interval = student_mean(&[1.0, 2.0, 3.0]);
        let half = 4.303 / 3f64.sqrt();
        assert!((interval.high - (2.0 + half)).abs() < 1e-9 && (interval.low - (2.0 - half)).abs() < 1e-9);
        for (degrees, expected) in [(1, 12.706), (10, 2.228), (11, 2.201), (20, 2.086), (60, 2.000)] {
            assert!((student_975(degrees) / expected - 1.0).abs() < 1e-3, "{degrees}");
        }
        assert!(student_mean(&[1.0]).low.is_nan());
    }

    #[test]
    fn no_share_is_below_nothing_or_above_the_whole() {
        let interval = student_share(&[0.0, 0.9, 1.0]);
        assert_eq!((interval.low, interval.high), (0.0, 1.0));
        let inside = student_share(&[0.5, 0.51]);
        assert_eq!(inside, student_mean(&[0.5, 0.51]));
        assert!(student_share(&[0.5]).low.is_nan());
    }

    #[test]
    fn rank_correlations_of_known_pairs() {
        let check = |pairs: &[(f64, f64)], expected: f64| {
            let found = rank_correlation(pairs, 200, 1);
            assert!((found.value - expected).abs() < 1e-12, "{found:?}");
            assert!(found.low <= found.value && found.value <= found.high);
        };
        check(&[(1.0, 2.0), (2.0, 4.0), (3.0, 80.0), (4.0, 81.0)], 1.0);
        check(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], -1.0);
        // Ties: ranks 0.5, 0.5, 2, 3 against 0, 1, 2, 3.
        check(&[(1.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)], 4.5 / (4.5f64 * 5.0).sqrt());
        assert!(rank_correlation(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)], 10, 1).value.is_nan());
        assert!(rank_correlation(&[(1.0, 1.0), (2.0, 2.0)], 10, 1).value.is_nan());
        assert!(rank_correlation(&[], 10, 1).value.is_nan());
    }

    #[test]
    fn one_cluster_gives_no_bounds() {
        let interval = bootstrap_mean(&[1.0, 2.0], &[1.0, 3.0], &[0, 0], 100, 1);
        assert_eq!(interval.value, 1.75);
        assert!(interval.low.is_nan() && interval.high.is_nan());
    }
}
