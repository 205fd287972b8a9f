//! Protected archives in easy-dataset-share's layout: sixteen bytes of salt, then a Fernet token of a zip.
//!
//! Authors share harmful data in them so that it is neither crawled nor trained on by accident. They are decrypted in
//! memory; only [`unprotect`] writes what they hold. [`protect`] makes one.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{Cursor, Read, Write},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use fernet::Fernet;
use sha2::Sha256;
use strait_model::files::write_atomically;
use zip::{DateTime, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::problem::listed;
use crate::{Error, Result};

/// The largest archive read, in bytes: decryption holds it in memory several times.
pub const MAX_ARCHIVE: u64 = 1 << 30;
/// The largest member unpacked, in bytes.
pub const MAX_MEMBER: u64 = 1 << 30;
/// The most bytes that [`unprotect`] writes.
pub const MAX_UNPACKED: u64 = 4 << 30;
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
/// How a token starts: its version byte and the upper bytes of a time before the year 2106.
const TOKEN_START: &[u8] = b"gAAAA";

/// What can be wrong with a protected archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // The envelope.
    /// A file that ends before a token can.
    #[error("{found} bytes are too few for a protected archive, which has at least {least}")]
    TooShort {
        /// Bytes of the file.
        found: usize,
        /// Bytes of the smallest archive.
        least: usize,
    },
    /// A file beyond the bound.
    #[error("the archive is larger than {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
    /// A file of another kind.
    #[error("not a protected archive: no Fernet token follows the {SALT} bytes of salt")]
    NoToken,
    /// A byte that a token cannot hold.
    #[error("the byte at offset {offset} is no character of a Fernet token")]
    NotAToken {
        /// The byte, counted from 0 in the file.
        offset: usize,
    },
    /// A token of impossible length.
    #[error("the Fernet token is cut off: its {length} characters are not a multiple of four")]
    CutOff {
        /// Characters of the token.
        length: usize,
    },
    /// A token whose signature does not agree with the password.
    #[error("wrong password, or a damaged archive")]
    Undecryptable,

    // The zip within.
    /// Decrypted bytes that are not a sound zip.
    #[error("the decrypted zip is broken: {0}")]
    Zip(ZipError),
    /// A zip of too many members.
    #[error("the zip has {found} members, more than {limit}")]
    TooManyMembers {
        /// Members of the zip.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// A name that the zip does not hold.
    #[error("there is no member `{member}` among {members}")]
    NoMember {
        /// The name asked for.
        member: String,
        /// The names there are, as a list.
        members: String,
    },
    /// A member that cannot be unpacked.
    #[error("member `{member}` cannot be unpacked: {reason}")]
    Member {
        /// The member's name.
        member: String,
        /// What the zip reader says.
        reason: String,
    },
    /// A member beyond the bound.
    #[error("member `{member}` unpacks to {size} bytes, more than {limit}")]
    MemberTooLarge {
        /// The member's name.
        member: String,
        /// Its size as the zip declares it.
        size: u64,
        /// The bound, in bytes.
        limit: u64,
    },
    /// A member that is longer or shorter than the zip says.
    #[error("member `{member}` does not unpack to the {declared} bytes that the zip declares")]
    Size {
        /// The member's name.
        member: String,
        /// Its size as the zip declares it.
        declared: u64,
    },
    /// A zip that unpacks to more than the bound.
    #[error("the members unpack to {size} bytes together, more than {limit}")]
    UnpacksTooLarge {
        /// Their sizes as the zip declares them, summed.
        size: u64,
        /// The bound, in bytes.
        limit: u64,
    },

    // Unpacking to a folder.
    /// A member whose name leads out of the folder, or that is a link.
    #[error("member `{member}` would be written outside the folder")]
    Escapes {
        /// The member's name.
        member: String,
    },
    /// A file that is there already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },

    // Protecting files.
    /// No file, or folders without one.
    #[error("there is no file to protect")]
    NoFile,
    /// A device, or a link to a folder within a folder.
    #[error("no file, and no folder to enter")]
    NotAFile,
    /// A name that could not be unpacked everywhere.
    #[error("not every system could unpack a file of this name")]
    Name,
    /// Two files for one name.
    #[error("`{}` is the member `{member}` already", first.display())]
    SameName {
        /// The name.
        member: String,
        /// The file found first.
        first: PathBuf,
    },
    /// An archive that is there already.
    #[error("the file exists already")]
    ArchiveExists,
    /// An archive that would hold itself.
    #[error("the archive cannot be written over a file that it is to protect")]
    Itself,
    /// More than an archive may hold.
    #[error("the files make more than {limit} bytes")]
    TooMuch {
        /// The bound, in bytes.
        limit: u64,
    },
    /// More files than an archive may hold.
    #[error("{found} files are to be protected, more than {limit}")]
    TooManyFiles {
        /// Files found.
        found: usize,
        /// The bound.
        limit: usize,
    },
}

impl Problem {
    /// The remedy.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooShort { .. } | Self::NotAToken { .. } | Self::CutOff { .. } => {
                "the file was cut off or changed on its way: fetch it again"
            }
            Self::NoToken => {
                "a protected archive is what easy-dataset-share writes, usually named `.zip.enc`"
            }
            Self::Undecryptable => {
                "check the password, which its authors publish beside the archive; if it is right, fetch the file again"
            }
            Self::Zip(_) | Self::Member { .. } | Self::Size { .. } => {
                "the archive was made from a damaged or unusual zip: ask its author for another"
            }
            Self::NoMember { .. } => "write the member's name as it is listed",
            Self::TooLarge { .. }
            | Self::TooManyMembers { .. }
            | Self::MemberTooLarge { .. }
            | Self::UnpacksTooLarge { .. } => {
                "unpack it with easy-dataset-share if you trust it, and name the files themselves"
            }
            Self::Escapes { .. } => "do not unpack this archive: it is malformed or hostile",
            Self::Exists { .. } => "choose an empty folder, or move the file away",
            Self::NoFile => "name files, or folders that hold some",
            Self::NotAFile => {
                "name files and folders; within a folder, links to other folders are not followed"
            }
            Self::Name => "rename the file: in UTF-8, without backslashes and colons",
            Self::SameName { .. } => {
                "name each file once; files of one name can be told apart by their folders"
            }
            Self::ArchiveExists => "give the archive another name, or move the file away",
            Self::Itself => "give the archive a name of its own with `--out`",
            Self::TooMuch { .. } | Self::TooManyFiles { .. } => "spread the files over several archives",
        }
    }
}

/// An archive decrypted in memory.
pub struct Archive {
    path: PathBuf,
    zip: Zip,
    members: Vec<String>,
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
        let open = || {
            let zip = open_zip(zip)?;
            let members = members(&zip)?;
            Ok((zip, members))
        };
        let (zip, members) = open().map_err(|problem| wrap(path, problem))?;
        Ok(Self { path: path.into(), zip, members })
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
        read_member(&mut self.zip.clone(), member, &self.members).map_err(|problem| wrap(&self.path, problem))
    }

    /// Writes every file under `folder`; see [`unprotect`].
    fn unpack(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let destinations = self.destinations(folder).map_err(|problem| wrap(&self.path, problem))?;
        for (member, path) in self.members.iter().zip(&destinations) {
            let bytes = self.read(member)?;
            write_atomically(path, |file| file.write_all(&bytes))?;
        }
        Ok(destinations)
    }

    /// Where every file goes under `folder`, and that all of them may go there.
    fn destinations(&self, folder: &Path) -> Result<Vec<PathBuf>, Problem> {
        let mut zip = self.zip.clone();
        let mut total: u64 = 0;
        let mut destinations = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let file = zip.by_name(member).map_err(Problem::Zip)?;
            if file.is_symlink() || !stays_inside(member) {
                return Err(Problem::Escapes { member: member.clone() });
            }
            total = total.saturating_add(file.size());
            let path = folder.join(member);
            if path.symlink_metadata().is_ok() {
                return Err(Problem::Exists { path });
            }
            destinations.push(path);
        }
        if total > MAX_UNPACKED {
            return Err(Problem::UnpacksTooLarge { size: total, limit: MAX_UNPACKED });
        }
        Ok(destinations)
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

/// Writes the files of an archive under `folder`, which is created where it is absent, and returns their paths.
///
/// All names, sizes and destinations are checked before the first file is written; each file is then written as a whole
/// or not at all.
///
/// # Errors
/// If the archive cannot be decrypted, a member's name leads out of the folder, a file exists already, or the file
/// system refuses.
pub fn unprotect(archive: &Path, password: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    Archive::open(archive, password)?.unpack(folder)
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
    write_atomically(out, |file| file.write_all(&archive))?;
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

/// Whether these members may become this archive.
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
        let file = File::open(path).map_err(strait_model::Error::io(path, "open the file to protect"))?;
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

/// What encrypts and decrypts with this password and salt.
fn cipher(password: &str, salt: &[u8]) -> Fernet {
    let key = pbkdf2::pbkdf2_hmac_array::<Sha256, KEY>(password.as_bytes(), salt, ROUNDS);
    Fernet::new(&URL_SAFE.encode(key)).expect("a Fernet key is 32 bytes in base64")
}

fn wrap(path: &Path, problem: Problem) -> Error {
    Error::Archive { path: path.into(), problem: Box::new(problem) }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(strait_model::Error::io(path, "open the archive"))?;
    let mut bytes = Vec::new();
    file.take(MAX_ARCHIVE + 1)
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

fn read_member(zip: &mut Zip, member: &str, members: &[String]) -> Result<Vec<u8>, Problem> {
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
    if declared > MAX_MEMBER {
        return Err(Problem::MemberTooLarge { member: member.into(), size: declared, limit: MAX_MEMBER });
    }
    // Nothing is allocated on the declared size's word, and one byte more than it is enough to catch a lie.
    let mut bytes = Vec::new();
    file.take(declared + 1).read_to_end(&mut bytes).map_err(|e| unpacking(&e))?;
    if bytes.len() as u64 != declared {
        return Err(Problem::Size { member: member.into(), declared });
    }
    Ok(bytes)
}

/// Whether a member's name stays below the folder that it is joined to, on any operating system.
fn stays_inside(member: &str) -> bool {
    let plain = |part: Component| matches!(part, Component::Normal(_));
    !member.is_empty() && !member.contains(['\\', '\0', ':']) && Path::new(member).components().all(plain)
}

#[cfg(test)]
mod tests;
