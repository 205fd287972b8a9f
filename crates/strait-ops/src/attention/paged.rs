//! Attention of single tokens over keys and values that lie in pages.

use candle_core::{Result, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::AttentionShape;
use crate::{Precision, by_row::products, cpu, product::round_in_place};

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
/// - `k`, `v`: `(pages * PAGE, kv_heads * head_dim)`; in bf16 they are taken as [`Precision::rounded`] gives them
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
            let offset = task % shape.kv_heads * shape.head_dim;
            let mut q = q.to_vec();
            if shape.precision == Precision::Bf16 {
                round_in_place(&mut q);
            }
            Arch::new().dispatch(Head { shape, sequence, keys: k, values: v, offset, q: &q, y });
        });
        Ok(())
    })?;
    Tensor::from_vec(y, q.shape(), q.device())
}

/// One key-value head of one sequence, and the query heads that share it.
struct Head<'a> {
    shape: AttentionShape,
    sequence: &'a Pages<'a>,
    keys: &'a [f32],
    values: &'a [f32],
    /// The head's place in a row.
    offset: usize,
    q: &'a [f32],
    y: &'a mut [f32],
}

/// Tokens that are taken at once.
const TOKENS: usize = 4;

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let d = self.shape.head_dim;
        let end = self.sequence.length;
        let first = end - self.shape.window.map_or(end, |window| window.min(end));
        let seen = end - first;
        let mut scores = vec![0f32; self.q.len() / d * seen];
        for start in (first..end).step_by(TOKENS) {
            let keys = self.tokens(self.keys, start, end);
            for (q, scores) in self.q.chunks_exact(d).zip(scores.chunks_exact_mut(seen)) {
                let [found] = products(simd, [q], keys);
                scores[start - first..].iter_mut().zip(found).for_each(|(score, found)| *score = found);
            }
        }
        let mut sums = vec![0f32; self.q.len() / d];
        for (scores, sum) in scores.chunks_exact_mut(seen).zip(&mut sums) {
            scores.iter_mut().for_each(|score| *score *= self.shape.scale);
            if let Some(cap) = self.shape.softcap {
                scores.iter_mut().for_each(|score| *score = cap * cpu::tanh(*score / cap));
            }
            let largest = cpu::max(scores);
            scores.iter_mut().for_each(|score| *score = cpu::exp(*score - largest));
            *sum = cpu::sum([&*scores], |[x]| x);
        }
        if self.shape.precision == Precision::Bf16 {
            round_in_place(&mut scores);
        }
        for start in (first..end).step_by(TOKENS) {
            let [v0, v1, v2, v3] = self.tokens(self.values, start, end);
            for (y, scores) in self.y.chunks_exact_mut(d).zip(scores.chunks_exact(seen)) {
                let mut shares = [0f32; TOKENS];
                shares.iter_mut().zip(&scores[start - first..]).for_each(|(to, share)| *to = *share);
                let [s0, s1, s2, s3] = shares;
                for ((((y, v0), v1), v2), v3) in y.iter_mut().zip(v0).zip(v1).zip(v2).zip(v3) {
                    *y += (s0 * v0 + s1 * v1) + (s2 * v2 + s3 * v3);
                }
            }
        }
        for (y, sum) in self.y.chunks_exact_mut(d).zip(sums) {
            let inverse = 1.0 / sum;
            y.iter_mut().for_each(|y| *y *= inverse);
        }
    }
}

impl Head<'_> {
    /// This head's part of the keys, or values, of some tokens from `start` on; in place of those from `end` on stands the last.
    #[inline(always)]
    fn tokens<'a>(&self, numbers: &'a [f32], start: usize, end: usize) -> [&'a [f32]; TOKENS] {
        let d = self.shape.head_dim;
        let mut tokens: [&[f32]; TOKENS] = [&[]; TOKENS];
        for (i, token) in tokens.iter_mut().enumerate() {
            let row = self.sequence.row((start + i).min(end - 1));
            *token = &numbers[row * self.shape.kv_heads * d + self.offset..][..d];
        }
        tokens
    }
}
