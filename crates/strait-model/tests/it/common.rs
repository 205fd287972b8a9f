//! Fixtures of several test files: GGUF files put together by hand, a small decoder, and the real models.

use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

use candle_core::{D, DType, Device, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strait_model::{
    Config, Decoder, Error, Precision,
    config::{Activation, Architecture, LayerKind, Rope, RopeScaling},
    error::Problem,
    gguf::{Array, Value},
};

/// The device of tests: the CPU, or the GPU where `STRAIT_DEVICE=cuda` asks for it (in a build with `cuda`).
pub fn device() -> Device {
    // Opened once: candle takes one GPU opened twice for two.
    static DEVICE: LazyLock<Device> = LazyLock::new(|| match std::env::var("STRAIT_DEVICE").as_deref() {
        Ok("cuda") => Device::new_cuda(0).expect("a GPU"),
        Ok(other) => panic!("STRAIT_DEVICE is {other}, not cuda"),
        Err(_) => Device::Cpu,
    });
    DEVICE.clone()
}

/// The problem of an error; it must be of this kind.
#[track_caller]
pub fn problem_of<P: Problem>(error: Error) -> P {
    match error {
        Error::Input { problem, .. } => match (problem as Box<dyn std::error::Error>).downcast() {
            Ok(problem) => *problem,
            Err(other) => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

/// The number of the tensor type F32.
pub const F32: u32 = 0;
const ALIGNMENT: usize = 32;

/// A GGUF file in parts, each of which a test may make wrong.
#[derive(Clone)]
pub struct File {
    pub version: u32,
    pub entries: Vec<Entry>,
    pub tensors: Vec<Tensor>,
    pub data: Vec<u8>,
}

/// A metadata entry as it is written.
#[derive(Clone)]
pub struct Entry {
    pub key: String,
    pub kind: u32,
    pub payload: Vec<u8>,
}

/// A tensor entry as it is written.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// Innermost first.
    pub dimensions: Vec<u64>,
    pub kind: u32,
    pub offset: u64,
}

impl File {
    pub fn new() -> Self {
        Self { version: 3, entries: vec![], tensors: vec![], data: vec![] }
    }

    pub fn with(mut self, key: &str, value: Value) -> Self {
        let (kind, payload) = encode(&value);
        self.entries.push(Entry { key: key.into(), kind, payload });
        self
    }

    pub fn text(self, key: &str, text: &str) -> Self {
        self.with(key, Value::Text(text.into()))
    }

    pub fn number(self, key: &str, n: u64) -> Self {
        self.with(key, Value::Unsigned(n))
    }

    pub fn float(self, key: &str, x: f64) -> Self {
        self.with(key, Value::Float(x))
    }

    /// Adds a tensor; `shape` is outermost first.
    pub fn tensor(mut self, name: &str, shape: &[usize], kind: u32, data: &[u8]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        self.tensors.push(Tensor {
            name: name.into(),
            dimensions: shape.iter().rev().map(|&n| n as u64).collect(),
            kind,
            offset: self.data.len() as u64,
        });
        self.data.extend(data);
        self
    }

    pub fn floats(self, name: &str, shape: &[usize], weights: &[f32]) -> Self {
        let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.tensor(name, shape, F32, &bytes)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        for entry in &self.entries {
            write_text(&mut out, &entry.key);
            out.extend(entry.kind.to_le_bytes());
            out.extend(&entry.payload);
        }
        for tensor in &self.tensors {
            write_text(&mut out, &tensor.name);
            out.extend((tensor.dimensions.len() as u32).to_le_bytes());
            out.extend(tensor.dimensions.iter().flat_map(|n| n.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out.extend(&self.data);
        out
    }

    /// Writes the file into `folder`.
    pub fn save(&self, folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A value's type number and bytes: integers and fractions of 32 bits, as the usual converter writes them.
fn encode(value: &Value) -> (u32, Vec<u8>) {
    match value {
        Value::Unsigned(n) => (4, (*n as u32).to_le_bytes().to_vec()),
        Value::Signed(n) => (5, (*n as i32).to_le_bytes().to_vec()),
        Value::Float(x) => (6, (*x as f32).to_le_bytes().to_vec()),
        Value::Boolean(truth) => (7, vec![u8::from(*truth)]),
        Value::Text(text) => {
            let mut out = vec![];
            write_text(&mut out, text);
            (8, out)
        }
        Value::Array(array) => (9, encode_array(array)),
    }
}

fn encode_array(array: &Array) -> Vec<u8> {
    let values: Vec<Value> = match array {
        Array::Unsigned(ns) => ns.iter().map(|&n| Value::Unsigned(n)).collect(),
        Array::Signed(ns) => ns.iter().map(|&n| Value::Signed(n)).collect(),
        Array::Float(xs) => xs.iter().map(|&x| Value::Float(x)).collect(),
        Array::Boolean(ts) => ts.iter().map(|&t| Value::Boolean(t)).collect(),
        Array::Text(ts) => ts.iter().map(|t| Value::Text(t.clone())).collect(),
        Array::Array(arrays) => arrays.iter().map(|a| Value::Array(a.clone())).collect(),
    };
    let encoded: Vec<_> = values.iter().map(encode).collect();
    let kind = encoded.first().map_or(4, |(kind, _)| *kind);
    let mut out = kind.to_le_bytes().to_vec();
    out.extend((values.len() as u64).to_le_bytes());
    out.extend(encoded.into_iter().flat_map(|(_, bytes)| bytes));
    out
}

/// A real model's file in the folder that `STRAIT_MODELS` names.
pub fn real_model(file: &str) -> PathBuf {
    let folder = std::env::var_os("STRAIT_MODELS");
    let folder = folder.expect("STRAIT_MODELS names a folder that scripts/fetch-test-models.sh filled");
    let path = PathBuf::from(folder).join(file);
    assert!(path.is_file(), "no `{}`; scripts/fetch-test-models.sh fetches it", path.display());
    path
}

/// Everything that a decoder can have, in small.
pub fn small_config(tied_embeddings: bool) -> Config {
    Config {
        architecture: Architecture::Gemma2,
        layers: 2,
        hidden_size: 12,
        intermediate_size: 10,
        heads: 4,
        kv_heads: 2,
        head_dim: 4,
        vocab_size: 23,
        context_length: 64,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        qkv_bias: true,
        qk_norm: true,
        post_norms: true,
        embedding_scale: 1.5,
        attention_scale: 0.5,
        attention_softcap: Some(5.0),
        logit_softcap: Some(3.0),
        rope: Rope { base: 100.0, scaling: RopeScaling::None },
        local_rope: None,
        layer_kinds: vec![LayerKind::Full, LayerKind::Sliding],
        sliding_window: Some(3),
        tied_embeddings,
    }
}

/// A decoder of random variables, and those by their names.
pub fn small_decoder(config: &Config) -> (Decoder, BTreeMap<String, Var>) {
    let (mut rng, mut vars) = (ChaCha8Rng::seed_from_u64(0), BTreeMap::new());
    let decoder = Decoder::from_tensors(config.clone(), Precision::F32, |name, shape| {
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let var = Var::from_vec(numbers, shape, &Device::Cpu)?;
        let tensor = var.as_tensor().clone();
        assert!(vars.insert(name.to_string(), var).is_none(), "{name} was asked for twice");
        Ok(tensor)
    });
    (decoder.unwrap(), vars)
}

/// Mean cross-entropy by the plainest arithmetic, in the type of the logits.
pub fn mean_cross_entropy(logits: &candle_core::Tensor, targets: &[u32]) -> f64 {
    let targets = candle_core::Tensor::from_slice(targets, (targets.len(), 1), logits.device()).unwrap();
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1).unwrap()).unwrap();
    let sums = shifted.exp().unwrap().sum_keepdim(D::Minus1).unwrap().log().unwrap();
    let losses = (sums - shifted.gather(&targets, 1).unwrap()).unwrap();
    losses.mean_all().unwrap().to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}
