//! Losses from hidden states, in chunks: memory never holds tokens x vocabulary (design §5).
//!
//! The gradient with respect to the hidden states is computed together with the loss, from the same logits, and kept
//! until the backward pass asks for it; it costs one matrix product more and d numbers a token. Where the unembedding is a
//! variable its gradient needs each token's factor, which only the backward pass knows: that pass computes the logits
//! again and takes both gradients from them.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, DType, Layout, Result, Shape, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use super::{HeadChange, Unembedding, cpu, fused};

/// Cross-entropy of each token in nats. An unembedding that is a variable gets a gradient.
///
/// # Shapes
/// - `hidden`: `(tokens, hidden_size)`, after the final norm
/// - `targets`: one token id per row
/// - result: `(tokens)`
///
/// # Errors
/// If the shapes disagree or a target is outside the vocabulary.
pub fn cross_entropy(
    hidden: &Tensor,
    targets: &[u32],
    unembedding: &Unembedding,
    gradient: bool,
) -> Result<Tensor> {
    let (vocab, tokens) = (unembedding.weight.dim(0)?, hidden.dim(0)?);
    if targets.len() != tokens || targets.iter().any(|&t| t as usize >= vocab) {
        candle_core::bail!(
            "cross_entropy: {} targets for {tokens} tokens and a vocabulary of {vocab}",
            targets.len()
        );
    }
    refuse_trained_change(unembedding)?;
    if fused(hidden) {
        let (hidden, reference) = (hidden.contiguous()?, Reference::Targets(targets.into()));
        if unembedding.weight.track_op() {
            if unembedding.change.is_some() {
                candle_core::bail!("cross_entropy: an unembedding that is trained has no low-rank change");
            }
            let op = Trained { reference, softcap: unembedding.softcap };
            hidden.apply_op2(&unembedding.weight.contiguous()?, op)
        } else {
            hidden.apply_op1(Fused::new(unembedding, reference, gradient))
        }
    } else {
        let logits = unembedding.logits(hidden)?;
        let targets = Tensor::from_slice(targets, (tokens, 1), hidden.device())?;
        log_softmax(&logits)?.gather(&targets, 1)?.squeeze(1)?.neg()
    }
}

/// KL(base ‖ edited) of each token's next-token distribution, in nats; for a frozen unembedding, which is that of both but
/// for its change: that acts on the edited model alone.
///
/// # Shapes
/// - `hidden`: `(tokens, hidden_size)`, after the final norm, of the edited model
/// - `base`: the same of the base model; gets no gradient
/// - result: `(tokens)`
///
/// # Errors
/// If the shapes disagree, or the unembedding is a variable.
pub fn kl_divergence(
    hidden: &Tensor,
    base: &Tensor,
    unembedding: &Unembedding,
    gradient: bool,
) -> Result<Tensor> {
    if hidden.dims() != base.dims() {
        candle_core::bail!("kl_divergence: {:?} edited and {:?} base states", hidden.shape(), base.shape());
    }
    if unembedding.weight.track_op() {
        candle_core::bail!(
            "kl_divergence: the unembedding is trained, so it cannot be that of the base model"
        );
    }
    refuse_trained_change(unembedding)?;
    if fused(hidden) {
        let reference = Reference::Base(base.detach().contiguous()?);
        hidden.contiguous()?.apply_op1(Fused::new(unembedding, reference, gradient))
    } else {
        let base = log_softmax(&unembedding.unchanged().logits(&base.detach())?)?;
        let edited = log_softmax(&unembedding.logits(hidden)?)?;
        (base.exp()? * (base - edited)?)?.sum(D::Minus1)
    }
}

/// Gradients go to hidden states and through the change, never to it: an edit of the head that is to be trained would stay as
/// it is, in silence.
fn refuse_trained_change(unembedding: &Unembedding) -> Result<()> {
    if unembedding.change_is_trained() {
        candle_core::bail!("a LoRA on the head gets no gradient, so it cannot be trained");
    }
    Ok(())
}

fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Logits that a loss holds at once: 64 MiB. KL holds as many of the base model.
pub const LOGITS_HELD: usize = 1 << 24;

/// Rows whose logits are held at once. Each chunk reads the whole unembedding, so that few and large ones are best: at least 64
/// rows however large the vocabulary is, and at most 512 however small.
fn chunk(vocab: usize) -> usize {
    (LOGITS_HELD / vocab.max(1)).clamp(64, 512)
}

/// Rows and columns of a tile of logits, which stays in a core's own cache.
const TILE: (usize, usize) = (256, 256);

/// What a tile knows of one token's logits.
struct Part {
    largest: f32,
    /// Sum of the powers, relative to that of the largest.
    sum: f32,
    /// The logit of the target, where the tile holds it.
    at_target: Option<f32>,
}

enum Reference {
    Targets(Arc<[u32]>),
    Base(Tensor),
}

impl Reference {
    fn name(&self) -> &'static str {
        match self {
            Self::Targets(_) => "cross_entropy",
            Self::Base(_) => "kl_divergence",
        }
    }
}

struct Fused {
    unembedding: Unembedding,
    reference: Reference,
    /// True if a backward pass will follow.
    gradient: bool,
    /// d loss / d hidden, row by row, from the forward pass.
    d_hidden: Mutex<Option<Vec<f32>>>,
}

impl Fused {
    fn new(unembedding: &Unembedding, reference: Reference, gradient: bool) -> Self {
        Self { unembedding: unembedding.clone(), reference, gradient, d_hidden: Mutex::new(None) }
    }
}

/// What a pass over the chunks reads.
struct Pass<'a> {
    /// Shape `(tokens, width)`.
    hidden: &'a [f32],
    /// Shape `(vocab, width)`.
    weight: &'a [f32],
    width: usize,
    softcap: Option<f32>,
    /// What is added to the products with the weight.
    change: Option<LowRank<'a>>,
    reference: &'a Reference,
}

/// The numbers of a [`HeadChange`].
struct LowRank<'a> {
    /// Shape `(rank, width)`.
    a: &'a [f32],
    /// Shape `(vocab, rank)`.
    b: &'a [f32],
    rank: usize,
}

impl<'a> Pass<'a> {
    fn new(
        hidden: (&'a [f32], &Shape),
        weight: (&'a [f32], &Shape),
        softcap: Option<f64>,
        reference: &'a Reference,
    ) -> Result<Self> {
        let ((_, width), (_, inner)) = (hidden.1.dims2()?, weight.1.dims2()?);
        if width != inner {
            let name = reference.name();
            candle_core::bail!("{name}: hidden states of {width} for an unembedding of {inner}");
        }
        let softcap = softcap.map(|cap| cap as f32);
        Ok(Self { hidden: hidden.0, weight: weight.0, width, softcap, change: None, reference })
    }

    fn tokens(&self) -> usize {
        self.hidden.len() / self.width
    }

    fn vocab(&self) -> usize {
        self.weight.len() / self.width
    }

    /// The same pass with a change of the unembedding; the slices are those of its tensors.
    fn changed(self, change: &HeadChange, a: &'a [f32], b: &'a [f32]) -> Result<Self> {
        let ((rank, width), (vocab, same)) = (change.a.dims2()?, change.b.dims2()?);
        if width != self.width || same != rank || vocab != self.vocab() {
            candle_core::bail!(
                "{}: a change of {:?} and {:?} for an unembedding of ({}, {})",
                self.reference.name(),
                change.a.shape(),
                change.b.shape(),
                self.vocab(),
                self.width
            );
        }
        Ok(Self { change: Some(LowRank { a, b, rank }), ..self })
    }

    /// Logits of the model without the change.
    fn unembed_base(&self, rows: &[f32], to: &mut [f32]) {
        let shape = (rows.len() / self.width, self.vocab(), self.width);
        let (x, w) = (cpu::View::rows(rows, self.width), cpu::View::rows(self.weight, self.width).t());
        cpu::matmul(shape, to, self.vocab(), 0.0, x, w, 1.0, cpu::all_threads());
    }

    fn unembed(&self, rows: &[f32], to: &mut [f32]) {
        self.unembed_base(rows, to);
        self.add_change(rows, 0..self.vocab(), to, cpu::all_threads());
    }

    /// Adds what the change gives to the logits of some rows under some columns of the vocabulary.
    fn add_change(&self, rows: &[f32], columns: Range<usize>, to: &mut [f32], threads: Parallelism) {
        let Some(LowRank { a, b, rank }) = &self.change else { return };
        let (n, rank) = (rows.len() / self.width, *rank);
        let mut inner = vec![0f32; n * rank];
        let (x, down) = (cpu::View::rows(rows, self.width), cpu::View::rows(a, self.width).t());
        cpu::matmul((n, rank, self.width), &mut inner, rank, 0.0, x, down, 1.0, threads);
        let up = cpu::View::rows(&b[columns.start * rank..columns.end * rank], rank).t();
        let shape = (n, columns.len(), rank);
        cpu::matmul(shape, to, columns.len(), 1.0, cpu::View::rows(&inner, rank), up, 1.0, threads);
    }

    /// Losses of all tokens, without a gradient.
    fn losses(&self) -> Result<Vec<f32>> {
        match self.reference {
            Reference::Targets(targets) => Ok(self.cross_entropies(targets)),
            Reference::Base(_) => self.run(false, |_, _| ()),
        }
    }

    /// Cross-entropies of all tokens, tile by tile: no logit goes to memory and back.
    fn cross_entropies(&self, targets: &[u32]) -> Vec<f32> {
        let (chunks, tiles) = (targets.len().div_ceil(TILE.0), self.vocab().div_ceil(TILE.1));
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
        let width = self.width;
        let rows = chunk * TILE.0..targets.len().min((chunk + 1) * TILE.0);
        let columns = tile * TILE.1..self.vocab().min((tile + 1) * TILE.1);
        let shape = (rows.len(), columns.len(), width);
        logits.resize(rows.len() * columns.len(), 0.0);
        let x = &self.hidden[rows.start * width..rows.end * width];
        let w = cpu::View::rows(&self.weight[columns.start * width..columns.end * width], width).t();
        cpu::matmul(shape, logits, columns.len(), 0.0, cpu::View::rows(x, width), w, 1.0, Parallelism::None);
        self.add_change(x, columns.clone(), logits, Parallelism::None);
        let rows = logits.chunks_exact_mut(columns.len()).zip(&targets[rows]);
        let part = |(row, &target): (&mut [f32], &u32)| {
            let (largest, sum) = cpu::vectorised(|| powers(row, self.softcap));
            let inside = (target as usize).checked_sub(columns.start);
            Part { largest, sum, at_target: inside.and_then(|column| row.get(column)).copied() }
        };
        rows.map(part).collect()
    }

    /// Losses of all tokens, chunk by chunk. With `gradient`, `take` gets each chunk's tokens and their d loss / d logits.
    fn run(&self, gradient: bool, mut take: impl FnMut(Range<usize>, &mut [f32])) -> Result<Vec<f32>> {
        let (tokens, vocab, width, cap) = (self.tokens(), self.vocab(), self.width, self.softcap);
        let chunk = chunk(vocab).min(tokens).max(1);
        let mut losses = vec![0f32; tokens];
        let mut logits = vec![0f32; chunk * vocab];
        let mut base_logits = match self.reference {
            Reference::Base(_) => logits.clone(),
            Reference::Targets(_) => Vec::new(),
        };
        for (losses, start) in losses.chunks_mut(chunk).zip((0..).step_by(chunk)) {
            let n = losses.len();
            let logits = &mut logits[..n * vocab];
            self.unembed(&self.hidden[start * width..][..n * width], logits);
            match self.reference {
                Reference::Targets(targets) => {
                    let rows = logits.par_chunks_exact_mut(vocab).zip(&targets[start..][..n]).zip(losses);
                    rows.for_each(|((row, &target), loss)| {
                        *loss = cpu::vectorised(|| token_cross_entropy(row, target as usize, cap, gradient));
                    });
                }
                Reference::Base(base) => {
                    let base_logits = &mut base_logits[..n * vocab];
                    cpu::with_slices([&base.narrow(0, start, n)?], |[base]| {
                        self.unembed_base(base, base_logits);
                        Ok(())
                    })?;
                    let rows =
                        logits.par_chunks_exact_mut(vocab).zip(base_logits.par_chunks_exact_mut(vocab));
                    rows.zip(losses).for_each(|((row, base), loss)| {
                        *loss = cpu::vectorised(|| token_kl(row, base, cap, gradient));
                    });
                }
            }
            if gradient {
                take(start..start + n, logits);
            }
        }
        Ok(losses)
    }

    /// d loss / d hidden of some tokens from their d loss / d logits.
    fn hidden_gradient(&self, tokens: Range<usize>, d_logits: &[f32], to: &mut [f32]) {
        let (width, vocab) = (self.width, self.vocab());
        let to = &mut to[tokens.start * width..tokens.end * width];
        let (n, threads) = (tokens.len(), cpu::all_threads());
        let (d, w) = (cpu::View::rows(d_logits, vocab), cpu::View::rows(self.weight, width));
        cpu::matmul((n, width, vocab), to, width, 0.0, d, w, 1.0, threads);
        if let Some(LowRank { a, b, rank }) = &self.change {
            let mut inner = vec![0f32; n * rank];
            cpu::matmul(
                (n, *rank, vocab),
                &mut inner,
                *rank,
                0.0,
                d,
                cpu::View::rows(b, *rank),
                1.0,
                threads,
            );
            let (d, a) = (cpu::View::rows(&inner, *rank), cpu::View::rows(a, width));
            cpu::matmul((n, width, *rank), to, width, 1.0, d, a, 1.0, threads);
        }
    }

    /// Adds what some tokens contribute to d loss / d weight.
    fn add_weight_gradient(&self, tokens: Range<usize>, d_logits: &[f32], to: &mut [f32]) {
        let (width, vocab) = (self.width, self.vocab());
        let rows = &self.hidden[tokens.start * width..tokens.end * width];
        let (d, x) = (cpu::View::rows(d_logits, vocab).t(), cpu::View::rows(rows, width));
        cpu::matmul((vocab, width, tokens.len()), to, width, 1.0, d, x, 1.0, cpu::all_threads());
    }
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        self.reference.name()
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let hidden = cpu::slice(storage, layout)?;
        let Unembedding { weight, softcap, change } = &self.unembedding;
        let mut d_hidden = vec![0f32; if self.gradient { hidden.len() } else { 0 }];
        // Without a change its slices are never looked at.
        let (a, b) = change.as_ref().map_or((weight, weight), |change| (&change.a, &change.b));
        let losses = cpu::with_slices([weight, a, b], |[numbers, a, b]| {
            let weight = (numbers, weight.shape());
            let mut pass = Pass::new((hidden, layout.shape()), weight, *softcap, &self.reference)?;
            if let Some(change) = change {
                pass = pass.changed(change, a, b)?;
            }
            if !self.gradient {
                return pass.losses();
            }
            pass.run(true, |tokens, d_logits| pass.hidden_gradient(tokens, d_logits, &mut d_hidden))
        })?;
        if self.gradient {
            *self.d_hidden.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(d_hidden);
        }
        let tokens = losses.len();
        Ok((CpuStorage::F32(losses), tokens.into()))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let kept = self.d_hidden.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let Some(d_hidden) = kept else {
            candle_core::bail!("{}: the forward pass was run without a gradient", self.name());
        };
        let d_hidden = Tensor::from_vec(d_hidden, arg.shape(), arg.device())?;
        d_hidden.broadcast_mul(&grad.unsqueeze(1)?.to_dtype(DType::F32)?).map(Some)
    }
}

/// The loss under an unembedding that is a variable.
struct Trained {
    reference: Reference,
    softcap: Option<f64>,
}

impl CustomOp2 for Trained {
    fn name(&self) -> &'static str {
        self.reference.name()
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let hidden = (cpu::slice(hidden, hidden_layout)?, hidden_layout.shape());
        let weight = (cpu::slice(weight, weight_layout)?, weight_layout.shape());
        let losses = Pass::new(hidden, weight, self.softcap, &self.reference)?.losses()?;
        let tokens = losses.len();
        Ok((CpuStorage::F32(losses), tokens.into()))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut d_hidden = vec![0f32; hidden.elem_count()];
        let mut d_weight = vec![0f32; weight.elem_count()];
        cpu::with_slices([hidden, weight, grad], |[states, numbers, grad]| {
            let (states, numbers) = ((states, hidden.shape()), (numbers, weight.shape()));
            let pass = Pass::new(states, numbers, self.softcap, &self.reference)?;
            pass.run(true, |tokens, d_logits| {
                for (row, factor) in d_logits.chunks_exact_mut(pass.vocab()).zip(&grad[tokens.clone()]) {
                    row.iter_mut().for_each(|d| *d *= factor);
                }
                pass.hidden_gradient(tokens.clone(), d_logits, &mut d_hidden);
                pass.add_weight_gradient(tokens, d_logits, &mut d_weight);
            })
        })?;
        let d_hidden = Tensor::from_vec(d_hidden, hidden.shape(), hidden.device())?;
        Ok((Some(d_hidden), Some(Tensor::from_vec(d_weight, weight.shape(), weight.device())?)))
    }
}

/// Turns logits l into their soft-capped values and returns the largest, and the sum of their powers relative to its.
#[inline(always)]
fn powers(row: &mut [f32], cap: Option<f32>) -> (f32, f32) {
    if let Some(cap) = cap {
        row.iter_mut().for_each(|l| *l = cap * cpu::tanh(*l / cap));
    }
    let largest = cpu::max(row);
    (largest, cpu::sum(row.len(), |i| cpu::exp(row[i] - largest)))
}

/// Soft-caps logits and returns the log of the sum of their powers.
#[inline(always)]
fn log_sum_exp(row: &mut [f32], cap: Option<f32>) -> f32 {
    let (largest, sum) = powers(row, cap);
    largest + sum.ln()
}

/// Slope of the soft cap where its value is `l`.
#[inline(always)]
fn cap_slope(l: f32, cap: f32) -> f32 {
    1.0 - (l / cap) * (l / cap)
}

/// -log p(target); with `gradient` the row is replaced by p - onehot(target).
#[inline(always)]
fn token_cross_entropy(row: &mut [f32], target: usize, cap: Option<f32>, gradient: bool) -> f32 {
    let log_sum = log_sum_exp(row, cap);
    let at_target = row[target];
    if gradient {
        let target_slope = cap.map_or(1.0, |cap| cap_slope(at_target, cap));
        match cap {
            None => row.iter_mut().for_each(|l| *l = cpu::exp(*l - log_sum)),
            Some(cap) => row.iter_mut().for_each(|l| *l = cpu::exp(*l - log_sum) * cap_slope(*l, cap)),
        }
        row[target] -= target_slope;
    }
    log_sum - at_target
}

/// KL(p ‖ q) as the sum of p (e^d - 1 - d) with d = log q - log p; with `gradient` the row is replaced by q - p.
///
/// The terms -1 and e^d add up to nothing, since p and q both sum to 1, but with them no term is negative: small
/// divergences keep their digits instead of being the difference of large sums.
#[inline(always)]
fn token_kl(row: &mut [f32], base: &mut [f32], cap: Option<f32>, gradient: bool) -> f32 {
    let base_log_sum = log_sum_exp(base, cap);
    let log_sum = log_sum_exp(row, cap);
    let base = &base[..row.len()];
    cpu::sum(row.len(), |i| {
        let (log_p, log_q) = (base[i] - base_log_sum, row[i] - log_sum);
        let (p, q) = (cpu::exp(log_p), cpu::exp(log_q));
        if gradient {
            row[i] = (q - p) * cap.map_or(1.0, |cap| cap_slope(row[i], cap));
        }
        divergence(p, q, log_q - log_p)
    })
}

/// p (e^d - 1 - d), where q is p e^d; by its series where the difference would cancel.
#[inline(always)]
fn divergence(p: f32, q: f32, d: f32) -> f32 {
    let series = p * d * d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d * (1.0 / 120.0))));
    let direct = q - p - p * d;
    if d.abs() < 0.1 { series } else { direct }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    fn unembedding(softcap: Option<f64>) -> Unembedding {
        Unembedding { weight: random(5, &[53, 8]), softcap, change: None }
    }

    /// Logits, so that the plain composition is taken: the f64 road of the public functions.
    fn in_f64(
        f: impl Fn(&Tensor, &Unembedding) -> Result<Tensor>,
        x: &Tensor,
        u: &Unembedding,
    ) -> Result<Tensor> {
        let wide = |change: &HeadChange| -> Result<HeadChange> {
            Ok(HeadChange { a: change.a.to_dtype(DType::F64)?, b: change.b.to_dtype(DType::F64)? })
        };
        let change = u.change.as_ref().map(wide).transpose()?;
        let u = Unembedding { weight: u.weight.to_dtype(DType::F64)?, softcap: u.softcap, change };
        f(&x.to_dtype(DType::F64)?, &u)?.to_dtype(DType::F32)
    }

    #[test]
    fn cross_entropy_agrees_with_plain_over_several_chunks() {
        let targets: Vec<u32> = (0..1100).map(|i| i * 7 % 53).collect();
        for softcap in [None, Some(1.3)] {
            let u = unembedding(softcap);
            let f = |x: &Tensor, u: &Unembedding| cross_entropy(x, &targets, u, true);
            agree(&[random(1, &[1100, 8])], |t| f(&t[0], &u), |t| in_f64(f, &t[0], &u));
        }
    }

    #[test]
    fn cross_entropy_without_a_gradient_agrees_with_plain_over_several_tiles() {
        let (tokens, vocab) = (2 * TILE.0 + 3, 3 * TILE.1 + 5);
        let targets: Vec<u32> = (0..tokens).map(|i| (i * 37 % vocab) as u32).collect();
        let x = random(1, &[tokens, 8]);
        for softcap in [None, Some(1.3)] {
            let u = Unembedding { weight: random(5, &[vocab, 8]), softcap, change: None };
            let f = |x: &Tensor, u: &Unembedding| cross_entropy(x, &targets, u, false);
            let (found, expected) = (f(&x, &u).unwrap(), in_f64(f, &x, &u).unwrap());
            let apart = (found - expected).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-5, "{apart}");
        }
    }

    #[test]
    fn an_unembedding_that_is_a_variable_gets_a_gradient() {
        let targets: Vec<u32> = (0..1100).map(|i| i * 7 % 53).collect();
        for softcap in [None, Some(1.3)] {
            let f = |t: &[Tensor]| {
                cross_entropy(
                    &t[0],
                    &targets,
                    &Unembedding { weight: t[1].clone(), softcap, change: None },
                    true,
                )
            };
            let in_f64 = |t: &[Tensor]| {
                let wide = [t[0].to_dtype(DType::F64)?, t[1].to_dtype(DType::F64)?];
                f(&wide)?.to_dtype(DType::F32)
            };
            agree(&[random(1, &[1100, 8]), random(5, &[53, 8])], f, in_f64);
        }
    }

    #[test]
    fn kl_refuses_an_unembedding_that_is_a_variable() {
        let (x, weight) = (random(1, &[3, 8]), candle_core::Var::from_tensor(&random(5, &[53, 8])).unwrap());
        let unembedding = Unembedding { weight: weight.as_tensor().clone(), softcap: None, change: None };
        assert!(kl_divergence(&x, &x, &unembedding, true).is_err());
    }

    #[test]
    fn kl_agrees_with_plain_over_several_chunks() {
        let base = random(2, &[1100, 8]);
        for softcap in [None, Some(1.3)] {
            let u = unembedding(softcap);
            let f = |x: &Tensor, u: &Unembedding| kl_divergence(x, &base.to_dtype(x.dtype())?, u, true);
            agree(&[random(1, &[1100, 8])], |t| f(&t[0], &u), |t| in_f64(f, &t[0], &u));
        }
    }

    #[test]
    fn kl_of_a_distribution_to_itself_is_zero() {
        let x = random(1, &[3, 8]);
        let kl = kl_divergence(&x, &x, &unembedding(None), false).unwrap().to_vec1::<f32>().unwrap();
        assert!(kl.iter().all(|k| k.abs() < 1e-6), "{kl:?}");
    }

    /// An unembedding with a change on the head, which is as large as the rest.
    fn changed(vocab: usize, softcap: Option<f64>) -> Unembedding {
        let change = HeadChange { a: random(6, &[3, 8]), b: random(7, &[vocab, 3]) };
        Unembedding { weight: random(5, &[vocab, 8]), softcap, change: Some(change) }
    }

    #[test]
    fn a_change_of_the_head_acts_in_every_loss_and_gradient() {
        let targets: Vec<u32> = (0..1100).map(|i| i * 7 % 53).collect();
        let (x, base) = (random(1, &[1100, 8]), random(2, &[1100, 8]));
        for softcap in [None, Some(1.3)] {
            let u = changed(53, softcap);
            let loss = |x: &Tensor, u: &Unembedding| cross_entropy(x, &targets, u, true);
            agree(std::slice::from_ref(&x), |t| loss(&t[0], &u), |t| in_f64(loss, &t[0], &u));
            let kl = |x: &Tensor, u: &Unembedding| kl_divergence(x, &base.to_dtype(x.dtype())?, u, true);
            agree(std::slice::from_ref(&x), |t| kl(&t[0], &u), |t| in_f64(kl, &t[0], &u));
        }
    }

    #[test]
    fn a_change_of_the_head_acts_in_tiles_and_on_the_edited_model_alone() {
        let (tokens, vocab) = (TILE.0 + 3, TILE.1 + 5);
        let targets: Vec<u32> = (0..tokens).map(|i| (i * 37 % vocab) as u32).collect();
        let (x, u) = (random(1, &[tokens, 8]), changed(vocab, Some(1.3)));
        let loss = |x: &Tensor, u: &Unembedding| cross_entropy(x, &targets, u, false);
        let apart = (loss(&x, &u).unwrap() - in_f64(loss, &x, &u).unwrap()).unwrap().abs().unwrap();
        assert!(apart.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-5);
        // Where the hidden states agree the change alone makes the difference.
        let kl = |u: &Unembedding| kl_divergence(&x, &x, u, false).unwrap().mean_all().unwrap();
        assert!(kl(&u).to_scalar::<f32>().unwrap() > 1e-3);
        assert!(kl(&u.unchanged()).to_scalar::<f32>().unwrap().abs() < 1e-6);
    }

    #[test]
    fn a_change_of_the_head_that_is_a_variable_is_refused() {
        let mut u = changed(53, None);
        let var = candle_core::Var::from_tensor(&random(6, &[3, 8])).unwrap();
        u.change.as_mut().unwrap().a = var.as_tensor().clone();
        let x = random(1, &[2, 8]);
        for error in [cross_entropy(&x, &[0, 1], &u, true), kl_divergence(&x, &x, &u, true)] {
            assert!(error.unwrap_err().to_string().contains("LoRA on the head"));
        }
    }

    #[test]
    fn a_target_outside_the_vocabulary_is_refused() {
        assert!(cross_entropy(&random(1, &[1, 8]), &[53], &unembedding(None), false).is_err());
    }
}
