//! Edits that no weights can do, and folders that cannot be written.

use std::path::PathBuf;

use crate::Error;

/// A problem of a whole model that is to be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A vector that is added.
    #[error(
        "a steering vector is added to the stream, for which these models' weights have no place: they have no biases there"
    )]
    Steering,
    /// A direction that is not taken out everywhere.
    #[error(
        "a direction is taken out after {} of the model's {} points (from layer -1 to {}) alone, and in the weights it is taken out \
         of all that they write",
        found.len(), layers + 1, layers.saturating_sub(1)
    )]
    Layers {
        /// The layers at which it is taken out.
        found: Vec<i32>,
        /// The number of the model's layers.
        layers: usize,
    },
    /// A direction of which a part is taken out.
    #[error("{factor} of a direction is taken out at every layer anew, which no weights do")]
    Factor {
        /// The share.
        factor: f64,
    },
    /// Directions that are in each other's way.
    #[error(
        "two of the directions have a cosine of {cosine:.2e}: taking one out puts the other back in part"
    )]
    Angle {
        /// Their cosine.
        cosine: f64,
    },
    /// An adapter of the embeddings behind an ablation.
    #[error("an adapter of the embeddings comes after an ablation, and writes along the direction again")]
    Order,
    /// A model that norms what its blocks write.
    #[error(
        "the model norms what its blocks write (as Gemma does), and a norm's weight cannot keep a direction out"
    )]
    PostNorms,
    /// A folder in which something lies.
    #[error("something lies in the folder already")]
    Occupied,
    /// A model in a GGUF file.
    #[error("the model is a GGUF file, and transformers' folders are made from folders")]
    BaseIsGguf,
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::Steering => "write a `.safetensors` file, or a `.gguf` file for llama.cpp",
            Self::Layers { .. } | Self::Factor { .. } => {
                "write a `.safetensors` file instead, or ablate one direction whole after every layer, -1 included"
            }
            Self::Angle { .. } => {
                "make the directions one subspace: take from each the part along those before it"
            }
            Self::Order => "compose the ablation after the adapter",
            Self::PostNorms => "write a `.safetensors` file instead: the edit does it at the stream",
            Self::Occupied => "name a new folder",
            Self::BaseIsGguf => "write a `.safetensors` file instead, or name the model's folder",
        }
        .into()
    }
}

impl Problem {
    /// The error of a file with this problem.
    pub(super) fn at(self, path: impl Into<PathBuf>) -> Error {
        Error::input(path, self)
    }
}
