//! PEFT's `adapter_config.json`, by its field names.
//!
//! What PEFT adds to plain LoRA changes what an adapter does, so each such key is refused by its name. Keys that steer
//! only training or loading are passed over; keys that this reader has never heard of are reported.

use std::{fs::File, io::Read, path::Path};

use serde_json::{Map, Value, json};

use super::{Lora, Problem};
use crate::{Error, Result};

/// Longest `adapter_config.json` that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Keys whose value other than null, false, empty or "none" would make the adapter more than plain LoRA.
const UNSUPPORTED: [(&str, &str); 15] = [
    ("use_dora", "DoRA also scales the adapted weights"),
    ("bias", "biases of the model were trained as well"),
    ("lora_bias", "the adapters have biases"),
    ("modules_to_save", "whole modules of the model were trained as well"),
    ("fan_in_fan_out", "the adapted weights are stored transposed"),
    ("target_parameters", "parameters outside of linear layers were adapted"),
    ("trainable_token_indices", "embeddings of tokens were trained as well"),
    ("layer_replication", "the model's layers were repeated"),
    ("alora_invocation_tokens", "the adapter acts only after certain tokens"),
    ("use_qalora", "QALoRA pools the adapters' inputs"),
    ("use_bdlora", "the adapters are block-diagonal"),
    ("arrow_config", "several adapters are routed by token"),
    ("kasa_config", "KaSA gives the adapters singular values"),
    ("velora_config", "VeLoRA gives the adapters another form"),
    ("monteclora_config", "MonteCLoRA draws the adapters at random"),
];

/// Values of `init_lora_weights` with which training changed the model's own weights before it began.
const CHANGED_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// Keys that say nothing about what a trained adapter does, or are read elsewhere.
const HARMLESS: [&str; 27] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// What an `adapter_config.json` says about the adapters.
#[derive(Debug)]
pub(super) struct PeftConfig {
    rank: usize,
    alpha: f64,
    pub(super) rslora: bool,
    ranks: Vec<(String, usize)>,
    alphas: Vec<(String, f64)>,
    pub(super) base_model: Option<String>,
    /// Keys that are not known.
    pub(super) unknown: Vec<String>,
}

impl PeftConfig {
    /// Reads and checks the file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut text = String::new();
        File::open(path)
            .map_err(Error::io(path, "open the file"))?
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(Error::io(path, "read the file"))?;
        Self::parse(&text).map_err(|problem| problem.at(path))
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let config: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| Problem::Json(e.to_string()))?;
        match config.get("peft_type") {
            Some(Value::String(kind)) if kind == "LORA" => {}
            Some(other) => {
                return Err(Problem::Unsupported {
                    key: "peft_type",
                    value: other.to_string(),
                    why: "it is no LoRA",
                });
            }
            None => return Err(Problem::KeyMissing { key: "peft_type" }),
        }
        for (key, why) in UNSUPPORTED {
            if let Some(value) = config.get(key).filter(|value| says_something(value)) {
                return Err(Problem::Unsupported { key, value: value.to_string(), why });
            }
        }
        if let Some(Value::String(initialisation)) = config.get("init_lora_weights")
            && CHANGED_BASE.iter().any(|s| initialisation.starts_with(s))
        {
            return Err(Problem::Unsupported {
                key: "init_lora_weights",
                value: initialisation.clone(),
                why: "training changed the model's own weights before it began",
            });
        }
        Ok(Self {
            rank: required(&config, "r", rank)?,
            alpha: required(&config, "lora_alpha", alpha)?,
            rslora: match config.get("use_rslora") {
                None | Some(Value::Null) => false,
                Some(&Value::Bool(rslora)) => rslora,
                Some(other) => {
                    return Err(Problem::KeyValue {
                        key: "use_rslora",
                        value: other.to_string(),
                        expected: "true or false",
                    });
                }
            },
            ranks: pattern(&config, "rank_pattern", rank)?,
            alphas: pattern(&config, "alpha_pattern", alpha)?,
            base_model: config
                .get("base_model_name_or_path")
                .and_then(Value::as_str)
                .filter(|name| !name.is_empty())
                .map(str::to_string),
            unknown: config
                .iter()
                .filter(|(key, value)| {
                    says_something(value)
                        && !HARMLESS.contains(&key.as_str())
                        && !UNSUPPORTED.iter().any(|(known, _)| known == key)
                })
                .map(|(key, _)| key.clone())
                .collect(),
        })
    }

    /// Rank of a module.
    pub(super) fn rank(&self, module: &str) -> usize {
        of_module(&self.ranks, module).unwrap_or(self.rank)
    }

    /// Alpha of a module.
    pub(super) fn alpha(&self, module: &str) -> f64 {
        of_module(&self.alphas, module).unwrap_or(self.alpha)
    }
}

/// Whether a value is more than a way of saying no.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::String(text) => text != "none",
        Value::Bool(true) | Value::Number(_) => true,
    }
}

fn required<T>(
    config: &Map<String, Value>,
    key: &'static str,
    read: impl Fn(&'static str, &Value) -> Result<T, Problem>,
) -> Result<T, Problem> {
    read(key, config.get(key).ok_or(Problem::KeyMissing { key })?)
}

fn rank(key: &'static str, value: &Value) -> Result<usize, Problem> {
    value
        .as_u64()
        .and_then(|rank| usize::try_from(rank).ok())
        .filter(|&rank| rank > 0)
        .ok_or_else(|| Problem::KeyValue { key, value: value.to_string(), expected: "a rank from 1 up" })
}

fn alpha(key: &'static str, value: &Value) -> Result<f64, Problem> {
    value.as_f64().filter(|alpha| alpha.is_finite()).ok_or_else(|| Problem::KeyValue {
        key,
        value: value.to_string(),
        expected: "a finite number",
    })
}

/// A `rank_pattern` or `alpha_pattern`. PEFT takes its keys as regular expressions that must match a module's last parts;
/// here a key is those parts themselves, with `^` where they are the whole name.
fn pattern<T>(
    config: &Map<String, Value>,
    key: &'static str,
    read: impl Fn(&'static str, &Value) -> Result<T, Problem>,
) -> Result<Vec<(String, T)>, Problem> {
    let entries = match config.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => {
            return Err(Problem::KeyValue {
                key,
                value: other.to_string(),
                expected: "an object of module names",
            });
        }
    };
    entries
        .iter()
        .map(|(pattern, value)| {
            let name = pattern.strip_prefix('^').unwrap_or(pattern);
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "._".contains(c)) {
                return Err(Problem::Pattern { key, pattern: pattern.clone() });
            }
            Ok((pattern.clone(), read(key, value)?))
        })
        .collect()
}

/// The value of the first pattern that names the module.
fn of_module<T: Copy>(patterns: &[(String, T)], module: &str) -> Option<T> {
    let names = |pattern: &str| match pattern.strip_prefix('^') {
        Some(whole) => module == whole,
        None => module.strip_suffix(pattern).is_some_and(|before| before.is_empty() || before.ends_with('.')),
    };
    patterns.iter().find_map(|(pattern, value)| names(pattern).then_some(*value))
}

/// An `adapter_config.json` as PEFT and vLLM read it. `modules` are what PEFT is to adapt, `layers` the only layers in
/// which to do so.
pub(super) fn written(
    lora: &Lora,
    base_model: Option<&str>,
    modules: &[String],
    layers: Option<&[usize]>,
) -> Value {
    // vLLM declares alpha as an integer, and people write it so.
    let alpha = if lora.alpha.fract() == 0.0 && lora.alpha.abs() < f64::from(i32::MAX) {
        json!(lora.alpha as i64)
    } else {
        json!(lora.alpha)
    };
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": lora.rank,
        "lora_alpha": alpha,
        "use_rslora": lora.rslora,
        "target_modules": modules,
        "layers_to_transform": layers,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "modules_to_save": null,
        "init_lora_weights": true,
        "inference_mode": true,
    })
}
