//! PEFT's `adapter_config.json`, by its field names.
//!
//! PEFT's additions to plain LoRA change what an adapter does, so each such key is refused by its name, and so is a key that
//! this reader has never heard of. Keys that steer only training or loading are passed over.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    super::{Lora, Problem},
    names::Module,
    pattern::Pattern,
    targets::Targets,
};
use crate::{
    Result,
    files::{read_regular, refuse_stand_in},
    json,
};

/// Longest `adapter_config.json` that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Keys whose value other than null, false, empty or "none" would make the adapter more than plain LoRA.
const UNSUPPORTED: [(&str, &str); 15] = [
    ("use_dora", "DoRA also scales the adapted weights"),
    ("bias", "biases of the model were trained as well"),
    ("lora_bias", "the adapters have biases"),
    ("modules_to_save", "whole modules of the model were trained as well"),
    ("target_parameters", "parameters outside of linear layers were adapted"),
    ("trainable_token_indices", "embeddings of tokens were trained as well"),
    ("layer_replication", "the model's layers were repeated"),
    ("alora_invocation_tokens", "the adapter acts only after certain tokens"),
    ("use_qalora", "QALoRA pools the adapters' inputs"),
    ("use_bdlora", "the adapters are block-diagonal"),
    ("megatron_config", "the adapters are those of Megatron's parallel layers"),
    ("arrow_config", "several adapters are routed by token"),
    ("kasa_config", "KaSA takes something out of the model's own weights"),
    ("velora_config", "VeLoRA keeps more than two matrices an adapter"),
    ("monteclora_config", "MonteCLoRA draws the adapters at random"),
];

/// Beginnings of `init_lora_weights` with which training changed the model's own weights before it began. What was saved
/// "converted", as an adapter of the unchanged model, says `true` instead.
const CHANGED_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// Values of `init_lora_weights` with which it did not.
const KEPT_BASE: [&str; 6] = ["gaussian", "eva", "orthogonal", "mica", "true", "false"];

/// Keys that say nothing about what a trained adapter does, or are read elsewhere.
const HARMLESS: [&str; 28] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
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
    "unsloth_version",
    "use_rslora",
];

/// Tasks whose model is the text model alone; those of other tasks have heads of their own.
const TASKS: [&str; 2] = ["CAUSAL_LM", "FEATURE_EXTRACTION"];

/// The adapters as an `adapter_config.json` describes them.
#[derive(Debug)]
pub(super) struct PeftConfig {
    rank: usize,
    alpha: f64,
    pub(super) rslora: bool,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
    pub(super) targets: Targets,
    /// True if adapters of the embeddings are those of a tied head too.
    pub(super) tied: bool,
    pub(super) base_model: Option<String>,
    /// Notes for the user.
    pub(super) notes: Vec<String>,
}

impl PeftConfig {
    /// Reads and checks the file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = read_regular(path, MAX_BYTES)?;
        refuse_stand_in(path, &bytes, &[])?;
        let config = json::from_slice(&bytes).map_err(|e| Problem::Json(e.to_string()).at(path))?;
        Self::of(&config).map_err(|problem| problem.at(path))
    }

    fn of(config: &Map<String, Value>) -> Result<Self, Problem> {
        check_kind(config)?;
        for (key, why) in UNSUPPORTED {
            if let Some(value) = config.get(key).filter(|value| asks_for(key, value)) {
                return Err(Problem::Unsupported { key, value: value.to_string(), why });
            }
        }
        check_start(config)?;
        let known = |key: &str| HARMLESS.contains(&key) || UNSUPPORTED.iter().any(|(known, _)| *known == key);
        if let Some((key, value)) = config.iter().find(|(key, value)| says_something(value) && !known(key)) {
            return Err(Problem::UnknownKey { key: key.clone(), value: value.to_string() });
        }
        let mut notes = Vec::new();
        if truth(config, "fan_in_fan_out")? {
            notes.push(
                "`fan_in_fan_out` is true, which PEFT takes back for linear layers such as these".into(),
            );
        }
        Ok(Self {
            rank: required(config, "r", rank)?,
            alpha: required(config, "lora_alpha", alpha)?,
            rslora: truth(config, "use_rslora")?,
            ranks: patterns(config, "rank_pattern", rank)?,
            alphas: patterns(config, "alpha_pattern", alpha)?,
            targets: Targets::of(config)?,
            tied: truth(config, "ensure_weight_tying")?,
            base_model: config
                .get("base_model_name_or_path")
                .and_then(Value::as_str)
                .filter(|name| !name.is_empty())
                .map(str::to_string),
            notes,
        })
    }

    /// Rank of a module.
    pub(super) fn rank(&self, module: &Module) -> Result<usize, Problem> {
        Ok(of_module(&self.ranks, module)?.unwrap_or(self.rank))
    }

    /// Alpha of a module.
    pub(super) fn alpha(&self, module: &Module) -> Result<f64, Problem> {
        Ok(of_module(&self.alphas, module)?.unwrap_or(self.alpha))
    }
}

/// Checks that it is a LoRA of a text model, in whatever case that is written.
fn check_kind(config: &Map<String, Value>) -> Result<(), Problem> {
    match config.get("peft_type") {
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("LORA") => {}
        Some(other) => {
            return Err(Problem::Unsupported {
                key: "peft_type",
                value: other.to_string(),
                why: "it is no LoRA",
            });
        }
        None => return Err(Problem::KeyMissing { key: "peft_type" }),
    }
    match config.get("task_type") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(task)) if TASKS.iter().any(|known| task.eq_ignore_ascii_case(known)) => Ok(()),
        Some(other) => Err(Problem::Unsupported {
            key: "task_type",
            value: other.to_string(),
            why: "the adapter was made for another task than writing text",
        }),
    }
}

/// Checks that training began with the model's own weights as they are.
fn check_start(config: &Map<String, Value>) -> Result<(), Problem> {
    const KEY: &str = "init_lora_weights";
    let Some(value) = config.get(KEY) else { return Ok(()) };
    let why = match value {
        Value::Null | Value::Bool(_) => return Ok(()),
        Value::String(start) => {
            let start = start.to_lowercase();
            if CHANGED_BASE.iter().any(|changed| start.starts_with(changed)) {
                "training changed the model's own weights before it began"
            } else if KEPT_BASE.contains(&start.as_str()) {
                return Ok(());
            } else {
                "whether training began by changing the model's own weights is not known"
            }
        }
        _ => "whether training began by changing the model's own weights is not known",
    };
    Err(Problem::Unsupported { key: KEY, value: value.to_string(), why })
}

/// True if a value asks for what its key stands for. Of most settings in objects PEFT takes an empty one as all defaults.
fn asks_for(key: &str, value: &Value) -> bool {
    let empty_is_default =
        ["kasa_config", "velora_config", "monteclora_config", "arrow_config", "use_bdlora"];
    says_something(value) || (value.is_object() && empty_is_default.contains(&key))
}

/// True if a value is more than a way of saying no.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::String(text) => text != "none",
        Value::Bool(true) | Value::Number(_) => true,
    }
}

fn truth(config: &Map<String, Value>, key: &'static str) -> Result<bool, Problem> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(&Value::Bool(value)) => Ok(value),
        Some(other) => Err(Problem::KeyValue { key, value: other.to_string(), expected: "true or false" }),
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

/// A `rank_pattern` or `alpha_pattern`, in the order of the file: of two that match PEFT takes the first.
fn patterns<T>(
    config: &Map<String, Value>,
    key: &'static str,
    read: impl Fn(&'static str, &Value) -> Result<T, Problem>,
) -> Result<Vec<(Pattern, T)>, Problem> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(entries)) => {
            let pair = |(pattern, value): (&String, &Value)| {
                Ok((Pattern::of_last_parts(key, pattern)?, read(key, value)?))
            };
            entries.iter().map(pair).collect()
        }
        Some(other) => {
            Err(Problem::KeyValue { key, value: other.to_string(), expected: "an object of module names" })
        }
    }
}

/// The value of the first pattern that names the module.
fn of_module<T: Copy>(patterns: &[(Pattern, T)], module: &Module) -> Result<Option<T>, Problem> {
    for (pattern, value) in patterns {
        if pattern.matches(&module.path)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
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
