//! Attention of single tokens over keys and values that lie in pages.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::AttentionShape;
use crate::ops::cpu;

/// Tokens of a page.
pub const PAGE: usize = 16;

/// The keys of one sequence: its pages, and the number of its tokens, the query's own included.
#[derive(Clone, Copy, Debug)]
pub struct Pages<'a> {
    /// Their numbers, in the sequence's order.
    pub pages: &'a [u32],
    /// Its tokens.
    pub length: usize,
}

impl Pages<'_> {
    /// The row of a token.
    pub fn row(&self, token: usize) -> usize {
        self.pages[token / PAGE] as usize * PAGE + token % PAGE
    }
}

/// Softmax attention of one query a sequence over its own keys, without gradients. A sequence's result does not depend on those
/// beside it, nor on where its pages lie.
///
/// # Shapes
/// - `q`: `(sequences, heads * head_dim)`, f32 on the CPU
/// - `k`, `v`: `(pages * PAGE, kv_heads * head_dim)`
/// - result: as `q`
///
/// # Errors
/// If the shapes disagree or a page lies outside.
pub fn attention_in_pages(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: AttentionShape,
    sequences: &[Pages],
) -> Result<Tensor> {
    let (width, rows) = (shape.heads * shape.head_dim, k.dim(0)?);
    let inside = |s: &Pages| {
        s.length > 0
            && s.length <= s.pages.len() * PAGE
            && s.pages.iter().all(|&page| (page as usize + 1) * PAGE <= rows)
    };
    let kv = [rows, shape.kv_heads * shape.head_dim];
    let fits = q.dims() == [sequences.len(), width] && k.dims() == kv && v.dims() == kv;
    if !fits || !shape.heads.is_multiple_of(shape.kv_heads) || !sequences.iter().all(inside) {
        candle_core::bail!(
            "attention: queries {:?}, keys {:?}, values {:?} do not fit {shape:?} over {} sequences in pages",
            q.shape(),
            k.shape(),
            v.shape(),
            sequences.len()
        );
    }
    let mut y = vec![0f32; q.elem_count()];
    cpu::with_slices([q, k, v], |[q, k, v]| {
        let group = shape.heads / shape.kv_heads * shape.head_dim;
        let heads = y.par_chunks_exact_mut(group).zip(q.par_chunks_exact(group)).enumerate();
        heads.for_each(|(task, (y, q))| {
            let sequence = &sequences[task / shape.kv_heads];
            let head =
                Head { shape, sequence, keys: k, values: v, offset: task % shape.kv_heads * shape.head_dim };
            cpu::vectorised(|| head.mix(q, y));
        });
        Ok(())
    })?;
    Tensor::from_vec(y, q.shape(), q.device())
}

/// One key-value head of one sequence.
struct Head<'a> {
    shape: AttentionShape,
    sequence: &'a Pages<'a>,
    keys: &'a [f32],
    values: &'a [f32],
    /// The head's place in a row.
    offset: usize,
}

impl Head<'_> {
    /// Attention of the query heads that share this head.
    #[inline(always)]
    fn mix(&self, q: &[f32], y: &mut [f32]) {
        let d = self.shape.head_dim;
        let end = self.sequence.length;
        let first = end - self.shape.window.map_or(end, |window| window.min(end));
        let seen = end - first;
        let mut scores = vec![0f32; q.len() / d * seen];
        for token in first..end {
            let key = self.of(self.keys, token);
            for (q, scores) in q.chunks_exact(d).zip(scores.chunks_exact_mut(seen)) {
                scores[token - first] = cpu::sum(d, |i| q[i] * key[i]) * self.shape.scale;
            }
        }
        for scores in scores.chunks_exact_mut(seen) {
            if let Some(cap) = self.shape.softcap {
                scores.iter_mut().for_each(|score| *score = cap * cpu::tanh(*score / cap));
            }
            let largest = cpu::max(scores);
            scores.iter_mut().for_each(|score| *score = cpu::exp(*score - largest));
            let total = cpu::sum(seen, |i| scores[i]);
            scores.iter_mut().for_each(|score| *score /= total);
        }
        for token in first..end {
            let value = self.of(self.values, token);
            for (y, scores) in y.chunks_exact_mut(d).zip(scores.chunks_exact(seen)) {
                let share = scores[token - first];
                y.iter_mut().zip(value).for_each(|(y, value)| *y += share * value);
            }
        }
    }

    /// The part of a token's key, or value, that is this head's.
    #[inline(always)]
    fn of<'a>(&self, numbers: &'a [f32], token: usize) -> &'a [f32] {
        let width = self.shape.kv_heads * self.shape.head_dim;
        &numbers[self.sequence.row(token) * width + self.offset..][..self.shape.head_dim]
    }
}
