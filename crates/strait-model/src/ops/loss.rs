//! Losses from hidden states, in chunks: memory never holds tokens x vocabulary (design §5).
//!
//! The gradient with respect to the hidden states is computed together with the loss, from the same logits, and kept
//! until the backward pass asks for it; it costs one matrix product more and d numbers a token.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{cpu, fused};

/// From hidden states after the final norm to logits; frozen.
#[derive(Clone, Debug)]
pub struct Unembedding {
    /// Shape `(vocab, hidden_size)`.
    pub weight: Tensor,
    /// Logits l become cap * tanh(l / cap) (Gemma 2).
    pub softcap: Option<f64>,
}

impl Unembedding {
    /// Logits of every row.
    ///
    /// # Shapes
    /// - `hidden`: `(tokens, hidden_size)`
    /// - result: `(tokens, vocab)`
    ///
    /// # Errors
    /// If the shapes disagree.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = super::linear(hidden, &super::Linear { weight: self.weight.clone(), bias: None })?;
        match self.softcap {
            Some(cap) => (logits / cap)?.tanh()? * cap,
            None => Ok(logits),
        }
    }
}

/// Cross-entropy of each token in nats.
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
    if fused(hidden) {
        let reference = Reference::Targets(targets.into());
        hidden.contiguous()?.apply_op1(Fused::new(unembedding, reference, gradient))
    } else {
        let logits = unembedding.logits(hidden)?;
        let targets = Tensor::from_slice(targets, (tokens, 1), hidden.device())?;
        log_softmax(&logits)?.gather(&targets, 1)?.squeeze(1)?.neg()
    }
}

/// KL(base ‖ edited) of each token's next-token distribution, in nats.
///
/// # Shapes
/// - `hidden`: `(tokens, hidden_size)`, after the final norm, of the edited model
/// - `base`: the same of the base model; gets no gradient
/// - result: `(tokens)`
///
/// # Errors
/// If the shapes disagree.
pub fn kl_divergence(
    hidden: &Tensor,
    base: &Tensor,
    unembedding: &Unembedding,
    gradient: bool,
) -> Result<Tensor> {
    if hidden.dims() != base.dims() {
        candle_core::bail!("kl_divergence: {:?} edited and {:?} base states", hidden.shape(), base.shape());
    }
    if fused(hidden) {
        let reference = Reference::Base(base.detach().contiguous()?);
        hidden.contiguous()?.apply_op1(Fused::new(unembedding, reference, gradient))
    } else {
        let base = log_softmax(&unembedding.logits(&base.detach())?)?;
        let edited = log_softmax(&unembedding.logits(hidden)?)?;
        (base.exp()? * (base - edited)?)?.sum(D::Minus1)
    }
}

fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Rows whose logits are held at once: 64 x 152,064 numbers are 39 MB.
const CHUNK: usize = 64;

enum Reference {
    Targets(Arc<[u32]>),
    Base(Tensor),
}

struct Fused {
    unembedding: Unembedding,
    reference: Reference,
    /// Whether a backward pass will follow.
    gradient: bool,
    /// d loss / d hidden, row by row, from the forward pass.
    d_hidden: Mutex<Option<Vec<f32>>>,
}

impl Fused {
    fn new(unembedding: &Unembedding, reference: Reference, gradient: bool) -> Self {
        Self { unembedding: unembedding.clone(), reference, gradient, d_hidden: Mutex::new(None) }
    }
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        match self.reference {
            Reference::Targets(_) => "cross_entropy",
            Reference::Base(_) => "kl_divergence",
        }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let hidden = cpu::slice(storage, layout)?;
        let (tokens, width) = layout.shape().dims2()?;
        let (vocab, inner) = self.unembedding.weight.dims2()?;
        if width != inner {
            candle_core::bail!("{}: hidden states of {width} for an unembedding of {inner}", self.name());
        }
        let cap = self.unembedding.softcap.map(|c| c as f32);
        let mut losses = vec![0f32; tokens];
        let mut d_hidden = vec![0f32; if self.gradient { hidden.len() } else { 0 }];
        cpu::with_slices([&self.unembedding.weight], |[weight]| {
            let unembed = |rows: &[f32], to: &mut [f32]| {
                let shape = (rows.len() / width, vocab, width);
                let (x, w) = (cpu::View::rows(rows, width), cpu::View::rows(weight, width).t());
                cpu::matmul(shape, to, vocab, 0.0, x, w, 1.0, cpu::all_threads());
            };
            let mut logits = vec![0f32; CHUNK.min(tokens) * vocab];
            let mut base_logits = match self.reference {
                Reference::Base(_) => logits.clone(),
                Reference::Targets(_) => Vec::new(),
            };
            for (c, rows) in hidden.chunks(CHUNK * width).enumerate() {
                let n = rows.len() / width;
                let logits = &mut logits[..n * vocab];
                unembed(rows, logits);
                let losses = &mut losses[c * CHUNK..][..n];
                match &self.reference {
                    Reference::Targets(targets) => {
                        let targets = &targets[c * CHUNK..][..n];
                        let rows = logits.par_chunks_exact_mut(vocab).zip(targets).zip(losses);
                        rows.for_each(|((row, &target), loss)| {
                            *loss = cpu::vectorised(|| {
                                token_cross_entropy(row, target as usize, cap, self.gradient)
                            });
                        });
                    }
                    Reference::Base(base) => {
                        let base_logits = &mut base_logits[..n * vocab];
                        cpu::with_slices([&base.narrow(0, c * CHUNK, n)?], |[base]| {
                            unembed(base, base_logits);
                            Ok(())
                        })?;
                        let rows =
                            logits.par_chunks_exact_mut(vocab).zip(base_logits.par_chunks_exact_mut(vocab));
                        rows.zip(losses).for_each(|((row, base), loss)| {
                            *loss = cpu::vectorised(|| token_kl(row, base, cap, self.gradient));
                        });
                    }
                }
                if self.gradient {
                    // `logits` now holds d loss / d logits.
                    let to = &mut d_hidden[c * CHUNK * width..][..n * width];
                    let (d, w) = (cpu::View::rows(logits, vocab), cpu::View::rows(weight, width));
                    cpu::matmul((n, width, vocab), to, width, 0.0, d, w, 1.0, cpu::all_threads());
                }
            }
            Ok(())
        })?;
        if self.gradient {
            *self.d_hidden.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(d_hidden);
        }
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

/// Turns logits l into their soft-capped values and returns the log of the sum of their powers.
#[inline(always)]
fn log_sum_exp(row: &mut [f32], cap: Option<f32>) -> f32 {
    if let Some(cap) = cap {
        row.iter_mut().for_each(|l| *l = cap * cpu::tanh(*l / cap));
    }
    let largest = cpu::max(row);
    largest + cpu::sum(row.len(), |i| cpu::exp(row[i] - largest)).ln()
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
    let (row_in, base_in) = (&*row, &*base);
    let kl = cpu::sum(row.len(), |i| {
        let log_p = base_in[i] - base_log_sum;
        cpu::exp(log_p) * exp_beyond_linear((row_in[i] - log_sum) - log_p)
    });
    if gradient {
        for (l, b) in row.iter_mut().zip(base) {
            let slope = cap.map_or(1.0, |cap| cap_slope(*l, cap));
            *l = (cpu::exp(*l - log_sum) - cpu::exp(*b - base_log_sum)) * slope;
        }
    }
    kl
}

/// e^d - 1 - d, by its series where the difference would cancel.
#[inline(always)]
fn exp_beyond_linear(d: f32) -> f32 {
    let series = d * d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d * (1.0 / 120.0))));
    let direct = cpu::exp(d) - 1.0 - d;
    if d.abs() < 0.1 { series } else { direct }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    fn unembedding(softcap: Option<f64>) -> Unembedding {
        Unembedding { weight: random(5, &[53, 8]), softcap }
    }

    /// Logits, so that the plain composition is taken: the f64 road of the public functions.
    fn in_f64(
        f: impl Fn(&Tensor, &Unembedding) -> Result<Tensor>,
        x: &Tensor,
        u: &Unembedding,
    ) -> Result<Tensor> {
        let u = Unembedding { weight: u.weight.to_dtype(DType::F64)?, softcap: u.softcap };
        f(&x.to_dtype(DType::F64)?, &u)?.to_dtype(DType::F32)
    }

    #[test]
    fn cross_entropy_agrees_with_plain_over_several_chunks() {
        let targets: Vec<u32> = (0..150).map(|i| i * 7 % 53).collect();
        for softcap in [None, Some(1.3)] {
            let u = unembedding(softcap);
            let f = |x: &Tensor, u: &Unembedding| cross_entropy(x, &targets, u, true);
            agree(&[random(1, &[150, 8])], |t| f(&t[0], &u), |t| in_f64(f, &t[0], &u));
        }
    }

    #[test]
    fn kl_agrees_with_plain_over_several_chunks() {
        let base = random(2, &[150, 8]);
        for softcap in [None, Some(1.3)] {
            let u = unembedding(softcap);
            let f = |x: &Tensor, u: &Unembedding| kl_divergence(x, &base.to_dtype(x.dtype())?, u, true);
            agree(&[random(1, &[150, 8])], |t| f(&t[0], &u), |t| in_f64(f, &t[0], &u));
        }
    }

    #[test]
    fn kl_of_a_distribution_to_itself_is_zero() {
        let x = random(1, &[3, 8]);
        let kl = kl_divergence(&x, &x, &unembedding(None), false).unwrap().to_vec1::<f32>().unwrap();
        assert!(kl.iter().all(|k| k.abs() < 1e-6), "{kl:?}");
    }

    #[test]
    fn a_target_outside_the_vocabulary_is_refused() {
        assert!(cross_entropy(&random(1, &[1, 8]), &[53], &unembedding(None), false).is_err());
    }
}
