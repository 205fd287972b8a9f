//! Rows with types: a struct says its columns once, with their units; a table is made of its values and gives them back.

use super::{Column, Problem, Table};
use crate::{Result, interval::Interval};

/// A row of a table. [`row!`](crate::row) declares one.
pub trait Row: Sized {
    /// The table's name: the stem of its files.
    const TABLE: &'static str;
    /// A row in one sentence.
    const ABOUT: &'static str;

    /// Adds the columns of some rows to a table.
    fn write(rows: &[Self], table: Table) -> Table;

    /// Reads one row of a table.
    ///
    /// # Errors
    /// If a column is missing, is of another kind, or holds a value that the row does not know.
    fn read(table: &Table, row: usize) -> Result<Self, Problem>;
}

/// A column beside the name that its field gives it.
#[derive(Clone, Copy, Debug)]
pub struct Heading {
    unit: &'static str,
    ends: [&'static str; 2],
    late: bool,
}

impl Heading {
    /// A column without a unit.
    pub const PLAIN: Self = Self::unit("");

    /// A column of values in a unit.
    pub const fn unit(unit: &'static str) -> Self {
        Self { unit, ends: ["low", "high"], late: false }
    }

    /// Names of the columns for the bounds of an interval, where they are not `low` and `high`.
    pub const fn ends(self, low: &'static str, high: &'static str) -> Self {
        Self { ends: [low, high], ..self }
    }

    /// A column that tables of an older strait lack: there it is NaN, 0, or empty text.
    pub const fn late(self) -> Self {
        Self { late: true, ..self }
    }
}

/// A value that stands in one or several columns of a table.
pub trait Cell: Sized {
    /// Adds the columns.
    fn write<'a>(table: Table, name: &str, heading: Heading, cells: impl Iterator<Item = &'a Self>) -> Table
    where
        Self: 'a;

    /// Reads the value of one row.
    ///
    /// # Errors
    /// If a column is missing, is of another kind, or holds an unknown value.
    fn read(table: &Table, name: &str, heading: Heading, row: usize) -> Result<Self, Problem>;
}

/// One of a few words, such as the side of a domain.
pub trait Word: Copy + PartialEq + 'static {
    /// All of them, as tables write them.
    const WORDS: &'static [(Self, &'static str)];

    /// Its word.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(known, _)| *known == self).map_or("", |(_, word)| word)
    }
}

impl Table {
    /// The table of some rows.
    pub fn of<R: Row>(rows: &[R]) -> Self {
        R::write(rows, Self::new(R::TABLE, R::ABOUT))
    }

    /// Its rows.
    ///
    /// # Errors
    /// If it is no table of such rows.
    pub fn read<R: Row>(&self) -> Result<Vec<R>> {
        let rows = (0..self.rows()).map(|row| R::read(self, row)).collect::<Result<_, _>>();
        rows.map_err(|problem| self.error(problem))
    }

    fn need(&self, name: &str) -> Result<&Column, Problem> {
        self.column(name).ok_or_else(|| Problem::NoColumn { column: name.into() })
    }
}

/// The value in a row of a column that must be of a kind.
macro_rules! cell {
    ($table:ident, $name:ident, $row:ident, $kind:ident) => {
        match $table.need($name)? {
            Column::$kind(values) => values[$row].clone(),
            other => {
                let (column, expected) = ($name.to_string(), Column::$kind(Vec::new()).kind());
                return Err(Problem::OtherKind { column, expected, found: other.kind() });
            }
        }
    };
}

impl Cell for String {
    fn write<'a>(table: Table, name: &str, heading: Heading, cells: impl Iterator<Item = &'a Self>) -> Table {
        table.with_column(name, heading.unit, Column::Text(cells.cloned().collect()))
    }

    fn read(table: &Table, name: &str, heading: Heading, row: usize) -> Result<Self, Problem> {
        if heading.late && table.column(name).is_none() {
            return Ok(Self::new());
        }
        Ok(cell!(table, name, row, Text))
    }
}

impl<W: Word> Cell for W {
    fn write<'a>(table: Table, name: &str, heading: Heading, cells: impl Iterator<Item = &'a Self>) -> Table {
        let words = cells.map(|cell| cell.word().to_string());
        table.with_column(name, heading.unit, Column::Text(words.collect()))
    }

    fn read(table: &Table, name: &str, heading: Heading, row: usize) -> Result<Self, Problem> {
        let found = String::read(table, name, heading, row)?;
        let known = W::WORDS.iter().find(|(_, word)| *word == found);
        known.map(|&(known, _)| known).ok_or_else(|| Problem::UnknownWord {
            column: name.into(),
            found,
            known: W::WORDS.iter().map(|(_, word)| *word).collect(),
        })
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => { $(
        impl Cell for $number {
            fn write<'a>(
                table: Table,
                name: &str,
                heading: Heading,
                cells: impl Iterator<Item = &'a Self>,
            ) -> Table {
                table.with_column(name, heading.unit, Column::Integer(cells.map(|&n| n as i64).collect()))
            }

            fn read(table: &Table, name: &str, heading: Heading, row: usize) -> Result<Self, Problem> {
                if heading.late && table.column(name).is_none() {
                    return Ok(0);
                }
                Ok(cell!(table, name, row, Integer) as Self)
            }
        }
    )* };
}
whole_numbers!(i64, u64, usize);

impl Cell for f64 {
    fn write<'a>(table: Table, name: &str, heading: Heading, cells: impl Iterator<Item = &'a Self>) -> Table {
        table.with_column(name, heading.unit, Column::Real(cells.copied().collect()))
    }

    fn read(table: &Table, name: &str, heading: Heading, row: usize) -> Result<Self, Problem> {
        if heading.late && table.column(name).is_none() {
            return Ok(Self::NAN);
        }
        Ok(cell!(table, name, row, Real))
    }
}

impl Cell for Option<bool> {
    fn write<'a>(table: Table, name: &str, heading: Heading, cells: impl Iterator<Item = &'a Self>) -> Table {
        table.with_column(name, heading.unit, Column::Truth(cells.copied().collect()))
    }

    fn read(table: &Table, name: &str, _: Heading, row: usize) -> Result<Self, Problem> {
        Ok(cell!(table, name, row, Truth))
    }
}

impl Cell for bool {
    fn write<'a>(table: Table, name: &str, heading: Heading, cells: impl Iterator<Item = &'a Self>) -> Table {
        table.with_column(name, heading.unit, Column::Truth(cells.map(|&cell| Some(cell)).collect()))
    }

    fn read(table: &Table, name: &str, heading: Heading, row: usize) -> Result<Self, Problem> {
        let gap = || Problem::Gap { column: name.into(), row: row + 1 };
        Option::<Self>::read(table, name, heading, row)?.ok_or_else(gap)
    }
}

/// Three columns: the value, and the bounds under the names that [`Heading::ends`] says.
impl Cell for Interval {
    fn write<'a>(table: Table, name: &str, heading: Heading, cells: impl Iterator<Item = &'a Self>) -> Table {
        let cells: Vec<Self> = cells.copied().collect();
        let [low, high] = heading.ends;
        let column = |of: fn(&Self) -> f64| Column::Real(cells.iter().map(of).collect());
        table
            .with_column(name, heading.unit, column(|cell| cell.value))
            .with_column(low, heading.unit, column(|cell| cell.low))
            .with_column(high, heading.unit, column(|cell| cell.high))
    }

    fn read(table: &Table, name: &str, heading: Heading, row: usize) -> Result<Self, Problem> {
        let [low, high] = heading.ends;
        let read = |name| f64::read(table, name, heading, row);
        Ok(Self { value: read(name)?, low: read(low)?, high: read(high)? })
    }
}

/// A column for each name, `FIELD_NAME`; all rows have the same names, in the same order.
impl Cell for Vec<(String, f64)> {
    fn write<'a>(
        mut table: Table,
        name: &str,
        heading: Heading,
        cells: impl Iterator<Item = &'a Self>,
    ) -> Table {
        let cells: Vec<&Self> = cells.collect();
        for (i, (key, _)) in cells.first().map_or(&[][..], |cell| cell.as_slice()).iter().enumerate() {
            let values = Column::Real(cells.iter().map(|cell| cell[i].1).collect());
            table = table.with_column(format!("{name}_{key}"), heading.unit, values);
        }
        table
    }

    fn read(table: &Table, name: &str, heading: Heading, row: usize) -> Result<Self, Problem> {
        let prefix = format!("{name}_");
        let own = table.columns().filter_map(|(column, ..)| Some((column, column.strip_prefix(&prefix)?)));
        own.map(|(column, key)| Ok((key.to_string(), f64::read(table, column, heading, row)?))).collect()
    }
}

/// Declares a [`Row`](crate::table::Row): the table's name and sentence, and a public field for each column, with a
/// [`Heading`](crate::table::Heading) where it has a unit.
///
/// ```
/// use strait::{Table, interval::Interval, table::Heading};
///
/// strait::row! {
///     /// A solution's loss.
///     pub struct Loss in "losses", "Loss of every solution" {
///         /// The solution.
///         solution: String,
///         /// Nats a token; the bounds stand in `low` and `high`.
///         loss: Interval = Heading::unit("nats/token"),
///     }
/// }
///
/// let rows = [Loss { solution: "narrow".into(), loss: Interval { value: 1.0, low: 0.9, high: 1.1 } }];
/// let table = Table::of(&rows);
/// assert_eq!(table.to_csv(), "solution,loss,low,high\nnarrow,1.0,0.9,1.1\n");
/// assert_eq!(table.read::<Loss>()?, rows);
/// # Ok::<(), strait::Error>(())
/// ```
#[macro_export]
macro_rules! row {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $row:ident in $table:literal, $about:literal {
            $($(#[$field_meta:meta])* $field:ident: $kind:ty $(= $heading:expr)?),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $visibility struct $row {
            $($(#[$field_meta])* pub $field: $kind),*
        }

        impl $crate::table::Row for $row {
            const TABLE: &'static str = $table;
            const ABOUT: &'static str = $about;

            fn write(rows: &[Self], table: $crate::Table) -> $crate::Table {
                $(
                    let heading = $crate::row!(@heading $($heading)?);
                    let cells = rows.iter().map(|row| &row.$field);
                    let table = <$kind as $crate::table::Cell>::write(table, stringify!($field), heading, cells);
                )*
                table
            }

            fn read(table: &$crate::Table, row: usize) -> Result<Self, $crate::table::Problem> {
                Ok(Self {
                    $($field: <$kind as $crate::table::Cell>::read(
                        table,
                        stringify!($field),
                        $crate::row!(@heading $($heading)?),
                        row,
                    )?),*
                })
            }
        }
    };
    (@heading) => { $crate::table::Heading::PLAIN };
    (@heading $heading:expr) => { $heading };
}
