//! YAML files that are refused.

use super::{MAX_DEPTH, MAX_EXPANDED, MAX_FILE};
use crate::error;

/// A problem of a YAML file. None of it quotes its text beyond the beginning of a key.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum YamlProblem {
    /// A file beyond the bound.
    #[error("the file is longer than {MAX_FILE} bytes")]
    TooLong,
    /// Bytes that are no text.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// A text that is no YAML.
    #[error("not YAML: {reason} at column {column}")]
    NotYaml {
        /// The parser's words.
        reason: String,
        /// The column, counted from 1.
        column: usize,
    },
    /// An alias within the value that it stands for.
    #[error("an alias stands within the value that it repeats, which so has no end")]
    Cycle,
    /// Aliases that stand for too much.
    #[error("its aliases expand to more than {MAX_EXPANDED} bytes")]
    Expands,
    /// A value that is nested too deep.
    #[error("lists and mappings are nested more than {MAX_DEPTH} deep")]
    Deep,
    /// A key that is no text.
    #[error("a key is {found}, not text")]
    Key {
        /// The kind found, with its article.
        found: &'static str,
    },
    /// A key that stands twice in one mapping.
    #[error("the key `{key}` stands twice")]
    KeyTwice {
        /// The key.
        key: String,
    },
    /// A merge of something that has no keys.
    #[error("`<<` merges {found}, not a mapping")]
    Merge {
        /// The kind found, with its article.
        found: &'static str,
    },
    /// A tag that says how a value is to be read, in a way of its own.
    #[error("the tag `{tag}` is not known")]
    Tag {
        /// The tag.
        tag: String,
    },
    /// More than one document.
    #[error("a second document begins")]
    SecondDocument,
    /// A file that is no list.
    #[error("the file is {found}, not a list")]
    NotAList {
        /// The kind found, with its article.
        found: &'static str,
    },
}

impl error::Problem for YamlProblem {
    fn hint(&self) -> String {
        match self {
            Self::TooLong => "check that this is the file you meant".into(),
            Self::NotUtf8 => "convert the file to UTF-8".into(),
            Self::NotYaml { .. } => {
                "mend the line, or the one before it: texts with `: `, ` #` or quotes stand in quotes or below `|-`"
                    .into()
            }
            Self::Cycle => "write out what the alias should stand for".into(),
            Self::Expands | Self::Deep => {
                "if the file is to be trusted, write out what is needed as JSON lines".into()
            }
            Self::Key { .. } => "write the key in quotes".into(),
            Self::KeyTwice { .. } => "which of the two is meant cannot be known: remove one".into(),
            Self::Merge { .. } => "merge an alias of a mapping, or a list of such aliases".into(),
            Self::Tag { .. } => "leave the tag out, and write the value as it is".into(),
            Self::SecondDocument => "write each document into a file of its own".into(),
            Self::NotAList { .. } => "write each entry after a `- `".into(),
        }
    }
}
