//! Sequences that share a beginning: the same figures as each alone.

use std::path::Path;

use candle_core::{Tensor, Var};
use proptest::{collection::vec, prelude::*};
use strait_model::{
    Edit, Model, Precision,
    decoder::Packed,
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
    ops::Loss,
    source::{Located, Road},
};

use crate::common::device;

const ARCHITECTURES: [&str; 6] = ["llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3"];

fn tiny(architecture: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny").join(architecture);
    let located = Located { name: architecture.into(), path, road: Road::Path, revision: None };
    Model::load(&located, &device(), Precision::F32).unwrap()
}

/// Longer than the windows of the tiny models, and of different lengths.
fn sequences() -> Vec<Vec<u32>> {
    let beginning: Vec<u32> = (0..13).map(|i| (i * 7 + 3) % 31).collect();
    let own = |seed: u32, length: u32| (0..length).map(move |i| (i * 11 + seed) % 31);
    [(1, 9), (4, 1), (9, 20)]
        .map(|(seed, length)| beginning.iter().copied().chain(own(seed, length)).collect())
        .into()
}

fn slices(sequences: &[Vec<u32>]) -> impl Iterator<Item = &[u32]> {
    sequences.iter().map(Vec::as_slice)
}

/// Logits of every token of every sequence, and the gradient of their cross-entropy with respect to the vector and to B.
fn logits_and_gradients(model: &Model, batch: &Packed) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (config, layer) = (model.config(), model.config().layers / 2);
    let numbers =
        |count: usize| Tensor::from_iter((0..count).map(|i| (i % 7) as f32 * 0.05 - 0.1), &device());
    let vector = Var::from_tensor(&numbers(config.hidden_size).unwrap()).unwrap();
    let site = Site::Projection { layer, projection: Projection::V };
    let (input, output) = site.size(config);
    let a = numbers(input).unwrap().reshape((1, input)).unwrap();
    let b = Var::from_tensor(&numbers(output).unwrap().reshape((output, 1)).unwrap()).unwrap();
    let adapters = vec![Adapter { site, a, b: b.as_tensor().clone() }];
    let edit = Edit::Composed(vec![
        Edit::Steering(SteeringVector { layer: layer as i32 - 1, vector: vector.as_tensor().clone() }),
        Edit::Lora(Lora { adapters, rank: 1, alpha: 1.0, rslora: false, factor: 1.0 }),
    ]);
    let every_token = Tensor::new(batch.every_token(), &device()).unwrap();
    let decoder = &model.decoder;
    let stream = decoder.run(decoder.embed(batch).unwrap(), 0..config.layers, batch, Some(&edit)).unwrap();
    let hidden = decoder.finish(stream.index_select(&every_token, 0).unwrap(), Some(&edit)).unwrap();
    let targets: Vec<u32> = (0..hidden.dim(0).unwrap() as u32).map(|i| i * 5 % 31).collect();
    let weights = vec![1.0 / targets.len() as f32; targets.len()];
    let unembedding = decoder.unembedding(None).unwrap();
    let (_, gradients) = Loss::CrossEntropy(&targets).backward(&hidden, &unembedding, &weights).unwrap();
    let of = |var: &Var| gradients.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let logits =
        decoder.unembedding(None).unwrap().logits(&hidden).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (logits, of(&vector), of(&b))
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-5 * largest.max(1e-3), "{found} and {expected}");
    }
}

#[test]
fn a_beginning_that_is_computed_once_changes_nothing() {
    for architecture in ARCHITECTURES {
        let model = tiny(architecture);
        let sequences = sequences();
        let (alone, sharing) = (Packed::new(slices(&sequences)), Packed::sharing(slices(&sequences)));
        assert_eq!((sharing.beginning(), sharing.tokens()), (0..13, alone.tokens() - 26), "{architecture}");
        let expected = logits_and_gradients(&model, &alone);
        let found = logits_and_gradients(&model, &sharing);
        assert_near(&found.0, &expected.0);
        assert_near(&found.1, &expected.1);
        assert_near(&found.2, &expected.2);
    }
}

proptest! {
    #[test]
    fn every_token_is_found_again(beginning in vec(0u32..3, 0..4), own in vec(vec(0u32..3, 1..5), 0..5)) {
        let sequences: Vec<Vec<u32>> = own.into_iter().map(|own| [beginning.clone(), own].concat()).collect();
        let packed = Packed::sharing(slices(&sequences));
        let found: Vec<u32> = packed.every_token().into_iter().map(|row| packed.ids()[row as usize]).collect();
        prop_assert_eq!(found, sequences.concat());
        prop_assert!(packed.rows().iter().all(|own| !own.is_empty()));
        prop_assert_eq!(packed.rows().len(), sequences.len());
        if sequences.len() > 1 {
            prop_assert!(packed.beginning().len() >= beginning.len());
        }
    }
}
