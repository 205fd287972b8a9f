//! Directions that cannot be swept.

use crate::error;

/// A problem of directions, or of what they are taken out of.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An edit that is more than vectors.
    #[error("it holds {found}, which is no direction")]
    NotVectors {
        /// The kind of the part, with its article.
        found: &'static str,
    },
    /// Two vectors after one block.
    #[error("it has two vectors at layer {layer}")]
    TwoVectors {
        /// The layer.
        layer: i32,
    },
    /// A layer for which there is no vector.
    #[error("it has no direction at layer {layer}, only at {known}")]
    NoVector {
        /// The layer asked for.
        layer: i32,
        /// Those that it has, as a list.
        known: String,
    },
    /// Vectors that are all zero.
    #[error("every vector in it is zero, which is no direction")]
    Zero,
    /// A model that norms what blocks write before it is added to the stream.
    #[error(
        "a direction cannot be taken out of B: this model norms what its blocks write before it is added to the stream"
    )]
    NormedWrites,
    /// An edit without an adapter that writes into the stream.
    #[error("a direction cannot be taken out of B: no adapter of the edit writes into the residual stream")]
    NoAdapter,
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NotVectors { .. } => {
                "name a file of steering vectors, one a layer, as `strait direction extract` writes".into()
            }
            Self::TwoVectors { .. } => "take a file with one vector a layer".into(),
            Self::NoVector { .. } => "name layers that the file has with `--layers`, or leave it out for all of them".into(),
            Self::Zero => "extract it from two kinds of answers that differ".into(),
            Self::NormedWrites => "take it out of the stream: `--ablate own`, `--ablate everywhere` or `--ablate layer`".into(),
            Self::NoAdapter => {
                "name a LoRA that adapts `o_proj`, `down_proj` or the embeddings, or take the direction out of the stream: \
                 `--ablate own`, `--ablate everywhere` or `--ablate layer`"
                    .into()
            }
        }
    }
}
