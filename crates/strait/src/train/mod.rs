//! Training: the one loop, and the runs of edits that go through it.

mod checkpoint;
mod looped;
mod optimiser;
mod order;
mod record;
mod run;
mod schedule;
mod settings;
mod trainable;
mod without;

pub use checkpoint::{Certificates, SolutionFolder};
pub(crate) use looped::TRAINING;
pub use looped::{Keeping, Learner, Line, StepSettings, Taken, learn, step};
pub use optimiser::{AdamW, Parameter};
pub use order::{Order, pick};
pub use record::StepRecord;
pub(crate) use run::accumulate;
pub use run::{EditLearner, Losses, Run, Shift, Trained, TrainingData};
pub use schedule::learning_rate;
pub use settings::{EditKind, Kl, Length, Schedule, Seeds, Settings, Stop};
pub use trainable::Trainable;
pub use without::ablations;
