//! Rows from which no probe can learn.

use crate::error::{self, Error, Place};

/// A problem of a probe's rows or settings.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// As many labels as rows are needed, and as many groups where there are some.
    #[error("there are {rows} rows of features and {labels} labels or groups")]
    Labels {
        /// The rows.
        rows: usize,
        /// The labels or groups.
        labels: usize,
    },
    /// Rows of one kind alone.
    #[error("all {rows} rows are of one kind: a probe learns from two")]
    OneKind {
        /// The rows.
        rows: usize,
    },
    /// Fewer groups of a kind than can be divided.
    #[error("there are {groups} answers of the rarer kind: too few to learn from some and test on others")]
    TooFew {
        /// The groups of rows of that kind.
        groups: usize,
    },
    /// A row with another number of features.
    #[error("row {row} has {found} features, not {expected}")]
    Width {
        /// The row, counted from 0.
        row: usize,
        /// Its features.
        found: usize,
        /// Those of the first row.
        expected: usize,
    },
    /// A feature that is infinite or no number.
    #[error("feature {feature} of row {row} is {value}")]
    NotFinite {
        /// The row, counted from 0.
        row: usize,
        /// The feature, counted from 0.
        feature: usize,
        /// Its value.
        value: f64,
    },
    /// A weight that is not above zero.
    #[error("C is {c}, and must lie above 0")]
    Weight {
        /// The value.
        c: f64,
    },
    /// A minimum that was not found.
    #[error("the probe did not settle in {steps} steps")]
    NotSettled {
        /// The steps.
        steps: usize,
    },
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::Labels { .. } | Self::Width { .. } => {
                "give every row one label and the same number of features".into()
            }
            Self::OneKind { .. } | Self::TooFew { .. } => {
                "give more rows, some with the behaviour and some without".into()
            }
            Self::NotFinite { .. } => {
                "test the model with `strait check`, and look at the edit's norms".into()
            }
            Self::Weight { .. } => "take a C such as 1; a smaller one holds weights smaller".into(),
            Self::NotSettled { .. } => "take a smaller C, or standardise the features".into(),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Input { place: Place::Nowhere, problem: Box::new(problem) }
    }
}
