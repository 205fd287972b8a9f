//! The tokens and the cost of requests that were made.

use serde::Serialize;

/// The tokens of requests, by the endpoint's count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spent {
    /// Requests that were answered.
    pub requests: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of the answers.
    pub answer_tokens: u64,
    /// Requests of which the endpoint says no count: the most that they can have used is counted.
    pub uncounted: u64,
    /// Their cost, in the currency of the price; none without a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

impl Spent {
    /// Tokens of prompts and answers together.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.answer_tokens)
    }

    /// Adds a request that was answered.
    pub(super) fn add(&mut self, prompt: u64, answer: u64, uncounted: bool) {
        self.requests += 1;
        self.uncounted += u64::from(uncounted);
        self.prompt_tokens = self.prompt_tokens.saturating_add(prompt);
        self.answer_tokens = self.answer_tokens.saturating_add(answer);
    }
}
