//! Worlds that cannot be read or made.

use std::path::Path;

use crate::error::{self, Error, Place};

/// A problem of a world, or of a request to make one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A folder without `world.json`.
    #[error("there is no `world.json`, so this is not a world's folder")]
    NoWorld,
    /// A `world.json` that cannot be read.
    #[error("`world.json` cannot be read: {0}")]
    Json(serde_json::Error),
    /// A `world.json` of a later version of strait.
    #[error("`world.json` has schema {found}, and this version of strait knows {known}")]
    Schema {
        /// Its schema.
        found: u32,
        /// The latest known.
        known: u32,
    },
    /// Weights that are not those that `world.json` was written for.
    #[error("`model/model.safetensors` is not the file that `world.json` was written for")]
    Changed,
    /// A tokenizer of another language.
    #[error("the model's tokenizer has other words than the language: `{word}` is not its token {id}")]
    Words {
        /// The first word that differs.
        word: String,
        /// Its id in the language.
        id: u32,
    },
    /// A speaker's file that is no steering vector.
    #[error("the speaker `{speaker}` is not a steering vector at the embeddings")]
    Speaker {
        /// The speaker.
        speaker: String,
    },
    /// A folder that something lies in already.
    #[error("the folder is not empty")]
    Occupied,
    /// A name that no shipped world has.
    #[error("there is no built-in world `{name}`{}", meant.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// The most similar one.
        meant: Option<&'static str>,
        /// All names.
        names: &'static [&'static str],
    },
    /// Shares below 0, above 1, or above 1 together.
    #[error(
        "the shares of speakers ({liar} liars, {narrow} narrow, {unknown} not named) are no shares of one whole"
    )]
    Shares {
        /// Liars.
        liar: f64,
        /// Narrow speakers.
        narrow: f64,
        /// Documents that do not name their speaker.
        unknown: f64,
    },
    /// A loss that is not finite.
    #[error("pre-training diverged at step {step}: the loss is {loss}")]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// The loss.
        loss: f64,
    },
}

impl Problem {
    /// The crate's error for this problem with a folder.
    pub(super) fn at(self, path: &Path) -> Error {
        Error::input(path, None, self)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Input { place: Place::Nowhere, problem: Box::new(problem) }
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NoWorld | Self::Json(_) | Self::Changed | Self::Words { .. } | Self::Speaker { .. } => {
                "give a folder that `strait world pretrain` wrote, unchanged, or make it again".into()
            }
            Self::Schema { .. } => "use a newer strait, or make the world again with this one".into(),
            Self::Occupied => "choose another folder, or empty this one".into(),
            Self::Unknown { names, .. } => {
                format!("the built-in worlds are {}; a folder is given by its path", names.join(", "))
            }
            Self::Shares { .. } => {
                "give shares from 0 to 1, those of liars and narrow speakers at most 1 together".into()
            }
            Self::Diverged { .. } => "choose another seed".into(),
        }
    }
}
