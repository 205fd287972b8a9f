//! The gate of an MLP: activation(gate) * up.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::{cpu, fused};

/// The activation of the gate in an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
}

/// activation(gate) * up, element by element.
///
/// # Shapes
/// - `gate`, `up`, result: `(tokens, intermediate_size)`
///
/// # Errors
/// If the shapes disagree.
pub fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    if fused(gate) {
        gate.contiguous()?.apply_op2(&up.contiguous()?, Fused(activation))
    } else {
        plain(gate, up, activation)
    }
}

fn plain(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    let activated = match activation {
        Activation::Silu => (gate / (gate.neg()?.exp()? + 1.0)?)?,
        Activation::GeluTanh => {
            let inner = ((gate + ((gate.sqr()? * gate)? * CUBIC as f64)?)? * SQRT_2_OVER_PI as f64)?;
            ((inner.tanh()? + 1.0)? * gate)?.affine(0.5, 0.0)?
        }
    };
    activated * up
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// Value and derivative of an activation.
#[inline(always)]
fn silu(x: f32) -> (f32, f32) {
    let s = cpu::sigmoid(x);
    (x * s, s * (1.0 + x * (1.0 - s)))
}

/// Value and derivative of the tanh approximation of GELU.
#[inline(always)]
fn gelu_tanh(x: f32) -> (f32, f32) {
    let t = cpu::tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
    let inner_slope = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
    (0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope)
}

const PIECE: usize = 4096;

pub(super) struct Fused(pub(super) Activation);

impl Fused {
    pub(super) fn forward(&self, gate: &[f32], up: &[f32], y: &mut [f32]) {
        let pieces = y.par_chunks_mut(PIECE).zip(gate.par_chunks(PIECE)).zip(up.par_chunks(PIECE));
        pieces.for_each(|((y, gate), up)| match self.0 {
            Activation::Silu => forward(y, gate, up, silu),
            Activation::GeluTanh => forward(y, gate, up, gelu_tanh),
        });
    }

    /// Replaces the gate and the other factor by their gradients, and that of the result by the result.
    pub(super) fn backward(&self, gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
        let pieces = gate.par_chunks_mut(PIECE).zip(up.par_chunks_mut(PIECE)).zip(dy.par_chunks_mut(PIECE));
        pieces.for_each(|((gate, up), dy)| match self.0 {
            Activation::Silu => backward(gate, up, dy, silu),
            Activation::GeluTanh => backward(gate, up, dy, gelu_tanh),
        });
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (cpu::slice(gate, gate_layout)?, cpu::slice(up, up_layout)?);
        if gate.len() != up.len() {
            candle_core::bail!("gated: {:?} and {:?} differ", gate_layout.shape(), up_layout.shape());
        }
        let mut y = vec![0f32; gate.len()];
        self.forward(gate, up, &mut y);
        Ok((CpuStorage::F32(y), gate_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [d_gate, d_up] = cpu::with_slices([gate, up, grad], |[gate, up, dy]| {
            let [mut d_gate, mut d_up, mut y] = [gate, up, dy].map(<[f32]>::to_vec);
            self.backward(&mut d_gate, &mut d_up, &mut y);
            Ok([d_gate, d_up])
        })?;
        let tensor = |numbers| Tensor::from_vec(numbers, gate.shape(), gate.device());
        Ok((Some(tensor(d_gate)?), Some(tensor(d_up)?)))
    }
}

#[inline(always)]
fn forward(y: &mut [f32], gate: &[f32], up: &[f32], activation: impl Fn(f32) -> (f32, f32)) {
    cpu::vectorised!({
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            *y = activation(*g).0 * u;
        }
    });
}

#[inline(always)]
fn backward(gate: &mut [f32], up: &mut [f32], dy: &mut [f32], activation: impl Fn(f32) -> (f32, f32)) {
    cpu::vectorised!({
        for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
            let (value, slope) = activation(*gate);
            (*gate, *up, *dy) = (*dy * *up * slope, *dy * value, value * *up);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    #[test]
    fn fused_agrees_with_plain() {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let inputs = [(random(1, &[3, 50]) * 6.0).unwrap(), random(2, &[3, 50])];
            agree(&inputs, |t| gated(&t[0], &t[1], activation), |t| plain(&t[0], &t[1], activation));
        }
    }
}
