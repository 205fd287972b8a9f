//! Training of an edit: optimiser, schedule, loop, checkpoints, resume.

mod settings;

pub use settings::{EditKind, Kl, Length, Schedule, Seeds, Settings};
