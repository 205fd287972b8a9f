//! The files of a tokenizer's folder.

use std::{io::Read, path::Path};

use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::{
    Error, Result,
    files::{open_data, open_real},
    json,
};

/// Longest of the other files, in bytes. A `tokenizer_config.json` may list each added token.
const MAX_CONFIG: u64 = 1 << 24;

/// The value in a JSON file, if the file is there.
pub(super) fn read_json<T: DeserializeOwned>(folder: &Path, file: &'static str) -> Result<Option<T>> {
    let Some(bytes) = read_file(folder, file, MAX_CONFIG)? else { return Ok(None) };
    parse(folder, file, &bytes).map(Some)
}

pub(super) fn parse<T: DeserializeOwned>(folder: &Path, file: &'static str, bytes: &[u8]) -> Result<T> {
    json::from_slice(bytes).map_err(|source| Error::input(folder, Problem::Json { file, source }))
}

/// A file's bytes, if it is there.
pub(super) fn read_file(folder: &Path, file: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let path = folder.join(file);
    // A template may be any text, and empty.
    let opened = if file.ends_with(".json") { open_real(&path, &[]) } else { open_data(&path) };
    let opened = match opened {
        Ok(opened) => opened,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    opened.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read the file"))?;
    if bytes.len() as u64 > limit {
        return Err(Error::input(folder, Problem::FileTooLong { file: file.into(), limit }));
    }
    Ok(Some(bytes))
}
