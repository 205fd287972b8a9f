//! Keys as the reference page and the JSON schema say them.

use serde_json::{Map, Value, json};

use super::Keys;

/// A declared key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its meaning: a sentence or several.
    pub about: String,
    /// The values that may stand behind it.
    pub form: Form,
    /// The meaning of leaving it out.
    pub left_out: LeftOut,
    /// True if it is declared for another table and may stand in this one too.
    pub shared: bool,
}

/// The values that may stand behind a key.
#[derive(Clone, Debug)]
pub struct Form {
    /// In words, as errors say what they expect.
    pub words: String,
    /// Any of these.
    pub shapes: Vec<Shape>,
}

/// One shape of the values that may stand behind a key.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A value that fits this JSON schema.
    Plain(Value),
    /// A table with these keys.
    Table(fn() -> Vec<Key>),
    /// A list of entries that have any of these shapes.
    List(Vec<Shape>),
}

/// The meaning of leaving a key out.
#[derive(Clone, Debug, PartialEq)]
pub enum LeftOut {
    /// It may not be left out.
    Required,
    /// It then has this value.
    Value(Value),
    /// It then means what these words say.
    Words(String),
}

impl Key {
    /// A key whose meaning is said in these lines.
    pub fn new(name: &'static str, about: &[&str], form: Form, left_out: LeftOut) -> Self {
        let about: Vec<_> = about.iter().map(|line| line.trim()).collect();
        Self { name, about: about.join(" "), form, left_out, shared: false }
    }

    fn schema(&self) -> Value {
        let mut schema = self.form.schema();
        schema["description"] = self.about.as_str().into();
        if let LeftOut::Value(value) = &self.left_out {
            schema["default"] = value.clone();
        }
        schema
    }
}

impl Form {
    /// Its JSON schema.
    pub fn schema(&self) -> Value {
        any_of(&self.shapes)
    }
}

impl Shape {
    fn schema(&self) -> Value {
        match self {
            Self::Plain(schema) => schema.clone(),
            Self::Table(keys) => object(&keys()),
            Self::List(entries) => json!({ "type": "array", "items": any_of(entries), "minItems": 1 }),
        }
    }
}

/// The keys of a table, which may stand in another one too.
pub(crate) fn shared<T: Keys>() -> Vec<Key> {
    T::keys().into_iter().map(|key| Key { shared: true, ..key }).collect()
}

/// The JSON schema of a file with these keys.
pub fn schema(title: &str, keys: &[Key]) -> Value {
    let mut whole = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "title": title });
    if let (Value::Object(whole), Value::Object(keys)) = (&mut whole, object(keys)) {
        whole.extend(keys);
    }
    whole
}

/// The JSON schema of a table.
fn object(keys: &[Key]) -> Value {
    let properties: Map<_, _> = keys.iter().map(|key| (key.name.to_string(), key.schema())).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let required = keys.iter().filter(|key| key.left_out == LeftOut::Required).map(|key| key.name);
    let required: Vec<_> = required.collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The JSON schema of a value of any of these shapes.
pub(super) fn any_of(shapes: &[Shape]) -> Value {
    match shapes {
        [one] => one.schema(),
        several => json!({ "anyOf": several.iter().map(Shape::schema).collect::<Vec<_>>() }),
    }
}
