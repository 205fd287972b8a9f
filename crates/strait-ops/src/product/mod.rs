//! Matrix products of bf16 numbers, whose sums are f32.
//!
//! Operands are f32 numbers that are rounded on the way, bf16 numbers as a file has them, or anything else that is a
//! [`Source`]. They are packed a piece at a time into the layout that the processor multiplies fastest, and no copy of a
//! whole operand is made. The result does not depend on the number of threads: no sum is divided between them.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod buffer;
#[cfg(target_arch = "x86_64")]
mod few;
#[cfg(target_arch = "x86_64")]
mod pairs;
#[cfg(target_arch = "x86_64")]
mod panel;
mod round;
mod source;
mod stored;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod unit;
mod widened;

use std::{fmt, ops::Range, sync::OnceLock};

use gemm::Parallelism;
use rayon::prelude::*;

pub use super::cpu::View;
#[cfg(target_arch = "x86_64")]
pub(crate) use buffer::Aligned;
#[cfg(target_arch = "x86_64")]
pub(crate) use panel::{BLOCK, Layout, Left, Side, WIDTH, pack};
pub(crate) use round::round_in_place;
pub use round::{round, widen};
pub use source::{Lines, READ_LINES, READ_NUMBERS, Source};
pub use stored::StoredView;
pub(crate) use stored::multiply_wide;
#[cfg(target_arch = "x86_64")]
pub(crate) use unit::{Sums, Unit};

/// Products of fewer multiplications are computed by one thread: waking another takes as long.
const SMALL: usize = 1 << 19;

/// The way in which products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Tiles of 16 x 32 numbers (AMX).
    Amx,
    /// Dot products of pairs in vectors (AVX-512 BF16).
    Avx512,
    /// Rounded operands are widened to f32, a piece at a time, and multiplied by gemm.
    Widened,
}

impl Kernel {
    /// The kernels that this processor has, the fastest first.
    pub fn available() -> &'static [Kernel] {
        static AVAILABLE: OnceLock<Vec<Kernel>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            let mut kernels = vec![Kernel::Widened];
            #[cfg(target_arch = "x86_64")]
            if avx512::is_there() {
                kernels.insert(if pairs::is_fast() { 0 } else { 1 }, Kernel::Avx512);
                if amx::is_there() {
                    kernels.insert(0, Kernel::Amx);
                }
            }
            kernels
        })
    }

    /// The unit of tiles that it multiplies by, in use on this thread, if it has one.
    ///
    /// # Panics
    /// If the kernel is not [available](Kernel::available).
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn unit(self) -> Option<Unit> {
        assert!(Self::available().contains(&self), "{self} is not there");
        let by = match self {
            Kernel::Amx => unit::By::Amx,
            Kernel::Avx512 => unit::By::Avx512,
            Kernel::Widened => return None,
        };
        // SAFETY: the processor has it.
        Some(unsafe { Unit::of(by) })
    }

    /// [`matmul`] by this kernel.
    ///
    /// # Panics
    /// As [`matmul`], and if the kernel is not [available](Kernel::available).
    #[allow(clippy::too_many_arguments)]
    pub fn matmul(
        self,
        (m, n, k): (usize, usize, usize),
        to: &mut [f32],
        to_row: usize,
        keep: f32,
        a: &dyn Source,
        b: &dyn Source,
        factor: f32,
        parallelism: Parallelism,
    ) {
        assert!(Self::available().contains(&self), "{self} is not there");
        assert!(a.holds(m, k) && b.holds(k, n), "a matrix product reads outside its operands");
        if m == 0 || n == 0 {
            return;
        }
        assert!(n <= to_row || m == 1, "the rows of a matrix product's result overlap");
        assert!((m - 1) * to_row + n <= to.len(), "a matrix product writes outside its result");
        if k == 0 {
            return scale((m, n), to, to_row, keep);
        }
        let threads = match parallelism {
            Parallelism::Rayon(threads) if m * n * k >= SMALL => threads.max(1),
            _ => 1,
        };
        let product = Product { shape: (m, n, k), to_row, keep, a, b, factor, threads };
        match self {
            Kernel::Widened => widened::multiply(product, to),
            #[cfg(target_arch = "x86_64")]
            Kernel::Amx => by_tiles(unit::By::Amx, product, to),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => by_tiles(unit::By::Avx512, product, to),
            #[cfg(not(target_arch = "x86_64"))]
            Kernel::Amx | Kernel::Avx512 => unreachable!("available on x86-64 alone"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn by_tiles(by: unit::By, product: Product, to: &mut [f32]) {
    if few::is_of_few(&product) {
        few::multiply(by, product, to);
    } else {
        tiles::multiply(by, product, to);
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Kernel::Amx => "AMX",
            Kernel::Avx512 => "AVX-512 BF16",
            Kernel::Widened => "f32",
        })
    }
}

/// `to = keep * to + factor * a b`, with `a` of shape (m, k), `b` of shape (k, n), and `to` of m rows of n numbers that
/// stand `to_row` apart, by the fastest kernel of this processor. Operands are rounded to bf16, sums are f32. With `keep` 0
/// what `to` held is not read.
///
/// # Panics
/// If an operand or `to` is too small.
#[allow(clippy::too_many_arguments)]
pub fn matmul(
    shape: (usize, usize, usize),
    to: &mut [f32],
    to_row: usize,
    keep: f32,
    a: &dyn Source,
    b: &dyn Source,
    factor: f32,
    parallelism: Parallelism,
) {
    Kernel::available()[0].matmul(shape, to, to_row, keep, a, b, factor, parallelism);
}

/// True if a row of [`matmul`]'s result has the same bits whatever rows of `a` stand beside it. Tiles sum a number's terms in one
/// order, whichever operand is the left one; gemm has other kernels for few rows.
pub fn is_by_row() -> bool {
    Kernel::available()[0] != Kernel::Widened
}

/// A product whose sizes are checked: none is 0, the operands hold them, and the result has room.
struct Product<'a> {
    shape: (usize, usize, usize),
    to_row: usize,
    keep: f32,
    a: &'a dyn Source,
    b: &'a dyn Source,
    factor: f32,
    threads: usize,
}

fn scale((m, n): (usize, usize), to: &mut [f32], to_row: usize, keep: f32) {
    for i in 0..m {
        for x in &mut to[i * to_row..][..n] {
            *x = if keep == 0.0 { 0.0 } else { keep * *x };
        }
    }
}

/// Calls `f` with every number below `n`.
fn for_each(threads: usize, n: usize, f: impl Fn(usize) + Send + Sync) {
    match threads {
        1 => (0..n).for_each(f),
        _ => (0..n).into_par_iter().for_each(f),
    }
}

/// Calls `f` with every chunk and its place.
fn for_each_chunk<T: Send>(
    threads: usize,
    numbers: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    match threads {
        1 => numbers.chunks_mut(size).enumerate().for_each(|(i, chunk)| f(i, chunk)),
        _ => numbers.par_chunks_mut(size).enumerate().for_each(|(i, chunk)| f(i, chunk)),
    }
}

/// Cuts a range into pieces of about the same size, at most `most`, which is a multiple of 32, and all but the last of
/// multiples of 32.
fn pieces(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = range.len().div_ceil(most).max(1);
    let size = range.len().div_ceil(count).next_multiple_of(32).max(32);
    range.clone().step_by(size).map(move |start| start..range.end.min(start + size))
}
