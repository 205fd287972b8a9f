//! y = x W^T + b for few rows, each row by itself.

use candle_core::{Result, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{Linear, cpu, fused, linear};

/// As [`linear`], without gradients: a row of the result has the same bits whatever rows stand beside it, and however many.
///
/// Answers that are decoded together stay what they are alone. gemm's products do not promise that: it takes another kernel for a
/// single row. Up to some hundred rows this one is also the faster, since it reads the weights as they lie.
///
/// # Shapes
/// - `x`: `(rows, in)`
/// - result: `(rows, out)`
///
/// # Errors
/// If the shapes disagree.
pub fn linear_by_row(x: &Tensor, projection: &Linear) -> Result<Tensor> {
    if !fused(x) {
        return linear(x, projection);
    }
    let ((rows, inner), (out, width)) = (x.dims2()?, projection.weight.dims2()?);
    if width != inner {
        candle_core::bail!("a projection of width {width} was given activations of width {inner}");
    }
    let mut y = vec![0f32; rows * out];
    cpu::with_slices([x, &projection.weight], |[x, weight]| {
        multiply((out, inner), x, weight, &mut y);
        Ok(())
    })?;
    let y = Tensor::from_vec(y, (rows, out), x.device())?;
    match &projection.bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// Products below this many multiplications are not worth a second thread.
const WORTH_THREADS: usize = 1 << 18;

/// The tasks of each thread, so that none waits long for the others.
const TASKS: usize = 4;

fn multiply((out, inner): (usize, usize), x: &[f32], weight: &[f32], y: &mut [f32]) {
    if out == 0 || inner == 0 {
        return;
    }
    let tasks = match x.len() * out < WORTH_THREADS {
        true => 1,
        false => TASKS * rayon::current_num_threads(),
    };
    let width = out.div_ceil(tasks).next_multiple_of(BLOCK);
    let mut parts: Vec<Vec<&mut [f32]>> = (0..out.div_ceil(width)).map(|_| Vec::new()).collect();
    for row in y.chunks_exact_mut(out) {
        parts.iter_mut().zip(row.chunks_mut(width)).for_each(|(part, piece)| part.push(piece));
    }
    let task = |(y, weight): (Vec<&mut [f32]>, &[f32])| {
        Arch::new().dispatch(Part { inner, x, weight, y });
    };
    parts.into_par_iter().zip(weight.par_chunks(width * inner)).for_each(task);
}

/// Rows of x, and rows of the weights, whose products are summed at once, in registers.
const X: usize = 6;
const W: usize = 4;

/// Rows of the weights that stay in the nearest cache while all of x passes.
const BLOCK: usize = 3 * W;

/// All rows of x by some of the weights.
struct Part<'a> {
    inner: usize,
    x: &'a [f32],
    weight: &'a [f32],
    y: Vec<&'a mut [f32]>,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (rows, out) = (self.y.len(), self.weight.len() / self.inner);
        for block in (0..out).step_by(BLOCK) {
            let end = (block + BLOCK).min(out);
            let mut row = 0;
            while row < rows {
                row += match rows - row {
                    X.. => self.rows::<S, X>(simd, row, block, end),
                    2.. => self.rows::<S, 2>(simd, row, block, end),
                    _ => self.rows::<S, 1>(simd, row, block, end),
                };
            }
        }
    }
}

impl Part<'_> {
    /// Some rows of x by the weights from `first` to `end`; gives the number of rows.
    #[inline(always)]
    fn rows<S: Simd, const N: usize>(&mut self, simd: S, row: usize, first: usize, end: usize) -> usize {
        let mut at = first;
        while at + W <= end {
            self.tile::<S, N, W>(simd, row, at);
            at += W;
        }
        while at < end {
            self.tile::<S, N, 1>(simd, row, at);
            at += 1;
        }
        N
    }

    #[inline(always)]
    fn tile<S: Simd, const N: usize, const M: usize>(&mut self, simd: S, row: usize, at: usize) {
        let (mut x, mut w): ([&[f32]; N], [&[f32]; M]) = ([&[]; N], [&[]; M]);
        for (i, x) in x.iter_mut().enumerate() {
            *x = &self.x[(row + i) * self.inner..][..self.inner];
        }
        for (i, w) in w.iter_mut().enumerate() {
            *w = &self.weight[(at + i) * self.inner..][..self.inner];
        }
        let products = products(simd, x, w);
        for (y, products) in self.y[row..row + N].iter_mut().zip(products) {
            y[at..at + M].copy_from_slice(&products);
        }
    }
}

/// The product of each x with each w. Its terms are added in an order that follows from their number alone: vector by vector,
/// and then across the vector.
#[inline(always)]
pub(super) fn products<S: Simd, const N: usize, const M: usize>(
    simd: S,
    x: [&[f32]; N],
    w: [&[f32]; M],
) -> [[f32; M]; N] {
    let (mut xs, mut x_rest) = ([&[] as &[S::f32s]; N], [&[] as &[f32]; N]);
    let (mut ws, mut w_rest) = ([&[] as &[S::f32s]; M], [&[] as &[f32]; M]);
    for i in 0..N {
        (xs[i], x_rest[i]) = S::as_simd_f32s(x[i]);
    }
    for j in 0..M {
        (ws[j], w_rest[j]) = S::as_simd_f32s(w[j]);
    }
    let vectors = xs.iter().chain(&ws).map(|vectors| vectors.len()).min().unwrap_or(0);
    let mut sums = [[simd.splat_f32s(0.0); M]; N];
    for at in 0..vectors {
        let mut of_w = [simd.splat_f32s(0.0); M];
        for j in 0..M {
            // SAFETY: `vectors` is the least length of them all. A check here costs a quarter of the time.
            of_w[j] = unsafe { *ws[j].get_unchecked(at) };
        }
        for i in 0..N {
            // SAFETY: as above.
            let of_x = unsafe { *xs[i].get_unchecked(at) };
            for j in 0..M {
                sums[i][j] = simd.mul_add_f32s(of_x, of_w[j], sums[i][j]);
            }
        }
    }
    let mut products = [[0f32; M]; N];
    for i in 0..N {
        for j in 0..M {
            if !x_rest[i].is_empty() {
                let (of_x, of_w) = (simd.partial_load_f32s(x_rest[i]), simd.partial_load_f32s(w_rest[j]));
                sums[i][j] = simd.mul_add_f32s(of_x, of_w, sums[i][j]);
            }
            products[i][j] = simd.reduce_sum_f32s(sums[i][j]);
        }
    }
    products
}

#[cfg(test)]
mod tests {
    use super::super::test_support::random;
    use super::*;

    #[test]
    fn a_row_is_what_it_is_alone() {
        for (rows, out, inner) in [(1, 1, 1), (13, 30, 7), (50, 131, 70), (9, 520, 576)] {
            let projection = Linear { weight: random(2, &[out, inner]), bias: Some(random(3, &[out])) };
            let x = random(1, &[rows, inner]);
            let together = linear_by_row(&x, &projection).unwrap();
            for row in 0..rows {
                let alone = linear_by_row(&x.narrow(0, row, 1).unwrap(), &projection).unwrap();
                assert_eq!(
                    alone.to_vec2::<f32>().unwrap(),
                    together.narrow(0, row, 1).unwrap().to_vec2::<f32>().unwrap()
                );
            }
            let other = linear(&x, &projection).unwrap();
            let difference = (together - other).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() < 1e-4);
        }
    }
}
