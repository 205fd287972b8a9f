//! Files from the hub into its cache.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    CONFIG, HubId, INDEX, OPTIONAL, TOKENIZER, WEIGHTS,
    cache::{link, no_exist, remove, shards},
    content::{git_sha1_of, name_of},
    listing::{Listing, Sibling},
};
use crate::{
    Error,
    files::sha256_of,
    progress::{Progress, Unit},
    source::{
        Environment, Failure, lock,
        web::{Answer, FileInfo, Request, Web, without_passwords},
    },
};

/// The number of times that a file's download is taken up again after it broke off.
const RETRIES: usize = 2;
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// The fetching of one repository's files.
pub(super) struct Fetch<'a> {
    pub(super) id: &'a HubId,
    pub(super) environment: &'a Environment,
    pub(super) progress: &'a dyn Progress,
    /// The repository's folder in the cache.
    pub(super) folder: PathBuf,
    pub(super) web: Web,
    pub(super) listing: Listing,
}

impl Fetch<'_> {
    /// Fetches all files of a model in Hugging Face's layout and returns their folder.
    pub(super) fn model(&self) -> Result<PathBuf, Failure> {
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

    pub(super) fn has_no(&self, file: &str) -> Failure {
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

    /// The path of one file in the snapshot, fetched where it is not there yet. Only files that were asked for by a name of
    /// plain letters come here.
    pub(super) fn file(&self, sibling: &Sibling) -> Result<PathBuf, Failure> {
        let name = &sibling.rfilename;
        let path = self.snapshot().join(name);
        let mut stated = FileInfo { hash: sibling.hash(), size: sibling.size() };
        if path.is_file() {
            // Perhaps of a run that was killed before it had looked at it.
            if self.check(name, &stated, &path).is_ok() {
                return Ok(path);
            }
            remove(&path);
        } else {
            // A link to a blob that is gone.
            fs::remove_file(&path).ok();
        }
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(Error::io(&blobs, "create the folder"))?;
        let part = blobs.join(stated.hash.clone().unwrap_or_else(|| name_of(name))).with_extension("part");
        let lock = lock(&part.with_extension("lock"), name, self.progress)?;
        let known = stated.hash.as_ref().map(|hash| blobs.join(hash)).filter(|blob| blob.is_file());
        let blob = match known {
            // Another snapshot has the same content, or the process that was waited for brought it.
            Some(blob) if self.check(name, &stated, &blob).is_ok() => blob,
            _ => {
                stated = self.bring(name, &stated, &part)?;
                self.check(name, &stated, &part).inspect_err(|_| drop(fs::remove_file(&part)))?;
                let blob = blobs.join(match stated.hash {
                    Some(hash) => hash,
                    None => sha256_of(&part, |_| ())?,
                });
                fs::rename(&part, &blob).map_err(Error::io(&blob, "put the file in its place"))?;
                blob
            }
        };
        link(&blob, &path, name.split('/').count() + 1)?;
        drop(lock);
        Ok(path)
    }

    /// Downloads a file, and goes on where a connection breaks off.
    fn bring(&self, name: &str, known: &FileInfo, part: &Path) -> Result<FileInfo, Failure> {
        let mut retries = 0..RETRIES;
        loop {
            match self.download(name, known, part) {
                Err(Failure::Broken { .. }) if retries.next().is_some() => thread::sleep(PAUSE),
                outcome => return outcome,
            }
        }
    }

    /// Fetches what is missing of a file into `path`, and says what is known of the file by then.
    fn download(&self, name: &str, known: &FileInfo, path: &Path) -> Result<FileInfo, Failure> {
        let local = || Error::io(path, "write the file");
        let broken = |cause: String| Failure::Broken { file: name.into(), cause: without_passwords(&cause) };
        let mut part = File::options().create(true).append(true).open(path).map_err(local())?;
        let mut start = part.metadata().map_err(local())?.len();
        if known.size.is_some_and(|size| start > size) {
            part.set_len(0).map_err(local())?;
            start = 0;
        }
        if known.size == Some(start) {
            return Ok(known.clone());
        }

        let request = Request { what: format!("`{name}`"), from: Some(start), deadline: None };
        let stalled = || Failure::Stalled { what: name.into(), after: self.environment.patience };
        let url = format!("{}/resolve/{}/{name}", self.id.repository, self.listing.sha);
        let answer = self.web.get(&url, &request, |error| match error {
            ureq::Error::Timeout(_) => stalled(),
            other => broken(other.to_string()),
        })?;
        let whole = match answer.status() {
            200 => true,
            206 => false,
            416 => {
                part.set_len(0).map_err(local())?;
                return Err(broken("the hub has no more of it than is here already".into()));
            }
            status => return Err(self.refusal(name, status)),
        };
        let stated = self.agreed(name, known, &answer)?;
        if whole && start > 0 {
            part.set_len(0).map_err(local())?;
            start = 0;
        }
        if !whole && answer.range().is_none_or(|(first, _)| first != start) {
            return Err(broken("the hub sends another part than was asked for".into()));
        }
        let Some(size) = stated.size else { return Err(Failure::NoSize { file: name.into() }) };

        let title = format!("fetching {}/{name}", self.id.repository);
        let task = self.progress.begin(&title, Some(size), Unit::Bytes);
        task.advance(start);
        // One byte more than there should be is enough to see the lie.
        let mut body = answer.response.into_body().into_reader().take(size - start.min(size) + 1);
        let mut piece = vec![0; PIECE];
        let mut here = start;
        loop {
            let n = match body.read(&mut piece) {
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err(stalled()),
                Err(error) => return Err(broken(error.to_string())),
            };
            if n == 0 {
                break;
            }
            here += n as u64;
            if here > size {
                break;
            }
            part.write_all(&piece[..n]).map_err(local())?;
            task.advance(n as u64);
        }
        if here != size {
            fs::remove_file(path).ok();
            return Err(Failure::Length { file: name.into(), expected: size, found: here });
        }
        part.sync_all().map_err(local())?;
        Ok(stated)
    }

    /// The size and hash of a file by the list of files and by its own answer, which may not contradict each other.
    fn agreed(&self, name: &str, known: &FileInfo, answer: &Answer) -> Result<FileInfo, Failure> {
        let contradiction = |what: &'static str, first: String, second: String| Failure::Contradiction {
            file: name.into(),
            what,
            first,
            second,
        };
        let stated = answer.stated();
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        let mut size = known.size;
        for other in
            [stated.size, answer.range().map(|(_, whole)| whole), length.filter(|_| answer.status() == 200)]
                .into_iter()
                .flatten()
        {
            match size {
                Some(size) if size != other => {
                    return Err(contradiction("length", size.to_string(), other.to_string()));
                }
                _ => size = Some(other),
            }
        }
        let hash = match (&known.hash, stated.hash) {
            // A tag of the other kind, git's of a pointer for instance, says nothing of the content.
            (Some(known), Some(other)) if known.len() == other.len() && *known != other => {
                return Err(contradiction("hash", known.clone(), other));
            }
            (Some(known), _) => Some(known.clone()),
            (None, other) => other,
        };
        Ok(FileInfo { hash, size })
    }

    fn refusal(&self, name: &str, status: u16) -> Failure {
        let (url, token) = (self.id.url(self.environment), self.environment.token.is_some());
        match status {
            401 | 403 => Failure::Gated { url, status, token },
            404 => Failure::NotFound { url, what: format!("file `{name}`") },
            _ => Failure::Status { status, what: format!("`{name}`") },
        }
    }

    /// Checks that a file is the one that the hub states.
    fn check(&self, name: &str, stated: &FileInfo, path: &Path) -> Result<(), Failure> {
        let file = || name.to_string();
        let found = fs::metadata(path).map_err(Error::io(path, "open the file"))?.len();
        if let Some(expected) = stated.size.filter(|size| *size != found) {
            return Err(Failure::Length { file: file(), expected, found });
        }
        let Some(expected) = stated.hash.clone() else { return Ok(()) };
        let title = format!("verifying {}/{name}", self.id.repository);
        let task = self.progress.begin(&title, Some(found), Unit::Bytes);
        let (kind, found) = match expected.len() {
            40 => ("SHA-1 (git's)", git_sha1_of(path, |bytes| task.advance(bytes))?),
            _ => ("SHA-256", sha256_of(path, |bytes| task.advance(bytes))?),
        };
        if found == expected { Ok(()) } else { Err(Failure::Hash { file: file(), kind, expected, found }) }
    }
}
