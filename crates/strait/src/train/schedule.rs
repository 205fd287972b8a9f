//! The course of the learning rate.

use super::{Schedule, Settings};

/// Learning rate of step `step` (counted from 0) of `total`.
pub fn learning_rate(settings: &Settings, step: usize, total: usize) -> f64 {
    let warmup = settings.warmup.min(total);
    if step < warmup {
        return settings.learning_rate * (step + 1) as f64 / warmup as f64;
    }
    let left = (total - step) as f64 / (total - warmup) as f64;
    let share = match settings.schedule {
        Schedule::Linear => left,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * (1.0 - left)).cos()),
        Schedule::Constant => 1.0,
    };
    settings.learning_rate * share
}
