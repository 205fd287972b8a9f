//! A decoder's shape, read from Hugging Face's `config.json` or from GGUF metadata.
//!
//! Both readers fill in what their file leaves out as transformers and llama.cpp do, and refuse what the decoder does not
//! compute: a key that would change the numbers is never passed over in silence.

mod gguf;
mod hf;
mod problem;
mod tensors;

use std::{io::Read, path::Path};

use serde::Serialize;

pub use problem::Problem;
pub use strait_ops::{Activation, Projection};
pub use tensors::{EMBEDDINGS, HEAD, LAST_NORM};

use crate::{Error, Gguf, Result, files::open_real};

const MAX_LAYERS: usize = 1 << 10;
/// Limit on hidden and intermediate size, heads, and the size of a head.
const MAX_WIDTH: usize = 1 << 20;
const MAX_VOCABULARY: usize = 1 << 24;
const MAX_CONTEXT: usize = 1 << 30;
/// Limit on the length of a `config.json`, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The family of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Llama 2 and 3, and models built like them (SmolLM2).
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3, dense.
    Qwen3,
    /// Gemma 2.
    Gemma2,
    /// The text part of Gemma 3.
    Gemma3,
}

impl Architecture {
    /// All families.
    pub(crate) const ALL: [Self; 5] = [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Gemma2, Self::Gemma3];

    /// The family's name in llama.cpp's files (`general.architecture`).
    pub(crate) fn gguf_name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
        }
    }

    /// True if the model is a Gemma: norms multiply by 1 + w, each sublayer has a norm after it too, and embeddings are
    /// scaled.
    pub fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    fn has_qk_norm(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// The activation that the family was made with.
    fn activation(self) -> Activation {
        if self.is_gemma() { Activation::GeluTanh } else { Activation::Silu }
    }

    /// The factor on embeddings.
    fn embedding_scale(self, hidden_size: usize) -> f64 {
        if self.is_gemma() { (hidden_size as f64).sqrt() } else { 1.0 }
    }
}

/// The reach of a layer's attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// All earlier positions.
    Full,
    /// The latest positions only, [`Config::sliding_window`] of them.
    Sliding,
}

/// Rotary position embeddings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rope {
    /// Base of the geometric series of wavelengths.
    pub base: f64,
    /// The change of the frequencies with which longer texts fit.
    pub scaling: RopeScaling,
}

/// A change of rotary frequencies.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All are divided by one factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3: long wavelengths are divided, short ones are not, those between in part.
    Llama3 {
        /// The divisor of the frequencies of long wavelengths.
        factor: f64,
        /// Wavelengths longer than the original context over this are long.
        low_freq_factor: f64,
        /// Wavelengths shorter than the original context over this are short.
        high_freq_factor: f64,
        /// Context length before the model was stretched, in tokens.
        original_context: f64,
    },
    /// Each is divided by a factor of its own (`rope_freqs.weight` of GGUF).
    Factors(Vec<f32>),
}

impl Rope {
    /// The angle in radians by which each of a head's `head_dim / 2` pairs turns from one position to the next.
    pub fn inverse_frequencies(&self, head_dim: usize) -> Vec<f32> {
        let frequency = |pair: usize| self.base.powf(-2.0 * pair as f64 / head_dim as f64);
        (0..head_dim / 2).map(|pair| self.scaling.apply(pair, frequency(pair)) as f32).collect()
    }
}

impl RopeScaling {
    fn apply(&self, pair: usize, frequency: f64) -> f64 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let turns = original_context * frequency / std::f64::consts::TAU;
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = kept.clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / factor)
            }
            Self::Factors(factors) => frequency / f64::from(factors[pair]),
        }
    }
}

/// Everything about a decoder but its weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP between its projections.
    pub intermediate_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head, even.
    pub head_dim: usize,
    /// Rows of the embedding, which may be more than the tokenizer has tokens.
    pub vocab_size: usize,
    /// The longest text the model was made for, in tokens.
    pub context_length: usize,
    /// The epsilon that RMS norms add to the mean square.
    pub norm_eps: f64,
    /// The gate's activation.
    pub activation: Activation,
    /// True if the query, key and value projections have a bias.
    pub qkv_bias: bool,
    /// True if each query and key head is normed before it is rotated.
    pub qk_norm: bool,
    /// True if there is a norm after the attention and after the MLP, besides those before.
    pub post_norms: bool,
    /// The factor on embeddings.
    pub embedding_scale: f64,
    /// The factor on products of queries and keys.
    pub attention_scale: f64,
    /// Attention scores s become cap * tanh(s / cap).
    pub attention_softcap: Option<f64>,
    /// Logits s become cap * tanh(s / cap).
    pub logit_softcap: Option<f64>,
    /// Rotary embeddings.
    pub rope: Rope,
    /// Those of sliding layers, where they differ.
    pub local_rope: Option<Rope>,
    /// The reach of each layer.
    pub layer_kinds: Vec<LayerKind>,
    /// The number of positions that a sliding layer sees, its own included.
    pub sliding_window: Option<usize>,
    /// True if the embedding is the unembedding too.
    pub tied_embeddings: bool,
}

impl Config {
    /// Reads a `config.json` of Hugging Face's transformers.
    ///
    /// # Errors
    /// If the file cannot be read or describes a model that the decoder does not compute.
    pub fn from_hf(path: &Path) -> Result<Self> {
        let json = read_bounded(path, MAX_FILE)?;
        let config = hf::parse(&json).and_then(Self::checked);
        config.map_err(|problem| Error::input(path, problem))
    }

    /// Reads the metadata of a GGUF file; `path` names it in errors.
    ///
    /// # Errors
    /// If the metadata describes a model that the decoder does not compute.
    pub fn from_gguf(path: &Path, gguf: &Gguf) -> Result<Self> {
        gguf::read(path, gguf)?.checked().map_err(|problem| Error::input(path, problem))
    }

    /// Checks that all sizes are possible and all numbers usable.
    ///
    /// # Errors
    /// The first that is not.
    pub fn validate(&self) -> Result<(), Problem> {
        self.check_sizes()?;
        self.check_numbers()?;
        check_rope(&self.rope, self.head_dim)?;
        if let Some(local) = &self.local_rope {
            check_rope(local, self.head_dim)?;
        }
        self.check_layers()
    }

    /// Numbers in the weights.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Input and output width of one of a block's projections.
    pub fn projection_size(&self, projection: Projection) -> (usize, usize) {
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        match projection {
            Projection::Q => (self.hidden_size, queries),
            Projection::K | Projection::V => (self.hidden_size, keys),
            Projection::O => (queries, self.hidden_size),
            Projection::Gate | Projection::Up => (self.hidden_size, self.intermediate_size),
            Projection::Down => (self.intermediate_size, self.hidden_size),
        }
    }

    fn checked(self) -> Result<Self, Problem> {
        self.validate()?;
        Ok(self)
    }

    fn check_sizes(&self) -> Result<(), Problem> {
        check_size("the number of layers", self.layers, MAX_LAYERS)?;
        check_size("the hidden size", self.hidden_size, MAX_WIDTH)?;
        check_size("the intermediate size", self.intermediate_size, MAX_WIDTH)?;
        check_size("the number of attention heads", self.heads, MAX_WIDTH)?;
        check_size("the number of key-value heads", self.kv_heads, MAX_WIDTH)?;
        check_size("the size of a head", self.head_dim, MAX_WIDTH)?;
        check_size("the width of all heads", self.heads.saturating_mul(self.head_dim), MAX_WIDTH)?;
        check_size("the size of the vocabulary", self.vocab_size, MAX_VOCABULARY)?;
        check_size("the context length", self.context_length, MAX_CONTEXT)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Problem::Heads { heads: self.heads, kv_heads: self.kv_heads });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(Problem::OddHead { head_dim: self.head_dim });
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Problem> {
        check_positive("the epsilon of the norms", self.norm_eps)?;
        check_positive("the scale of the embeddings", self.embedding_scale)?;
        check_positive("the scale of the attention", self.attention_scale)?;
        if let Some(cap) = self.attention_softcap {
            check_positive("the soft cap of the attention", cap)?;
        }
        if let Some(cap) = self.logit_softcap {
            check_positive("the soft cap of the logits", cap)?;
        }
        Ok(())
    }

    fn check_layers(&self) -> Result<(), Problem> {
        check_length("the list of layer types", self.layers, self.layer_kinds.len())?;
        match self.sliding_window {
            Some(window) => check_size("the sliding window", window, MAX_CONTEXT),
            None if self.layer_kinds.contains(&LayerKind::Sliding) => Err(Problem::NoWindow),
            None => Ok(()),
        }
    }
}

fn check_rope(rope: &Rope, head_dim: usize) -> Result<(), Problem> {
    check_positive("the base of the rotary embeddings", rope.base)?;
    match &rope.scaling {
        RopeScaling::None => Ok(()),
        RopeScaling::Linear { factor } => check_positive("the factor of the rope scaling", *factor),
        &RopeScaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_context } => {
            check_positive("the factor of the rope scaling", factor)?;
            check_positive("`low_freq_factor`", low)?;
            check_positive("`high_freq_factor`", high)?;
            check_positive("the original context length of the rope scaling", original_context)?;
            if low < high { Ok(()) } else { Err(Problem::FrequencyFactors { low, high }) }
        }
        RopeScaling::Factors(factors) => {
            check_length("the tensor of rope factors", head_dim / 2, factors.len())?;
            factors.iter().try_for_each(|&f| check_positive("a rope factor", f64::from(f)))
        }
    }
}

fn check_size(what: &str, found: usize, limit: usize) -> Result<(), Problem> {
    if (1..=limit).contains(&found) {
        return Ok(());
    }
    Err(Problem::Size { what: what.into(), found: found as i128, limit })
}

fn check_positive(what: &'static str, found: f64) -> Result<(), Problem> {
    if found.is_finite() && found > 0.0 { Ok(()) } else { Err(Problem::Number { what, found }) }
}

fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), Problem> {
    if found == expected { Ok(()) } else { Err(Problem::Length { what, expected, found }) }
}

/// Kinds of the layers where every `period`-th layer is full and the others slide.
fn periodic_kinds(layers: usize, period: usize) -> Vec<LayerKind> {
    let kind = |i: usize| if (i + 1).is_multiple_of(period) { LayerKind::Full } else { LayerKind::Sliding };
    (0..layers).map(kind).collect()
}

/// Reads a file that is meant to be small.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_real(path, &[])?;
    let mut bytes = vec![];
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read the file"))?;
    if bytes.len() as u64 > limit {
        let too_large = std::io::Error::other(format!("it is longer than {limit} bytes"));
        return Err(Error::io(path, "read the file")(too_large));
    }
    Ok(bytes)
}
