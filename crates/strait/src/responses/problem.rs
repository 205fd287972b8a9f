//! Files that responses cannot be written into.

use std::path::Path;

use crate::error::{self, Error};

/// A problem of a file of responses.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file that something else wrote.
    #[error("there is a file of this name already, with no settings beside it")]
    NotOurs,
    /// Responses of other settings.
    #[error("its responses were sampled with other settings: `{key}` is {found} there, and {asked} here")]
    OtherSettings {
        /// The first setting that differs.
        key: String,
        /// Its value in the file.
        found: String,
        /// The value asked for.
        asked: String,
    },
    /// Settings that cannot be read.
    #[error("these are no settings of responses")]
    NoSettings,
    /// A line that is no response of these settings.
    #[error("this is no response of the settings beside the file")]
    NoResponse,
    /// A file that another process writes.
    #[error("another strait is writing into it")]
    InUse,
}

impl Problem {
    /// True for a file that holds something else than what is asked for.
    pub(super) fn is_of_another(&self) -> bool {
        matches!(self, Self::NotOurs | Self::OtherSettings { .. } | Self::NoSettings | Self::NoResponse)
    }

    /// The error of a file at this path, on a line where it has one.
    pub(super) fn at(self, path: &Path, line: Option<u64>) -> Error {
        Error::input(path, line, self)
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NotOurs => "choose another name, or move that file away".into(),
            Self::OtherSettings { .. } => {
                "choose another name, or ask with the settings of that file to go on with it".into()
            }
            Self::NoSettings | Self::NoResponse => {
                "something else changed the file: move it and its settings away, and sample anew".into()
            }
            Self::InUse => "wait for it, or choose another name".into(),
        }
    }
}
