//! Files: whole or absent when written, and what they claim to be when read.

mod stand_in;

use std::{
    fs::File,
    io::{BufWriter, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{Error, Result};
pub use stand_in::{START, StandIn, open, open_real, refuse_stand_in, unfinished_beside};

/// What the names of temporary files begin with: one that is left over belongs to a write that was cut off.
pub const TEMPORARY_PREFIX: &str = ".strait-";

/// Writes `path` as a whole or not at all: into a temporary file beside it, flushed to disk, then renamed.
///
/// # Errors
/// Any refusal of the file system; `path` is then as it was before.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))?;
    let temporary = temporary_in(folder).map_err(Error::io(path, "write the file"))?;
    let mut writer = BufWriter::with_capacity(1 << 16, temporary.as_file());
    write(&mut writer)
        .and_then(|()| writer.flush())
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(Error::io(path, "write the file"))?;
    drop(writer);
    temporary.persist(path).map_err(|e| Error::io(path, "write the file")(e.error))?;
    // A rename is durable only once its folder is on disk; some file systems cannot sync a folder.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().ok();
    }
    Ok(())
}

/// A temporary file with the permissions of any other new file; the default would hide results from colleagues.
fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// SHA-256 of a file, in lower-case hexadecimal. `seen` is called with the size of each piece read.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256_of(path: &Path, mut seen: impl FnMut(u64)) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path, "open the file"))?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut piece).map_err(Error::io(path, "read the file"))?;
        if n == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&piece[..n]);
        seen(n as u64);
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        write_atomically(&path, |f| f.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |f| {
            f.write_all(b"new")?;
            Err(std::io::ErrorKind::StorageFull.into())
        });
        assert!(failed.unwrap_err().hint().unwrap().contains("disk is full"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn sha256_of_a_known_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of(&path, |_| ()).unwrap(), expected);
    }
}
