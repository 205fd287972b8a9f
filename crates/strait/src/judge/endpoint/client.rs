//! Requests to an endpoint: repeated where that may help, with a key that nobody sees.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use ureq::{Agent, Body, http::Response};

use super::{EndpointProblem, reply::Reply};
use crate::judge::MASS;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 4 << 20;
/// The longest time that an endpoint may ask to wait for.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// Characters of an endpoint's words that are shown.
const SHOWN: usize = 300;

/// How an endpoint is asked.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The address below which `/chat/completions` lies.
    pub address: String,
    /// The model's name there.
    pub model: String,
    /// The number that the judge prints, in place of the mean by the probabilities of its first token.
    pub printed: bool,
    /// The part of the probability that numbers must have for a score.
    pub mass: f64,
    /// Requests at a time.
    pub concurrency: usize,
    /// The time that one request may take.
    pub patience: Duration,
    /// Times that a request is made, at most.
    pub tries: u32,
    /// The pause before the second try; before each further one it is doubled.
    pub pause: Duration,
}

impl Terms {
    /// The usual ones.
    pub fn new(address: &str, model: &str) -> Self {
        Self {
            address: address.into(),
            model: model.into(),
            printed: false,
            mass: MASS,
            concurrency: 8,
            patience: Duration::from_secs(120),
            tries: 7,
            pause: Duration::from_millis(500),
        }
    }
}

/// A secret, which neither `Debug` nor any error shows.
pub struct Key(String);

impl Key {
    /// A key; spaces and line breaks around it are none of it.
    ///
    /// # Errors
    /// If it holds what no header of a request can.
    pub fn new(text: &str) -> Result<Self, EndpointProblem> {
        let key = text.trim();
        let is_plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain { Ok(Self(key.into())) } else { Err(EndpointProblem::Key) }
    }
}

/// A client of an endpoint.
pub struct Client {
    agent: Agent,
    terms: Terms,
    url: String,
    key: Option<Key>,
}

/// The fault of one try.
enum Fault {
    /// Another try may help, after so long where the endpoint says so.
    Passing(EndpointProblem, Option<Duration>),
    Lasting(EndpointProblem),
}

impl Client {
    pub fn new(terms: Terms, key: Option<Key>) -> Result<Self, EndpointProblem> {
        let address = terms.address.trim_end_matches('/');
        let host = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
        let is_plain = |host: &&str| {
            let name = host.split('/').next().unwrap_or_default();
            !name.is_empty() && !name.contains('@') && !host.contains(['?', '#', ' '])
        };
        if host.filter(is_plain).is_none() {
            // What stands before an `@` may be a password.
            let address = address.rsplit('@').next().unwrap_or_default().into();
            return Err(EndpointProblem::Address { address });
        }
        let agent = Agent::config_builder()
            // The key goes to the address that was named, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("strait/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(terms.patience))
            .build()
            .into();
        let url = format!("{address}/chat/completions");
        Ok(Self { agent, terms, url, key })
    }

    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The answer to a prompt.
    pub fn ask(&self, prompt: &str) -> Result<Reply, EndpointProblem> {
        let mut body = json!({
            "model": self.terms.model,
            "messages": [{ "role": "user", "content": prompt }],
            "temperature": 0,
            "seed": 0,
            "max_tokens": if self.terms.printed { 8 } else { 1 },
        });
        if !self.terms.printed {
            body["logprobs"] = true.into();
            body["top_logprobs"] = 20.into();
        }
        let mut pause = self.terms.pause;
        for left in (0..self.terms.tries.max(1)).rev() {
            match self.once(&body) {
                Ok(reply) => return Ok(reply),
                Err(Fault::Lasting(problem)) => return Err(problem),
                Err(Fault::Passing(problem, _)) if left == 0 => return Err(problem),
                Err(Fault::Passing(_, asked)) => {
                    thread::sleep(asked.unwrap_or(pause).min(MAX_WAIT));
                    pause *= 2;
                }
            }
        }
        // There is one try at least.
        Err(EndpointProblem::Unreachable { reason: "it was never tried".into() })
    }

    fn once(&self, body: &Value) -> Result<Reply, Fault> {
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(Key(key)) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let response = request.send(body.to_string()).map_err(|error| self.broken(&error))?;
        let status = response.status().as_u16();
        let wait = retry_after(&response);
        let text = response.into_body().with_config().limit(MAX_ANSWER).read_to_string();
        let text = text.map_err(|error| self.broken(&error))?;
        if status != 200 {
            let problem = EndpointProblem::Refused { status, said: self.said(&text) };
            return Err(match status {
                408 | 409 | 425 | 429 | 500..=599 => Fault::Passing(problem, wait),
                _ => Fault::Lasting(problem),
            });
        }
        match serde_json::from_str::<Reply>(&text) {
            Ok(reply) if reply.is_whole() => Ok(reply),
            _ if text.trim_start().starts_with('<') => {
                Err(Fault::Lasting(EndpointProblem::NoChat { found: "a web page" }))
            }
            _ if serde_json::from_str::<Value>(&text).is_ok() => {
                Err(Fault::Lasting(EndpointProblem::NoChat { found: "other JSON" }))
            }
            _ => Err(Fault::Passing(EndpointProblem::NoChat { found: "half an answer" }, None)),
        }
    }

    /// A connection that failed. What is wrong with a certificate stays wrong.
    fn broken(&self, error: &ureq::Error) -> Fault {
        let reason = self.hidden(&error.to_string());
        let problem = EndpointProblem::Unreachable { reason };
        match error {
            ureq::Error::Tls(_)
            | ureq::Error::Rustls(_)
            | ureq::Error::BadUri(_)
            | ureq::Error::HostNotFound => Fault::Lasting(problem),
            _ if error.to_string().contains("certificate") => Fault::Lasting(problem),
            _ => Fault::Passing(problem, None),
        }
    }

    /// An endpoint's words about an error: those in its JSON, else the beginning of what it sent.
    fn said(&self, text: &str) -> String {
        let json: Option<Value> = serde_json::from_str(text).ok();
        let message = json.as_ref().and_then(|json| {
            let error = &json["error"];
            error["message"].as_str().or_else(|| error.as_str()).or_else(|| json["message"].as_str())
        });
        let said = match message {
            Some(message) => message,
            None if text.trim_start().starts_with('<') => "a web page",
            None if text.trim().is_empty() => "nothing more",
            None => text.trim(),
        };
        self.hidden(&said.chars().take(SHOWN).collect::<String>())
    }

    /// A text without the key, which some endpoints repeat.
    fn hidden(&self, text: &str) -> String {
        match &self.key {
            Some(Key(key)) => text.replace(key.as_str(), "[the key]"),
            None => text.into(),
        }
    }
}

/// The seconds that an endpoint asks to wait for.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds: f64 = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
