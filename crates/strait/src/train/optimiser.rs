//! AdamW with decoupled weight decay, its state in f32.

use candle_core::{Tensor, Var};
use rayon::prelude::*;
use strait_model::{ops, vectorised};

use crate::Result;

/// The settings of AdamW besides the rate.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Beta 1 and beta 2.
    pub betas: (f64, f64),
    /// Epsilon, which is added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// One trained tensor with its gradient and moments.
pub struct Parameter {
    /// Stable name, as the edit's file has it.
    pub name: String,
    /// The tensor that the edit holds.
    pub var: Var,
    /// The length of one unit of this tensor. The optimiser sees tensor / unit, so that one rate serves all units.
    pub unit: f64,
    /// True if weight decay shortens it.
    pub decays: bool,
    /// Gradient of the running step, with respect to tensor / unit.
    pub gradient: Vec<f32>,
    /// First moment.
    pub first: Vec<f32>,
    /// Second moment.
    pub second: Vec<f32>,
}

impl Parameter {
    /// A parameter with no history, which decays.
    pub fn new(name: String, var: Var, unit: f64) -> Self {
        let zeros = vec![0f32; var.elem_count()];
        Self { name, var, unit, decays: true, gradient: zeros.clone(), first: zeros.clone(), second: zeros }
    }

    /// Adds a micro-batch's gradient with respect to the tensor.
    ///
    /// # Errors
    /// If the gradient cannot be read.
    pub fn accumulate(&mut self, gradient: &Tensor) -> Result<()> {
        let unit = self.unit as f32;
        Ok(ops::read(gradient, |numbers| {
            let pieces = self.gradient.par_chunks_mut(AT_ONCE).zip(numbers.par_chunks(AT_ONCE));
            pieces.for_each(|(sum, numbers)| {
                vectorised!({
                    for (sum, g) in sum.iter_mut().zip(numbers) {
                        *sum += unit * g;
                    }
                });
            });
        })?)
    }

    /// One step of AdamW; clears the gradient.
    fn step(&mut self, step: Step) -> Result<()> {
        let mut values = self.var.flatten_all()?.to_vec1::<f32>()?;
        let step = Step { unit: self.unit as f32, keep: if self.decays { step.keep } else { 1.0 }, ..step };
        let moments = self.first.par_chunks_mut(AT_ONCE).zip(self.second.par_chunks_mut(AT_ONCE));
        let numbers = values.par_chunks_mut(AT_ONCE).zip(self.gradient.par_chunks_mut(AT_ONCE));
        numbers.zip(moments).for_each(|((values, gradient), (first, second))| {
            vectorised!(step.take(values, gradient, first, second));
        });
        Ok(self.var.set(&Tensor::from_vec(values, self.var.shape(), self.var.device())?)?)
    }
}

/// Numbers that one thread takes at once.
const AT_ONCE: usize = 1 << 16;

/// The numbers of one step of AdamW.
#[derive(Clone, Copy)]
struct Step {
    unit: f32,
    /// What weight decay leaves of a value.
    keep: f32,
    betas: (f32, f32),
    /// The rate, with the correction of the first moment in it.
    rate: f32,
    /// The root of the correction of the second moment.
    correction: f32,
    epsilon: f32,
}

impl Step {
    #[inline(always)]
    fn take(self, values: &mut [f32], gradient: &mut [f32], first: &mut [f32], second: &mut [f32]) {
        let (beta1, beta2) = self.betas;
        let moments = first.iter_mut().zip(second);
        for ((value, g), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            *first = beta1 * *first + (1.0 - beta1) * *g;
            *second = beta2 * *second + (1.0 - beta2) * *g * *g;
            let change = *first / (second.sqrt() / self.correction + self.epsilon);
            *value = self.keep * *value - self.unit * self.rate * change;
            *g = 0.0;
        }
    }
}

/// Norm of all gradients together.
pub fn gradient_norm(parameters: &[Parameter]) -> f64 {
    let sum = |numbers: &[f32]| numbers.iter().map(|&g| g as f64 * g as f64).sum::<f64>();
    // Pieces are added in their order, so that the sum does not depend on the number of threads.
    let of_pieces = parameters.par_iter().flat_map_iter(|p| p.gradient.chunks(AT_ONCE).map(sum));
    of_pieces.collect::<Vec<_>>().into_iter().sum::<f64>().sqrt()
}

/// Shortens the gradients together to norm `largest`, as PyTorch's `clip_grad_norm_` does.
pub fn clip(parameters: &mut [Parameter], norm: f64, largest: f64) {
    let factor = (largest / (norm + 1e-6)) as f32;
    if factor < 1.0 {
        parameters.par_iter_mut().for_each(|p| p.gradient.iter_mut().for_each(|g| *g *= factor));
    }
}

/// One AdamW step, `step` counted from 0; clears the gradients.
///
/// # Errors
/// If a tensor cannot be written.
pub fn adamw(parameters: &mut [Parameter], settings: AdamW, rate: f64, step: usize) -> Result<()> {
    let (beta1, beta2) = settings.betas;
    let step = Step {
        unit: 1.0,
        keep: (1.0 - rate * settings.weight_decay) as f32,
        betas: (beta1 as f32, beta2 as f32),
        rate: (rate / (1.0 - beta1.powi(step as i32 + 1))) as f32,
        correction: (1.0 - beta2.powi(step as i32 + 1)).sqrt() as f32,
        epsilon: settings.epsilon as f32,
    };
    parameters.par_iter_mut().try_for_each(|p| p.step(step))
}
