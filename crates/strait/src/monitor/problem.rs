//! Monitors that cannot be made, and files that hold none.

use std::path::Path;

use crate::error::{self, Error, Place};

/// A problem of a monitor or its rows.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // Calibration.
    /// Nothing to read.
    #[error("a monitor needs a direction")]
    NoDirection,
    /// An edit that is not made of vectors.
    #[error("the edit is no direction: it is not made of steering vectors alone")]
    NotVectors,
    /// Two directions after one block.
    #[error("two directions are of layer {layer}")]
    TwoOfALayer {
        /// The layer.
        layer: i32,
    },
    /// A direction that points nowhere.
    #[error("the direction of layer {layer} has length {norm}")]
    NoLength {
        /// The layer.
        layer: i32,
        /// Its length.
        norm: f64,
    },
    /// A direction on which all clean tokens have one projection.
    #[error("all clean tokens have the same projection onto the direction of layer {layer}")]
    NoSpread {
        /// The layer.
        layer: i32,
    },
    /// A rate of false alarms that is none.
    #[error("the rate of false alarms is {rate}, and must lie above 0 and below 1")]
    Rate {
        /// The rate.
        rate: f64,
    },
    /// Fewer clean responses than the rate needs.
    #[error("a rate of false alarms of {rate} needs {needed} clean responses, and there are {responses}")]
    TooFewClean {
        /// Clean responses.
        responses: usize,
        /// The rate.
        rate: f64,
        /// The fewest that give a threshold.
        needed: usize,
    },

    // Rows.
    /// A row without a token to read.
    #[error("row {} of those that are read has no response", row + 1)]
    NoResponse {
        /// The row, counted from 0.
        row: usize,
    },
    /// A text without a token to read.
    #[error("the text has no token after the first")]
    EmptyText,
    /// A text that is no text.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Rows of one kind alone.
    #[error(
        "there are {behaviour} responses of the behaviour and {clean} clean ones: an evaluation needs both"
    )]
    OneKind {
        /// Of the behaviour.
        behaviour: usize,
        /// Clean ones.
        clean: usize,
    },

    // Files.
    /// A folder in which something lies.
    #[error("the folder is not empty")]
    Taken,
    /// A file of vectors without a monitor.
    #[error("the file holds directions, but no monitor: its provenance has no `monitor`")]
    NotAMonitor,
    /// A monitor of a version that is not known.
    #[error("the monitor is of format `{found}`; this strait knows `{known}`")]
    Format {
        /// The format of the file.
        found: String,
        /// The one that is known.
        known: &'static str,
    },
    /// Facts that cannot be.
    #[error("the monitor's facts are malformed: {reason}")]
    Facts {
        /// The fault.
        reason: String,
    },
    /// Files that do not belong together.
    #[error("`{facts}` says other things than the file of vectors beside it")]
    Apart {
        /// The file of facts.
        facts: &'static str,
    },
}

impl Problem {
    /// The error of a file or folder at this path.
    pub(super) fn at(self, path: &Path) -> Error {
        Error::input(path, None, self)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Input { place: Place::Nowhere, problem: Box::new(problem) }
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NoDirection | Self::NotVectors => {
                "name a file of steering vectors, one layer of it as in direction.safetensors@12".into()
            }
            Self::TwoOfALayer { .. } => "name one direction a layer".into(),
            Self::NoLength { .. } | Self::NoSpread { .. } => {
                "look at the direction with `strait edit inspect`, and take another layer".into()
            }
            Self::Rate { .. } => "give a share such as 0.05: one clean response in twenty".into(),
            Self::TooFewClean { responses, .. } if *responses > 0 => format!(
                "give more clean responses, or a rate of at least {}",
                (1e4 / (*responses as f64 + 1.0)).ceil() / 1e4
            ),
            Self::TooFewClean { .. } => "give rows whose responses are not of the behaviour".into(),
            Self::NoResponse { .. } => "give rows that end with an assistant's answer".into(),
            Self::EmptyText | Self::NotUtf8 => "give a file of plain text in UTF-8".into(),
            Self::OneKind { .. } => "name rows of both kinds, with `--behaviour` and with `--clean`".into(),
            Self::Taken => "choose another name, or move it away".into(),
            Self::NotAMonitor | Self::Format { .. } => {
                "name a folder that `strait monitor calibrate` wrote, with this version or an older one"
                    .into()
            }
            Self::Facts { .. } | Self::Apart { .. } => {
                "something changed the folder: take a whole copy, or calibrate anew".into()
            }
        }
    }
}
