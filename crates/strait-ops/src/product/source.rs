//! The sources of a matrix's numbers.

use std::ops::Range;

use half::bf16;

use super::{super::cpu::View, round::round_lines};

/// Lines of which a piece is read at once.
pub const READ_LINES: usize = 32;
/// Numbers of a line that are read at once.
pub const READ_NUMBERS: usize = 128;

/// The direction in which the numbers of a matrix lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// A line is a row.
    Rows,
    /// A line is a column.
    Columns,
}

/// A matrix that a product reads a piece at a time, as bf16.
///
/// Views of f32 and of bf16 numbers are such matrices. Quantised blocks can be one too, whose `read` widens them.
pub trait Source: Sync {
    /// True if the matrix has that many rows and columns.
    fn holds(&self, rows: usize, columns: usize) -> bool;

    /// The direction in which the numbers lie one behind the other.
    fn lines(&self) -> Lines;

    /// Writes the numbers `numbers` of each of the lines `lines` to `to`, where lines stand `to_line` apart.
    ///
    /// At most [`READ_LINES`] lines and [`READ_NUMBERS`] numbers are asked for, and the first number is a multiple of 32.
    fn read(&self, lines: Range<usize>, numbers: Range<usize>, to: &mut [bf16], to_line: usize);

    /// The numbers as they lie in memory and how far apart lines are, if they are bf16 and the numbers of a line are
    /// neighbours.
    fn in_memory(&self) -> Option<(&[bf16], usize)> {
        None
    }
}

impl Source for View<'_, f32> {
    fn holds(&self, rows: usize, columns: usize) -> bool {
        View::holds(self, rows, columns)
    }

    fn lines(&self) -> Lines {
        strides(self).0
    }

    fn read(&self, lines: Range<usize>, numbers: Range<usize>, to: &mut [bf16], to_line: usize) {
        match strides(self) {
            (_, line, 1) => {
                let from = &self.numbers[lines.start * line + numbers.start..];
                round_lines((lines.len(), numbers.len()), from, line, to, to_line);
            }
            strides => gather(self.numbers, strides, lines, numbers, to, to_line, bf16::from_f32),
        }
    }
}

impl Source for View<'_, bf16> {
    fn holds(&self, rows: usize, columns: usize) -> bool {
        View::holds(self, rows, columns)
    }

    fn lines(&self) -> Lines {
        strides(self).0
    }

    fn read(&self, lines: Range<usize>, numbers: Range<usize>, to: &mut [bf16], to_line: usize) {
        match strides(self) {
            (_, line, 1) => {
                for (to, l) in to.chunks_mut(to_line).zip(lines) {
                    to[..numbers.len()].copy_from_slice(&self.numbers[l * line..][numbers.clone()]);
                }
            }
            strides => gather(self.numbers, strides, lines, numbers, to, to_line, |x| x),
        }
    }

    fn in_memory(&self) -> Option<(&[bf16], usize)> {
        let (_, line, step) = strides(self);
        (step == 1).then_some((self.numbers, line))
    }
}

/// The direction of lines, the distance between them, and that between the numbers of a line.
fn strides<T>(view: &View<T>) -> (Lines, usize, usize) {
    if view.column == 1 || view.row != 1 {
        (Lines::Rows, view.row, view.column)
    } else {
        (Lines::Columns, view.column, view.row)
    }
}

fn gather<T: Copy>(
    from: &[T],
    (_, line, step): (Lines, usize, usize),
    lines: Range<usize>,
    numbers: Range<usize>,
    to: &mut [bf16],
    to_line: usize,
    convert: impl Fn(T) -> bf16,
) {
    for (to, l) in to.chunks_mut(to_line).zip(lines) {
        for (to, i) in to.iter_mut().zip(numbers.clone()) {
            *to = convert(from[l * line + i * step]);
        }
    }
}
