//! AdamW with decoupled weight decay, its state in f32.

use candle_core::Var;
use rayon::prelude::*;
use strait_model::{
    ops::{self, Gradient},
    vectorised,
};

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
    /// Gradient of the running step, with respect to the tensor; none before its first micro-batch.
    pub gradient: Option<Gradient>,
    /// First moment.
    pub first: Vec<f32>,
    /// Second moment.
    pub second: Vec<f32>,
}

impl Parameter {
    /// A parameter with no history, which decays.
    pub fn new(name: String, var: Var, unit: f64) -> Self {
        let zeros = || vec![0f32; var.elem_count()];
        let (first, second) = (zeros(), zeros());
        Self { name, var, unit, decays: true, gradient: None, first, second }
    }

    /// Adds a micro-batch's gradient with respect to the tensor.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn accumulate(&mut self, gradient: Gradient) -> Result<()> {
        self.gradient = Some(match self.gradient.take() {
            None => gradient,
            Some(sum) => sum.plus(gradient)?,
        });
        Ok(())
    }

    /// One step of AdamW; forgets the gradient.
    fn step(&mut self, step: Step) -> Result<()> {
        let gradient = match self.gradient.take() {
            Some(gradient) => gradient,
            None => Gradient::Tensor(self.var.zeros_like()?),
        };
        let unit = self.unit as f32;
        let step = Step { unit, keep: if self.decays { step.keep } else { 1.0 }, ..step };
        let moments = self.first.par_chunks_mut(AT_ONCE).zip(self.second.par_chunks_mut(AT_ONCE));
        Ok(gradient.read(|gradient| {
            ops::write(&self.var, |values| {
                let numbers = values.par_chunks_mut(AT_ONCE).zip(gradient.par_chunks(AT_ONCE));
                numbers.zip(moments).for_each(|((values, gradient), (first, second))| {
                    vectorised!(step.take(values, gradient, first, second));
                });
            })
        })??)
    }
}

/// Numbers that one thread takes at once.
const AT_ONCE: usize = 1 << 16;

/// The numbers of one step of AdamW.
#[derive(Clone, Copy)]
struct Step {
    unit: f32,
    /// The share of a gradient that clipping leaves.
    shortened: f32,
    /// The share of a value that weight decay leaves.
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
    fn take(self, values: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let (beta1, beta2) = self.betas;
        let moments = first.iter_mut().zip(second);
        for ((value, g), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            let g = self.unit * g * self.shortened;
            *first = beta1 * *first + (1.0 - beta1) * g;
            *second = beta2 * *second + (1.0 - beta2) * g * g;
            let change = *first / (second.sqrt() / self.correction + self.epsilon);
            *value = self.keep * *value - self.unit * self.rate * change;
        }
    }
}

/// Norm of the gradients of all parameters together, each with respect to tensor / unit.
///
/// # Errors
/// If a gradient cannot be read.
pub fn gradient_norm(parameters: &[Parameter]) -> Result<f64> {
    let squared = |p: &Parameter| match &p.gradient {
        Some(gradient) => Ok(p.unit.powi(2) * gradient.read(|g| ops::dot(g, g))?),
        None => Ok(0.0),
    };
    let squares = parameters.par_iter().with_min_len(beside_each_other(parameters)).map(squared);
    let squares = squares.collect::<Result<Vec<f64>>>()?;
    Ok(squares.into_iter().sum::<f64>().sqrt())
}

/// The fewest parameters of a task where the work on each is little: most alone are too small for all threads, and another device than
/// the CPU takes its work from one thread.
pub(super) fn beside_each_other(parameters: &[Parameter]) -> usize {
    match parameters.iter().all(|p| p.var.device().is_cpu()) {
        true => 1,
        false => parameters.len(),
    }
}

/// The factor that shortens gradients of that norm to norm `largest`, as PyTorch's `clip_grad_norm_` does; 1 for shorter ones.
pub fn clipped(norm: f64, largest: f64) -> f32 {
    let factor = (largest / (norm + 1e-6)) as f32;
    // Not `min`, which would make 1 of NaN.
    if factor < 1.0 { factor } else { 1.0 }
}

/// One AdamW step, `step` counted from 0, with gradients of which clipping leaves `shortened`; forgets the gradients.
///
/// # Errors
/// If a tensor cannot be read or written.
pub fn adamw(
    parameters: &mut [Parameter],
    settings: AdamW,
    rate: f64,
    step: usize,
    shortened: f32,
) -> Result<()> {
    let (beta1, beta2) = settings.betas;
    let step = Step {
        unit: 1.0,
        shortened,
        keep: (1.0 - rate * settings.weight_decay) as f32,
        betas: (beta1 as f32, beta2 as f32),
        rate: (rate / (1.0 - beta1.powi(step as i32 + 1))) as f32,
        correction: (1.0 - beta2.powi(step as i32 + 1)).sqrt() as f32,
        epsilon: settings.epsilon as f32,
    };
    parameters.par_iter_mut().try_for_each(|p| p.step(step))
}
