//! The problems of suites.

use std::path::Path;

use crate::{
    error::{self, Error},
    keys,
};

/// A problem of a suite.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A key or value that is not as it should be.
    #[error(transparent)]
    Keys(#[from] keys::Problem),
    /// A hole that the suite gives no value.
    #[error("line {line} of the template has the hole `{hole}`, and the suite gives it no value")]
    NoValue {
        /// The hole.
        hole: String,
        /// The template's line, counted from 1.
        line: u64,
        /// The names that have values.
        known: Vec<String>,
    },
    /// A value that no hole takes.
    #[error("the template has no hole `{{{{{name}}}}}`")]
    NoHole {
        /// The value's name.
        name: String,
    },
    /// A hole without an end.
    #[error("the hole on line {line} of the template is not closed")]
    OpenHole {
        /// The template's line, counted from 1.
        line: u64,
    },
    /// More studies than anybody runs.
    #[error("the suite has {studies} studies, which are more than {most}")]
    TooMany {
        /// The number of studies.
        studies: usize,
        /// The most.
        most: usize,
    },
    /// Studies that would share a folder.
    #[error("two of its studies are called `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
}

impl Problem {
    /// The error of a suite at this path.
    pub(super) fn at(self, path: &Path, line: Option<u64>) -> Error {
        Error::input(path, line, self)
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::Keys(_) => "a suite has `title`, `about` and `[suite]` with `template` and `values`".into(),
            Self::NoValue { known, .. } => {
                format!("give it values in `[suite.values]`; those that have some are {}", known.join(", "))
            }
            Self::NoHole { .. } => "write the hole into the template, or take the values out".into(),
            Self::OpenHole { .. } => "write it on one line, as in `{{domain}}`".into(),
            Self::TooMany { .. } => "cut the lists of values, or make several suites".into(),
            Self::SameName { .. } => {
                "write different values, or holes into the template's `name` that tell its studies apart"
                    .into()
            }
        }
    }
}
