//! Keys of endpoints.

use super::Problem;

/// A secret, which neither `Debug` nor any error shows.
pub struct Key(String);

impl Key {
    /// A key; spaces and line breaks around it are none of it.
    ///
    /// # Errors
    /// If it holds what no header of a request can.
    pub fn new(text: &str) -> Result<Self, Problem> {
        let key = text.trim();
        let is_plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain { Ok(Self(key.into())) } else { Err(Problem::Key) }
    }

    /// True for the name of an environment variable, which may hold a key. What is none may be a key in the wrong place: nothing
    /// shows it.
    pub fn is_variable(name: &str) -> bool {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        name.bytes().all(is_part) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    }

    /// The header that carries it.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text without the key, which some endpoints repeat.
    pub(super) fn hidden(&self, text: &str) -> String {
        text.replace(&self.0, "[the key]")
    }
}
