//! Directions in use: a random one beside it, and an edit with one taken out behind it.

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use strait_model::{
    Edit,
    edit::{Ablation, SteeringVector},
};

use crate::Result;

/// A Gaussian direction at the same place and as long: what any direction would do.
///
/// # Errors
/// If a tensor operation fails.
pub fn random_like(direction: &SteeringVector, seed: u64) -> Result<SteeringVector> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let drawn: Vec<f64> =
        StandardNormal.sample_iter(&mut random).take(direction.vector.elem_count()).collect();
    let length = drawn.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
    let factor = direction.norm()? / length;
    let vector: Vec<f32> = drawn.into_iter().map(|x| (x * factor) as f32).collect();
    let vector = Tensor::from_vec(vector, direction.vector.shape(), direction.vector.device())?;
    Ok(SteeringVector { layer: direction.layer, vector })
}

/// An edit with a direction taken out behind it.
pub fn without(edit: &Edit, direction: &SteeringVector) -> Edit {
    let ablation = Ablation { layer: direction.layer, direction: direction.vector.clone(), factor: 1.0 };
    Edit::composed([edit.clone(), Edit::Ablation(ablation)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_direction_is_as_long() {
        let vector = Tensor::new(vec![3f32, 4.0, 0.0], &candle_core::Device::Cpu).unwrap();
        let direction = SteeringVector { layer: -1, vector };
        let random = random_like(&direction, 1).unwrap();
        assert!((random.norm().unwrap() - 5.0).abs() < 1e-5);
    }
}
