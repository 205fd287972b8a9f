//! Matrices in files as operands: a piece is widened when it is read.

use std::ops::Range;

use gemm::Parallelism;
use half::bf16;

use super::{
    super::{
        by_row::{self, Rows},
        cpu::{View, matmul},
    },
    Lines, READ_LINES, READ_NUMBERS, Source,
    buffer::{self, Kept},
    for_each_chunk,
    round::round_lines,
};
use crate::stored::Stored;

/// Numbers that are widened at once for a product in f32: 16 MiB.
const PIECE: usize = 1 << 22;
/// Columns that are computed at once, at least: gemm sums products of 256 numbers or fewer, or of 64 columns or fewer, in another
/// order.
const COLUMNS: usize = 512;

/// Lines that are widened before they are rounded: 4 KiB, which stay in the nearest cache.
const WIDENED: usize = 8;

thread_local! {
    static WIDE: Kept = Kept::default();
    static ROUNDED: Kept = Kept::default();
}

/// A matrix in a file, from some row on, or the transpose of that.
#[derive(Clone, Copy)]
pub struct StoredView<'a> {
    matrix: &'a Stored,
    first: usize,
    turned: bool,
}

impl<'a> StoredView<'a> {
    /// All of it.
    pub fn of(matrix: &'a Stored) -> Self {
        Self { matrix, first: 0, turned: false }
    }

    /// The transpose.
    pub fn t(self) -> Self {
        Self { turned: !self.turned, ..self }
    }

    /// The rows from `first` on.
    pub fn from_row(self, first: usize) -> Self {
        Self { first: self.first + first, ..self }
    }
}

impl Source for StoredView<'_> {
    fn holds(&self, rows: usize, columns: usize) -> bool {
        let [all, width] = self.matrix.dims();
        let (rows, columns) = if self.turned { (columns, rows) } else { (rows, columns) };
        self.first + rows <= all && columns <= width
    }

    fn lines(&self) -> Lines {
        if self.turned { Lines::Columns } else { Lines::Rows }
    }

    fn read(&self, lines: Range<usize>, numbers: Range<usize>, to: &mut [bf16], to_line: usize) {
        buffer::with(&WIDE, WIDENED * READ_NUMBERS, |wide| {
            for (at, first) in lines.clone().step_by(WIDENED).enumerate() {
                let count = WIDENED.min(lines.end - first);
                let rows = self.first + first..self.first + first + count;
                self.matrix.read(rows, numbers.clone(), wide, READ_NUMBERS);
                let to = &mut to[at * WIDENED * to_line..];
                round_lines((count, numbers.len()), wide, READ_NUMBERS, to, to_line);
            }
        });
    }

    fn in_memory(&self) -> Option<(&[bf16], usize)> {
        let width = self.matrix.dims()[1];
        Some((&self.matrix.in_memory()?[self.first * width..], width))
    }
}

/// Rows as they are.
impl Rows for Stored {
    type Number = f32;

    fn with(&self, rows: Range<usize>, width: usize, f: impl FnOnce(&[f32])) {
        buffer::with(&WIDE, rows.len() * width, |wide| {
            self.read(rows, 0..width, wide, width);
            f(wide);
        });
    }

    #[cfg(target_arch = "x86_64")]
    fn multiply(&self, rows: Range<usize>, inner: usize, x: &[f32], y: &mut [&mut [f32]], at: usize) {
        if !crate::stored::dots::multiply(self, rows.clone(), x, y, at) {
            by_row::widened(self, rows, inner, x, y, at);
        }
    }
}

/// Rounded rows.
impl Rows for StoredView<'_> {
    type Number = bf16;

    fn with(&self, rows: Range<usize>, width: usize, f: impl FnOnce(&[bf16])) {
        buffer::with(&ROUNDED, rows.len() * width, |rounded: &mut [bf16]| {
            for first in (0..width).step_by(READ_NUMBERS) {
                let numbers = first..width.min(first + READ_NUMBERS);
                self.read(rows.clone(), numbers, &mut rounded[first..], width);
            }
            f(rounded);
        });
    }
}

/// As [`matmul`], in f32, by a matrix in a file. Every sum goes over the whole depth at once, as it would over a copy in memory, so
/// that the result is the same.
#[allow(clippy::too_many_arguments)]
pub fn multiply_wide(
    (m, n, k): (usize, usize, usize),
    to: &mut [f32],
    to_row: usize,
    keep: f32,
    a: View,
    b: StoredView,
    factor: f32,
    parallelism: Parallelism,
) {
    assert!(b.holds(k, n), "a matrix product reads outside its operands");
    let threads = if let Parallelism::Rayon(threads) = parallelism { threads.max(1) } else { 1 };
    let size = (PIECE / k.max(1)).max(COLUMNS) / 32 * 32;
    let count = (n / size).max(1);
    for piece in 0..count {
        let columns = piece * size..if piece + 1 < count { (piece + 1) * size } else { n };
        let (lines, numbers) = if b.turned { (columns.clone(), 0..k) } else { (0..k, columns.clone()) };
        let width = numbers.len();
        buffer::with(&WIDE, lines.len() * width, |wide: &mut [f32]| {
            for_each_chunk(threads, wide, READ_LINES * width.max(1), |i, to| {
                let first = b.first + lines.start + i * READ_LINES;
                b.matrix.read(first..first + to.len() / width, numbers.clone(), to, width);
            });
            let view = View::rows(&*wide, width);
            let view = if b.turned { view.t() } else { view };
            let to = &mut to[columns.start..];
            matmul((m, columns.len(), k), to, to_row, keep, a, view, factor, parallelism);
        });
    }
}
