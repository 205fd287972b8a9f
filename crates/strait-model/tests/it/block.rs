//! A block as one operation: every adapter of several edits gets the gradient that the plain compositions in f64 have.

use candle_core::{DType, Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strait_model::{
    Config, Decoder, Edit, Precision,
    decoder::Packed,
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
    ops::{ActivationLimit, Loss},
};

use crate::common::{mean_cross_entropy, small_config, small_decoder};

const SEQUENCES: [&[u32]; 3] = [&[1, 5, 22, 5, 7, 0], &[1, 5, 3, 3, 9, 14], &[1, 5, 8]];

fn random(rng: &mut ChaCha8Rng, shape: &[usize]) -> Tensor {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-0.3..0.3)).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

/// A vector and two LoRAs, which share most sites.
fn edits(config: &Config) -> Edit {
    let rng = &mut ChaCha8Rng::seed_from_u64(4);
    let vector = random(rng, &[config.hidden_size]);
    let mut lora = |projections: &[Projection]| {
        let sites = (0..config.layers as i32).flat_map(|layer| Site::of_layer(layer, projections));
        let adapter = |site: Site| {
            let (input, output) = site.size(config);
            Adapter { site, a: random(rng, &[3, input]), b: random(rng, &[output, 3]) }
        };
        let adapters = sites.map(adapter).collect();
        Edit::Lora(Lora { adapters, rank: 3, alpha: 5.0, rslora: false, factor: 0.7 })
    };
    let loras = [lora(&Projection::ALL), lora(&[Projection::O, Projection::Gate, Projection::Q])];
    let steering = Edit::Steering(SteeringVector { layer: 0, vector });
    Edit::composed(loras.into_iter().chain([steering]))
}

/// The same edit with each of its tensors made into another.
fn with_tensors(edit: &Edit, make: &mut dyn FnMut(&Tensor) -> Tensor) -> Edit {
    match edit {
        Edit::Steering(own) => Edit::Steering(SteeringVector { layer: own.layer, vector: make(&own.vector) }),
        Edit::Lora(lora) => {
            let mut lora = lora.clone();
            for adapter in &mut lora.adapters {
                (adapter.a, adapter.b) = (make(&adapter.a), make(&adapter.b));
            }
            Edit::Lora(lora)
        }
        other => Edit::composed(other.parts().map(|part| with_tensors(part, make)).collect::<Vec<_>>()),
    }
}

/// Hidden states and the targets of all tokens.
fn states(decoder: &Decoder, edit: &Edit) -> (Tensor, Vec<u32>) {
    let batch = Packed::sharing(SEQUENCES);
    let stream = decoder.embed(&batch).unwrap();
    let stream = decoder.run(stream, 0..decoder.config().layers, &batch, Some(edit)).unwrap();
    (decoder.finish(stream, Some(edit)).unwrap(), batch.ids().iter().map(|id| (id * 7 + 1) % 23).collect())
}

#[test]
fn every_tensor_of_every_edit_gets_its_gradient() {
    for tied in [true, false] {
        let config = small_config(tied);
        let (_, vars) = small_decoder(&config);
        let decoder = |dtype: DType| {
            let tensor = |name: &str, _: &[usize]| Ok(vars[name].as_detached_tensor().to_dtype(dtype)?);
            Decoder::from_tensors(config.clone(), Precision::F32, tensor).unwrap()
        };
        let (fused, composed) = (decoder(DType::F32), decoder(DType::F64));
        let edit = edits(&config);
        let mut trained = Vec::new();
        let variables = with_tensors(&edit, &mut |tensor| {
            trained.push(Var::from_tensor(tensor).unwrap());
            trained.last().unwrap().as_tensor().clone()
        });
        let (hidden, targets) = states(&fused, &variables);
        let weights = vec![1.0 / targets.len() as f32; targets.len()];
        let unembedding = fused.unembedding(None).unwrap();
        let (_, gradients) = Loss::CrossEntropy(&targets).backward(&hidden, &unembedding, &weights).unwrap();
        assert_eq!(trained.len(), 1 + 2 * 2 * (7 + 3));
        for (which, var) in trained.iter().enumerate() {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("tensor {which} has no gradient"));
            let gradient = gradient.to_dtype(DType::F64).unwrap();
            let length = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
            assert!(length > 1e-6, "tensor {which}: {length}");
            let at = |step: f64| {
                let mut count = 0;
                let moved = with_tensors(&edit, &mut |tensor| {
                    let wide = tensor.to_dtype(DType::F64).unwrap();
                    let here = count == which;
                    count += 1;
                    if here { (wide + (&gradient * (step / length)).unwrap()).unwrap() } else { wide }
                });
                let (hidden, targets) = states(&composed, &moved);
                mean_cross_entropy(&composed.unembedding(None).unwrap().logits(&hidden).unwrap(), &targets)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (slope - length).abs() < 1e-4 * length,
                "tensor {which}: {length} for a slope of {slope}"
            );
        }
    }
}

#[test]
fn a_block_that_keeps_nothing_gives_the_same_bits() {
    let config = small_config(false);
    let (_, vars) = small_decoder(&config);
    let tensor = |name: &str, _: &[usize]| Ok(vars[name].as_detached_tensor());
    let gradients = |room: Option<u64>| -> Vec<Vec<f32>> {
        let decoder = Decoder::from_tensors(config.clone(), Precision::F32, tensor).unwrap();
        let _limit = ActivationLimit::new(room);
        let mut trained = Vec::new();
        let variables = with_tensors(&edits(&config), &mut |tensor| {
            trained.push(Var::from_tensor(tensor).unwrap());
            trained.last().unwrap().as_tensor().clone()
        });
        let (hidden, targets) = states(&decoder, &variables);
        let (loss, weights) = (Loss::CrossEntropy(&targets), vec![1.0; targets.len()]);
        let (_, found) = loss.backward(&hidden, &decoder.unembedding(None).unwrap(), &weights).unwrap();
        let numbers = |var: &Var| found.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        trained.iter().map(numbers).collect()
    };
    assert_eq!(gradients(Some(0)), gradients(None));
}

#[test]
fn gradients_are_not_lost_in_silence() {
    let config = small_config(true);
    let (_, vars) = small_decoder(&config);
    let tensor = |name: &str, _: &[usize]| Ok(vars[name].as_detached_tensor());
    let decoder = Decoder::from_tensors(config.clone(), Precision::F32, tensor).unwrap();
    let variables =
        with_tensors(&edits(&config), &mut |tensor| Var::from_tensor(tensor).unwrap().into_inner());
    let (hidden, _) = states(&decoder, &variables);
    let error = hidden.sum_all().unwrap().backward().unwrap_err();
    assert!(error.to_string().contains("ops::backward"), "{error}");
}
