//! Files: read where they are the files that they should be, and written whole or not at all.

mod open_file;
mod stand_in;
mod tensors;

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{BufWriter, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{Error, Result};
pub use open_file::{Identity, OpenFile};
pub use stand_in::{START, StandIn, open_data, open_real, refuse_stand_in, unfinished_beside};
pub use tensors::{Entry, write_numbers, write_tensors};

/// The beginning of temporary files' names: one that is left over belongs to a write that was cut off.
pub const TEMPORARY_PREFIX: &str = ".strait-";

/// Writes a file as a whole or not at all, as [`write_atomically`] does.
///
/// # Errors
/// Any refusal of the file system; `path` is then as it was before.
pub fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    write_atomically(path, |file| file.write_all(contents.as_ref()))
}

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

/// Fills a new folder under another name beside it, then gives it its own: the folder is whole or absent.
///
/// # Errors
/// If something lies in a folder of that name, the file system refuses, or what `fill` returns.
pub fn write_folder<T, E: From<Error>>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let refused = |error| E::from(Error::io(folder, "write the folder")(error));
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(refused)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let temporary = builder.tempdir_in(parent).map_err(refused)?;
    let filled = fill(temporary.path())?;
    // An empty folder of that name may be there; some systems rename onto none.
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refused(error)),
        _ => {}
    }
    std::fs::rename(temporary.path(), folder).map_err(refused)?;
    // Nothing is left under the other name.
    let _ = temporary.keep();
    Ok(filled)
}

/// A temporary file with the permissions of any other new file; the default would hide results from colleagues.
fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Opens a file to read it. What is no file is refused by name: a FIFO would be waited for, a device may never end, a folder
/// fails only when it is read.
///
/// # Errors
/// If the file cannot be opened, or is none.
pub fn open_regular(path: &Path) -> Result<File> {
    let refused = || Error::io(path, "open the file");
    // Looked at before, since opening may wait or act; and after, since it may be another by then.
    must_be_a_file(path, &std::fs::metadata(path).map_err(refused())?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    let file = options.open(path).map_err(refused())?;
    must_be_a_file(path, &file.metadata().map_err(refused())?)?;
    Ok(file)
}

/// The whole of a file, which [`open_regular`] opens.
///
/// # Errors
/// If the file cannot be read, is none, or is longer than `most` bytes.
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path, "read the file"))?;
    if bytes.len() as u64 > most {
        return Err(Error::TooLarge { path: path.into(), limit: most });
    }
    Ok(bytes)
}

fn must_be_a_file(path: &Path, found: &Metadata) -> Result<()> {
    match what_else(found) {
        None => Ok(()),
        Some(found) => Err(Error::NotAFile { path: path.into(), found }),
    }
}

/// The kind of a thing of the file system, with its article, if it is no file.
fn what_else(found: &Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_file() {
        return None;
    }
    if kind.is_dir() {
        return Some("a folder");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a pipe (FIFO)");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_char_device() || kind.is_block_device() {
            return Some("a device");
        }
    }
    Some("something else")
}

/// SHA-256 of a file, in lower-case hexadecimal. `seen` is called with the size of each piece read.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256_of(path: &Path, mut seen: impl FnMut(u64)) -> Result<String> {
    let mut file = open_regular(path)?;
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
        write(&path, b"old").unwrap();
        let failed = write_atomically(&path, |f| {
            f.write_all(b"new")?;
            Err(std::io::ErrorKind::StorageFull.into())
        });
        assert!(failed.unwrap_err().hint().unwrap().contains("disk is full"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_named_at_once() {
        use std::os::unix::net::UnixListener;

        let folder = tempfile::tempdir().unwrap();
        let [fifo, socket, file, link] =
            ["fifo", "socket", "file", "link"].map(|name| folder.path().join(name));
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        let _listens = UnixListener::bind(&socket).unwrap();
        std::fs::write(&file, "abc").unwrap();
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        for (path, found) in [
            (fifo.as_path(), "a pipe (FIFO)"),
            (&link, "a pipe (FIFO)"),
            (&socket, "a socket"),
            (folder.path(), "a folder"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let error = open_regular(path).unwrap_err();
            assert_eq!(error.to_string(), format!("`{}`: this is {found}, not a file", path.display()));
            assert!(error.hint().is_some());
        }
        assert_eq!(read_regular(&file, 3).unwrap(), b"abc");
        let error = read_regular(&file, 2).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}`: it is longer than 2 bytes", file.display()));
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
