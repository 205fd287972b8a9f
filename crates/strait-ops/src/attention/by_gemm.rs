//! Attention of a head by products in f32, block by block, without keeping scores.

use std::ops::Range;

use gemm::Parallelism;

use super::head::{Back, Gradients, Head, OfHead};
use crate::{cpu, memory::Memory, product::round_in_place};

/// Queries are taken in blocks, so that scores beyond the block's last visible key are never computed and memory stays small for
/// long sequences. A block has about this many rows of scores.
const ROWS: usize = 96;
/// The fewest queries of a block: keys are laid out anew for each.
const QUERIES: usize = 16;

/// Some rows of scores, with the keys that any of them sees.
struct Block {
    rows: Range<usize>,
    keys: Range<usize>,
}

impl Block {
    /// Numbers from one row of scores to the next: whole vectors, since the rows of short sequences are shorter than one.
    fn stride(&self) -> usize {
        stride(self.keys.len())
    }

    /// The block's part of a head's keys or values.
    fn of_keys<'a>(&self, numbers: &'a [f32], width: usize) -> cpu::View<'a> {
        cpu::View::rows(&numbers[self.keys.start * width..self.keys.end * width], width)
    }

    /// The block's part of what a head has for each row of scores.
    fn of_rows<'a>(&self, numbers: &'a [f32], width: usize) -> cpu::View<'a> {
        cpu::View::rows(&numbers[self.rows.start * width..self.rows.end * width], width)
    }
}

fn stride(keys: usize) -> usize {
    keys.next_multiple_of(cpu::LANES)
}

/// The most rows of a block.
fn most_rows(head: &Head) -> usize {
    (ROWS / head.group()).max(QUERIES) * head.group()
}

fn blocks(head: &Head) -> impl Iterator<Item = Block> {
    let (rows, most) = (head.rows(), most_rows(head));
    (0..rows).step_by(most).map(move |start| {
        let rows = start..(start + most).min(rows);
        let keys = head.visible(rows.start).start..head.visible(rows.end - 1).end;
        Block { rows, keys }
    })
}

/// Room for the scores of a block.
fn room(head: &Head) -> Memory {
    Memory::new(most_rows(head).min(head.rows()) * stride(head.span.key_count()))
}

/// The scores of a block, rows of [`Block::stride`], before the soft cap.
fn scores(head: &Head, block: &Block, to: &mut [f32]) {
    let (d, stride) = (head.shape.head_dim, block.stride());
    let (q, k) = (block.of_rows(&head.q, d), block.of_keys(&head.k, d));
    let shape = (block.rows.len(), block.keys.len(), d);
    cpu::matmul(shape, to, stride, 0.0, q, k.t(), head.shape.scale, Parallelism::None);
    for (row, scores) in block.rows.clone().zip(to.chunks_exact_mut(stride)) {
        let visible = head.visible(row);
        scores[..visible.start - block.keys.start].fill(f32::NEG_INFINITY);
        scores[visible.end - block.keys.start..].fill(f32::NEG_INFINITY);
    }
}

/// The values of every row of scores.
pub fn forward(head: &Head) -> OfHead {
    let d = head.shape.head_dim;
    let (mut values, mut logs) = (Memory::new(head.q.len()), Memory::new(head.rows()));
    let mut powers = room(head);
    for block in blocks(head) {
        let (stride, rows) = (block.stride(), block.rows.len());
        let powers = &mut powers[..rows * stride];
        scores(head, &block, powers);
        let logs = &mut logs[block.rows.clone()];
        let values = &mut values[block.rows.start * d..block.rows.end * d];
        let mut sums = Memory::new(rows);
        cpu::vectorised!({
            for ((row, log), total) in powers.chunks_exact_mut(stride).zip(logs).zip(sums.iter_mut()) {
                if let Some(cap) = head.shape.softcap {
                    for s in row.iter_mut() {
                        *s = if *s == f32::NEG_INFINITY { *s } else { cap * cpu::tanh(*s / cap) };
                    }
                }
                let largest = cpu::max(row);
                for s in row.iter_mut() {
                    *s = cpu::exp(*s - largest);
                }
                *total = cpu::sum([&*row], |[p]| p);
                *log = largest + total.ln();
            }
        });
        if head.rounds {
            round_in_place(powers);
        }
        let (shape, v) = ((rows, d, block.keys.len()), block.of_keys(&head.v, d));
        cpu::matmul(shape, values, d, 0.0, cpu::View::rows(powers, stride), v, 1.0, Parallelism::None);
        for (values, sum) in values.chunks_exact_mut(d).zip(&*sums) {
            let inverse = 1.0 / sum;
            values.iter_mut().for_each(|y| *y *= inverse);
        }
    }
    OfHead { values, logs }
}

/// The gradients of queries, keys and values.
///
/// With the shares P, dP = dY V^T and dS = P * (dP - rowsum(P * dP)): dQ = dS K, dK = dS^T Q, dV = P^T dY. The sum of a row of P * dP
/// is the inner product of its values and their gradients.
pub fn backward(head: &Head, back: &Back) -> Gradients {
    let (d, scale) = (head.shape.head_dim, head.shape.scale);
    let mut dq = Memory::new(head.q.len());
    let (mut dk, mut dv) = (Memory::new(head.k.len()), Memory::new(head.v.len()));
    let (mut p, mut ds) = (room(head), room(head));
    // Sums begin at zero, and what pads rows of scores is read, times zero: no NaN may stand there.
    [&mut dk, &mut dv, &mut ds].into_iter().for_each(|numbers| numbers.fill(0.0));
    for block in blocks(head) {
        let (k, v) = (block.of_keys(&head.k, d), block.of_keys(&head.v, d));
        let (q, dy) = (block.of_rows(&head.q, d), block.of_rows(&back.dy, d));
        let (n, m, stride) = (block.rows.len(), block.keys.len(), block.stride());
        let (p, ds) = (&mut p[..n * stride], &mut ds[..n * stride]);
        scores(head, &block, p);
        cpu::matmul((n, m, d), ds, stride, 0.0, dy, v.t(), 1.0, Parallelism::None);
        let of_rows = back.logs[block.rows.clone()].iter().zip(&back.along[block.rows.clone()]);
        cpu::vectorised!({
            for ((p, ds), (&log, &along)) in
                p.chunks_exact_mut(stride).zip(ds.chunks_exact_mut(stride)).zip(of_rows)
            {
                match head.shape.softcap {
                    None => {
                        for (p, ds) in p.iter_mut().zip(ds) {
                            *p = cpu::exp(*p - log);
                            *ds = *p * (*ds - along);
                        }
                    }
                    Some(cap) => {
                        for (p, ds) in p.iter_mut().zip(ds) {
                            let t = cpu::tanh(*p / cap);
                            *p = if *p == f32::NEG_INFINITY { 0.0 } else { cpu::exp(cap * t - log) };
                            *ds = *p * (*ds - along) * (1.0 - t * t);
                        }
                    }
                }
            }
        });
        if head.rounds {
            round_in_place(p);
            round_in_place(ds);
        }
        let (dv, dk) = (&mut dv[block.keys.start * d..], &mut dk[block.keys.start * d..]);
        let (p, ds) = (cpu::View::rows(p, stride), cpu::View::rows(ds, stride));
        let dq = &mut dq[block.rows.start * d..block.rows.end * d];
        cpu::matmul((m, d, n), dv, d, 1.0, p.t(), dy, 1.0, Parallelism::None);
        cpu::matmul((m, d, n), dk, d, 1.0, ds.t(), q, scale, Parallelism::None);
        cpu::matmul((n, d, m), dq, d, 0.0, ds, k, scale, Parallelism::None);
    }
    Gradients { dq, dk, dv }
}
