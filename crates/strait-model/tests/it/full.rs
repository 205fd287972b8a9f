//! Full fine-tunes: what they do to a model, their files, and the folders that transformers loads.

use std::{fs, path::Path};

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::Value;
use strait_model::{
    Config, Decoder, Edit, Error, Model, Precision,
    decoder::{Packed, Piece, first_changed_point},
    edit::{self, Full, Lora, Problem, SteeringVector},
    merged,
    ops::Loss,
    source::{Located, Road},
};

use crate::common::{small_config, small_decoder};

const IDS: [u32; 9] = [1, 5, 22, 5, 7, 0, 3, 9, 14];

fn batch() -> Packed {
    Packed::new([&IDS[..6], &IDS[6..]])
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

pub fn logits(decoder: &Decoder, edit: Option<&Edit>) -> Tensor {
    decoder.logits(&batch(), edit).unwrap()
}

/// A random change of all weights of a decoder.
fn random(decoder: &Decoder, seed: u64) -> Full {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let deltas = decoder.weights().iter().map(|(name, weight)| {
        let numbers: Vec<f32> = (0..weight.elem_count()).map(|_| rng.random_range(-0.1..0.1)).collect();
        (name.clone(), Tensor::from_vec(numbers, weight.dims(), weight.device()).unwrap())
    });
    Full::new(decoder.fingerprint().unwrap().into(), deltas.collect())
}

/// The decoder with other weights, as if it had been built from them.
fn with(decoder: &Decoder, changes: &[&Full]) -> Decoder {
    Decoder::from_tensors(decoder.config().clone(), Precision::F32, |name, _| {
        let (_, weight) = decoder.weights().iter().find(|(own, _)| own == name).unwrap();
        changes.iter().try_fold(weight.tensor()?.detach(), |weight, full| full.added_to(name, &weight))
    })
    .unwrap()
}

/// Without a scale of the embeddings, by which sums round otherwise.
fn config(tied: bool) -> Config {
    Config { embedding_scale: 1.0, ..small_config(tied) }
}

#[track_caller]
fn near(found: &Tensor, expected: &Tensor) {
    let difference = (found - expected).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f32>().unwrap() < 1e-5, "{difference}");
}

#[test]
fn the_model_is_the_one_with_other_weights() {
    for tied in [true, false] {
        let (decoder, _) = small_decoder(&config(tied));
        let (one, two) = (random(&decoder, 1), random(&decoder, 2));
        assert_ne!(bits(&logits(&decoder, None)), bits(&logits(&with(&decoder, &[&one]), None)));
        let both = Edit::composed([Edit::Full(one.clone()), Edit::Full(two.clone())]);
        for (edit, changes) in [(Edit::Full(one.clone()), vec![&one]), (both, vec![&one, &two])] {
            assert_eq!(first_changed_point(&edit, 2), 0);
            let expected = with(&decoder, &changes);
            // Twice, since what was made at first is kept.
            for _ in 0..2 {
                assert_eq!(bits(&logits(&decoder, Some(&edit))), bits(&logits(&expected, None)));
            }
            let residuals = |decoder: &Decoder, edit| {
                let all = decoder.residuals(&batch(), edit).unwrap();
                all.iter().map(bits).collect::<Vec<_>>()
            };
            assert_eq!(residuals(&decoder, Some(&edit)), residuals(&expected, None));
        }
        // The model itself is as it was.
        assert_eq!(bits(&logits(&decoder, None)), bits(&logits(&with(&decoder, &[]), None)));
    }
}

#[test]
fn a_scaled_table_of_embeddings_is_changed_too() {
    let (decoder, _) = small_decoder(&small_config(true));
    let full = random(&decoder, 1);
    near(&logits(&decoder, Some(&Edit::Full(full.clone()))), &logits(&with(&decoder, &[&full]), None));
}

#[test]
fn scales_as_factors_of_the_change() {
    let (decoder, _) = small_decoder(&config(false));
    let full = Edit::Full(random(&decoder, 1));
    assert_eq!(bits(&logits(&decoder, Some(&full.scaled(0.0).unwrap()))), bits(&logits(&decoder, None)));
    let half = full.scaled(0.5).unwrap();
    let twice = full.scaled(2.0).unwrap();
    assert_eq!(
        bits(&logits(&decoder, Some(&half.scaled(2.0).unwrap()))),
        bits(&logits(&decoder, Some(&full)))
    );
    assert_ne!(bits(&logits(&decoder, Some(&twice))), bits(&logits(&decoder, Some(&full))));
    assert!((twice.norm().unwrap() - 2.0 * full.norm().unwrap()).abs() < 1e-9);
    assert!((full.scaled(-3.0).unwrap().cosine(&full).unwrap() + 1.0).abs() < 1e-12);
    let squares: f64 = full
        .tensors()
        .iter()
        .map(|(_, delta)| {
            let numbers = delta.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            numbers.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>()
        })
        .sum();
    assert!((full.norm().unwrap() - squares.sqrt()).abs() < 1e-9);
    assert!((full.dot(&full).unwrap().unwrap() - squares).abs() < 1e-9);
    assert!(full.scaled(0.0).unwrap().changes_nothing().unwrap() && !full.changes_nothing().unwrap());
}

#[test]
fn other_edits_act_on_the_changed_model() {
    let (decoder, _) = small_decoder(&config(false));
    let full = random(&decoder, 1);
    let steering = |layer| {
        let vector = Tensor::new(vec![0.3f32; 12], &Device::Cpu).unwrap();
        Edit::Steering(SteeringVector { layer, vector })
    };
    let changed = with(&decoder, &[&full]);
    for other in [steering(-1), steering(0), steering(1)] {
        let expected = bits(&logits(&changed, Some(&other)));
        for parts in [[Edit::Full(full.clone()), other.clone()], [other, Edit::Full(full.clone())]] {
            assert_eq!(bits(&logits(&decoder, Some(&Edit::composed(parts)))), expected);
        }
    }
    let empty = Edit::Lora(Lora { adapters: vec![], rank: 1, alpha: 1.0, rslora: false, factor: 1.0 });
    let both = Edit::composed([empty, Edit::Full(full)]);
    assert_eq!(bits(&logits(&decoder, Some(&both))), bits(&logits(&changed, None)));
}

#[test]
fn cached_decoding_and_losses_are_those_of_the_changed_model() {
    let (decoder, _) = small_decoder(&config(true));
    let full = random(&decoder, 1);
    let (changed, edit) = (with(&decoder, &[&full]), Edit::Full(full));
    let stepwise = |decoder: &Decoder, edit: Option<&Edit>| {
        let mut cache = decoder.cache().unwrap();
        let sequence = cache.begin();
        let mut seen = Vec::new();
        for id in &IDS {
            let piece = Piece { sequence, ids: std::slice::from_ref(id), edit };
            let logits = decoder.extend(&mut cache, &[piece]).unwrap().concat();
            seen.extend(logits.into_iter().map(f32::to_bits));
        }
        seen
    };
    assert_eq!(stepwise(&decoder, Some(&edit)), stepwise(&changed, None));
    let hidden = |decoder: &Decoder, edit: Option<&Edit>| {
        let stream = decoder.run(decoder.embed(&batch()).unwrap(), 0..2, &batch(), edit).unwrap();
        (decoder.finish(stream, edit).unwrap(), decoder.unembedding(edit).unwrap())
    };
    let (base, unembedding) = hidden(&decoder, None);
    let loss = Loss::Divergence { base: &base, unembedding: &unembedding };
    let kl = |(hidden, unembedding)| loss.values(&hidden, &unembedding).unwrap();
    assert_eq!(kl(hidden(&decoder, Some(&edit))), kl(hidden(&changed, None)));
    assert!(kl(hidden(&decoder, Some(&edit))).iter().all(|&kl| kl > 0.0));
    assert!(kl(hidden(&decoder, None)).iter().all(|&kl| kl.abs() < 1e-6));
}

#[test]
fn a_file_keeps_every_bit_and_says_which_weights_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, again) = (folder.path().join("edit.safetensors"), folder.path().join("again.safetensors"));
    let (decoder, _) = small_decoder(&config(false));
    let full = Edit::Full(random(&decoder, 1)).scaled(0.3).unwrap();
    full.save(&path).unwrap();
    let opened = edit::read(path.to_str().unwrap()).unwrap();
    decoder.check(&opened).unwrap();
    assert_eq!(bits(&logits(&decoder, Some(&opened.edit))), bits(&logits(&decoder, Some(&full))));
    opened.edit.save(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());

    let summary = opened.edit.summary().unwrap();
    assert_eq!(summary.parameters, decoder.config().parameters());
    assert_eq!(summary.layers, [-1, 0, 1]);
    assert_eq!(summary.sites.len(), decoder.weights().len());
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(
        (&json["kind"], &json["sites"][0]["site"]),
        (&"full".into(), &"model.embed_tokens.weight".into())
    );
    let composed = Edit::composed([full.clone(), full.clone()]);
    composed.save(&path).unwrap();
    let found = edit::open(path.to_str().unwrap()).unwrap();
    assert_eq!(bits(&logits(&decoder, Some(&found))), bits(&logits(&decoder, Some(&composed))));
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Input { problem, .. } => *(problem as Box<dyn std::error::Error>).downcast().unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn the_change_of_another_model_is_refused() {
    let (decoder, vars) = small_decoder(&config(false));
    let full = Edit::Full(random(&decoder, 1));
    // One number of the model is another.
    let other = vars["model.norm.weight"].as_detached_tensor();
    let shifted = Decoder::from_tensors(config(false), Precision::F32, |name, _| {
        let weight = vars[name].as_detached_tensor();
        Ok(if name == "model.norm.weight" { (other.clone() * 1.0001)? } else { weight })
    })
    .unwrap();
    assert!(matches!(problem(shifted.logits(&batch(), Some(&full)).unwrap_err()), Problem::OtherBase));
    // Models of other shapes and other weights are told apart by their configs alone.
    let of = |tied: bool| small_decoder(&config(tied)).0;
    let missing = Edit::Full(random(&of(true), 1)).check(&config(false)).unwrap_err();
    assert!(matches!(problem(missing), Problem::DeltaMissing { tensor } if tensor == "lm_head.weight"));
    let unknown = full.check(&config(true)).unwrap_err();
    assert!(matches!(problem(unknown), Problem::DeltaUnknown { tensor } if tensor == "lm_head.weight"));
    let wider = Config { intermediate_size: 11, ..config(false) };
    assert!(matches!(problem(full.check(&wider).unwrap_err()), Problem::Size { .. }));
    full.check(&config(false)).unwrap();
}

#[derive(Deserialize)]
struct Golden {
    /// The fingerprint of the model's weights.
    base: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    ids: Vec<u32>,
    factor: f64,
    /// Logits at the last position, with `factor` times the change in the weights.
    logits: Vec<f32>,
}

pub fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn located(path: &Path) -> Located {
    Located { name: path.display().to_string(), path: path.into(), road: Road::Path, revision: None }
}

#[track_caller]
fn check(model: &Model, edit: Option<&Edit>, case: &Case) {
    let packed = Packed::new([case.ids.as_slice()]);
    let logits = model.decoder.logits(&packed, edit).unwrap();
    let last: Vec<f32> = logits.get(case.ids.len() - 1).unwrap().to_vec1().unwrap();
    assert_eq!(last.len(), case.logits.len());
    for (found, expected) in last.iter().zip(&case.logits) {
        assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
    }
}

/// `scripts/golden/full.py` put the same change into the weights of transformers' model.
#[test]
fn transformers_computes_the_same_logits() {
    for name in ["llama", "qwen2"] {
        let base = located(&fixtures().join("tiny").join(name));
        let model = Model::load(&base, &Device::Cpu, Precision::F32).unwrap();
        let at = |end: &str| fixtures().join("edit/full").join(format!("{name}{end}"));
        let golden: Golden = serde_json::from_slice(&fs::read(at(".json")).unwrap()).unwrap();
        assert_eq!(model.decoder.fingerprint().unwrap(), golden.base);
        let folder = tempfile::tempdir().unwrap();
        for (number, case) in golden.cases.iter().enumerate() {
            let opened = edit::read(&format!("{}*{}", at(".safetensors").display(), case.factor)).unwrap();
            model.decoder.check(&opened).unwrap();
            check(&model, Some(&opened.edit), case);
            let whole = folder.path().join(number.to_string());
            merged::write(&opened, &base, &whole).unwrap();
            let again = Model::load(&located(&whole), &Device::Cpu, Precision::F32).unwrap();
            check(&again, None, case);
            let changed = model.decoder.changed_tensors(&opened.edit).unwrap();
            for ((name, found), (_, expected)) in again.decoder.weights().iter().zip(changed) {
                assert_eq!(bits(&found.tensor().unwrap()), bits(&expected), "{name}");
            }
        }
    }
}

#[test]
fn a_whole_model_carries_what_its_base_has() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["llama3", "qwen3", "gemma2", "gemma3"] {
        let base = located(&fixtures().join("tiny").join(name));
        let model = Model::load(&base, &Device::Cpu, Precision::F32).unwrap();
        let file = folder.path().join("edit.safetensors");
        Edit::Full(random(&model.decoder, 1)).save(&file).unwrap();
        let opened = edit::read(file.to_str().unwrap()).unwrap();
        let whole = folder.path().join(name);
        merged::write(&opened, &base, &whole).unwrap();
        let again = Model::load(&located(&whole), &Device::Cpu, Precision::F32).unwrap();
        near(&logits(&again.decoder, None), &logits(&model.decoder, Some(&opened.edit)));
        for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            assert_eq!(fs::read(whole.join(file)).unwrap(), fs::read(base.path.join(file)).unwrap());
        }
        let config: Value = serde_json::from_slice(&fs::read(whole.join("config.json")).unwrap()).unwrap();
        let dtypes = [&config["torch_dtype"], &config["dtype"]];
        assert!(dtypes.iter().any(|dtype| **dtype == "float32"), "{config}");
        assert!(dtypes.iter().all(|dtype| dtype.is_null() || **dtype == "float32"), "{config}");
        // A folder in which something lies is left alone.
        assert!(merged::write(&opened, &base, &whole).is_err());
    }
    let file = folder.path().join("vector.safetensors");
    let vector = Tensor::zeros(32, DType::F32, &Device::Cpu).unwrap();
    Edit::Steering(SteeringVector { layer: 0, vector }).save(&file).unwrap();
    let opened = edit::read(file.to_str().unwrap()).unwrap();
    let base = located(&fixtures().join("tiny/llama"));
    let refused = merged::write(&opened, &base, &folder.path().join("no")).unwrap_err();
    assert!(matches!(crate::common::problem_of(refused), merged::Problem::Steering));
}
