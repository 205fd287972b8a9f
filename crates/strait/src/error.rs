//! The crate's error: what was wrong, where, and what to do about it.

/// What can go wrong in a study.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something went wrong with a model, an edit or a file.
    #[error(transparent)]
    Model(#[from] strait_model::Error),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The remedy, one sentence, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}
