//! The few fused operations of a decoder, each with its backward pass.
//!
//! candle's own fused operations have no backward and cut the gradient without a word; its plain compositions have one
//! but allocate and pass over memory for every small step. Each file here holds one operation twice: fused for f32 on
//! the CPU, and as a plain composition of candle's differentiable operations. The plain one serves every other device
//! and type, and is what the fused one is tested against.
//!
//! Sequences are *packed*: the tokens of all sequences of a batch stand one behind the other in the first dimension, and
//! no padding is stored or computed. Only [`attention`] needs to know where one sequence ends.

mod apply;
mod attention;
mod awake;
mod block;
mod by_row;
pub mod cpu;
mod embedding;
mod gated;
mod gradients;
mod linear;
mod linear_by_row;
mod loss;
mod memory;
mod norm;
mod precision;
pub mod product;
mod projection;
mod rope;
pub mod stored;
#[cfg(test)]
mod stored_tests;
mod sums;
mod unembedding;
pub mod vectors;
mod weight;
mod write_rows;

pub use apply::Product;
pub use attention::{AttentionShape, PAGE, Pages, Span, Spans, attention, attention_in_pages};
pub use awake::awake;
pub use block::{Adapter, Block, BlockWeights};
pub use cpu::{View, read, write};
pub use gated::{Activation, gated};
pub use gradients::{Gradient, Gradients, backward};
pub use linear::{Linear, linear};
pub use linear_by_row::linear_by_row;
pub use loss::{LOGITS_HELD, Loss};
pub use memory::{ActivationLimit, KeptGradients, Memory};
pub use norm::rms_norm;
pub use precision::{Operand, Precision};
pub use projection::Projection;
pub use rope::{RopeTable, rope};
pub use sums::dot;
pub use unembedding::{HeadChange, Unembedding};
pub use weight::Weight;
pub use write_rows::write_rows;

use std::sync::OnceLock;

use candle_core::{DType, Result, Tensor};

/// True if the fused operations can run on this tensor.
pub fn fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The cell's value, made where it is empty.
fn get_or_try<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

#[cfg(test)]
mod test_support {
    use candle_core::{Device, Result, Tensor, Var};
    use rand::{Rng, SeedableRng};

    /// Uniform numbers in [-1, 1) with a fixed seed.
    pub fn random(seed: u64, shape: &[usize]) -> Tensor {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        assert_eq!(a.dims(), b.dims());
        let scale = b.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        difference.to_scalar::<f32>().unwrap() / scale.max(1e-3)
    }

    /// Asserts that `fused` and `plain` agree in their value and in the gradient of every input, for a random
    /// direction of the output's gradient.
    pub fn agree(
        inputs: &[Tensor],
        fused: impl Fn(&[Tensor]) -> Result<Tensor>,
        plain: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) {
        agree_within(2e-5, inputs, fused, plain);
    }

    /// The same, to within so much of the largest number.
    pub fn agree_within(
        tolerance: f32,
        inputs: &[Tensor],
        fused: impl Fn(&[Tensor]) -> Result<Tensor>,
        plain: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) {
        let run = |f: &dyn Fn(&[Tensor]) -> Result<Tensor>| {
            let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
            let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
            let value = f(&tensors).unwrap();
            // Of numbers that bf16 has.
            let direction = ((random(99, value.dims()) * 128.0).unwrap().round().unwrap() / 128.0).unwrap();
            let gradients = super::backward(&(&value * direction).unwrap().sum_all().unwrap()).unwrap();
            let gradients: Vec<Tensor> =
                vars.iter().map(|v| gradients.get(v).expect("every input gets a gradient")).collect();
            (value, gradients)
        };
        let (value, gradients) = run(&fused);
        let (expected, expected_gradients) = run(&plain);
        let difference = largest_difference(&value, &expected);
        assert!(difference < tolerance, "values differ by {difference}");
        for (i, (gradient, expected)) in gradients.iter().zip(&expected_gradients).enumerate() {
            let difference = largest_difference(gradient, expected);
            assert!(difference < tolerance, "gradient of input {i} differs by {difference}");
        }
    }
}
