//! Endpoints, as commands name them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use serde::Serialize;
use strait::endpoint::{Budget, Client, Key, Price, Spent, Terms};

use super::sampling::count;
use crate::{failure::Failure, text::Columns, units};

/// An OpenAI-compatible endpoint, and how it is asked.
#[derive(Args)]
pub struct EndpointArguments {
    /// An OpenAI-compatible endpoint that has the model: the address below which /chat/completions lies
    #[arg(long = "endpoint", value_name = "URL", requires = "model")]
    address: Option<String>,
    /// Requests to the endpoint at a time
    #[arg(long, value_name = "N", default_value_t = 8, requires = "address", value_parser = count)]
    concurrency: usize,
    /// Seconds that one request to the endpoint may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "address", value_parser = count)]
    timeout: usize,
    /// The most that requests to the endpoint may use now, as in '200k tokens', or as in 2.50 with --price: the command stops before,
    /// and goes on when it is run again
    #[arg(long, value_name = "MOST", requires = "address")]
    budget: Option<Budget>,
    /// The price of a million tokens of prompts, and of answers: the report then has the cost
    #[arg(long, value_name = "IN:OUT", requires = "address")]
    price: Option<Price>,
    /// The environment variable that holds the endpoint's key
    #[arg(long, value_name = "VAR", requires = "address")]
    key_env: Option<String>,
    /// The file that holds the endpoint's key
    #[arg(long, value_name = "FILE", requires = "address", conflicts_with = "key_env")]
    key_file: Option<PathBuf>,
}

impl EndpointArguments {
    /// True where an endpoint is named.
    pub fn is_named(&self) -> bool {
        self.address.is_some()
    }

    /// A client of the endpoint for this model, where one is named.
    pub fn client(&self, model: Option<&str>) -> Result<Option<Arc<Client>>, Failure> {
        let Some((address, model)) = self.address.as_deref().zip(model) else { return Ok(None) };
        let terms = Terms {
            concurrency: self.concurrency,
            patience: Duration::from_secs(self.timeout as u64),
            budget: self.budget,
            price: self.price,
            ..Terms::new(address, model)
        };
        Ok(Some(Client::new(terms, self.key()?)?))
    }

    fn key(&self) -> Result<Option<Key>, Failure> {
        let key = match (&self.key_env, &self.key_file) {
            (Some(name), _) if !Key::is_variable(name) => {
                return Err(Failure::refused(
                    "`--key-env` names no environment variable",
                    "give the name of the variable that holds the key, such as API_KEY: the key itself stands on no command line",
                ));
            }
            (Some(variable), _) => std::env::var(variable).map_err(|_| {
                Failure::refused(
                    format!("the environment variable `{variable}` holds no key"),
                    "set it, or name another one with `--key-env`",
                )
            })?,
            (None, Some(file)) => {
                std::fs::read_to_string(file).map_err(strait_model::Error::io(file, "read the file"))?
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Key::new(&key).map_err(strait::Error::from)?))
    }
}

/// The account of an endpoint, as reports have it.
#[derive(Serialize)]
pub struct Usage {
    /// All tokens together.
    tokens: u64,
    #[serde(flatten)]
    spent: Spent,
}

impl Usage {
    pub fn of(client: &Client) -> Self {
        let spent = client.spent();
        Self { tokens: spent.tokens(), spent }
    }

    /// Adds its facts to those of a command.
    pub fn show(&self, facts: &mut Columns) {
        let Spent { requests, prompt_tokens, answer_tokens, uncounted, cost } = self.spent;
        facts.fact("requests", units::count(requests));
        let [all, prompts, answers] = [self.tokens, prompt_tokens, answer_tokens].map(units::count);
        facts.fact("tokens", format!("{all}: {prompts} of prompts, {answers} of answers"));
        if uncounted > 0 {
            facts.fact("not counted", format!("{}, for which the most is taken", units::count(uncounted)));
        }
        if let Some(cost) = cost {
            facts.fact("cost", format!("{cost:.4}"));
        }
    }
}
