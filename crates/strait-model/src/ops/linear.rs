//! y = x W^T + b with frozen W and b.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{cpu, fused};

/// A frozen linear projection.
///
/// candle's `matmul` would compute the gradient of W as well and throw it away: a third of a training step.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Shape `(out, in)`.
    pub weight: Tensor,
    /// Shape `(out)`.
    pub bias: Option<Tensor>,
}

/// Applies a frozen projection.
///
/// # Shapes
/// - `x`: `(tokens, in)`
/// - result: `(tokens, out)`
///
/// # Errors
/// If the shapes disagree.
pub fn linear(x: &Tensor, projection: &Linear) -> Result<Tensor> {
    if fused(x) { x.contiguous()?.apply_op1(Fused(projection.clone())) } else { plain(x, projection) }
}

fn plain(x: &Tensor, projection: &Linear) -> Result<Tensor> {
    let y = x.matmul(&projection.weight.t()?)?;
    match &projection.bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

struct Fused(Linear);

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::slice(storage, layout)?;
        let (tokens, width) = layout.shape().dims2()?;
        let (out, inner) = self.0.weight.dims2()?;
        if width != inner {
            candle_core::bail!("a projection of width {inner} was given activations of width {width}");
        }
        let mut y = vec![0f32; tokens * out];
        cpu::with_slices([&self.0.weight], |[weight]| {
            let shape = (tokens, out, inner);
            let (x, w) = (cpu::View::rows(x, inner), cpu::View::rows(weight, inner).t());
            cpu::matmul(shape, &mut y, out, 0.0, x, w, 1.0, cpu::all_threads());
            Ok(())
        })?;
        if let Some(bias) = &self.0.bias {
            cpu::with_slices([bias], |[bias]| {
                for row in y.chunks_exact_mut(out) {
                    row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
                Ok(())
            })?;
        }
        Ok((CpuStorage::F32(y), (tokens, out).into()))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (tokens, inner) = arg.dims2()?;
        let out = self.0.weight.dim(0)?;
        let mut dx = vec![0f32; tokens * inner];
        cpu::with_slices([grad, &self.0.weight], |[dy, weight]| {
            let shape = (tokens, inner, out);
            let (dy, w) = (cpu::View::rows(dy, out), cpu::View::rows(weight, inner));
            cpu::matmul(shape, &mut dx, inner, 0.0, dy, w, 1.0, cpu::all_threads());
            Ok(())
        })?;
        Tensor::from_vec(dx, (tokens, inner), arg.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    #[test]
    fn fused_agrees_with_plain() {
        for bias in [None, Some(random(3, &[11]))] {
            let projection = Linear { weight: random(2, &[11, 7]), bias };
            agree(&[random(1, &[5, 7])], |t| linear(&t[0], &projection), |t| plain(&t[0], &projection));
        }
    }
}
