//! Tensors held against the config, files that are something else, and files that change while they are read.

use std::{fs, path::Path};

use candle_core::Device;
use serde_json::{Value, json};
use strait_model::{Config, Error, Tokenizer, Weights};
use tempfile::TempDir;

const WHOLE: &str = "model.safetensors";

/// Tensors of a file: name, type and shape. All numbers are zero.
type Tensors = Vec<(String, &'static str, Vec<usize>)>;

fn config(model_type: &str, tied: bool) -> Value {
    json!({
        "model_type": model_type, "vocab_size": 6, "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 2, "tie_word_embeddings": tied,
    })
}

/// All tensors that the config of a folder asks for.
fn asked_for(folder: &Path) -> Tensors {
    let config = Config::from_hf(&folder.join("config.json")).unwrap();
    config.tensors().into_iter().map(|(name, shape)| (name, "F32", shape)).collect()
}

fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, dtype, shape) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * if *dtype == "I8" { 1 } else { 4 };
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; end]].concat()
}

/// A folder with a config and the tensors that it asks for, after a change to them.
fn model(config: Value, change: impl FnOnce(&mut Tensors)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut tensors = asked_for(folder.path());
    change(&mut tensors);
    fs::write(folder.path().join(WHOLE), safetensors(&tensors)).unwrap();
    folder
}

fn fit(folder: &TempDir) -> Result<Vec<String>, Error> {
    Weights::open(folder.path())?.fit()
}

#[test]
fn every_family_asks_for_what_it_has() {
    for model_type in ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text"] {
        for tied in [false, true] {
            assert_eq!(fit(&model(config(model_type, tied), |_| ())).unwrap(), [""; 0], "{model_type}");
        }
    }
}

#[test]
fn a_tensor_that_is_missing_or_has_another_shape_or_type_is_named() {
    for model_type in ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text"] {
        let count = asked_for(model(config(model_type, false), |_| ()).path()).len();
        for i in 0..count {
            let mut name = String::new();
            let said =
                fit(&model(config(model_type, false), |tensors| name = tensors.remove(i).0)).unwrap_err();
            assert!(said.to_string().contains(&format!("there is no tensor `{name}`")), "{said}");
            let said = fit(&model(config(model_type, false), |tensors| tensors[i].2[0] += 1)).unwrap_err();
            assert!(said.to_string().contains(&format!("the tensor `{name}` has the shape")), "{said}");
            let said = fit(&model(config(model_type, false), |tensors| tensors[i].1 = "I8")).unwrap_err();
            assert!(said.to_string().contains(&format!("the tensor `{name}` holds I8 numbers")), "{said}");
            assert!(said.hint().is_some());
        }
    }
}

#[test]
fn a_tensor_that_the_model_has_no_place_for_is_named() {
    for (model_type, extra) in [
        ("llama", "model.layers.0.self_attn.q_proj.bias"),
        ("llama", "model.layers.1.self_attn.o_proj.bias"),
        ("llama", "model.layers.0.mlp.up_proj.bias"),
        ("llama", "model.layers.0.self_attn.q_norm.weight"),
        ("llama", "model.layers.2.input_layernorm.weight"),
        ("llama", "model.layers.0.post_feedforward_layernorm.weight"),
        ("llama", "model.layers.0.self_attn.q_proj.lora_A.default.weight"),
        ("llama", "model.layers.0.self_attn.q_proj.weight_scale"),
        ("llama", "model.layers.0.mlp.experts.0.up_proj.weight"),
        ("llama", "lm_head.bias"),
        ("llama", "model.norm.bias"),
        ("llama", "model.vision_tower.x.weight"),
        ("qwen2", "model.layers.0.self_attn.o_proj.bias"),
        ("qwen3", "model.layers.0.self_attn.q_proj.bias"),
        ("gemma3_text", "something.else"),
    ] {
        let add = |tensors: &mut Tensors| tensors.push((extra.into(), "F32", vec![4]));
        let said = fit(&model(config(model_type, false), add)).unwrap_err();
        assert!(said.to_string().contains(&format!("the tensor `{extra}` has no part")), "{said}");
        assert!(said.hint().unwrap().contains("do not belong together"));
    }
}

#[test]
fn what_changes_nothing_is_left_out() {
    for (model_type, tied, extra) in [
        ("llama", true, "lm_head.weight"),
        ("llama", false, "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("llama", false, "model.rotary_emb.inv_freq"),
        ("llama", false, "v_head.summary.weight"),
        ("gemma3_text", true, "vision_tower.encoder.weight"),
        ("gemma3_text", true, "model.multi_modal_projector.weight"),
    ] {
        let add = |tensors: &mut Tensors| tensors.push((extra.into(), "F32", vec![3]));
        assert_eq!(fit(&model(config(model_type, tied), add)).unwrap(), [extra], "{model_type}");
    }
}

#[test]
fn shards_and_their_index_are_of_one_model() {
    let folder = model(config("llama", true), |_| ());
    let tensors = asked_for(folder.path());
    fs::remove_file(folder.path().join(WHOLE)).unwrap();
    let write = |name: &str, tensors: &[_]| {
        fs::write(folder.path().join(name), safetensors(&tensors.to_vec())).unwrap();
    };
    let index = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let shard = |i: usize| json!(if i < 3 { "one.safetensors" } else { "two.safetensors" });
        let mut map = tensors.iter().enumerate().map(|(i, (name, ..))| (name.clone(), shard(i))).collect();
        change(&mut map);
        let index = json!({ "weight_map": map }).to_string();
        fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    };
    write("one.safetensors", &tensors[..3]);
    write("two.safetensors", &tensors[3..]);
    index(&|_| ());
    fit(&folder).unwrap();
    let name = tensors[0].0.clone();
    index(&|map| drop(map.remove(&name)));
    let said = fit(&folder).unwrap_err().to_string();
    assert!(said.contains(&format!("holds the tensor `{name}`, which the index does not name")), "{said}");
    // One tensor in both shards: which of them counts?
    write("two.safetensors", &[&tensors[3..], &tensors[..1]].concat());
    index(&|_| ());
    let said = fit(&folder).unwrap_err().to_string();
    assert!(said.contains("which the index puts into `one.safetensors`"), "{said}");
}

#[test]
fn a_tensor_that_stands_twice_is_refused() {
    let header = r#"{"a": {"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}, "a": {"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}}"#;
    let folder = model(config("llama", true), |_| ());
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0]].concat();
    fs::write(folder.path().join(WHOLE), bytes).unwrap();
    let said = fit(&folder).unwrap_err().to_string();
    assert!(said.contains("\"a\" stands twice"), "{said}");
}

#[test]
fn stand_ins_are_named_in_every_place() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 77\n";
    for (content, said) in [
        (pointer, "a Git LFS pointer to a file of 77 bytes"),
        ("<!doctype html><title>Sign in</title>", "a web page"),
        ("<?xml version=\"1.0\"?><Error/>", "an XML document"),
        ("Entry not found", "a server's refusal"),
        ("PK\x03\x04rest", "a zip archive"),
        ("", "the file is empty"),
    ] {
        for place in ["config.json", WHOLE, "model.safetensors.index.json", "model.gguf", "tokenizer.json"] {
            let folder = model(config("llama", true), |_| ());
            if place.ends_with("index.json") {
                fs::remove_file(folder.path().join(WHOLE)).unwrap();
            }
            let path = folder.path().join(place);
            fs::write(&path, content).unwrap();
            let error = match place {
                "model.gguf" => Weights::open(&path).map(drop).unwrap_err(),
                "tokenizer.json" => Tokenizer::from_folder(folder.path()).map(drop).unwrap_err(),
                _ => fit(&folder).map(drop).unwrap_err(),
            };
            let found = error.to_string();
            assert!(found.contains(said) && found.contains(place), "{place}: {found}");
            assert!(error.hint().is_some(), "{place}: {found}");
        }
    }
}

#[test]
fn files_that_change_while_they_are_read_are_noticed() {
    let fresh = || {
        let folder = model(config("llama", true), |_| ());
        let weights = Weights::open(folder.path()).unwrap();
        weights.check_unchanged().unwrap();
        (folder, weights)
    };
    let is_changed = |error: Error, file: &str| {
        assert!(matches!(&error, Error::Changed { path } if path.ends_with(file)), "{error}");
    };
    // Cut short: with a memory map this ended the process.
    let (folder, weights) = fresh();
    fs::File::options().write(true).open(folder.path().join(WHOLE)).unwrap().set_len(100).unwrap();
    is_changed(weights.tensor("model.norm.weight", &[4], &Device::Cpu).unwrap_err(), WHOLE);
    is_changed(weights.hashes(&strait_model::progress::Silent).unwrap_err(), WHOLE);
    // Replaced: what is read is what was opened, and the end notices.
    let (folder, weights) = fresh();
    let other = folder.path().join("other");
    fs::write(&other, "other").unwrap();
    fs::rename(&other, folder.path().join(WHOLE)).unwrap();
    weights.tensor("model.norm.weight", &[4], &Device::Cpu).unwrap();
    is_changed(weights.check_unchanged().unwrap_err(), WHOLE);
    // A file beside the weights, changed or new.
    let (folder, weights) = fresh();
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    is_changed(weights.hashes(&strait_model::progress::Silent).unwrap_err(), "config.json");
    let (folder, weights) = fresh();
    fs::write(folder.path().join("chat_template.jinja"), "x").unwrap();
    is_changed(weights.check_unchanged().unwrap_err(), "chat_template.jinja");
}
