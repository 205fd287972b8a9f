//! Files of lines that are written one behind the other: one process writes at a time, and what a killed one left of its last line
//! is cut off.

use std::{
    fs::{File, TryLockError},
    io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom},
    path::Path,
};

use strait_model::{Error as FileError, files::open_regular};

use crate::{Error, Result};

/// Opens such a file, or makes it where there is none, and locks it against others.
///
/// # Errors
/// `in_use` where another process holds it, or if the file system refuses.
pub fn open(path: &Path, in_use: impl FnOnce() -> Error) -> Result<File> {
    let io = |error: io::Error| FileError::io(path, "open the file")(error);
    if path.exists() {
        open_regular(path)?;
    } else if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(FileError::io(folder, "create the folder"))?;
    }
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(in_use()),
        // A file system without locks has one writer, we hope.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(io(error).into()),
    }
}

/// Gives each whole line, with its number counted from 1 and its line break, cuts off what stands behind them, and goes to the end.
///
/// # Errors
/// What `take` returns: then nothing is cut off. Or if the file system refuses.
pub fn read_lines(
    mut file: &File,
    path: &Path,
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let io = |error: io::Error| FileError::io(path, "read the file")(error);
    let (mut reader, mut line, mut end) = (BufReader::new(file), Vec::new(), 0);
    for number in 1.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(io)? as u64;
        if line.last() != Some(&b'\n') {
            break;
        }
        take(number, &line)?;
        end += read;
    }
    file.set_len(end).map_err(io)?;
    file.seek(SeekFrom::Start(end)).map_err(io)?;
    Ok(())
}
