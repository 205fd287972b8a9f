//! The axes of a sweep: the keys that take a list of values in the place of one.

use serde::{Deserialize, Serialize};

/// A key that may hold a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// `layer`.
    Layer,
    /// `rank`.
    Rank,
    /// `learning_rate`.
    LearningRate,
    /// `kl.weight`.
    Weight,
    /// `steps`.
    Steps,
    /// `rows`: how many training rows are used.
    Rows,
    /// `mix.ratio`.
    Ratio,
    /// `seeds`: of initialisation and order.
    Seeds,
}

impl Axis {
    /// All of them, in the order in which they stand in names.
    pub const ALL: [Self; 8] = [
        Self::Layer,
        Self::Rank,
        Self::LearningRate,
        Self::Weight,
        Self::Steps,
        Self::Rows,
        Self::Ratio,
        Self::Seeds,
    ];

    /// Its key in `when` and `skip`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Rank => "rank",
            Self::LearningRate => "learning_rate",
            Self::Weight => "weight",
            Self::Steps => "steps",
            Self::Rows => "rows",
            Self::Ratio => "ratio",
            Self::Seeds => "seeds",
        }
    }
}
