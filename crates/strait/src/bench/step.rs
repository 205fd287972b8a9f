//! The steps that are timed.

use strait_model::Model;

use super::{Batch, Pass, Stopwatch};
use crate::Result;

/// A piece of work whose time is taken: one more is one more entry in [`all`](super::all).
pub trait Step: Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Its work, in a few words.
    fn about(&self) -> &'static str;

    /// Does it on a batch, under a watch, again and again.
    ///
    /// # Errors
    /// If the model cannot be run.
    fn run(&self, model: &Model, batch: &Batch, watch: &mut Stopwatch<'_>) -> Result<Done>;
}

/// The work of each time.
pub struct Done {
    /// The passes, from which the floor follows.
    pub passes: Vec<Pass>,
    /// Tokens that were drawn, where some were.
    pub drawn: Option<usize>,
}
