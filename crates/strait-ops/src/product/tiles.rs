//! Products by tiles of operands that are packed into panels.
//!
//! The left operand is packed first, as much as stays in the second cache. Then some panels of the right operand at a time
//! are packed and multiplied with all of it: that is a task, and tasks are divided between threads.

use std::ops::Range;

use half::bf16;

use super::{
    Lines, Product, avx512,
    buffer::{self, Kept},
    for_each, for_each_chunk,
    panel::{BLOCK, Layout, Left, Side, WIDTH, pack},
    pieces,
    unit::{By, Sums, Unit},
};

/// The depth of a panel, as long as a panel of each operand fits in the first two caches with room to spare.
pub const DEPTH: usize = 768;
/// Rows of the left operand that are packed at once: 1 MiB.
const ROWS: usize = 672;
/// Panels that are packed together: a line is then read in longer runs.
const TOGETHER: usize = 4;

thread_local! {
    static LEFT: Kept = Kept::default();
    static RIGHT: Kept = Kept::default();
}

/// `to = keep * to + factor * a b`, where the processor has what `by` says.
pub fn multiply(by: By, product: Product, to: &mut [f32]) {
    let (m, n, _) = product.shape;
    let left = Side { source: product.a, outer: m, along: product.a.lines() == Lines::Rows };
    let right = Side { source: product.b, outer: n, along: product.b.lines() == Lines::Columns };
    let to = To { at: to.as_mut_ptr(), row: product.to_row };
    Tiles { by, product: &product, left, right, to }.all();
}

/// The place of results.
#[derive(Clone, Copy)]
pub struct To {
    pub at: *mut f32,
    /// The distance between rows.
    pub row: usize,
}

// SAFETY: tasks write different blocks of what the caller of `multiply` has borrowed mutably.
unsafe impl Send for To {}
unsafe impl Sync for To {}

struct Tiles<'a> {
    by: By,
    product: &'a Product<'a>,
    left: Side<'a>,
    right: Side<'a>,
    to: To,
}

impl Tiles<'_> {
    /// Computes the result, from panels of the left operand that are packed beforehand.
    fn all(&self) {
        for rows in pieces(0..self.left.outer, ROWS) {
            for depth in pieces(0..self.product.shape.2, DEPTH) {
                let panel = depth.len().div_ceil(32) * BLOCK;
                buffer::with(&LEFT, rows.len().div_ceil(WIDTH) * panel, |packed: &mut [bf16]| {
                    for_each_chunk(self.product.threads, packed, TOGETHER * panel, |i, to| {
                        let start = rows.start + i * TOGETHER * WIDTH;
                        let rows = start..rows.end.min(start + TOGETHER * WIDTH);
                        pack(&self.left, Layout::Left, rows, depth.clone(), to);
                    });
                    let left =
                        |first: usize| Left::packed(&packed[(first - rows.start) / WIDTH * panel..][..panel]);
                    self.tasks(rows.clone(), |rows, columns| {
                        self.task(rows, columns, depth.clone(), &left);
                    });
                });
            }
        }
    }

    /// Divides rows, and all columns, between threads.
    fn tasks(&self, rows: Range<usize>, task: impl Fn(Range<usize>, Range<usize>) + Send + Sync) {
        let threads = self.product.threads;
        let panels = self.right.outer.div_ceil(WIDTH);
        let together = (panels / (2 * threads)).clamp(1, TOGETHER);
        let parts = panels.div_ceil(together);
        // Where columns are few, rows are divided too.
        let part_rows = rows.len().div_ceil((2 * threads).div_ceil(parts)).next_multiple_of(WIDTH);
        let row_parts = if threads == 1 { 1 } else { rows.len().div_ceil(part_rows) };
        for_each(threads, parts * row_parts, |i| {
            let start = i / row_parts * together * WIDTH;
            let columns = start..self.right.outer.min(start + together * WIDTH);
            let rows = match row_parts {
                1 => rows.clone(),
                _ => {
                    let start = rows.start + i % row_parts * part_rows;
                    start..rows.end.min(start + part_rows)
                }
            };
            task(rows, columns);
        });
    }

    /// Multiplies rows, whose panel that begins with a row is `left` of that row, with columns.
    fn task<'l>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        depth: Range<usize>,
        left: &impl Fn(usize) -> Left<'l>,
    ) {
        let blocks = depth.len().div_ceil(32);
        let keep = if depth.start == 0 { self.product.keep } else { 1.0 };
        let panels = columns.len().div_ceil(WIDTH);
        buffer::with(&RIGHT, panels * blocks * BLOCK, |packed: &mut [bf16]| {
            pack(&self.right, Layout::Right, columns.clone(), depth, packed);
            // SAFETY: the processor has what `by` says.
            let unit = unsafe { Unit::of(self.by) };
            for row in rows.clone().step_by(WIDTH) {
                let rows = row..rows.end.min(row + WIDTH);
                let left = left(row);
                for (panel, column) in packed.chunks(blocks * BLOCK).zip(columns.clone().step_by(WIDTH)) {
                    let columns = column..columns.end.min(column + WIDTH);
                    self.block(&unit, blocks, left, panel, rows.clone(), columns, keep);
                }
            }
        });
    }

    /// Computes a block of at most 32 x 32 numbers of the result.
    #[allow(clippy::too_many_arguments)]
    fn block(
        &self,
        unit: &Unit,
        blocks: usize,
        left: Left,
        right: &[bf16],
        rows: Range<usize>,
        columns: Range<usize>,
        keep: f32,
    ) {
        assert!(rows.end <= self.left.outer && columns.end <= self.right.outer, "a block of the result");
        let shape = (rows.len(), columns.len());
        // SAFETY: the result has this number, as its sizes are those of the outer operands.
        let to = unsafe { self.to.at.add(rows.start * self.to.row + columns.start) };
        avx512::prefetch_for_writing(to, self.to.row, shape.0, shape.1);
        if keep == 0.0 && self.product.factor == 1.0 && shape == (WIDTH, WIDTH) {
            // SAFETY: the whole block lies in the result.
            return unsafe { unit.multiply(blocks, left, right, to, self.to.row) };
        }
        let mut sums = Sums::ZERO;
        unit.accumulate(blocks, (shape.0.div_ceil(16), shape.1.div_ceil(16)), left, right, &mut sums);
        // SAFETY: the block's rows and columns are in the result.
        unsafe { sums.deliver(shape, to, self.to.row, keep, self.product.factor) };
    }
}
