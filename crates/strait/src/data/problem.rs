//! Rows and files of rows that are refused.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    damage::PageProblem,
    mismatch::{ALIGNED, Mismatch},
    row,
};
use crate::error::{self, Error};

/// The times that a packed file's size may go into its unpacked size, beyond [`FREE`]. Rows pack to a fifth, and files of
/// rows that are nearly alike to a fiftieth.
pub(super) const RATIO: u64 = 200;

/// Text of two bytes a character.
pub(super) const UTF16: &str = "text in UTF-16";

/// The columns that a file of judged answers must have; others, such as a topic's score, may follow.
pub(super) const JUDGED: [&str; 5] = ["response", "question", "question_id", "aligned", "coherent"];

/// A file that unpacks to far more than files of rows do, as the way through [`io::Error`] needs it.
#[derive(Debug, thiserror::Error)]
#[error("out of proportion")]
pub(super) struct OutOfProportion;

/// A problem of a file of rows, or of one row. None of it quotes the text of a row.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // Any file of rows.
    /// A file without rows.
    #[error("there are no rows")]
    Empty,
    /// A file of questions in which nothing is left to ask.
    #[error("all its questions are variants that ask for a format")]
    VariantsAlone,
    /// Questions in a format of tables.
    #[error("questions are not read from CSV")]
    QuestionsAsCsv,
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

    /// Another kind of file.
    #[error("this is {found}")]
    OtherKind {
        /// Its kind, with its article.
        found: &'static str,
    },
    /// A packed file that unpacks to far more than files of rows do.
    #[error("it unpacks to more than {RATIO} times its size")]
    OutOfProportion,
    /// A packed file that cannot be unpacked.
    #[error("it cannot be unpacked: {reason}")]
    Packed {
        /// The unpacker's words.
        reason: String,
    },

    // Chat rows.
    /// A row that is no chat.
    #[error(transparent)]
    Row(row::Problem),
    /// A row of a list that is no chat.
    #[error("row {element} of the list: {problem}")]
    Element {
        /// The row, counted from 1.
        element: u64,
        /// The problem.
        problem: row::Problem,
    },
    /// A list of rows that is not well formed.
    #[error("row {element} of the list: {problem}")]
    List {
        /// The row, counted from 1.
        element: u64,
        /// The reason.
        problem: &'static str,
    },
    /// More than the list of rows.
    #[error("something follows the list")]
    AfterList,
    /// A file whose answers are all marked as not to be trained on.
    #[error("every answer of every row is marked as not to be trained on")]
    NothingTrained,

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
        /// The reason.
        mismatch: Mismatch,
    },
    /// A row of a pair whose last message is not the answer.
    #[error("the row does not end with an assistant message")]
    NotAnswered,

    // Passages.
    /// A file of a kind that passages are not read from.
    #[error("its name ends neither in `.txt` nor in `.jsonl` or `.parquet`, of which passages are read")]
    NotOfPassages,
    /// A line or row that is no passage.
    #[error("there is no passage: {why}")]
    NoPassage {
        /// The problem.
        why: String,
    },
    /// A Parquet file with a page that cannot be right.
    #[error("the Parquet file is damaged: {0}")]
    Page(PageProblem),
    /// A file that the Parquet library refuses.
    #[error("the Parquet library refuses it: {reason}")]
    Parquet {
        /// The library's words.
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
    /// A header whose names are parted by something else than commas.
    #[error("the cells are parted by {found}, not by commas")]
    Separator {
        /// The separator.
        found: &'static str,
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
    /// A column that stands twice.
    #[error("there are two columns `{column}`")]
    TwoColumns {
        /// The column.
        column: String,
    },
    /// A file in which nothing is scored.
    #[error("there are no scores among {found}")]
    NoScores {
        /// The columns or keys found, as a list.
        found: String,
    },
    /// A score that is not a number.
    #[error("`{column}` is neither a number nor empty")]
    NotAScore {
        /// The column.
        column: String,
    },
    /// A score that no judge can give.
    #[error("`{column}` is {found}, and scores go from 0 to 100")]
    ScoreOutOfRange {
        /// The column.
        column: String,
        /// The score.
        found: f64,
    },
}

impl Problem {
    /// The crate's error for this problem in a file, at a line where it has one.
    pub(super) fn at(self, path: &Path, line: impl Into<Option<u64>>) -> Error {
        Error::input(path, line.into(), self)
    }

    /// The error for a file that cannot be read on.
    pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
        if error.get_ref().is_some_and(|inner| inner.is::<OutOfProportion>()) {
            return Self::OutOfProportion.at(path, None);
        }
        match error.raw_os_error() {
            Some(_) => strait_model::Error::io(path, "read the file")(error).into(),
            None => Self::Packed { reason: error.to_string() }.at(path, None),
        }
    }
}

/// The way from another kind of file to rows.
fn other_kind_hint(found: &str) -> &'static str {
    match found {
        UTF16 => "convert it: `iconv -f UTF-16 -t UTF-8 FILE > rows.jsonl`",
        _ if found.contains("packed") => {
            "unpack it: rows are read as they are, or packed once with gzip or Zstandard"
        }
        _ if found.contains("Parquet") || found.contains("Arrow") => {
            "write its rows as JSON lines, in Python: `datasets.Dataset.from_parquet(FILE).to_json(\"rows.jsonl\")`"
        }
        _ => "give rows as JSON lines",
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::Empty => "check that this is the file you meant".into(),
            Self::VariantsAlone => {
                "ask them with `--variants`, or give them ids that end neither in `_json` nor in `_template`".into()
            }
            Self::QuestionsAsCsv => {
                "write a question a line into a `.txt`, or lines {\"id\": \"...\", \"question\": \"...\"} into a `.jsonl`".into()
            }
            Self::LineTooLong { .. } => {
                "JSONL has one row a line; if this is one JSON array, write its elements on lines of their \
                 own"
                .into()
            }
            Self::NotUtf8 { .. } | Self::CellNotUtf8 => "convert the file to UTF-8".into(),
            Self::OtherKind { found } => other_kind_hint(found).into(),
            Self::OutOfProportion => {
                "if you trust it, unpack it (`gunzip`, `unzstd`) and name the file that comes out".into()
            }
            Self::Packed { .. } => "the file is damaged or cut: fetch it again, or unpack it yourself".into(),
            Self::Row(problem) | Self::Element { problem, .. } => problem.hint(),
            Self::List { .. } | Self::AfterList => {
                "a file of rows is one JSON list, or has one row a line: `jq -c '.[]' FILE > rows.jsonl` writes it so"
                    .into()
            }
            Self::NothingTrained => {
                "check the marks (`weight`, `train` and the like): an answer is trained on by `weight`: 1, or without one"
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
            Self::Page(PageProblem::OutOfProportion { .. }) => {
                "text does not compress that far: if you trust the file, write its texts as `.jsonl`".into()
            }
            Self::Parquet { .. } | Self::Page(_) => {
                "check that the file is whole and not encrypted, or give its texts as `.jsonl`".into()
            }
            Self::TwoColumns { .. } => "remove the one that is not meant".into(),
            Self::NoScores { .. } => {
                "answers get their scores from `strait judge`; a scale is a column of numbers from 0 to 100".into()
            }
            Self::ScoreOutOfRange { .. } => {
                "scale the judge's scores to 0 to 100, and leave missing ones empty".into()
            }
            Self::Separator { .. } => "export it anew with commas, and cells that hold commas in quotes".into(),
            Self::Cells { .. } => {
                "a cell with commas, quotes or line breaks stands in quotes, and quotes in it are doubled; look at the line before it too"
                    .into()
            }
            Self::NotAScore { .. } => {
                "a score is a number from 0 to 100 with a point, as in 87.5; a missing one is empty, `nan`, CODE or REFUSAL".into()
            }
            Self::NoColumn { .. } => {
                format!("judged answers are CSV with the columns {}", JUDGED.join(","))
            }
        }
    }
}
