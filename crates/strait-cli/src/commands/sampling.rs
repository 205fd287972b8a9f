//! The options of drawing answers.

use clap::Args;
use strait_model::sample::Sampling;

/// The settings of answers, without their seed.
#[derive(Args)]
pub struct SamplingArguments {
    /// Divides the logits; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = Sampling::default().temperature, value_parser = temperature, allow_negative_numbers = true)]
    temperature: f64,
    /// Sample from so many of the likeliest tokens
    #[arg(long, value_name = "K", value_parser = count)]
    top_k: Option<usize>,
    /// Sample from the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = Sampling::default().top_p, value_parser = top_p, allow_negative_numbers = true)]
    top_p: f64,
    /// The most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = Sampling::default().max_tokens, value_parser = count)]
    max_tokens: usize,
}

impl SamplingArguments {
    /// The settings with a seed.
    pub fn with_seed(&self, seed: u64) -> Sampling {
        let Self { temperature, top_k, top_p, max_tokens } = *self;
        Sampling { temperature, top_k, top_p, max_tokens, seed }
    }
}

/// A number of tokens or answers.
pub fn count(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MOST}"))
}

fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|t: &f64| t.is_finite() && *t >= 0.0);
    number.ok_or_else(|| "expected a number of 0 or more".into())
}

fn top_p(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|p| *p > 0.0 && *p <= 1.0);
    number.ok_or_else(|| "expected a number above 0, at most 1".into())
}
