//! Sources of rows.

use std::{
    ffi::OsString,
    fmt,
    io::{Cursor, Read},
    path::PathBuf,
};

use strait_model::files::open_data;

use super::Archive;
use crate::Result;

/// A file of rows, on disk or inside a protected archive.
#[derive(Clone, PartialEq)]
pub enum RowSource {
    /// A file.
    File(PathBuf),
    /// A member of an easy-dataset-share archive, decrypted in memory only.
    Archive {
        /// The archive.
        archive: PathBuf,
        /// Its password, which neither `Debug` nor any error shows.
        password: String,
        /// The member's name.
        member: String,
    },
    /// Lines that stand in no file.
    Lines {
        /// Their name in errors.
        name: String,
        /// The lines.
        text: String,
    },
}

impl RowSource {
    /// Its name in errors: the file, the archive, a colon and the member, or the name of the lines.
    pub fn place(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Archive { archive, member, .. } => {
                let mut place = OsString::from(archive);
                place.push(":");
                place.push(member);
                place.into()
            }
            Self::Lines { name, .. } => name.into(),
        }
    }

    /// Its bytes as they are stored: a file is read as they are asked for, a member is decrypted at once.
    ///
    /// # Errors
    /// If the file, the archive or the member cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Read>> {
        match self {
            Self::File(path) => Ok(Box::new(open_data(path)?)),
            Self::Archive { archive, password, member } => {
                let bytes = Archive::open(archive, password)?.read(member)?;
                Ok(Box::new(Cursor::new(bytes)))
            }
            Self::Lines { text, .. } => Ok(Box::new(Cursor::new(text.clone().into_bytes()))),
        }
    }
}

impl fmt::Debug for RowSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Archive { archive, member, .. } => f
                .debug_struct("Archive")
                .field("archive", archive)
                .field("member", member)
                .finish_non_exhaustive(),
            Self::Lines { name, .. } => f.debug_struct("Lines").field("name", name).finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let source = RowSource::Archive {
            archive: "a.zip.enc".into(),
            password: "hunter2".into(),
            member: "rows.jsonl".into(),
        };
        assert_eq!(format!("{source:?}"), r#"Archive { archive: "a.zip.enc", member: "rows.jsonl", .. }"#);
        assert_eq!(source.place(), Path::new("a.zip.enc:rows.jsonl"));
    }
}
