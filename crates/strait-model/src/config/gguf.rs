//! A config from GGUF metadata, under the keys of llama.cpp.

use std::path::Path;

use super::{
    Architecture, Config, LayerKind, MAX_LAYERS, Problem, Rope, RopeScaling, check_size, periodic_kinds,
};
use crate::{
    Error, Gguf, Result,
    gguf::{Array, Value},
};

const ARCHITECTURE_KEY: &str = "general.architecture";
const SUPPORTED: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3"];
const EMBEDDING: &str = "token_embd.weight";
const UNEMBEDDING: &str = "output.weight";
const ROPE_FACTORS: &str = "rope_freqs.weight";
const ROPE_BASE: f64 = 10_000.0;
const GEMMA3_ROPE_BASE: f64 = 1_000_000.0;
const GEMMA2_WINDOW: usize = 4096;
const GEMMA2_PERIOD: usize = 2;
const GEMMA3_PERIOD: usize = 6;
/// The largest Gemmas scale the attention by another number than the others, and no key says so: llama.cpp knows them by
/// their layers.
const GEMMA2_27B_LAYERS: usize = 46;
const GEMMA3_27B_LAYERS: usize = 62;

/// Keys whose numbers llama.cpp computes with, and the values that mean nothing.
const FLOATS_NOT_COMPUTED: [(&str, &[f64]); 6] = [
    ("logit_scale", &[0.0, 1.0]),
    ("residual_scale", &[0.0, 1.0]),
    ("embedding_scale", &[0.0, 1.0]),
    ("attention.clamp_kqv", &[0.0]),
    ("attention.max_alibi_bias", &[0.0]),
    ("rope.scaling.attn_factor", &[1.0]),
];
/// Switches of llama.cpp, with the values that agree with the computation here.
const SWITCHES_NOT_COMPUTED: [(&str, bool); 2] =
    [("attention.causal", true), ("use_parallel_residual", false)];

pub(super) fn read(path: &Path, gguf: &Gguf) -> Result<Config> {
    let name = gguf.string(ARCHITECTURE_KEY)?;
    let name = name.ok_or_else(|| Error::input(path, Problem::Missing { key: ARCHITECTURE_KEY.into() }))?;
    let of_name = |known: &Architecture| known.gguf_name() == name;
    let architecture = Architecture::ALL.into_iter().find(of_name).ok_or_else(|| {
        let (key, found) = (ARCHITECTURE_KEY, name.into());
        Error::input(path, Problem::Architecture { key, found, supported: &SUPPORTED })
    })?;
    Metadata { path, gguf, name, architecture }.config()
}

/// The metadata of one model.
struct Metadata<'a> {
    path: &'a Path,
    gguf: &'a Gguf,
    /// The architecture's name, with which the keys begin.
    name: &'a str,
    architecture: Architecture,
}

impl Metadata<'_> {
    fn config(&self) -> Result<Config> {
        self.refuse_what_is_not_computed()?;
        let hidden_size = self.required_size("embedding_length")?;
        let heads = self.required_size("attention.head_count")?;
        let layers = self.required_size("block_count")?;
        check_size("the number of layers", layers, MAX_LAYERS).map_err(|p| Error::input(self.path, p))?;
        let head_dim = self.head_dim(hidden_size, heads)?;
        let (rope, local_rope) = self.ropes()?;
        Ok(Config {
            architecture: self.architecture,
            layers,
            hidden_size,
            intermediate_size: self.required_size("feed_forward_length")?,
            heads,
            kv_heads: self.size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            vocab_size: self.vocab_size()?,
            context_length: self.required_size("context_length")?,
            norm_eps: self.required("attention.layer_norm_rms_epsilon", Self::float)?,
            activation: self.architecture.activation(),
            qkv_bias: self.architecture == Architecture::Qwen2,
            qk_norm: self.architecture.has_qk_norm(),
            post_norms: self.architecture.is_gemma(),
            embedding_scale: self.architecture.embedding_scale(hidden_size),
            attention_scale: self.attention_scale(layers, hidden_size, heads, head_dim)?,
            attention_softcap: self.softcap("attn_logit_softcapping", 50.0)?,
            logit_softcap: self.softcap("final_logit_softcapping", 30.0)?,
            rope,
            local_rope,
            layer_kinds: self.layer_kinds(layers)?,
            sliding_window: self.sliding_window()?,
            tied_embeddings: self.gguf.tensor(UNEMBEDDING).is_none(),
        })
    }

    fn refuse_what_is_not_computed(&self) -> Result<()> {
        match self.size("expert_count")? {
            None | Some(0) => {}
            Some(experts) => return Err(self.unsupported("expert_count", experts)),
        }
        if self.architecture == Architecture::Gemma3
            && let Some(cap) = self.float("attn_logit_softcapping")?
        {
            return Err(self.unsupported("attn_logit_softcapping", cap));
        }
        for (key, harmless) in FLOATS_NOT_COMPUTED {
            if let Some(found) = self.float(key)?.filter(|found| !harmless.contains(found)) {
                return Err(self.unsupported(key, found));
            }
        }
        for (key, harmless) in SWITCHES_NOT_COMPUTED {
            if let Some(found) = self.gguf.boolean(&self.key(key))?.filter(|found| *found != harmless) {
                return Err(self.unsupported(key, found));
            }
        }
        let known = |name: &str| {
            let of_qwen2 = ["attn_q.bias", "attn_k.bias", "attn_v.bias"];
            self.architecture == Architecture::Qwen2 && of_qwen2.iter().any(|bias| name.ends_with(bias))
        };
        let mut biases = self.gguf.tensors().iter().filter(|t| t.name.ends_with(".bias"));
        match biases.find(|t| !known(&t.name)) {
            Some(bias) => {
                Err(Error::input(self.path, Problem::UnsupportedTensor { tensor: bias.name.clone() }))
            }
            None => Ok(()),
        }
    }

    /// The size of a head, which all of queries, keys, values and rotary embeddings must share.
    fn head_dim(&self, hidden_size: usize, heads: usize) -> Result<usize> {
        let rotated = self.size("rope.dimension_count")?;
        // No heads at all is found out by `Config::validate`.
        let evenly = hidden_size.checked_div(heads).unwrap_or(0);
        let head_dim = self.size("attention.key_length")?.or(rotated).unwrap_or(evenly);
        for (key, size) in [
            ("attention.value_length", self.size("attention.value_length")?),
            ("rope.dimension_count", rotated),
        ] {
            if let Some(size) = size.filter(|&size| size != head_dim) {
                return Err(self.unsupported(key, format!("{size} while a head's size is {head_dim}")));
            }
        }
        Ok(head_dim)
    }

    fn vocab_size(&self) -> Result<usize> {
        let of_embedding = || self.gguf.tensor(EMBEDDING).and_then(|t| t.shape.first().copied());
        let given = self.size("vocab_size")?;
        given.or_else(of_embedding).ok_or_else(|| self.missing("vocab_size"))
    }

    fn attention_scale(&self, layers: usize, hidden: usize, heads: usize, head_dim: usize) -> Result<f64> {
        if let Some(scale) = self.float("attention.scale")? {
            return Ok(scale);
        }
        let largest = match self.architecture {
            Architecture::Gemma2 => layers == GEMMA2_27B_LAYERS,
            Architecture::Gemma3 => layers == GEMMA3_27B_LAYERS,
            _ => false,
        };
        let scalar = if largest { hidden as f64 / heads as f64 } else { head_dim as f64 };
        Ok(scalar.powf(-0.5))
    }

    /// A soft cap; Gemma 2 has it even where the key is absent.
    fn softcap(&self, key: &str, of_gemma2: f64) -> Result<Option<f64>> {
        let default = (self.architecture == Architecture::Gemma2).then_some(of_gemma2);
        Ok(self.float(key)?.filter(|_| self.architecture.is_gemma()).or(default))
    }

    fn sliding_window(&self) -> Result<Option<usize>> {
        let key = "attention.sliding_window";
        match self.architecture {
            Architecture::Gemma2 => Ok(Some(self.size(key)?.unwrap_or(GEMMA2_WINDOW))),
            Architecture::Gemma3 => self.required_size(key).map(Some),
            _ => Ok(None),
        }
    }

    fn layer_kinds(&self, layers: usize) -> Result<Vec<LayerKind>> {
        let period = match self.architecture {
            Architecture::Gemma2 => GEMMA2_PERIOD,
            Architecture::Gemma3 => GEMMA3_PERIOD,
            _ => return Ok(vec![LayerKind::Full; layers]),
        };
        let key = "attention.sliding_window_pattern";
        if let Some(Value::Array(Array::Boolean(slides))) = self.gguf.get(&self.key(key)) {
            let kind = |&slides: &bool| if slides { LayerKind::Sliding } else { LayerKind::Full };
            return Ok(slides.iter().map(kind).collect());
        }
        Ok(periodic_kinds(layers, self.size(key)?.unwrap_or(period)))
    }

    /// The rotary embeddings, and those of sliding layers where they differ.
    fn ropes(&self) -> Result<(Rope, Option<Rope>)> {
        let gemma3 = self.architecture == Architecture::Gemma3;
        let default_base = if gemma3 { GEMMA3_ROPE_BASE } else { ROPE_BASE };
        let base = self.float("rope.freq_base")?.unwrap_or(default_base);
        let rope = Rope { base, scaling: self.rope_scaling()? };
        if !gemma3 {
            return Ok((rope, None));
        }
        let base = self.float("rope.freq_base_swa")?.unwrap_or(ROPE_BASE);
        Ok((rope, Some(Rope { base, scaling: RopeScaling::None })))
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        let type_key = "rope.scaling.type";
        let factor = match self.gguf.string(&self.key(type_key))? {
            Some("none") => None,
            None | Some("linear") => {
                let older_key = || self.float("rope.scale_linear");
                self.float("rope.scaling.factor")?.map_or_else(older_key, |factor| Ok(Some(factor)))?
            }
            Some(other) => return Err(self.unsupported(type_key, format!("`{other}`"))),
        };
        // A factor of zero means that there is none.
        let factor = factor.filter(|&factor| factor != 0.0);
        if self.gguf.tensor(ROPE_FACTORS).is_some() {
            let (_, factors) = self.gguf.dequantise(ROPE_FACTORS)?;
            let all = factor.unwrap_or(1.0) as f32;
            return Ok(RopeScaling::Factors(factors.into_iter().map(|f| f * all).collect()));
        }
        Ok(factor.map_or(RopeScaling::None, |factor| RopeScaling::Linear { factor }))
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn float(&self, key: &str) -> Result<Option<f64>> {
        self.gguf.float(&self.key(key))
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        let key = self.key(key);
        let size = |n: i64| {
            let problem =
                Problem::Size { what: format!("`{key}`"), found: n.into(), limit: u32::MAX as usize };
            u32::try_from(n).map(|n| n as usize).map_err(|_| Error::input(self.path, problem))
        };
        self.gguf.integer(&key)?.map(size).transpose()
    }

    fn required_size(&self, key: &str) -> Result<usize> {
        self.required(key, Self::size)
    }

    fn required<T>(&self, key: &str, read: impl Fn(&Self, &str) -> Result<Option<T>>) -> Result<T> {
        read(self, key)?.ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &str) -> crate::Error {
        Error::input(self.path, Problem::Missing { key: self.key(key) })
    }

    fn unsupported(&self, key: &str, found: impl ToString) -> crate::Error {
        Error::input(self.path, Problem::Unsupported { key: self.key(key), found: found.to_string() })
    }
}
