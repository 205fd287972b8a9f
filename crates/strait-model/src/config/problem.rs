//! Configs that the decoder does not compute.

/// A problem of a config. Keys are those of the file it was read from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Not JSON, or a value of the wrong kind.
    #[error("cannot be read as a model's config: {reason}")]
    Json {
        /// The JSON parser's words, with line and column.
        reason: String,
    },
    /// An architecture that the decoder does not compute.
    #[error("`{key}` is `{found}`, which is not supported (supported: {})", supported.join(", "))]
    Architecture {
        /// The key that names the architecture.
        key: &'static str,
        /// Its value.
        found: String,
        /// The values that are supported.
        supported: &'static [&'static str],
    },
    /// A key that has no default.
    #[error("the key `{key}` is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A setting that the decoder does not compute.
    #[error("`{key}` is {found}, which is not supported")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        found: String,
    },
    /// Two keys that say different things of one thing.
    #[error("{first}, but {second}")]
    Contradiction {
        /// The one's words.
        first: String,
        /// The other's words.
        second: String,
    },
    /// A tensor whose part in the computation is not supported.
    #[error("the tensor `{tensor}` has a part in this model that is not supported")]
    UnsupportedTensor {
        /// The tensor.
        tensor: String,
    },
    /// A size that is zero or beyond all reason.
    #[error("{what} is {found}, which is not from 1 to {limit}")]
    Size {
        /// The size in words, or its key.
        what: String,
        /// Its value.
        found: i128,
        /// The largest value allowed.
        limit: usize,
    },
    /// A number that should be positive.
    #[error("{what} is {found}, not a positive number")]
    Number {
        /// The number in words.
        what: &'static str,
        /// Its value.
        found: f64,
    },
    /// Query heads that cannot share the key-value heads evenly.
    #[error("{heads} attention heads cannot be shared evenly among {kv_heads} key-value heads")]
    Heads {
        /// Query heads.
        heads: usize,
        /// Key-value heads.
        kv_heads: usize,
    },
    /// A head that cannot be cut into rotary pairs.
    #[error("the size of a head is {head_dim}, an odd number, so it has no rotary pairs")]
    OddHead {
        /// The size.
        head_dim: usize,
    },
    /// A list with something else than one entry for each layer, or for each rotary pair.
    #[error("{what} has {found} entries, but the model needs {expected}")]
    Length {
        /// The list.
        what: &'static str,
        /// Entries needed.
        expected: usize,
        /// Entries there.
        found: usize,
    },
    /// Layers with a sliding window of no size.
    #[error("some layers attend within a sliding window, but the window's size is not given")]
    NoWindow,
    /// Factors of Llama 3's rope scaling that cannot be interpolated between.
    #[error("`low_freq_factor` is {low} and `high_freq_factor` {high}, but the former should be the smaller")]
    FrequencyFactors {
        /// The factor of the long wavelengths.
        low: f64,
        /// The factor of the short ones.
        high: f64,
    },
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::Architecture { .. } => {
                "choose a Llama 2 or 3, Qwen2, Qwen3, Gemma 2 or Gemma 3 model that is dense and reads text"
            }
            Self::Unsupported { .. } | Self::UnsupportedTensor { .. } => {
                "choose another model, or one of its kin without this setting"
            }
            Self::Contradiction { .. } => {
                "versions of transformers read the one or the other: restore the file as it is in the model's repository, or remove the wrong one"
            }
            _ => "restore the file as it is in the model's repository",
        }
        .into()
    }
}
