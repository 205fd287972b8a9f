//! Models on the Hugging Face hub and in its cache, which other tools share.
//!
//! The cache's layout and the downloads themselves are `hf-hub`'s. Here is what it leaves open: which files make a
//! model, a hub that does not answer, a download that stalls, and a look at each file's size and hash before it counts.
//! The first request asks for the repository's commit; every file is then fetched from that commit, so that a branch
//! which moves in the meantime does not mix two versions. The small files come first and the weights last, and only
//! then the branch is recorded as this commit: a snapshot with weights is a whole one.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiBuilder, ApiError},
};
use serde::Deserialize;

use super::{Environment, Failure};
use crate::{
    Error, Result,
    error::io_hint,
    files::sha256_of,
    progress::{Progress, Unit},
};

/// What the first request may take in all: name resolution, connection, answer. An unreachable hub costs this much.
const DEADLINE: Duration = Duration::from_millis(4500);

/// How often a file's download is taken up again after it broke off, and after which pause. The crate's own retries
/// report a failure even where the last of them succeeds.
const RETRIES: usize = 2;
const PAUSE: Duration = Duration::from_millis(500);

/// An index of weights larger than this is not one: that of a model with 100,000 tensors has 10 MB.
const INDEX_LIMIT: u64 = 64 << 20;

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

    fn repo(&self) -> Repo {
        self.repo_at(&self.revision)
    }

    fn repo_at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, revision.into())
    }

    /// The repository's page.
    pub(super) fn url(&self, environment: &Environment) -> String {
        format!("{}/{}", environment.endpoint, self.repository)
    }

    /// The folder that holds the repository in a hub cache.
    pub(super) fn cache_folder_name(&self) -> String {
        self.repo().folder_name()
    }
}

/// Whether every component is a name of letters, digits and `._+-` that no file system and no URL reads otherwise.
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

/// The model, where the hub's cache has all of it.
pub(super) fn cached(id: &HubId, environment: &Environment) -> Result<Snapshot, Failure> {
    let folder_name = id.cache_folder_name();
    let folder = environment.hub_cache.join(&folder_name);
    let not_cached =
        |folder: &Path, missing: &str| Failure::NotCached { folder: folder.into(), missing: missing.into() };
    if !folder.is_dir() {
        return Err(not_cached(&environment.hub_cache, &folder_name));
    }
    let commit = if is_commit(&id.revision) {
        id.revision.clone()
    } else {
        let reference = format!("refs/{}", id.revision);
        fs::read_to_string(folder.join(&reference))
            .ok()
            .map(|commit| commit.trim().to_string())
            .filter(|commit| is_commit(commit))
            .ok_or_else(|| not_cached(&folder, &reference))?
    };
    let snapshot = folder.join("snapshots").join(&commit);
    match &id.file {
        Some(file) => {
            let path = snapshot.join(file);
            if path.is_file() { Ok((path, commit)) } else { Err(not_cached(&snapshot, file)) }
        }
        None => match first_missing(&snapshot, &no_exist(&folder, &commit)) {
            None => Ok((snapshot, commit)),
            Some(missing) => Err(not_cached(&snapshot, &missing)),
        },
    }
}

/// The folder in which Hugging Face's tools mark files that a commit is known not to have.
fn no_exist(repository_folder: &Path, commit: &str) -> PathBuf {
    repository_folder.join(".no_exist").join(commit)
}

/// The first file without which a snapshot is not a whole model.
fn first_missing(snapshot: &Path, no_exist: &Path) -> Option<String> {
    let has = |file: &str| snapshot.join(file).is_file();
    for file in [CONFIG, TOKENIZER] {
        if !has(file) {
            return Some(file.into());
        }
    }
    // Some tools fetch a model without it; then the chat template is missing.
    if !has(TOKENIZER_CONFIG) && !no_exist.join(TOKENIZER_CONFIG).is_file() {
        return Some(TOKENIZER_CONFIG.into());
    }
    if has(WEIGHTS) {
        return None;
    }
    match shards(&snapshot.join(INDEX)) {
        Ok(shards) => shards.into_iter().find(|shard| !has(shard)),
        Err(_) => Some(WEIGHTS.into()),
    }
}

/// The files that an index of weights names, each once.
fn shards(index: &Path) -> Result<BTreeSet<String>, Failure> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::HashMap<String, String>,
    }
    let unusable = |cause: String| Failure::Index { file: INDEX.into(), cause };
    let mut text = String::new();
    let file = File::open(index).map_err(Error::io(index, "open the file"))?;
    let length =
        file.take(INDEX_LIMIT + 1).read_to_string(&mut text).map_err(Error::io(index, "read the file"))?;
    if length as u64 > INDEX_LIMIT {
        return Err(unusable(format!("it has more than {INDEX_LIMIT} bytes")));
    }
    let index: Index = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if shards.is_empty() {
        return Err(unusable("it names no file".into()));
    }
    let is_shard =
        |name: &String| is_plain_path(name) && !name.contains('/') && name.ends_with(".safetensors");
    match shards.iter().find(|name| !is_shard(name)) {
        Some(name) => Err(unusable(format!("`{name}` is no name of a safetensors file"))),
        None => Ok(shards),
    }
}

/// Fetches what is missing of the model.
pub(super) fn fetch(
    id: &HubId,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Snapshot, Failure> {
    if environment.offline {
        return Err(Failure::Offline);
    }
    let cache = Cache::new(environment.hub_cache.clone());
    let api = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(environment.endpoint.clone())
        .with_token(environment.token.clone())
        .with_progress(false)
        .with_user_agent("strait", env!("CARGO_PKG_VERSION"))
        .build()
        .map_err(|error| Failure::Unreachable {
            endpoint: environment.endpoint.clone(),
            cause: error.to_string(),
        })?;
    let listing = Listing::ask(&api, id, environment)?;
    let fetch = Fetch {
        id,
        environment,
        progress,
        folder: environment.hub_cache.join(id.cache_folder_name()),
        api,
        listing,
    };
    let path = match &id.file {
        Some(file) => fetch.file(fetch.listing.find(file).ok_or_else(|| fetch.has_no(file))?)?,
        None => fetch.model()?,
    };
    let commit = fetch.listing.sha.clone();
    cache
        .repo(id.repo())
        .create_ref(&commit)
        .map_err(Error::io(&fetch.folder, "record the revision in the folder"))?;
    Ok((path, commit))
}

/// What the hub says of a repository.
#[derive(Deserialize)]
struct Listing {
    /// The commit.
    sha: String,
    siblings: Vec<Sibling>,
}

/// A file of a repository. A mirror may leave out all but the name.
#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    /// Git's name for the content.
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<Lfs>,
}

impl Sibling {
    /// The name of the blob in the cache: the large file's hash, or git's.
    fn blob(&self) -> Option<&str> {
        let name = self.lfs.as_ref().map(|lfs| &lfs.sha256).or(self.blob.as_ref())?;
        name.bytes().all(|b| b.is_ascii_hexdigit()).then_some(name)
    }
}

/// What is known of a large file.
#[derive(Deserialize)]
struct Lfs {
    sha256: String,
}

impl Listing {
    /// The one request that has a deadline: where it is answered, the hub is there.
    fn ask(api: &Api, id: &HubId, environment: &Environment) -> Result<Self, Failure> {
        let unreachable = |error: ureq::Error| Failure::Unreachable {
            endpoint: environment.endpoint.clone(),
            cause: error.to_string(),
        };
        let not_a_hub = |cause: String| Failure::NotAHub { endpoint: environment.endpoint.clone(), cause };
        let mut response = api
            .repo(id.repo())
            .info_request()
            .query("blobs", "true")
            .config()
            .timeout_global(Some(DEADLINE))
            .http_status_as_error(false)
            .build()
            .call()
            .map_err(unreachable)?;
        let (url, token) = (id.url(environment), environment.token.is_some());
        let code = response.headers().get("x-error-code");
        match (response.status().as_u16(), code.map(|code| code.as_bytes())) {
            (200, _) => {}
            (status @ (401 | 403), Some(b"GatedRepo")) => {
                return Err(Failure::Gated { url, status, token });
            }
            (status @ (401 | 403), _) => return Err(Failure::Hidden { url, status, token }),
            (404, Some(b"RevisionNotFound")) => {
                let what = format!("revision `{}`", id.revision);
                return Err(Failure::NotFound { url, what });
            }
            (404, _) => {
                let what = format!("model `{}` at revision `{}`", id.repository, id.revision);
                let url = environment.endpoint.clone();
                return Err(Failure::NotFound { url, what });
            }
            (status, _) => {
                let what = format!("`{}`", id.repository);
                return Err(Failure::Status { status, what });
            }
        }
        let listing: Self = response.body_mut().read_json().map_err(|error| match error {
            ureq::Error::Json(error) => not_a_hub(error.to_string()),
            other => unreachable(other),
        })?;
        if !is_commit(&listing.sha) {
            return Err(not_a_hub(format!("`{}` is no commit", listing.sha)));
        }
        Ok(listing)
    }

    fn find(&self, file: &str) -> Option<&Sibling> {
        self.siblings.iter().find(|known| known.rfilename == file)
    }
}

/// The fetching of one repository's files.
struct Fetch<'a> {
    id: &'a HubId,
    environment: &'a Environment,
    progress: &'a dyn Progress,
    /// The repository's folder in the cache.
    folder: PathBuf,
    api: Api,
    listing: Listing,
}

impl Fetch<'_> {
    /// Fetches all files of a model in Hugging Face's layout and returns their folder.
    fn model(&self) -> Result<PathBuf, Failure> {
        let find = |file: &str| self.listing.find(file).ok_or_else(|| self.has_no(file));
        // Asked first: a repository that cannot be used is not fetched in part.
        let (config, tokenizer) = (find(CONFIG)?, find(TOKENIZER)?);
        let weights = find(WEIGHTS).or_else(|_| find(INDEX)).map_err(|_| self.has_no(WEIGHTS))?;
        for file in OPTIONAL {
            match self.listing.find(file) {
                Some(sibling) => drop(self.file(sibling)?),
                None => self.mark_absent(file),
            }
        }
        for sibling in [config, tokenizer] {
            self.file(sibling)?;
        }
        let path = self.file(weights)?;
        if weights.rfilename == INDEX {
            for shard in shards(&path)? {
                self.file(find(&shard)?)?;
            }
        }
        Ok(self.snapshot())
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshots").join(&self.listing.sha)
    }

    fn has_no(&self, file: &str) -> Failure {
        let url = self.id.url(self.environment);
        let gguf = |known: &&Sibling| known.rfilename.ends_with(".gguf");
        match self.listing.siblings.iter().find(gguf) {
            Some(example) if self.id.file.is_none() => Failure::OnlyGguf {
                url,
                repository: self.id.repository.clone(),
                example: example.rfilename.clone(),
            },
            _ => Failure::NotFound { url, what: format!("file `{file}`") },
        }
    }

    /// Notes, as Hugging Face's tools do, that this commit has no such file: then the cache can tell that it is whole.
    fn mark_absent(&self, file: &str) {
        let folder = no_exist(&self.folder, &self.listing.sha);
        // Without the mark a later start asks the hub once more, nothing worse.
        fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(file))).ok();
    }

    /// The path of one file in the snapshot, fetched where it is not there yet.
    fn file(&self, sibling: &Sibling) -> Result<PathBuf, Failure> {
        let path = self.snapshot().join(&sibling.rfilename);
        if path.is_file() {
            // Perhaps of a run that was killed before it had looked at it.
            if self.check(sibling, sibling.size, &path).is_ok() {
                return Ok(path);
            }
            remove(&path);
        }
        let mut retries = 0..RETRIES;
        let size = loop {
            self.prepare_part(sibling);
            match self.download(sibling) {
                Err(Failure::Broken { .. }) if retries.next().is_some() => thread::sleep(PAUSE),
                outcome => break outcome?,
            }
        };
        self.check(sibling, Some(size), &path).inspect_err(|_| remove(&path))?;
        Ok(path)
    }

    /// Makes a part that is as long as the file one byte shorter: a download begins at the part's end, and the hub
    /// refuses to send what comes after the file's.
    fn prepare_part(&self, sibling: &Sibling) {
        let (Some(size), Some(blob)) = (sibling.size, sibling.blob()) else {
            return;
        };
        let part = self.folder.join("blobs").join(blob).with_extension("part");
        if let Ok(part) = File::options().write(true).open(part)
            && part.metadata().is_ok_and(|file| file.len() >= size)
        {
            part.set_len(size.saturating_sub(1)).ok();
        }
    }

    /// Fetches one file into the snapshot and returns the size that the hub gave for it.
    ///
    /// The crate knows no time limit, so it works in a thread of its own that is left behind where nothing arrives.
    fn download(&self, sibling: &Sibling) -> Result<u64, Failure> {
        let file = &sibling.rfilename;
        let (sender, news) = mpsc::channel();
        thread::spawn({
            let repo = self.api.repo(self.id.repo_at(&self.listing.sha));
            let file = file.clone();
            move || {
                let outcome = repo.download_with_progress(&file, Reporter(sender.clone()));
                sender.send(News::Ended(outcome.map(drop))).ok();
            }
        });

        let title = format!("fetching {}/{file}", self.id.repository);
        let task = self.progress.begin(&title, sibling.size, Unit::Bytes);
        let mut size = 0;
        loop {
            match news.recv_timeout(self.environment.patience) {
                Ok(News::Begun { of }) => size = of,
                Ok(News::Arrived(bytes)) => task.advance(bytes),
                Ok(News::Ended(Ok(()))) => return Ok(sibling.size.unwrap_or(size)),
                Ok(News::Ended(Err(error))) => return Err(self.failure(error, file)),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::Stalled { what: file.clone(), after: self.environment.patience });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Broken {
                        file: file.clone(),
                        cause: "the download ended without a word".into(),
                    });
                }
            }
        }
    }

    /// Whether a file is what the hub announced; the crate does not look.
    fn check(&self, sibling: &Sibling, size: Option<u64>, path: &Path) -> Result<(), Failure> {
        let file = sibling.rfilename.clone();
        let found = fs::metadata(path).map_err(Error::io(path, "open the file"))?.len();
        if let Some(expected) = size.filter(|size| *size != found) {
            return Err(Failure::Length { file, expected, found });
        }
        let Some(Lfs { sha256 }) = &sibling.lfs else {
            return Ok(());
        };
        let title = format!("verifying {}/{file}", self.id.repository);
        let task = self.progress.begin(&title, Some(found), Unit::Bytes);
        let found = sha256_of(path, |bytes| task.advance(bytes))?;
        if found != *sha256 {
            return Err(Failure::Hash { file, expected: sha256.clone(), found });
        }
        Ok(())
    }

    fn failure(&self, error: ApiError, file: &str) -> Failure {
        let url = self.id.url(self.environment);
        let token = self.environment.token.is_some();
        let file = file.to_string();
        match error {
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status @ (401 | 403)) => Failure::Gated { url, status, token },
                ureq::Error::StatusCode(404) => Failure::NotFound { url, what: format!("file `{file}`") },
                ureq::Error::StatusCode(status) => Failure::Status { status, what: format!("`{file}`") },
                other => Failure::Broken { file, cause: other.to_string() },
            },
            // A refusal for which there is a hint came from this machine's disk, the others from the network.
            ApiError::IoError(error) if io_hint(&error).is_some() => {
                Error::io(&self.folder, "write into the folder")(error).into()
            }
            ApiError::LockAcquisition(lock) => Failure::Broken {
                file,
                cause: format!("another process is fetching it and holds `{}`", lock.display()),
            },
            other => Failure::Broken { file, cause: other.to_string() },
        }
    }
}

/// Removes a file of a snapshot together with the blob that it points to.
fn remove(path: &Path) {
    if let Ok(blob) = fs::canonicalize(path) {
        fs::remove_file(blob).ok();
    }
    fs::remove_file(path).ok();
}

/// What the downloading thread has to say.
enum News {
    /// It begins with a file of so many bytes.
    Begun { of: u64 },
    /// So many bytes arrived, or were there from an earlier attempt.
    Arrived(u64),
    /// It is over.
    Ended(Result<(), ApiError>),
}

/// Passes the crate's news on. Where nobody listens any more there is nothing to be done about it.
struct Reporter(Sender<News>);

impl hf_hub::api::Progress for Reporter {
    fn init(&mut self, size: usize, _: &str) {
        self.0.send(News::Begun { of: size as u64 }).ok();
    }
    fn update(&mut self, size: usize) {
        self.0.send(News::Arrived(size as u64)).ok();
    }
    fn finish(&mut self) {}
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

    #[test]
    fn an_index_names_plain_safetensors_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(INDEX);
        let check = |text: &str, expected: &str| {
            fs::write(&path, text).unwrap();
            let found = match shards(&path) {
                Ok(shards) => shards.into_iter().collect::<Vec<_>>().join(" "),
                Err(failure) => failure.to_string(),
            };
            assert!(found.contains(expected), "{text}: {found}");
        };
        check(
            r#"{"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}"#,
            "1.safetensors 2.safetensors",
        );
        check(r#"{"weight_map": {}}"#, "it names no file");
        check("[]", "is no index of weights");
        check("{", "is no index of weights");
        for name in ["../x.safetensors", "/x.safetensors", "a/x.safetensors", "x.bin", ""] {
            check(&format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#), "is no name of a safetensors file");
        }
    }
}
