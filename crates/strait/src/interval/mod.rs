//! Intervals: the values that a figure may have, given how few questions, rows, seeds or worlds it rests on.
//!
//! Nothing here is drawn at random. Which intervals these are was chosen by simulation (`tests/it/coverage.rs`, whose
//! tables stand in the book): a percentile bootstrap of four questions covers 79 % where it says 95.

mod auroc;
mod mean;
mod quantile;
mod rank;
mod ratio;
mod share;
mod student;

use serde::{Deserialize, Serialize};

pub use auroc::auroc;
pub use mean::{FEWEST, clusters, deviation, mean};
pub use quantile::fewest_for;
pub use rank::rank_correlation;
pub use student::student;

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

impl Interval {
    /// Nothing known.
    pub const NONE: Self = Self::bare(f64::NAN);

    /// A figure without an interval.
    pub const fn bare(value: f64) -> Self {
        Self { value, low: f64::NAN, high: f64::NAN }
    }

    /// The same figure with bounds that end where figures do, at `least` and `most`; a bound that is not known stays so.
    #[must_use]
    pub fn cut(self, least: f64, most: f64) -> Self {
        // A comparison with NaN is false.
        let low = if self.low < least { least } else { self.low };
        Self { low, high: if self.high > most { most } else { self.high }, ..self }
    }

    /// The same figure with the farther of both bounds on either side; a bound that is not known says nothing.
    #[must_use]
    pub fn no_narrower_than(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high), ..self }
    }

    /// True if it has bounds.
    pub fn is_known(&self) -> bool {
        !(self.low.is_nan() || self.high.is_nan())
    }
}

impl std::ops::Neg for Interval {
    type Output = Self;

    fn neg(self) -> Self {
        Self { value: -self.value, low: -self.high, high: -self.low }
    }
}
