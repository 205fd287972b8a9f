//! A model: decoder, tokenizer, and where they came from.

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::Serialize;

use crate::{
    Config, Decoder, Error, Result, Tokenizer, Weights,
    files::sha256_of,
    progress::{Progress, Unit},
    source::{Located, identity},
};

/// A frozen decoder-only chat model.
pub struct Model {
    /// Config and weights.
    pub decoder: Decoder,
    /// Tokenizer and chat template.
    pub tokenizer: Tokenizer,
    /// Where it came from.
    pub provenance: Provenance,
}

/// Where a model came from, as a report states it.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// The name that was asked for, the file or folder found, by which road, and the hub's revision.
    #[serde(flatten)]
    pub located: Located,
    /// Its id on the hub, as others can load it, where that is known.
    pub hub: Option<String>,
    /// `gguf` or `safetensors`.
    pub format: &'static str,
    /// Types of the tensors where the file is quantised, as `Q4_1 (210 tensors), ..`.
    pub quantised: Option<String>,
    /// The weight files.
    pub files: Vec<PathBuf>,
}

impl Model {
    /// Reads a model from the folder or file where it was located.
    ///
    /// # Errors
    /// If a file is missing, malformed, or disagrees with the config.
    pub fn load(located: &Located, device: &Device) -> Result<Self> {
        let path = &located.path;
        let weights = Weights::open(path)?;
        let (tokenizer, format) = match weights.gguf() {
            Some(gguf) => (Tokenizer::from_gguf(path, gguf)?, "gguf"),
            None => (Tokenizer::from_folder(path)?, "safetensors"),
        };
        let provenance = Provenance {
            located: located.clone(),
            hub: identity(located, &weights),
            format,
            quantised: weights.quantised(),
            files: weights.files(),
        };
        Ok(Self { decoder: Decoder::new(&weights, device)?, tokenizer, provenance })
    }

    /// The model's config.
    pub fn config(&self) -> &Config {
        self.decoder.config()
    }
}

/// Name and SHA-256 of every file, in order.
///
/// # Errors
/// If a file cannot be read.
pub fn hashes(files: &[PathBuf], progress: &dyn Progress) -> Result<Vec<(String, String)>> {
    let size = |path: &PathBuf| path.metadata().map_or(0, |m| m.len());
    let task = progress.begin("hashing weights", Some(files.iter().map(size).sum()), Unit::Bytes);
    let hash = |path: &PathBuf| -> Result<(String, String)> {
        Ok((file_name(path)?, sha256_of(path, |n| task.advance(n))?))
    };
    files.iter().map(hash).collect()
}

fn file_name(path: &Path) -> Result<String> {
    let name = path.file_name().ok_or_else(|| std::io::ErrorKind::InvalidInput.into());
    Ok(name.map_err(Error::io(path, "name the file"))?.to_string_lossy().into_owned())
}
