//! Requests to OpenAI-compatible endpoints: several at a time, repeated where that may help, counted, within a budget, with a key
//! that nobody sees.

mod account;
mod budget;
mod client;
mod key;
mod ledger;
mod pool;
mod problem;
mod reply;
mod spent;

use std::time::Duration;

pub use budget::{Budget, Price};
pub use client::Client;
pub use key::Key;
pub use ledger::{Ledger, Owned};
pub use problem::Problem;
pub use reply::{Choice, Likely, Reply, TokenReply};
pub use spent::Spent;

/// The terms on which an endpoint is asked.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The address below which `/chat/completions` lies.
    pub address: String,
    /// The model's name there.
    pub model: String,
    /// Requests at a time.
    pub concurrency: usize,
    /// The time that one request may take.
    pub patience: Duration,
    /// Times that a request is made, at most.
    pub tries: u32,
    /// The pause before the second try; before each further one it is doubled.
    pub pause: Duration,
    /// The most that all requests together may use.
    pub budget: Option<Budget>,
    /// The price of tokens, which a budget of money needs.
    pub price: Option<Price>,
}

impl Terms {
    /// The usual ones.
    pub fn new(address: &str, model: &str) -> Self {
        Self {
            address: address.into(),
            model: model.into(),
            concurrency: 8,
            patience: Duration::from_secs(300),
            tries: 7,
            pause: Duration::from_millis(500),
            budget: None,
            price: None,
        }
    }
}
