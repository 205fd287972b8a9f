//! Kinds of list.

use std::iter;

use serde_json::{Value, json};

use super::{At, Cell, Checked, Fault, Form, Kind, Problem, Shape, at, form::any_of};

/// The longest list read.
const MAX_LIST: usize = 1000;

/// The words of an error about an empty list.
const EMPTY: &str = "at least one entry";

/// A list of different things.
pub fn list<T: PartialEq + 'static>(item: Kind<T>) -> Kind<Vec<T>> {
    let Form { words, shapes } = item.form();
    let form = Form { words: format!("a list, each entry {words}"), shapes: vec![Shape::List(shapes)] };
    let shown = item.clone();
    Kind::new(form, move |cell| different(&item, cell), move |values| show_all(&shown, values))
}

/// A list of different things, `value` among them, and why it must be.
pub fn list_with<T: PartialEq + 'static>(item: Kind<T>, value: T, why: &'static str) -> Kind<Vec<T>> {
    let must = item.show(&value);
    let list = list(item);
    let (mut form, shown) = (list.form(), list.clone());
    form.words = format!("{}, {must} among them", form.words);
    let read = move |cell: Cell| {
        let values = list.read(cell)?;
        if values.contains(&value) {
            return Ok(values);
        }
        let name = cell.place.rsplit('.').next().unwrap_or(cell.place);
        Err(cell.unexpected_as(format!("without {must}"), format!("{must} among the {name}: {why}")))
    };
    Kind::new(form, read, move |values| shown.show(values))
}

/// A list in which things may stand twice, or one of them without brackets.
pub fn entries<T: 'static>(item: Kind<T>) -> Kind<Vec<T>> {
    let (form, shown) = (one_or_list(item.form()), item.clone());
    let read = move |cell: Cell| match cell.entries() {
        Some(_) => all(&item, cell),
        None => Ok(vec![item.read(cell)?]),
    };
    Kind::new(form, read, move |values| show_all(&shown, values))
}

/// One value or several different ones, each with its line.
#[derive(Clone, Debug, PartialEq)]
pub struct Several<T> {
    first: At<T>,
    rest: Vec<At<T>>,
}

impl<T> From<At<T>> for Several<T> {
    fn from(first: At<T>) -> Self {
        Self { first, rest: Vec::new() }
    }
}

impl<T> Several<T> {
    /// A single value that stands in no file.
    pub fn one(value: T) -> Self {
        At { value, line: 0 }.into()
    }

    /// The first value.
    pub fn first(&self) -> &T {
        &self.first.value
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = &At<T>> {
        iter::once(&self.first).chain(&self.rest)
    }
}

/// One thing, or a list of different ones.
pub fn several<T: PartialEq + 'static>(item: Kind<T>) -> Kind<Several<T>> {
    let (form, shown, item) = (one_or_list(item.form()), item.clone(), at(item));
    let read = move |cell: Cell| match cell.entries() {
        Some(_) => {
            let mut values = different(&item, cell)?.into_iter();
            let first = values.next().ok_or_else(|| cell.unexpected(EMPTY))?;
            Ok(Several { first, rest: values.collect() })
        }
        None => Ok(item.read(cell)?.into()),
    };
    Kind::new(form, read, move |several| match several.rest.as_slice() {
        [] => shown.show(several.first()),
        _ => several.iter().map(|at| shown.show(&at.value)).collect(),
    })
}

fn one_or_list(item: Form) -> Form {
    let Form { words, mut shapes } = item;
    shapes.push(Shape::List(shapes.clone()));
    Form { words: format!("{words}, or a list of these"), shapes }
}

/// A list of two things.
pub fn pair<T: 'static>(item: Kind<T>, words: &str) -> Kind<(T, T)> {
    let items = any_of(&item.form().shapes);
    let schema = json!({ "type": "array", "items": items, "minItems": 2, "maxItems": 2 });
    let form = Form { words: words.into(), shapes: vec![Shape::Plain(schema)] };
    let (shown, words) = (item.clone(), words.to_string());
    let read = move |cell: Cell| match cell.entries().as_deref() {
        Some([first, second]) => Ok((item.read(*first)?, item.read(*second)?)),
        _ => Err(cell.unexpected(&*words)),
    };
    Kind::new(form, read, move |(first, second)| json!([shown.show(first), shown.show(second)]))
}

/// The entries of a list that is neither empty nor endless.
pub(super) fn all<T: 'static>(item: &Kind<T>, cell: Cell) -> Checked<Vec<T>> {
    match cell.entries() {
        None => Err(cell.unexpected("a list")),
        Some(entries) if entries.is_empty() => Err(cell.unexpected(EMPTY)),
        Some(entries) if entries.len() > MAX_LIST => {
            Err(cell.unexpected(format!("at most {MAX_LIST} entries")))
        }
        Some(entries) => entries.into_iter().map(|entry| item.read(entry)).collect(),
    }
}

/// The entries of such a list, no two of them the same.
fn different<T: PartialEq + 'static>(item: &Kind<T>, cell: Cell) -> Checked<Vec<T>> {
    let values = all(item, cell)?;
    match (1..values.len()).find(|&i| values[..i].contains(&values[i])) {
        None => Ok(values),
        Some(again) => {
            let entry = cell.entries().and_then(|entries| entries.get(again).copied()).unwrap_or(cell);
            let (key, value) = (cell.place.to_string(), entry.describe());
            Err(Fault { line: Some(entry.line), problem: Problem::Repeated { key, value } })
        }
    }
}

fn show_all<T: 'static>(item: &Kind<T>, values: &[T]) -> Value {
    values.iter().map(|value| item.show(value)).collect()
}
