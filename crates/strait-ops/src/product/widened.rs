//! Products on processors that have none of bf16: operands are rounded all the same, so that results mean the same.

use std::ops::Range;

use gemm::Parallelism;
use half::bf16;

use super::{
    super::cpu::{View, matmul},
    Lines, Product, READ_LINES, READ_NUMBERS, Source,
    buffer::{self, Kept},
    for_each_chunk, pieces,
    round::widen,
};

/// Rows, columns, and the depth that are widened at once: 1 MiB of each operand.
const PIECE: usize = 512;

thread_local! {
    static LEFT: Kept = Kept::default();
    static RIGHT: Kept = Kept::default();
}

/// `to = keep * to + factor * a b`.
pub fn multiply(product: Product, to: &mut [f32]) {
    let Product { shape: (m, n, k), to_row, a, b, factor, threads, .. } = product;
    let parallelism = if threads == 1 { Parallelism::None } else { Parallelism::Rayon(threads) };
    for rows in pieces(0..m, PIECE) {
        for depth in pieces(0..k, PIECE) {
            let keep = if depth.start == 0 { product.keep } else { 1.0 };
            widened(&LEFT, a, rows.clone(), depth.clone(), threads, |left| {
                for columns in pieces(0..n, PIECE) {
                    widened(&RIGHT, b, depth.clone(), columns.clone(), threads, |right| {
                        let to = &mut to[rows.start * to_row + columns.start..];
                        let shape = (rows.len(), columns.len(), depth.len());
                        matmul(shape, to, to_row, keep, left, right, factor, parallelism);
                    });
                }
            });
        }
    }
}

/// Runs `f` on a part of a matrix.
fn widened(
    kept: &'static std::thread::LocalKey<Kept>,
    source: &dyn Source,
    rows: Range<usize>,
    columns: Range<usize>,
    threads: usize,
    f: impl FnOnce(View),
) {
    let (lines, numbers) = match source.lines() {
        Lines::Rows => (rows, columns),
        Lines::Columns => (columns, rows),
    };
    let width = numbers.len();
    buffer::with(kept, lines.len() * width, |to: &mut [f32]| {
        for_each_chunk(threads, to, READ_LINES * width, |i, to| {
            let start = lines.start + i * READ_LINES;
            let lines = start..lines.end.min(start + READ_LINES);
            let mut piece = [bf16::ZERO; READ_LINES * READ_NUMBERS];
            for part in numbers.clone().step_by(READ_NUMBERS) {
                let part = part..numbers.end.min(part + READ_NUMBERS);
                source.read(lines.clone(), part.clone(), &mut piece, READ_NUMBERS);
                let at = part.start - numbers.start;
                for (to, from) in to.chunks_mut(width).zip(piece.chunks(READ_NUMBERS)) {
                    widen(&from[..part.len()], &mut to[at..][..part.len()]);
                }
            }
        });
        let view = View::rows(&*to, width);
        f(if source.lines() == Lines::Rows { view } else { view.t() });
    });
}
