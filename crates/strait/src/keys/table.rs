//! A table of a file, from which declared keys are read.

use toml::de::{DeTable, DeValue};

use super::{
    At, Cell, Checked, Fault, Keys, Kind, Problem,
    cell::{MAX_SHOWN, line_of},
};

/// A table as written.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    text: &'a str,
    /// Its key with the tables around it; empty for the file itself.
    place: String,
    /// What errors call it.
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

    /// Whether any of some keys is there.
    pub fn has_any(&self, keys: &[&'static str]) -> bool {
        self.entries.keys().any(|key| keys.contains(&key.get_ref().as_ref()))
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
