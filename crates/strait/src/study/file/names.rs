//! Names of studies and solutions.

use serde_json::json;

use crate::keys::Kind;

/// A name that becomes a part of file names.
pub(crate) fn name() -> Kind<String> {
    let schema = json!({ "type": "string", "pattern": format!("^[a-z0-9-]{{1,{MAX_NAME}}}$") });
    Kind::plain(
        format!("a name of small letters, digits and hyphens, {MAX_NAME} at most"),
        schema,
        |cell| cell.text().filter(|text| is_name(text)).map(str::to_string),
        |name| json!(name),
    )
}

/// True if a text may name a study or a solution.
pub(crate) fn is_name(text: &str) -> bool {
    let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(of_a_name)
}

/// The longest name, in bytes: file names of 255 bytes are the most that common file systems take.
pub(crate) const MAX_NAME: usize = 64;
