//! The ratio of two figures: of independent ones, and of means that are paired.

use super::Interval;

/// A share of a figure, NaN where that is nothing.
fn ratio(value: f64, of: f64) -> f64 {
    if of == 0.0 { f64::NAN } else { value / of }
}

impl Interval {
    /// This figure as a share of an independent one, by the intervals of both: all shares r of which this less r times the
    /// other cannot be told from none, where the distances of the bounds from the figures add up as squares (Donner and Zou,
    /// 2012). There are no bounds unless the divisor lies clearly above zero.
    pub fn over(self, divisor: Self) -> Self {
        let value = ratio(self.value, divisor.value);
        if !(self.is_known() && divisor.low > 0.0) {
            return Self::bare(value);
        }
        Self { value, low: self.least_over(divisor), high: -(-self).least_over(divisor) }
    }

    /// The mean of some values as a share of the mean of the divisors that they are paired with, all of one weight: the
    /// interval of the linearised share over clusters. There are no bounds unless the divisors' mean lies clearly above zero.
    pub fn of_ratio(values: &[f64], divisors: &[f64], clusters: &[usize]) -> Self {
        let ones = vec![1.0; values.len()];
        let mean = |of: &[f64]| Self::of_clusters(of, &ones, clusters);
        let divisor = mean(divisors);
        let share = ratio(mean(values).value, divisor.value);
        if divisor.low.is_nan() || divisor.low <= 0.0 {
            return Self::bare(share);
        }
        let apart = |(value, by): (&f64, &f64)| (value - share * by) / divisor.value;
        let error = mean(&values.iter().zip(divisors).map(apart).collect::<Vec<_>>());
        Self { value: share, low: share + error.low, high: share + error.high }
    }

    /// The lower bound: where (value - r divisor)² = (value - low)² + r² reach², with the divisor's reach to the side that
    /// makes the difference small.
    fn least_over(self, divisor: Self) -> f64 {
        let reach = if self.low < 0.0 { divisor.value - divisor.low } else { divisor.high - divisor.value };
        let a = divisor.value.powi(2) - reach.powi(2);
        let b = self.value * divisor.value;
        let c = self.value.powi(2) - (self.value - self.low).powi(2);
        let root = (b * b - a * c).max(0.0).sqrt();
        // Both are the same root; this form divides by no difference.
        if self.low < 0.0 { (b - root) / a } else { c / (b + root) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(value: f64, low: f64, high: f64) -> Interval {
        Interval { value, low, high }
    }

    #[test]
    fn nothing_has_no_share() {
        assert!(interval(0.2, 0.1, 0.3).over(interval(0.0, -0.1, 0.1)).value.is_nan());
        assert!(Interval::of_ratio(&[1.0, 2.0, 3.0], &[0.0, 0.0, 0.0], &[0, 1, 2]).value.is_nan());
    }

    #[test]
    fn an_exact_divisor_only_scales() {
        let share = interval(1.0, -2.0, 3.0).over(interval(2.0, 2.0, 2.0));
        assert_eq!(share, interval(0.5, -1.0, 1.5));
        let share = interval(4.0, 2.0, 5.0).over(interval(2.0, 2.0, 2.0));
        assert_eq!(share, interval(2.0, 1.0, 2.5));
    }

    #[test]
    fn what_is_paired_needs_less_than_what_is_independent() {
        let divisors = [1.0, 2.0, 3.0, 4.0, 5.0];
        let values = [0.5, 1.1, 1.4, 2.1, 2.4];
        let of = |values: &[f64]| Interval::of_mean(values);
        let paired = Interval::of_ratio(&values, &divisors, &[0, 1, 2, 3, 4]);
        let independent = of(&values).over(of(&divisors));
        assert!((paired.value - 0.5).abs() < 1e-12 && paired.low < 0.5 && paired.high > 0.5);
        assert!(paired.high - paired.low < (independent.high - independent.low) / 3.0);
        assert!(!Interval::of_ratio(&divisors, &values.map(|v| v - 1.5), &[0, 1, 2, 3, 4]).is_known());
    }

    #[test]
    fn even_intervals_give_fiellers_bounds() {
        // (1 - 2 r)² = 0.3² + 0.8² r²
        let share = interval(1.0, 0.7, 1.3).over(interval(2.0, 1.2, 2.8));
        for r in [share.low, share.high] {
            assert!(((1.0 - 2.0 * r).powi(2) - 0.09 - 0.64 * r * r).abs() < 1e-12, "{share:?}");
        }
        assert!(share.low < 0.5 && share.high > 0.5);
    }

    #[test]
    fn a_divisor_that_may_be_nothing_gives_no_bounds() {
        for divisor in
            [interval(2.0, 0.0, 4.0), interval(2.0, -1.0, 5.0), Interval::bare(2.0), -interval(2.0, 1.0, 3.0)]
        {
            let share = interval(1.0, 0.5, 1.5).over(divisor);
            assert!(!share.is_known() && share.value == 1.0 / divisor.value);
        }
        assert!(!Interval::bare(1.0).over(interval(2.0, 1.0, 3.0)).is_known());
    }

    proptest! {
        #[test]
        fn bounds_lie_about_the_value_and_scale_with_both(
            value in -5.0..5.0f64, down in 0.01..5.0f64, up in 0.01..5.0f64,
            divisor in 0.5..5.0f64, less in 0.01..0.99f64, more in 0.01..9.0f64, scale in 0.01..100.0f64,
        ) {
            let this = interval(value, value - down, value + up);
            let by = interval(divisor, divisor * less, divisor + more);
            let share = this.over(by);
            prop_assert!(share.low <= share.value && share.value <= share.high, "{share:?}");
            // The bounds of 0 and of the ratio agree.
            prop_assert_eq!(share.low > 0.0, this.low > 0.0);
            prop_assert_eq!(share.high < 0.0, this.high < 0.0);
            let scaled = |i: Interval| interval(scale * i.value, scale * i.low, scale * i.high);
            let other = scaled(this).over(by);
            prop_assert!((other.high - scale * share.high).abs() <= 1e-6 * (1.0 + other.high.abs()));
            prop_assert!((other.low - scale * share.low).abs() <= 1e-6 * (1.0 + other.low.abs()));
            let mirrored = (-this).over(by);
            prop_assert!((mirrored.low + share.high).abs() <= 1e-9 * (1.0 + share.high.abs()));
        }
    }
}
