//! Where the paths of a file start.

use std::path::{Component, Path, PathBuf};

use strait_model::Error as FileError;

use super::{At, Checked, Fault, Problem};
use crate::{Result, place::Place};

/// The folder of a file, at which the paths in it start.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Absolute and free of links.
    path: PathBuf,
}

impl Folder {
    /// The folder of `file`.
    ///
    /// # Errors
    /// If it is not there.
    pub fn of(file: &Path) -> Result<Self> {
        let parent = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let path = parent.canonicalize().map_err(FileError::io(parent, "find the folder of the study"))?;
        Ok(Self { path })
    }

    /// The folder's own path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that `key` names.
    ///
    /// # Errors
    /// If it is not there.
    pub fn file(&self, key: &str, written: &At<String>) -> Checked<Place> {
        let path = self.absolute(&written.value);
        match path.is_file() {
            true => Ok(Place::new(path, &written.value)),
            false => Err(self.missing(key, "file", written)),
        }
    }

    /// The fault that a file, or what else `kind` says, is not there.
    pub fn missing(&self, key: &str, kind: &'static str, written: &At<String>) -> Fault {
        let (key, looked) = (key.to_string(), self.absolute(&written.value));
        written.fault(Problem::NoFile { key, kind, written: written.value.clone(), looked })
    }

    /// A path from this folder. Leading `..` are resolved, which is safe as the folder is free of links; later ones stay,
    /// for what precedes them may be a link.
    pub fn absolute(&self, written: &str) -> PathBuf {
        let mut path = self.path.clone();
        let mut leading = true;
        for component in Path::new(written).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir if leading => _ = path.pop(),
                other => {
                    leading = false;
                    path.push(other);
                }
            }
        }
        path
    }
}
