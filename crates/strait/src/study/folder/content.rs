//! The content of a folder: a run of this study, of another one, or something else.

use std::{fs::DirEntry, io::ErrorKind, path::Path};

use strait_model::{Error as FileError, files::TEMPORARY_PREFIX};

use super::{Problem, lock::LOCK, records::read_run};
use crate::Result;

/// Refuses a folder in which a run of this study has no place.
pub(super) fn belongs_to(path: &Path, study: &str) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(Problem::NotAFolder.at(path));
    }
    match read_run(path)? {
        Some(run) if run.study != study => {
            Err(Problem::OtherStudy { expected: study.into(), found: run.study }.at(path))
        }
        Some(_) => Ok(()),
        None => match foreign_entry(path)? {
            Some(entry) => Err(Problem::Foreign { entry }.at(path)),
            None => Ok(()),
        },
    }
}

/// Something in the folder that is not the beginning of a run.
fn foreign_entry(path: &Path) -> Result<Option<String>> {
    for entry in entries(path)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != LOCK && !name.starts_with(TEMPORARY_PREFIX) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Removes the temporary files of writes that were cut off, in the folder and below.
pub(super) fn remove_temporary_files(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let path = entry.path();
        let kind = entry.file_type().map_err(FileError::io(&path, "look at the file"))?;
        if kind.is_dir() {
            remove_temporary_files(&path)?;
        } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            std::fs::remove_file(&path).map_err(FileError::io(&path, "remove the temporary file"))?;
        }
    }
    Ok(())
}

/// The entries of a folder, in the order of names; none if it is not there.
fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect),
    };
    let mut entries: Vec<_> = entries.map_err(FileError::io(folder, "read the folder"))?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}
