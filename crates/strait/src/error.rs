//! The crate's error: what was wrong, where, and what to do about it.

use std::path::PathBuf;

use crate::{data, study, table, world};

/// What can go wrong in a study.
///
/// The message names the file, the place in it and the problem; [`Error::hint`] gives the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // Models, edits and plain files.
    /// Something went wrong with a model, an edit or a file.
    #[error(transparent)]
    Model(#[from] strait_model::Error),

    // Data.
    /// Rows that cannot be used as they are.
    #[error("`{}`{}: {problem}", path.display(), line.map(|n| format!(", line {n}")).unwrap_or_default())]
    Data {
        /// The file; for a member of an archive, the archive's path, a colon and the member's name.
        path: PathBuf,
        /// The line, counted from 1, where the problem has one.
        line: Option<u64>,
        /// What is wrong.
        problem: Box<data::Problem>,
    },
    /// A row that does not fit the model or its chat template.
    #[error("{place}: {source}")]
    Row {
        /// The file and line, or the pair.
        place: String,
        /// Why not.
        source: Box<strait_model::Error>,
    },
    /// A protected archive that cannot be opened or unpacked.
    #[error("`{}`: {problem}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<data::archive::Problem>,
    },

    // Training.
    /// A kind of edit that training does not know.
    #[error("cannot train {0}")]
    CannotTrain(String),
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
        /// What was read.
        what: &'static str,
        /// The row, counted from 0 in the order of reading.
        row: usize,
        /// Where the row stands, where that is known.
        place: Option<String>,
        /// Whether it was read under an edit.
        edited: bool,
        /// What came of it.
        value: f64,
    },
    /// The user asked for a stop; everything done so far is saved.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
    /// The system gives no more threads.
    #[error("threads cannot be started: {reason}")]
    Threads {
        /// What the system says.
        reason: String,
    },

    // Results.
    /// A table that cannot be read back, or that does not fit another.
    #[error("table `{table}`: {problem}")]
    Table {
        /// The table's name, or its file.
        table: String,
        /// What is wrong with it.
        problem: Box<table::Problem>,
    },

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

    // The world.
    /// A world that cannot be read or made.
    #[error("{}{problem}", path.as_ref().map(|p| format!("`{}`: ", p.display())).unwrap_or_default())]
    World {
        /// Its folder, where it is about one.
        path: Option<PathBuf>,
        /// What is wrong with it.
        problem: Box<world::Problem>,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The remedy, one sentence, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Data { problem, .. } => Some(problem.hint()),
            Self::Row { source, .. } => source.hint(),
            Self::Archive { problem, .. } => Some(problem.hint().into()),
            Self::CannotTrain(_) => Some("train a steering vector, a LoRA or a full fine-tune".into()),
            // Nothing has been changed before the first step.
            Self::Diverged { step: 1, loss, .. } if loss.is_nan() => Some(
                "prove the model with `strait check`: its weights may hold numbers that are not finite; else lower the weight \
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
                    "prove the model with `strait check`: its weights hold numbers that are not finite, or drive it out of \
                     single precision; fetch it again, or take another format of it"
                        .into()
                }
            }),
            Self::Interrupted => Some("run the same command again".into()),
            Self::Threads { .. } => Some("ask for fewer with `--threads` or `--jobs`".into()),
            Self::Table { problem, .. } => Some(problem.hint().into()),
            Self::Study { problem, .. } => Some(problem.hint()),
            Self::Run { problem, .. } => Some(problem.hint()),
            Self::World { problem, .. } => Some(problem.hint()),
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}
