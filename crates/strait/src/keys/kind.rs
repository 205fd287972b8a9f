//! Kinds of value.

use std::{fmt, rc::Rc};

use serde_json::Value;

use super::{At, Cell, Checked, Form, Shape};

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

    /// What may stand there.
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
