//! Unpacking an archive into a folder: all of its files, or none.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use strait_model::{
    Error as FileError,
    files::{self, TEMPORARY_PREFIX},
};
use tempfile::TempDir;

use super::{Archive, MAX_UNPACKED, Problem, stays_inside, wrap};
use crate::Result;

/// Writes the files of an archive under `folder`, which is created where it is absent, and returns their paths.
///
/// All of them are unpacked into a temporary folder, and moved where they belong once the last one is whole: after an error
/// nothing is left, and the same can be tried again.
///
/// # Errors
/// If the archive cannot be decrypted, is damaged, a member's name leads out of the folder, a file exists already, or the
/// file system refuses.
pub fn unprotect(archive: &Path, password: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    Archive::open(archive, password)?.unpack(folder)
}

impl Archive {
    /// Writes every file under `folder`; see [`unprotect`].
    pub(super) fn unpack(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        self.check(folder).map_err(|problem| wrap(&self.path, problem))?;
        let is_new = folder.symlink_metadata().is_err();
        let staged = staging_folder(folder, is_new)?;
        for member in &self.members {
            let bytes = self.read(member)?;
            files::write(&staged.path().join(member), &bytes)?;
        }
        match is_new {
            true => {
                fs::rename(staged.path(), folder).map_err(FileError::io(folder, "create the folder"))?;
                // It lies elsewhere now: there is nothing to remove.
                _ = staged.keep();
            }
            false => Moved::default().all(&self.members, staged.path(), folder)?,
        }
        Ok(self.members.iter().map(|member| folder.join(member)).collect())
    }

    /// Checks that every member may become a file under `folder`, beside the others.
    fn check(&self, folder: &Path) -> Result<(), Problem> {
        let mut zip = self.zip.clone();
        let mut total: u64 = 0;
        // Some file systems make no difference between small letters and capitals.
        let key = |name: &str| name.to_lowercase();
        let mut names = BTreeMap::new();
        for member in &self.members {
            let file = zip.by_name(member).map_err(Problem::Zip)?;
            if file.is_symlink() || !stays_inside(member) {
                return Err(Problem::Escapes { member: member.clone() });
            }
            if file.unix_mode().is_some_and(|mode| !matches!(mode & KIND, 0 | REGULAR)) {
                return Err(Problem::Special { member: member.clone() });
            }
            total = total.saturating_add(file.size());
            if let Some(other) = names.insert(key(member), member) {
                return Err(Problem::Clash { member: member.clone(), other: other.clone() });
            }
            refuse_what_is_there(member, folder)?;
        }
        let limit = self.limit.min(MAX_UNPACKED);
        if total > limit {
            return Err(Problem::UnpacksTooLarge { size: total, limit });
        }
        for member in &self.members {
            let above = folders_of(member).find_map(|above| names.get(&key(above)));
            if let Some(other) = above {
                return Err(Problem::Clash { member: member.clone(), other: other.to_string() });
            }
        }
        Ok(())
    }
}

/// The bits of a Unix mode for the type of a file, and those of a regular file.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// The folders that a member lies in, the outermost last: `a/b` and `a` of `a/b/c`.
fn folders_of(member: &str) -> impl Iterator<Item = &str> {
    member.rmatch_indices('/').map(|(at, _)| &member[..at])
}

/// Refuses a member that would lie over a file, or behind a link that leads elsewhere.
fn refuse_what_is_there(member: &str, folder: &Path) -> Result<(), Problem> {
    let path = folder.join(member);
    if path.symlink_metadata().is_ok() {
        return Err(Problem::Exists { path });
    }
    for above in folders_of(member) {
        let path = folder.join(above);
        if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            return Err(Problem::Exists { path });
        }
    }
    Ok(())
}

/// A folder to unpack into, on the file system of the one that is meant, with the permissions of any other new folder.
fn staging_folder(folder: &Path, is_new: bool) -> Result<TempDir> {
    let beside = match folder.parent() {
        _ if !is_new => folder,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(beside).map_err(FileError::io(beside, "create the folder"))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    Ok(builder.tempdir_in(beside).map_err(FileError::io(folder, "write the folder"))?)
}

/// Files that were moved, and folders that were made for them; unless all of them came through, they are removed again.
#[derive(Default)]
struct Moved {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Moved {
    fn all(mut self, members: &[String], from: &Path, to: &Path) -> Result<()> {
        for member in members {
            let mut above: Vec<&str> = folders_of(member).collect();
            above.reverse();
            for above in above {
                let path = to.join(above);
                if !path.is_dir() {
                    fs::create_dir(&path).map_err(FileError::io(&path, "create the folder"))?;
                    self.folders.push(path);
                }
            }
            let path = to.join(member);
            fs::rename(from.join(member), &path).map_err(FileError::io(&path, "write the file"))?;
            self.files.push(path);
        }
        self.files.clear();
        self.folders.clear();
        Ok(())
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        // An error is on its way to the user already.
        self.files.iter().for_each(|file| _ = fs::remove_file(file));
        self.folders.iter().rev().for_each(|folder| _ = fs::remove_dir(folder));
    }
}
