//! `strait check` on models as they are made, which know nothing yet: small, shallow, with small gradients.

use std::{fs, path::Path};

use candle_core::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use strait_model::{
    Config, Model, Precision,
    progress::Silent,
    source::{Located, Road},
};

/// A folder with a model of random weights and the tokenizer of a reported case. Norms are as transformers makes them.
fn model(model_type: &str, layers: usize, spread: f32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": model_type, "vocab_size": 320, "hidden_size": 8, "intermediate_size": 32, "head_dim": 4,
        "num_hidden_layers": layers, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 16,
        "max_position_embeddings": 512, "tie_word_embeddings": false,
    });
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let tokenizer =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reported/19-check-two-layers/model");
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        fs::copy(tokenizer.join(file), folder.path().join(file)).unwrap();
    }
    let config = Config::from_hf(&folder.path().join("config.json")).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(layers as u64);
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in config.tensors() {
        let start = data.len();
        for _ in 0..shape.iter().product() {
            let number: f32 = match name.as_str() {
                norm if norm.ends_with("norm.weight") => {
                    if model_type.starts_with("gemma") {
                        0.0
                    } else {
                        1.0
                    }
                }
                bias if bias.ends_with(".bias") => 0.0,
                _ => rng.random_range(-1.7..1.7) * spread,
            };
            data.extend(number.to_le_bytes());
        }
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }));
    }
    let header = Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    folder
}

/// All checks of a model of random weights.
fn checks(model_type: &str, layers: usize, spread: f32) -> Vec<strait::check::Check> {
    let folder = model(model_type, layers, spread);
    let located =
        Located { name: "tiny".into(), path: folder.path().into(), road: Road::Path, revision: None };
    let model = Model::load(&located, &Device::Cpu, Precision::F32).unwrap();
    strait::check::check(&model, &Silent).unwrap()
}

#[test]
fn models_that_know_nothing_raise_no_alarm() {
    for (model_type, layers, spread) in [
        ("llama", 1, 0.02),
        ("llama", 4, 0.3),
        ("qwen2", 2, 0.02),
        ("qwen3", 1, 0.3),
        ("gemma2", 2, 0.02),
        ("gemma3_text", 1, 0.02),
        ("gemma3_text", 3, 0.3),
    ] {
        let checks = checks(model_type, layers, spread);
        let failing: Vec<_> = checks.iter().filter(|check| check.holds == Some(false)).collect();
        assert!(failing.is_empty(), "{model_type}, {layers}, {spread}: {failing:?}");
        // Slopes are measured, not given up.
        let slopes = checks.iter().filter(|check| check.name.contains("finite differences"));
        assert!(slopes.clone().all(|check| check.holds == Some(true)), "{model_type}, {layers}: {checks:?}");
        assert_eq!(slopes.count(), 2);
    }
}
