//! The crate's error: what was wrong, where, and what to do about it.

use std::path::PathBuf;

use crate::study;

/// What can go wrong in a study.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something went wrong with a model, an edit or a file.
    #[error(transparent)]
    Model(#[from] strait_model::Error),

    // Studies.
    /// A study file that does not say what it should.
    #[error("`{}`{}: {problem}", path.display(), line.map(|n| format!(", line {n}")).unwrap_or_default())]
    Study {
        /// The study file.
        path: PathBuf,
        /// The line, counted from 1, where the problem has one.
        line: Option<u64>,
        /// What is wrong with it.
        problem: Box<study::Problem>,
    },
    /// A run folder that cannot be used.
    #[error("`{}`: {problem}", path.display())]
    Run {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<study::FolderProblem>,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The remedy, one sentence, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Study { problem, .. } => Some(problem.hint()),
            Self::Run { problem, .. } => Some(problem.hint()),
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}
