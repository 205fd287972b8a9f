//! The ways in which projections are applied.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::{Linear, fused, linear, linear_by_row};

/// A way to apply projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// By [`linear`].
    OfAll,
    /// By [`linear_by_row`].
    ByRow,
}

impl Product {
    /// Applies one.
    ///
    /// # Errors
    /// If the shapes disagree.
    pub fn apply(self, x: &Tensor, projection: &Linear) -> Result<Tensor> {
        match self {
            Self::OfAll => linear(x, projection),
            Self::ByRow => linear_by_row(x, projection),
        }
    }

    /// Applies several to the same rows. Few rows are little work for each, so that threads that had to meet after every projection
    /// would wait for each other longer than they work.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_each(self, x: &Tensor, projections: &[&Linear]) -> Result<Vec<Tensor>> {
        let apply = |projection: &&Linear| self.apply(x, projection);
        // Another device takes its work from one thread, in order.
        match self {
            Self::ByRow if fused(x) => projections.par_iter().map(apply).collect(),
            _ => projections.iter().map(apply).collect(),
        }
    }
}
