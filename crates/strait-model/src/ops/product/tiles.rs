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
/// Rows of `a` up to which a panel of `b` is read once and not transposed.
const FEW: usize = 64;
/// Tasks of each thread where columns are few.
const TASKS: usize = 2;

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
    let (m, n, _) = product.shape;
    let a = Side { source: product.a, outer: m, along: product.a.lines() == Lines::Rows };
    let b = Side { source: product.b, outer: n, along: product.b.lines() == Lines::Columns };
    let to = To { at: to.as_mut_ptr(), row: product.to_row };
    let tiles = |left, right, turned| Tiles { by, product: &product, left, right, to, turned };
    if m <= FEW && b.along {
        // The product's transpose: b^T a^T.
        tiles(b, a, true).few_columns();
    } else {
        tiles(a, b, false).all();
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
                        self.task(rows, columns, depth.clone(), |rows, f| f(left(rows.start)));
                    });
                });
            }
        }
    }

    /// Computes a result of few columns: each panel of the left operand is used once, from where it lies or packed by the task.
    fn few_columns(&self) {
        let (Side { source, outer, .. }, k) = (self.left, self.product.shape.2);
        let in_memory = source.in_memory().filter(|_| k.is_multiple_of(32));
        for depth in pieces(0..k, DEPTH) {
            let panel = depth.len().div_ceil(32) * BLOCK;
            let left = |rows: Range<usize>, f: &dyn Fn(Left)| match in_memory {
                Some((numbers, row)) if rows.len() == WIDTH => {
                    f(Left::in_memory(&numbers[rows.start * row + depth.start..], row));
                }
                _ => buffer::with(&LEFT, panel, |packed: &mut [bf16]| {
                    pack(&self.left, Layout::Left, rows, depth.clone(), packed);
                    f(Left::packed(packed));
                }),
            };
            let threads = self.product.threads;
            let size = outer.div_ceil(TASKS * threads).next_multiple_of(WIDTH);
            for_each(threads, outer.div_ceil(size), |i| {
                let rows = i * size..outer.min((i + 1) * size);
                self.task(rows, 0..self.right.outer, depth.clone(), left);
            });
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

    /// Multiplies rows with columns. `with_left` runs a function on the panel of at most 32 rows.
    fn task(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        depth: Range<usize>,
        with_left: impl Fn(Range<usize>, &dyn Fn(Left)),
    ) {
        let blocks = depth.len().div_ceil(32);
        let keep = if depth.start == 0 { self.product.keep } else { 1.0 };
        let panels = columns.len().div_ceil(WIDTH);
        buffer::with(&RIGHT, panels * blocks * BLOCK, |packed: &mut [bf16]| {
            pack(&self.right, Layout::Right, columns.clone(), depth, packed);
            let packed = &*packed;
            // SAFETY: the caller of `multiply` knows that the processor has tiles.
            let tiles = (self.by == By::Amx).then(|| unsafe { amx::Tiles::configure() });
            for row in rows.clone().step_by(WIDTH) {
                let rows = row..rows.end.min(row + WIDTH);
                with_left(rows.clone(), &|left| {
                    for (panel, column) in packed.chunks(blocks * BLOCK).zip(columns.clone().step_by(WIDTH)) {
                        let columns = column..columns.end.min(column + WIDTH);
                        self.block(tiles.as_ref(), blocks, left, panel, rows.clone(), columns, keep);
                    }
                });
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
