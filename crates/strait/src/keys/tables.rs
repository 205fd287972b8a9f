//! Kinds of table.

use serde_json::json;

use super::{At, Cell, Checked, Form, Keys, Kind, Shape, at, lists::all};

/// A table.
pub fn table<T: Keys + 'static>() -> Kind<T> {
    let form = Form { words: "a table".into(), shapes: vec![Shape::Table(T::keys)] };
    Kind::new(form, |cell| read(&cell, "a table"), |_| json!({}))
}

/// Tables of one heading in double brackets, `[[heading]]`.
pub fn tables<T: Keys + 'static>(heading: &str) -> Kind<Vec<At<T>>> {
    let words = format!("tables of their own, each headed `[[{heading}]]`");
    let form = Form { words: words.clone(), shapes: vec![Shape::List(vec![Shape::Table(T::keys)])] };
    let each = at(table());
    let read = move |cell: Cell| match cell.entries() {
        Some(_) => all(&each, cell),
        None => Err(cell.unexpected(&*words)),
    };
    Kind::new(form, read, |_| json!([]))
}

/// True, false, or a table, such as `example`, which means true: nothing for false.
pub fn switch<T: Keys + Default + 'static>(example: &str) -> Kind<Option<T>> {
    let words = format!("true, false, or a table such as {example}");
    let shapes = vec![Shape::Plain(json!({ "type": "boolean" })), Shape::Table(T::keys)];
    let form = Form { words: words.clone(), shapes };
    let read = move |cell: Cell| match cell.truth() {
        Some(on) => Ok(on.then(T::default)),
        None => read(&cell, &words).map(Some),
    };
    Kind::new(form, read, |value| json!(value.is_some()))
}

/// False, or a table, such as `example`: nothing for false.
pub fn off_or_table<T: Keys + 'static>(example: &str) -> Kind<Option<T>> {
    let words = format!("false, or a table such as {example}");
    let shapes = vec![Shape::Plain(json!({ "const": false })), Shape::Table(T::keys)];
    let form = Form { words: words.clone(), shapes };
    let read = move |cell: Cell| match cell.truth() {
        Some(false) => Ok(None),
        _ => read(&cell, &words).map(Some),
    };
    Kind::new(form, read, |value| json!(value.is_some()))
}

/// The table in a cell; `expected` says what else may stand there.
fn read<T: Keys>(cell: &Cell, expected: &str) -> Checked<T> {
    cell.table().ok_or_else(|| cell.unexpected(expected))?.keys()
}
