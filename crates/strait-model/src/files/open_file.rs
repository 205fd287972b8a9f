//! Files that must not change while they are read.
//!
//! They are read at their places from one handle, which stays the same file whatever happens to its name, and what the system
//! says of the file tells at the end whether someone wrote to it or put another in its place. Weights that stay in their file are
//! mapped into memory: where a mapped file is cut, the system ends the process.

use std::{
    fs::{File, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::{START, StandIn, hex, open_regular, refuse_stand_in};
use crate::{Error, Result};

/// Bytes that are hashed at once.
const PIECE: usize = 1 << 20;

/// The system's marks by which one state of a file is told from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Device and inode, where the system has them.
    place: Option<(u64, u64)>,
    length: u64,
    modified: Option<SystemTime>,
}

impl Identity {
    /// The state of the file at `path`; `None` where there is none.
    pub fn of(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|metadata| Self::new(&metadata))
    }

    fn new(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let place = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let place = None;
        Self { place, length: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// A file held open, with its state when it was opened.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    file: File,
    identity: Identity,
    map: OnceLock<Arc<Mmap>>,
}

impl OpenFile {
    /// Opens a file; `read` are the stand-ins that the caller can read, see [`refuse_stand_in`].
    ///
    /// # Errors
    /// If there is no such file, or something else in its place.
    pub fn open(path: &Path, read: &[StandIn]) -> Result<Self> {
        let file = open_regular(path)?;
        let identity = Identity::new(&file.metadata().map_err(Error::io(path, "open the file"))?);
        let pinned = Self { path: path.into(), file, identity, map: OnceLock::new() };
        refuse_stand_in(path, &pinned.start(START)?, read)?;
        Ok(pinned)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes when it was opened.
    pub fn length(&self) -> u64 {
        self.identity.length
    }

    /// Its first bytes, `most` or as many as there are.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn start(&self, most: usize) -> Result<Vec<u8>> {
        let length = usize::try_from(self.length()).unwrap_or(usize::MAX).min(most);
        let mut start = vec![0; length];
        self.read_at(0, &mut start)?;
        Ok(start)
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// If the file cannot be read, or has become shorter.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        read_exact_at(&self.file, offset, bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => Error::io(&self.path, "read the file")(error),
        })
    }

    /// The file mapped into memory. If it is written to while it is mapped, its numbers change; if it is cut, the system ends the
    /// process when they are read.
    ///
    /// # Errors
    /// If it cannot be mapped, or has become shorter.
    pub fn map(&self) -> Result<&Arc<Mmap>> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        // SAFETY: nothing here writes to the file. What others do to it is said above, and that any bytes are numbers keeps it from
        // being worse.
        let map = unsafe { Mmap::map(&self.file) }.map_err(Error::io(&self.path, "map the file"))?;
        if map.len() as u64 != self.length() {
            return Err(self.changed());
        }
        Ok(self.map.get_or_init(|| Arc::new(map)))
    }

    /// SHA-256 of the whole file, in lower-case hexadecimal. `seen` is called with the size of each piece read.
    ///
    /// # Errors
    /// If the file cannot be read, or was changed since it was opened.
    pub fn sha256(&self, mut seen: impl FnMut(u64)) -> Result<String> {
        let mut digest = Sha256::new();
        let mut piece = vec![0; PIECE];
        let mut offset = 0;
        while offset < self.length() {
            let length = (self.length() - offset).min(PIECE as u64);
            let piece = &mut piece[..length as usize];
            self.read_at(offset, piece)?;
            digest.update(&piece);
            offset += length;
            seen(length);
        }
        self.check()?;
        Ok(hex(&digest.finalize()))
    }

    /// Refuses a file that was written to since it was opened, or whose name leads to another by now.
    ///
    /// # Errors
    /// [`Error::Changed`].
    pub fn check(&self) -> Result<()> {
        let held = self.file.metadata().map_err(Error::io(&self.path, "look at the file"))?;
        let same = Identity::new(&held) == self.identity
            && Identity::of(&self.path).as_ref() == Some(&self.identity);
        if same { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> Error {
        Error::Changed { path: self.path.clone() }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (offset, bytes) = (offset + n as u64, &mut bytes[n..]),
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    fn pinned(content: &[u8]) -> (tempfile::TempDir, PathBuf, OpenFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        fs::write(&path, content).unwrap();
        let pinned = OpenFile::open(&path, &[]).unwrap();
        (folder, path, pinned)
    }

    #[test]
    fn what_is_read_is_what_was_opened() {
        let (_folder, path, pinned) = pinned(b"abc");
        let mut two = [0; 2];
        pinned.read_at(1, &mut two).unwrap();
        assert_eq!(&two, b"bc");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(pinned.sha256(|_| ()).unwrap(), expected);
        // Another file under its name: the handle still reads the first, and the check says so.
        let other = path.with_extension("new");
        fs::write(&other, "xyz").unwrap();
        fs::rename(&other, &path).unwrap();
        pinned.read_at(1, &mut two).unwrap();
        assert_eq!(&two, b"bc");
        assert!(matches!(pinned.sha256(|_| ()), Err(Error::Changed { .. })));
    }

    /// A change to a file behind the reader's back.
    type Change = (&'static str, fn(&Path));

    #[test]
    fn every_change_is_noticed() {
        let changes: [Change; 4] = [
            ("cut", |path| fs::File::options().write(true).open(path).unwrap().set_len(2).unwrap()),
            ("longer", |path| {
                fs::File::options().append(true).open(path).unwrap().write_all(b"d").unwrap();
            }),
            ("removed", |path| fs::remove_file(path).unwrap()),
            ("touched", |path| {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            }),
        ];
        for (what, change) in changes {
            let (_folder, path, pinned) = pinned(b"abc");
            pinned.check().unwrap();
            change(&path);
            let said = pinned.check().expect_err(what);
            assert!(said.to_string().contains("was changed or replaced"), "{what}: {said}");
            if what == "cut" {
                assert!(matches!(pinned.read_at(0, &mut [0; 3]), Err(Error::Changed { .. })));
            }
        }
    }
}
