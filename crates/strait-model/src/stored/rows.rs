//! Products of few rows, as where tokens are decoded: what they cost is reading the matrix.

use std::{cell::RefCell, ops::Range};

use rayon::prelude::*;

use super::Stored;
use crate::ops::cpu::{LANES, vectorised};

/// Products of fewer multiplications are computed by one thread.
const SMALL: usize = 1 << 16;
/// Tasks of each thread.
const TASKS: usize = 4;
/// Vectors of sums that do not wait for each other.
const SUMS: usize = 4;

thread_local! {
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Stored {
    /// The product `x W^T` of some rows with the matrix W on all threads, exact but for sums in f32. A row of the result has the same
    /// bits whatever rows stand beside it.
    ///
    /// # Shapes
    /// - `x`: `(count, width)`; `y`: `(count, rows)`
    ///
    /// # Panics
    /// If the slices have other shapes.
    pub fn by_row(&self, x: &[f32], y: &mut [f32]) {
        if y.is_empty() {
            return;
        }
        let count = y.len() / self.rows;
        assert!(x.len() == count * self.width && y.len() == count * self.rows, "rows and their results");
        let tasks = if x.len() * self.rows < SMALL { 1 } else { TASKS * rayon::current_num_threads() };
        let size = self.rows.div_ceil(tasks);
        let mut parts: Vec<Vec<&mut [f32]>> = (0..self.rows.div_ceil(size)).map(|_| Vec::new()).collect();
        for row in y.chunks_exact_mut(self.rows) {
            parts.iter_mut().zip(row.chunks_mut(size)).for_each(|(part, piece)| part.push(piece));
        }
        parts.into_par_iter().enumerate().for_each(|(i, mut y)| {
            let rows = i * size..self.rows.min((i + 1) * size);
            self.some_by_row(x, rows, &mut y);
        });
    }

    /// The products of all rows of x with some of the matrix, on this thread: `y[i][j]` is that of row i and row `rows.start + j`.
    fn some_by_row(&self, x: &[f32], rows: Range<usize>, y: &mut [&mut [f32]]) {
        ROW.with_borrow_mut(|wide| {
            wide.resize(self.width, 0.0);
            for (j, row) in rows.enumerate() {
                self.widen(row, 0..self.width, wide);
                vectorised!({
                    for (y, x) in y.iter_mut().zip(x.chunks_exact(self.width)) {
                        y[j] = dot(x, wide);
                    }
                });
            }
        });
    }
}

/// The product of two rows, in an order that follows from their length alone.
#[inline(always)]
fn dot(x: &[f32], w: &[f32]) -> f32 {
    let mut sums = [[0f32; LANES]; SUMS];
    let (x, w) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    let four = x.0.chunks_exact(SUMS).zip(w.0.chunks_exact(SUMS));
    for (x, w) in four {
        for k in 0..SUMS {
            for lane in 0..LANES {
                sums[k][lane] = x[k][lane].mul_add(w[k][lane], sums[k][lane]);
            }
        }
    }
    let left = x.0.len() / SUMS * SUMS;
    for (k, (x, w)) in x.0[left..].iter().zip(&w.0[left..]).enumerate() {
        for lane in 0..LANES {
            sums[k][lane] = x[lane].mul_add(w[lane], sums[k][lane]);
        }
    }
    for (lane, (&x, &w)) in x.1.iter().zip(w.1).enumerate() {
        sums[0][lane] = x.mul_add(w, sums[0][lane]);
    }
    let mut width = LANES;
    let mut sum: [f32; LANES] =
        std::array::from_fn(|lane| (sums[0][lane] + sums[1][lane]) + (sums[2][lane] + sums[3][lane]));
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sum[lane] += sum[lane + width];
        }
    }
    sum[0]
}
