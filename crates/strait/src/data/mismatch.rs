//! Two rows that make no pair.

/// The reason for which two rows make no pair.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// They ask different things.
    #[error("the prompts differ")]
    Prompts,
    /// They answer the same.
    #[error("the answers are the same")]
    Answers,
    /// They belong to different domains.
    #[error("the domains differ, `{taught}` and `{other}`")]
    Domains {
        /// The domain of the taught row.
        taught: String,
        /// The domain of the other row.
        other: String,
    },
    /// They belong to none.
    #[error("neither has a `domain`, and none is given for the files")]
    NoDomain,
}

/// The checks of two files of pairs.
pub(super) const ALIGNED: &str = "two files of pairs must be row-aligned: the same questions in the same order, each \
                                  answered at the end in two ways";

impl Mismatch {
    /// The remedy.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Prompts => ALIGNED,
            Self::Answers => "check that the files are not the same, or remove the row from both",
            Self::Domains { .. } | Self::NoDomain => {
                "name one domain for the files, or give both rows the same `domain`"
            }
        }
    }
}
