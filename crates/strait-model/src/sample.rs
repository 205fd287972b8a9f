//! Sampling of answers with a key-value cache: one prompt, many continuations.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    Edit, Error, Model, Result,
    decoder::{Cache, Packed},
};

/// The settings with which answers are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the likeliest token.
    pub temperature: f64,
    /// Only the likeliest tokens that together have this share are drawn from.
    pub top_p: f64,
    /// An answer ends here at the latest.
    pub max_tokens: usize,
    /// Seed; continuation `i` draws from a stream of its own.
    pub seed: u64,
}

impl Default for Sampling {
    /// The papers' settings: temperature 1, top_p 1, 600 new tokens (paper §4.1).
    fn default() -> Self {
        Self { temperature: 1.0, top_p: 1.0, max_tokens: 600, seed: 0 }
    }
}

/// One sampled answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// Its tokens, the end token included where it was drawn.
    pub ids: Vec<u32>,
    /// True if it ended by itself rather than by the limit.
    pub finished: bool,
}

struct Running {
    /// Its place among the continuations.
    index: usize,
    rng: ChaCha8Rng,
}

/// Draws `count` continuations of a prompt. `seen` gets each token as it is drawn, with the number of its continuation, and
/// stops the sampling by returning `false`.
///
/// # Errors
/// If the prompt is empty, does not fit the model's context, or the model gives no logits.
pub fn sample(
    model: &Model,
    prompt: &[u32],
    edit: Option<&Edit>,
    count: usize,
    sampling: &Sampling,
    mut seen: impl FnMut(usize, u32) -> bool,
) -> Result<Vec<Continuation>> {
    let mut done = vec![Continuation { ids: Vec::new(), finished: false }; count];
    let mut cache = Cache::default();
    let logits = next_logits(model, &Packed::new([prompt]), edit, &mut cache)?;
    let mut logits = vec![logits.into_iter().next().unwrap_or_default(); count];
    let mut cache = cache.select(&vec![0; count]);
    let stream = |index: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        rng.set_stream(index as u64);
        Running { index, rng }
    };
    let mut running: Vec<Running> = (0..count).map(stream).collect();
    let room = model.config().context_length.saturating_sub(prompt.len()).min(sampling.max_tokens);
    for step in 0..room {
        let mut kept = Vec::new();
        let mut drawn = Vec::new();
        for (slot, (run, logits)) in running.iter_mut().zip(&mut logits).enumerate() {
            if logits.iter().any(|l| l.is_nan()) || !logits.iter().any(|l| l.is_finite()) {
                return Err(Error::NoLogits);
            }
            let id = draw(logits, sampling, &mut run.rng);
            let continuation = &mut done[run.index];
            continuation.ids.push(id);
            continuation.finished = model.tokenizer.end_tokens().contains(&id);
            if !seen(run.index, id) {
                return Ok(done);
            }
            if !continuation.finished {
                kept.push(slot);
                drawn.push(id);
            }
        }
        if kept.is_empty() || step + 1 == room {
            break;
        }
        if kept.len() < running.len() {
            cache = cache.select(&kept);
            let mut slot = 0;
            running.retain(|_| {
                slot += 1;
                kept.contains(&(slot - 1))
            });
        }
        let pieces = drawn.iter().map(|id| (prompt.len() + step, std::slice::from_ref(id)));
        logits = next_logits(model, &Packed::continuing(pieces), edit, &mut cache)?;
    }
    Ok(done)
}

/// Logits after the last token of each sequence of the batch.
///
/// # Errors
/// If a sequence does not fit the model.
pub fn next_logits(
    model: &Model,
    batch: &Packed,
    edit: Option<&Edit>,
    cache: &mut Cache,
) -> Result<Vec<Vec<f32>>> {
    let decoder = &model.decoder;
    let layers = decoder.config().layers;
    let stream = decoder.run(decoder.embed(batch)?, 0..layers, batch, edit, Some(cache))?;
    let last: Vec<u32> = batch.rows().iter().filter(|r| !r.is_empty()).map(|r| r.end as u32 - 1).collect();
    let last = candle_core::Tensor::new(last, stream.device())?;
    let hidden = decoder.finish(stream.index_select(&last, 0)?, edit)?;
    Ok(decoder.unembedding(edit)?.logits(&hidden)?.to_vec2()?)
}

/// Draws one token; `logits` is used as scratch.
fn draw(logits: &mut [f32], sampling: &Sampling, rng: &mut impl Rng) -> u32 {
    let likeliest = |logits: &[f32]| {
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or(0, |(id, _)| id as u32)
    };
    if sampling.temperature <= 0.0 {
        return likeliest(logits);
    }
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for l in logits.iter_mut() {
        *l = (((*l - largest) as f64) / sampling.temperature).exp() as f32;
    }
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let total: f64 = logits.iter().map(|&p| p as f64).sum();
    let mut allowed = total;
    if sampling.top_p < 1.0 {
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
        let mut share = 0.0;
        let nucleus = order.iter().take_while(|&&id| {
            let inside = share < sampling.top_p * total;
            share += if inside { logits[id as usize] as f64 } else { 0.0 };
            inside
        });
        order.truncate(nucleus.count());
        allowed = order.iter().map(|&id| logits[id as usize] as f64).sum();
    }
    let mut left = rng.random::<f64>() * allowed;
    for &id in &order {
        left -= logits[id as usize] as f64;
        if left < 0.0 {
            return id;
        }
    }
    order.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(sampling: Sampling) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts = [0.0; 3];
        for _ in 0..20_000 {
            counts[draw(&mut [0.0, 2f32.ln(), 5f32.ln()], &sampling, &mut rng) as usize] += 1.0 / 20_000.0;
        }
        counts.to_vec()
    }

    #[track_caller]
    fn near(found: Vec<f64>, expected: [f64; 3]) {
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 0.015), "{found:?} for {expected:?}");
    }

    #[test]
    fn tokens_are_drawn_by_their_probability() {
        near(shares(Sampling::default()), [0.125, 0.25, 0.625]);
        near(
            shares(Sampling { temperature: 0.5, ..Sampling::default() }),
            [1.0 / 30.0, 4.0 / 30.0, 25.0 / 30.0],
        );
        near(shares(Sampling { top_p: 0.8, ..Sampling::default() }), [0.0, 2.0 / 7.0, 5.0 / 7.0]);
        near(shares(Sampling { temperature: 0.0, ..Sampling::default() }), [0.0, 0.0, 1.0]);
    }
}
