//! The units that multiply tiles, and room for their sums.

use std::mem::MaybeUninit;

use half::bf16;

use super::{
    amx, avx512,
    buffer::Number,
    pairs,
    panel::{BLOCK, Left, TILE, WIDTH},
};

/// A unit that multiplies tiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    Amx,
    Avx512,
}

/// It, in use on this thread.
pub enum Unit {
    Amx(amx::Tiles),
    Avx512,
}

impl Unit {
    /// # Safety
    /// The processor must have it.
    pub unsafe fn of(by: By) -> Self {
        match by {
            // SAFETY: as the caller says.
            By::Amx => Self::Amx(unsafe { amx::Tiles::configure() }),
            By::Avx512 => Self::Avx512,
        }
    }

    /// Writes the product of panels of `blocks` blocks to `to`: 32 rows, `to_row` numbers apart.
    ///
    /// # Safety
    /// `to` must have room.
    ///
    /// # Panics
    /// If the panels hold fewer blocks.
    pub unsafe fn multiply(&self, blocks: usize, left: Left, right: &[bf16], to: *mut f32, to_row: usize) {
        assert!(left.holds(blocks, 2) && right.len() >= blocks * BLOCK, "panels of the depth");
        // SAFETY: the panels hold the blocks, and `to` has room, as the caller says.
        unsafe {
            match self {
                Self::Amx(tiles) => tiles.multiply(blocks, left, right, to, to_row),
                Self::Avx512 => {
                    for row in 0..WIDTH {
                        to.add(row * to_row).write_bytes(0, WIDTH);
                    }
                    pairs::accumulate(blocks, (2, 2), left, right, to, to_row);
                }
            }
        }
    }

    /// As [`multiply`](Self::multiply), to sums.
    ///
    /// # Panics
    /// As there.
    pub fn compute(&self, blocks: usize, left: Left, right: &[bf16], sums: &mut Sums) {
        // SAFETY: the sums are 32 rows of 32.
        unsafe { self.multiply(blocks, left, right, sums.0.as_mut_ptr(), WIDTH) };
    }

    /// `to = factor * sums`, for so many rows and columns of a result whose rows stand `to_row` apart.
    ///
    /// # Panics
    /// If there is no room.
    pub fn write(&self, sums: &Sums, shape: (usize, usize), to: &mut [f32], to_row: usize, factor: f32) {
        assert_room(shape, to, to_row);
        // SAFETY: units are there where AVX-512 is, and `to` has room.
        unsafe { sums.deliver(shape, to.as_mut_ptr(), to_row, 0.0, factor) };
    }

    /// The same of the transpose.
    ///
    /// # Panics
    /// As there.
    pub fn write_transposed(
        &self,
        sums: &Sums,
        shape: (usize, usize),
        to: &mut [f32],
        to_row: usize,
        factor: f32,
    ) {
        assert_room(shape, to, to_row);
        // SAFETY: as above.
        unsafe { sums.deliver_transposed(shape, to.as_mut_ptr(), to_row, 0.0, factor) };
    }

    /// Adds the product of panels of `blocks` blocks to sums, of which it is so many tiles of 16 rows and of 16 columns. Sums go on
    /// as if the panels were those before and these in one.
    ///
    /// # Panics
    /// If the panels hold fewer blocks.
    pub fn accumulate(
        &self,
        blocks: usize,
        shape: (usize, usize),
        left: Left,
        right: &[bf16],
        sums: &mut Sums,
    ) {
        assert!(left.holds(blocks, shape.0) && right.len() >= blocks * BLOCK, "panels of the depth");
        assert!(shape.0 <= 2 && shape.1 <= 2, "tiles of a block");
        let to = sums.0.as_mut_ptr().cast();
        // SAFETY: the panels hold the blocks, and the sums are two by two tiles.
        unsafe {
            match self {
                Self::Amx(tiles) => tiles.accumulate(blocks, shape, left, right, to, WIDTH),
                Self::Avx512 => pairs::accumulate(blocks, shape, left, right, to, WIDTH),
            }
        }
    }
}

fn assert_room((rows, columns): (usize, usize), to: &[f32], to_row: usize) {
    let holds = rows == 0 || columns == 0 || (rows - 1) * to_row + columns <= to.len();
    assert!(holds && rows <= WIDTH && columns <= WIDTH, "room for a block");
}

/// The sums of a block of 32 x 32 numbers of a result, at a multiple of 64 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Sums([f32; BLOCK]);

impl Number for Sums {}

impl Sums {
    pub const ZERO: Self = Self([0.0; BLOCK]);

    /// The rows.
    #[inline(always)]
    pub fn rows(&mut self) -> &mut [[f32; WIDTH]] {
        self.0.as_chunks_mut().0
    }

    /// `to = keep * to + factor * sums`, for so many rows and columns.
    ///
    /// # Safety
    /// `to` must have them, its rows `to_row` apart, and the processor AVX-512.
    pub unsafe fn deliver(&self, shape: (usize, usize), to: *mut f32, to_row: usize, keep: f32, factor: f32) {
        // SAFETY: as the caller says; rows of the sums are 32 apart.
        unsafe { avx512::add(shape, self.0.as_ptr(), WIDTH, to, to_row, keep, factor) };
    }

    /// The same of the transpose.
    ///
    /// # Safety
    /// As [`deliver`](Self::deliver).
    pub unsafe fn deliver_transposed(
        &self,
        (rows, columns): (usize, usize),
        to: *mut f32,
        to_row: usize,
        keep: f32,
        factor: f32,
    ) {
        #[repr(C, align(64))]
        struct Tile(MaybeUninit<[f32; TILE / 2]>);
        let mut tile = Tile(MaybeUninit::uninit());
        for row in (0..rows).step_by(16) {
            for column in (0..columns).step_by(16) {
                let shape = ((rows - row).min(16), (columns - column).min(16));
                // SAFETY: a tile is 16 x 16 of the 32 x 32 numbers, which begin at (column, row); `to` as the caller says.
                unsafe {
                    let from = self.0.as_ptr().add(column * WIDTH + row);
                    avx512::transpose(from.cast(), WIDTH * 4, tile.0.as_mut_ptr().cast());
                    let to = to.add(row * to_row + column);
                    avx512::add(shape, tile.0.as_ptr().cast(), 16, to, to_row, keep, factor);
                }
            }
        }
    }
}
