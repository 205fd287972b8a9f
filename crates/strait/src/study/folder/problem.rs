//! The problems of a run folder.

use std::path::Path;

use super::{super::SCHEMA, RUN};
use crate::error::{self, Error};

/// A problem of a run folder.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file where a folder should be.
    #[error("this is a file, not a folder")]
    NotAFolder,
    /// A folder with other things in it.
    #[error("the folder holds `{entry}`, and no run")]
    Foreign {
        /// Something in it.
        entry: String,
    },
    /// A folder that no run was begun in.
    #[error("the folder holds no run: it has no `{RUN}`")]
    NoRun,
    /// A run of another study.
    #[error("the folder holds a run of the study `{found}`, not of `{expected}`")]
    OtherStudy {
        /// The study that is run.
        expected: String,
        /// The study that the folder belongs to.
        found: String,
    },
    /// A folder of a later strait.
    #[error(
        "the folder was written by strait {version} with schema {found}, this strait knows schema {SCHEMA}"
    )]
    Schema {
        /// The schema found.
        found: u32,
        /// The strait that wrote it.
        version: String,
    },
    /// A record that is not what strait writes.
    #[error("`{file}` is not what strait writes: {reason}")]
    Malformed {
        /// The file within the folder.
        file: String,
        /// The parser's message.
        reason: String,
    },
    /// A folder that another process works in.
    #[error("another run is at work in this folder")]
    Locked,
    /// Results that are not what a finished step made.
    #[error("{what}")]
    Damaged {
        /// The step that made it, and what is wrong with it.
        what: String,
    },
    /// Predictions that changed once they were sealed, or came once a step was begun.
    #[error("the study's predictions are not those that were sealed before its first step")]
    Predictions,
}

impl Problem {
    pub(crate) fn at(self, path: &Path) -> Error {
        Error::input(path, None, self)
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NotAFolder | Self::Foreign { .. } => {
                "choose a folder of its own for the run with `--out`".into()
            }
            Self::NoRun => "name the folder of a run, such as `runs/technical`".into(),
            Self::OtherStudy { .. } => "choose another folder with `--out`, or give the study another name".into(),
            Self::Schema { .. } => "use that strait, or choose another folder with `--out`".into(),
            Self::Malformed { .. } => {
                "run the study into another folder with `--out`; edits and tables in this one can still be read".into()
            }
            Self::Damaged { .. } => {
                "run the study again, with this folder as `--out`: what was damaged is made again".into()
            }
            Self::Predictions => {
                "give the study those of `predictions.json` (none, where there is no such file), or run it into another folder \
                 with `--out`"
                    .into()
            }
            Self::Locked => {
                "wait for it to end and look at it with `strait status`, or choose another folder with `--out`".into()
            }
        }
    }
}
