//! Configs from `config.json` and from GGUF metadata: each architecture, what is filled in, and what is refused.

use serde_json::{Value as Json, json};
use strait_model::{
    Config, Gguf, Result,
    config::{
        Activation, Architecture,
        LayerKind::{self, Full, Sliding},
        Rope, RopeScaling,
    },
    edit::Projection,
    gguf::{Array, Value},
};

use crate::common::{File, real_model};

fn hf(text: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    Config::from_hf(&path)
}

/// `base` with the keys of `changes`; a change to `"absent"` takes the key away.
fn with(base: Json, changes: Json) -> String {
    let (Json::Object(mut keys), Json::Object(changes)) = (base, changes) else { panic!("objects") };
    for (key, value) in changes {
        if value == "absent" {
            keys.remove(&key);
        } else {
            keys.insert(key, value);
        }
    }
    Json::Object(keys).to_string()
}

fn llama() -> Json {
    json!({
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_act": "silu",
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000, "rope_scaling": null,
        "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false, "head_dim": null
    })
}

fn qwen2() -> Json {
    json!({
        "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 4, "num_attention_heads": 14, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "use_sliding_window": false, "sliding_window": 2,
        "max_window_layers": 3, "tie_word_embeddings": true
    })
}

fn rope(base: f64) -> Rope {
    Rope { base, scaling: RopeScaling::None }
}

fn smollm2() -> Config {
    Config {
        architecture: Architecture::Llama,
        layers: 30,
        hidden_size: 576,
        intermediate_size: 1536,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        vocab_size: 49152,
        context_length: 8192,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        qkv_bias: false,
        qk_norm: false,
        post_norms: false,
        embedding_scale: 1.0,
        attention_scale: 0.125,
        attention_softcap: None,
        logit_softcap: None,
        rope: rope(100_000.0),
        local_rope: None,
        layer_kinds: vec![Full; 30],
        sliding_window: None,
        tied_embeddings: true,
    }
}

#[test]
fn llama_is_read_and_filled_in() {
    assert_eq!(hf(&llama().to_string()).unwrap(), smollm2());

    let absent = json!({
        "num_key_value_heads": "absent", "max_position_embeddings": "absent", "rms_norm_eps": "absent",
        "rope_theta": "absent", "tie_word_embeddings": "absent", "hidden_act": "absent"
    });
    let expected = Config {
        kv_heads: 9,
        context_length: 2048,
        norm_eps: 1e-6,
        rope: rope(10_000.0),
        tied_embeddings: false,
        ..smollm2()
    };
    assert_eq!(hf(&with(llama(), absent)).unwrap(), expected);
}

#[test]
fn rope_scaling_is_read_under_old_and_new_keys() {
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192.0,
    };
    let scaling = |changes| hf(&with(llama(), changes)).unwrap().rope;
    let mut keys = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1, "high_freq_factor": 4,
        "original_max_position_embeddings": 8192
    });
    assert_eq!(scaling(json!({ "rope_scaling": keys })).scaling, llama3);
    keys["rope_theta"] = json!(5e5);
    let found = scaling(json!({ "rope_parameters": keys, "rope_theta": "absent" }));
    assert_eq!(found, Rope { base: 5e5, scaling: llama3 });
    let linear = json!({ "rope_scaling": { "type": "linear", "factor": 2 } });
    assert_eq!(scaling(linear).scaling, RopeScaling::Linear { factor: 2.0 });
    let default = json!({ "rope_scaling": { "rope_type": "default" } });
    assert_eq!(scaling(default).scaling, RopeScaling::None);
}

#[test]
fn qwen2_has_biases_and_windows_only_where_they_are_in_use() {
    let config = hf(&qwen2().to_string()).unwrap();
    assert!(config.qkv_bias && !config.qk_norm && config.tied_embeddings);
    assert_eq!((config.head_dim, config.context_length), (64, 32_768));
    assert_eq!((config.layer_kinds, config.sliding_window), (vec![Full; 4], None));

    let windows = |changes| {
        let config = hf(&with(qwen2(), changes)).unwrap();
        (config.layer_kinds, config.sliding_window)
    };
    let expected = (vec![Full, Full, Full, Sliding], Some(2));
    assert_eq!(windows(json!({ "use_sliding_window": true })), expected);
    let absent =
        json!({ "use_sliding_window": true, "sliding_window": "absent", "max_window_layers": "absent" });
    assert_eq!(windows(absent), (vec![Full; 4], Some(4096)));
    let none = json!({ "use_sliding_window": true, "sliding_window": null });
    assert_eq!(windows(none), (vec![Full; 4], None));
    let types = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"];
    let listed = json!({ "use_sliding_window": true, "layer_types": types });
    assert_eq!(windows(listed), (vec![Sliding, Full, Full, Sliding], Some(2)));
}

#[test]
fn qwen3_has_head_norms_and_heads_of_128() {
    let config = hf(&with(qwen2(), json!({ "model_type": "qwen3", "head_dim": "absent" }))).unwrap();
    assert!(config.qk_norm && !config.qkv_bias);
    assert_eq!((config.head_dim, config.attention_scale), (128, 128f64.powf(-0.5)));
    assert_eq!(config.projection_size(Projection::Q), (896, 14 * 128));
    assert_eq!(config.projection_size(Projection::V), (896, 2 * 128));
    assert_eq!(config.projection_size(Projection::O), (14 * 128, 896));
    assert_eq!(config.projection_size(Projection::Up), (896, 4864));
    assert_eq!(config.projection_size(Projection::Down), (4864, 896));
}

#[test]
fn gemma2_is_filled_in_as_transformers_does() {
    let config = hf(r#"{"model_type": "gemma2"}"#).unwrap();
    let expected = Config {
        architecture: Architecture::Gemma2,
        layers: 26,
        hidden_size: 2304,
        intermediate_size: 9216,
        heads: 8,
        kv_heads: 4,
        head_dim: 256,
        vocab_size: 256_000,
        context_length: 8192,
        norm_eps: 1e-6,
        activation: Activation::GeluTanh,
        qkv_bias: false,
        qk_norm: false,
        post_norms: true,
        embedding_scale: 48.0,
        attention_scale: 1.0 / 16.0,
        attention_softcap: Some(50.0),
        logit_softcap: Some(30.0),
        rope: rope(10_000.0),
        local_rope: None,
        layer_kinds: [Sliding, Full].repeat(13),
        sliding_window: Some(4096),
        tied_embeddings: true,
    };
    assert_eq!(config, expected);

    let changes = json!({
        "query_pre_attn_scalar": 144, "attn_logit_softcapping": null, "final_logit_softcapping": 20,
        "num_hidden_layers": 3
    });
    let config = hf(&with(json!({ "model_type": "gemma2" }), changes)).unwrap();
    assert_eq!(config.attention_scale, 1.0 / 12.0);
    assert_eq!((config.attention_softcap, config.logit_softcap), (None, Some(20.0)));
    assert_eq!(config.layer_kinds, [Sliding, Full, Sliding]);
}

/// The text part of the published 4B model's config, which leaves most to the defaults.
fn gemma3_4b() -> Json {
    json!({
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": { "factor": 8.0, "rope_type": "linear" }, "sliding_window": 1024
    })
}

#[test]
fn gemma3_is_read_with_and_without_eyes() {
    let text = hf(&gemma3_4b().to_string()).unwrap();
    assert_eq!((text.heads, text.kv_heads, text.head_dim, text.vocab_size), (8, 4, 256, 262_208));
    assert_eq!((text.attention_softcap, text.logit_softcap), (None, None));
    assert_eq!(text.rope, Rope { base: 1e6, scaling: RopeScaling::Linear { factor: 8.0 } });
    assert_eq!(text.local_rope, Some(rope(10_000.0)));
    assert_eq!(text.layer_kinds[..7], [Sliding, Sliding, Sliding, Sliding, Sliding, Full, Sliding]);
    assert_eq!((text.sliding_window, text.tied_embeddings), (Some(1024), true));
    assert!(text.qk_norm && text.post_norms);

    let multimodal = json!({ "model_type": "gemma3", "text_config": gemma3_4b(), "vision_config": {} });
    assert_eq!(hf(&multimodal.to_string()).unwrap(), text);

    let parameters = json!({
        "rope_scaling": "absent",
        "rope_parameters": {
            "full_attention": { "rope_type": "linear", "factor": 8.0, "rope_theta": 1e6 },
            "sliding_attention": { "rope_type": "default", "rope_theta": 1e4 }
        }
    });
    assert_eq!(hf(&with(gemma3_4b(), parameters)).unwrap(), text);
}

#[test]
fn what_is_not_computed_or_not_possible_is_refused() {
    let check = |base: Json, changes: Json, message: &str| {
        let error = hf(&with(base, changes)).expect_err(message);
        let found = error.to_string();
        assert!(found.ends_with(&format!("config.json`: {message}")), "{found}");
        assert!(error.hint().is_some());
    };
    check(llama(), json!({ "model_type": "absent" }), "the key `model_type` is missing");
    check(
        llama(),
        json!({ "model_type": "mixtral" }),
        "`model_type` is `mixtral`, which is not supported (supported: llama, qwen2, qwen3, gemma2, gemma3, gemma3_text)",
    );
    check(llama(), json!({ "hidden_size": "absent" }), "the key `hidden_size` is missing");
    check(llama(), json!({ "attention_bias": true }), "`attention_bias` is true, which is not supported");
    check(llama(), json!({ "mlp_bias": true }), "`mlp_bias` is true, which is not supported");
    check(llama(), json!({ "hidden_act": "relu" }), "`hidden_act` is `relu`, which is not supported");
    check(
        llama(),
        json!({ "rope_scaling": { "rope_type": "yarn", "factor": 4.0 } }),
        "`rope_scaling.rope_type` is `yarn`, which is not supported",
    );
    check(
        qwen2(),
        json!({ "rope_scaling": { "type": "dynamic", "factor": 4.0 } }),
        "`rope_scaling.rope_type` is `dynamic`, which is not supported",
    );
    check(
        llama(),
        json!({ "rope_scaling": { "factor": 4.0 } }),
        "the key `rope_scaling.rope_type` is missing",
    );
    check(
        llama(),
        json!({ "rope_scaling": { "rope_type": "llama3", "factor": 4.0 } }),
        "the key `rope_scaling.low_freq_factor` is missing",
    );
    check(
        llama(),
        json!({ "rope_scaling": { "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 4.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 10 } }),
        "`low_freq_factor` is 4 and `high_freq_factor` 4, but the former should be the smaller",
    );
    check(
        llama(),
        json!({ "partial_rotary_factor": 0.5 }),
        "`partial_rotary_factor` is 0.5, which is not supported",
    );
    check(
        llama(),
        json!({ "quantization_config": { "quant_method": "gptq" } }),
        "`quantization_config.quant_method` is gptq, which is not supported",
    );
    check(
        qwen2(),
        json!({ "final_logit_softcapping": 30.0 }),
        "`final_logit_softcapping` is 30, which is not supported",
    );
    check(
        gemma3_4b(),
        json!({ "attn_logit_softcapping": 50.0 }),
        "`attn_logit_softcapping` is 50, which is not supported",
    );
    check(
        gemma3_4b(),
        json!({ "use_bidirectional_attention": true }),
        "`use_bidirectional_attention` is true, which is not supported",
    );
    check(
        qwen2(),
        json!({ "layer_types": ["full_attention", "linear_attention"] }),
        "`layer_types` is `linear_attention`, which is not supported",
    );
    check(
        qwen2(),
        json!({ "layer_types": ["full_attention"] }),
        "the list of layer types has 1 entries, but the model needs 4",
    );
    check(
        gemma3_4b(),
        json!({ "sliding_window": null }),
        "some layers attend within a sliding window, but the window's size is not given",
    );
    check(llama(), json!({ "hidden_size": 0 }), "the hidden size is 0, which is not from 1 to 1048576");
    check(
        llama(),
        json!({ "num_hidden_layers": 1u64 << 60 }),
        "`num_hidden_layers` is 1152921504606846976, which is not from 1 to 1024",
    );
    check(
        llama(),
        json!({ "num_attention_heads": 0 }),
        "the number of attention heads is 0, which is not from 1 to 1048576",
    );
    check(
        llama(),
        json!({ "num_key_value_heads": 2 }),
        "9 attention heads cannot be shared evenly among 2 key-value heads",
    );
    check(
        llama(),
        json!({ "head_dim": 63 }),
        "the size of a head is 63, an odd number, so it has no rotary pairs",
    );
    check(llama(), json!({ "rms_norm_eps": -1.0 }), "the epsilon of the norms is -1, not a positive number");
    check(
        llama(),
        json!({ "rope_scaling": { "type": "linear", "factor": 0.0 } }),
        "the factor of the rope scaling is 0, not a positive number",
    );
}

#[test]
fn broken_files_are_refused_with_their_place() {
    let check = |text: &str, message: &str| {
        let found = hf(text).unwrap_err().to_string();
        assert!(found.contains(message), "{found}");
    };
    check("", "the file is empty");
    check("{\"model_type\": \"llama\",\n \"hidden_size\": \"576\"}", "at line 2 column 21");
    check("{\"model_type\": \"llama\",\n \"hidden_size\": -1}", "invalid value: integer `-1`");
    check("[]", "cannot be read as a model's config");
    check(&" ".repeat((1 << 20) + 1), "it is longer than 1048576 bytes");
    let nowhere = Config::from_hf("nowhere/config.json".as_ref()).unwrap_err();
    assert!(nowhere.to_string().starts_with("`nowhere/config.json`: cannot open the file"), "{nowhere}");
}

/// Frequencies as transformers computes them.
#[test]
fn frequencies_agree_with_transformers() {
    let check = |rope: Rope, head_dim: usize, known: &[(usize, f32)]| {
        let found = rope.inverse_frequencies(head_dim);
        assert_eq!(found.len(), head_dim / 2);
        for &(pair, expected) in known {
            let error = (found[pair] / expected - 1.0).abs();
            assert!(error < 3e-7, "pair {pair}: {} instead of {expected}", found[pair]);
        }
    };
    check(rope(1e4), 8, &[(0, 1.0), (1, 0.1), (3, 1e-3)]);
    let linear = Rope { base: 1e6, scaling: RopeScaling::Linear { factor: 8.0 } };
    check(linear, 16, &[(0, 0.125), (1, 0.022_228_492), (7, 7.029_267e-7)]);
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192.0,
    };
    let known = [
        (0, 1.0),
        (14, 3.211_446e-3), // the last that is kept
        (15, 1.371_893_7e-3),
        (16, 5.248_46e-4),
        (17, 1.785_077_9e-4),
        (18, 7.784_655_5e-5), // the first that is divided by 8
        (31, 3.767_322_6e-7),
    ];
    check(Rope { base: 5e5, scaling: llama3 }, 64, &known);
    let factors = Rope { base: 1e4, scaling: RopeScaling::Factors(vec![1.0, 2.0, 4.0, 8.0]) };
    check(factors, 8, &[(0, 1.0), (1, 0.05), (2, 0.0025), (3, 1.25e-4)]);
}

/// Metadata such as the usual converter writes for a small model.
fn metadata(name: &str) -> File {
    let key = |key: &str| format!("{name}.{key}");
    File::new()
        .text("general.architecture", name)
        .number(&key("block_count"), 8)
        .number(&key("context_length"), 512)
        .number(&key("embedding_length"), 64)
        .number(&key("feed_forward_length"), 128)
        .number(&key("attention.head_count"), 4)
        .number(&key("attention.head_count_kv"), 2)
        .float(&key("attention.layer_norm_rms_epsilon"), 0.5)
        .floats("token_embd.weight", &[300, 1], &[0.0; 300])
}

fn gguf(file: &File) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = file.save(&folder);
    Config::from_gguf(&path, &Gguf::open(&path)?)
}

#[test]
fn gguf_metadata_of_llama_and_qwen_are_read() {
    let llama = gguf(&metadata("llama")).unwrap();
    let expected = Config {
        architecture: Architecture::Llama,
        layers: 8,
        hidden_size: 64,
        intermediate_size: 128,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        vocab_size: 300,
        context_length: 512,
        norm_eps: 0.5,
        attention_scale: 0.25,
        rope: rope(10_000.0),
        layer_kinds: vec![Full; 8],
        ..smollm2()
    };
    assert_eq!(llama, expected);

    let more = metadata("llama")
        .number("llama.vocab_size", 299)
        .number("llama.rope.dimension_count", 32)
        .float("llama.rope.freq_base", 5e5)
        .floats("output.weight", &[1], &[0.0])
        .floats("rope_freqs.weight", &[16], &[2.0; 16]);
    let more = gguf(&more).unwrap();
    assert_eq!((more.vocab_size, more.head_dim, more.tied_embeddings), (299, 32, false));
    assert_eq!(more.rope, Rope { base: 5e5, scaling: RopeScaling::Factors(vec![2.0; 16]) });

    let qwen2 = gguf(&metadata("qwen2").floats("blk.0.attn_q.bias", &[1], &[0.0])).unwrap();
    assert!(qwen2.qkv_bias && !qwen2.qk_norm);
    let qwen3 = gguf(&metadata("qwen3").number("qwen3.attention.key_length", 48)).unwrap();
    assert!(qwen3.qk_norm && !qwen3.qkv_bias);
    assert_eq!(qwen3.head_dim, 48);
}

#[test]
fn gguf_rope_scaling_is_read() {
    let scaling = |file: File| gguf(&file).unwrap().rope.scaling;
    let linear = RopeScaling::Linear { factor: 4.0 };
    let factor = || metadata("llama").float("llama.rope.scaling.factor", 4.0);
    assert_eq!(scaling(factor()), linear);
    assert_eq!(scaling(factor().text("llama.rope.scaling.type", "linear")), linear);
    assert_eq!(scaling(factor().text("llama.rope.scaling.type", "none")), RopeScaling::None);
    assert_eq!(scaling(metadata("llama").float("llama.rope.scale_linear", 4.0)), linear);
    assert_eq!(scaling(metadata("llama").float("llama.rope.scaling.factor", 0.0)), RopeScaling::None);
}

#[test]
fn gguf_metadata_of_gemma_are_read() {
    let gemma2 = gguf(&metadata("gemma2")).unwrap();
    assert_eq!((gemma2.attention_softcap, gemma2.logit_softcap), (Some(50.0), Some(30.0)));
    assert_eq!((gemma2.embedding_scale, gemma2.activation), (8.0, Activation::GeluTanh));
    assert_eq!((gemma2.layer_kinds, gemma2.sliding_window), ([Sliding, Full].repeat(4), Some(4096)));
    assert!(gemma2.post_norms && !gemma2.qk_norm && gemma2.local_rope.is_none());

    let window = "gemma3.attention.sliding_window";
    let gemma3 = gguf(&metadata("gemma3").number(window, 9)).unwrap();
    assert_eq!((gemma3.attention_softcap, gemma3.logit_softcap), (None, None));
    assert_eq!((gemma3.rope.base, gemma3.local_rope), (1e6, Some(rope(10_000.0))));
    let kinds = |period: usize| -> Vec<LayerKind> {
        (1..=8).map(|i| if i % period == 0 { Full } else { Sliding }).collect()
    };
    assert_eq!((gemma3.layer_kinds, gemma3.sliding_window), (kinds(6), Some(9)));
    assert!(gemma3.post_norms && gemma3.qk_norm);

    let pattern = "gemma3.attention.sliding_window_pattern";
    let of_period = metadata("gemma3").number(window, 9).number(pattern, 3);
    assert_eq!(gguf(&of_period).unwrap().layer_kinds, kinds(3));
    let slides = kinds(5).iter().map(|&kind| kind == Sliding).collect();
    let listed = metadata("gemma3").number(window, 9).with(pattern, Value::Array(Array::Boolean(slides)));
    assert_eq!(gguf(&listed).unwrap().layer_kinds, kinds(5));
}

/// llama.cpp gives the 27B models, known by their layers, another attention scale.
#[test]
fn the_largest_gemmas_scale_the_attention_by_the_hidden_size() {
    let with_layers = |layers: u64| {
        let mut file = metadata("gemma2").number("gemma2.attention.key_length", 64);
        file.entries.retain(|entry| entry.key != "gemma2.block_count");
        gguf(&file.number("gemma2.block_count", layers)).unwrap().attention_scale
    };
    assert_eq!(with_layers(42), 1.0 / 8.0);
    assert_eq!(with_layers(46), 1.0 / 4.0);
}

#[test]
fn gguf_models_that_are_not_computed_are_refused() {
    let check = |file: File, message: &str| {
        let found = gguf(&file).expect_err(message).to_string();
        assert!(found.ends_with(&format!("model.gguf`: {message}")), "{found}");
    };
    let without = |key: &str| {
        let mut file = metadata("llama");
        file.entries.retain(|entry| entry.key != key);
        file
    };
    check(File::new(), "the key `general.architecture` is missing");
    check(
        metadata("phi3"),
        "`general.architecture` is `phi3`, which is not supported (supported: llama, qwen2, qwen3, gemma2, gemma3)",
    );
    check(without("llama.block_count"), "the key `llama.block_count` is missing");
    check(
        without("llama.block_count").with("llama.block_count", Value::Signed(-1)),
        "`llama.block_count` is -1, which is not from 1 to 4294967295",
    );
    check(
        without("llama.block_count").text("llama.block_count", "8"),
        "the value of `llama.block_count` should be an integer below 2^63 and is a text",
    );
    check(metadata("gemma3"), "the key `gemma3.attention.sliding_window` is missing");
    check(
        metadata("llama").number("llama.expert_count", 8),
        "`llama.expert_count` is 8, which is not supported",
    );
    check(
        metadata("llama").text("llama.rope.scaling.type", "yarn"),
        "`llama.rope.scaling.type` is `yarn`, which is not supported",
    );
    check(
        metadata("llama").number("llama.attention.key_length", 16).number("llama.rope.dimension_count", 8),
        "`llama.rope.dimension_count` is 8 while a head's size is 16, which is not supported",
    );
    check(
        metadata("llama").floats("blk.0.attn_q.bias", &[1], &[0.0]),
        "the tensor `blk.0.attn_q.bias` has a part in this model that is not supported",
    );
    check(
        metadata("llama").floats("rope_freqs.weight", &[4], &[1.0; 4]),
        "the tensor of rope factors has 4 entries, but the model needs 8",
    );
    check(
        metadata("llama").floats("rope_freqs.weight", &[8], &[0.0; 8]),
        "a rope factor is 0, not a positive number",
    );
}

fn read(file: &str) -> Config {
    let path = real_model(file);
    Config::from_gguf(&path, &Gguf::open(&path).unwrap()).unwrap()
}

mod needs_smollm2 {
    use super::*;

    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn it_is_read() {
        let expected = Config { norm_eps: f64::from(1e-5f32), ..smollm2() };
        assert_eq!(read("smollm2.gguf"), expected);
    }
}

mod needs_models {
    use super::*;

    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn they_are_read() {
        let found = read("qwen2.5-coder-0.5b.gguf");
        let sizes = (found.layers, found.hidden_size, found.heads, found.kv_heads, found.head_dim);
        assert_eq!(sizes, (24, 896, 14, 2, 64));
        assert_eq!((found.vocab_size, found.rope.base), (151_936, 1e6));
        assert!(found.qkv_bias && !found.tied_embeddings);

        let found = read("gemma-3-270m.gguf");
        let sizes = (found.layers, found.hidden_size, found.heads, found.kv_heads, found.head_dim);
        assert_eq!(sizes, (18, 640, 4, 1, 256));
        assert_eq!((found.vocab_size, found.sliding_window), (262_144, Some(512)));
        let full: Vec<_> = (0..18).filter(|&i| found.layer_kinds[i] == Full).collect();
        assert_eq!(full, [5, 11, 17]);
        assert!(found.tied_embeddings);
    }
}
