//! The effects of edits where they act: on the embeddings, after blocks, and one behind the other.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use strait_model::{
    Config, Decoder, Edit, Precision,
    decoder::{Packed, first_changed_point},
    edit::{Ablation, Adapter, Lora, Projection, Site, SteeringVector},
    ops::Loss,
};

use crate::common::{mean_cross_entropy, small_config, small_decoder};

const IDS: [u32; 9] = [1, 5, 22, 5, 7, 0, 3, 9, 14];

fn batch() -> Packed {
    Packed::new([&IDS[..6], &IDS[6..]])
}

/// Numbers that look random and are the same everywhere.
fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|i| ((i * 37 + seed * 101) % 64) as f32 / 64.0 - 0.5);
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape(shape).unwrap()
}

fn on_embeddings(config: &Config, a: Tensor, b: Tensor) -> Lora {
    assert_eq!(Site::Embeddings.size(config), (a.dims()[1], b.dims()[0]));
    let adapters = vec![Adapter { site: Site::Embeddings, a, b }];
    Lora { adapters, rank: 2, alpha: 3.0, rslora: false, factor: 1.0 }
}

fn steering(layer: i32, seed: usize) -> Edit {
    Edit::Steering(SteeringVector { layer, vector: numbers(&[12], seed) })
}

fn ablation(layer: i32, seed: usize) -> Edit {
    Edit::Ablation(Ablation { layer, direction: numbers(&[12], seed), factor: 1.0 })
}

/// The decoder with other tensors under some names.
fn with(config: &Config, vars: &BTreeMap<String, Var>, dtype: DType, other: &[(&str, Tensor)]) -> Decoder {
    let tensor = |name: &str, _: &[usize]| {
        let found = other.iter().find(|(changed, _)| *changed == name);
        let tensor = found.map_or_else(|| vars[name].as_detached_tensor(), |(_, tensor)| tensor.clone());
        Ok(tensor.to_dtype(dtype)?)
    };
    Decoder::from_tensors(config.clone(), Precision::F32, tensor).unwrap()
}

fn logits(decoder: &Decoder, edit: Option<&Edit>) -> Vec<f32> {
    decoder.logits(&batch(), edit).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{found} is not {expected}");
    }
}

#[test]
fn lora_on_the_embeddings_is_a_change_of_their_table() {
    let config = small_config(false);
    let (_, vars) = small_decoder(&config);
    let lora = on_embeddings(&config, numbers(&[2, 12], 1), numbers(&[12, 2], 2));
    let (adapter, name) = (&lora.adapters[0], "model.embed_tokens.weight");
    let change = adapter.b.matmul(&adapter.a).unwrap();
    let table = vars[name].as_detached_tensor();
    for factor in [1.0, -2.0] {
        let edit = Edit::Lora(lora.clone()).scaled(factor).unwrap();
        edit.check(&config).unwrap();
        let moved = (table.matmul(&change.t().unwrap()).unwrap() * (1.5 * factor)).unwrap();
        let changed = with(&config, &vars, DType::F32, &[(name, (&table + moved).unwrap())]);
        let decoder = with(&config, &vars, DType::F32, &[]);
        assert_near(&logits(&decoder, Some(&edit)), &logits(&changed, None));
        // What it adds depends on the embeddings alone, so that effects at one site add up in any order.
        let sum = |parts: [Edit; 2]| logits(&decoder, Some(&Edit::composed(parts)));
        assert_near(&sum([steering(-1, 7), edit.clone()]), &sum([edit, steering(-1, 7)]));
    }
}

#[test]
fn a_lora_on_the_embeddings_gets_its_gradient() {
    let config = small_config(false);
    let (_, vars) = small_decoder(&config);
    let states = |dtype: DType, a: &Tensor, b: &Tensor| {
        let edit = Edit::Lora(on_embeddings(&config, a.clone(), b.clone()));
        let decoder = with(&config, &vars, dtype, &[]);
        let stream = decoder.embed(&batch()).unwrap();
        let stream = decoder.run(stream, 0..config.layers, &batch(), Some(&edit)).unwrap();
        (decoder.finish(stream, Some(&edit)).unwrap(), decoder.unembedding(None).unwrap())
    };
    let targets = IDS.map(|id| (id * 7 + 1) % 23);
    let factors = [numbers(&[2, 12], 1), numbers(&[12, 2], 2)];
    let trained = factors.each_ref().map(|t| Var::from_tensor(t).unwrap());
    let (hidden, unembedding) = states(DType::F32, &trained[0], &trained[1]);
    let weights = [1.0 / IDS.len() as f32; IDS.len()];
    let loss = Loss::CrossEntropy(&targets);
    let (_, gradients) = loss.backward(&hidden, &unembedding, &weights).unwrap();
    let wide = factors.each_ref().map(|t| t.to_dtype(DType::F64).unwrap());
    for which in 0..2 {
        let gradient = gradients.get(&trained[which]).unwrap().to_dtype(DType::F64).unwrap();
        let length = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
        let at = |step: f64| {
            let mut moved = wide.clone();
            moved[which] = (&moved[which] + (&gradient * (step / length)).unwrap()).unwrap();
            let (hidden, unembedding) = states(DType::F64, &moved[0], &moved[1]);
            mean_cross_entropy(&unembedding.logits(&hidden).unwrap(), &targets)
        };
        let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((slope - length).abs() < 1e-4 * length, "{length} for a slope of {slope}");
    }
}

#[test]
fn an_edit_of_zero_changes_no_bit() {
    let config = small_config(true);
    let (decoder, _) = small_decoder(&config);
    let zeros = Tensor::zeros((12, 2), DType::F32, &Device::Cpu).unwrap();
    let lora = Edit::Lora(on_embeddings(&config, numbers(&[2, 12], 1), zeros));
    let base = logits(&decoder, None);
    for edit in [lora, ablation(-1, 3).scaled(0.0).unwrap(), ablation(1, 3).scaled(0.0).unwrap()] {
        assert_eq!(logits(&decoder, Some(&edit)), base);
    }
}

/// Component of every token's stream along a direction, at length 1.
fn along(stream: &Tensor, direction: usize) -> Vec<f32> {
    let direction = numbers(&[12], direction);
    let length = direction.sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
    let unit = direction.broadcast_div(&length).unwrap().unsqueeze(1).unwrap();
    stream.matmul(&unit).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn an_ablation_takes_its_direction_away_and_nothing_else() {
    let config = small_config(true);
    let (decoder, _) = small_decoder(&config);
    let at =
        |point: usize, edit: Option<&Edit>| decoder.residuals(&batch(), edit).unwrap().swap_remove(point);
    for (layer, point) in [(-1, 0), (0, 1), (1, 2)] {
        let once = ablation(layer, 3);
        assert_near(&along(&at(point, Some(&once)), 3), &[0.0; 9]);
        let twice = Edit::composed([once.clone(), once.clone()]);
        let flat = |edit: &Edit| at(point, Some(edit)).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_near(&flat(&twice), &flat(&once));

        let before = along(&at(point, None), 3);
        assert!(before.iter().any(|x| x.abs() > 0.1), "{before:?}");
        let half = along(&at(point, Some(&once.scaled(0.25).unwrap())), 3);
        assert_near(&half, &before.iter().map(|x| 0.75 * x).collect::<Vec<_>>());
        // A direction across it stays: what was there less what the other has of it.
        let (one, other) = (numbers(&[12], 3), numbers(&[12], 4));
        let dot = |a: &Tensor, b: &Tensor| (a * b).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        let share = dot(&one, &other) / dot(&one, &one).sqrt() / dot(&other, &other).sqrt();
        let across = |edit: Option<&Edit>| along(&at(point, edit), 4);
        let expected = across(None).iter().zip(&before).map(|(x, b)| x - b * share).collect::<Vec<_>>();
        assert_near(&across(Some(&once)), &expected);
    }
}

#[test]
fn the_parts_of_a_composition_act_in_their_order() {
    let config = small_config(true);
    let (decoder, _) = small_decoder(&config);
    let lora = Edit::Lora(on_embeddings(&config, numbers(&[2, 12], 1), numbers(&[12, 2], 2)));
    let seen = |parts: Vec<Edit>| {
        let edit = Edit::composed(parts);
        along(&decoder.residuals(&batch(), Some(&edit)).unwrap()[0], 3)
    };
    assert_near(&seen(vec![steering(-1, 5), lora.clone(), ablation(-1, 3)]), &[0.0; 9]);
    let base = along(&decoder.embed(&batch()).unwrap(), 3);
    let added: Vec<f32> =
        seen(vec![lora.clone()]).iter().zip(&base).map(|(edited, base)| edited - base).collect();
    assert_near(&seen(vec![ablation(-1, 3), lora]), &added);
    let vector = along(&numbers(&[1, 12], 5), 3)[0];
    assert_near(&seen(vec![ablation(-1, 3), steering(-1, 5)]), &[vector; 9]);
}

#[test]
fn a_stream_kept_below_an_edit_is_as_the_base_has_it() {
    let lora = |site| {
        let adapter = Adapter { site, a: numbers(&[2, 12], 1), b: numbers(&[12, 2], 2) };
        Edit::Lora(Lora { adapters: vec![adapter], rank: 2, alpha: 1.0, rslora: false, factor: 1.0 })
    };
    let at = |edit: Edit| first_changed_point(&edit, 2);
    assert_eq!(at(lora(Site::Embeddings)), 0);
    assert_eq!(at(lora(Site::Projection { layer: 1, projection: Projection::Q })), 1);
    assert_eq!((at(ablation(-1, 3)), at(ablation(1, 3))), (0, 2));
    assert_eq!(at(Edit::composed([ablation(1, 3), lora(Site::Embeddings)])), 0);
}
