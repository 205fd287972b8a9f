//! The judge behind an OpenAI-compatible endpoint, by the papers' protocol (paper §4.1).

mod client;
mod problem;
mod reply;

use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use super::{Give, Judge, Score};
use crate::{Error, Result, data::JudgePrompt};
use client::Client;

pub use client::{Key, Terms};
pub use problem::EndpointProblem;

/// A model behind an endpoint that judges.
pub struct Endpoint {
    client: Client,
    name: String,
    /// Tokens that the endpoint counted.
    tokens: AtomicU64,
}

/// An endpoint's judgement on one scale: the mean of the numbers 0 to 100 among the 20 likeliest first tokens, weighted with their
/// probabilities at temperature 0; none where they hold less than a quarter of the probability. On other terms the number that the
/// judge prints, which its name says.
pub struct EndpointJudge<'e> {
    endpoint: &'e Endpoint,
    prompt: JudgePrompt,
}

impl Endpoint {
    /// An endpoint, which nobody asks yet.
    ///
    /// # Errors
    /// If the address is none.
    pub fn new(terms: Terms, key: Option<Key>) -> Result<Self> {
        let address = terms.address.clone();
        let name =
            if terms.printed { format!("{} (printed number)", terms.model) } else { terms.model.clone() };
        let client = Client::new(terms, key).map_err(|problem| match &problem {
            EndpointProblem::Address { .. } => Error::from(problem),
            _ => Error::input(address, None, problem),
        })?;
        Ok(Self { client, name, tokens: AtomicU64::new(0) })
    }

    /// The judge by this prompt.
    pub fn judge(&self, prompt: JudgePrompt) -> EndpointJudge<'_> {
        EndpointJudge { endpoint: self, prompt }
    }

    /// The tokens that the endpoint has counted so far, prompts and answers together.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Relaxed)
    }

    fn score(&self, prompt: &str) -> Result<Score, EndpointProblem> {
        let reply = self.client.ask(prompt)?;
        self.tokens.fetch_add(reply.tokens(), Relaxed);
        match self.client.terms().printed {
            true => Ok(reply.printed()),
            false => reply.weighted(self.client.terms().mass).ok_or(EndpointProblem::NoLogprobs),
        }
    }
}

impl From<EndpointProblem> for Error {
    fn from(problem: EndpointProblem) -> Self {
        Self::Input { place: crate::error::Place::Nowhere, problem: Box::new(problem) }
    }
}

impl Judge for EndpointJudge<'_> {
    fn name(&self) -> &str {
        &self.endpoint.name
    }

    fn scale(&self) -> &str {
        &self.prompt.scale
    }

    fn basis(&self, question: &str) -> String {
        let Terms { address, model, printed, mass, .. } = self.endpoint.client.terms();
        format!("{address} {model} {printed} {mass}\n{}", self.prompt.about(question, "{answer}"))
    }

    /// Several are asked for at a time. A score is given as soon as it is there; once one cannot be had no more are asked for, but
    /// those under way are waited for and given.
    fn score_each(&self, question: &str, answers: &[&str], give: Give<'_>) -> Result<()> {
        let (next, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let work = |sender: mpsc::Sender<(usize, Result<Score, EndpointProblem>)>| {
            while !ended.load(Relaxed) {
                let place = next.fetch_add(1, Relaxed);
                let Some(answer) = answers.get(place) else { break };
                let score = self.endpoint.score(&self.prompt.about(question, answer));
                if sender.send((place, score)).is_err() {
                    break;
                }
            }
        };
        let work = &work;
        thread::scope(|scope| {
            for _ in 0..self.endpoint.client.terms().concurrency.clamp(1, answers.len().max(1)) {
                let sender = sender.clone();
                scope.spawn(move || work(sender));
            }
            drop(sender);
            let mut first: Result<()> = Ok(());
            for (place, score) in receiver {
                let given = match score {
                    Ok(score) => give(place, score),
                    Err(problem) => Err(Error::input(&*self.endpoint.client.terms().address, None, problem)),
                };
                if given.is_err() {
                    ended.store(true, Relaxed);
                    first = first.and(given);
                }
            }
            first
        })
    }
}
