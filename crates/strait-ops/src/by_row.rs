//! Products x W^T for few rows, each row by itself.

#[cfg(target_arch = "x86_64")]
use std::{any::TypeId, arch::x86_64, mem};
use std::{ops::Range, slice};

use half::bf16;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use pulp::{Arch, Simd, WithSimd, bytemuck::cast_slice_mut};
use rayon::prelude::*;

/// A number of a weight as it is kept, widened while it is read.
pub(super) trait Weight: Copy + Send + Sync {
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
        // The compiler would widen one by one.
        #[cfg(target_arch = "x86_64")]
        if TypeId::of::<S>() == TypeId::of::<V4>() {
            // SAFETY: as the caller says; V4 stands for a processor with AVX-512, whose vectors its are.
            return unsafe {
                let wide = x86_64::_mm512_cvtepu16_epi32(at.cast::<x86_64::__m256i>().read_unaligned());
                mem::transmute_copy(&x86_64::_mm512_slli_epi32::<16>(wide))
            };
        }
        #[cfg(target_arch = "x86_64")]
        if TypeId::of::<S>() == TypeId::of::<V3>() {
            // SAFETY: as above, of AVX2.
            return unsafe {
                let wide = x86_64::_mm256_cvtepu16_epi32(at.cast::<x86_64::__m128i>().read_unaligned());
                mem::transmute_copy(&x86_64::_mm256_slli_epi32::<16>(wide))
            };
        }
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

/// A matrix whose rows are multiplied some at a time.
pub(super) trait Rows: Sync {
    type Number: Weight;

    /// Runs `f` on some rows of `width` numbers, one behind the other.
    fn with(&self, rows: Range<usize>, width: usize, f: impl FnOnce(&[Self::Number]));

    /// Writes the products of some rows with all rows of x into the rows of y, from place `at` on.
    fn multiply(&self, rows: Range<usize>, inner: usize, x: &[f32], y: &mut [&mut [f32]], at: usize) {
        widened(self, rows, inner, x, y, at);
    }
}

/// As [`Rows::multiply`], by rows of numbers that are multiplied as they are.
pub(super) fn widened(
    weight: &(impl Rows + ?Sized),
    rows: Range<usize>,
    inner: usize,
    x: &[f32],
    y: &mut [&mut [f32]],
    at: usize,
) {
    weight.with(rows, inner, |weight| Arch::new().dispatch(Part { inner, x, weight, y, at }));
}

impl<T: Weight> Rows for &[T] {
    type Number = T;

    fn with(&self, rows: Range<usize>, width: usize, f: impl FnOnce(&[T])) {
        f(&self[rows.start * width..rows.end * width]);
    }
}

/// Multiplications that are worth a task of their own.
const TASK: usize = 1 << 16;
/// The most tasks of each thread, so that none waits long for the others.
const TASKS: usize = 4;

/// `y = x weight^T`, each row of x by itself.
///
/// # Shapes
/// - `x`: `(rows, inner)`; `weight`: `(out, inner)`; `y`: `(rows, out)`
pub(super) fn multiply((out, inner): (usize, usize), x: &[f32], weight: &impl Rows, y: &mut [f32]) {
    if out == 0 || inner == 0 {
        return;
    }
    let tasks = (x.len() * out / TASK).clamp(1, TASKS * rayon::current_num_threads());
    let size = out.div_ceil(tasks).next_multiple_of(BLOCK);
    let mut parts: Vec<Vec<&mut [f32]>> = (0..out.div_ceil(size)).map(|_| Vec::new()).collect();
    for row in y.chunks_exact_mut(out) {
        parts.iter_mut().zip(row.chunks_mut(size)).for_each(|(part, piece)| part.push(piece));
    }
    parts.into_par_iter().enumerate().for_each(|(part, mut y)| {
        let rows = part * size..out.min((part + 1) * size);
        for first in rows.clone().step_by(BLOCK) {
            let block = first..rows.end.min(first + BLOCK);
            weight.multiply(block, inner, x, &mut y, first - rows.start);
        }
    });
}

/// Rows of x, and rows of the weights, whose products are summed at once, in registers.
const X: usize = 6;
const W: usize = 4;
/// The latter where x has one row: as many sums as keep the processor busy, since each waits for the one before it.
const W_OF_ONE: usize = 6;

/// Rows of the weights that stay in the nearest cache while all of x passes.
const BLOCK: usize = 3 * W;

/// All rows of x by a block of the weights.
struct Part<'a, 'y, T> {
    inner: usize,
    x: &'a [f32],
    weight: &'a [T],
    y: &'a mut [&'y mut [f32]],
    /// The place of the block's products in the rows of y.
    at: usize,
}

impl<T: Weight> WithSimd for Part<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (rows, mut row) = (self.y.len(), 0);
        while row < rows {
            row += match rows - row {
                X.. => self.rows::<S, X, W>(simd, row),
                2.. => self.rows::<S, 2, W>(simd, row),
                _ => self.rows::<S, 1, W_OF_ONE>(simd, row),
            };
        }
    }
}

impl<T: Weight> Part<'_, '_, T> {
    /// Some rows of x by the block; gives the number of rows.
    #[inline(always)]
    fn rows<S: Simd, const N: usize, const M: usize>(&mut self, simd: S, row: usize) -> usize {
        let (mut at, end) = (0, self.weight.len() / self.inner);
        while at + M <= end {
            self.tile::<S, N, M>(simd, row, at);
            at += M;
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
            y[self.at + at..][..M].copy_from_slice(&products);
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
