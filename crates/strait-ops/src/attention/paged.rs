//! Attention of single tokens over keys and values that lie in pages.

use std::ops::Range;

use candle_core::{Result, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::AttentionShape;
use crate::{
    Precision,
    by_row::{Weight, products},
    cpu,
    memory::Memory,
    precision::Numbers,
    product::round_in_place,
    vectors::fetch,
};

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
/// - `k`, `v`: `(pages * PAGE, kv_heads * head_dim)`, both f32, or both bf16 where products are bf16
/// - result: as `q`
///
/// # Errors
/// If the shapes or types disagree or a page lies outside.
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
    cpu::with_slices([q], |[q]| {
        let mut q = Memory::from(q);
        if shape.precision == Precision::Bf16 {
            round_in_place(&mut q);
        }
        Numbers::with(&k.clone().into(), |k| {
            Numbers::with(&v.clone().into(), |v| {
                match (k, v) {
                    (Numbers::F32(k), Numbers::F32(v)) => attend(shape, sequences, [k, v], &q, &mut y),
                    (Numbers::Bf16(k), Numbers::Bf16(v)) => attend(shape, sequences, [k, v], &q, &mut y),
                    _ => candle_core::bail!("attention: keys and values in pages are of two types"),
                }
                Ok(())
            })
        })
    })?;
    Tensor::from_vec(y, q.shape(), q.device())
}

/// Attention of all sequences, on all threads.
fn attend<T: Weight>(
    shape: AttentionShape,
    sequences: &[Pages],
    [keys, values]: [&[T]; 2],
    q: &[f32],
    y: &mut [f32],
) {
    // Heads of one sequence lie side by side: a thread reads them all, unless another would have nothing to do.
    let parts = if sequences.len() < 2 * rayon::current_num_threads() { shape.kv_heads } else { 1 };
    let (heads, queries) = (shape.kv_heads / parts, shape.heads / parts * shape.head_dim);
    let tasks = y.par_chunks_exact_mut(queries).zip(q.par_chunks_exact(queries)).enumerate();
    tasks.for_each(|(task, (y, q))| {
        let sequence = &sequences[task / parts];
        let first = task % parts * heads;
        Arch::new().dispatch(Heads { shape, sequence, keys, values, heads: first..first + heads, q, y });
    });
}

/// Some key-value heads of one sequence, and the query heads that share them.
struct Heads<'a, T> {
    shape: AttentionShape,
    sequence: &'a Pages<'a>,
    keys: &'a [T],
    values: &'a [T],
    /// The key-value heads.
    heads: Range<usize>,
    q: &'a [f32],
    y: &'a mut [f32],
}

/// Tokens that are taken at once.
const TOKENS: usize = 4;
/// Tokens that are asked for before they are taken.
const AHEAD: usize = 8;

impl<T: Weight> WithSimd for Heads<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (d, group) = (self.shape.head_dim, self.shape.heads / self.shape.kv_heads);
        let end = self.sequence.length;
        let first = end - self.shape.window.map_or(end, |window| window.min(end));
        let seen = end - first;
        let mut scores = vec![0f32; self.q.len() / d * seen];
        for start in (first..end).step_by(TOKENS) {
            let keys = self.tokens(self.keys, start, end);
            let heads = self.q.chunks_exact(group * d).zip(scores.chunks_exact_mut(group * seen));
            for (head, (q, scores)) in heads.enumerate() {
                let keys = keys.map(|token| &token[head * d..][..d]);
                let mut queries = q.chunks_exact(d).zip(scores.chunks_exact_mut(seen));
                while let Some((q, scores)) = queries.next() {
                    let scores = &mut scores[start - first..];
                    match queries.next() {
                        Some((other, others)) => {
                            let [found, of_other] = products(simd, [q, other], keys);
                            put(found, scores);
                            put(of_other, &mut others[start - first..]);
                        }
                        None => {
                            let [found] = products(simd, [q], keys);
                            put(found, scores);
                        }
                    }
                }
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
            let values = self.tokens(self.values, start, end);
            let heads = self.y.chunks_exact_mut(group * d).zip(scores.chunks_exact(group * seen));
            for (head, (y, scores)) in heads.enumerate() {
                let values = values.map(|token| &token[head * d..][..d]);
                for (y, scores) in y.chunks_exact_mut(d).zip(scores.chunks_exact(seen)) {
                    let mut shares = [0f32; TOKENS];
                    shares.iter_mut().zip(&scores[start - first..]).for_each(|(to, share)| *to = *share);
                    add(simd, shares, values, y);
                }
            }
        }
        for (y, sum) in self.y.chunks_exact_mut(d).zip(sums) {
            let inverse = 1.0 / sum;
            y.iter_mut().for_each(|y| *y *= inverse);
        }
    }
}

impl<T: Weight> Heads<'_, T> {
    /// These heads' part of the keys, or values, of some tokens from `start` on; in place of those from `end` on stands the last.
    #[inline(always)]
    fn tokens<'a>(&self, numbers: &'a [T], start: usize, end: usize) -> [&'a [T]; TOKENS] {
        let d = self.shape.head_dim;
        let of = |token: usize| {
            let row = self.sequence.row(token.min(end - 1));
            &numbers[row * self.shape.kv_heads * d..][self.heads.start * d..self.heads.end * d]
        };
        let mut tokens: [&[T]; TOKENS] = [&[]; TOKENS];
        for (i, to) in tokens.iter_mut().enumerate() {
            *to = of(start + i);
            fetch(of(start + i + AHEAD));
        }
        tokens
    }
}

/// Puts the scores of some tokens where there is room: the last tokens may be fewer.
#[inline(always)]
fn put(found: [f32; TOKENS], scores: &mut [f32]) {
    scores.iter_mut().zip(found).for_each(|(score, found)| *score = found);
}

/// Adds the values of some tokens to y, each by its share.
#[inline(always)]
fn add<S: Simd, T: Weight>(simd: S, shares: [f32; TOKENS], values: [&[T]; TOKENS], y: &mut [f32]) {
    let (whole, rest) = S::as_mut_simd_f32s(y);
    for (at, y) in whole.iter_mut().enumerate() {
        let mut of = [simd.splat_f32s(0.0); TOKENS];
        for (of, values) in of.iter_mut().zip(values) {
            // SAFETY: values are as long as y.
            *of = unsafe { T::load(simd, values[at * S::F32_LANES..].as_ptr()) };
        }
        *y = mixed(simd, shares, of, *y);
    }
    if !rest.is_empty() {
        let mut of = [simd.splat_f32s(0.0); TOKENS];
        for (of, values) in of.iter_mut().zip(values) {
            *of = T::rest(simd, &values[whole.len() * S::F32_LANES..]);
        }
        let y = mixed(simd, shares, of, simd.partial_load_f32s(rest));
        simd.partial_store_f32s(rest, y);
    }
}

#[inline(always)]
fn mixed<S: Simd>(simd: S, shares: [f32; TOKENS], [a, b, c, d]: [S::f32s; TOKENS], y: S::f32s) -> S::f32s {
    let (a, b) = (simd.mul_f32s(simd.splat_f32s(shares[0]), a), simd.mul_f32s(simd.splat_f32s(shares[1]), b));
    let (c, d) = (simd.mul_f32s(simd.splat_f32s(shares[2]), c), simd.mul_f32s(simd.splat_f32s(shares[3]), d));
    simd.add_f32s(y, simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}
