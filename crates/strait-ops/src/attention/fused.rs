//! Attention on the CPU, block by block, without keeping scores.

use std::{ops::Range, sync::Arc};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use super::{AttentionShape, Span};
use crate::{cpu, memory::Memory};

/// Queries are taken in blocks, so that scores beyond the block's last visible key are never computed and memory stays small for
/// long sequences. All heads that share keys are one product; a block has about this many rows of scores.
const ROWS: usize = 96;
/// The fewest queries of a block: keys are laid out anew for each.
const QUERIES: usize = 16;

pub(crate) struct Fused {
    pub(crate) shape: AttentionShape,
    pub(crate) spans: Arc<[Span]>,
}

/// A block of queries of one span under one key-value head, with the keys that any of them sees. A query has a row of scores for each
/// head that reads these keys, one behind the other.
struct Block {
    rows: Range<usize>,
    keys: Range<usize>,
}

impl Block {
    /// Numbers from one row of scores to the next: whole vectors, since the rows of short sequences are shorter than one.
    fn stride(&self) -> usize {
        stride(self.keys.len())
    }

    /// The block's part of all keys, or values, of its span.
    fn of<'a>(&self, numbers: &'a [f32], width: usize) -> cpu::View<'a> {
        cpu::View::rows(&numbers[self.keys.start * width..self.keys.end * width], width)
    }
}

fn stride(keys: usize) -> usize {
    keys.next_multiple_of(cpu::LANES)
}

impl Fused {
    fn blocks<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = Block> + 'a {
        let (n, most) = (span.queries.len(), self.block_queries());
        (0..n).step_by(most).map(move |start| {
            let rows = start..(start + most).min(n);
            let keys = span.visible(start, self.shape.window).start
                ..span.visible(rows.end - 1, self.shape.window).end;
            Block { rows, keys }
        })
    }

    /// Attention probabilities of a block, rows of [`Block::stride`]; keys that a row does not see, and the rest of a row, get 0.
    fn probabilities(&self, span: &Span, block: &Block, q: cpu::View, k: cpu::View, to: &mut [f32]) {
        let shape = (block.rows.len() * self.group(), block.keys.len(), self.shape.head_dim);
        let (stride, group) = (block.stride(), self.group());
        cpu::matmul(shape, to, stride, 0.0, q, k.t(), self.shape.scale, Parallelism::None);
        let visible = |i: usize| {
            let visible = span.visible(block.rows.start + i, self.shape.window);
            visible.start - block.keys.start..visible.end - block.keys.start
        };
        cpu::vectorised!({
            for (i, row) in to.chunks_exact_mut(stride).enumerate() {
                if let Some(cap) = self.shape.softcap {
                    for s in row.iter_mut() {
                        *s = cap * cpu::tanh(*s / cap);
                    }
                }
                let visible = visible(i / group);
                row[..visible.start].fill(f32::NEG_INFINITY);
                row[visible.end..].fill(f32::NEG_INFINITY);
                let largest = cpu::max(row);
                for s in row.iter_mut() {
                    *s = cpu::exp(*s - largest);
                }
                let inverse = 1.0 / cpu::sum([row], |[p]| p);
                for s in row {
                    *s *= inverse;
                }
            }
        });
    }

    /// Runs `f` for every pair of a span and a key-value head, in parallel; results in that order.
    fn for_each_task<R: Send>(&self, f: impl Fn(&Span, usize) -> R + Sync) -> Vec<R> {
        let kv_heads = self.shape.kv_heads;
        (0..self.spans.len() * kv_heads)
            .into_par_iter()
            .map(|task| f(&self.spans[task / kv_heads], task % kv_heads))
            .collect()
    }

    /// Puts the tasks' results, rows of `width` numbers each, where their queries stand.
    fn place(&self, parts: &[Memory], width: usize, to: &mut [f32]) {
        for (task, part) in parts.iter().enumerate() {
            let (span, head) = (&self.spans[task / self.shape.kv_heads], task % self.shape.kv_heads);
            for (row, numbers) in span.queries.clone().zip(part.chunks_exact(width)) {
                to[(row * self.shape.kv_heads + head) * width..][..width].copy_from_slice(numbers);
            }
        }
    }

    /// Sums up the tasks' results where their keys stand, which other spans may have too.
    fn add(&self, parts: &[Memory], to: &mut [f32]) {
        let width = self.shape.head_dim;
        to.fill(0.0);
        for (task, part) in parts.iter().enumerate() {
            let (span, head) = (&self.spans[task / self.shape.kv_heads], task % self.shape.kv_heads);
            for (row, numbers) in span.all_keys().zip(part.chunks_exact(width)) {
                let to = &mut to[(row * self.shape.kv_heads + head) * width..][..width];
                to.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
            }
        }
    }

    /// Heads that share the keys and values of one.
    fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    /// The most queries of a block.
    fn block_queries(&self) -> usize {
        (ROWS / self.group()).max(QUERIES)
    }

    /// Room for the scores of a block of a span.
    fn scores(&self, span: &Span) -> Memory {
        let rows = self.block_queries().min(span.queries.len()) * self.group();
        Memory::new(rows * stride(span.key_count()))
    }

    /// All queries of a span under one key-value head, or what stands in their places: rows of `head_dim`, those of the heads of a
    /// query one behind the other.
    fn of_queries(&self, numbers: &[f32], span: &Span, kv_head: usize) -> Memory {
        let (all, width) = (self.shape.heads * self.shape.head_dim, self.group() * self.shape.head_dim);
        let mut rows = Memory::new(span.queries.len() * width);
        for (to, row) in rows.chunks_exact_mut(width).zip(span.queries.clone()) {
            to.copy_from_slice(&numbers[row * all + kv_head * width..][..width]);
        }
        rows
    }

    /// All keys, or values, of a span under one key-value head: rows of `head_dim`.
    fn of_keys(&self, numbers: &[f32], span: &Span, kv_head: usize) -> Memory {
        let (width, d) = (self.shape.kv_heads * self.shape.head_dim, self.shape.head_dim);
        let mut rows = Memory::new(span.key_count() * d);
        for (to, row) in rows.chunks_exact_mut(d).zip(span.all_keys()) {
            to.copy_from_slice(&numbers[row * width + kv_head * d..][..d]);
        }
        rows
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (cpu::slice(q, q_layout)?, cpu::slice(k, k_layout)?, cpu::slice(v, v_layout)?);
        let mut y = vec![0f32; q.len()];
        self.forward(q, k, v, &mut y);
        Ok((CpuStorage::F32(y), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (mut dq, mut dk, mut dv) =
            (vec![0f32; q.elem_count()], vec![0f32; k.elem_count()], vec![0f32; v.elem_count()]);
        cpu::with_slices([q, k, v, grad], |[q, k, v, dy]| {
            self.backward([q, k, v], dy, [&mut dq, &mut dk, &mut dv]);
            Ok(())
        })?;
        Ok((
            Some(Tensor::from_vec(dq, q.shape(), q.device())?),
            Some(Tensor::from_vec(dk, k.shape(), k.device())?),
            Some(Tensor::from_vec(dv, v.shape(), v.device())?),
        ))
    }
}

impl Fused {
    /// The mixed values of every query.
    pub(crate) fn forward(&self, q: &[f32], k: &[f32], v: &[f32], y: &mut [f32]) {
        let d = self.shape.head_dim;
        let width = self.group() * d;
        let parts = self.for_each_task(|span, kv_head| {
            let (k, v) = (self.of_keys(k, span, kv_head), self.of_keys(v, span, kv_head));
            let q = self.of_queries(q, span, kv_head);
            let (mut mixed, mut scores) = (Memory::new(q.len()), self.scores(span));
            for block in self.blocks(span) {
                let (k, v) = (block.of(&k, d), block.of(&v, d));
                let at = block.rows.start * width..block.rows.end * width;
                let rows = block.rows.len() * self.group();
                let scores = &mut scores[..rows * block.stride()];
                self.probabilities(span, &block, cpu::View::rows(&q[at.clone()], d), k, scores);
                let p = cpu::View::rows(scores, block.stride());
                let shape = (rows, d, block.keys.len());
                cpu::matmul(shape, &mut mixed[at], d, 0.0, p, v, 1.0, Parallelism::None);
            }
            mixed
        });
        self.place(&parts, width, y);
    }

    /// The gradients of queries, keys and values.
    pub(crate) fn backward(&self, [q, k, v]: [&[f32]; 3], dy: &[f32], [dq, dk, dv]: [&mut [f32]; 3]) {
        let parts = self.for_each_task(|span, kv_head| self.task_backward(span, kv_head, q, k, v, dy));
        let mut dqs = Vec::with_capacity(parts.len());
        let mut dks = Vec::with_capacity(parts.len());
        let mut dvs = Vec::with_capacity(parts.len());
        for (dq, dk, dv) in parts {
            dqs.push(dq);
            dks.push(dk);
            dvs.push(dv);
        }
        self.place(&dqs, self.group() * self.shape.head_dim, dq);
        self.add(&dks, dk);
        self.add(&dvs, dv);
    }

    /// Gradients of one span under one key-value head: of its group's queries, of its keys, of its values.
    ///
    /// With probabilities P, dP = dY V^T and dS = P * (dP - rowsum(P * dP)): dQ = dS K, dK = dS^T Q, dV = P^T dY.
    fn task_backward(
        &self,
        span: &Span,
        kv_head: usize,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        dy: &[f32],
    ) -> (Memory, Memory, Memory) {
        let AttentionShape { head_dim: d, scale, .. } = self.shape;
        let width = self.group() * d;
        let (k, v) = (self.of_keys(k, span, kv_head), self.of_keys(v, span, kv_head));
        let (q, dy) = (self.of_queries(q, span, kv_head), self.of_queries(dy, span, kv_head));
        let mut dq = Memory::new(q.len());
        let (mut dk, mut dv) = (Memory::new(k.len()), Memory::new(v.len()));
        let (mut p, mut ds) = (self.scores(span), self.scores(span));
        // Sums begin at zero, and what pads rows of scores is read, times zero: no NaN may stand there.
        [&mut dk, &mut dv, &mut ds].into_iter().for_each(|numbers| numbers.fill(0.0));
        for block in self.blocks(span) {
            let (k, v) = (block.of(&k, d), block.of(&v, d));
            let at = block.rows.start * width..block.rows.end * width;
            let (q, dy) = (cpu::View::rows(&q[at.clone()], d), cpu::View::rows(&dy[at.clone()], d));
            let (n, m, stride) = (block.rows.len() * self.group(), block.keys.len(), block.stride());
            let (p, ds) = (&mut p[..n * stride], &mut ds[..n * stride]);
            self.probabilities(span, &block, q, k, p);
            cpu::matmul((n, m, d), ds, stride, 0.0, dy, v.t(), 1.0, Parallelism::None);
            cpu::vectorised!({
                for (p, ds) in p.chunks_exact(stride).zip(ds.chunks_exact_mut(stride)) {
                    let along = cpu::sum([p, ds], |[p, ds]| p * ds);
                    for (ds, p) in ds.iter_mut().zip(p) {
                        *ds = p * (*ds - along);
                    }
                }
            });
            if let Some(cap) = self.shape.softcap {
                self.through_softcap(cap, &block, q, k, ds);
            }
            let (dv, dk) = (&mut dv[block.keys.start * d..], &mut dk[block.keys.start * d..]);
            let (p, ds) = (cpu::View::rows(p, stride), cpu::View::rows(ds, stride));
            cpu::matmul((m, d, n), dv, d, 1.0, p.t(), dy, 1.0, Parallelism::None);
            cpu::matmul((m, d, n), dk, d, 1.0, ds.t(), q, scale, Parallelism::None);
            cpu::matmul((n, d, m), &mut dq[at], d, 0.0, ds, k, scale, Parallelism::None);
        }
        (dq, dk, dv)
    }

    /// Multiplies the gradient by the slope of cap * tanh(s / cap), from the scores computed again.
    fn through_softcap(&self, cap: f32, block: &Block, q: cpu::View, k: cpu::View, ds: &mut [f32]) {
        let mut scores = Memory::new(ds.len());
        scores.fill(0.0);
        let shape = (block.rows.len() * self.group(), block.keys.len(), self.shape.head_dim);
        cpu::matmul(shape, &mut scores, block.stride(), 0.0, q, k.t(), self.shape.scale, Parallelism::None);
        cpu::vectorised!({
            for (ds, s) in ds.iter_mut().zip(&*scores) {
                let t = cpu::tanh(s / cap);
                *ds *= 1.0 - t * t;
            }
        });
    }
}
