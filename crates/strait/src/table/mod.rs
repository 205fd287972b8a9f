//! A measure's result: named columns with units, written for notebooks and read back for the report.

mod files;
mod objects;
mod row;

use std::borrow::Cow;

use parquet::errors::ParquetError;

pub use row::{Cell, Heading, Row, Word};

use crate::{
    error::{self, Error, Place, Result},
    interval::Interval,
};

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Words.
    Text(Vec<String>),
    /// Whole numbers.
    Integer(Vec<i64>),
    /// Real numbers; NaN where there is no value.
    Real(Vec<f64>),
    /// Yes, no, or cannot be told.
    Truth(Vec<Option<bool>>),
}

/// Columns of equal length under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    name: String,
    about: String,
    columns: Vec<Named>,
}

/// A column with its name and unit.
#[derive(Clone, Debug, PartialEq)]
struct Named {
    name: String,
    unit: String,
    values: Column,
}

/// A problem of a table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Two tables cannot be joined because a column differs in unit or kind, or one of whole numbers is missing.
    #[error("its columns are {expected}, those to append are {found}")]
    Columns {
        /// This table's columns.
        expected: String,
        /// The other's.
        found: String,
    },
    /// A file that is not Parquet, or is damaged; or a table that Parquet cannot hold.
    #[error("the Parquet library refuses it: {0}")]
    Parquet(ParquetError),
    /// A file so damaged that the Parquet reader gave up without an error.
    #[error("the Parquet file is damaged: its pages contradict each other")]
    Damaged,
    /// A column of a kind that strait does not write.
    #[error("column `{column}` holds {found}, which is none of text, integer, real and truth")]
    Kind {
        /// The column.
        column: String,
        /// Its type, in Parquet's words.
        found: String,
    },
    /// A column that a row of that table needs.
    #[error("it has no column `{column}`")]
    NoColumn {
        /// The column.
        column: String,
    },
    /// A column of another kind than its row needs.
    #[error("column `{column}` holds {found}, and {expected} is expected")]
    OtherKind {
        /// The column.
        column: String,
        /// Its kind.
        found: &'static str,
        /// The kind that the row has.
        expected: &'static str,
    },
    /// A word that its row does not know.
    #[error("column `{column}` holds `{found}`, which is none of {}", known.join(", "))]
    UnknownWord {
        /// The column.
        column: String,
        /// The word.
        found: String,
        /// The words that it may hold.
        known: Vec<&'static str>,
    },
    /// A column of text or whole numbers with a gap.
    #[error("column `{column}` must have a value in every row and has none in row {row}")]
    Gap {
        /// The column.
        column: String,
        /// The row, counted from 1.
        row: usize,
    },
}

impl Column {
    /// The number of its values.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Real(values) => values.len(),
            Self::Truth(values) => values.len(),
        }
    }

    /// True if it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A column of this kind with so many empty rows; none for whole numbers, which cannot be empty.
    fn gaps(&self, rows: usize) -> Option<Self> {
        match self {
            Self::Text(_) => Some(Self::Text(vec![String::new(); rows])),
            Self::Integer(_) => None,
            Self::Real(_) => Some(Self::Real(vec![f64::NAN; rows])),
            Self::Truth(_) => Some(Self::Truth(vec![None; rows])),
        }
    }

    /// Adds the values of a column of the same kind.
    fn extend(&mut self, other: &Self) {
        match (self, other) {
            (Self::Text(into), Self::Text(from)) => into.extend_from_slice(from),
            (Self::Integer(into), Self::Integer(from)) => into.extend_from_slice(from),
            (Self::Real(into), Self::Real(from)) => into.extend_from_slice(from),
            (Self::Truth(into), Self::Truth(from)) => into.extend_from_slice(from),
            _ => unreachable!("columns of one kind"),
        }
    }

    /// A value as text, as people write it: `1` for 1.0, nothing for a gap.
    pub fn shown(&self, row: usize) -> Cow<'_, str> {
        match self {
            Self::Text(values) => values[row].as_str().into(),
            Self::Integer(values) => values[row].to_string().into(),
            Self::Real(values) if values[row].is_nan() => "".into(),
            Self::Real(values) => values[row].to_string().into(),
            Self::Truth(values) => values[row].map_or("".into(), |truth| truth.to_string().into()),
        }
    }

    /// A value as a number; none of words and truths.
    pub fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::Integer(values) => Some(values[row] as f64),
            Self::Real(values) => Some(values[row]),
            Self::Text(_) | Self::Truth(_) => None,
        }
    }

    /// The kind of its values, one word.
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "integer",
            Self::Real(_) => "real",
            Self::Truth(_) => "truth",
        }
    }
}

impl Table {
    /// A table without columns. `name` is the stem of its files, `about` a sentence about its rows.
    pub fn new(name: impl Into<String>, about: impl Into<String>) -> Self {
        Self { name: name.into(), about: about.into(), columns: Vec::new() }
    }

    /// Adds a column; `unit` is empty where the values have none.
    ///
    /// # Panics
    /// If the table has a column of that name already or its columns have another length: an error of the program,
    /// never of its input.
    #[must_use]
    pub fn with_column(mut self, name: impl Into<String>, unit: impl Into<String>, values: Column) -> Self {
        let (name, unit) = (name.into(), unit.into());
        assert!(self.column(&name).is_none(), "table `{}` has two columns `{name}`", self.name);
        if let Some(first) = self.columns.first() {
            assert_eq!(
                values.len(),
                first.values.len(),
                "column `{name}` and column `{}` of table `{}` differ in length",
                first.name,
                self.name
            );
        }
        self.columns.push(Named { name, unit, values });
        self
    }

    /// The table behind columns of text that say the same in every row: its rows among those of other tables.
    ///
    /// # Panics
    /// If it has a column of one of those names.
    #[must_use]
    pub fn behind(&self, values: &[(String, String)]) -> Self {
        let same = |table: Self, (name, value): &(String, String)| {
            table.with_column(name, "", Column::Text(vec![value.clone(); self.rows()]))
        };
        let table = values.iter().fold(Self::new(self.name(), self.about()), same);
        self.columns.iter().fold(table, |table, c| table.with_column(&c.name, &c.unit, c.values.clone()))
    }

    /// A table with one row for each of `rows`, whose columns are then named one by one.
    pub fn of_rows<R>(name: impl Into<String>, about: impl Into<String>, rows: &[R]) -> Columns<'_, R> {
        Columns { table: Self::new(name, about), rows }
    }

    /// The table with another sentence about its rows.
    #[must_use]
    pub fn with_about(self, about: impl Into<String>) -> Self {
        Self { about: about.into(), ..self }
    }

    /// The stem of its files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A row's meaning, in one sentence.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// The number of its rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |c| c.values.len())
    }

    /// Its columns in order: name, unit, values.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &str, &Column)> {
        self.columns.iter().map(|c| (c.name.as_str(), c.unit.as_str(), &c.values))
    }

    /// The values of the column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name).map(|c| &c.values)
    }

    /// The column of that name, if it holds words.
    pub fn text(&self, name: &str) -> Option<&[String]> {
        match self.column(name)? {
            Column::Text(values) => Some(values),
            _ => None,
        }
    }

    /// The column of that name, if it holds whole numbers.
    pub fn integer(&self, name: &str) -> Option<&[i64]> {
        match self.column(name)? {
            Column::Integer(values) => Some(values),
            _ => None,
        }
    }

    /// The column of that name, if it holds real numbers.
    pub fn real(&self, name: &str) -> Option<&[f64]> {
        match self.column(name)? {
            Column::Real(values) => Some(values),
            _ => None,
        }
    }

    /// The column of that name, if it holds truths.
    pub fn truth(&self, name: &str) -> Option<&[Option<bool>]> {
        match self.column(name)? {
            Column::Truth(values) => Some(values),
            _ => None,
        }
    }

    /// Figures and their intervals, from the three columns of those names.
    pub fn interval(&self, [value, low, high]: [&str; 3]) -> Option<Vec<Interval>> {
        let (value, low, high) = (self.real(value)?, self.real(low)?, self.real(high)?);
        let rows = value.iter().zip(low).zip(high);
        Some(rows.map(|((&value, &low), &high)| Interval { value, low, high }).collect())
    }

    /// Adds the rows of another table. A column that only one of the two has is empty in the rows of the other.
    ///
    /// # Errors
    /// If a column has another unit or kind in the other table, or is of whole numbers, which cannot be empty, and only one
    /// of the two has it; this table is then as it was.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        let (rows, more) = (self.rows(), other.rows());
        // What is added below a column of this table, or above one of the other that is new to it.
        let below = |own: &Named| match other.columns.iter().find(|c| c.name == own.name) {
            Some(c) => (c.unit == own.unit && c.values.kind() == own.values.kind()).then(|| c.values.clone()),
            None => own.values.gaps(more),
        };
        let new = || other.columns.iter().filter(|c| self.column(&c.name).is_none());
        let below: Option<Vec<Column>> = self.columns.iter().map(below).collect();
        let above: Option<Vec<Column>> = new().map(|c| c.values.gaps(rows)).collect();
        let (Some(below), Some(above)) = (below, above) else {
            let (expected, found) = (self.heading(), other.heading());
            return Err(self.error(Problem::Columns { expected, found }));
        };
        let new = new().zip(above).map(|(column, mut values)| {
            values.extend(&column.values);
            Named { values, ..column.clone() }
        });
        let new: Vec<Named> = new.collect();
        for (column, values) in self.columns.iter_mut().zip(&below) {
            column.values.extend(values);
        }
        self.columns.extend(new);
        Ok(())
    }

    /// The error of this table.
    fn error(&self, problem: Problem) -> Error {
        Error::Input { place: Place::Table(self.name.clone()), problem: Box::new(problem) }
    }

    /// Name, kind and unit of every column, as an error shows them.
    fn heading(&self) -> String {
        let columns = self.columns.iter().map(|c| match c.unit.as_str() {
            "" => format!("`{}` ({})", c.name, c.values.kind()),
            unit => format!("`{}` ({}, {unit})", c.name, c.values.kind()),
        });
        columns.collect::<Vec<_>>().join(", ")
    }
}

/// A table in the making: every column is a function of a row.
pub struct Columns<'a, R> {
    table: Table,
    rows: &'a [R],
}

impl<R> Columns<'_, R> {
    /// Adds a column of words.
    #[must_use]
    pub fn text(self, name: &str, of: impl Fn(&R) -> String) -> Self {
        let values = Column::Text(self.rows.iter().map(of).collect());
        self.column(name, "", values)
    }

    /// Adds a column of whole numbers.
    #[must_use]
    pub fn integer(self, name: &str, unit: &str, of: impl Fn(&R) -> i64) -> Self {
        let values = Column::Integer(self.rows.iter().map(of).collect());
        self.column(name, unit, values)
    }

    /// Adds a column of real numbers; NaN where there is none.
    #[must_use]
    pub fn real(self, name: &str, unit: &str, of: impl Fn(&R) -> f64) -> Self {
        let values = Column::Real(self.rows.iter().map(of).collect());
        self.column(name, unit, values)
    }

    /// Adds a column of truths; none where it cannot be told.
    #[must_use]
    pub fn truth(self, name: &str, of: impl Fn(&R) -> Option<bool>) -> Self {
        let values = Column::Truth(self.rows.iter().map(of).collect());
        self.column(name, "", values)
    }

    /// Adds a figure and the bounds of its interval, as three columns of the given names.
    #[must_use]
    pub fn interval(self, [value, low, high]: [&str; 3], unit: &str, of: impl Fn(&R) -> Interval) -> Self {
        self.real(value, unit, |row| of(row).value).real(low, unit, |row| of(row).low).real(
            high,
            unit,
            |row| of(row).high,
        )
    }

    /// The table.
    #[must_use]
    pub fn table(self) -> Table {
        self.table
    }

    fn column(self, name: &str, unit: &str, values: Column) -> Self {
        Self { table: self.table.with_column(name, unit, values), rows: self.rows }
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        let hint = match self {
            Self::Columns { .. } => "join tables of one measure only, written by the same version of strait",
            Self::Parquet(_) | Self::Damaged => {
                "delete the file and run the study again, which writes only what is missing"
            }
            Self::NoColumn { .. } | Self::OtherKind { .. } | Self::UnknownWord { .. } => {
                "the table was written by another strait: run the study again, which makes its tables anew"
            }
            Self::Kind { .. } | Self::Gap { .. } => "read back only tables that strait wrote, unchanged",
        };
        hint.into()
    }
}
