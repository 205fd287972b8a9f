//! What a step is, and the list of all.

use strait_model::Model;

use super::{Batch, Pass, Stopwatch, sampling::Sampling, scoring::Scoring, training::Training};
use crate::Result;

/// A piece of work whose time is taken: one more is one more entry in [`all`].
pub trait Step {
    /// Its name.
    fn name(&self) -> &'static str;

    /// What it does, in a few words.
    fn about(&self) -> &'static str;

    /// Does it on a batch, under a watch, again and again.
    ///
    /// # Errors
    /// If the model cannot be run.
    fn run(&self, model: &Model, batch: &Batch, watch: &mut Stopwatch<'_>) -> Result<Done>;
}

/// What was done each time.
pub struct Done {
    /// The passes, from which the floor follows.
    pub passes: Vec<Pass>,
    /// Tokens that were drawn, where some were.
    pub drawn: Option<usize>,
}

/// Every step, in the order of a report.
pub fn all() -> Vec<Box<dyn Step>> {
    vec![
        Box::new(Scoring::WHOLE),
        Box::new(Scoring::SWEEP),
        Box::new(Training::STEERING),
        Box::new(Training::STEERING_KL),
        Box::new(Training::LORA),
        Box::new(Training::FULL),
        Box::new(Sampling::MANY),
        Box::new(Sampling::ONE),
    ]
}
