//! The hub's cache, in the layout that Hugging Face's tools share: blobs by their hash, snapshots that point to them, and
//! the commit of every branch.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{CONFIG, HubId, INDEX, Snapshot, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS, is_commit, is_plain_path};
use crate::{
    Error, Result, files, json,
    source::{Environment, Failure},
};

/// An index of weights larger than this is not one: that of a model with 100,000 tensors has 10 MB.
const INDEX_LIMIT: u64 = 64 << 20;

/// The model, where the hub's cache has all of it.
pub(in crate::source) fn cached(id: &HubId, environment: &Environment) -> Result<Snapshot, Failure> {
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
pub(super) fn no_exist(repository_folder: &Path, commit: &str) -> PathBuf {
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
pub(super) fn shards(index: &Path) -> Result<BTreeSet<String>, Failure> {
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
    let index: Index = json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
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

/// Records that a branch or tag of the hub was this commit.
pub(super) fn record(folder: &Path, revision: &str, commit: &str) -> Result<()> {
    files::write(&folder.join("refs").join(revision), commit)
}

/// Lets a file of a snapshot lead to its blob: by a link, or where there are none by the blob itself.
pub(super) fn link(blob: &Path, path: &Path, depth: usize) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))?;
    let name = blob.file_name().unwrap_or_default();
    let target: PathBuf = std::iter::repeat_n("..", depth).collect::<PathBuf>().join("blobs").join(name);
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(target, path);
    #[cfg(windows)]
    let linked = std::os::windows::fs::symlink_file(target, path);
    linked.or_else(|_| fs::rename(blob, path)).map_err(Error::io(path, "put the file in its place"))
}

/// Removes a file of a snapshot together with the blob that it points to.
pub(super) fn remove(path: &Path) {
    if let Ok(blob) = fs::canonicalize(path) {
        fs::remove_file(blob).ok();
    }
    fs::remove_file(path).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

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
