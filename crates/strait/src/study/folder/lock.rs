//! The lock of a run folder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    time::Duration,
};

use strait_model::{Error as FileError, files::open_regular};

use super::{Problem, records::is_absent};
use crate::Result;

pub(super) const LOCK: &str = ".lock";

/// Takes the lock of a folder.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(FileError::io(&path, "write the lock"))?;
    let mut patience = LOCK_TRIES;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(FileError::io(path, "lock the folder")(error).into());
            }
            Err(TryLockError::WouldBlock) if patience == 0 => return Err(Problem::Locked.at(folder)),
            Err(TryLockError::WouldBlock) => {
                patience -= 1;
                std::thread::sleep(LOCK_PAUSE);
            }
        }
    }
}

/// Asking for the status holds the lock for an instant, which must not turn a run away.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// True if a process holds the lock of a folder.
pub(super) fn is_held(folder: &Path) -> Result<bool> {
    let path = folder.join(LOCK);
    let file = match open_regular(&path) {
        Err(FileError::Io { source, .. }) if is_absent(&source) => return Ok(false),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(FileError::io(path, "look at the lock")(error).into()),
    }
}
