//! Products of few rows, as where tokens are decoded: the transpose is computed, b^T a^T.
//!
//! Such a product costs the reading of b. A piece of it is read from where it lies, or widened into the nearest cache, and
//! is multiplied at once, without being laid out anew.

use std::ops::Range;

use half::bf16;

use super::{
    super::vectors::fetch,
    Lines, Product, READ_LINES, READ_NUMBERS,
    buffer::{self, Kept},
    for_each,
    panel::{BLOCK, Layout, Left, Side, WIDTH, pack, read},
    pieces,
    tiles::{DEPTH, To},
    unit::{By, Sums, Unit},
};

/// The most rows of `a`.
const FEW: usize = 64;
/// Tasks of each thread.
const TASKS: usize = 4;

thread_local! {
    static PIECE: Kept = Kept::default();
    static RIGHT: Kept = Kept::default();
}

/// True if a product is one of few rows with a matrix whose lines run along the depth.
pub fn is_of_few(product: &Product) -> bool {
    product.shape.0 <= FEW && product.b.lines() == Lines::Columns
}

/// `to = keep * to + factor * a b`, where the processor has what `by` says.
pub fn multiply(by: By, product: Product, to: &mut [f32]) {
    let (m, n, k) = product.shape;
    let rows = Side { source: product.a, outer: m, along: product.a.lines() == Lines::Rows };
    let to = To { at: to.as_mut_ptr(), row: product.to_row };
    let size = n.div_ceil(TASKS * product.threads).next_multiple_of(WIDTH);
    // Sums end where they end in other products of this depth.
    for depth in pieces(0..k, DEPTH) {
        let panel = depth.len().div_ceil(32) * BLOCK;
        buffer::with(&RIGHT, m.div_ceil(WIDTH) * panel, |right: &mut [bf16]| {
            pack(&rows, Layout::Right, 0..m, depth.clone(), right);
            let right = &*right;
            for_each(product.threads, n.div_ceil(size), |task| {
                let columns = task * size..n.min((task + 1) * size);
                part(by, &product, right.chunks(panel), columns, depth.clone(), to);
            });
        });
    }
}

/// Computes some columns of the result, a part of the depth, from the panels of `a`.
fn part<'a>(
    by: By,
    product: &Product,
    right: impl Iterator<Item = &'a [bf16]> + Clone,
    columns: Range<usize>,
    depth: Range<usize>,
    to: To,
) {
    let m = product.shape.0;
    let keep = if depth.start == 0 { product.keep } else { 1.0 };
    buffer::with(&PIECE, READ_LINES * READ_NUMBERS, |piece| {
        // SAFETY: the processor has what `by` says.
        let unit = unsafe { Unit::of(by) };
        let last = columns.end;
        for first in columns.clone().step_by(WIDTH) {
            let columns = first..columns.end.min(first + WIDTH);
            let mut sums = [Sums::ZERO; FEW / WIDTH];
            for start in depth.clone().step_by(READ_NUMBERS) {
                let numbers = start..depth.end.min(start + READ_NUMBERS);
                let at = (start - depth.start) / 32 * BLOCK;
                let count = numbers.len().div_ceil(32);
                let (from, line) = read(product.b, columns.clone(), numbers.clone(), piece);
                if let Some((all, line)) = product.b.in_memory() {
                    let next = columns.end..last.min(columns.end + WIDTH);
                    next.for_each(|l| fetch(&all[l * line..][numbers.clone()]));
                }
                for ((i, panel), sums) in right.clone().enumerate().zip(&mut sums) {
                    let tiles = (columns.len().div_ceil(16), (m - i * WIDTH).min(WIDTH).div_ceil(16));
                    unit.accumulate(count, tiles, Left::in_memory(from, line), &panel[at..], sums);
                }
            }
            for (row, sums) in (0..m).step_by(WIDTH).zip(&sums) {
                let shape = ((m - row).min(WIDTH), columns.len());
                // SAFETY: the result has these rows and columns, and no other task writes to the columns.
                unsafe {
                    let to_place = to.at.add(row * to.row + columns.start);
                    sums.deliver_transposed(shape, to_place, to.row, keep, product.factor);
                }
            }
        }
    });
}
