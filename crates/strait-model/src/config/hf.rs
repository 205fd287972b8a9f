//! `config.json`, under the keys of Hugging Face's transformers.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{
    Activation, Architecture, Config, LayerKind, MAX_LAYERS, Problem, Rope, RopeScaling, check_size,
    periodic_kinds,
};
use crate::json;

const SUPPORTED: [&str; 6] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "gemma3_text"];
/// The model type of Gemma 3 with eyes: the text model's config lies inside.
const MULTIMODAL: &str = "gemma3";
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// The keys that tell which others to expect.
#[derive(Deserialize)]
struct Outer {
    model_type: Option<String>,
    quantization_config: Option<Quantization>,
}

#[derive(Deserialize)]
struct Quantization {
    quant_method: Option<String>,
}

/// Gemma 3 with eyes.
#[derive(Deserialize)]
struct Multimodal {
    text_config: Keys,
}

/// The keys of a text model. One that is `null` counts as absent, except where `null` means "none".
#[derive(Deserialize)]
struct Keys {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    query_pre_attn_scalar: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    attn_logit_softcapping: Option<Option<f64>>,
    #[serde(default, deserialize_with = "present")]
    final_logit_softcapping: Option<Option<f64>>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    partial_rotary_factor: Option<f64>,
    rope_scaling: Option<RopeKeys>,
    /// All about rotary embeddings, as transformers 5 writes it.
    rope_parameters: Option<RopeKeys>,
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<usize>>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    quantization_config: Option<Quantization>,
}

#[derive(Deserialize, Default)]
struct RopeKeys {
    rope_type: Option<String>,
    /// The older name of `rope_type`.
    r#type: Option<String>,
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    /// Gemma 3 has one set for each kind of layer in `rope_parameters`.
    full_attention: Option<Box<RopeKeys>>,
    sliding_attention: Option<Box<RopeKeys>>,
}

/// Tells a key that is `null` from one that is absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// Sizes that a config may leave out because transformers has them as defaults. Gemma 3's published ones do.
struct Sizes {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
}

/// The values that transformers fills in for absent keys.
struct Defaults {
    sizes: Option<Sizes>,
    head_dim: Option<usize>,
    context_length: usize,
    rope_base: f64,
    attention_softcap: Option<f64>,
    logit_softcap: Option<f64>,
    tied_embeddings: bool,
}

const NORM_EPS: f64 = 1e-6;
const SLIDING_WINDOW: usize = 4096;
const LOCAL_ROPE_BASE: f64 = 10_000.0;
const GEMMA_QUERY_SCALAR: f64 = 256.0;
const GEMMA3_PERIOD: usize = 6;
const QWEN_FULL_LAYERS: usize = 28;

impl Defaults {
    fn of(architecture: Architecture) -> Self {
        let llama = Self {
            sizes: None,
            head_dim: None,
            context_length: 2048,
            rope_base: 10_000.0,
            attention_softcap: None,
            logit_softcap: None,
            tied_embeddings: false,
        };
        let gemma = |vocab_size| Self {
            sizes: Some(Sizes {
                vocab_size,
                hidden_size: 2304,
                intermediate_size: 9216,
                layers: 26,
                heads: 8,
                kv_heads: 4,
            }),
            head_dim: Some(256),
            tied_embeddings: true,
            ..llama
        };
        match architecture {
            Architecture::Llama => llama,
            Architecture::Qwen2 => Self { context_length: 32_768, ..llama },
            Architecture::Qwen3 => Self { context_length: 32_768, head_dim: Some(128), ..llama },
            Architecture::Gemma2 => Self {
                context_length: 8192,
                attention_softcap: Some(50.0),
                logit_softcap: Some(30.0),
                ..gemma(256_000)
            },
            Architecture::Gemma3 => {
                Self { context_length: 131_072, rope_base: 1_000_000.0, ..gemma(262_208) }
            }
        }
    }
}

/// Reads the text of a `config.json`.
pub(super) fn parse(json: &[u8]) -> Result<Config, Problem> {
    let outer: Outer = from_json(json)?;
    let model_type = outer.model_type.ok_or(Problem::Missing { key: "model_type".into() })?;
    refuse_quantisation(outer.quantization_config.as_ref())?;
    let architecture = match model_type.as_str() {
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        "gemma2" => Architecture::Gemma2,
        "gemma3_text" | MULTIMODAL => Architecture::Gemma3,
        _ => {
            let key = "model_type";
            return Err(Problem::Architecture { key, found: model_type, supported: &SUPPORTED });
        }
    };
    let keys = match model_type.as_str() {
        MULTIMODAL => from_json::<Multimodal>(json)?.text_config,
        _ => from_json(json)?,
    };
    keys.config(architecture)
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    json::from_slice(json).map_err(|e| Problem::Json { reason: e.to_string() })
}

fn refuse_quantisation(found: Option<&Quantization>) -> Result<(), Problem> {
    let Some(quantization) = found else { return Ok(()) };
    let method = quantization.quant_method.as_deref().unwrap_or("present");
    Err(unsupported("quantization_config.quant_method", method))
}

fn unsupported(key: &str, found: impl ToString) -> Problem {
    Problem::Unsupported { key: key.into(), found: found.to_string() }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::Missing { key: key.into() })
}

impl Keys {
    fn config(self, architecture: Architecture) -> Result<Config, Problem> {
        self.refuse_what_is_not_computed(architecture)?;
        let defaults = Defaults::of(architecture);
        let size = |key, given: Option<usize>, default: fn(&Sizes) -> usize| {
            required(key, given.or(defaults.sizes.as_ref().map(default)))
        };
        let hidden_size = size("hidden_size", self.hidden_size, |s| s.hidden_size)?;
        let heads = size("num_attention_heads", self.num_attention_heads, |s| s.heads)?;
        let layers = size("num_hidden_layers", self.num_hidden_layers, |s| s.layers)?;
        check_size("`num_hidden_layers`", layers, MAX_LAYERS)?;
        let kv_heads = defaults.sizes.as_ref().map_or(heads, |s| s.kv_heads);
        // No heads at all is found out by `Config::validate`.
        let head_dim =
            self.head_dim.or(defaults.head_dim).unwrap_or(hidden_size.checked_div(heads).unwrap_or(0));
        let sliding_window = self.window(architecture);
        let layer_kinds = self.layer_kinds(architecture, layers, sliding_window)?;
        let (rope, local_rope) = self.ropes(architecture, defaults.rope_base)?;
        Ok(Config {
            architecture,
            layers,
            hidden_size,
            intermediate_size: size("intermediate_size", self.intermediate_size, |s| s.intermediate_size)?,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(kv_heads),
            head_dim,
            vocab_size: size("vocab_size", self.vocab_size, |s| s.vocab_size)?,
            context_length: self.max_position_embeddings.unwrap_or(defaults.context_length),
            norm_eps: self.rms_norm_eps.unwrap_or(NORM_EPS),
            activation: self.activation(architecture)?,
            qkv_bias: architecture == Architecture::Qwen2,
            qk_norm: architecture.has_qk_norm(),
            post_norms: architecture.is_gemma(),
            embedding_scale: architecture.embedding_scale(hidden_size),
            attention_scale: self.query_scalar(architecture, head_dim).powf(-0.5),
            attention_softcap: self.attn_logit_softcapping.unwrap_or(defaults.attention_softcap),
            logit_softcap: self.final_logit_softcapping.unwrap_or(defaults.logit_softcap),
            rope,
            local_rope,
            layer_kinds,
            sliding_window,
            tied_embeddings: self.tie_word_embeddings.unwrap_or(defaults.tied_embeddings),
        })
    }

    fn refuse_what_is_not_computed(&self, architecture: Architecture) -> Result<(), Problem> {
        refuse_quantisation(self.quantization_config.as_ref())?;
        // Qwen2 has its biases whatever the key says.
        if self.attention_bias == Some(true) && architecture != Architecture::Qwen2 {
            return Err(unsupported("attention_bias", true));
        }
        if self.mlp_bias == Some(true) {
            return Err(unsupported("mlp_bias", true));
        }
        if self.use_bidirectional_attention == Some(true) {
            return Err(unsupported("use_bidirectional_attention", true));
        }
        let attention_capped = architecture == Architecture::Gemma2;
        refuse_softcap("attn_logit_softcapping", self.attn_logit_softcapping, attention_capped)?;
        refuse_softcap("final_logit_softcapping", self.final_logit_softcapping, architecture.is_gemma())?;
        refuse_partial_rotation(self.partial_rotary_factor)
    }

    fn activation(&self, architecture: Architecture) -> Result<Activation, Problem> {
        let (key, name) = if architecture.is_gemma() {
            ("hidden_activation", &self.hidden_activation)
        } else {
            ("hidden_act", &self.hidden_act)
        };
        match name.as_deref() {
            None => Ok(architecture.activation()),
            Some("silu") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            Some(other) => Err(unsupported(key, format!("`{other}`"))),
        }
    }

    /// The number whose inverse root scales the attention.
    fn query_scalar(&self, architecture: Architecture, head_dim: usize) -> f64 {
        if architecture.is_gemma() {
            self.query_pre_attn_scalar.unwrap_or(GEMMA_QUERY_SCALAR)
        } else {
            head_dim as f64
        }
    }

    /// The size of the sliding window, where the family has one and the config has it in use.
    fn window(&self, architecture: Architecture) -> Option<usize> {
        let used = match architecture {
            Architecture::Llama => false,
            Architecture::Qwen2 | Architecture::Qwen3 => self.use_sliding_window == Some(true),
            Architecture::Gemma2 | Architecture::Gemma3 => true,
        };
        self.sliding_window.unwrap_or(Some(SLIDING_WINDOW)).filter(|_| used)
    }

    fn layer_kinds(
        &self,
        architecture: Architecture,
        layers: usize,
        window: Option<usize>,
    ) -> Result<Vec<LayerKind>, Problem> {
        if architecture == Architecture::Llama {
            return Ok(vec![LayerKind::Full; layers]);
        }
        if let Some(types) = &self.layer_types {
            return types.iter().map(|name| layer_kind(name)).collect();
        }
        Ok(match architecture {
            Architecture::Gemma2 => periodic_kinds(layers, 2),
            Architecture::Gemma3 => {
                periodic_kinds(layers, self.sliding_window_pattern.unwrap_or(GEMMA3_PERIOD))
            }
            _ => {
                let full = window.map_or(layers, |_| self.max_window_layers.unwrap_or(QWEN_FULL_LAYERS));
                let kind = |i| if i < full { LayerKind::Full } else { LayerKind::Sliding };
                (0..layers).map(kind).collect()
            }
        })
    }

    /// The rotary embeddings, and those of sliding layers where they differ.
    fn ropes(&self, architecture: Architecture, default_base: f64) -> Result<(Rope, Option<Rope>), Problem> {
        let none = RopeKeys::default();
        let parameters = self.rope_parameters.as_ref().unwrap_or(&none);
        let nested = parameters.full_attention.is_some() || parameters.sliding_attention.is_some();
        let gemma3 = architecture == Architecture::Gemma3;
        if self.rope_parameters.is_some() && nested != gemma3 {
            let found = if nested { "of two kinds of layers" } else { "of one kind of layer" };
            return Err(unsupported("rope_parameters", format!("{found} in a model of {architecture:?}")));
        }
        let full = parameters.full_attention.as_deref().unwrap_or(parameters);
        let scaling = match (&self.rope_scaling, &self.rope_parameters) {
            (Some(older), Some(_)) => {
                agree(("rope_scaling", Some(older.scaling()?)), ("rope_parameters", Some(full.scaling()?)))?
            }
            (Some(older), None) => Some(older.scaling()?),
            (None, _) => Some(full.scaling()?),
        };
        // transformers 4 reads the one and transformers 5 the other.
        let base = agree(("rope_theta", self.rope_theta), ("rope_parameters.rope_theta", full.rope_theta))?;
        let older = self.rope_scaling.as_ref().and_then(|older| older.rope_theta);
        let base = agree(("the base of the rotary embeddings", base), ("rope_scaling.rope_theta", older))?;
        let rope = Rope { base: base.unwrap_or(default_base), scaling: scaling.unwrap_or(RopeScaling::None) };
        if !gemma3 {
            return Ok((rope, None));
        }
        let local = parameters.sliding_attention.as_deref().unwrap_or(&none);
        let base = agree(
            ("rope_local_base_freq", self.rope_local_base_freq),
            ("rope_parameters.sliding_attention.rope_theta", local.rope_theta),
        )?;
        let local = Rope { base: base.unwrap_or(LOCAL_ROPE_BASE), scaling: local.scaling()? };
        Ok((rope, Some(local)))
    }
}

/// The value that two keys agree on; refuses two that differ.
fn agree<T: PartialEq + std::fmt::Debug>(
    (key, value): (&str, Option<T>),
    (other_key, other): (&str, Option<T>),
) -> Result<Option<T>, Problem> {
    match (value, other) {
        (Some(value), Some(other)) if value != other => Err(Problem::Contradiction {
            first: format!("`{key}` is {value:?}"),
            second: format!("`{other_key}` is {other:?}"),
        }),
        (value, other) => Ok(value.or(other)),
    }
}

fn layer_kind(name: &str) -> Result<LayerKind, Problem> {
    match name {
        FULL => Ok(LayerKind::Full),
        SLIDING => Ok(LayerKind::Sliding),
        other => Err(unsupported("layer_types", format!("`{other}`"))),
    }
}

/// Refuses a soft cap in a family that has none.
fn refuse_softcap(key: &str, cap: Option<Option<f64>>, computed: bool) -> Result<(), Problem> {
    match cap {
        Some(Some(cap)) if !computed => Err(unsupported(key, cap)),
        _ => Ok(()),
    }
}

fn refuse_partial_rotation(factor: Option<f64>) -> Result<(), Problem> {
    match factor {
        None | Some(1.0) => Ok(()),
        Some(factor) => Err(unsupported("partial_rotary_factor", factor)),
    }
}

impl RopeKeys {
    fn scaling(&self) -> Result<RopeScaling, Problem> {
        refuse_partial_rotation(self.partial_rotary_factor)?;
        let factor = |key: &str, value: Option<f64>| required(&format!("rope_scaling.{key}"), value);
        let kind = agree(("type", self.r#type.as_deref()), ("rope_type", self.rope_type.as_deref()))?;
        match kind {
            None if self.factor.is_some() => Err(Problem::Missing { key: "rope_scaling.rope_type".into() }),
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: factor("factor", self.factor)? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: factor("factor", self.factor)?,
                low_freq_factor: factor("low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: factor("high_freq_factor", self.high_freq_factor)?,
                original_context: factor(
                    "original_max_position_embeddings",
                    self.original_max_position_embeddings,
                )?,
            }),
            Some(other) => Err(unsupported("rope_scaling.rope_type", format!("`{other}`"))),
        }
    }
}
