//! Rules that cannot be applied.

use crate::error;

/// A problem of a rule.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A scale that no answer is scored on.
    #[error("there is no scale `{scale}` among {found}")]
    NoScale {
        /// The scale asked for.
        scale: String,
        /// The scales found, as a list.
        found: String,
    },
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NoScale { .. } => {
                "name one of these, or score the answers on it with `strait judge`".into()
            }
        }
    }
}
