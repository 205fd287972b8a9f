//! Products by tiles of operands that are packed into panels.
//!
//! The operand with fewer rows or columns in the result is packed first, as much as stays in the second cache. Then some panels of
//! the other at a time are packed and multiplied with all of it: that is a task, and tasks are divided between threads. So the
//! larger operand is packed once.

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
/// Rows or columns of the operand that is packed first, at once: 1 MiB.
const OUTER: usize = 672;
/// Panels that are packed together: a line is then read in longer runs.
const TOGETHER: usize = 4;

thread_local! {
    static FIRST: Kept = Kept::default();
    static STREAMED: Kept = Kept::default();
}

/// `to = keep * to + factor * a b`, where the processor has what `by` says.
pub fn multiply(by: By, product: Product, to: &mut [f32]) {
    let (m, n, _) = product.shape;
    let left = Side { source: product.a, outer: m, along: product.a.lines() == Lines::Rows };
    let right = Side { source: product.b, outer: n, along: product.b.lines() == Lines::Columns };
    let (first, streamed) = match n < m {
        true => ((Layout::Right, right), (Layout::Left, left)),
        false => ((Layout::Left, left), (Layout::Right, right)),
    };
    let to = To { at: to.as_mut_ptr(), row: product.to_row };
    Tiles { by, product: &product, first, streamed, to }.all();
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
    /// The operand that is packed first.
    first: (Layout, Side<'a>),
    /// The one whose panels tasks pack.
    streamed: (Layout, Side<'a>),
    to: To,
}

impl Tiles<'_> {
    /// Computes the result.
    fn all(&self) {
        let (layout, side) = self.first;
        for outer in pieces(0..side.outer, OUTER) {
            for depth in pieces(0..self.product.shape.2, DEPTH) {
                let panel = depth.len().div_ceil(32) * BLOCK;
                buffer::with(&FIRST, outer.len().div_ceil(WIDTH) * panel, |packed: &mut [bf16]| {
                    for_each_chunk(self.product.threads, packed, TOGETHER * panel, |i, to| {
                        let start = outer.start + i * TOGETHER * WIDTH;
                        let outer = start..outer.end.min(start + TOGETHER * WIDTH);
                        pack(&side, layout, outer, depth.clone(), to);
                    });
                    self.tasks(outer.clone(), |part, streamed| {
                        let packed = &packed[(part.start - outer.start) / WIDTH * panel..];
                        self.task(part, packed, streamed, depth.clone());
                    });
                });
            }
        }
    }

    /// Divides a piece of the first operand, and all of the streamed one, between threads.
    fn tasks(&self, first: Range<usize>, task: impl Fn(Range<usize>, Range<usize>) + Send + Sync) {
        let threads = self.product.threads;
        let outer = self.streamed.1.outer;
        let panels = outer.div_ceil(WIDTH);
        let together = (panels / (2 * threads)).clamp(1, TOGETHER);
        let parts = panels.div_ceil(together);
        // Where the streamed operand has few panels, the first is divided too.
        let part_size = first.len().div_ceil((2 * threads).div_ceil(parts)).next_multiple_of(WIDTH);
        let first_parts = if threads == 1 { 1 } else { first.len().div_ceil(part_size) };
        for_each(threads, parts * first_parts, |i| {
            let start = i / first_parts * together * WIDTH;
            let streamed = start..outer.min(start + together * WIDTH);
            let first = match first_parts {
                1 => first.clone(),
                _ => {
                    let start = first.start + i % first_parts * part_size;
                    start..first.end.min(start + part_size)
                }
            };
            task(first, streamed);
        });
    }

    /// Multiplies a part of the first operand, which is packed, with a part of the streamed one.
    fn task(&self, first: Range<usize>, packed: &[bf16], streamed: Range<usize>, depth: Range<usize>) {
        let (layout, side) = self.streamed;
        let keep = if depth.start == 0 { self.product.keep } else { 1.0 };
        let panel = depth.len().div_ceil(32) * BLOCK;
        buffer::with(&STREAMED, streamed.len().div_ceil(WIDTH) * panel, |others: &mut [bf16]| {
            pack(&side, layout, streamed.clone(), depth, others);
            // SAFETY: the processor has what `by` says.
            let unit = unsafe { Unit::of(self.by) };
            for (one, at) in packed.chunks(panel).zip(first.clone().step_by(WIDTH)) {
                let one_range = at..first.end.min(at + WIDTH);
                for (other, at) in others.chunks(panel).zip(streamed.clone().step_by(WIDTH)) {
                    let other_range = at..streamed.end.min(at + WIDTH);
                    match layout {
                        Layout::Right => self.block(&unit, one, other, one_range.clone(), other_range, keep),
                        Layout::Left => self.block(&unit, other, one, other_range, one_range.clone(), keep),
                    }
                }
            }
        });
    }

    /// Computes a block of at most 32 x 32 numbers of the result.
    fn block(
        &self,
        unit: &Unit,
        left: &[bf16],
        right: &[bf16],
        rows: Range<usize>,
        columns: Range<usize>,
        keep: f32,
    ) {
        let (m, n, _) = self.product.shape;
        assert!(rows.end <= m && columns.end <= n, "a block of the result");
        let (blocks, left) = (right.len() / BLOCK, Left::packed(left));
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
