//! Weights from safetensors and GGUF: values, names and order, and each kind of file that is refused.

use std::path::Path;

use candle_core::Device;
use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use strait_model::{Config, Error, Result, Weights, config::Architecture, edit::Projection};
use tempfile::TempDir;

use crate::common::{File, real_model};

const EMBEDDING: &str = "model.embed_tokens.weight";

/// A tensor for a safetensors file: name, type, shape, bytes.
type Tensor<'a> = (&'a str, &'a str, Vec<usize>, Vec<u8>);

fn floats<'a>(name: &'a str, shape: &[usize], weights: &[f32]) -> Tensor<'a> {
    (name, "F32", shape.into(), weights.iter().flat_map(|w| w.to_le_bytes()).collect())
}

/// A safetensors file with that header.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut data = vec![];
    let mut header = serde_json::Map::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        data.extend(bytes);
        let info = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert(name.to_string(), info);
    }
    file(&Json::Object(header).to_string(), &data)
}

/// A folder with a small config of that type.
fn folder(model_type: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": model_type, "vocab_size": 3, "hidden_size": 2, "intermediate_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

/// A folder with a Llama of these safetensors.
fn model(bytes: &[u8]) -> TempDir {
    let folder = folder("llama");
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    folder
}

fn values(weights: &Weights, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let tensor = weights.tensor(name, shape, &Device::Cpu)?;
    assert_eq!(tensor.dims(), shape);
    assert!(tensor.is_contiguous());
    Ok(tensor.flatten_all()?.to_vec1()?)
}

fn check_error<T>(result: Result<T>, file: &Path, message: &str) {
    let Err(error) = result else { panic!("no error, where there should be: {message}") };
    assert_eq!(error.to_string(), format!("`{}`: {message}", file.display()));
    assert!(error.hint().is_some());
}

#[test]
fn numbers_of_every_type_become_f32() {
    let numbers = [0.5f32, -1.25, 3.0, 65504.0];
    let bytes = |encode: fn(f32) -> Vec<u8>| numbers.into_iter().flat_map(encode).collect::<Vec<u8>>();
    let shape = || vec![2, 2];
    let folder = model(&safetensors(&[
        (EMBEDDING, "F32", shape(), bytes(|x| x.to_le_bytes().to_vec())),
        ("model.a", "F16", shape(), bytes(|x| f16::from_f32(x).to_le_bytes().to_vec())),
        ("model.b", "BF16", shape(), bytes(|x| bf16::from_f32(x).to_le_bytes().to_vec())),
        ("model.c", "F64", shape(), bytes(|x| f64::from(x).to_le_bytes().to_vec())),
        ("model.d", "I32", shape(), vec![0; 16]),
    ]));
    let weights = Weights::open(folder.path()).unwrap();
    for name in [EMBEDDING, "model.a", "model.c"] {
        assert_eq!(values(&weights, name, &[2, 2]).unwrap(), numbers, "{name}");
    }
    assert_eq!(values(&weights, "model.b", &[2, 2]).unwrap(), [0.5, -1.25, 3.0, 65536.0]);
    let path = folder.path().join("model.safetensors");
    check_error(
        values(&weights, "model.d", &[2, 2]),
        &path,
        "the tensor `model.d` holds I32 numbers, where F32, F16, BF16 and F64 are supported",
    );
    assert_eq!(weights.files(), [path]);
    assert_eq!((weights.quantised(), weights.gguf().is_none()), (None, true));
    assert_eq!(weights.config().architecture, Architecture::Llama);
}

/// More weights than one task converts.
#[test]
fn large_tensors_come_out_in_order() {
    let numbers: Vec<f32> = (0..200_000).map(|i| i as f32).collect();
    let folder = model(&safetensors(&[floats(EMBEDDING, &[1000, 200], &numbers)]));
    let weights = Weights::open(folder.path()).unwrap();
    assert_eq!(values(&weights, EMBEDDING, &[1000, 200]).unwrap(), numbers);
}

#[test]
fn tensors_that_do_not_fit_the_config_are_refused() {
    let mut numbers = vec![0.0; 200_000];
    (numbers[150_000], numbers[190_000]) = (f32::NAN, f32::INFINITY);
    let tensors = [floats(EMBEDDING, &[3, 2], &[0.0; 6]), floats("model.norm.weight", &[200_000], &numbers)];
    let folder = model(&safetensors(&tensors));
    let weights = Weights::open(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    check_error(
        values(&weights, EMBEDDING, &[2, 3]),
        &path,
        "the tensor `model.embed_tokens.weight` has the shape [3, 2], but by the config it should be [2, 3]",
    );
    check_error(
        values(&weights, "model.norm.weight", &[200_000]),
        &path,
        "the tensor `model.norm.weight` holds NaN at index 150000",
    );
    check_error(
        values(&weights, "lm_head.weight", &[3, 2]),
        folder.path(),
        "there is no tensor `lm_head.weight`",
    );
    check_error(values(&weights, "elsewhere", &[1]), folder.path(), "there is no tensor `elsewhere`");
    assert!(weights.contains(EMBEDDING) && !weights.contains("lm_head.weight"));
}

#[test]
fn text_models_are_found_under_every_prefix() {
    let prefixes = [
        ("model.", "lm_head."),
        ("language_model.model.", "language_model.lm_head."),
        ("model.language_model.", "lm_head."),
        ("", "lm_head."),
    ];
    for (body, head) in prefixes {
        let embedding = format!("{body}embed_tokens.weight");
        let projection = format!("{body}layers.0.mlp.up_proj.weight");
        let head = format!("{head}weight");
        let folder = model(&safetensors(&[
            floats(&embedding, &[1], &[1.0]),
            floats(&projection, &[1], &[2.0]),
            floats(&head, &[1], &[3.0]),
        ]));
        let weights = Weights::open(folder.path()).unwrap();
        let value = |name| values(&weights, name, &[1]).unwrap()[0];
        assert_eq!(value(EMBEDDING), 1.0, "{body}");
        assert_eq!(value("model.layers.0.mlp.up_proj.weight"), 2.0, "{body}");
        assert_eq!(value("lm_head.weight"), 3.0, "{body}");
    }
}

#[test]
fn norms_of_gemma_come_as_factors() {
    let names = ["model.layers.0.self_attn.q_norm.weight", "model.layers.0.input_layernorm.weight"];
    let other = "model.layers.0.self_attn.q_proj.weight";
    let tensors = [names[0], names[1], other].map(|name| floats(name, &[2], &[0.5, -0.25]));
    let value = |model_type, name| {
        let folder = folder(model_type);
        std::fs::write(folder.path().join("model.safetensors"), safetensors(&tensors)).unwrap();
        values(&Weights::open(folder.path()).unwrap(), name, &[2]).unwrap()
    };
    for name in names {
        assert_eq!(value("gemma3_text", name), [1.5, 0.75]);
        assert_eq!(value("gemma2", name), [1.5, 0.75]);
        assert_eq!(value("qwen3", name), [0.5, -0.25]);
    }
    assert_eq!(value("gemma3_text", other), [0.5, -0.25]);
}

/// A folder with two shards and this weight map.
fn sharded(weight_map: Json) -> TempDir {
    let folder = folder("llama");
    let write = |name, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write(
        "one.safetensors",
        &safetensors(&[floats("model.a", &[1], &[1.0]), floats("model.b", &[1], &[2.0])]),
    );
    write("two.safetensors", &safetensors(&[floats("model.c", &[1], &[3.0])]));
    let index = json!({ "metadata": { "total_size": 12 }, "weight_map": weight_map });
    write("model.safetensors.index.json", index.to_string().as_bytes());
    folder
}

#[test]
fn shards_are_read_as_one() {
    let map =
        json!({ "model.a": "one.safetensors", "model.c": "two.safetensors", "model.b": "one.safetensors" });
    let folder = sharded(map);
    let weights = Weights::open(folder.path()).unwrap();
    let found = ["model.a", "model.b", "model.c"].map(|name| values(&weights, name, &[1]).unwrap()[0]);
    assert_eq!(found, [1.0, 2.0, 3.0]);
    let files = ["one.safetensors", "two.safetensors"].map(|name| folder.path().join(name));
    assert_eq!(weights.files(), files);
}

#[test]
fn bad_indices_are_refused() {
    let check = |map: Json, message: &str| {
        let folder = sharded(map);
        let index = folder.path().join("model.safetensors.index.json");
        check_error(Weights::open(folder.path()), &index, message);
    };
    for outside in ["../one.safetensors", "/etc/passwd", "./one.safetensors", ""] {
        check(
            json!({ "model.a": outside }),
            &format!("the index names the shard `{outside}`, which is not a path inside the folder"),
        );
    }
    check(
        json!({ "model.a": "three.safetensors" }),
        "the index names the shard `three.safetensors`, but there is no such file",
    );
    check(
        json!({ "model.a": "two.safetensors" }),
        "the index says that the tensor `model.a` is in `two.safetensors`, but it is not",
    );
    let reason = "invalid type: integer `1`, expected a map at line 1 column 44";
    check(json!(1), &format!("cannot be read as an index of shards: {reason}"));
}

#[test]
fn folders_without_safetensors_are_refused() {
    let folder = folder("llama");
    check_error(
        Weights::open(folder.path()),
        folder.path(),
        "the folder holds neither `model.safetensors` nor `model.safetensors.index.json`",
    );
    std::fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
    let pickled = Weights::open(folder.path());
    assert!(pickled.as_ref().unwrap_err().hint().unwrap().contains("convert the model to safetensors"));
    check_error(
        pickled,
        folder.path(),
        "the folder's only weights are `pytorch_model.bin`, a pickle, which may hold code and is not read",
    );
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(matches!(Weights::open(folder.path()), Err(Error::Io { .. })));
}

#[test]
fn bad_headers_are_refused() {
    let check = |bytes: &[u8], message: &str| {
        let folder = model(bytes);
        check_error(Weights::open(folder.path()), &folder.path().join("model.safetensors"), message);
    };
    let header = |message: &str| format!("the header, at byte 8, cannot be read: {message}");
    let claims = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    check(b"", "the file is empty");
    check(b"1234567", "not a safetensors file: it is 7 bytes long, and its header's length alone takes 8");
    check(
        &claims(1 << 63),
        "the header claims to be 9223372036854775808 bytes long, where 100000000 is the limit",
    );
    check(&claims(100_000_001), "the header claims to be 100000001 bytes long, where 100000000 is the limit");
    check(&claims(3), "the header claims to be 3 bytes long, but only 2 bytes follow");
    check(&file("{\"a\": ", b""), &header("EOF while parsing a value at line 1 column 6"));

    let info = |dtype: &str, shape: Json, start: u64, end: u64| json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
    let of = |tensors: Json, data: usize| file(&tensors.to_string(), &vec![0; data]);
    let a = |dtype, shape, start, end, data| of(json!({ "a": info(dtype, shape, start, end) }), data);
    let two = |second: Json| of(json!({ "a": info("F32", json!([1]), 0, 4), "b": second }), 8);
    check(&a("F32", json!([2]), 0, 8, 4), "the tensors take 8 bytes by the header, but 4 bytes follow it");
    check(&a("F32", json!([2]), 0, 8, 9), "the tensors take 8 bytes by the header, but 9 bytes follow it");
    let refused = |bytes: Vec<u8>, reason: &str| {
        let folder = model(&bytes);
        let found = Weights::open(folder.path()).unwrap_err().to_string();
        assert!(found.contains(reason), "{found}");
    };
    refused(file("[]", b""), "invalid type: sequence");
    refused(a("F32", json!([3]), 0, 8, 8), "invalid shape, data type, or offset for tensor");
    refused(a("F32", json!([2]), 8, 0, 8), "invalid offset for tensor `a`");
    refused(a("F33", json!([2]), 0, 8, 8), "unknown variant `F33`");
    refused(a("F32", json!([-1]), 0, 8, 8), "invalid value: integer `-1`");
    refused(a("F32", json!([1u64 << 33, 1u64 << 33]), 0, 8, 8), "overflow");
    refused(two(info("F32", json!([2]), 0, 8)), "invalid offset for tensor"); // overlap
    refused(two(info("F32", json!([0]), 5, 5)), "invalid offset for tensor"); // gap

    // Sixteen tensors that end at the last offset there is, so that no length can be added to it.
    let ends = (1..=16u64).map(|i| if i == 16 { u64::MAX } else { i << 60 });
    let huge = ends.scan(0, |start, end| {
        let tensor = (end.to_string(), info("U8", json!([end - *start]), *start, end));
        *start = end;
        Some(tensor)
    });
    refused(of(Json::Object(huge.collect()), 8), "the tensors take 18446744073709551615 bytes");
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let bytes = safetensors(&[floats(EMBEDDING, &[3, 2], &[0.0; 6]), floats("model.a", &[4], &[1.0; 4])]);
    let folder = model(&bytes);
    Weights::open(folder.path()).unwrap();
    for end in 0..bytes.len() {
        std::fs::write(folder.path().join("model.safetensors"), &bytes[..end]).unwrap();
        let error = Weights::open(folder.path()).expect_err("a file cut short");
        assert!(error.hint().unwrap().contains("not whole"), "cut at {end}: {error}");
    }
}

proptest! {
    #[test]
    fn mutations_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = safetensors(&[floats(EMBEDDING, &[3, 2], &[0.0; 6]), floats("model.a", &[4], &[1.0; 4])]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let folder = model(&bytes);
        if let Ok(weights) = Weights::open(folder.path()) {
            weights.tensor(EMBEDDING, &[3, 2], &Device::Cpu).ok();
            weights.tensor("model.a", &[4], &Device::Cpu).ok();
        }
    }
}

/// A GGUF model with two heads of four and the smallest other sizes, without tensors.
fn gguf(name: &str) -> File {
    let key = |key: &str| format!("{name}.{key}");
    File::new()
        .text("general.architecture", name)
        .number(&key("block_count"), 1)
        .number(&key("context_length"), 16)
        .number(&key("embedding_length"), 8)
        .number(&key("feed_forward_length"), 4)
        .number(&key("attention.head_count"), 2)
        .number(&key("attention.head_count_kv"), 1)
        .number(&key("attention.sliding_window"), 4)
        .number(&key("vocab_size"), 3)
        .float(&key("attention.layer_norm_rms_epsilon"), 1e-6)
}

#[test]
fn gguf_tensors_are_found_under_the_names_of_hugging_face() {
    let common = [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.norm.weight", "output_norm.weight"),
        ("lm_head.weight", "output.weight"),
        ("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"),
        ("model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight"),
        ("model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight"),
        ("model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"),
        ("model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight"),
        ("model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight"),
        ("model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight"),
        ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
    ];
    let one_norm = [("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight")];
    let biases = [
        ("model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias"),
        ("model.layers.0.self_attn.k_proj.bias", "blk.0.attn_k.bias"),
        ("model.layers.0.self_attn.v_proj.bias", "blk.0.attn_v.bias"),
    ];
    let head_norms = [
        ("model.layers.0.self_attn.q_norm.weight", "blk.0.attn_q_norm.weight"),
        ("model.layers.0.self_attn.k_norm.weight", "blk.0.attn_k_norm.weight"),
    ];
    let gemma_norms = [
        ("model.layers.0.post_attention_layernorm.weight", "blk.0.post_attention_norm.weight"),
        ("model.layers.0.pre_feedforward_layernorm.weight", "blk.0.ffn_norm.weight"),
        ("model.layers.0.post_feedforward_layernorm.weight", "blk.0.post_ffw_norm.weight"),
    ];
    let architectures: [(&str, [&[_]; 3]); 5] = [
        ("llama", [&common, &one_norm, &[]]),
        ("qwen2", [&common, &one_norm, &biases]),
        ("qwen3", [&common, &one_norm, &head_norms]),
        ("gemma2", [&common, &gemma_norms, &[]]),
        ("gemma3", [&common, &gemma_norms, &head_norms]),
    ];
    for (architecture, names) in architectures {
        let names = names.concat();
        let numbered = names.iter().zip(1u8..);
        let file = numbered
            .clone()
            .fold(gguf(architecture), |file, ((_, stored), i)| file.floats(stored, &[1], &[f32::from(i)]));
        let folder = tempfile::tempdir().unwrap();
        let weights = Weights::open(&file.save(&folder)).unwrap();
        for ((name, stored), i) in numbered {
            assert!(weights.contains(name), "{name}");
            // The file has 1 + w for the norms of Gemma, which is what is asked for.
            assert_eq!(values(&weights, name, &[1]).unwrap(), [f32::from(i)], "{name}: {stored}");
        }
        assert!(!weights.contains("model.layers.1.mlp.up_proj.weight"));
        assert!(!weights.contains("model.layers.0.mlp.sideways_proj.weight"));
    }
}

/// Row i of the file holds i. transformers' `LlamaTensorProcessor` gives the same order.
#[test]
fn rotary_pairs_of_a_gguf_llama_are_split() {
    let rows = |n: usize| (0..n).flat_map(|i| [i as f32, i as f32 + 0.5]).collect::<Vec<_>>();
    let order = |rows: &[f32]| rows.chunks(2).map(|row| row[0]).collect::<Vec<_>>();
    let read = |architecture| {
        let file = gguf(architecture)
            .floats("blk.0.attn_q.weight", &[8, 2], &rows(8))
            .floats("blk.0.attn_k.weight", &[4, 2], &rows(4))
            .floats("blk.0.attn_v.weight", &[4, 2], &rows(4));
        let folder = tempfile::tempdir().unwrap();
        let weights = Weights::open(&file.save(&folder)).unwrap();
        let tensor = |name: &str, n| {
            let name = format!("model.layers.0.self_attn.{name}_proj.weight");
            let values = values(&weights, &name, &[n, 2]).unwrap();
            assert!(values.chunks(2).all(|row| row[1] == row[0] + 0.5));
            order(&values)
        };
        [tensor("q", 8), tensor("k", 4), tensor("v", 4)]
    };
    let plain = vec![0.0, 1.0, 2.0, 3.0];
    let [q, k, v] = read("llama");
    assert_eq!(q, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    assert_eq!((k, v), (vec![0.0, 2.0, 1.0, 3.0], plain.clone()));
    let [q, k, v] = read("qwen3");
    assert_eq!(q, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    assert_eq!((k, v), (plain.clone(), plain));
}

#[test]
fn gguf_tensors_that_do_not_fit_are_refused() {
    let file = gguf("llama")
        .floats("token_embd.weight", &[3, 8], &[0.0; 24])
        .floats("output_norm.weight", &[2], &[0.0, f32::NEG_INFINITY])
        .floats("blk.0.attn_q.weight", &[8, 0], &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = file.save(&folder);
    let weights = Weights::open(&path).unwrap();
    check_error(
        values(&weights, EMBEDDING, &[4, 8]),
        &path,
        "the tensor `token_embd.weight` has the shape [3, 8], but by the config it should be [4, 8]",
    );
    check_error(
        values(&weights, "model.norm.weight", &[2]),
        &path,
        "the tensor `output_norm.weight` holds -inf at index 1",
    );
    check_error(values(&weights, "lm_head.weight", &[3, 8]), &path, "there is no tensor `output.weight`");
    check_error(values(&weights, "model.other", &[1]), &path, "there is no tensor `model.other`");
    assert!(values(&weights, "model.layers.0.self_attn.q_proj.weight", &[8, 0]).unwrap().is_empty());

    let path = gguf("llama").number("split.count", 3).save(&folder);
    check_error(
        Weights::open(&path),
        &path,
        "the file is one of the 3 parts of a split model, which are not read",
    );
}

#[test]
fn quantised_types_are_counted() {
    let summary = |tensors: &[(u32, usize)]| {
        let mut file = gguf("llama");
        for (i, &(kind, size)) in tensors.iter().enumerate() {
            file = file.tensor(&format!("t{i}"), &[32], kind, &vec![0; size]);
        }
        let folder = tempfile::tempdir().unwrap();
        Weights::open(&file.save(&folder)).unwrap().quantised()
    };
    let (f32, f16, q4_0, q8_0) = ((0, 128), (1, 64), (2, 18), (8, 34));
    let mixed = [f32, f32, f32, q8_0, q4_0, q4_0, f16];
    assert_eq!(summary(&mixed).unwrap(), "Q4_0 (2 tensors), Q8_0 (1), F32 (3), F16 (1)");
    assert_eq!(summary(&[f32, q8_0]).unwrap(), "Q8_0 (1 tensor), F32 (1)");
    assert_eq!(summary(&[f32, f16]), None);
}

/// Reads all that a decoder asks for.
fn read_all(weights: &Weights, config: &Config) {
    let read = |name: &str, shape: &[usize]| drop(weights.tensor(name, shape, &Device::Cpu).unwrap());
    read(EMBEDDING, &[config.vocab_size, config.hidden_size]);
    read("model.norm.weight", &[config.hidden_size]);
    assert_eq!(weights.contains("lm_head.weight"), !config.tied_embeddings);
    for layer in 0..config.layers {
        read(&format!("model.layers.{layer}.input_layernorm.weight"), &[config.hidden_size]);
        read(&format!("model.layers.{layer}.post_attention_layernorm.weight"), &[config.hidden_size]);
        for projection in Projection::ALL {
            let (input, output) = config.projection_size(projection);
            read(&format!("model.layers.{layer}.{}.weight", projection.path()), &[output, input]);
        }
    }
}

fn is_read(file: &str, quantised: &str) {
    let weights = Weights::open(&real_model(file)).unwrap();
    assert_eq!(weights.quantised().unwrap(), quantised);
    read_all(&weights, weights.config());
}

/// Rows of SmolLM2's queries and keys as transformers orders them.
fn rows_are_in_the_known_order() {
    let weights = Weights::open(&real_model("smollm2.gguf")).unwrap();
    let rows =
        |name: &str, n| weights.tensor(name, &[n, 576], &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
    let q = rows("model.layers.0.self_attn.q_proj.weight", 576);
    assert_eq!(q[1][..3], [-0.159_179_69, 0.397_949_22, -0.019_897_461]);
    assert_eq!(q[100][573..], [-0.268_310_55, 0.497_741_7, -0.268_310_55]);
    let k = rows("model.layers.29.self_attn.k_proj.weight", 192);
    assert_eq!(k[1][..3], [0.058_593_75, -0.027_343_75, 0.101_562_5]);
    assert_eq!(k[100][573..], [0.165_161_13, -0.042_602_54, 0.087_249_756]);
}

mod needs_smollm2 {
    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn it_is_read() {
        super::is_read("smollm2.gguf", "Q4_1 (210 tensors), Q8_0 (1), F32 (61)");
    }

    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn rows_of_a_real_llama_are_in_the_known_order() {
        super::rows_are_in_the_known_order();
    }
}

mod needs_models {
    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn they_are_read() {
        let qwen = "Q5_0 (133 tensors), Q8_0 (13), Q4_K (12), Q6_K (12), F32 (121)";
        super::is_read("qwen2.5-coder-0.5b.gguf", qwen);
        let gemma = "Q5_0 (81 tensors), Q4_K (27), Q8_0 (10), Q6_K (9), F32 (109)";
        super::is_read("gemma-3-270m.gguf", gemma);
    }
}
