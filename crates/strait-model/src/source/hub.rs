//! Models on the Hugging Face hub and in its cache, which other tools share.
//!
//! The first request asks for the repository's commit; every file is then fetched from that commit, so that a branch
//! which moves in the meantime does not mix two versions. The small files come first and the weights last, each is held
//! against the size and the hash that the hub states before it gets its name, and only then the branch is recorded as this
//! commit: a snapshot with weights is a whole one. Nothing that the hub answers becomes a path but hashes that were found
//! to be hashes.

mod cache;
mod content;
mod fetch;
mod listing;

use std::path::PathBuf;

use super::{Environment, Failure, web::Web};
use crate::progress::Progress;
pub(super) use cache::cached;
use fetch::Fetch;
use listing::Listing;

const DEFAULT_REVISION: &str = "main";
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Files that a repository may do without.
const OPTIONAL: [&str; 3] = [TOKENIZER_CONFIG, "chat_template.jinja", "generation_config.json"];

/// A path in the cache, and the commit that it belongs to.
type Snapshot = (PathBuf, String);

/// `org/name[@revision]` or `org/name:file.gguf[@revision]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HubId {
    /// `org/name`.
    pub(super) repository: String,
    /// A branch, a tag or a commit.
    revision: String,
    /// The one GGUF file that is wanted instead of a folder.
    pub(super) file: Option<String>,
}

impl HubId {
    pub(super) fn of_repository(repository: &str) -> Self {
        Self { repository: repository.into(), revision: DEFAULT_REVISION.into(), file: None }
    }

    /// `None` where `text` is no hub id. All parts of one that is are safe in a URL and in a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        let (repository, file) = match text.split_once(':') {
            Some((repository, file)) => (repository, Some(file)),
            None => (text, None),
        };
        let is_repository =
            repository.split('/').count() == 2 && is_plain_path(repository) && !repository.ends_with(".gguf");
        let is_file = file.is_none_or(|file| is_plain_path(file) && file.ends_with(".gguf"));
        (is_repository && is_file && is_plain_path(revision)).then(|| Self {
            repository: repository.into(),
            revision: revision.into(),
            file: file.map(str::to_string),
        })
    }

    /// The revision as one component of a URL.
    fn url_revision(&self) -> String {
        self.revision.replace('/', "%2F")
    }

    /// The repository's page.
    pub(super) fn url(&self, environment: &Environment) -> String {
        format!("{}/{}", environment.address(), self.repository)
    }

    /// The folder that holds the repository in a hub cache.
    pub(super) fn cache_folder_name(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }
}

/// True if every component is a name of letters, digits and `._+-` that no file system and no URL reads otherwise.
fn is_plain_path(path: &str) -> bool {
    path.split('/').all(|part| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.contains("..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
    })
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Fetches the files of the model that are missing.
pub(super) fn fetch(
    id: &HubId,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Snapshot, Failure> {
    if environment.offline {
        return Err(Failure::Offline);
    }
    let web = Web::new(environment)?;
    let listing = Listing::ask(&web, id, environment)?;
    let folder = environment.hub_cache.join(id.cache_folder_name());
    let fetch = Fetch { id, environment, progress, folder, web, listing };
    let path = match &id.file {
        Some(file) => fetch.file(fetch.listing.find(file).ok_or_else(|| fetch.has_no(file))?)?,
        None => fetch.model()?,
    };
    let commit = fetch.listing.sha.clone();
    if !is_commit(&id.revision) {
        cache::record(&fetch.folder, &id.revision, &commit)?;
    }
    Ok((path, commit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, Option<&str>, &str)>) {
        let expected = expected.map(|(repository, file, revision)| HubId {
            repository: repository.into(),
            revision: revision.into(),
            file: file.map(str::to_string),
        });
        assert_eq!(HubId::parse(text), expected, "{text}");
    }

    #[test]
    fn hub_ids() {
        check("org/name", Some(("org/name", None, "main")));
        check("org/name@v1.0", Some(("org/name", None, "v1.0")));
        check("org/na.me@refs/pr/3", Some(("org/na.me", None, "refs/pr/3")));
        check("o/n:f.gguf", Some(("o/n", Some("f.gguf"), "main")));
        check("o/n:q4/f.gguf@abc", Some(("o/n", Some("q4/f.gguf"), "abc")));
    }

    #[test]
    fn what_is_no_hub_id() {
        for text in [
            "",
            "name",
            "/name",
            "org/",
            "/org/name",
            "./name",
            "../name",
            "~/name",
            "a/b/c",
            "models/file.gguf",
            "org/name@",
            "org/name@../../x",
            "org/name@/x",
            "org/name:",
            "org/name:config.json",
            "org/name:../f.gguf",
            "org/name:/f.gguf",
            "org/name:f.gguf@a@b",
            "org/na me",
            "org/na?me",
            "org\\name",
            "C:/models/name",
        ] {
            check(text, None);
        }
    }
}
