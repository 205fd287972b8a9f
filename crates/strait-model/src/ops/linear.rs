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

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::slice(storage, layout)?;
        let shape = sizes(layout.shape(), &self.0.weight.shape())?;
        let Linear { weight, precision, .. } = &self.0;
        let mut y = Numbers::with(weight, |weight| Ok(forward(*precision, shape, x, weight)))?;
        if let Some(bias) = &self.0.bias {
            cpu::with_slices([bias], |[bias]| {
                for row in y.chunks_exact_mut(shape.1) {
                    row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
                Ok(())
            })?;
        }
        Ok((CpuStorage::F32(y), (shape.0, shape.1).into()))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        input_gradient(self.0.precision, arg, &self.0.weight, grad).map(Some)
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
        let shape = sizes(x_layout.shape(), weight_layout.shape())?;
        let weight = Numbers::F32(cpu::slice(weight, weight_layout)?);
        let y = forward(self.0, shape, cpu::slice(x, x_layout)?, weight);
        Ok((CpuStorage::F32(y), (shape.0, shape.1).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = x.track_op().then(|| input_gradient(self.0, x, &weight.clone().into(), grad)).transpose()?;
        Ok((dx, Some(weight_gradient(self.0, x, weight, grad)?)))
    }
}

/// Tokens, outputs and inputs.
fn sizes(x: &Shape, weight: &Shape) -> Result<(usize, usize, usize)> {
    let ((tokens, width), (out, inner)) = (x.dims2()?, weight.dims2()?);
    if width != inner {
        candle_core::bail!("a projection of width {inner} was given activations of width {width}");
    }
    Ok((tokens, out, inner))
}

fn forward(
    precision: Precision,
    (tokens, out, inner): (usize, usize, usize),
    x: &[f32],
    weight: Numbers,
) -> Vec<f32> {
    let mut y = vec![0f32; tokens * out];
    let (x, w) = (cpu::View::rows(x, inner), weight.rows(inner).t());
    precision.matmul((tokens, out, inner), &mut y, out, 0.0, x, w, 1.0, cpu::all_threads());
    y
}

/// dx = dy W.
fn input_gradient(precision: Precision, x: &Tensor, weight: &Weight, grad: &Tensor) -> Result<Tensor> {
    let ((tokens, inner), (out, _)) = (x.dims2()?, weight.dims2()?);
    let mut dx = vec![0f32; tokens * inner];
    Numbers::with(weight, |weight| {
        cpu::with_slices([grad], |[dy]| {
            let (dy, w) = (cpu::View::rows(dy, out), weight.rows(inner));
            precision.matmul((tokens, inner, out), &mut dx, inner, 0.0, dy, w, 1.0, cpu::all_threads());
            Ok(())
        })
    })?;
    Tensor::from_vec(dx, (tokens, inner), x.device())
}

/// dW = dy^T x.
fn weight_gradient(precision: Precision, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let ((tokens, inner), out) = (x.dims2()?, weight.dim(0)?);
    let mut dw = vec![0f32; out * inner];
    cpu::with_slices([grad, x], |[dy, x]| {
        let (dy, x) = (cpu::View::rows(dy, out).t(), cpu::View::rows(x, inner).into());
        precision.matmul((out, inner, tokens), &mut dw, inner, 0.0, dy, x, 1.0, cpu::all_threads());
        Ok(())
    })?;
    Tensor::from_vec(dw, (out, inner), weight.device())
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
