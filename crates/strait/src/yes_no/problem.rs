//! Questions that cannot be answered with yes or no.

use crate::error::{self, Place};

/// A problem of yes-or-no questions.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A word that the model's vocabulary does not have as one token.
    #[error("the model has no token that is the word `{word}`")]
    NoToken {
        /// The word.
        word: String,
    },
    /// Both answers are the same word.
    #[error("both answers are the word `{word}`")]
    SameWords {
        /// The word.
        word: String,
    },
    /// A question whose expected answer is another.
    #[error("{place}: the expected answer is neither `{}` nor `{}`", words[0], words[1])]
    OtherAnswer {
        /// The question's place.
        place: String,
        /// The words.
        words: [String; 2],
    },
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        let hint = match self {
            Self::NoToken { .. } => {
                "name two words that are one token each with `--yes` and `--no`, as the model's language has them"
            }
            Self::SameWords { .. } => "name two words with `--yes` and `--no`",
            Self::OtherAnswer { .. } => {
                "write one of both words as the row's `answer`, or leave the answer away"
            }
        };
        hint.into()
    }
}

impl From<Problem> for crate::Error {
    fn from(problem: Problem) -> Self {
        Self::Input { place: Place::Nowhere, problem: Box::new(problem) }
    }
}
