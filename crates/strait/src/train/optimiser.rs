//! AdamW with decoupled weight decay, its state in f32.

use candle_core::{Tensor, Var};
use rayon::prelude::*;

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
        let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
        self.gradient.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += unit * g);
        Ok(())
    }
}

/// Norm of all gradients together.
pub fn gradient_norm(parameters: &[Parameter]) -> f64 {
    let squares = parameters.iter().flat_map(|p| &p.gradient).map(|&g| g as f64 * g as f64);
    squares.sum::<f64>().sqrt()
}

/// Shortens the gradients together to norm `largest`, as PyTorch's `clip_grad_norm_` does.
pub fn clip(parameters: &mut [Parameter], norm: f64, largest: f64) {
    let factor = (largest / (norm + 1e-6)) as f32;
    if factor < 1.0 {
        parameters.iter_mut().flat_map(|p| &mut p.gradient).for_each(|g| *g *= factor);
    }
}

/// One AdamW step, `step` counted from 0; clears the gradients.
///
/// # Errors
/// If a tensor cannot be written.
pub fn adamw(parameters: &mut [Parameter], settings: AdamW, rate: f64, step: usize) -> Result<()> {
    let (beta1, beta2) = settings.betas;
    let correct1 = 1.0 - beta1.powi(step as i32 + 1);
    let correct2 = (1.0 - beta2.powi(step as i32 + 1)).sqrt();
    let shorter = (1.0 - rate * settings.weight_decay) as f32;
    let (beta1, beta2, rate) = (beta1 as f32, beta2 as f32, (rate / correct1) as f32);
    let (correct2, epsilon) = (correct2 as f32, settings.epsilon as f32);
    for p in parameters {
        let (unit, keep) = (p.unit as f32, if p.decays { shorter } else { 1.0 });
        let mut values = p.var.flatten_all()?.to_vec1::<f32>()?;
        let step = |values: &mut [f32], gradient: &mut [f32], first: &mut [f32], second: &mut [f32]| {
            let moments = first.iter_mut().zip(second);
            for ((value, g), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
                *first = beta1 * *first + (1.0 - beta1) * *g;
                *second = beta2 * *second + (1.0 - beta2) * *g * *g;
                let change = *first / (second.sqrt() / correct2 + epsilon);
                *value = keep * *value - unit * rate * change;
                *g = 0.0;
            }
        };
        match values.len() {
            ..=AT_ONCE => step(&mut values, &mut p.gradient, &mut p.first, &mut p.second),
            _ => {
                let state = p.first.par_chunks_mut(AT_ONCE).zip(p.second.par_chunks_mut(AT_ONCE));
                let numbers = values.par_chunks_mut(AT_ONCE).zip(p.gradient.par_chunks_mut(AT_ONCE));
                numbers.zip(state).for_each(|((values, gradient), (first, second))| {
                    step(values, gradient, first, second);
                });
            }
        }
        p.var.set(&Tensor::from_vec(values, p.var.shape(), p.var.device())?)?;
    }
    Ok(())
}

/// Numbers that one thread takes at once.
const AT_ONCE: usize = 1 << 16;
