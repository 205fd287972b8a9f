//! Endpoints that cannot be asked.

use super::{Budget, Spent};
use crate::error::{self, Error, Place};

/// A problem of an endpoint. None of it holds the key.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An address that is none.
    #[error("`{address}` is no address of an endpoint")]
    Address {
        /// The address, without what may be secret in it.
        address: String,
    },
    /// A key that cannot stand in a request.
    #[error("the key holds characters that no key has")]
    Key,
    /// A refusal.
    #[error("the endpoint refuses with {status}: {said}")]
    Refused {
        /// The status.
        status: u16,
        /// The endpoint's words.
        said: String,
    },
    /// An answer that is something else.
    #[error("the endpoint answers with {found}, not with JSON of a chat")]
    NoChat {
        /// Its kind, with its article.
        found: &'static str,
    },
    /// An answer without probabilities.
    #[error("the endpoint gives no probabilities of tokens (`logprobs`)")]
    NoLogprobs,
    /// A connection that cannot be made or breaks.
    #[error("the endpoint cannot be reached: {reason}")]
    Unreachable {
        /// The reason.
        reason: String,
    },
    /// A certificate that does not prove whose it is.
    #[error("the endpoint's certificate is not trusted: {reason}")]
    Certificate {
        /// The reason.
        reason: String,
    },
    /// A model that writes numbers digit by digit.
    #[error(
        "the endpoint's model has a token for each digit, so that its first token says nothing of 10 to 100"
    )]
    DigitByDigit,
    /// A file of accounts that something else wrote.
    #[error("this is no account that strait kept")]
    NoAccount,
    /// A file of accounts that another process writes.
    #[error("another strait is writing into it")]
    InUse,
    /// A budget of money without a price.
    #[error("the budget is money, and the price of tokens is not known")]
    NoPrice,
    /// The end of the budget.
    #[error("the budget of {} ends before the next request: {} are used, in {} requests", said(*budget), used(spent, *budget), spent.requests)]
    BudgetUsed {
        /// The amount so far.
        spent: Spent,
        /// The budget.
        budget: Option<Budget>,
    },
}

fn said(budget: Option<Budget>) -> String {
    budget.map_or_else(|| "nothing".into(), |budget| budget.to_string())
}

/// An amount in the unit of the budget.
fn used(spent: &Spent, budget: Option<Budget>) -> String {
    match (budget, spent.cost) {
        (Some(Budget::Money(_)), Some(cost)) => format!("{cost:.4}"),
        _ => spent.tokens().to_string(),
    }
}

impl From<Problem> for Error {
    /// The problem of something that is no file.
    fn from(problem: Problem) -> Self {
        Self::Input { place: Place::Nowhere, problem: Box::new(problem) }
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::Address { .. } => {
                "give the address below which `/chat/completions` lies, as in http://localhost:8000/v1".into()
            }
            Self::Key => "look at the variable or file that holds the key: it is one line".into(),
            Self::Refused { status: 401 | 403, .. } => {
                "name the variable that holds the key with `--key-env`, or its file with `--key-file`; a study names the variable in the \
                 judge's `key_env`"
                    .into()
            }
            Self::Refused { status: 404, .. } => {
                "check the model's name with the endpoint's list (`/models`), and the address, which usually ends in `/v1`".into()
            }
            Self::Refused { status: 429, .. } => {
                "wait, or ask for less at a time with `--concurrency`, in a study `concurrency`; run the same command again: nothing is \
                 asked for twice"
                    .into()
            }
            Self::Refused { .. } => "mend what it says, and run the same command again: nothing is asked for twice".into(),
            Self::NoChat { .. } => {
                "check the address: it is that below which `/chat/completions` lies, and usually ends in `/v1`".into()
            }
            Self::NoLogprobs => {
                "`--printed`, in a study `printed = true`, takes the number that a judge prints, and says so; answers come without \
                 `--logprobs`"
                    .into()
            }
            Self::Certificate { .. } => {
                "check the address: something else may answer in the endpoint's place; strait trusts the usual authorities alone, so reach \
                 a server of your own by http, or through a proxy that has a certificate of theirs"
                    .into()
            }
            Self::DigitByDigit => {
                "`--printed`, in a study `printed = true`, takes the number that the judge prints, and says so; of a local model, without an \
                 endpoint, strait reads the number to its end"
                    .into()
            }
            Self::NoPrice => "give the price of a million tokens of prompts and of answers, as in `--price 2.5:10`".into(),
            Self::NoAccount => "something else changed the file: move it away; what it says was spent is then not counted".into(),
            Self::InUse => "wait for it".into(),
            Self::BudgetUsed { .. } => {
                "what was answered is kept: run the same command again to go on, with a budget of its own; a study's `budget` is for \
                 all its runs together: raise it"
                    .into()
            }
            Self::Unreachable { .. } => {
                "check the address and the network, and run the same command again: nothing is asked for twice".into()
            }
        }
    }
}
