//! Rows and edits whose scalars cannot be read or patched.

use crate::error::{self, Error, Place};

/// A problem of scalars.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A row without a token to read.
    #[error("row {} of those that are read has no response", row + 1)]
    NoResponse {
        /// The row, counted from 0.
        row: usize,
    },
    /// A share of tokens that is none.
    #[error("the share of the most significant tokens is {share}, and must lie above 0 and not above 1")]
    Share {
        /// The share.
        share: f64,
    },
    /// A prompt for every row is needed.
    #[error("there are {rows} rows and {prompts} prompts")]
    Counts {
        /// The rows.
        rows: usize,
        /// The prompts.
        prompts: usize,
    },
    /// Two prompts between which scalars cannot be patched.
    #[error("{place}: the prompt has {found} tokens, and that of row {} has {expected}", row + 1)]
    Lengths {
        /// The place of the prompt.
        place: String,
        /// Its tokens.
        found: usize,
        /// The row, counted from 0.
        row: usize,
        /// The tokens of its prompt.
        expected: usize,
    },
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        let hint = match self {
            Self::NoResponse { .. } => "give rows that end with an assistant's answer",
            Self::Share { .. } => "give a share such as 0.25: the most significant quarter of the tokens",
            Self::Counts { .. } => "give one prompt for each row, in the same order",
            Self::Lengths { .. } => {
                "give prompts of as many tokens as the rows' own, the template's included: scalars go from token to token"
            }
        };
        hint.into()
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Input { place: Place::Nowhere, problem: Box::new(problem) }
    }
}
