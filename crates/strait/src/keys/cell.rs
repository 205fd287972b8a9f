//! A value where it stands.

use toml::de::DeValue;

use super::{Fault, Problem, Table};

/// The most characters of a text that an error shows.
pub(super) const MAX_SHOWN: usize = 40;

/// A value, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    pub(super) text: &'a str,
    /// Its key with the tables around it, as in `train.kl`.
    pub(super) place: &'a str,
    pub(super) line: u64,
    pub(super) value: &'a DeValue<'a>,
    /// Whether it is one of a list under that key.
    pub(super) is_entry: bool,
}

impl<'a> Cell<'a> {
    /// The line it stands on, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The text that stands here.
    pub fn text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number that stands here.
    pub fn whole(&self) -> Option<i64> {
        match self.value {
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        }
    }

    /// The number that stands here, whole or not.
    pub fn number(&self) -> Option<f64> {
        match self.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => self.whole().map(|n| n as f64),
        }
    }

    /// The truth that stands here.
    pub fn truth(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The table that stands here.
    pub fn table(&self) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(entries) => Some(Table::within(*self, entries)),
            _ => None,
        }
    }

    /// The entries of the list that stands here, each on its own line.
    pub fn entries(&self) -> Option<Vec<Self>> {
        let DeValue::Array(items) = self.value else { return None };
        let entry = |item: &'a toml::Spanned<DeValue<'a>>| Self {
            line: line_of(self.text, item.span().start),
            value: item.get_ref(),
            is_entry: true,
            ..*self
        };
        Some(items.iter().map(entry).collect())
    }

    /// The fault that something else was expected.
    pub fn unexpected(&self, expected: impl Into<String>) -> Fault {
        self.unexpected_as(self.describe(), expected)
    }

    /// As [`Cell::unexpected`], for a value that errors do not show: `found` stands for it.
    pub fn unexpected_as(&self, found: impl Into<String>, expected: impl Into<String>) -> Fault {
        let what = if self.is_entry { entry_of(self.place) } else { format!("`{}`", self.place) };
        let problem = Problem::Unexpected { what, found: found.into(), expected: expected.into() };
        Fault { line: Some(self.line), problem }
    }

    /// The value as an error shows it.
    pub(super) fn describe(&self) -> String {
        match self.value {
            DeValue::String(s) if s.chars().count() > MAX_SHOWN => {
                format!("the text {:?}...", s.chars().take(MAX_SHOWN).collect::<String>())
            }
            DeValue::String(s) => format!("the text {s:?}"),
            DeValue::Integer(n) => n.to_string(),
            DeValue::Float(x) => x.to_string(),
            DeValue::Boolean(b) => b.to_string(),
            DeValue::Datetime(date) => format!("the date {date}"),
            DeValue::Array(items) if items.is_empty() => "an empty list".into(),
            DeValue::Array(items) => format!("a list of {}", items.len()),
            DeValue::Table(_) => "a table".into(),
        }
    }
}

/// How errors name an entry of a list.
pub(crate) fn entry_of(list: &str) -> String {
    format!("an entry of `{list}`")
}

/// The line of a byte, counted from 1.
pub(super) fn line_of(text: &str, byte: usize) -> u64 {
    1 + text.bytes().take(byte).filter(|&b| b == b'\n').count() as u64
}
