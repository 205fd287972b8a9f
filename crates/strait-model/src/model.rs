//! A model: decoder, tokenizer, and where they came from.

use std::path::PathBuf;

use candle_core::Device;
use serde::Serialize;

use crate::{
    Config, Decoder, Precision, Result, Tokenizer, Weights,
    source::{Located, identity},
};

/// A frozen decoder-only chat model.
pub struct Model {
    /// Config and weights.
    pub decoder: Decoder,
    /// Tokenizer and chat template.
    pub tokenizer: Tokenizer,
    /// Its origin.
    pub provenance: Provenance,
}

/// A model's origin, as a report states it.
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
    pub fn load(located: &Located, device: &Device, precision: Precision) -> Result<Self> {
        Self::of_weights(located, &Weights::open(&located.path)?, device, precision)
    }

    /// As [`load`](Self::load), from weights that are open already, so that what was hashed is what is computed with.
    ///
    /// # Errors
    /// As [`load`](Self::load); and if a file was changed since the weights were opened.
    pub fn of_weights(
        located: &Located,
        weights: &Weights,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        weights.fit()?;
        let path = weights.path();
        let (mut tokenizer, format) = match weights.gguf() {
            Some(gguf) => (Tokenizer::from_gguf(path, gguf)?, "gguf"),
            None => (Tokenizer::from_folder(path)?, "safetensors"),
        };
        let provenance = Provenance {
            located: located.clone(),
            hub: identity(located, weights),
            format,
            quantised: weights.quantised(),
            files: weights.files(),
        };
        let decoder = Decoder::new(weights, device, precision)?;
        tokenizer.limit_to(decoder.config().vocab_size);
        weights.check_unchanged()?;
        Ok(Self { decoder, tokenizer, provenance })
    }

    /// The model's config.
    pub fn config(&self) -> &Config {
        self.decoder.config()
    }
}
