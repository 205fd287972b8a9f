//! y = x W^T + b.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::{Precision, Weight, cpu, fused, precision::Numbers};

/// A linear projection. Weights that are variables get gradients, frozen ones cost none.
///
/// candle's `matmul` would compute the gradient of a frozen W as well and throw it away: a third of a training step.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Shape `(out, in)`.
    pub weight: Weight,
    /// Shape `(out)`.
    pub bias: Option<Tensor>,
    /// The precision of its products.
    pub precision: Precision,
}

impl Linear {
    /// A projection without a bias.
    pub fn of(weight: &Tensor, precision: Precision) -> Self {
        Self { weight: weight.clone().into(), bias: None, precision }
    }

    fn is_frozen(&self) -> bool {
        !self.weight.track_op() && self.bias.as_ref().is_none_or(|bias| !bias.track_op())
    }

    /// `to = keep * to + x W^T + b`, for rows one behind the other.
    pub(super) fn multiply(&self, x: &[f32], keep: f32, to: &mut [f32]) -> Result<()> {
        let (out, inner) = self.weight.dims2()?;
        Numbers::with(&self.weight, |weight| {
            multiply(self.precision, weight, (out, inner), x, keep, to);
            Ok(())
        })?;
        let Some(bias) = &self.bias else { return Ok(()) };
        cpu::with_slices([bias], |[bias]| {
            for row in to.chunks_exact_mut(out) {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
            Ok(())
        })
    }

    /// `dx = keep * dx + dy W`, for rows one behind the other.
    pub(super) fn input_gradient(&self, dy: &[f32], keep: f32, dx: &mut [f32]) -> Result<()> {
        let (out, inner) = self.weight.dims2()?;
        let shape = (dy.len() / out, inner, out);
        Numbers::with(&self.weight, |weight| {
            let (dy, w) = (cpu::View::rows(dy, out), weight.rows(inner));
            self.precision.matmul(shape, dx, inner, keep, dy, w, 1.0, cpu::all_threads());
            Ok(())
        })
    }

    /// `dW = dy^T x`, for rows one behind the other.
    pub(super) fn weight_gradient(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()> {
        let (out, inner) = self.weight.dims2()?;
        let shape = (out, inner, dy.len() / out);
        let (dy, x) = (cpu::View::rows(dy, out).t(), cpu::View::rows(x, inner).into());
        self.precision.matmul(shape, dw, inner, 0.0, dy, x, 1.0, cpu::all_threads());
        Ok(())
    }
}

/// Applies a projection.
///
/// # Shapes
/// - `x`: `(tokens, in)`
/// - result: `(tokens, out)`
///
/// # Errors
/// If the shapes disagree.
pub fn linear(x: &Tensor, projection: &Linear) -> Result<Tensor> {
    if !fused(x) {
        plain(x, projection)
    } else if projection.is_frozen() {
        x.contiguous()?.apply_op1(Frozen(projection.clone()))
    } else {
        let trained = Trained(projection.precision);
        biased(x.contiguous()?.apply_op2(&projection.weight.tensor()?.contiguous()?, trained)?, projection)
    }
}

fn plain(x: &Tensor, projection: &Linear) -> Result<Tensor> {
    biased(projection.precision.composed(x, &projection.weight.tensor()?)?, projection)
}

fn biased(y: Tensor, projection: &Linear) -> Result<Tensor> {
    match &projection.bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

struct Frozen(Linear);

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, out) = sizes(layout.shape(), &self.0.weight.shape())?;
        let mut y = vec![0f32; tokens * out];
        self.0.multiply(cpu::slice(x, layout)?, 0.0, &mut y)?;
        Ok((CpuStorage::F32(y), (tokens, out).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        input_gradient(&self.0, x, grad).map(Some)
    }
}

struct Trained(Precision);

impl CustomOp2 for Trained {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, out) = sizes(x_layout.shape(), weight_layout.shape())?;
        let (x, weight) = (cpu::slice(x, x_layout)?, Numbers::F32(cpu::slice(weight, weight_layout)?));
        let mut y = vec![0f32; tokens * out];
        multiply(self.0, weight, (out, weight_layout.dim(1)?), x, 0.0, &mut y);
        Ok((CpuStorage::F32(y), (tokens, out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let projection = Linear::of(weight, self.0);
        let dx = x.track_op().then(|| input_gradient(&projection, x, grad)).transpose()?;
        let mut dw = vec![0f32; weight.elem_count()];
        cpu::with_slices([x, grad], |[x, dy]| projection.weight_gradient(x, dy, &mut dw))?;
        Ok((dx, Some(Tensor::from_vec(dw, weight.shape(), weight.device())?)))
    }
}

/// `to = keep * to + x W^T`.
fn multiply(
    precision: Precision,
    weight: Numbers,
    (out, inner): (usize, usize),
    x: &[f32],
    keep: f32,
    to: &mut [f32],
) {
    let (shape, x, w) = ((x.len() / inner, out, inner), cpu::View::rows(x, inner), weight.rows(inner).t());
    precision.matmul(shape, to, out, keep, x, w, 1.0, cpu::all_threads());
}

/// Tokens and outputs.
fn sizes(x: &Shape, weight: &Shape) -> Result<(usize, usize)> {
    let ((tokens, width), (out, inner)) = (x.dims2()?, weight.dims2()?);
    if width != inner {
        candle_core::bail!("a projection of width {inner} was given activations of width {width}");
    }
    Ok((tokens, out))
}

fn input_gradient(projection: &Linear, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let mut dx = vec![0f32; x.elem_count()];
    cpu::with_slices([grad], |[dy]| projection.input_gradient(dy, 0.0, &mut dx))?;
    Tensor::from_vec(dx, x.shape(), x.device())
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    #[test]
    fn fused_agrees_with_plain() {
        for bias in [None, Some(random(3, &[11]))] {
            let projection = Linear { weight: random(2, &[11, 7]).into(), bias, precision: Precision::F32 };
            agree(&[random(1, &[5, 7])], |t| linear(&t[0], &projection), |t| plain(&t[0], &projection));
        }
    }

    #[test]
    fn weights_that_are_variables_get_gradients() {
        let projection =
            |t: &[Tensor]| Linear { bias: t.get(2).cloned(), ..Linear::of(&t[1], Precision::F32) };
        let inputs = [random(1, &[5, 7]), random(2, &[11, 7]), random(3, &[11])];
        for inputs in [&inputs[..2], &inputs] {
            agree(inputs, |t| linear(&t[0], &projection(t)), |t| plain(&t[0], &projection(t)));
        }
    }
}
