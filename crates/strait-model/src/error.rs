//! The crate's error: the fault, its place, and the remedy.

use std::path::PathBuf;

/// A problem of a file, an edit or a name: an enum for each kind, with one variant a malformation.
pub trait Problem: std::error::Error + Send + Sync + 'static {
    /// The remedy, one sentence.
    fn hint(&self) -> String;
}

/// An error of reading, editing or running a model.
///
/// The message names the file, the place in it and the problem; [`Error::hint`] gives the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("`{}`: cannot {doing}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The step that failed, as a verb phrase.
        doing: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something other than a file where a file is read.
    #[error("`{}`: this is {found}, not a file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// Its kind, with its article.
        found: &'static str,
    },
    /// A file that is larger than files of its kind may be.
    #[error("`{}`: it is longer than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        limit: u64,
    },
    /// A file that did not stay as it was.
    #[error("`{}`: the file was changed or replaced while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Something from outside that is malformed, is not supported, or does not fit together. The modules that read have their own
    /// enum of problems; [`Error::problem`] finds it again.
    #[error("{}{problem}", path.as_ref().map(|path| format!("`{}`: ", path.display())).unwrap_or_default())]
    Input {
        /// The file or folder, where it is one.
        path: Option<PathBuf>,
        /// The problem.
        problem: Box<dyn Problem>,
    },
    /// A sequence that is longer than the model's context.
    #[error("a sequence of {tokens} tokens is longer than the model's context of {context}")]
    TooLong {
        /// Tokens in the sequence.
        tokens: usize,
        /// The model's limit.
        context: usize,
    },
    /// A model that says nothing of the next token.
    #[error("the model's logits are not numbers, so that no token can be drawn")]
    NoLogits,
    /// A token that the model has no embedding of.
    #[error("the token id {id} has no row in the embedding, which has {rows}")]
    NoRow {
        /// The token's id.
        id: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A tensor operation failed. No file and no argument should lead here: what does is a mistake of strait's.
    #[error("a tensor operation failed: {}", in_words(.0))]
    Tensor(candle_core::Error),
}

impl<P: Problem> From<P> for Error {
    fn from(problem: P) -> Self {
        Self::Input { path: None, problem: Box::new(problem) }
    }
}

// No source: the engine's own words hold backtraces, which a chain of causes would show.
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error)
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The remedy, one sentence, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => {
                Some(io_hint(source).unwrap_or("look at what lies there and at the disk that it lies on").into())
            }
            Self::NotAFile { found: "a folder", .. } => Some("name a file in the folder".into()),
            Self::NotAFile { .. } => Some("write what it gives into a file, and name that".into()),
            Self::TooLarge { .. } => Some("check that this is the file you meant".into()),
            Self::Changed { .. } => {
                Some("wait until what writes to it is done, and run the same command again".into())
            }
            Self::Input { problem, .. } => Some(problem.hint()),
            Self::TooLong { .. } => Some("shorten the text or split the conversation".into()),
            Self::NoLogits => Some(
                "its weights or the edit hold numbers that are not finite: check the model with `strait check`, look at the \
                 edit with `strait edit inspect`, or scale it less"
                    .into(),
            ),
            Self::NoRow { .. } => Some(
                "the tokenizer and the weights do not belong together: restore both from the model's repository, or give \
                 the embedding the missing rows with transformers' `resize_token_embeddings`"
                    .into(),
            ),
            Self::Tensor(_) => Some(
                "look whether the model, the edit and the data belong together; where they do, this is a fault of strait: \
                 report it with the command and `strait --version`"
                    .into(),
            ),
        }
    }

    /// The error of a file or folder with this problem.
    pub fn input(path: impl Into<PathBuf>, problem: impl Problem) -> Self {
        Self::Input { path: Some(path.into()), problem: Box::new(problem) }
    }

    /// The problem of an [`Error::Input`], where it is of this kind.
    pub fn problem<P: Problem>(&self) -> Option<&P> {
        match self {
            Self::Input { problem, .. } => (&**problem as &dyn std::error::Error).downcast_ref(),
            _ => None,
        }
    }

    /// Wraps an I/O error with its path and the attempt that failed, for `map_err`.
    pub fn io(path: impl Into<PathBuf>, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, doing, source }
    }
}

/// ELOOP, for which the standard library has no stable word.
const TOO_MANY_LINKS: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

/// The engine's words, in one line and without the backtrace that it takes along where the environment asks for one.
fn in_words(error: &candle_core::Error) -> String {
    use candle_core::Error::{Context, WithBacktrace, WithPath, WrappedContext};
    match error {
        WithBacktrace { inner, .. } => in_words(inner),
        WrappedContext { wrapped, context } => format!("{context}: {wrapped}"),
        Context { inner, context } => format!("{context}: {}", in_words(inner)),
        WithPath { inner, path } => format!("`{}`: {}", path.display(), in_words(inner)),
        other => other.to_string(),
    }
}

/// The remedy for the commoner refusals of an operating system.
pub fn io_hint(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind::*;
    Some(match error.kind() {
        NotFound => {
            "check the path; relative paths start at the folder you are in, in a study at the study file"
        }
        PermissionDenied => "check who may read or write it, or choose another folder",
        ReadOnlyFilesystem => "the file system is mounted read-only: choose another folder",
        StorageFull | QuotaExceeded => {
            "the disk is full: free some space and run the same command again, what is done stays"
        }
        InvalidData => "the file is not UTF-8 text or is damaged: fetch or write it again",
        UnexpectedEof => "the file ends too early: it was cut off, or is still being written; fetch it again",
        IsADirectory => "a folder lies where a file should be: name the file, or move the folder away",
        NotADirectory => "a part of the path is a file, not a folder: choose another path",
        AlreadyExists => "something of that name is there already: choose another name, or move it away",
        InvalidFilename => "the name is too long, or holds what names cannot hold: choose another one",
        OutOfMemory => "free some memory, or lift the limit on it",
        FileTooLarge => "the file system or a limit allows no file of that size: choose another folder",
        _ if error.raw_os_error() == Some(TOO_MANY_LINKS) => {
            "symbolic links lead in a circle there: name the file that is meant"
        }
        _ => return None,
    })
}

/// Names as a list in words.
pub(crate) fn quoted(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_of_the_engine_is_not_shown() {
        let backtrace = Box::new(std::backtrace::Backtrace::force_capture());
        let inner = Box::new(candle_core::Error::Msg("shapes differ".into()));
        let error = candle_core::Error::WithBacktrace { inner, backtrace }.context("in block 3");
        let error = Error::from(error);
        assert_eq!(error.to_string(), "a tensor operation failed: in block 3: shapes differ");
        assert!(std::error::Error::source(&error).is_none());
    }
}
