//! Kinds of text, and true or false.

use serde_json::json;

use super::Kind;

/// Any text.
pub fn text() -> Kind<String> {
    let read = |text: &str| text.to_string();
    Kind::plain("text", json!({ "type": "string" }), move |cell| cell.text().map(read), |s| json!(s))
}

/// Text that is not empty.
pub fn word() -> Kind<String> {
    let schema = json!({ "type": "string", "minLength": 1 });
    let read = |text: &str| (!text.trim().is_empty()).then(|| text.to_string());
    Kind::plain("text that is not empty", schema, move |cell| cell.text().and_then(read), |s| json!(s))
}

/// True or false.
pub fn flag() -> Kind<bool> {
    Kind::plain("true or false", json!({ "type": "boolean" }), |cell| cell.truth(), |&b| json!(b))
}

/// One of several names.
pub fn choice<T: Copy + PartialEq>(names: &'static [(&'static str, T)]) -> Kind<T> {
    let quoted: Vec<_> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
    let schema = json!({ "enum": names.iter().map(|(name, _)| name).collect::<Vec<_>>() });
    let read = |text: &str| names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    let show = |value: &T| json!(names.iter().find(|(_, other)| other == value).map(|(name, _)| name));
    Kind::plain(format!("one of {}", quoted.join(", ")), schema, move |cell| cell.text().and_then(read), show)
}
