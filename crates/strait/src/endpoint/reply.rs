//! The reply of an endpoint.

use serde::Deserialize;

/// The part of an answer that is read.
#[derive(Clone, Debug, Deserialize)]
pub struct Reply {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

/// The answer of a model.
#[derive(Clone, Debug, Deserialize)]
pub struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
    /// The stop text that ended it, where the endpoint is vLLM.
    #[serde(default)]
    stop_reason: Option<serde_json::Value>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
}

#[derive(Clone, Debug, Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    /// Words of a refusal, which some endpoints give in place of the content.
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Logprobs {
    #[serde(default)]
    content: Option<Vec<TokenReply>>,
}

/// A token of an answer.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenReply {
    /// Its text.
    pub token: String,
    /// Its log-probability, in nats.
    pub logprob: f64,
    /// The likeliest tokens in its place.
    #[serde(default)]
    pub top_logprobs: Vec<Likely>,
}

/// A token that may stand in a place.
#[derive(Clone, Debug, Deserialize)]
pub struct Likely {
    /// Its text.
    pub token: String,
    /// Its log-probability, in nats.
    pub logprob: f64,
}

/// An endpoint's count of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
}

impl Usage {
    /// Tokens of the prompt and of the answer; all are the prompt's where they are not told apart.
    pub fn parts(self) -> (u64, u64) {
        match (self.prompt_tokens, self.completion_tokens) {
            (0, 0) => (self.total_tokens, 0),
            parts => parts,
        }
    }
}

impl Reply {
    /// The model's answer; there is one choice at least in every reply that a client gives.
    pub fn choice(&self) -> Option<&Choice> {
        self.choices.first()
    }

    /// The endpoint's count, where it counts.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage.filter(|usage| usage.parts() != (0, 0))
    }

    /// The tokens of the answer, where the endpoint counts them.
    pub fn answer_tokens(&self) -> Option<u64> {
        self.usage.map(|usage| usage.completion_tokens)
    }
}

impl Choice {
    /// Its words; empty where there are none.
    pub fn text(&self) -> &str {
        self.message.content.as_deref().or(self.message.refusal.as_deref()).unwrap_or_default()
    }

    /// The endpoint's reason for its end: `stop`, `length`, `content_filter`.
    pub fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }

    /// True where the endpoint says that a stop text ended it.
    pub fn was_stopped(&self) -> bool {
        self.stop_reason.as_ref().is_some_and(serde_json::Value::is_string)
    }

    /// Its tokens with their probabilities, where the endpoint gives them.
    pub fn tokens(&self) -> Option<&[TokenReply]> {
        self.logprobs.as_ref()?.content.as_deref()
    }
}
