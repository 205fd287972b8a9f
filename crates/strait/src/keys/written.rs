//! Tables and values as they are written, and the kinds of value that may stand behind a key.

use std::{fmt, rc::Rc};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{At, Checked, Fault, Form, Keys, Problem, Shape};

/// The most characters of a text that an error shows.
pub(super) const MAX_SHOWN: usize = 40;

/// A value with its key and its line.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    pub(super) text: &'a str,
    /// Its key with the tables around it, as in `train.kl`.
    pub(super) place: &'a str,
    pub(super) line: u64,
    pub(super) value: &'a DeValue<'a>,
    /// True for an entry of a list under that key.
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

/// The name of a list's entry in errors.
pub(crate) fn entry_of(list: &str) -> String {
    format!("an entry of `{list}`")
}

/// The line of a byte, counted from 1.
pub(super) fn line_of(text: &str, byte: usize) -> u64 {
    1 + text.bytes().take(byte).filter(|&b| b == b'\n').count() as u64
}

/// A table as written.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    text: &'a str,
    /// Its key with the tables around it; empty for the file itself.
    place: String,
    /// Its name in errors.
    title: String,
    /// Its line; none for the file itself.
    line: Option<u64>,
    entries: &'a DeTable<'a>,
}

/// Reads a whole file, which errors call `title`.
///
/// # Errors
/// If it is not TOML, or not what its keys were declared to be.
pub fn parse<T: Keys>(text: &str, title: &str) -> Checked<T> {
    let root = DeTable::parse(text).map_err(|error| Fault {
        line: error.span().map(|span| line_of(text, span.start)),
        problem: Problem::NotToml { reason: error.message().to_string() },
    })?;
    let (place, title) = (String::new(), title.to_string());
    Table { text, place, title, line: None, entries: root.get_ref() }.keys()
}

impl<'a> Table<'a> {
    /// The table in a cell.
    pub(super) fn within(cell: Cell<'a>, entries: &'a DeTable<'a>) -> Self {
        let Cell { text, place, line, is_entry, .. } = cell;
        let title = if is_entry { format!("`[[{place}]]`") } else { format!("`[{place}]`") };
        Self { text, place: place.into(), title, line: Some(line), entries }
    }

    /// The table under another name in errors.
    pub fn titled(self, title: &str) -> Self {
        Self { title: title.into(), ..self }
    }

    /// True if the table has any of these keys.
    pub fn has_any(&self, keys: &[&'static str]) -> bool {
        self.entries.keys().any(|key| keys.contains(&key.get_ref().as_ref()))
    }

    /// All its keys in the order in which they are written, whatever they are called.
    pub fn each(&self) -> Vec<(String, Cell<'_>)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let cell =
            |(key, value): (&'a toml::Spanned<std::borrow::Cow<'a, str>>, &'a toml::Spanned<DeValue<'a>>)| {
                let line = line_of(self.text, key.span().start);
                let cell = Cell {
                    text: self.text,
                    place: &self.place,
                    line,
                    value: value.get_ref(),
                    is_entry: true,
                };
                (key.get_ref().to_string(), cell)
            };
        entries.into_iter().map(cell).collect()
    }

    /// Reads all its keys.
    ///
    /// # Errors
    /// As [`Keys::read`], and if the table has a key that is not declared.
    pub fn keys<T: Keys>(&self) -> Checked<T> {
        self.refuse_others(&T::names())?;
        T::read(self)
    }

    /// Reads one of its keys, where it is there.
    ///
    /// # Errors
    /// If its value is of another kind.
    pub fn get<T: 'static>(&self, key: &'static str, kind: &Kind<T>) -> Checked<Option<At<T>>> {
        let Some((written, value)) = self.entries.get_key_value(key) else {
            return Ok(None);
        };
        let place = match self.place.as_str() {
            "" => key.to_string(),
            table => format!("{table}.{key}"),
        };
        let line = line_of(self.text, written.span().start);
        let value: &DeValue = value.get_ref();
        let cell = Cell { text: self.text, place: &place, line, value, is_entry: false };
        Ok(Some(At { value: kind.read(cell)?, line }))
    }

    /// A key that must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn required<T>(&self, key: &'static str, found: Option<At<T>>) -> Checked<At<T>> {
        found.ok_or_else(|| Fault {
            line: self.line,
            problem: Problem::Missing { table: self.title.clone(), key },
        })
    }

    /// Refuses the first key that is not known.
    ///
    /// # Errors
    /// If there is one.
    pub fn refuse_others(&self, known: &[&'static str]) -> Checked<()> {
        let unknown = self.entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(first) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let key: String = first.get_ref().chars().take(MAX_SHOWN).collect();
        let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(&key, known));
        Err(Fault {
            line: Some(line_of(self.text, first.span().start)),
            problem: Problem::UnknownKey {
                nearest: nearest.copied().unwrap_or_default(),
                key,
                table: self.title.clone(),
                known: known.to_vec(),
            },
        })
    }
}

/// A kind of value that may stand behind a key: how it is said, read, and shown.
pub struct Kind<T> {
    form: Form,
    read: Rc<dyn Fn(Cell) -> Checked<T>>,
    show: Rc<dyn Fn(&T) -> Value>,
}

impl<T> Clone for Kind<T> {
    fn clone(&self) -> Self {
        Self { form: self.form.clone(), read: Rc::clone(&self.read), show: Rc::clone(&self.show) }
    }
}

impl<T> fmt::Debug for Kind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.form.fmt(f)
    }
}

impl<T: 'static> Kind<T> {
    /// A kind of its own: its form, how it is read, and the JSON that shows a default of it.
    pub fn new(
        form: Form,
        read: impl Fn(Cell) -> Checked<T> + 'static,
        show: impl Fn(&T) -> Value + 'static,
    ) -> Self {
        Self { form, read: Rc::new(read), show: Rc::new(show) }
    }

    /// A kind that a JSON schema says: `read` gives nothing for a value that is not of it.
    pub fn plain(
        words: impl Into<String>,
        schema: Value,
        read: impl Fn(&Cell) -> Option<T> + 'static,
        show: impl Fn(&T) -> Value + 'static,
    ) -> Self {
        let words = words.into();
        let form = Form { words: words.clone(), shapes: vec![Shape::Plain(schema)] };
        Self::new(form, move |cell| read(&cell).ok_or_else(|| cell.unexpected(&*words)), show)
    }

    /// The values that may stand behind the key.
    pub fn form(&self) -> Form {
        self.form.clone()
    }

    /// Reads a value.
    ///
    /// # Errors
    /// If it is not of this kind.
    pub fn read(&self, cell: Cell) -> Checked<T> {
        (self.read)(cell)
    }

    /// A value as JSON.
    pub fn show(&self, value: &T) -> Value {
        (self.show)(value)
    }
}

/// The same kind, with the line of the value.
pub fn at<T: 'static>(kind: Kind<T>) -> Kind<At<T>> {
    let (form, shown) = (kind.form(), kind.clone());
    let read = move |cell: Cell| Ok(At { line: cell.line, value: kind.read(cell)? });
    Kind::new(form, read, move |at| shown.show(&at.value))
}
