//! Passages as they are taken of a file.

use std::path::Path;

/// The most bytes of text that are taken from one file.
pub const MAX_TEXT: usize = 256 << 20;

/// A text that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Its place, for errors: its file, and its line or row.
    pub place: String,
    /// The text.
    pub text: String,
}

/// The passages taken of a file so far.
pub(super) struct Taken<'a> {
    pub path: &'a Path,
    most: usize,
    pub passages: Vec<Passage>,
    bytes: usize,
}

impl<'a> Taken<'a> {
    /// Nothing yet of a file of which `most` passages are wanted.
    pub fn of(path: &'a Path, most: usize) -> Self {
        Self { path, most, passages: Vec::new(), bytes: 0 }
    }

    /// True if no more are wanted.
    pub fn is_full(&self) -> bool {
        self.passages.len() >= self.most || self.bytes >= MAX_TEXT
    }

    /// Takes a passage that stands at `spot` of the file.
    pub fn take(&mut self, spot: String, text: String) {
        self.bytes += text.len();
        self.passages.push(Passage { place: format!("`{}`, {spot}", self.path.display()), text });
    }
}
