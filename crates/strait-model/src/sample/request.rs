//! A prompt to be answered.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Sampling;
use crate::Edit;

/// The most likeliest tokens that are told beside a drawn one, as OpenAI's interface has it.
pub const MOST_LOGPROBS: usize = 20;

/// A prompt, and the answers to it that are wanted.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt's tokens.
    pub prompt: Vec<u32>,
    /// The numbers of the samples that are wanted: each draws from a stream of its own.
    pub samples: Vec<usize>,
    /// The edit that it is answered under. Requests that share one are computed together.
    pub edit: Option<Arc<Edit>>,
    /// The settings; the seed acts by the key alone.
    pub sampling: Sampling,
    /// Tokens that end an answer, beside the model's own.
    pub stop_tokens: Vec<u32>,
    /// Texts that end an answer; they are no part of its text.
    pub stop_texts: Vec<String>,
    /// The number of likeliest tokens that are told with each drawn token and its own log-probability.
    pub logprobs: Option<usize>,
    /// The key of the generator of random numbers; the number of a sample is its stream.
    pub key: [u8; 32],
}

impl Request {
    /// A request without an edit and without stops of its own, whose key follows from the seed and the prompt: an answer is the
    /// same whatever is asked beside it, in whatever order, and when.
    pub fn new(prompt: Vec<u32>, samples: Vec<usize>, sampling: Sampling) -> Self {
        let mut hash = Sha256::new_with_prefix(sampling.seed.to_le_bytes());
        prompt.iter().for_each(|id| hash.update(id.to_le_bytes()));
        Self {
            samples,
            edit: None,
            sampling,
            stop_tokens: Vec::new(),
            stop_texts: Vec::new(),
            logprobs: None,
            key: hash.finalize().into(),
            prompt,
        }
    }
}
