//! A projection with its adapters: y = W x + b + the sum of scale B A x.

use candle_core::{Result, Tensor};

use crate::{Linear, Precision, cpu, gradients, memory::Memory, precision::Numbers};

/// The low-rank term that an edit adds to a projection.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Shape `(rank, in)`.
    pub a: Tensor,
    /// Shape `(out, rank)`.
    pub b: Tensor,
    /// The factor on B A x.
    pub scale: f64,
}

/// A projection with its adapters.
pub struct Adapted<'a> {
    pub linear: &'a Linear,
    pub adapters: &'a [Adapter],
}

impl Adapted<'_> {
    /// `to = keep * to + y`. Returns A x of every adapter.
    pub fn forward(&self, x: &[f32], keep: f32, to: &mut [f32]) -> Result<Vec<Memory>> {
        self.linear.multiply(x, keep, to)?;
        self.adapters.iter().map(|adapter| self.add(adapter, x, to)).collect()
    }

    fn add(&self, adapter: &Adapter, x: &[f32], to: &mut [f32]) -> Result<Memory> {
        let ((rank, inner), out) = (adapter.a.dims2()?, adapter.b.dim(0)?);
        let tokens = x.len() / inner;
        let mut down = Memory::new(tokens * rank);
        let precision = self.linear.precision;
        by(precision, &adapter.a, true, (tokens, rank, inner), x, 0.0, 1.0, &mut down)?;
        by(precision, &adapter.b, true, (tokens, out, rank), &down, 1.0, adapter.scale as f32, to)?;
        Ok(down)
    }

    /// True if a gradient asks for the input x.
    pub fn needs_input(&self) -> bool {
        self.linear.weight.track_op() || self.adapters.iter().any(|adapter| adapter.a.track_op())
    }

    /// `dx = keep * dx` and the gradient of x, where that is asked for. Returns those of A x of every adapter, for
    /// [`give_gradients`](Self::give_gradients); of one whose gradient nobody asks for none.
    pub fn input_gradient(
        &self,
        dy: &[f32],
        keep: f32,
        mut dx: Option<&mut [f32]>,
    ) -> Result<Vec<Option<Memory>>> {
        if let Some(dx) = &mut dx {
            self.linear.input_gradient(dy, keep, dx)?;
        }
        let of_adapter = |Adapter { a, b, scale }: &Adapter| {
            if !a.track_op() && dx.is_none() {
                return Ok(None);
            }
            let ((rank, inner), out) = (a.dims2()?, b.dim(0)?);
            let (tokens, precision) = (dy.len() / out, self.linear.precision);
            let mut d_down = Memory::new(tokens * rank);
            by(precision, b, false, (tokens, rank, out), dy, 0.0, *scale as f32, &mut d_down)?;
            if let Some(dx) = &mut dx {
                by(precision, a, false, (tokens, inner, rank), &d_down, 1.0, 1.0, dx)?;
            }
            Ok(Some(d_down))
        };
        self.adapters.iter().map(of_adapter).collect()
    }

    /// Gives the gradients of its variables. `x` is read where [`needs_input`](Self::needs_input) says so.
    pub fn give_gradients(
        &self,
        x: &[f32],
        downs: &[Memory],
        dy: &[f32],
        d_downs: &[Option<Memory>],
    ) -> Result<()> {
        let Linear { weight, bias, precision } = self.linear;
        if let Some(weight) = weight.in_memory().filter(|weight| weight.track_op()) {
            let mut dw = Memory::of_gradient(weight.elem_count());
            self.linear.weight_gradient(x, dy, &mut dw)?;
            gradients::give(weight, dw)?;
        }
        if let Some(bias) = bias.as_ref().filter(|bias| bias.track_op()) {
            gradients::give(bias, sum_of_rows(dy, bias.elem_count())[..].into())?;
        }
        for (Adapter { a, b, scale }, (down, d_down)) in self.adapters.iter().zip(downs.iter().zip(d_downs)) {
            let ((rank, inner), out) = (a.dims2()?, b.dim(0)?);
            if b.track_op() {
                gradients::give(b, outer(*precision, (out, rank), dy, down, *scale as f32))?;
            }
            if let Some(d_down) = d_down.as_ref().filter(|_| a.track_op()) {
                gradients::give(a, outer(*precision, (rank, inner), d_down, x, 1.0))?;
            }
        }
        Ok(())
    }
}

/// `to = keep * to + factor * x M^T`, or with M itself instead of its transpose.
#[allow(clippy::too_many_arguments)]
fn by(
    precision: Precision,
    matrix: &Tensor,
    transposed: bool,
    shape: (usize, usize, usize),
    x: &[f32],
    keep: f32,
    factor: f32,
    to: &mut [f32],
) -> Result<()> {
    let width = matrix.dim(1)?;
    Numbers::with(&matrix.clone().into(), |matrix| {
        let matrix = if transposed { matrix.rows(width).t() } else { matrix.rows(width) };
        let x = cpu::View::rows(x, shape.2);
        precision.matmul(shape, to, shape.1, keep, x, matrix, factor, cpu::all_threads());
        Ok(())
    })
}

/// `factor * left^T right` of rows of these widths.
fn outer(precision: Precision, (m, n): (usize, usize), left: &[f32], right: &[f32], factor: f32) -> Memory {
    let mut to = Memory::of_gradient(m * n);
    let (left_rows, right_rows) = (cpu::View::rows(left, m).t(), cpu::View::rows(right, n).into());
    let shape = (m, n, left.len() / m);
    precision.matmul(shape, &mut to, n, 0.0, left_rows, right_rows, factor, cpu::all_threads());
    to
}

fn sum_of_rows(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0f32; width];
    for row in rows.chunks_exact(width) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sum
}
