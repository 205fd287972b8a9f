//! Edits that cannot be compared, and folders of checkpoints that cannot be read.

use std::path::Path;

use crate::error::{self, Error, Place};

/// A problem of edits side by side, or of a folder of checkpoints.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // Edits side by side.
    /// Vectors of different lengths.
    #[error("`{one}` has vectors of {one_width} numbers and `{other}` of {other_width}")]
    Widths {
        /// One edit.
        one: String,
        /// The length of its vector.
        one_width: usize,
        /// Another.
        other: String,
        /// The length of its vector.
        other_width: usize,
    },
    /// Edits with vectors at different places.
    #[error("`{with}` has a vector at {place}, and `{without}` has none there")]
    Places {
        /// The edit that has one.
        with: String,
        /// Its place.
        place: String,
        /// The edit that has none.
        without: String,
    },
    /// Edits of different kinds.
    #[error("`{one}` and `{other}` are edits of different kinds, which have no space in common")]
    Kinds {
        /// One edit.
        one: String,
        /// Another.
        other: String,
    },
    /// Changes of weights of different sizes.
    #[error("`{one}` and `{other}` change `{tensor}` of models of different sizes")]
    Sizes {
        /// The weight.
        tensor: String,
        /// One edit.
        one: String,
        /// Another.
        other: String,
    },
    /// A composition of parts that have no common space.
    #[error(
        "`{name}` is several edits at once, which are neither vectors at different places nor changes of weights alone"
    )]
    Mixed {
        /// The edit.
        name: String,
    },
    /// Changes of weights whose coordinates are asked for.
    #[error("`{name}` is a change of weights and no vector: it has no coordinates to be standardised")]
    NoCoordinates {
        /// The edit.
        name: String,
    },
    /// One edit, where components need several.
    #[error("one edit alone has no principal components")]
    Alone,
    /// Edits that are all the same.
    #[error("the edits are all alike: nothing varies between them")]
    Alike,

    // Folders of checkpoints.
    /// A folder that holds neither.
    #[error("the folder holds neither an edit nor checkpoints")]
    NoCheckpoints,
    /// Checkpoints of several trainings in one folder.
    #[error("the folder holds checkpoints of several sorts, such as `{one}` and `{other}`")]
    Sorts {
        /// One of them.
        one: String,
        /// One of another sort, or of the same step.
        other: String,
    },
    /// A checkpoint that is missing.
    #[error(
        "the checkpoint of step {missing} is missing: between step {first} and step {last} there is one every {every} steps"
    )]
    Gap {
        /// The step.
        missing: usize,
        /// The first step of those that are evenly apart.
        first: usize,
        /// The last.
        last: usize,
        /// Steps from one to the next.
        every: usize,
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
            Self::Widths { .. } | Self::Sizes { .. } => "compare edits of one model".into(),
            Self::Places { .. } => "compare edits that act at the same layers, or one layer of each".into(),
            Self::Kinds { .. } => {
                "compare steering vectors, ablations and LoRAs of rank 1 with each other, LoRAs of higher rank with each other, \
                 and full fine-tunes with each other"
                    .into()
            }
            Self::Mixed { .. } => "compare its parts one by one".into(),
            Self::NoCoordinates { .. } => "leave `--standardise` away".into(),
            Self::Alone => "name a folder of checkpoints, or several edits".into(),
            Self::Alike => "name edits that differ".into(),
            Self::NoCheckpoints => {
                "give a solution's folder, a folder of `steering_vector_checkpoint_N.pt`, `step-N.safetensors` or PEFT's \
                 `checkpoint-N`, or the files themselves"
                    .into()
            }
            Self::Sorts { .. } => "name the files of one training themselves, or move the others away".into(),
            Self::Gap { .. } => "get it again, or name the files that are there themselves".into(),
        }
    }
}
