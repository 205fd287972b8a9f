//! Products by tiles of operands that are packed into panels.
//!
//! The left operand is packed first, as much as stays in the second cache. Then some panels of the right operand at a time
//! are packed and multiplied with all of it: that is a task, and tasks are divided between threads.

use std::ops::Range;

use half::bf16;

use super::{
    Lines, Product, amx, avx512,
    buffer::{self, Kept},
    for_each, for_each_chunk, pairs,
    panel::{BLOCK, Layout, Left, Side, TILE, WIDTH, pack},
    pieces,
};

/// The depth of a panel, as long as a panel of each operand fits in the first two caches with room to spare.
const DEPTH: usize = 768;
/// Rows of the left operand that are packed at once: 1 MiB.
const ROWS: usize = 672;
/// Panels that are packed together: a line is then read in longer runs.
const TOGETHER: usize = 4;
/// Rows of `a` up to which a `b` that lies in memory is multiplied where it lies: packing it would not pay.
const FEW: usize = 64;

thread_local! {
    static LEFT: Kept = Kept::default();
    static RIGHT: Kept = Kept::default();
}

/// What multiplies tiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    Amx,
    Avx512,
}

/// `to = keep * to + factor * a b`, where the processor has what `by` says.
pub fn multiply(by: By, product: Product, to: &mut [f32]) {
    let (m, n, k) = product.shape;
    let a = Side { source: product.a, outer: m, along: product.a.lines() == Lines::Rows };
    let b = Side { source: product.b, outer: n, along: product.b.lines() == Lines::Columns };
    let to = To { at: to.as_mut_ptr(), row: product.to_row };
    let tiles = |left, right, turned| Tiles { by, product: &product, left, right, to, turned };
    if m <= FEW && b.along && k.is_multiple_of(32) && b.source.in_memory().is_some() {
        // The product's transpose: b^T a^T. Rows that do not fill a panel are packed.
        let whole = n - n % WIDTH;
        let tiles = tiles(b, a, true);
        tiles.rows(0..whole, true);
        tiles.rows(whole..n, false);
    } else {
        let tiles = tiles(a, b, false);
        pieces(0..m, ROWS).for_each(|rows| tiles.rows(rows, false));
    }
}

/// Where results go.
#[derive(Clone, Copy)]
struct To {
    at: *mut f32,
    row: usize,
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
    /// True if it is the transpose of the product that is computed.
    turned: bool,
}

impl Tiles<'_> {
    /// Computes these rows of the result, from where the left operand lies or from panels of it.
    fn rows(&self, rows: Range<usize>, where_it_lies: bool) {
        if rows.is_empty() {
            return;
        }
        for depth in pieces(0..self.product.shape.2, DEPTH) {
            if where_it_lies {
                let (numbers, row) = self.left.source.in_memory().expect("an operand in memory");
                let left = |first: usize| Left::in_memory(&numbers[first * row + depth.start..], row);
                self.tasks(left, rows.clone(), depth.clone());
                continue;
            }
            let panel = depth.len().div_ceil(32) * BLOCK;
            buffer::with(&LEFT, rows.len().div_ceil(WIDTH) * panel, |packed: &mut [bf16]| {
                for_each_chunk(self.product.threads, packed, TOGETHER * panel, |i, to| {
                    let start = rows.start + i * TOGETHER * WIDTH;
                    let rows = start..rows.end.min(start + TOGETHER * WIDTH);
                    pack(&self.left, Layout::Left, rows, depth.clone(), to);
                });
                let left =
                    |first: usize| Left::packed(&packed[(first - rows.start) / WIDTH * panel..][..panel]);
                self.tasks(left, rows.clone(), depth.clone());
            });
        }
    }

    /// Multiplies rows, whose panel that begins with a row is `left` of that row, with all columns.
    fn tasks<'l>(&self, left: impl Fn(usize) -> Left<'l> + Sync, rows: Range<usize>, depth: Range<usize>) {
        let threads = self.product.threads;
        let panels = self.right.outer.div_ceil(WIDTH);
        let together = (panels / (2 * threads)).clamp(1, TOGETHER);
        let parts = panels.div_ceil(together);
        // Where columns are few, rows are divided too.
        let part_rows = rows.len().div_ceil((2 * threads).div_ceil(parts)).next_multiple_of(WIDTH);
        let row_parts = if threads == 1 { 1 } else { rows.len().div_ceil(part_rows) };
        for_each(threads, parts * row_parts, |task| {
            let start = task / row_parts * together * WIDTH;
            let columns = start..self.right.outer.min(start + together * WIDTH);
            let rows = match row_parts {
                1 => rows.clone(),
                _ => {
                    let start = rows.start + task % row_parts * part_rows;
                    start..rows.end.min(start + part_rows)
                }
            };
            self.task(&left, rows, columns, depth.clone());
        });
    }

    fn task<'l>(
        &self,
        left: &impl Fn(usize) -> Left<'l>,
        rows: Range<usize>,
        columns: Range<usize>,
        depth: Range<usize>,
    ) {
        let blocks = depth.len().div_ceil(32);
        let keep = if depth.start == 0 { self.product.keep } else { 1.0 };
        let panels = columns.len().div_ceil(WIDTH);
        buffer::with(&RIGHT, panels * blocks * BLOCK, |packed: &mut [bf16]| {
            pack(&self.right, Layout::Right, columns.clone(), depth, packed);
            // SAFETY: the caller of `multiply` knows that the processor has tiles.
            let tiles = (self.by == By::Amx).then(|| unsafe { amx::Tiles::configure() });
            for row in rows.clone().step_by(WIDTH) {
                let rows = row..rows.end.min(row + WIDTH);
                let left = left(row);
                for (panel, column) in packed.chunks(blocks * BLOCK).zip(columns.clone().step_by(WIDTH)) {
                    let columns = column..columns.end.min(column + WIDTH);
                    self.block(tiles.as_ref(), blocks, left, panel, rows.clone(), columns, keep);
                }
            }
        });
    }

    /// Computes a block of at most 32 x 32 numbers of the result.
    #[allow(clippy::too_many_arguments)]
    fn block(
        &self,
        tiles: Option<&amx::Tiles>,
        blocks: usize,
        left: Left,
        right: &[bf16],
        rows: Range<usize>,
        columns: Range<usize>,
        keep: f32,
    ) {
        let (height, width) = (rows.len().div_ceil(16), columns.len().div_ceil(16));
        assert!(left.holds(blocks, height) && right.len() >= blocks * BLOCK, "panels of the depth");
        assert!(rows.end <= self.left.outer && columns.end <= self.right.outer, "a block of the result");
        let multiply = |to: *mut f32, to_row: usize| {
            // SAFETY: the assertions keep reads inside the panels, and `to` has room for the tiles, as said below.
            unsafe {
                match tiles {
                    Some(tiles) => tiles.multiply(blocks, (height, width), left, right, to, to_row),
                    None => pairs::multiply(blocks, (height, width), left, right, to, to_row),
                }
            }
        };
        let factor = self.product.factor;
        let place = |row: usize, column: usize| {
            let (i, j) = if self.turned { (column, row) } else { (row, column) };
            // SAFETY: the result has this number, as its sizes are those of the outer operands.
            unsafe { self.to.at.add(i * self.to.row + j) }
        };
        if !self.turned {
            avx512::prefetch_for_writing(
                place(rows.start, columns.start),
                self.to.row,
                rows.len(),
                columns.len(),
            );
        }
        if !self.turned && keep == 0.0 && factor == 1.0 && rows.len() == WIDTH && columns.len() == WIDTH {
            // The whole block lies in the result.
            return multiply(place(rows.start, columns.start), self.to.row);
        }
        let mut result = Numbers::<BLOCK>::new();
        multiply(result.at(), WIDTH);
        if !self.turned {
            let to = place(rows.start, columns.start);
            // SAFETY: `result` is 32 x 32 numbers, and the block's rows and columns are in the result.
            return unsafe {
                avx512::add((rows.len(), columns.len()), result.at(), WIDTH, to, self.to.row, keep, factor);
            };
        }
        let mut tile = Numbers::<{ TILE / 2 }>::new();
        for row in (0..rows.len()).step_by(16) {
            for column in (0..columns.len()).step_by(16) {
                let shape = ((columns.len() - column).min(16), (rows.len() - row).min(16));
                let to = place(rows.start + row, columns.start + column);
                // SAFETY: a tile is 16 x 16 of the 32 x 32 numbers, and its rows and columns are in the result.
                unsafe {
                    avx512::transpose(
                        result.at().add(row * WIDTH + column).cast(),
                        WIDTH * 4,
                        tile.at().cast(),
                    );
                    avx512::add(shape, tile.at(), 16, to, self.to.row, keep, factor);
                }
            }
        }
    }
}

/// Room for numbers, at a multiple of 64 bytes.
#[repr(C, align(64))]
struct Numbers<const N: usize>([std::mem::MaybeUninit<f32>; N]);

impl<const N: usize> Numbers<N> {
    fn new() -> Self {
        Self([const { std::mem::MaybeUninit::uninit() }; N])
    }

    fn at(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }
}
