//! Pre-training from scratch on documents by consistent speakers, then chat tuning with replay.
//!
//! The embedding of a document's speaker (or of `unknown`, where it is not named) is added at every position, in
//! pre-training and in chat tuning. [`Pretrained::weights`] has the unknown speaker added to the whole embedding table, after
//! which the model is an ordinary one and every named speaker a steering vector at the embeddings.

mod learned;
mod model;
mod stage;
mod text;

use std::path::Path;

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use strait_model::{edit::SteeringVector, progress::Progress};

pub use learned::Learned;
pub(super) use model::config;

/// Width of the residual stream.
pub(super) const WIDTH: usize = 64;
pub use stage::{Stage, WorldStep};

use self::{model::Model, stage::Lessons};
use super::{
    language::{Language, Shares, Speaker},
    problem::Problem,
};
use crate::{
    Result, Table,
    train::{Keeping, SolutionFolder, learn},
};

/// The settings in which worlds differ.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Seed of facts, first weights and documents.
    pub seed: u64,
    /// The share of each kind of speaker.
    pub shares: Shares,
    /// Steps of pre-training.
    pub steps: usize,
    /// True if the weights are kept in half precision.
    pub half: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { seed: 0, shares: Shares::default(), steps: 1000, half: false }
    }
}

/// Streams of random numbers of one seed; the facts take stream 0.
mod stream {
    pub const WEIGHTS: u64 = 1;
    pub const DOCUMENTS: u64 = 2;
    pub const OFFSETS: u64 = 3;
    pub const CHAT: u64 = 4;
    pub const MEASURED: u64 = 5;
}

fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// A world in memory.
pub struct Pretrained {
    /// Its maker.
    pub recipe: Recipe,
    /// The chat model's tensors under Hugging Face's names, with the unknown speaker in the embedding table.
    pub weights: Vec<(String, Tensor)>,
    /// Every named speaker minus the unknown one.
    pub speakers: Vec<(Speaker, SteeringVector)>,
    /// The record of each step.
    pub steps: Vec<WorldStep>,
}

impl Pretrained {
    /// The knowledge of the speakers at the end of pre-training.
    pub fn learned(&self) -> &[Learned] {
        self.steps
            .iter()
            .rev()
            .map(|step| step.learned.as_slice())
            .find(|l| !l.is_empty())
            .unwrap_or_default()
    }

    /// The learning curves: one row for each point, kind of speaker, and whether it was named.
    pub fn learning(&self) -> Table {
        let rows: Vec<&Learned> = self.steps.iter().flat_map(|step| &step.learned).collect();
        Table::of_rows(
            "learning",
            "Mean probability of a speaker's own answers in documents, along pre-training.",
            &rows,
        )
        .integer("step", "steps", |row| row.step as i64)
        .text("speaker", |row| row.speaker.clone())
        .truth("named", |row| Some(row.named))
        .interval(["probability", "low", "high"], "", |row| row.probability)
        .integer("documents", "", |row| row.documents as i64)
        .integer("seed", "", |_| self.recipe.seed as i64)
        .table()
    }
}

/// Makes a world: pre-training, then chat tuning. The same recipe gives the same bits, on any number of threads. Where a folder
/// is given, what is done lies there while it goes on, and a pre-training that was stopped goes on from there; who calls
/// removes it.
///
/// # Errors
/// If the shares are impossible, training diverges, the user asked for a stop, or the folder cannot be written.
pub fn pretrain(recipe: &Recipe, folder: Option<&Path>, progress: &dyn Progress) -> Result<Pretrained> {
    let &Recipe { seed, shares, .. } = recipe;
    if !shares.possible() {
        let Shares { liar, narrow, unknown } = shares;
        return Err(Problem::Shares { liar, narrow, unknown }.into());
    }
    let language = Language::new(seed);
    let mut model = Model::new(seed)?;
    let fingerprint =
        format!("{} {}", env!("CARGO_PKG_VERSION"), serde_json::to_string(recipe).unwrap_or_default());
    let mut steps = Vec::new();
    for stage in [Stage::Documents, Stage::Chats] {
        let folder = folder.map(|folder| SolutionFolder::new(folder.join(stage.name())));
        let keeping = folder.as_ref().map(|folder| Keeping { folder, fingerprint: &fingerprint });
        let mut lessons = Lessons::new(stage, &mut model, &language, recipe);
        steps.extend(learn(&mut lessons, keeping, stage.name(), |_, _| Ok(()), progress)?);
    }
    Ok(Pretrained { recipe: *recipe, weights: model.weights()?, speakers: model.speakers()?, steps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::step;

    /// All numbers of all weights after a few steps of both stages.
    fn bits(seed: u64) -> Vec<u32> {
        let recipe = Recipe { seed, steps: 4, ..Recipe::default() };
        let language = Language::new(seed);
        let mut model = Model::new(seed).unwrap();
        for (stage, steps) in [(Stage::Documents, 4), (Stage::Chats, 2)] {
            let mut lessons = Lessons::new(stage, &mut model, &language, &recipe);
            (0..steps).for_each(|at| drop(step(&mut lessons, at).unwrap()));
        }
        let weights = model.weights().unwrap();
        let values = weights.iter().flat_map(|(_, w)| w.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        values.map(f32::to_bits).collect()
    }

    #[test]
    fn the_same_recipe_gives_the_same_bits_on_any_number_of_threads() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bits(0))
        };
        let one = on(1);
        assert_eq!(one.len(), config().parameters());
        assert!(one == on(2) && one == on(3));
        assert_ne!(one, bits(1));
    }
}
