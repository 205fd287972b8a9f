//! Root-mean-square normalisation.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{cpu, fused};

/// y = x / sqrt(mean(x^2) + eps) * weight over the last dimension. A weight that is a variable gets a gradient.
///
/// # Shapes
/// - `x`: `(.., width)`
/// - `weight`: `(width)`
/// - result: as `x`
///
/// # Errors
/// If the shapes disagree.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if !fused(x) {
        return plain(x, weight, eps);
    }
    let (x, norm) = (x.contiguous()?, Norm { eps: eps as f32 });
    if weight.track_op() {
        x.apply_op2(&weight.contiguous()?, norm)
    } else {
        x.apply_op1(Frozen { weight: weight.clone(), norm })
    }
}

fn plain(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let mean_square = (x.sqr()?.sum_keepdim(D::Minus1)? / x.dim(D::Minus1)? as f64)?;
    x.broadcast_div(&(mean_square + eps)?.sqrt()?)?.broadcast_mul(weight)
}

/// The operation, and itself that with a weight that is a variable.
pub(super) struct Norm {
    pub(super) eps: f32,
}

struct Frozen {
    weight: Tensor,
    norm: Norm,
}

/// Rows of which one task adds up the weight's gradient, so that the sum does not depend on the number of threads.
const ROWS: usize = 64;

impl Norm {
    #[inline(always)]
    fn inverse_root(&self, row: &[f32]) -> f32 {
        1.0 / (cpu::sum([row], |[x]| x * x) / row.len() as f32 + self.eps).sqrt()
    }

    /// `y` of rows of the weight's width.
    pub(super) fn forward(&self, x: &[f32], weight: &[f32], y: &mut [f32]) {
        let width = weight.len();
        y.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width)).with_min_len(8).for_each(|(y, x)| {
            cpu::vectorised!({
                let inverse = self.inverse_root(x);
                for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                    *y = x * inverse * w;
                }
            });
        });
    }

    /// With s = 1 / rms(x) and g = dy * w: dx = keep dx + s g - x s^3 mean(x g).
    pub(super) fn input_gradient(&self, x: &[f32], weight: &[f32], dy: &[f32], keep: f32, dx: &mut [f32]) {
        let width = weight.len();
        let rows = x.par_chunks_exact(width).zip(dy.par_chunks_exact(width));
        dx.par_chunks_exact_mut(width).zip(rows).with_min_len(8).for_each(|(dx, (x, dy))| {
            cpu::vectorised!({
                let inverse = self.inverse_root(x);
                let mean = cpu::sum([x, dy, weight], |[x, dy, w]| x * dy * w) / width as f32;
                let along = mean * inverse * inverse * inverse;
                for (((dx, x), dy), w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
                    let own = inverse * dy * w - x * along;
                    *dx = if keep == 0.0 { own } else { keep * *dx + own };
                }
            });
        });
    }

    /// The sum of x s dy over all rows.
    pub(super) fn weight_gradient(&self, x: &[f32], width: usize, dy: &[f32]) -> Vec<f32> {
        let pieces = x.par_chunks(ROWS * width).zip(dy.par_chunks(ROWS * width)).map(|(x, dy)| {
            let mut sum = vec![0f32; width];
            cpu::vectorised!({
                for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
                    let inverse = self.inverse_root(x);
                    for ((sum, x), dy) in sum.iter_mut().zip(x).zip(dy) {
                        *sum += x * inverse * dy;
                    }
                }
            });
            sum
        });
        let mut dw = vec![0f32; width];
        for piece in pieces.collect::<Vec<_>>() {
            dw.iter_mut().zip(piece).for_each(|(sum, d)| *sum += d);
        }
        dw
    }

    fn storage(&self, x: &[f32], shape: &Shape, weight: &[f32]) -> Result<CpuStorage> {
        let width = weight.len();
        if shape.dims().last() != Some(&width) {
            candle_core::bail!("rms_norm: weight of {width} for activations of {shape:?}");
        }
        let mut y = vec![0f32; x.len()];
        self.forward(x, weight, &mut y);
        Ok(CpuStorage::F32(y))
    }

    fn input_gradient_of(&self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let mut dx = vec![0f32; x.elem_count()];
        cpu::with_slices([x, grad, weight], |[x, dy, weight]| {
            self.input_gradient(x, weight, dy, 0.0, &mut dx);
            Ok(())
        })?;
        Tensor::from_vec(dx, x.shape(), x.device())
    }
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::slice(storage, layout)?;
        let storage = |[weight]: [&[f32]; 1]| self.norm.storage(x, layout.shape(), weight);
        Ok((cpu::with_slices([&self.weight], storage)?, layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        self.norm.input_gradient_of(arg, &self.weight, grad).map(Some)
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (cpu::slice(x, x_layout)?, cpu::slice(weight, weight_layout)?);
        Ok((self.storage(x, x_layout.shape(), weight)?, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = x.track_op().then(|| self.input_gradient_of(x, weight, grad)).transpose()?;
        let width = weight.dim(0)?;
        let dw = cpu::with_slices([x, grad], |[x, dy]| Ok(self.weight_gradient(x, width, dy)))?;
        Ok((dx, Some(Tensor::from_vec(dw, width, weight.device())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    #[test]
    fn fused_agrees_with_plain() {
        let weight = random(2, &[37]);
        agree(&[random(1, &[5, 3, 37])], |t| rms_norm(&t[0], &weight, 1e-5), |t| plain(&t[0], &weight, 1e-5));
    }

    #[test]
    fn a_weight_that_is_a_variable_gets_a_gradient_over_several_pieces() {
        let inputs = [random(1, &[50, 3, 37]), random(2, &[37])];
        agree(&inputs, |t| rms_norm(&t[0], &t[1], 1e-5), |t| plain(&t[0], &t[1], 1e-5));
    }
}
