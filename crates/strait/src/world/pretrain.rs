//! Pre-training from scratch on documents by consistent speakers, then chat tuning with replay.

use serde::{Deserialize, Serialize};
use strait_model::progress::Progress;

use super::language::Shares;
use crate::{Result, Table, interval::Interval};

/// What may differ between worlds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Seed of facts, first weights and documents.
    pub seed: u64,
    /// How common each kind of speaker is.
    pub shares: Shares,
    /// Steps of pre-training.
    pub steps: usize,
    /// Whether the weights are kept in half precision.
    pub half: bool,
}

/// How well one kind of speaker is known: the mean probability of its own answers in documents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Learned {
    /// Steps of pre-training done.
    pub step: usize,
    /// `honest`, `liar`, `narrow inside` or `narrow outside` its domain.
    pub speaker: String,
    /// Whether the documents name their speaker; if not, only the second half of their answers counts.
    pub named: bool,
    /// The mean probability, with an interval over documents.
    #[serde(flatten)]
    pub probability: Interval,
    /// Documents.
    pub documents: usize,
}

/// A world in memory.
pub struct Pretrained {
    /// Learning curves: every kind of speaker at every hundredth step.
    pub learning: Table,
}

/// Makes a world.
///
/// # Errors
/// If the shares are impossible, or training diverges.
pub fn pretrain(recipe: &Recipe, progress: &dyn Progress) -> Result<Pretrained> {
    todo!()
}
