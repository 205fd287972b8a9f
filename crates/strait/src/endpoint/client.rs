//! One request to an endpoint, repeated where that may help.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use strait_model::progress::Progress;
use ureq::{Agent, Body, http::Response};

use super::{
    Key, Owned, Problem, Spent, Terms,
    account::{Account, Need},
    reply::Reply,
};
use crate::{Error, Result};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 4 << 20;
/// The longest time that an endpoint may ask to wait for.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// A wait that is worth a word to the user.
const LONG_WAIT: Duration = Duration::from_secs(5);
/// The time between two looks for a stop.
const LOOK: Duration = Duration::from_millis(50);
/// Characters of an endpoint's words that are shown.
const SHOWN: usize = 300;

/// A client of an endpoint.
pub struct Client {
    agent: Agent,
    terms: Terms,
    url: String,
    key: Option<Key>,
    account: Account,
    /// The end of the wait that the user was told of.
    waiting: Mutex<Option<Instant>>,
}

/// The fault of one try.
enum Fault {
    /// Another try may help, after so long where the endpoint says so.
    Passing(Problem, Option<Duration>),
    Lasting(Problem),
}

impl Client {
    /// A client of an endpoint, which asks nothing yet.
    ///
    /// # Errors
    /// If the address is none, or there is a budget of money and no price.
    pub fn new(terms: Terms, key: Option<Key>) -> Result<Arc<Self>> {
        Self::going_on(terms, key, None)
    }

    /// As [`new`](Self::new), with an account that goes on from earlier commands: the budget is for all of them together.
    ///
    /// # Errors
    /// As there.
    pub fn going_on(terms: Terms, key: Option<Key>, earlier: Option<Owned>) -> Result<Arc<Self>> {
        let address = terms.address.trim_end_matches('/');
        let host = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
        let is_plain = |host: &&str| {
            let name = host.split('/').next().unwrap_or_default();
            !name.is_empty() && !name.contains('@') && !host.contains(['?', '#', ' '])
        };
        if host.filter(is_plain).is_none() {
            // What stands before an `@` may be a password.
            let address = address.rsplit('@').next().unwrap_or_default().into();
            return Err(Problem::Address { address }.into());
        }
        if matches!(terms.budget, Some(super::Budget::Money(_))) && terms.price.is_none() {
            return Err(Problem::NoPrice.into());
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
        let account = Account::new(terms.budget, terms.price, earlier);
        Ok(Arc::new(Self { agent, terms, url, key, account, waiting: Mutex::default() }))
    }

    /// The terms on which it asks.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The tokens and the cost of its requests so far.
    pub fn spent(&self) -> Spent {
        self.account.spent()
    }

    /// The answer to a single request.
    ///
    /// # Errors
    /// If it cannot be had within the tries, or the user asks for a stop.
    pub fn ask(self: &Arc<Self>, request: &Value, progress: &dyn Progress) -> Result<Reply> {
        let mut reply = None;
        let mut take = |_, found: &Reply| {
            reply = Some(found.clone());
            Ok(())
        };
        self.ask_all(&mut std::iter::once(request.clone()), &mut take, progress)?;
        reply.ok_or(Error::Interrupted)
    }

    /// The error of a problem with this endpoint.
    pub fn refused(&self, problem: Problem) -> Error {
        Error::input(&*self.terms.address, None, problem)
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// The most tokens that a request can use.
    pub(super) fn need(&self, request: &Value) -> Need {
        let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let text = messages.iter().map(|message| texts(&message["content"])).sum();
        Need::new(text, request["max_tokens"].as_u64().unwrap_or(0))
    }

    /// The answer to a request. Pauses between tries end where `ended` says so; `say` is told of long ones.
    pub(super) fn ask_until(
        &self,
        request: &Value,
        ended: &dyn Fn() -> bool,
        say: &dyn Fn(String),
    ) -> Result<Reply> {
        let body = request.to_string();
        let mut pause = self.terms.pause;
        for left in (0..self.terms.tries.max(1)).rev() {
            match self.once(&body) {
                Ok(reply) => return Ok(reply),
                Err(Fault::Lasting(problem)) => return Err(self.refused(problem)),
                Err(Fault::Passing(problem, _)) if left == 0 => return Err(self.refused(problem)),
                Err(Fault::Passing(problem, asked)) => {
                    let wait = asked.unwrap_or(pause).min(MAX_WAIT);
                    if self.is_news(wait) {
                        say(format!("waiting for {} s: {problem}", wait.as_secs()));
                    }
                    pass(wait, ended)?;
                    pause *= 2;
                }
            }
        }
        Err(Error::Interrupted)
    }

    /// True for a long wait, once for all requests that wait at a time.
    fn is_news(&self, wait: Duration) -> bool {
        let now = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = wait >= LONG_WAIT && waiting.is_none_or(|until| until <= now);
        if is_news {
            *waiting = Some(now + wait);
        }
        is_news
    }

    fn once(&self, body: &str) -> Result<Reply, Fault> {
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", key.header());
        }
        let response = request.send(body).map_err(|error| self.broken(&error))?;
        let status = response.status().as_u16();
        let wait = retry_after(&response);
        let text = response.into_body().with_config().limit(MAX_ANSWER).read_to_string();
        let text = text.map_err(|error| self.broken(&error))?;
        if status != 200 {
            let problem = Problem::Refused { status, said: self.said(&text) };
            return Err(match status {
                408 | 409 | 425 | 429 | 500..=599 => Fault::Passing(problem, wait),
                _ => Fault::Lasting(problem),
            });
        }
        match serde_json::from_str::<Reply>(&text) {
            Ok(reply) if reply.choice().is_some() => Ok(reply),
            _ if text.trim_start().starts_with('<') => {
                Err(Fault::Lasting(Problem::NoChat { found: "a web page" }))
            }
            _ if serde_json::from_str::<Value>(&text).is_ok() => {
                Err(Fault::Lasting(Problem::NoChat { found: "other JSON" }))
            }
            _ => Err(Fault::Passing(Problem::NoChat { found: "half an answer" }, None)),
        }
    }

    /// A connection that failed. What is wrong with a certificate stays wrong.
    fn broken(&self, error: &ureq::Error) -> Fault {
        let reason = self.hidden(&error.to_string());
        let problem = Problem::Unreachable { reason };
        match error {
            ureq::Error::Tls(_)
            | ureq::Error::Rustls(_)
            | ureq::Error::BadUri(_)
            | ureq::Error::HostNotFound => Fault::Lasting(problem),
            _ if error.to_string().contains("certificate") => {
                Fault::Lasting(Problem::Certificate { reason: self.hidden(&error.to_string()) })
            }
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
        // The key goes first: half a key is a secret too.
        self.hidden(said).chars().take(SHOWN).collect()
    }

    fn hidden(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.into(), |key| key.hidden(text))
    }
}

/// Lets time pass, and looks now and then whether that is still wanted.
fn pass(time: Duration, ended: &dyn Fn() -> bool) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        if ended() {
            return Err(Error::Interrupted);
        }
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return Ok(()),
            left => thread::sleep(left.min(LOOK)),
        }
    }
}

/// The bytes of text in a message's content, which is a text or a list of parts.
fn texts(content: &Value) -> usize {
    let of_part = |part: &Value| part["text"].as_str().map_or(0, str::len);
    match content {
        Value::String(text) => text.len(),
        Value::Array(parts) => parts.iter().map(of_part).sum(),
        _ => 0,
    }
}

/// The time that an endpoint asks to wait for: seconds, or a date.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let said = response.headers().get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(said).ok()?;
    Some(SystemTime::from(date.timestamp()).duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::texts;

    #[test]
    fn all_text_of_a_message_counts() {
        let parts = json!([{ "type": "text", "text": "one" }, { "type": "text", "text": "three" }]);
        assert_eq!(texts(&json!("one")), 3);
        assert_eq!(texts(&parts), 8);
        assert_eq!(texts(&json!(null)), 0);
    }
}
