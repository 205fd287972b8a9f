//! Keys of TOML files, each declared once: its name, type and range, its meaning, and the meaning of leaving it out.
//!
//! `keys!` makes a struct of the declaration and implements [`Keys`] for it: the reader, which knows every value's line
//! and refuses unknown keys; the list of [`Key`]s, from which the reference page is written; and their JSON schema. What
//! may stand behind a key is a [`Kind`]: `number(0.0..=1.0)`, `list(count(1..=9))`, `choice(&NAMES)`, `table()`.
//!
//! Nothing here knows what the keys are for.

mod declare;
mod form;
mod lists;
pub mod most;
mod numbers;
mod place;
mod problem;
mod tables;
mod texts;
mod written;

#[cfg(test)]
mod tests;

pub(crate) use declare::keys;
pub(crate) use form::shared;
pub use form::{Form, Key, LeftOut, Shape, schema};
pub use lists::{Several, entries, list, list_with, pair, several};
pub use numbers::{any_number, count, number, number_below, positive, whole};
pub(crate) use place::last_part;
pub use place::{Folder, Place};
pub use problem::Problem;
pub use tables::{off_or_table, switch, table, tables};
pub use texts::{choice, flag, text, word};
pub(crate) use written::entry_of;
pub use written::{Cell, Kind, Table, at, parse};

/// A value and the line it stands on. Two are equal where their values are, wherever they stand.
#[derive(Clone, Copy, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its line, counted from 1.
    pub line: u64,
}

impl<T> At<T> {
    /// A fault on this line.
    pub fn fault<P>(&self, problem: P) -> Fault<P> {
        Fault { line: Some(self.line), problem }
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// A problem and the line it stands on, where it has one.
#[derive(Debug)]
pub struct Fault<P = Problem> {
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// The problem.
    pub problem: P,
}

/// The result of a check of keys.
pub type Checked<T, P = Problem> = Result<T, Fault<P>>;

/// A table of keys, declared with `keys!`.
pub trait Keys: Sized {
    /// The names of its keys.
    fn names() -> Vec<&'static str>;

    /// Its keys, in the order in which the reference has them.
    fn keys() -> Vec<Key>;

    /// Reads its keys from a table.
    ///
    /// # Errors
    /// If a value is of the wrong kind, or a required key is not there. Keys that are not of this table are none of its
    /// business.
    fn read(table: &Table) -> Checked<Self>;

    /// The keys that are there, with their lines.
    fn given(&self) -> Vec<(&'static str, u64)>;

    /// Takes from `other` the keys that are not there.
    fn or(self, other: &Self) -> Self;
}

/// A key of a table that was read: there, or perhaps not.
pub trait Written {
    /// The line it stands on, where it is there.
    fn line(&self) -> Option<u64>;

    /// Itself where it is there, else `other`.
    fn or(self, other: &Self) -> Self;
}

impl<T> Written for At<T> {
    fn line(&self) -> Option<u64> {
        Some(self.line)
    }

    fn or(self, _: &Self) -> Self {
        self
    }
}

impl<T: Clone> Written for Option<At<T>> {
    fn line(&self) -> Option<u64> {
        self.as_ref().map(|at| at.line)
    }

    fn or(self, other: &Self) -> Self {
        self.or_else(|| other.clone())
    }
}
