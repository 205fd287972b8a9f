//! The fused passes over the tokens of a loss.

use std::ops::Range;

use candle_core::{Result, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use super::{
    super::{Gradient, HeadChange, Memory, Precision, Unembedding, cpu, precision::Numbers as Kept},
    LOGITS_HELD, Loss, Slope, token,
};

/// Rows whose logits are held at once. Each chunk reads the whole unembedding, so that few and large ones are best: at least 64
/// rows however large the vocabulary is, and at most 512 however small.
pub fn chunk(vocab: usize) -> usize {
    (LOGITS_HELD / vocab.max(1)).clamp(64, 512)
}

/// Rows and columns of a tile of logits, which stays in a core's own cache.
pub const TILE: (usize, usize) = (256, 256);

/// A tile's sums over one token's logits.
struct Part {
    largest: f32,
    /// Sum of the powers, relative to that of the largest.
    sum: f32,
    /// The logit of the target, where the tile holds it.
    at_target: Option<f32>,
}

/// The numbers of hidden states and of their unembedding.
struct Numbers<'a> {
    /// Shape `(tokens, width)`.
    hidden: &'a [f32],
    /// Shape `(vocab, width)`.
    weight: Kept<'a>,
    width: usize,
    precision: Precision,
    softcap: Option<f32>,
    /// The term that is added to the products with the weight.
    change: Option<LowRank<'a>>,
}

/// The numbers of a [`HeadChange`].
struct LowRank<'a> {
    /// Shape `(rank, width)`.
    a: &'a [f32],
    /// Shape `(vocab, rank)`.
    b: &'a [f32],
    rank: usize,
}

impl LowRank<'_> {
    /// Its rank, by the shapes.
    fn rank(change: &HeadChange, vocab: usize, width: usize) -> Result<usize> {
        let ((rank, input), (output, same)) = (change.a.dims2()?, change.b.dims2()?);
        if input != width || same != rank || output != vocab {
            candle_core::bail!(
                "a change of {:?} and {:?} for an unembedding of ({vocab}, {width})",
                change.a.shape(),
                change.b.shape()
            );
        }
        Ok(rank)
    }
}

impl Numbers<'_> {
    /// Runs `f` on the numbers of tensors.
    fn with<R>(
        hidden: &Tensor,
        unembedding: &Unembedding,
        f: impl FnOnce(&Numbers) -> Result<R>,
    ) -> Result<R> {
        let Unembedding { weight, precision, softcap, change } = unembedding;
        let ((_, width), (vocab, inner)) = (hidden.dims2()?, weight.dims2()?);
        if width != inner {
            candle_core::bail!("hidden states of {width} for an unembedding of {inner}");
        }
        let rank = change.as_ref().map(|change| LowRank::rank(change, vocab, width)).transpose()?;
        // Without a change its slices are never looked at.
        let (a, b) = change.as_ref().map_or((hidden, hidden), |change| (&change.a, &change.b));
        Kept::with(weight, |weight| {
            cpu::with_slices([hidden, a, b], |[hidden, a, b]| {
                let change = rank.map(|rank| LowRank { a, b, rank });
                let (precision, softcap) = (*precision, softcap.map(|cap| cap as f32));
                f(&Numbers { hidden, weight, width, precision, softcap, change })
            })
        })
    }

    fn tokens(&self) -> usize {
        self.hidden.len() / self.width
    }

    fn vocab(&self) -> usize {
        self.weight.len() / self.width
    }

    fn rows(&self, tokens: Range<usize>) -> &[f32] {
        &self.hidden[tokens.start * self.width..tokens.end * self.width]
    }

    /// The logits of some tokens.
    fn unembed(&self, tokens: Range<usize>, to: &mut [f32]) {
        let shape = (tokens.len(), self.vocab(), self.width);
        let rows = self.rows(tokens);
        let (x, w) = (cpu::View::rows(rows, self.width), self.weight.rows(self.width).t());
        self.precision.matmul(shape, to, self.vocab(), 0.0, x, w, 1.0, cpu::all_threads());
        self.add_change(rows, 0..self.vocab(), to, cpu::all_threads());
    }

    /// Adds the part of the change to the logits of some rows under some columns of the vocabulary.
    fn add_change(&self, rows: &[f32], columns: Range<usize>, to: &mut [f32], threads: Parallelism) {
        let Some(LowRank { a, b, rank }) = &self.change else { return };
        let (n, rank) = (rows.len() / self.width, *rank);
        let mut inner = vec![0f32; n * rank];
        let (x, down) = (cpu::View::rows(rows, self.width), cpu::View::rows(a, self.width).t().into());
        self.precision.matmul((n, rank, self.width), &mut inner, rank, 0.0, x, down, 1.0, threads);
        let up = cpu::View::rows(&b[columns.start * rank..columns.end * rank], rank).t().into();
        let shape = (n, columns.len(), rank);
        self.precision.matmul(shape, to, columns.len(), 1.0, cpu::View::rows(&inner, rank), up, 1.0, threads);
    }

    /// d loss / d hidden of some tokens from their d loss / d logits.
    fn hidden_gradient(&self, d_logits: &[f32], to: &mut [f32]) {
        let (width, vocab, threads) = (self.width, self.vocab(), cpu::all_threads());
        let n = to.len() / width;
        let (d, w) = (cpu::View::rows(d_logits, vocab), self.weight.rows(width));
        self.precision.matmul((n, width, vocab), to, width, 0.0, d, w, 1.0, threads);
        if let Some(LowRank { a, b, rank }) = &self.change {
            let mut inner = vec![0f32; n * rank];
            let b = cpu::View::rows(b, *rank).into();
            self.precision.matmul((n, *rank, vocab), &mut inner, *rank, 0.0, d, b, 1.0, threads);
            let (d, a) = (cpu::View::rows(&inner, *rank), cpu::View::rows(a, width).into());
            self.precision.matmul((n, width, *rank), to, width, 1.0, d, a, 1.0, threads);
        }
    }

    /// Adds the contribution of some tokens to d loss / d weight; what stands there before the first tokens is not read.
    fn add_weight_gradient(&self, tokens: Range<usize>, d_logits: &[f32], to: &mut [f32]) {
        let keep = if tokens.start == 0 { 0.0 } else { 1.0 };
        let (width, vocab, n) = (self.width, self.vocab(), tokens.len());
        let (d, x) = (cpu::View::rows(d_logits, vocab).t(), cpu::View::rows(self.rows(tokens), width).into());
        self.precision.matmul((vocab, width, n), to, width, keep, d, x, 1.0, cpu::all_threads());
    }
}

/// The inputs of a pass.
pub struct Pass<'a> {
    edited: &'a Numbers<'a>,
    reference: Reference<'a>,
}

enum Reference<'a> {
    Targets(&'a [u32]),
    Base(&'a Numbers<'a>),
}

impl Pass<'_> {
    /// Runs `f` on the pass of a loss.
    pub fn over<R>(
        hidden: &Tensor,
        unembedding: &Unembedding,
        loss: Loss<'_>,
        f: impl FnOnce(&Pass) -> Result<R>,
    ) -> Result<R> {
        Numbers::with(hidden, unembedding, |edited| match loss {
            Loss::CrossEntropy(targets) => f(&Pass { edited, reference: Reference::Targets(targets) }),
            Loss::Divergence { base, unembedding } => {
                Numbers::with(base, unembedding, |base| f(&Pass { edited, reference: Reference::Base(base) }))
            }
        })
    }

    /// Losses of all tokens.
    pub fn losses(&self) -> Result<Vec<f32>> {
        Ok(match self.reference {
            Reference::Targets(targets) => self.cross_entropies(targets),
            Reference::Base(_) => self.run(false, |_, _| ()),
        })
    }

    /// Losses of all tokens, and the gradient of their weighted sum.
    pub fn run_back(
        &self,
        weights: &[f32],
        hidden: &Tensor,
        unembedding: &Unembedding,
    ) -> Result<(Vec<f32>, Slope)> {
        let (edited, weight) = (self.edited, &unembedding.weight);
        let mut of_hidden = vec![0f32; edited.hidden.len()];
        let mut of_weight = weight.track_op().then(|| Memory::of_gradient(edited.weight.len()));
        let width = edited.width;
        // The first tokens write what the memory held before; without any nobody does.
        if let Some(of_weight) = &mut of_weight
            && weights.is_empty()
        {
            of_weight.fill(0.0);
        }
        let times = |rows: &mut [f32], width: usize, weights: &[f32]| {
            for (row, weight) in rows.chunks_exact_mut(width).zip(weights) {
                row.iter_mut().for_each(|d| *d *= weight);
            }
        };
        let losses = self.run(true, |tokens, d_logits| {
            let to = &mut of_hidden[tokens.start * width..tokens.end * width];
            let weights = &weights[tokens.clone()];
            match &mut of_weight {
                // Fewer numbers are weighed than logits.
                None => {
                    edited.hidden_gradient(d_logits, to);
                    times(to, width, weights);
                }
                Some(of_weight) => {
                    times(d_logits, edited.vocab(), weights);
                    edited.hidden_gradient(d_logits, to);
                    edited.add_weight_gradient(tokens, d_logits, of_weight);
                }
            }
        });
        let hidden = Tensor::from_vec(of_hidden, hidden.shape(), hidden.device())?;
        Ok((losses, Slope { hidden, weight: of_weight.map(Gradient::Numbers) }))
    }

    /// Cross-entropies of all tokens, tile by tile: no logit goes to memory and back.
    fn cross_entropies(&self, targets: &[u32]) -> Vec<f32> {
        let (chunks, tiles) = (targets.len().div_ceil(TILE.0), self.edited.vocab().div_ceil(TILE.1));
        // All chunks of rows follow each other under one tile of the unembedding, which is then read once.
        let parts: Vec<Vec<Part>> = (0..tiles * chunks)
            .into_par_iter()
            .map_init(Vec::new, |logits, i| self.tile(i % chunks, i / chunks, targets, logits))
            .collect();
        let loss = |token: usize| {
            let parts = || (0..tiles).map(|tile| &parts[tile * chunks + token / TILE.0][token % TILE.0]);
            let largest = parts().fold(f32::NEG_INFINITY, |most, part| most.max(part.largest));
            let sum: f32 = parts().map(|part| part.sum * (part.largest - largest).exp()).sum();
            largest + sum.ln() - parts().find_map(|part| part.at_target).unwrap_or(f32::NAN)
        };
        (0..targets.len()).map(loss).collect()
    }

    /// The logits of a chunk of rows under a tile of the vocabulary, row by row.
    fn tile(&self, chunk: usize, tile: usize, targets: &[u32], logits: &mut Vec<f32>) -> Vec<Part> {
        let (edited, width) = (self.edited, self.edited.width);
        let rows = chunk * TILE.0..targets.len().min((chunk + 1) * TILE.0);
        let columns = tile * TILE.1..edited.vocab().min((tile + 1) * TILE.1);
        let shape = (rows.len(), columns.len(), width);
        logits.resize(rows.len() * columns.len(), 0.0);
        let x = edited.rows(rows.clone());
        let w = edited.weight.rows(width).from_row(columns.start).t();
        edited.precision.matmul(
            shape,
            logits,
            columns.len(),
            0.0,
            cpu::View::rows(x, width),
            w,
            1.0,
            Parallelism::None,
        );
        edited.add_change(x, columns.clone(), logits, Parallelism::None);
        let rows = logits.chunks_exact_mut(columns.len()).zip(&targets[rows]);
        let part = |(row, &target): (&mut [f32], &u32)| {
            let (largest, sum) = cpu::vectorised!(token::powers(row, edited.softcap));
            let inside = (target as usize).checked_sub(columns.start);
            Part { largest, sum, at_target: inside.and_then(|column| row.get(column)).copied() }
        };
        rows.map(part).collect()
    }

    /// Losses of all tokens, chunk by chunk. With `gradient`, `take` gets each chunk's tokens and their d loss / d logits.
    fn run(&self, gradient: bool, mut take: impl FnMut(Range<usize>, &mut [f32])) -> Vec<f32> {
        let (tokens, vocab, cap) = (self.edited.tokens(), self.edited.vocab(), self.edited.softcap);
        let chunk = chunk(vocab).min(tokens).max(1);
        let mut losses = vec![0f32; tokens];
        let mut logits = Memory::new(chunk * vocab);
        let mut base_logits = match self.reference {
            Reference::Base(_) => Memory::new(chunk * vocab),
            Reference::Targets(_) => Memory::new(0),
        };
        for (losses, start) in losses.chunks_mut(chunk).zip((0..).step_by(chunk)) {
            let chunk = start..start + losses.len();
            let logits = &mut logits[..chunk.len() * vocab];
            self.edited.unembed(chunk.clone(), logits);
            match self.reference {
                Reference::Targets(targets) => {
                    let rows = logits.par_chunks_exact_mut(vocab).zip(&targets[chunk.clone()]).zip(losses);
                    rows.for_each(|((row, &target), loss)| {
                        *loss = cpu::vectorised!(token::cross_entropy(row, target as usize, cap, gradient));
                    });
                }
                Reference::Base(base) => {
                    let base_logits = &mut base_logits[..chunk.len() * vocab];
                    base.unembed(chunk.clone(), base_logits);
                    let rows =
                        logits.par_chunks_exact_mut(vocab).zip(base_logits.par_chunks_exact_mut(vocab));
                    rows.zip(losses).for_each(|((row, of_base), loss)| {
                        *loss =
                            cpu::vectorised!(token::divergence(row, cap, of_base, base.softcap, gradient));
                    });
                }
            }
            if gradient {
                take(chunk, logits);
            }
        }
        losses
    }
}
