//! Quantiles, by order statistics.

use super::{Interval, share::at_least};

/// What rounding may do to a count.
const ROUNDING: f64 = 1e-9;

/// The fewest values of which an upper quantile keeps a rate: the next draw exceeds the largest of n in one case of n + 1.
pub fn fewest_for(rate: f64) -> usize {
    (1.0 / rate - 1.0 - ROUNDING).ceil().max(1.0) as usize
}

impl Interval {
    /// The smallest of some values that a further draw from the same source exceeds with no more than this probability, with an
    /// interval for the quantile that it stands for; a bound beyond all values is NaN, and so are all three where there are
    /// fewer values than [`fewest_for`] says. No more than this share of the values themselves exceeds it.
    pub fn of_upper_quantile(values: &[f64], rate: f64) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let place = ((n + 1) as f64 * (1.0 - rate) - ROUNDING).ceil().max(1.0) as usize;
        if place > n {
            return Self::NONE;
        }
        // As many values as a count lie below the quantile or at it.
        let so_many = |count: usize| at_least(count as u64, n as u64, 1.0 - rate);
        let low = (1..=n).rev().find(|&count| so_many(count) >= 0.975);
        let high = (1..=n).find(|&count| so_many(count) <= 0.025);
        let at = |count: Option<usize>| count.map_or(f64::NAN, |count| sorted[count - 1]);
        Self { value: sorted[place - 1], low: at(low), high: at(high) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_needs_as_many_values_as_its_inverse() {
        for (rate, fewest) in [(0.05, 19), (0.1, 9), (0.5, 1), (0.01, 99), (0.3, 3)] {
            assert_eq!(fewest_for(rate), fewest, "{rate}");
            let values: Vec<f64> = (1..=fewest).map(|i| i as f64).collect();
            assert_eq!(Interval::of_upper_quantile(&values, rate).value, fewest as f64);
            assert!(Interval::of_upper_quantile(&values[1..], rate).value.is_nan());
        }
    }

    #[test]
    fn the_interval_is_that_of_the_tables() {
        // Of 20 values the 6th and the 15th bound the median (Conover).
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        let found = Interval::of_upper_quantile(&values, 0.5);
        assert_eq!((found.value, found.low, found.high), (11.0, 6.0, 15.0));
        // Nothing bounds a far quantile of few values from above.
        let found = Interval::of_upper_quantile(&values, 0.05);
        assert!(found.value == 20.0 && found.low < 20.0 && found.high.is_nan(), "{found:?}");
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_exceeds_it(
            values in prop::collection::vec(-5..5i32, 1..80), rate in 0.01..0.9f64,
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let found = Interval::of_upper_quantile(&values, rate);
            prop_assert_eq!(found.value.is_nan(), values.len() < fewest_for(rate));
            let above = values.iter().filter(|value| **value > found.value).count();
            prop_assert!(above as f64 <= rate * values.len() as f64 + 1e-9);
            prop_assert!(!(found.low > found.value || found.high < found.value), "{:?}", found);
        }
    }
}
