//! Sampling of answers: many prompts at once, each computed once and shared by its samples.

mod draw;
mod engine;
mod request;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Edit, Error, Model, Result, decoder::Readout};

pub use draw::Logprobs;
pub use engine::{Drawn, End, Engine, Room};
pub use request::{MOST_LOGPROBS, Request};

/// The settings with which answers are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the likeliest token.
    pub temperature: f64,
    /// Only so many of the likeliest tokens are drawn from; all where it is none.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this share, of those that `top_k` leaves, are drawn from.
    pub top_p: f64,
    /// An answer ends here at the latest.
    pub max_tokens: usize,
    /// Seed of all answers.
    pub seed: u64,
}

impl Default for Sampling {
    /// The papers' settings: temperature 1, top_p 1, 600 new tokens (paper §4.1).
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: 1.0, max_tokens: 600, seed: 0 }
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

/// Draws `count` continuations of a prompt. `seen` gets each token as it is drawn, with the number of its continuation, and
/// stops the sampling by returning `false`.
///
/// Continuation `i` draws from stream `i` of the generator that the seed alone gives, whatever the prompt.
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
    sample_reading(model, prompt, edit, count, sampling, None, |drawn| seen(drawn.sample, drawn.id))
}

/// As [`sample`], with readings of the tokens.
pub(crate) fn sample_reading(
    model: &Model,
    prompt: &[u32],
    edit: Option<&Edit>,
    count: usize,
    sampling: &Sampling,
    readout: Option<&Readout>,
    mut seen: impl FnMut(&Drawn) -> bool,
) -> Result<Vec<Continuation>> {
    let mut done = vec![Continuation { ids: Vec::new(), finished: false }; count];
    let context = model.config().context_length;
    if prompt.len() > context {
        return Err(Error::TooLong { tokens: prompt.len(), context });
    }
    if prompt.len() == context || sampling.max_tokens == 0 {
        return Ok(done);
    }
    let mut engine = Engine::new(model, Room::default())?.reading(readout.cloned());
    engine.add(Request {
        key: ChaCha8Rng::seed_from_u64(sampling.seed).get_seed(),
        edit: edit.cloned().map(Into::into),
        ..Request::new(prompt.to_vec(), (0..count).collect(), *sampling)
    })?;
    while !engine.is_idle() {
        for drawn in engine.step()? {
            let continuation = &mut done[drawn.sample];
            continuation.ids.push(drawn.id);
            continuation.finished = drawn.end == Some(End::Token);
            if !seen(&drawn) {
                return Ok(done);
            }
        }
    }
    Ok(done)
}
