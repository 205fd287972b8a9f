//! The judge behind an OpenAI-compatible endpoint, by the papers' protocol (paper §4.1).

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use strait_model::progress::Progress;

use super::{
    Asked, Give, GiveAll, Judge, MASS, Score,
    reading::{self, First},
};
use crate::{
    Result,
    data::JudgePrompt,
    endpoint::{Client, Problem, Reply, Terms},
};

/// Tokens of a reply of which the printed number is taken.
const PRINTED: u32 = 8;
/// Tokens of a reply in JSON.
const IN_JSON: u32 = 256;

/// The way in which a score is read from a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// The mean of the numbers 0 to 100 among the 20 likeliest first tokens, weighted with their probabilities at temperature 0; none
    /// where they have less than this part of the probability.
    Weighted(f64),
    /// The number that the judge prints, for endpoints that give no probabilities.
    Printed,
}

impl Default for Reading {
    fn default() -> Self {
        Self::Weighted(MASS)
    }
}

/// A model behind an endpoint that judges.
pub struct Endpoint<'p> {
    client: Arc<Client>,
    reading: Reading,
    progress: &'p dyn Progress,
    /// True if the model has tokens for numbers of several digits; none where that is not known yet.
    has_wide_tokens: Mutex<Option<bool>>,
}

/// An endpoint's judgement on one scale. A prompt that asks for several scales is answered in JSON, once for all of them: its scores
/// are the numbers in it, which the name says, as it does of a printed number.
pub struct EndpointJudge<'e> {
    endpoint: &'e Endpoint<'e>,
    prompt: JudgePrompt,
    name: String,
    scales: Vec<String>,
    /// Its own among them.
    own: usize,
}

impl<'p> Endpoint<'p> {
    /// A model as a judge, whom nobody asks yet. `progress` says when to stop.
    pub fn new(client: Arc<Client>, reading: Reading, progress: &'p dyn Progress) -> Self {
        Self { client, reading, progress, has_wide_tokens: Mutex::default() }
    }

    /// The judges by this prompt: one for each of its scales.
    pub fn judges(&self, prompt: &JudgePrompt) -> Vec<EndpointJudge<'_>> {
        let scales: Vec<String> = prompt.scales().map(str::to_string).collect();
        let model = &self.client.terms().model;
        let name = match self.reading {
            _ if scales.len() > 1 => format!("{model} (JSON)"),
            Reading::Printed => format!("{model} (printed number)"),
            Reading::Weighted(_) => model.clone(),
        };
        let judge = |own| EndpointJudge {
            endpoint: self,
            prompt: prompt.clone(),
            name: name.clone(),
            scales: scales.clone(),
            own,
        };
        (0..scales.len()).map(judge).collect()
    }

    /// The score of a single number.
    fn score(&self, reply: &Reply) -> Result<Score> {
        match self.reading {
            Reading::Printed => Ok(reading::printed(reply)),
            Reading::Weighted(least) => {
                let First { score, digits } = reading::weighted(reply, least)
                    .ok_or_else(|| self.client.refused(Problem::NoLogprobs))?;
                if score.is_ok() && !self.has_wide_tokens(digits)? {
                    return Err(self.client.refused(Problem::DigitByDigit));
                }
                Ok(score)
            }
        }
    }

    /// True if the model has tokens for numbers of several digits. Where the first tokens of a reply have one digit each, and none
    /// had more before, the model is asked to say a number of two: without such tokens its 1 may be the beginning of 10 or 100.
    fn has_wide_tokens(&self, digits: usize) -> Result<bool> {
        let mut known = self.has_wide_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if digits > 1 {
            *known = Some(true);
        }
        if let Some(known) = *known {
            return Ok(known);
        }
        let request = self.request("Reply with the number 85 and nothing else.", 1, true);
        let found = reading::weighted(&self.client.ask(&request, self.progress)?, 0.0);
        Ok(*known.insert(found.is_some_and(|first| first.digits > 1)))
    }

    fn request(&self, prompt: &str, tokens: u32, logprobs: bool) -> Value {
        let mut request = json!({
            "model": self.client.terms().model,
            "messages": [{ "role": "user", "content": prompt }],
            "temperature": 0,
            "seed": 0,
            "max_tokens": tokens,
        });
        if logprobs {
            request["logprobs"] = true.into();
            request["top_logprobs"] = 20.into();
        }
        request
    }
}

impl EndpointJudge<'_> {
    fn request(&self, Asked { question, answer }: &Asked<'_>) -> Value {
        let (tokens, logprobs) = match self.endpoint.reading {
            _ if self.scales.len() > 1 => (IN_JSON, false),
            Reading::Printed => (PRINTED, false),
            Reading::Weighted(_) => (1, true),
        };
        self.endpoint.request(&self.prompt.about(question, answer), tokens, logprobs)
    }
}

impl Judge for EndpointJudge<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn scale(&self) -> &str {
        &self.scales[self.own]
    }

    fn basis(&self, question: &str) -> String {
        let Terms { address, model, .. } = self.endpoint.client.terms();
        let (printed, mass) = match self.endpoint.reading {
            Reading::Weighted(mass) => (false, mass),
            Reading::Printed => (true, MASS),
        };
        let joint = if self.scales.len() > 1 { " JSON" } else { "" };
        format!("{address} {model} {printed} {mass}{joint}\n{}", self.prompt.about(question, "{answer}"))
    }

    /// Its client looks for a stop, and has several requests under way.
    fn at_a_time(&self) -> Option<usize> {
        None
    }

    fn score_each(&self, question: &str, answers: &[&str], give: Give<'_>) -> Result<()> {
        let asked: Vec<Asked> = answers.iter().map(|answer| Asked { question, answer }).collect();
        self.score_all(&asked, &mut |place, scores| give(place, scores[self.own].1))
    }

    fn score_all(&self, asked: &[Asked<'_>], give: GiveAll<'_>) -> Result<()> {
        let mut requests = asked.iter().map(|asked| self.request(asked));
        let mut take = |place, reply: &Reply| {
            let scores = match self.scales.len() {
                1 => vec![self.endpoint.score(reply)?],
                _ => reading::in_json(reply, &self.scales),
            };
            let scores: Vec<(&str, Score)> = self.scales.iter().map(String::as_str).zip(scores).collect();
            give(place, &scores)
        };
        self.endpoint.client.ask_all(&mut requests, &mut take, self.endpoint.progress)
    }
}
