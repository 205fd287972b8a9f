//! Endpoints that cannot be asked.

use crate::error;

/// A problem of an endpoint. None of it holds the key.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointProblem {
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
}

impl error::Problem for EndpointProblem {
    fn hint(&self) -> String {
        match self {
            Self::Address { .. } => {
                "give the address below which `/chat/completions` lies, as in http://localhost:8000/v1".into()
            }
            Self::Key => "look at the variable or file that holds the key: it is one line".into(),
            Self::Refused { status: 401 | 403, .. } => {
                "name the variable that holds the key with `--key-env`, or its file with `--key-file`".into()
            }
            Self::Refused { status: 404, .. } => {
                "check the model's name with the endpoint's list (`/models`), and the address, which usually ends in `/v1`".into()
            }
            Self::Refused { status: 429, .. } => {
                "wait, or ask for less at a time with `--concurrency`; run the same command again: nothing is asked for twice".into()
            }
            Self::Refused { .. } => "mend what it says, and run the same command again: nothing is asked for twice".into(),
            Self::NoChat { .. } => {
                "check the address: it is that below which `/chat/completions` lies, and usually ends in `/v1`".into()
            }
            Self::NoLogprobs => "`--printed` takes the number that the judge prints, and says so".into(),
            Self::Unreachable { .. } => {
                "check the address and the network, and run the same command again: nothing is asked for twice".into()
            }
        }
    }
}
