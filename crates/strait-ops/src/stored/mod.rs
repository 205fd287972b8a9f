//! Matrices of weights as their file has them, mapped into memory and widened a piece at a time.
//!
//! The system reads a mapped file when its numbers are first needed and may drop them again, so that a model takes the memory of
//! its file, and none before it computes.

mod block;
mod blocks;
#[cfg(target_arch = "x86_64")]
pub(crate) mod dots;
mod k_blocks;
#[cfg(test)]
pub(crate) mod tests;
mod widen;

use std::{fmt, ops::Range, sync::Arc};

use candle_core::{Device, Result, Tensor, quantized::GgmlDType};
use half::bf16;
use memmap2::Mmap;
use rayon::prelude::*;

use crate::{memory::Memory, sums, vectors::vectorised};
pub use widen::widen;

/// A matrix in a mapped file.
#[derive(Clone)]
pub struct Stored {
    file: Arc<Mmap>,
    /// The place of its first row, in bytes.
    offset: usize,
    dtype: GgmlDType,
    rows: usize,
    width: usize,
    /// Rows of a head whose rotary pairs the file has side by side; the matrix has the first of every pair before the second.
    paired: Option<usize>,
    copy: Option<Copied>,
}

/// The numbers in memory, so that products need not widen them first.
#[derive(Clone)]
pub(crate) enum Copied {
    /// As they are.
    F32(Arc<Vec<f32>>),
    /// Rounded.
    Bf16(Arc<Vec<bf16>>),
}

impl Stored {
    /// The matrix of shape `(rows, width)` from `offset` on; `None` if it is not in the file, or a row is no whole number of blocks.
    pub fn new(
        file: Arc<Mmap>,
        offset: usize,
        dtype: GgmlDType,
        (rows, width): (usize, usize),
        paired: Option<usize>,
    ) -> Option<Self> {
        let whole = width.is_multiple_of(dtype.block_size())
            && paired.is_none_or(|head| head >= 2 && head.is_multiple_of(2) && rows.is_multiple_of(head));
        let bytes = rows.checked_mul(width / dtype.block_size())?.checked_mul(dtype.type_size())?;
        let inside = offset.checked_add(bytes)? <= file.len();
        (whole && inside).then_some(Self { file, offset, dtype, rows, width, paired, copy: None })
    }

    /// Rows and the numbers of each.
    pub fn dims(&self) -> [usize; 2] {
        [self.rows, self.width]
    }

    /// The type of its numbers.
    pub fn dtype(&self) -> GgmlDType {
        self.dtype
    }

    /// Bytes that it takes: those of its copy, where it has one, since the system may then drop the file's.
    pub fn bytes(&self) -> usize {
        match &self.copy {
            Some(Copied::F32(numbers)) => size_of_val(&numbers[..]),
            Some(Copied::Bf16(numbers)) => size_of_val(&numbers[..]),
            None => self.file_bytes(),
        }
    }

    fn file_bytes(&self) -> usize {
        self.rows * self.row_bytes()
    }

    /// With a copy in memory of its numbers.
    pub fn with_copy(mut self) -> Self {
        let mut copy = vec![0f32; self.rows * self.width];
        copy.par_chunks_mut(self.width.max(1)).enumerate().for_each(|(row, to)| {
            self.read(row..row + 1, 0..self.width, to, self.width);
        });
        self.copy = Some(Copied::F32(Arc::new(copy)));
        self.read_no_more();
        self
    }

    /// With a copy in memory of its numbers as bf16; without one where the file has them so.
    pub fn with_rounded_copy(mut self) -> Self {
        if self.in_memory().is_some() {
            return self;
        }
        let mut copy = vec![bf16::ZERO; self.rows * self.width];
        copy.par_chunks_mut(self.width.max(1)).enumerate().for_each_init(
            || vec![0f32; self.width],
            |wide, (row, to)| {
                self.read(row..row + 1, 0..self.width, wide, self.width);
                vectorised!({
                    for (to, from) in to.iter_mut().zip(&*wide) {
                        // To the nearest, of two as near the even one; there is no NaN among weights.
                        let bits = from.to_bits();
                        *to = bf16::from_bits(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16);
                    }
                });
            },
        );
        self.copy = Some(Copied::Bf16(Arc::new(copy)));
        self.read_no_more();
        self
    }

    /// Gives back the memory in which the system keeps what was read of the file.
    fn read_no_more(&self) {
        // SAFETY: a mapping that nobody writes to is read from the file again.
        #[cfg(unix)]
        let _ = unsafe {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            self.file.unchecked_advise_range(advice, self.offset, self.file_bytes())
        };
    }

    /// The copy, where it has one.
    pub(crate) fn copy(&self) -> Option<&Copied> {
        self.copy.as_ref()
    }

    #[inline(always)]
    fn row_bytes(&self) -> usize {
        self.width / self.dtype.block_size() * self.dtype.type_size()
    }

    /// The bytes of a row.
    #[inline(always)]
    fn row(&self, row: usize) -> &[u8] {
        let row = match self.paired {
            Some(head) => {
                let (first, within) = (row / head * head, row % head);
                first + if within < head / 2 { 2 * within } else { 2 * within - head + 1 }
            }
            None => row,
        };
        let bytes = self.row_bytes();
        &self.file[self.offset..][row * bytes..][..bytes]
    }

    /// Writes some numbers of each of some rows to `to`, exactly as they are and `to_row` apart. The first is a multiple of 32.
    ///
    /// # Panics
    /// If the matrix does not hold them, or `to` has no room.
    pub fn read(&self, rows: Range<usize>, numbers: Range<usize>, to: &mut [f32], to_row: usize) {
        let row_of = (
            rows.len(),
            #[inline(always)]
            |i| self.row(rows.start + i),
        );
        widen(self.dtype, row_of, numbers, to, to_row);
    }

    /// Some rows.
    ///
    /// # Shapes
    /// - result: `(rows.len(), width)`
    ///
    /// # Errors
    /// If they are not in the matrix.
    pub fn of_rows(&self, rows: &[usize]) -> Result<Tensor> {
        if let Some(row) = rows.iter().find(|&&row| row >= self.rows) {
            candle_core::bail!("row {row} of a matrix of {} rows", self.rows);
        }
        let mut numbers = vec![0f32; rows.len() * self.width];
        numbers
            .par_chunks_mut(self.width.max(1))
            .zip(rows)
            .for_each(|(to, &row)| self.read(row..row + 1, 0..self.width, to, self.width));
        Tensor::from_vec(numbers, (rows.len(), self.width), &Device::Cpu)
    }

    /// The squared length of what values of its shape differ by from it. It is read in pieces, and no copy is made.
    pub fn squared_distance(&self, values: &[f32]) -> f64 {
        let rows = (sums::PIECE / self.width.max(1)).max(1);
        let of_pieces = values.par_chunks(rows * self.width.max(1)).enumerate().map_init(
            || Memory::new(rows * self.width),
            |numbers, (piece, values)| {
                let first = piece * rows;
                let last = self.rows.min(first + values.len() / self.width.max(1));
                self.read(first..last, 0..self.width, numbers, self.width);
                sums::squared_distance(values, numbers)
            },
        );
        of_pieces.collect::<Vec<_>>().into_iter().sum()
    }

    /// The numbers as they lie, if they are bf16 and rows stand one behind the other.
    pub fn in_memory(&self) -> Option<&[bf16]> {
        if self.dtype != GgmlDType::BF16 || self.paired.is_some() || cfg!(target_endian = "big") {
            return None;
        }
        // SAFETY: any two bytes are a bf16.
        match unsafe { self.file[self.offset..][..self.file_bytes()].align_to() } {
            ([], numbers, []) => Some(numbers),
            _ => None,
        }
    }

    /// The place of the first number that is infinite or NaN, and the number.
    pub fn first_not_finite(&self) -> Option<(usize, f32)> {
        (0..self.rows).into_par_iter().find_map_first(|row| {
            if widen::is_finite(self.dtype, self.row(row)) {
                return None;
            }
            let mut numbers = vec![0f32; self.width];
            self.read(row..row + 1, 0..self.width, &mut numbers, self.width);
            let at = numbers.iter().position(|number| !number.is_finite())?;
            Some((row * self.width + at, numbers[at]))
        })
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Stored({:?}, {} x {})", self.dtype, self.rows, self.width)
    }
}
