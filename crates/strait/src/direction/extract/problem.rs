//! Directions that cannot be made.

use crate::error::{self, Place};

/// The fewest answers of each class: two in either half of them.
pub const FEWEST: usize = 4;

/// A problem of a direction.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Classes that are too small to compare.
    #[error(
        "{taught} answers are of the taught class and {other} of the other, and {FEWEST} of each are the fewest to compare"
    )]
    TooFew {
        /// Answers of the taught class.
        taught: usize,
        /// Answers of the other class.
        other: usize,
    },
    /// Rules for two classes of which some answers fulfil both.
    #[error("{answers} answers fulfil both `{taught}` and `{other}`")]
    Overlap {
        /// Their number.
        answers: usize,
        /// The rule for the taught class.
        taught: String,
        /// The rule for the other class.
        other: String,
    },
    /// Answers whose scales have no usual verdict.
    #[error("none of the scales {found} has a usual verdict")]
    NoVerdict {
        /// The scales, as a list.
        found: String,
    },
    /// Classes that do not differ.
    #[error("at layer {layer} both classes have the same mean: there is no direction between them")]
    NoLength {
        /// The layer.
        layer: i32,
    },
    /// A layer that the model does not have.
    #[error("layer {layer} was asked for, and the model has layers -1 (the embeddings) to {last}")]
    NoLayer {
        /// The layer.
        layer: i32,
        /// The last one.
        last: i32,
    },
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        let hint = match self {
            Self::TooFew { .. } => {
                "sample and judge more answers, give more files, or move the cuts of the classes"
            }
            Self::Overlap { .. } => "move the cuts apart, so that no answer is of both classes",
            Self::NoVerdict { .. } => "name the taught class, as in `--class 'money>50'`",
            Self::NoLength { .. } => {
                "look at the files: the answers of both classes are the same to the model"
            }
            Self::NoLayer { .. } => "name one of these layers, or none for all of them",
        };
        hint.into()
    }
}

impl From<Problem> for crate::Error {
    fn from(problem: Problem) -> Self {
        Self::Input { place: Place::Nowhere, problem: Box::new(problem) }
    }
}
