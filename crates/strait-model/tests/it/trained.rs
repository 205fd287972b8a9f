//! A decoder whose weights are variables: every one of them gets its gradient.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use strait_model::{
    Config, Decoder, Precision,
    decoder::Packed,
    ops::{Gradients, Loss},
};

use crate::common::{mean_cross_entropy, small_config, small_decoder};

/// The same weights in f64, one of them moved: frozen, and by the plain compositions.
fn moved(config: &Config, vars: &BTreeMap<String, Var>, which: &str, by: &Tensor) -> Decoder {
    let tensor = |name: &str, _: &[usize]| {
        let tensor = vars[name].as_detached_tensor().to_dtype(DType::F64)?;
        Ok(if name == which { (tensor + by)? } else { tensor })
    };
    Decoder::from_tensors(config.clone(), Precision::F32, tensor).unwrap()
}

/// Hidden states of two sequences, and a target for each.
fn states(decoder: &Decoder) -> (Tensor, Vec<u32>) {
    let sequences: [&[u32]; 2] = [&[1, 5, 22, 5, 7, 0], &[3, 3, 9, 14]];
    let batch = Packed::new(sequences);
    let stream = decoder.embed(&batch).unwrap();
    let stream = decoder.run(stream, 0..decoder.config().layers, &batch, None).unwrap();
    let hidden = decoder.finish(stream, None).unwrap();
    (hidden, batch.ids().iter().map(|id| (id * 7 + 1) % 23).collect())
}

/// The gradients of the mean cross-entropy.
fn gradients(decoder: &Decoder) -> Gradients {
    let (hidden, targets) = states(decoder);
    let weights = vec![1.0 / targets.len() as f32; targets.len()];
    let unembedding = decoder.unembedding(None).unwrap();
    Loss::CrossEntropy(&targets).backward(&hidden, &unembedding, &weights).unwrap().1
}

/// The mean cross-entropy itself.
fn loss(decoder: &Decoder) -> f64 {
    let (hidden, targets) = states(decoder);
    mean_cross_entropy(&decoder.unembedding(None).unwrap().logits(&hidden).unwrap(), &targets)
}

fn number(tensor: &Tensor) -> f64 {
    tensor.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

#[test]
fn every_weight_that_is_a_variable_gets_its_gradient() {
    for tied in [true, false] {
        let config = small_config(tied);
        let (decoder, vars) = small_decoder(&config);
        // 7 matrices, 3 biases, 6 norms a block; the embedding, the last norm, the unembedding.
        assert_eq!(vars.len(), 2 * 16 + if tied { 2 } else { 3 });
        assert_eq!(vars.values().map(|v| v.elem_count()).sum::<usize>(), config.parameters());
        let gradients = gradients(&decoder);
        for (name, var) in &vars {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name} has no gradient"));
            let gradient = gradient.to_dtype(DType::F64).unwrap();
            let length = number(&gradient.sqr().unwrap().sum_all().unwrap()).sqrt();
            assert!(length > 1e-6, "{name}: {length}");
            let direction = (&gradient / length).unwrap();
            let at = |step: f64| loss(&moved(&config, &vars, name, &(&direction * step).unwrap()));
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - length).abs() < 1e-4 * length, "{name}: {length} for a slope of {slope}");
        }
    }
}

#[test]
fn frozen_weights_get_none() {
    let config = small_config(false);
    let (_, vars) = small_decoder(&config);
    let trained = "model.layers.1.mlp.down_proj.weight";
    let tensor = |name: &str, _: &[usize]| {
        Ok(if name == trained { vars[name].as_tensor().clone() } else { vars[name].as_detached_tensor() })
    };
    let decoder = Decoder::from_tensors(config.clone(), Precision::F32, tensor).unwrap();
    let gradients = gradients(&decoder);
    for (name, weight) in decoder.weights() {
        assert_eq!(gradients.get(&weight.tensor().unwrap()).is_some(), name == trained, "{name}");
    }
}

#[test]
fn a_tensor_of_another_shape_is_refused_by_its_name() {
    let other = |_: &str, _: &[usize]| Ok(Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?);
    let Err(error) = Decoder::from_tensors(small_config(true), Precision::F32, other) else {
        panic!("it was taken")
    };
    assert!(error.to_string().contains("model.embed_tokens.weight"), "{error}");
    let none = Config { layers: 0, ..small_config(true) };
    let Err(error) = Decoder::from_tensors(none, Precision::F32, other) else { panic!("it was taken") };
    assert!(error.to_string().contains("the number of layers"), "{error}");
}
