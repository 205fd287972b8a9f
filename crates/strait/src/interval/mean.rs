//! Means over clusters, such as all pairs of one question: the clusters are independent draws, their members are not.

use std::{collections::HashMap, hash::Hash};

use super::{Interval, student};

/// With fewer clusters a mean has no bounds: that two values lie near each other is mostly chance.
pub const FEWEST: usize = 3;

/// Values that differ by no more than this share of their size differ by rounding.
const ROUNDING: f64 = 1e-12;

/// Numbers each distinct key, in order of first appearance: the clusters that [`Interval::of_clusters`] takes.
pub fn clusters<K: Hash + Eq>(keys: impl IntoIterator<Item = K>) -> Vec<usize> {
    let mut numbers = HashMap::new();
    keys.into_iter()
        .map(|key| {
            let next = numbers.len();
            *numbers.entry(key).or_insert(next)
        })
        .collect()
}

/// The mean of some numbers; NaN of none.
pub fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    sum / count
}

/// Standard deviation of a sample; NaN for fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    if values.len() < 2 { f64::NAN } else { (squares / (n - 1.0)).sqrt() }
}

impl Interval {
    /// Mean of independent draws, such as seeds.
    pub fn of_mean(values: &[f64]) -> Self {
        let each_alone: Vec<usize> = (0..values.len()).collect();
        Self::of_clusters(values, &vec![1.0; values.len()], &each_alone)
    }

    /// A figure that is no mean, such as a cosine of two means, from what it is without each of its independent parts: the
    /// jackknife's pseudo-values are taken as draws, and their mean's interval is laid about the figure.
    pub fn of_left_out(value: f64, without: &[f64]) -> Self {
        let n = without.len() as f64;
        let pseudo: Vec<f64> = without.iter().map(|left| n * value - (n - 1.0) * left).collect();
        let Self { value: mean, low, high } = Self::of_mean(&pseudo);
        Self { value, low: value - (mean - low), high: value + (high - mean) }
    }

    /// Weighted mean over clusters: `values[i]` has weight `weights[i]` and belongs to cluster `clusters[i]`.
    ///
    /// Student's interval of the linearised mean, stretched towards the longer tail. Fewer than [`FEWEST`] clusters give no
    /// bounds, nor do clusters whose means are all the same, which say nothing of how far others would lie.
    pub fn of_clusters(values: &[f64], weights: &[f64], clusters: &[usize]) -> Self {
        let mut sums = vec![(0.0, 0.0); clusters.iter().max().map_or(0, |&last| last + 1)];
        // A row without a response token has no loss and no weight.
        for ((value, weight), &cluster) in
            values.iter().zip(weights).zip(clusters).filter(|((_, w), _)| **w > 0.0)
        {
            sums[cluster].0 += weight * value;
            sums[cluster].1 += weight;
        }
        sums.retain(|&(_, weight)| weight > 0.0);
        let total: f64 = sums.iter().map(|(_, weight)| weight).sum();
        let value = sums.iter().map(|(sum, _)| sum).sum::<f64>() / total;
        let means: Vec<(f64, f64)> =
            sums.iter().map(|(sum, weight)| (sum / weight, weight / total)).collect();
        match Spread::of(&means, value) {
            Some(spread) => spread.interval(value),
            None => Self::bare(value),
        }
    }
}

/// The half-widths of a mean's interval.
struct Spread {
    clusters: usize,
    error: f64,
    /// Of Student's distribution.
    degrees: f64,
    /// Third moment of the mean's error, in units of the error.
    skew: f64,
}

impl Spread {
    /// Of clusters with a mean and a share of all weight each.
    fn of(clusters: &[(f64, f64)], mean: f64) -> Option<Self> {
        let size = clusters.iter().map(|(y, _)| y.abs()).fold(0.0, f64::max);
        let apart = clusters.iter().map(|(y, _)| (y - mean).abs()).fold(0.0, f64::max);
        if clusters.len() < FEWEST || !mean.is_finite() || apart <= ROUNDING * size {
            return None;
        }
        let concentration: f64 = clusters.iter().map(|(_, w)| w * w).sum();
        let (mut variance, mut third) = (0.0, 0.0);
        for (y, w) in clusters {
            // A cluster draws the mean towards itself, a heavy one most: what is left of its residual, if all clusters vary
            // alike, is this share of its variance.
            let left = 1.0 - 2.0 * w + concentration;
            let part = w * (y - mean) / left.sqrt();
            variance += part.powi(2);
            third += part.powi(3);
        }
        let n = clusters.len() as f64;
        Some(Self {
            clusters: clusters.len(),
            error: variance.sqrt(),
            degrees: degrees(clusters, concentration).clamp(1.0, n - 1.0),
            skew: third / variance.powf(1.5) * (n * (n - 1.0)).sqrt() / (n - 2.0),
        })
    }

    fn interval(&self, value: f64) -> Interval {
        let (down, up) = match self.clusters {
            // Three or four values do not show how skewed they are. With these probabilities their intervals cover exponential
            // values too.
            3 => self.even(0.98),
            4 => self.even(0.985),
            _ => self.stretched(student(0.95, self.degrees)),
        };
        Interval { value, low: value - down * self.error, high: value + up * self.error }
    }

    fn even(&self, probability: f64) -> (f64, f64) {
        let t = student(probability, (self.clusters - 1) as f64).max(student(0.95, self.degrees));
        (t, t)
    }

    /// Hall's correction of Student's interval for skewness (1992), where it makes a side longer: right-skewed values have a
    /// mean that is rarely far too high and often far too low.
    fn stretched(&self, t: f64) -> (f64, f64) {
        let g = self.skew;
        let corrected = |x: f64| match g.abs() < 1e-6 {
            true => x,
            false => 3.0 / g * ((1.0 + g * (x - g / 6.0)).cbrt() - 1.0),
        };
        (corrected(t).max(t), (-corrected(-t)).max(t))
    }
}

/// Satterthwaite's degrees of freedom of the variance above, if all clusters vary alike: with equal weights one fewer than
/// clusters, fewer where a few clusters carry the mean.
fn degrees(clusters: &[(f64, f64)], concentration: f64) -> f64 {
    let q = concentration;
    let scale = |w: f64| w * w / (1.0 - 2.0 * w + q);
    let moment = |power: i32| clusters.iter().map(|(_, w)| scale(*w) * w.powi(power)).sum::<f64>();
    let (s0, s1, s2) = (moment(0), moment(1), moment(2));
    let all = q * q * s0 * s0 + 2.0 * s0 * s2 + 2.0 * s1 * s1 - 4.0 * q * s0 * s1;
    let own: f64 = clusters.iter().map(|(_, w)| w.powi(4) - (scale(*w) * (q - 2.0 * w)).powi(2)).sum();
    q * q / (all + own)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alone(values: &[f64]) -> Interval {
        Interval::of_mean(values)
    }

    #[test]
    fn parts_left_out_of_a_mean_give_the_interval_of_the_mean() {
        let values = [1.0, 2.5, 2.0, 4.0, 3.5];
        let sum: f64 = values.iter().sum();
        let without: Vec<f64> = values.iter().map(|value| (sum - value) / 4.0).collect();
        let (found, expected) = (Interval::of_left_out(sum / 5.0, &without), alone(&values));
        for (found, expected) in [(found.low, expected.low), (found.high, expected.high)] {
            assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
        }
        assert!(!Interval::of_left_out(1.0, &[1.0, 2.0]).is_known());
        assert!(!Interval::of_left_out(f64::NAN, &[f64::NAN; 4]).is_known());
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-7 * (1.0 + a.abs().max(b.abs()))
    }

    fn alike(a: Interval, b: Interval) -> bool {
        near(a.value, b.value) && near(a.low, b.low) && near(a.high, b.high)
    }

    #[test]
    fn even_values_have_students_interval() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        let half = 2.776 * deviation(&values) / 5f64.sqrt();
        let found = alone(&values);
        assert!((found.high - 3.0 - half).abs() < 1e-3 && (found.low - 3.0 + half).abs() < 1e-3, "{found:?}");
        // Three values: the 98 % point of two degrees of freedom.
        let found = alone(&[1.0, 2.0, 3.0]);
        assert!((found.high - 2.0 - 6.965 / 3f64.sqrt()).abs() < 5e-3, "{found:?}");
    }

    #[test]
    fn the_longer_tail_has_the_longer_side() {
        let found = alone(&[0.1, 0.2, 0.3, 0.5, 0.8, 3.0]);
        let (down, up) = (found.value - found.low, found.high - found.value);
        assert!(up > 1.5 * down, "{found:?}");
        let half = 2.571 * deviation(&[0.1, 0.2, 0.3, 0.5, 0.8, 3.0]) / 6f64.sqrt();
        assert!((down / half - 1.0).abs() < 1e-3, "{down} for {half}");
    }

    #[test]
    fn too_few_or_equal_clusters_give_no_bounds() {
        for values in [&[][..], &[1.0], &[1.0, 2.0], &[0.25; 9], &[0.0; 4], &[1.0, f64::NAN, 2.0, 3.0]] {
            assert!(!alone(values).is_known(), "{values:?}");
        }
        // However many pairs one question has, it is one question.
        let one = Interval::of_clusters(&[1.0, 2.0, 3.0, 4.0], &[1.0, 1.0, 1.0, 3.0], &[0, 0, 0, 0]);
        assert!(near(one.value, 3.0) && !one.is_known());
        // Rounding is no spread.
        let rounded = [0.3, 0.1 + 0.2, 0.3, 0.3];
        assert!(!alone(&rounded).is_known());
        // Nothing is known of a cluster without weight.
        let values = [1.0, 2.0, f64::NAN, 4.0];
        let found = Interval::of_clusters(&values, &[1.0, 1.0, 0.0, 1.0], &[0, 1, 2, 3]);
        assert!(alike(found, alone(&[1.0, 2.0, 4.0])));
    }

    #[test]
    fn repeated_answers_to_one_question_do_not_narrow_the_interval() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 5)).collect();
        let five = clusters((0..100).map(|i| i % 5));
        let width = |i: Interval| i.high - i.low;
        assert!(width(Interval::of_clusters(&values, &[1.0; 100], &five)) > 3.0 * width(alone(&values)));
    }

    #[test]
    fn one_heavy_cluster_leaves_few_degrees_of_freedom() {
        let values: Vec<f64> = (0..12).map(|i| f64::from(i * i % 7)).collect();
        let each: Vec<usize> = (0..12).collect();
        let mut weights = vec![1.0; 12];
        let even = Interval::of_clusters(&values, &weights, &each);
        weights[2] = 50.0;
        let heavy = Interval::of_clusters(&values, &weights, &each);
        assert!(heavy.high - heavy.low > 4.0 * (even.high - even.low), "{heavy:?} {even:?}");
        let shares = |heavy: f64| (0..4).map(move |i| if i == 0 { heavy } else { (1.0 - heavy) / 3.0 });
        let of = |heavy: f64| {
            let clusters: Vec<(f64, f64)> = shares(heavy).map(|w| (0.0, w)).collect();
            degrees(&clusters, shares(heavy).map(|w| w * w).sum())
        };
        assert!(near(of(0.25), 3.0) && of(0.5) < 3.0 && of(0.9) < of(0.5) && of(0.9) >= 1.0);
    }

    fn some() -> impl Strategy<Value = Vec<(f64, f64, usize)>> {
        prop::collection::vec((-10.0..10.0f64, 0.1..5.0f64, 0..9usize), 4..30)
    }

    fn split(rows: &[(f64, f64, usize)]) -> (Vec<f64>, Vec<f64>, Vec<usize>) {
        let values = rows.iter().map(|r| r.0).collect();
        let weights = rows.iter().map(|r| r.1).collect();
        (values, weights, clusters(rows.iter().map(|r| r.2)))
    }

    fn of(rows: &[(f64, f64, usize)]) -> Interval {
        let (values, weights, clusters) = split(rows);
        Interval::of_clusters(&values, &weights, &clusters)
    }

    proptest! {
        #[test]
        fn shifts_and_scales_carry_over(rows in some(), shift in -5.0..5.0f64, scale in 0.01..100.0f64) {
            let before = of(&rows);
            prop_assume!(before.is_known());
            let moved = of(&rows.iter().map(|&(v, w, c)| (scale * v + shift, w, c)).collect::<Vec<_>>());
            let at = |x: f64| scale * x + shift;
            let expected = Interval { value: at(before.value), low: at(before.low), high: at(before.high) };
            prop_assert!(alike(moved, expected));
            let mirrored = of(&rows.iter().map(|&(v, w, c)| (-v, w, c)).collect::<Vec<_>>());
            prop_assert!(alike(mirrored, -before));
            // Weights are shares.
            let weighed = of(&rows.iter().map(|&(v, w, c)| (v, scale * w, c)).collect::<Vec<_>>());
            prop_assert!(alike(weighed, before));
        }

        #[test]
        fn order_and_names_of_clusters_do_not_matter(rows in some(), by in 1usize..20) {
            let before = of(&rows);
            prop_assume!(before.is_known());
            let mut turned = rows.clone();
            turned.rotate_left(by % rows.len());
            prop_assert!(alike(of(&turned), before));
            let mut turned: Vec<_> = rows.iter().map(|&(v, w, c)| (v, w, 8 - c)).collect();
            turned.reverse();
            prop_assert!(alike(of(&turned), before));
        }

        #[test]
        fn a_cluster_counts_by_its_sums_alone(rows in some()) {
            let before = of(&rows);
            prop_assume!(before.is_known());
            // Every value twice, at half its weight each.
            let halves: Vec<_> = rows.iter().flat_map(|&(v, w, c)| [(v, w / 2.0, c); 2]).collect();
            prop_assert!(alike(of(&halves), before));
        }

        #[test]
        fn more_clusters_of_the_same_kind_narrow_it(values in prop::collection::vec(-10.0..10.0f64, 3..12)) {
            let before = alone(&values);
            prop_assume!(before.is_known());
            let doubled = [values.clone(), values].concat();
            let after = alone(&doubled);
            prop_assert!(after.high - after.low < before.high - before.low);
            prop_assert!(after.low <= after.value && after.value <= after.high);
        }
    }
}
