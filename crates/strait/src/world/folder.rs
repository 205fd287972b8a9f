//! A world on disk.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Learned, Recipe, World};
use crate::Result;

/// How a world was made: `world.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Made {
    /// The version of this file.
    pub schema: u32,
    /// The version of strait.
    pub strait: String,
    /// The command that makes it again.
    pub command: String,
    /// The command's settings.
    pub recipe: Recipe,
    /// How well each kind of speaker was known at the end of pre-training.
    pub learned: Vec<Learned>,
    /// SHA-256 of `model/model.safetensors`.
    pub sha256: String,
}

/// The names of the worlds that the binary holds.
pub const SHIPPED: &[&str] = &[];

impl World {
    /// Reads a world's folder.
    ///
    /// # Errors
    /// If a file is missing or malformed, or the model does not speak the language.
    pub fn open(folder: &Path) -> Result<Self> {
        todo!("{}", folder.display())
    }

    /// Writes one of the [`SHIPPED`] worlds to the folder `into`, unless it lies there already, and reads it from there.
    ///
    /// # Errors
    /// If there is none of that name, or the folder cannot be written.
    pub fn shipped(name: &str, into: &Path) -> Result<Self> {
        todo!("{name} {}", into.display())
    }
}
