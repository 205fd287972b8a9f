//! Operands in the layout of tiles.
//!
//! A panel is 32 rows of the left operand or 32 columns of the right one, in blocks of 32 along the depth, each of two tiles
//! of 1 KiB. A left tile is 16 rows of 32 numbers. A right tile is 16 pairs of neighbours along the depth, of 16 columns
//! each. Taken as 16 x 16 pairs, either is the transpose of the other.

use std::ops::Range;

use half::bf16;

use super::{
    READ_LINES, READ_NUMBERS, Source, avx512,
    buffer::{self, Kept},
};

/// Rows or columns of a panel.
pub const WIDTH: usize = 32;
/// Numbers of a tile.
pub const TILE: usize = 512;
/// Numbers of a block.
pub const BLOCK: usize = 2 * TILE;

thread_local! {
    static PIECE: Kept = Kept::default();
}

/// An operand: `outer` rows of the left one, columns of the right one.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub source: &'a dyn Source,
    pub outer: usize,
    /// True if lines run along the depth.
    pub along: bool,
}

/// A panel of the left operand.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    /// The numbers, from the first on.
    pub numbers: &'a [bf16],
    /// The distance between rows.
    pub row: usize,
    /// The distance between blocks.
    pub block: usize,
    /// The distance between the two tiles of a block.
    pub second: usize,
}

impl<'a> Left<'a> {
    pub fn packed(panel: &'a [bf16]) -> Self {
        Self { numbers: panel, row: 32, block: BLOCK, second: TILE }
    }

    /// Rows whose numbers lie one behind the other.
    pub fn in_memory(numbers: &'a [bf16], row: usize) -> Self {
        Self { numbers, row, block: 32, second: 16 * row }
    }

    /// True if the first `tiles` tiles of each block lie within the numbers.
    pub fn holds(&self, blocks: usize, tiles: usize) -> bool {
        (blocks - 1) * self.block + (tiles - 1) * self.second + 15 * self.row + 32 <= self.numbers.len()
    }
}

/// The layout in which an operand is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Left,
    Right,
}

/// Packs panels. What is missing of the last panel's rows or columns, and of the last block's depth, becomes 0.
pub fn pack(side: &Side, layout: Layout, outer: Range<usize>, depth: Range<usize>, to: &mut [bf16]) {
    let blocks = depth.len().div_ceil(32);
    let panels = outer.len().div_ceil(WIDTH);
    assert!(to.len() >= panels * blocks * BLOCK && to.as_ptr().addr().is_multiple_of(64), "room for panels");
    let (lines, numbers) = if side.along { (outer, depth) } else { (depth, outer) };
    buffer::with(&PIECE, READ_LINES * READ_NUMBERS + BLOCK, |piece| {
        let (piece, spare) = piece.split_at_mut(READ_LINES * READ_NUMBERS);
        for (i, first_line) in lines.clone().step_by(READ_LINES).enumerate() {
            for (j, first) in numbers.clone().step_by(READ_NUMBERS).enumerate() {
                let lines = first_line..lines.end.min(first_line + READ_LINES);
                let numbers = first..numbers.end.min(first + READ_NUMBERS);
                let width = numbers.len();
                let (from, line) = read(side.source, lines, numbers, piece);
                for part in 0..width.div_ceil(32) {
                    let along_line = j * (READ_NUMBERS / 32) + part;
                    let (panel, block) = if side.along { (i, along_line) } else { (along_line, i) };
                    let to = &mut to[(panel * blocks + block) * BLOCK..][..BLOCK];
                    lay_out(side.along, layout, &from[part * 32..], line, spare, to);
                }
            }
        }
    });
}

/// A piece of a matrix, as whole blocks of 32 lines and 32 numbers, and how far apart its lines are.
pub fn read<'a>(
    source: &'a dyn Source,
    lines: Range<usize>,
    numbers: Range<usize>,
    piece: &'a mut [bf16],
) -> (&'a [bf16], usize) {
    let is_whole = lines.len() == READ_LINES && numbers.len().is_multiple_of(32);
    if let Some((all, line)) = source.in_memory()
        && is_whole
    {
        return (&all[lines.start * line + numbers.start..], line);
    }
    if !is_whole {
        piece.fill(bf16::ZERO);
    }
    source.read(lines, numbers, piece, READ_NUMBERS);
    (piece, READ_NUMBERS)
}

/// Lays out a block of 32 lines of 32 numbers.
fn lay_out(along: bool, layout: Layout, from: &[bf16], line: usize, spare: &mut [bf16], to: &mut [bf16]) {
    assert!(31 * line + 32 <= from.len() && spare.len() == BLOCK && to.len() == BLOCK, "a block");
    let halves = [&from[0], &from[16 * line]].map(|half| (half as *const bf16).cast::<u8>());
    let tiles = [0, TILE].map(|tile| to[tile..].as_mut_ptr().cast::<u8>());
    let spares = [0, TILE].map(|tile| spare[tile..].as_mut_ptr().cast::<u8>());
    let line = line * size_of::<bf16>();
    // SAFETY: kernels of tiles run where AVX-512 is. The assertion keeps the 32 lines inside `from`; `to` and `spare` have
    // two tiles each, at multiples of 64 bytes, as `pack` has made sure.
    unsafe {
        match (along, layout) {
            (true, Layout::Left) => (0..2).for_each(|i| avx512::copy(halves[i], line, tiles[i])),
            (true, Layout::Right) => (0..2).for_each(|i| avx512::transpose(halves[i], line, tiles[i])),
            (false, Layout::Right) => avx512::interleave(halves[0], line, tiles[0]),
            (false, Layout::Left) => {
                avx512::interleave(halves[0], line, spares[0]);
                (0..2).for_each(|i| avx512::transpose(spares[i], 64, tiles[i]));
            }
        }
    }
}
