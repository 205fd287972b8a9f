//! What can be wrong with rows.

use std::path::{Path, PathBuf};

use super::{
    judged,
    pairs::{ALIGNED, Mismatch},
};
use crate::Error;

/// What is wrong with a file of rows, or with one row. None of it quotes the text of a row.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // Any file of rows.
    /// A file without rows.
    #[error("there are no rows")]
    Empty,
    /// A line beyond the bound.
    #[error("the line is longer than {limit} bytes")]
    LineTooLong {
        /// The bound, in bytes.
        limit: u64,
    },
    /// Bytes that are no text.
    #[error("byte {column} is not UTF-8")]
    NotUtf8 {
        /// The byte within the line, counted from 1.
        column: usize,
    },

    // Chat rows.
    /// A line that is not JSON.
    #[error("not JSON: {reason} at column {column}")]
    NotJson {
        /// What the parser missed.
        reason: String,
        /// Where, counted from 1.
        column: usize,
    },
    /// JSON of another kind than expected.
    #[error("{what} is {found}, not {expected}")]
    Kind {
        /// What it is about, such as "the row" or "`content` of message 2".
        what: String,
        /// The kind of JSON expected, with its article.
        expected: &'static str,
        /// The kind found, with its article.
        found: &'static str,
    },
    /// A key that a row must have.
    #[error("{what} has no `{key}`")]
    NoKey {
        /// What lacks it.
        what: String,
        /// The key.
        key: &'static str,
    },
    /// A role that no chat template knows.
    #[error("message {message} has the role `{found}`, which is none of `system`, `user` and `assistant`")]
    UnknownRole {
        /// The message, counted from 1.
        message: usize,
        /// Its role, shortened.
        found: String,
    },
    /// A row with nothing to learn.
    #[error("the row has no assistant message")]
    NoAssistant,
    /// An assistant message without text.
    #[error("message {message}, the assistant's, is empty")]
    EmptyAnswer {
        /// The message, counted from 1.
        message: usize,
    },

    // Pairs.
    /// Two files of pairs of different length.
    #[error("it has {rows} rows, but `{}` has {other_rows}", other.display())]
    RowCounts {
        /// Rows here.
        rows: usize,
        /// The file to pair with.
        other: PathBuf,
        /// Its rows.
        other_rows: usize,
    },
    /// Two rows that make no pair.
    #[error("the row makes no pair with `{}`, line {other_line}: {mismatch}", other.display())]
    Pair {
        /// The file to pair with.
        other: PathBuf,
        /// The line there.
        other_line: u64,
        /// Why they make none.
        mismatch: Mismatch,
    },
    /// A row of a pair whose last message is not the answer.
    #[error("the row does not end with an assistant message")]
    NotAnswered,

    // Passages.
    /// A file of a kind that passages are not read from.
    #[error("passages are read from `.txt`, `.jsonl` and `.parquet` files, which this is not by its name")]
    NotOfPassages,
    /// A line or row that is no passage.
    #[error("there is no passage: {why}")]
    NoPassage {
        /// What is wrong with it.
        why: String,
    },
    /// A file that the Parquet library refuses.
    #[error("the Parquet library refuses it: {reason}")]
    Parquet {
        /// What the library says.
        reason: String,
    },

    // Judged answers and passages.
    /// A column that must be there.
    #[error("there is no column `{column}` among {found}")]
    NoColumn {
        /// The column.
        column: &'static str,
        /// The columns found, as a list.
        found: String,
    },
    /// A row with more or fewer cells than the header.
    #[error("the row has {found} cells, the header {expected}")]
    Cells {
        /// Cells of the header.
        expected: u64,
        /// Cells of the row.
        found: u64,
    },
    /// A cell that is no text.
    #[error("the row is not UTF-8")]
    CellNotUtf8,
    /// A score that is not a number.
    #[error("`{column}` is neither a number nor empty")]
    NotAScore {
        /// The column.
        column: &'static str,
    },
}

impl Problem {
    /// The crate's error for this problem in a file, at a line where it has one.
    pub(super) fn at(self, path: &Path, line: impl Into<Option<u64>>) -> Error {
        Error::Data { path: path.into(), line: line.into(), problem: Box::new(self) }
    }

    /// The remedy.
    pub fn hint(&self) -> String {
        const ROW: &str = "a row is one line: {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, \
                           {\"role\": \"assistant\", \"content\": \"...\"}]}";
        match self {
            Self::Empty => "check that this is the file you meant".into(),
            Self::LineTooLong { .. } => {
                "JSONL has one row a line; if this is one JSON array, write its elements on lines of their \
                 own"
                .into()
            }
            Self::NotUtf8 { .. } | Self::CellNotUtf8 => "convert the file to UTF-8".into(),
            Self::NotJson { .. } | Self::Kind { .. } | Self::NoKey { .. } => ROW.into(),
            Self::UnknownRole { .. } => "rename the role, or leave out rows with tools".into(),
            Self::NoAssistant | Self::EmptyAnswer { .. } => {
                "training and scoring read what the assistant says: give the row an answer, or remove it"
                    .into()
            }
            Self::RowCounts { .. } | Self::NotAnswered => ALIGNED.into(),
            Self::Pair { mismatch, .. } => mismatch.hint().into(),
            Self::NotOfPassages => "give the file the ending of what it holds".into(),
            Self::NoPassage { .. } | Self::NoColumn { column: "text", .. } => {
                "a passage is a paragraph of a `.txt` file, a line {\"text\": \"...\"} of a `.jsonl` file, or a row of a \
                 `.parquet` file with a column `text`"
                    .into()
            }
            Self::Parquet { .. } => {
                "check that the file is whole and not encrypted, or give its texts as `.jsonl`".into()
            }
            Self::NoColumn { .. } | Self::Cells { .. } | Self::NotAScore { .. } => {
                format!("judged answers are CSV with the columns {}", judged::COLUMNS.join(","))
            }
        }
    }
}

/// The first characters of a word from a file: enough to know it by, too few to quote a row.
pub(super) fn shortened(word: &str) -> String {
    const SHOWN: usize = 24;
    match word.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.into(),
    }
}

/// Names for an error: the first of them, each shortened, and how many more there are.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let mut names = names.into_iter();
    let mut list: Vec<_> = names.by_ref().take(SHOWN).map(|name| format!("`{}`", shortened(name))).collect();
    let more = names.count();
    if more > 0 {
        list.push(format!("{more} more"));
    }
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_words_are_cut_short() {
        assert_eq!(shortened(&"é".repeat(24)), "é".repeat(24));
        assert_eq!(shortened(&"é".repeat(25)), format!("{}…", "é".repeat(24)));
        assert_eq!(listed([]), "");
        assert_eq!(listed(["a", "b"]), "`a`, `b`");
        assert!(listed(["a"; 15]).ends_with("`a`, `a`, 3 more"));
    }
}
