//! Problems with keys.

use std::path::PathBuf;

/// A problem with the keys of a file. Keys are named with their tables, as in `train.kl.weight`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Text that is not TOML.
    #[error("not TOML: {reason}")]
    NotToml {
        /// The parser's words.
        reason: String,
    },
    /// A key that the table does not have.
    #[error("unknown key `{key}` in {table}; the nearest known key is `{nearest}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The table it stands in, as people write it.
        table: String,
        /// The known key that it is nearest to.
        nearest: &'static str,
        /// All keys of the table.
        known: Vec<&'static str>,
    },
    /// A key that has no default.
    #[error("{table} has no `{key}`")]
    Missing {
        /// The table, as people write it.
        table: String,
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong type, or out of its range.
    #[error("{what} is {found}, expected {expected}")]
    Unexpected {
        /// The key, or "an entry of" it.
        what: String,
        /// The value found.
        found: String,
        /// The values that are expected, in words.
        expected: String,
    },
    /// A list that names something twice.
    #[error("`{key}` holds {value} twice")]
    Repeated {
        /// The list.
        key: String,
        /// The entry that it holds twice.
        value: String,
    },
    /// A file that is not there.
    #[error("`{key}` names `{written}`, but there is no {kind} `{}`", looked.display())]
    NoFile {
        /// The key.
        key: String,
        /// "file", or "file or folder".
        kind: &'static str,
        /// The path as it is written.
        written: String,
        /// The absolute path.
        looked: PathBuf,
    },
}

impl Problem {
    /// The remedy, where the message does not say it all.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotToml { .. } => Some("text stands in quotation marks, lists in brackets".into()),
            Self::UnknownKey { table, known, .. } => {
                let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
                Some(format!("the keys of {table} are {}", known.join(", ")))
            }
            Self::Missing { table, key } => Some(format!("add `{key}` to {table}")),
            Self::Unexpected { .. } => None,
            Self::Repeated { .. } => Some("name it once".into()),
            Self::NoFile { .. } => Some("paths start at the folder of the file that names them".into()),
        }
    }
}
