//! The hub's list of a repository's files.

use std::{io::Read, time::Duration};

use serde::Deserialize;

use super::{HubId, is_commit};
use crate::{
    json,
    source::{
        Environment, Failure,
        web::{self, Request, Web, without_passwords},
    },
};

/// The time that the first request may take in all: name resolution, connection, answer. An unreachable hub costs this much.
const DEADLINE: Duration = Duration::from_millis(4500);

/// Longest listing that is read, in bytes; that of a repository with 100,000 files has 20 MB.
const MAX_LISTING: u64 = 64 << 20;

/// A repository at a commit.
#[derive(Deserialize)]
pub(super) struct Listing {
    /// The commit.
    pub(super) sha: String,
    pub(super) siblings: Vec<Sibling>,
}

/// A file of a repository. A mirror may leave out all but the name.
#[derive(Deserialize)]
pub(super) struct Sibling {
    pub(super) rfilename: String,
    pub(super) size: Option<u64>,
    /// Git's name for the content.
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<Lfs>,
}

/// The entry of a large file.
#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: Option<u64>,
}

impl Sibling {
    /// The hash of the content: a large file's SHA-256, or git's.
    pub(super) fn hash(&self) -> Option<String> {
        web::hash(self.lfs.as_ref().map(|lfs| &lfs.sha256).or(self.blob.as_ref())?)
    }

    /// The size of the content.
    pub(super) fn size(&self) -> Option<u64> {
        self.lfs.as_ref().and_then(|lfs| lfs.size).or(self.size)
    }
}

impl Listing {
    /// The one request that has a deadline: where it is answered, the hub is there.
    pub(super) fn ask(web: &Web, id: &HubId, environment: &Environment) -> Result<Self, Failure> {
        let endpoint = || environment.address();
        let unreachable =
            |cause: String| Failure::Unreachable { endpoint: endpoint(), cause: without_passwords(&cause) };
        let not_a_hub = |cause: String| Failure::NotAHub { endpoint: endpoint(), cause };
        let path = format!("api/models/{}/revision/{}?blobs=true", id.repository, id.url_revision());
        let what = format!("`{}`", id.repository);
        let request = Request { what: what.clone(), deadline: Some(DEADLINE), from: None };
        let answer = web.get(&path, &request, |error| unreachable(error.to_string()))?;
        let (url, token) = (id.url(environment), environment.token.is_some());
        match (answer.status(), answer.header("x-error-code")) {
            (200, _) => {}
            (status @ (401 | 403), Some("GatedRepo")) => return Err(Failure::Gated { url, status, token }),
            (status @ (401 | 403), _) => return Err(Failure::Hidden { url, status, token }),
            (404, Some("RevisionNotFound")) => {
                let what = format!("revision `{}`", id.revision);
                return Err(Failure::NotFound { url, what });
            }
            (404, _) => {
                let what = format!("model `{}` at revision `{}`", id.repository, id.revision);
                return Err(Failure::NotFound { url: endpoint(), what });
            }
            (status, _) => return Err(Failure::Status { status, what }),
        }
        let mut body = Vec::new();
        let reader = answer.response.into_body().into_reader();
        reader
            .take(MAX_LISTING + 1)
            .read_to_end(&mut body)
            .map_err(|error| unreachable(error.to_string()))?;
        if body.len() as u64 > MAX_LISTING {
            return Err(not_a_hub(format!("its list of files is longer than {MAX_LISTING} bytes")));
        }
        let listing: Self = json::from_slice(&body).map_err(|error| not_a_hub(error.to_string()))?;
        if !is_commit(&listing.sha) {
            let shown: String = listing.sha.chars().take(80).collect();
            return Err(not_a_hub(format!("`{}` is no commit", shown.escape_debug())));
        }
        if is_commit(&id.revision) && !listing.sha.eq_ignore_ascii_case(&id.revision) {
            return Err(not_a_hub(format!("it answers with commit `{}`", listing.sha)));
        }
        Ok(listing)
    }

    pub(super) fn find(&self, file: &str) -> Option<&Sibling> {
        self.siblings.iter().find(|known| known.rfilename == file)
    }
}
