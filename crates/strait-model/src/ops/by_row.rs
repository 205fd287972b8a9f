//! Products x W^T for few rows, each row by itself.

use std::slice;

use half::bf16;
use pulp::{Arch, Simd, WithSimd, bytemuck::cast_slice_mut};
use rayon::prelude::*;

/// A number of a weight as it is kept, widened while it is read.
pub(super) trait Weight: Copy + Sync {
    /// A vector of those from `at` on.
    ///
    /// # Safety
    /// There must be as many.
    unsafe fn load<S: Simd>(simd: S, at: *const Self) -> S::f32s;

    /// A vector of fewer than it takes, with zeros behind them.
    fn rest<S: Simd>(simd: S, numbers: &[Self]) -> S::f32s;
}

impl Weight for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(_: S, at: *const Self) -> S::f32s {
        // SAFETY: as the caller says.
        unsafe { at.cast::<S::f32s>().read_unaligned() }
    }

    #[inline(always)]
    fn rest<S: Simd>(simd: S, numbers: &[Self]) -> S::f32s {
        simd.partial_load_f32s(numbers)
    }
}

impl Weight for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, at: *const Self) -> S::f32s {
        // SAFETY: as the caller says.
        Self::rest(simd, unsafe { slice::from_raw_parts(at, S::F32_LANES) })
    }

    #[inline(always)]
    fn rest<S: Simd>(simd: S, numbers: &[Self]) -> S::f32s {
        let mut vector = simd.splat_f32s(0.0);
        for (to, from) in cast_slice_mut(slice::from_mut(&mut vector)).iter_mut().zip(numbers) {
            *to = u32::from(from.to_bits()) << 16;
        }
        vector
    }
}

/// Products below this many multiplications are not worth a second thread.
const WORTH_THREADS: usize = 1 << 18;

/// The tasks of each thread, so that none waits long for the others.
const TASKS: usize = 4;

/// `y = x weight^T`, each row of x by itself.
///
/// # Shapes
/// - `x`: `(rows, inner)`; `weight`: `(out, inner)`; `y`: `(rows, out)`
pub(super) fn multiply<T: Weight>((out, inner): (usize, usize), x: &[f32], weight: &[T], y: &mut [f32]) {
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
    let task = |(y, weight): (Vec<&mut [f32]>, &[T])| {
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
struct Part<'a, T> {
    inner: usize,
    x: &'a [f32],
    weight: &'a [T],
    y: Vec<&'a mut [f32]>,
}

impl<T: Weight> WithSimd for Part<'_, T> {
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

impl<T: Weight> Part<'_, T> {
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
        let (mut x, mut w): ([&[f32]; N], [&[T]; M]) = ([&[]; N], [&[]; M]);
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

/// The product of each x with each w, which are of one length. Its terms are added in an order that follows from their number
/// alone: vector by vector, and then across the vector.
#[inline(always)]
pub(super) fn products<S: Simd, T: Weight, const N: usize, const M: usize>(
    simd: S,
    x: [&[f32]; N],
    w: [&[T]; M],
) -> [[f32; M]; N] {
    let numbers = x.iter().map(|x| x.len()).chain(w.iter().map(|w| w.len())).min().unwrap_or(0);
    let whole = numbers - numbers % S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); M]; N];
    for at in (0..whole).step_by(S::F32_LANES) {
        let mut of_w = [simd.splat_f32s(0.0); M];
        for j in 0..M {
            // SAFETY: `whole` is at most the least length of them all. A check here costs a quarter of the time.
            of_w[j] = unsafe { T::load(simd, w[j].as_ptr().add(at)) };
        }
        for i in 0..N {
            // SAFETY: as above.
            let of_x = unsafe { f32::load(simd, x[i].as_ptr().add(at)) };
            for j in 0..M {
                sums[i][j] = simd.mul_add_f32s(of_x, of_w[j], sums[i][j]);
            }
        }
    }
    let mut products = [[0f32; M]; N];
    for i in 0..N {
        for j in 0..M {
            if whole < numbers {
                let (of_x, of_w) = (f32::rest(simd, &x[i][whole..]), T::rest(simd, &w[j][whole..]));
                sums[i][j] = simd.mul_add_f32s(of_x, of_w, sums[i][j]);
            }
            products[i][j] = simd.reduce_sum_f32s(sums[i][j]);
        }
    }
    products
}
