//! Files and folders that keys name: their paths, and the names by which others may know them.

use std::{
    ffi::OsStr,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strait_model::Error as FileError;

use super::{At, Checked, Fault, Problem};
use crate::Result;

/// A file or folder that a key names: its path on this machine, and its name in everything that is handed on.
///
/// The name alone is written down, so that no resolved study, report or edit says where its author keeps things: a relative
/// path as the key has it, of any other its last part. Hashes say which file it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    shown: String,
}

impl Place {
    /// The file or folder at `path`, for which the key says `written`.
    pub fn new(path: PathBuf, written: &str) -> Self {
        let shown = shareable(Path::new(written)).unwrap_or_else(|| written.into());
        Self { path, shown }
    }

    /// A name that is no path, such as that of a model on the hub.
    pub fn named(name: &str) -> Self {
        Self { path: name.into(), shown: name.into() }
    }

    /// Its path on this machine.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name for others.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::named(&String::deserialize(deserializer)?))
    }
}

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

    /// The fault that a file, or a thing of another `kind`, is not there.
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

/// A path without the folders of its own machine: relative as it is, else its last part; none where it has no parts.
pub fn shareable(path: &Path) -> Option<String> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let shown: PathBuf = match path.is_absolute() || path.starts_with("~") {
        true => PathBuf::from(path.file_name()?),
        false => parts.collect(),
    };
    (!shown.as_os_str().is_empty()).then(|| shown.to_string_lossy().into_owned())
}

/// The last part of a path, for a file whose folder is nobody's business.
pub fn last_part(path: &Path) -> String {
    path.file_name().unwrap_or(OsStr::new("")).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_down_without_its_machine() {
        for (written, shown) in [
            ("rows.jsonl", "rows.jsonl"),
            ("./rows/a.jsonl", "rows/a.jsonl"),
            ("../data/a.jsonl", "../data/a.jsonl"),
            ("/srv/of-somebody/data/a.jsonl", "a.jsonl"),
            ("/srv/of-somebody/model/", "model"),
            ("~/models/m", "m"),
            (".", "."),
        ] {
            let place = Place::new("/anywhere".into(), written);
            assert_eq!(place.shown(), shown);
            assert_eq!(serde_json::to_value(&place).unwrap(), shown);
        }
        assert_eq!(Place::named("org/name@main").shown(), "org/name@main");
    }
}
