//! Root-mean-square normalisation.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{cpu, fused};

/// y = x / sqrt(mean(x^2) + eps) * weight over the last dimension.
///
/// # Shapes
/// - `x`: `(.., width)`
/// - `weight`: `(width)`, frozen
/// - result: as `x`
///
/// # Errors
/// If the shapes disagree.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if fused(x) {
        x.contiguous()?.apply_op1(Fused { weight: weight.clone(), eps: eps as f32 })
    } else {
        plain(x, weight, eps)
    }
}

fn plain(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let mean_square = (x.sqr()?.sum_keepdim(D::Minus1)? / x.dim(D::Minus1)? as f64)?;
    x.broadcast_div(&(mean_square + eps)?.sqrt()?)?.broadcast_mul(weight)
}

struct Fused {
    weight: Tensor,
    eps: f32,
}

impl Fused {
    #[inline(always)]
    fn inverse_root(&self, row: &[f32]) -> f32 {
        1.0 / (cpu::sum(row.len(), |i| row[i] * row[i]) / row.len() as f32 + self.eps).sqrt()
    }
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::slice(storage, layout)?;
        let width = self.weight.dim(0)?;
        if layout.dims().last() != Some(&width) {
            candle_core::bail!("rms_norm: weight of {width} for activations of {:?}", layout.shape());
        }
        let mut y = vec![0f32; x.len()];
        cpu::with_slices([&self.weight], |[weight]| {
            y.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width)).with_min_len(8).for_each(
                |(y, x)| {
                    cpu::vectorised(|| {
                        let inverse = self.inverse_root(x);
                        for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                            *y = x * inverse * w;
                        }
                    });
                },
            );
            Ok(())
        })?;
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        // With s = 1 / rms(x) and g = dy * w: dx = s g - x s^3 mean(x g).
        let width = self.weight.dim(0)?;
        let mut dx = vec![0f32; arg.elem_count()];
        cpu::with_slices([arg, grad, &self.weight], |[x, dy, weight]| {
            let rows = x.par_chunks_exact(width).zip(dy.par_chunks_exact(width));
            dx.par_chunks_exact_mut(width).zip(rows).with_min_len(8).for_each(|(dx, (x, dy))| {
                cpu::vectorised(|| {
                    let inverse = self.inverse_root(x);
                    let mean = cpu::sum(width, |i| x[i] * dy[i] * weight[i]) / width as f32;
                    let along = mean * inverse * inverse * inverse;
                    for i in 0..width {
                        dx[i] = inverse * dy[i] * weight[i] - x[i] * along;
                    }
                });
            });
            Ok(())
        })?;
        Tensor::from_vec(dx, arg.shape(), arg.device()).map(Some)
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
}
