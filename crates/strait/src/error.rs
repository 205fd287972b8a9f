//! The crate's error: the fault, its place, and the remedy.

use std::{fmt, path::PathBuf};

pub use strait_model::error::Problem;

/// An error of strait.
///
/// The message names the file, the place in it and the problem; [`Error::hint`] gives the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // Models, edits and plain files.
    /// Something went wrong with a model, an edit or a file.
    #[error(transparent)]
    Model(#[from] strait_model::Error),

    /// A fault of something from outside. The modules that read have their own enum of problems;
    /// [`Error::problem`] finds it again.
    #[error("{place}{problem}")]
    Input {
        /// Its place.
        place: Place,
        /// The problem.
        problem: Box<dyn Problem>,
    },
    /// A row that does not fit the model or its chat template.
    #[error("{place}: {source}")]
    Row {
        /// The file and line, or the pair.
        place: String,
        /// The reason.
        source: Box<strait_model::Error>,
    },

    // Training.
    /// A kind of edit that training does not know.
    #[error("cannot train {0}")]
    CannotTrain(String),
    /// An edit that holds no directions, where such are taken out.
    #[error("{0} has no directions that could be projected out")]
    NoDirections(&'static str),
    /// The loss is not finite, or far above where it began.
    #[error(
        "training diverged at step {step}: loss {loss}, gradient norm {gradient_norm}, on training rows {rows:?} \
         (counted from 0 after the held-out rows are taken away)"
    )]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// The training rows of its batch.
        rows: Vec<usize>,
        /// The objective.
        loss: f64,
        /// Norm of the gradient.
        gradient_norm: f64,
    },
    /// A reading that is infinite or no number.
    #[error(
        "{}: its {what} {} is {value}, which is no reading",
        place.clone().unwrap_or_else(|| format!("row {} of those that are read", row + 1)),
        if *edited { "under the edit" } else { "under the base model" }
    )]
    NotFinite {
        /// The name of the reading.
        what: &'static str,
        /// The row, counted from 0 in the order of reading.
        row: usize,
        /// The place of the row, where that is known.
        place: Option<String>,
        /// True for a reading under an edit.
        edited: bool,
        /// The value.
        value: f64,
    },
    /// The user asked for a stop; everything done so far is saved.
    #[error("interrupted; run the same command to continue")]
    Interrupted,
    /// The system gives no more threads.
    #[error("threads cannot be started: {reason}")]
    Threads {
        /// The system's words.
        reason: String,
    },
}

/// The place of something from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere that has a name.
    Nowhere,
    /// In a file or folder, and on a line of it, counted from 1, where it has one.
    File(PathBuf, Option<u64>),
    /// In a table.
    Table(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(path, None) => write!(f, "`{}`: ", path.display()),
            Self::File(path, Some(line)) => write!(f, "`{}`, line {line}: ", path.display()),
            Self::Table(name) => write!(f, "table `{name}`: "),
        }
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The remedy, one sentence, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Row { source, .. } => source.hint(),
            Self::Input { problem, .. } => Some(problem.hint()),
            Self::NoDirections(_) => {
                Some("give steering vectors or ablations, such as a file that `strait direction` writes".into())
            }
            Self::CannotTrain(_) => Some("train a steering vector, a LoRA or a full fine-tune".into()),
            // Nothing has been changed before the first step.
            Self::Diverged { step: 1, loss, .. } if loss.is_nan() => Some(
                "test the model with `strait check`: its weights may hold numbers that are not finite; else lower the weight \
                 of the penalty"
                    .into(),
            ),
            Self::Diverged { .. } => Some(
                "lower `learning_rate`, set `clip = 1.0`, or look at those rows; the last checkpoint is kept"
                    .into(),
            ),
            Self::NotFinite { edited, .. } => Some(match edited {
                true => {
                    "look at the edit's norms with `strait edit inspect`, and scale it less: it holds numbers that are not \
                     finite, or drives the model out of single precision"
                        .into()
                }
                false => {
                    "test the model with `strait check`: its weights hold numbers that are not finite, or drive it out of \
                     single precision; fetch it again, or take another format of it"
                        .into()
                }
            }),
            Self::Interrupted => Some("run the same command again".into()),
            Self::Threads { .. } => Some("ask for fewer with `--threads` or `--jobs`".into()),
        }
    }
}

impl Error {
    /// The error of a file or folder, on a line where it has one.
    pub fn input(path: impl Into<PathBuf>, line: Option<u64>, problem: impl Problem) -> Self {
        Self::Input { place: Place::File(path.into(), line), problem: Box::new(problem) }
    }

    /// The problem of an [`Error::Input`], where it is of this kind.
    pub fn problem<P: Problem>(&self) -> Option<&P> {
        match self {
            Self::Input { problem, .. } => (&**problem as &dyn std::error::Error).downcast_ref(),
            _ => None,
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}
