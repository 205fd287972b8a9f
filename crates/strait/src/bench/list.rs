//! The list of all steps.

use super::{sampling::Sampling, scoring::Scoring, step::Step, training::Training};

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
