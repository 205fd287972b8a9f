//! Shares from 0 to 1.

use super::Interval;

impl Interval {
    /// Mean of independent shares from 0 to 1, as [`Interval::of_mean`], cut off there. Where all are the same, the bounds say
    /// what may be of those that were not drawn: at most so many differ that none of the drawn would in one case of twenty.
    pub fn of_shares(shares: &[f64]) -> Self {
        let found = Self::of_mean(shares);
        let all_alike = shares.iter().all(|share| *share == shares[0]);
        if shares.len() >= super::FEWEST && all_alike && found.value.is_finite() {
            let alike = 0.05f64.powf(1.0 / shares.len() as f64);
            return Self {
                value: found.value,
                low: alike * found.value,
                high: alike * found.value + 1.0 - alike,
            };
        }
        found.cut_off()
    }

    /// The same with bounds from 0 to 1.
    #[must_use]
    pub fn cut_off(self) -> Self {
        // A comparison with NaN leaves the bound as it is: there is none.
        let low = if self.low < 0.0 { 0.0 } else { self.low };
        Self { low, high: if self.high > 1.0 { 1.0 } else { self.high }, ..self }
    }

    /// The share of `count` in so many independent trials, with Wilson's interval (1927): the shares from which it lies no further than
    /// their own spread would draw it. It has bounds where none or all were counted. No trial gives none.
    pub fn of_trials(count: usize, trials: usize) -> Self {
        let (n, value) = (trials as f64, count as f64 / trials as f64);
        if trials == 0 || count > trials {
            return Self::bare(value);
        }
        /// Of the normal distribution, 95 % lie within as many deviations of its mean.
        const Z: f64 = 1.959_963_984_540_054;
        let shrunk = 1.0 + Z * Z / n;
        let middle = (value + Z * Z / (2.0 * n)) / shrunk;
        let half = Z / shrunk * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
        let low = if count == 0 { 0.0 } else { middle - half };
        let high = if count == trials { 1.0 } else { middle + half };
        Self { value, low, high }
    }

    /// This share less another one that is independent of it, by the intervals of both: the distances of their bounds add up as squares
    /// (Newcombe, 1998).
    pub fn less(self, other: Self) -> Self {
        let value = self.value - other.value;
        let low = value - (self.value - self.low).hypot(other.high - other.value);
        let high = value + (self.high - self.value).hypot(other.value - other.low);
        Self { value, low, high }
    }

    /// The share of `count` in so many independent trials, with the exact interval (Clopper and Pearson, 1934); no trial gives none.
    pub fn of_count(count: u64, trials: u64) -> Self {
        let value = count as f64 / trials as f64;
        if trials == 0 || count > trials {
            return Self::bare(value);
        }
        // The share at which as many or more would be as rare as one case of forty.
        let least = |count: u64| match count {
            0 => 0.0,
            _ => root(|share| at_least(count, trials, share) - 0.025),
        };
        Self { value, low: least(count), high: 1.0 - least(trials - count) }
    }
}

/// The probability of so many or more of some trials, each with a probability strictly between 0 and 1.
pub(super) fn at_least(count: u64, trials: u64, share: f64) -> f64 {
    let odds = (share / (1.0 - share)).ln();
    let mut term = trials as f64 * (1.0 - share).ln();
    let mut sum = 0.0;
    for k in 0..=trials {
        if k >= count {
            sum += term.exp();
        }
        term += ((trials - k) as f64 / (k + 1) as f64).ln() + odds;
    }
    sum
}

/// The zero of a function that rises from 0 to 1.
fn root(of: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if of(middle) < 0.0 { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_share_is_below_nothing_or_above_the_whole() {
        let found = Interval::of_shares(&[0.0, 0.9, 1.0]);
        assert_eq!((found.low, found.high), (0.0, 1.0));
        let inside = [0.5, 0.51, 0.52];
        assert_eq!(Interval::of_shares(&inside), Interval::of_mean(&inside));
        assert!(!Interval::of_shares(&[0.5, 0.6]).is_known());
        assert!(!Interval::of_shares(&[]).is_known());
    }

    #[test]
    fn shares_that_are_all_alike_leave_room_for_others() {
        let all = Interval::of_shares(&[1.0; 9]);
        assert!(
            (all.low - 0.05f64.powf(1.0 / 9.0)).abs() < 1e-12 && (all.high - 1.0).abs() < 1e-12,
            "{all:?}"
        );
        let none = Interval::of_shares(&[0.0; 9]);
        assert!((none.high - (1.0 - all.low)).abs() < 1e-12 && none.low == 0.0);
        assert!(Interval::of_shares(&[1.0; 3]).low < 0.5);
        assert!(!Interval::of_shares(&[1.0; 2]).is_known());
    }

    #[test]
    fn trials_have_wilsons_interval() {
        let check = |count, trials, low: f64, high: f64| {
            let found = Interval::of_trials(count, trials);
            assert!((found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5, "{found:?}");
        };
        check(0, 50, 0.0, 0.0713);
        check(50, 50, 0.9287, 1.0);
        check(65, 400, 0.1296, 0.2018);
        check(1, 1, 0.2065, 1.0);
        assert!(!Interval::of_trials(0, 0).is_known());
    }

    #[test]
    fn two_shares_have_newcombes_interval() {
        // His first example: 56 of 70 less 48 of 80.
        let found = Interval::of_trials(56, 70).less(Interval::of_trials(48, 80));
        assert!((found.value - 0.2).abs() < 1e-12, "{found:?}");
        assert!((found.low - 0.0524).abs() < 5e-5 && (found.high - 0.3339).abs() < 5e-5, "{found:?}");
        let none = Interval::of_trials(0, 80).less(Interval::of_trials(0, 80));
        assert!(none.value == 0.0 && none.low == -none.high && none.high > 0.04, "{none:?}");
    }

    #[test]
    fn counts_have_the_exact_interval() {
        let check = |count, trials, low: f64, high: f64| {
            let found = Interval::of_count(count, trials);
            assert!((found.low - low).abs() < 1e-4 && (found.high - high).abs() < 1e-4, "{found:?}");
        };
        check(0, 10, 0.0, 0.3085);
        check(1, 10, 0.0025, 0.4450);
        check(5, 10, 0.1871, 0.8129);
        check(10, 10, 0.6915, 1.0);
        check(40, 400, 0.0724, 0.1336);
        assert!(!Interval::of_count(0, 0).is_known());
    }
}
