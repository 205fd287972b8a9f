//! Protected archives in easy-dataset-share's layout: sixteen bytes of salt, then a Fernet token of a zip.
//!
//! Authors share harmful data in them so that it is neither crawled nor trained on by accident. They are decrypted in
//! memory; only [`unprotect`] writes what they hold. [`protect`] makes one.

mod problem;
mod unpack;

use std::{
    collections::BTreeMap,
    fmt,
    io::{Cursor, Read, Write},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use fernet::Fernet;
use sha2::Sha256;
use strait_model::{
    files::{self, open_data, open_regular},
    guard::caught,
};
use zip::{DateTime, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

pub use problem::Problem;
pub use unpack::unprotect;

use super::words::listed;
use crate::{Error, Result};

/// The largest archive read, in bytes: decryption holds it in memory several times.
pub const MAX_ARCHIVE: u64 = 1 << 30;
/// The largest member unpacked, in bytes.
pub const MAX_MEMBER: u64 = 1 << 30;
/// The most bytes that [`unprotect`] writes.
pub const MAX_UNPACKED: u64 = 4 << 30;
/// The times that a member, and all of them together, may be larger than the zip, beyond [`ALWAYS_UNPACKED`]: more is not text.
const MAX_RATIO: u64 = 200;
/// Bytes that any zip may unpack to.
const ALWAYS_UNPACKED: u64 = 64 << 20;
/// The most members of an archive.
pub const MAX_MEMBERS: usize = 100_000;

/// Bytes of salt before the token.
const SALT: usize = 16;
/// Rounds of PBKDF2-HMAC-SHA256 between password and key.
const ROUNDS: u32 = 100_000;
/// Bytes of the key: half signs, half encrypts.
const KEY: usize = 32;
/// The shortest token in base64: version, time, initial vector, one block and signature are 73 bytes.
const SHORTEST_TOKEN: usize = 100;
/// The start of a token: its version byte and the upper bytes of a time before the year 2106.
const TOKEN_START: &[u8] = b"gAAAA";

/// An archive decrypted in memory.
pub struct Archive {
    path: PathBuf,
    zip: Zip,
    members: Vec<String>,
    /// Bytes that a zip of its size may unpack to.
    limit: u64,
}

type Zip = ZipArchive<Cursor<Arc<[u8]>>>;

impl Archive {
    /// Decrypts an archive.
    ///
    /// # Errors
    /// If the file cannot be read, is no protected archive, is damaged, or has another password.
    pub fn open(path: &Path, password: &str) -> Result<Self> {
        let protected = read_bounded(path)?;
        Self::of(path, decrypt(&protected, password).map_err(|problem| wrap(path, problem))?)
    }

    /// The archive at `path` that holds this zip.
    fn of(path: &Path, zip: Vec<u8>) -> Result<Self> {
        let length = zip.len() as u64;
        let open = || {
            let zip = open_zip(zip)?;
            let members = members(&zip)?;
            Ok((zip, members))
        };
        let opened = caught(open).unwrap_or_else(|panic| Err(Problem::Reader(panic)));
        let (zip, members) = opened.map_err(|problem| wrap(path, problem))?;
        let limit = length.saturating_mul(MAX_RATIO).saturating_add(ALWAYS_UNPACKED);
        Ok(Self { path: path.into(), zip, members, limit })
    }

    /// The names of its files, in the zip's order.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// The bytes of one file.
    ///
    /// # Errors
    /// If there is no such member, it is too large, or it is damaged.
    pub fn read(&self, member: &str) -> Result<Vec<u8>> {
        // A clone shares the bytes and the directory; reading needs a cursor of its own.
        let limit = self.limit.min(MAX_MEMBER);
        let read = caught(|| read_member(&mut self.zip.clone(), member, &self.members, limit));
        let read = read.unwrap_or_else(|panic| Err(Problem::Reader(panic)));
        read.map_err(|problem| wrap(&self.path, problem))
    }
}

impl fmt::Debug for Archive {
    /// The contents stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("path", &self.path)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// Writes files, and all files of folders, as a protected archive, and returns the names of its members.
///
/// A member is named as its file was, below the folder it was named from: `rows/a.jsonl` stays so. Of a path that is
/// absolute or leads upwards only what follows it is kept, with its last name: `/home/me/rows` gives `rows/a.jsonl`. The
/// zip depends on names and contents alone: members are sorted, and bear no time. Salt and initial vector are random.
///
/// # Errors
/// If there is no file, one cannot be read or named, two have one name, they are too large together, or `out` exists;
/// nothing is written then.
pub fn protect(files: &[PathBuf], password: &str, out: &Path) -> Result<Vec<String>> {
    let members = gathered(files)?;
    check_members(&members, out).map_err(|problem| wrap(out, problem))?;
    let archive = encrypt(&zipped(&members, out)?, password);
    if archive.len() as u64 > MAX_ARCHIVE {
        return Err(wrap(out, Problem::TooMuch { limit: MAX_ARCHIVE }));
    }
    files::write(out, &archive)?;
    Ok(members.into_keys().collect())
}

/// The members that these files and folders make, by name.
fn gathered(files: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>> {
    let mut members = BTreeMap::new();
    for path in files {
        gather(path, &name_of(path), &mut members)?;
    }
    Ok(members)
}

/// The path below which a file or folder that the user named goes into an archive; empty for `.` and `..`.
fn name_of(path: &Path) -> PathBuf {
    let downwards = |part: &Component| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().all(|part| downwards(&part)) {
        path.components().filter(|part| *part != Component::CurDir).collect()
    } else {
        path.file_name().map(PathBuf::from).unwrap_or_default()
    }
}

/// Puts a file, or the files of a folder, under their names among the members.
fn gather(path: &Path, name: &Path, members: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let reading = |error| strait_model::Error::io(path, "read the file to protect")(error);
    let kind = path.metadata().map_err(reading)?;
    if kind.is_dir() {
        for entry in path.read_dir().map_err(reading)? {
            let entry = entry.map_err(reading)?;
            let inside = entry.path();
            // Such a link may lead back to where it stands.
            if entry.file_type().map_err(reading)?.is_symlink() && inside.is_dir() {
                return Err(wrap(&inside, Problem::NotAFile));
            }
            gather(&inside, &name.join(entry.file_name()), members)?;
        }
        return Ok(());
    }
    if !kind.is_file() {
        return Err(wrap(path, Problem::NotAFile));
    }
    let parts: Option<Vec<_>> = name.iter().map(|part| part.to_str()).collect();
    let member = parts.map(|parts| parts.join("/")).filter(|member| stays_inside(member));
    let member = member.ok_or_else(|| wrap(path, Problem::Name))?;
    match members.insert(member.clone(), path.into()) {
        None => Ok(()),
        Some(first) => Err(wrap(path, Problem::SameName { member, first })),
    }
}

/// Checks that these members may become this archive.
fn check_members(members: &BTreeMap<String, PathBuf>, out: &Path) -> Result<(), Problem> {
    if members.is_empty() {
        return Err(Problem::NoFile);
    }
    if members.len() > MAX_MEMBERS {
        return Err(Problem::TooManyFiles { found: members.len(), limit: MAX_MEMBERS });
    }
    if out.symlink_metadata().is_ok() {
        let same =
            |path: &PathBuf| matches!((path.canonicalize(), out.canonicalize()), (Ok(a), Ok(b)) if a == b);
        return Err(match members.values().any(same) {
            true => Problem::Itself,
            false => Problem::ArchiveExists,
        });
    }
    Ok(())
}

/// The zip of these files, the same bytes for the same names and contents.
fn zipped(members: &BTreeMap<String, PathBuf>, out: &Path) -> Result<Vec<u8>> {
    let options =
        SimpleFileOptions::default().last_modified_time(DateTime::default()).unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut left = MAX_MEMBER;
    let mut bytes = Vec::new();
    for (member, path) in members {
        bytes.clear();
        let too_much = || wrap(out, Problem::TooMuch { limit: MAX_MEMBER });
        let reading = |error| strait_model::Error::io(path, "read the file to protect")(error);
        let file = open_regular(path)?;
        // Told before it is read; a file that grows meanwhile is told afterwards.
        if file.metadata().map_err(reading)?.len() > left {
            return Err(too_much());
        }
        file.take(left + 1).read_to_end(&mut bytes).map_err(reading)?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(too_much)?;
        let written = zip.start_file(member, options);
        written.and_then(|()| Ok(zip.write_all(&bytes)?)).map_err(|e| wrap(out, Problem::Zip(e)))?;
    }
    let zip = zip.finish().map_err(|e| wrap(out, Problem::Zip(e)))?;
    Ok(zip.into_inner())
}

/// A protected archive of this zip.
fn encrypt(zip: &[u8], password: &str) -> Vec<u8> {
    let salt: [u8; SALT] = rand::random();
    let token = cipher(password, &salt).encrypt(zip);
    [&salt[..], token.as_bytes()].concat()
}

/// The cipher of this password and salt.
fn cipher(password: &str, salt: &[u8]) -> Fernet {
    let key = pbkdf2::pbkdf2_hmac_array::<Sha256, KEY>(password.as_bytes(), salt, ROUNDS);
    Fernet::new(&URL_SAFE.encode(key)).expect("a Fernet key is 32 bytes in base64")
}

fn wrap(path: &Path, problem: Problem) -> Error {
    Error::input(path, None, problem)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_data(path)?
        .take(MAX_ARCHIVE + 1)
        .read_to_end(&mut bytes)
        .map_err(strait_model::Error::io(path, "read the archive"))?;
    if bytes.len() as u64 > MAX_ARCHIVE {
        return Err(wrap(path, Problem::TooLarge { limit: MAX_ARCHIVE }));
    }
    Ok(bytes)
}

/// The zip inside a protected archive.
fn decrypt(protected: &[u8], password: &str) -> Result<Vec<u8>, Problem> {
    let (salt, token) = parts(protected)?;
    decipher(&cipher(password, salt), token)
}

/// The salt and the token of a protected archive.
fn parts(protected: &[u8]) -> Result<(&[u8], &str), Problem> {
    let least = SALT + SHORTEST_TOKEN;
    if protected.len() < least {
        return Err(Problem::TooShort { found: protected.len(), least });
    }
    let (salt, token) = protected.split_at(SALT);
    if !token.starts_with(TOKEN_START) {
        return Err(Problem::NoToken);
    }
    let token =
        std::str::from_utf8(token).map_err(|e| Problem::NotAToken { offset: SALT + e.valid_up_to() })?;
    let foreign = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '='));
    if let Some(at) = token.find(foreign) {
        return Err(Problem::NotAToken { offset: SALT + at });
    }
    if !token.len().is_multiple_of(4) {
        return Err(Problem::CutOff { length: token.len() });
    }
    Ok((salt, token))
}

/// The zip inside a token.
fn decipher(cipher: &Fernet, token: &str) -> Result<Vec<u8>, Problem> {
    // At the end of time, since an archive does not expire and this machine's clock may be behind its author's.
    cipher.decrypt_at_time(token, None, END_OF_TIME).map_err(|_| Problem::Undecryptable)
}

/// The last second that leaves room for the clock skew which the Fernet crate adds.
const END_OF_TIME: u64 = u64::MAX - 60;

fn open_zip(bytes: Vec<u8>) -> Result<Zip, Problem> {
    let zip = ZipArchive::new(Cursor::new(Arc::from(bytes))).map_err(Problem::Zip)?;
    match zip.len() {
        _ if zip.has_duplicate_names() => Err(Problem::Doubled),
        found if found > MAX_MEMBERS => Err(Problem::TooManyMembers { found, limit: MAX_MEMBERS }),
        _ => Ok(zip),
    }
}

/// The names of a zip's files, without its folders.
fn members(zip: &Zip) -> Result<Vec<String>, Problem> {
    let mut members = Vec::with_capacity(zip.len());
    for name in zip.file_names() {
        let name = name.map_err(Problem::Zip)?;
        if !name.ends_with('/') {
            members.push(name.into_owned());
        }
    }
    Ok(members)
}

fn read_member(zip: &mut Zip, member: &str, members: &[String], limit: u64) -> Result<Vec<u8>, Problem> {
    let unpacking =
        |error: &dyn fmt::Display| Problem::Member { member: member.into(), reason: error.to_string() };
    let file = match zip.by_name(member) {
        Ok(file) => file,
        Err(ZipError::FileNotFound) => {
            return Err(Problem::NoMember {
                member: member.into(),
                members: listed(members.iter().map(String::as_str)),
            });
        }
        Err(error) => return Err(unpacking(&error)),
    };
    let declared = file.size();
    if declared > limit {
        return Err(Problem::MemberTooLarge { member: member.into(), size: declared, limit });
    }
    // Nothing is allocated on the declared size's word, and one byte more than it is enough to catch a lie.
    let mut bytes = Vec::new();
    file.take(declared + 1).read_to_end(&mut bytes).map_err(|e| unpacking(&e))?;
    if bytes.len() as u64 != declared {
        return Err(Problem::Size { member: member.into(), declared });
    }
    Ok(bytes)
}

/// True if a member's name stays below the folder that it is joined to, on any operating system.
fn stays_inside(member: &str) -> bool {
    let plain = |part: Component| matches!(part, Component::Normal(_));
    !member.is_empty() && !member.contains(['\\', '\0', ':']) && Path::new(member).components().all(plain)
}

#[cfg(test)]
mod tests;
