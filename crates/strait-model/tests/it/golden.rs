//! Every number of the golden files, which PyTorch transformers computed (`scripts/golden`), from strait's own decoder.

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor, Var};
use serde::Deserialize;
use strait_model::{
    Edit, Message, Model, Precision,
    decoder::Packed,
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
    ops::{Gradients, Loss},
    source::{Located, Road},
};

use crate::common::{device, real_model};

#[derive(Deserialize)]
struct Golden {
    steered_layer: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Option<Vec<Message>>,
    rendered: Option<String>,
    text: Option<String>,
    ids: Vec<u32>,
    prompt_tokens: usize,
    last_logits_first64: Vec<f32>,
    last_logits_norm: f64,
    last_argmax: u32,
    argmax_per_token: Vec<u32>,
    residual_norm_per_layer: Vec<f64>,
    residual_mid_last_first16: Vec<f32>,
    response_loss: f64,
    grad_steering: Vec<f32>,
    grad_rank1_b: Vec<f32>,
    steering_added: Vec<f32>,
    kl_base_steered_per_token: Vec<f64>,
    steered_response_loss: f64,
}

fn load(path: &Path) -> Model {
    let located =
        Located { name: path.display().to_string(), path: path.into(), road: Road::Path, revision: None };
    Model::load(&located, &device(), Precision::F32).unwrap_or_else(|e| panic!("{e}; {:?}", e.hint()))
}

/// |found - expected| <= 1e-3 |expected|, as the issue asks; what is found is far nearer as a rule.
#[track_caller]
fn near(what: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-3 * expected.abs(), "{what}: {found} for {expected}");
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// Same direction and length.
#[track_caller]
fn parallel(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let cosine = dot(found, expected) / (norm(found) * norm(expected));
    assert!(cosine > 0.9999, "{what}: cosine {cosine}");
    near(what, norm(found), norm(expected));
}

fn vector(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn last(stream: &Tensor) -> Vec<f32> {
    vector(&stream.get(stream.dim(0).unwrap() - 1).unwrap())
}

/// Mean cross-entropy of the tokens from `prompt_tokens` on, and its gradients.
fn response_loss(model: &Model, case: &Case, edit: Option<&Edit>) -> (f64, Gradients) {
    let decoder = &model.decoder;
    let batch = Packed::new([case.ids.as_slice()]);
    let layers = model.config().layers;
    let stream = decoder.run(decoder.embed(&batch).unwrap(), 0..layers, &batch, edit).unwrap();
    let from = case.prompt_tokens - 1;
    let stream = stream.narrow(0, from, case.ids.len() - 1 - from).unwrap();
    let hidden = decoder.finish(stream, edit).unwrap();
    let targets = &case.ids[case.prompt_tokens..];
    let weights = vec![1.0 / targets.len() as f32; targets.len()];
    let unembedding = decoder.unembedding(None).unwrap();
    let loss = Loss::CrossEntropy(targets);
    let (losses, gradients) = loss.backward(&hidden, &unembedding, &weights).unwrap();
    (losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64, gradients)
}

fn check(path: &Path, golden: &Path) {
    let model = load(path);
    let golden: Golden = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let layer = golden.steered_layer;
    for case in &golden.cases {
        check_tokens(&model, case);
        check_forward(&model, case, layer);
        check_gradients(&model, case, layer);
        check_steered(&model, case, layer);
    }
    println!("{}: {} cases agree", path.display(), golden.cases.len());
}

fn check_tokens(model: &Model, case: &Case) {
    let tokenizer = &model.tokenizer;
    if let (Some(messages), Some(rendered)) = (&case.messages, &case.rendered) {
        let messages = &messages.as_slice().into();
        assert_eq!(&tokenizer.render(messages, false).unwrap(), rendered);
        let chat = tokenizer.encode_chat(messages).unwrap();
        assert_eq!(chat.ids, case.ids);
        assert_eq!(chat.responses.last().unwrap().start, case.prompt_tokens);
        assert_eq!(chat.responses.last().unwrap().end, case.ids.len());
    }
    if let Some(text) = &case.text {
        assert_eq!(tokenizer.encode(text, true).unwrap(), case.ids);
    }
}

fn check_forward(model: &Model, case: &Case, layer: usize) {
    let batch = Packed::new([case.ids.as_slice()]);
    let logits = model.decoder.logits(&batch, None).unwrap();
    let last_logits = last(&logits);
    parallel("logits", &last_logits[..64], &case.last_logits_first64);
    near("norm of the logits", norm(&last_logits), case.last_logits_norm);
    let argmax: Vec<u32> = logits.argmax(1).unwrap().to_vec1().unwrap();
    assert_eq!(argmax, case.argmax_per_token);
    assert_eq!(argmax.last(), Some(&case.last_argmax));

    let mut residuals = model.decoder.residuals(&batch, None).unwrap();
    parallel("residual", &last(&residuals[layer + 1])[..16], &case.residual_mid_last_first16);
    // transformers gives the last one after the final norm.
    let after_norm = model.decoder.finish(residuals.pop().unwrap(), None).unwrap();
    residuals.push(after_norm);
    assert_eq!(residuals.len(), case.residual_norm_per_layer.len());
    for (point, (stream, &expected)) in residuals.iter().zip(&case.residual_norm_per_layer).enumerate() {
        near(&format!("residual norm at point {point}"), norm(&last(stream)), expected);
    }
}

fn check_gradients(model: &Model, case: &Case, layer: usize) {
    let config = model.config();
    let zeros = |shape: &[usize]| Var::zeros(shape, DType::F32, &device()).unwrap();
    let v = zeros(&[config.hidden_size]);
    let b = zeros(&[config.hidden_size, 1]);
    let n = config.intermediate_size;
    let root = (n as f64).sqrt();
    let a: Vec<f32> = (0..n).map(|i| ((-1.0 + 2.0 * i as f64 / (n - 1) as f64) / root) as f32).collect();
    let a = Tensor::from_vec(a, (1, n), &device()).unwrap();
    let adapter = Adapter {
        site: Site::Projection { layer, projection: Projection::Down },
        a,
        b: b.as_tensor().clone(),
    };
    let edit = Edit::Composed(vec![
        Edit::Steering(SteeringVector { layer: layer as i32, vector: v.as_tensor().clone() }),
        Edit::Lora(Lora { adapters: vec![adapter], rank: 1, alpha: 1.0, rslora: false, factor: 1.0 }),
    ]);
    let (loss, gradients) = response_loss(model, case, Some(&edit));
    near("response loss", loss, case.response_loss);
    parallel("gradient of the steering vector", &vector(&gradients.get(&v).unwrap()), &case.grad_steering);
    parallel("gradient of rank-1 B", &vector(&gradients.get(&b).unwrap()), &case.grad_rank1_b);
}

fn check_steered(model: &Model, case: &Case, layer: usize) {
    let vector = Tensor::new(case.steering_added.as_slice(), &device()).unwrap();
    let edit = Edit::Steering(SteeringVector { layer: layer as i32, vector });
    near("steered loss", response_loss(model, case, Some(&edit)).0, case.steered_response_loss);
    let batch = Packed::new([case.ids.as_slice()]);
    let hidden = |edit: Option<&Edit>| {
        let residuals = model.decoder.residuals(&batch, edit).unwrap();
        model.decoder.finish(residuals.last().unwrap().clone(), None).unwrap()
    };
    let unembedding = &model.decoder.unembedding(None).unwrap();
    let kl = Loss::Divergence { base: &hidden(None), unembedding };
    let kl = kl.values(&hidden(Some(&edit)), unembedding).unwrap();
    assert_eq!(kl.len(), case.kl_base_steered_per_token.len());
    for (token, (&found, &expected)) in kl.iter().zip(&case.kl_base_steered_per_token).enumerate() {
        // The golden values are sums in f32 that cancel: they differ from float64 by up to 1e-5, ours by a tenth of it.
        let difference = (found as f64 - expected).abs();
        assert!(difference <= 1e-3 * expected + 2e-5, "KL of token {token}: {found} for {expected}");
    }
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / kl.len() as f64;
    let found = mean(&mut kl.iter().map(|&k| k as f64));
    near("mean KL", found, mean(&mut case.kl_base_steered_per_token.iter().copied()));
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn tiny(name: &str) {
    let folder = tests().join("fixtures/tiny").join(name);
    check(&folder, &folder.join("golden.json"));
}

fn real(name: &str) {
    let golden = tests().join("golden").join(format!("{name}.json"));
    check(&real_model(&format!("{name}.gguf")), &golden);
}

#[test]
fn tiny_llama() {
    tiny("llama");
}

#[test]
fn tiny_llama3_with_scaled_rope_in_shards() {
    tiny("llama3");
}

#[test]
fn tiny_qwen2_in_f16() {
    tiny("qwen2");
}

#[test]
fn tiny_qwen3_in_bf16() {
    tiny("qwen3");
}

#[test]
fn tiny_gemma2() {
    tiny("gemma2");
}

#[test]
fn tiny_gemma3() {
    tiny("gemma3");
}

mod needs_smollm2 {
    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn smollm2() {
        super::real("smollm2");
    }
}

mod needs_models {
    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn qwen2_5_coder() {
        super::real("qwen2.5-coder-0.5b");
    }

    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn gemma_3_270m() {
        super::real("gemma-3-270m");
    }
}
