//! Things found in place of a file: a Git LFS pointer, a web page, half a download.
//!
//! A parser would say of these that some byte is wrong, which is true and helps nobody.

use std::{
    fs::File,
    io::{Read, Seek},
    path::{Path, PathBuf},
};

use super::open_regular;
use crate::{Error, Result, error::Problem};

/// Bytes from the start of a file by which a stand-in is told.
pub const START: usize = 512;

/// Endings that browsers and downloaders give to a file until it is whole.
const UNFINISHED: [&str; 6] = ["incomplete", "part", "partial", "crdownload", "download", "aria2"];

/// The beginnings of answers that a hub's servers give in place of a file.
const REFUSALS: [&str; 7] = [
    "Entry not found",
    "Repository not found",
    "Invalid username or password",
    "Invalid credentials",
    "Access to model",
    "Not Found",
    "{\"error\"",
];

/// Something that lies where a file was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StandIn {
    /// The pointer that a clone without Git LFS leaves.
    #[error(
        "this is a Git LFS pointer{}, not the file itself",
        size.map_or(String::new(), |bytes| format!(" to a file of {bytes} bytes"))
    )]
    LfsPointer {
        /// Size of the file that it stands for.
        size: Option<u64>,
    },
    /// The pointer that a clone without git-annex leaves.
    #[error("this is a git-annex pointer, not the file itself")]
    AnnexPointer,
    /// A web page.
    #[error("this is a web page (HTML), not the file itself")]
    Html,
    /// An answer in XML, as object stores refuse requests.
    #[error("this is an XML document, as servers answer with when they refuse, not the file itself")]
    Xml,
    /// A hub's words in place of a file.
    #[error("this is a server's refusal, `{said}`, not the file itself")]
    Refusal {
        /// Its first line.
        said: String,
    },
    /// A gzip file.
    #[error("this is a gzip file, not the file inside it")]
    Gzip,
    /// A zstd file.
    #[error("this is a zstd file, not the file inside it")]
    Zstd,
    /// An xz file.
    #[error("this is an xz file, not the file inside it")]
    Xz,
    /// A zip archive.
    #[error("this is a zip archive, not a file inside it")]
    Zip,
    /// A file without a byte.
    #[error("the file is empty")]
    Empty,
    /// A file of zeros, as some downloaders reserve the space and some disks lose the content.
    #[error("the file begins with {START} zero bytes, as a download does that was not finished")]
    Zeros,
    /// A file whose name says that it is not whole.
    #[error("by its name's ending, `.{ending}`, this is a download that was not finished")]
    Unfinished {
        /// The ending.
        ending: String,
    },
}

impl StandIn {
    /// The kind of file that has these first bytes in place of what it should have; [`START`] bytes are enough.
    pub fn of(start: &[u8]) -> Option<Self> {
        let by_magic = |(magic, found): &(&[u8], Self)| start.starts_with(magic).then(|| found.clone());
        let magics: [(&[u8], Self); 5] = [
            (b"\x1f\x8b", Self::Gzip),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"PK\x03\x04", Self::Zip),
            (b"/annex/objects/", Self::AnnexPointer),
        ];
        if start.is_empty() {
            return Some(Self::Empty);
        }
        if start.len() >= START && start.iter().all(|&byte| byte == 0) {
            return Some(Self::Zeros);
        }
        magics.iter().find_map(by_magic).or_else(|| Self::of_text(&String::from_utf8_lossy(start)))
    }

    fn of_text(start: &str) -> Option<Self> {
        let text = start.trim_start_matches('\u{feff}').trim_start();
        let begins = |word: &str| text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word));
        // The old name is that of Git Media, from which Git LFS came.
        if ["version https://git-lfs", "version http://git-media", "version https://hawser"]
            .iter()
            .any(|v| begins(v))
        {
            let size = text.lines().find_map(|line| line.strip_prefix("size "));
            return Some(Self::LfsPointer { size: size.and_then(|size| size.trim().parse().ok()) });
        }
        if ["<!doctype html", "<html", "<head", "<body"].iter().any(|tag| begins(tag)) {
            return Some(Self::Html);
        }
        if ["<?xml", "<error", "<!doctype"].iter().any(|tag| begins(tag)) {
            return Some(Self::Xml);
        }
        let refused = REFUSALS.iter().any(|words| begins(words));
        refused.then(|| Self::Refusal {
            said: text.lines().next().unwrap_or_default().chars().take(80).collect(),
        })
    }
}

impl Problem for StandIn {
    fn hint(&self) -> String {
        match self {
            Self::LfsPointer { .. } => {
                "run `git lfs install` and `git lfs pull` in the clone, or fetch the file from the repository's page"
            }
            Self::AnnexPointer => "run `git annex get` on the file in the clone",
            Self::Html | Self::Xml | Self::Refusal { .. } => {
                "fetch the file again, with `strait model pull` or by the download link of its page, and sign in where the repository asks for it"
            }
            Self::Gzip | Self::Zstd | Self::Xz | Self::Zip => "unpack it and give what was inside",
            Self::Empty | Self::Zeros => "the file is not whole: fetch it again and compare its checksum",
            Self::Unfinished { .. } => "let the download finish, or fetch the file again",
        }
        .into()
    }
}

/// Refuses a file that begins with `start` where it is a stand-in for what it should be.
///
/// `read` are those that the caller knows how to read, such as [`StandIn::Zip`] for files of PyTorch.
///
/// # Errors
/// [`Error::Input`].
pub fn refuse_stand_in(path: &Path, start: &[u8], read: &[StandIn]) -> Result<()> {
    match StandIn::of(start).or_else(|| unfinished(path)) {
        Some(what) if !read.contains(&what) => Err(Error::input(path, what)),
        _ => Ok(()),
    }
}

/// Opens a file of a user's own data, in which anything may stand but a pointer to another file.
///
/// # Errors
/// If there is no such file, or a pointer in its place.
pub fn open_data(path: &Path) -> Result<File> {
    let (file, start) = open_with_start(path)?;
    match StandIn::of(&start) {
        Some(what @ (StandIn::LfsPointer { .. } | StandIn::AnnexPointer)) => Err(Error::input(path, what)),
        _ => Ok(file),
    }
}

/// Opens a file that is no stand-in, see [`open_regular`] and [`refuse_stand_in`]. It is read from its first byte on.
///
/// # Errors
/// If there is no such file, or something else is there.
pub fn open_real(path: &Path, read: &[StandIn]) -> Result<File> {
    let (file, start) = open_with_start(path)?;
    refuse_stand_in(path, &start, read)?;
    Ok(file)
}

/// A file that will be read from its first byte on, and its first bytes.
fn open_with_start(path: &Path) -> Result<(File, Vec<u8>)> {
    let mut file = open_regular(path)?;
    let mut start = Vec::with_capacity(START);
    Read::by_ref(&mut file)
        .take(START as u64)
        .read_to_end(&mut start)
        .and_then(|_| file.rewind())
        .map_err(Error::io(path, "read the file"))?;
    Ok((file, start))
}

fn unfinished(path: &Path) -> Option<StandIn> {
    let ending = path.extension()?.to_str()?.to_lowercase();
    UNFINISHED.contains(&ending.as_str()).then_some(StandIn::Unfinished { ending })
}

/// The unfinished download of a file, where one lies beside the place in which the file should be.
pub fn unfinished_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    let beside = UNFINISHED.iter().map(|ending| {
        let mut longer = name.to_os_string();
        longer.push(format!(".{ending}"));
        path.with_file_name(longer)
    });
    beside.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";

    #[test]
    fn what_lies_in_place_of_a_file() {
        let refusal = |said: &str| StandIn::Refusal { said: said.into() };
        for (start, expected) in [
            (POINTER.as_bytes(), StandIn::LfsPointer { size: Some(12345) }),
            (
                b"version https://git-lfs.github.com/spec/v1\r\nsize 7\r\n",
                StandIn::LfsPointer { size: Some(7) },
            ),
            (b"version https://hawser.github.com/spec/v1\n", StandIn::LfsPointer { size: None }),
            (b"/annex/objects/SHA256E-s12--ab.safetensors\n", StandIn::AnnexPointer),
            (b"\xef\xbb\xbf \n<!DOCTYPE html><html>", StandIn::Html),
            (b"<HTML lang=en>", StandIn::Html),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", StandIn::Xml),
            (b"<Error><Code>", StandIn::Xml),
            (b"Entry not found", refusal("Entry not found")),
            (b"Invalid username or password.", refusal("Invalid username or password.")),
            (b"{\"error\":\"Repository not found\"}", refusal("{\"error\":\"Repository not found\"}")),
            (b"\x1f\x8b\x08\0\0", StandIn::Gzip),
            (b"\x28\xb5\x2f\xfd\0", StandIn::Zstd),
            (b"\xfd7zXZ\0\0", StandIn::Xz),
            (b"PK\x03\x04\x14", StandIn::Zip),
            (b"", StandIn::Empty),
            (&[0; START], StandIn::Zeros),
        ] {
            assert_eq!(StandIn::of(start), Some(expected), "{}", start.escape_ascii());
        }
    }

    #[test]
    fn what_is_a_file_of_its_own() {
        for start in [
            &b"GGUF\x03\0\0\0"[..],
            b"\x58\0\0\0\0\0\0\0{\"__metadata__\"",
            b"{\"model_type\": \"llama\"}",
            b"{\"version\": \"1.0\", \"truncation\": null}",
            b"{\"messages\": []}",
            b"version 2 of the story",
            b"<|im_start|>",
            b"\0\0",
            "ж".as_bytes(),
        ] {
            assert_eq!(StandIn::of(start), None, "{}", start.escape_ascii());
        }
    }

    #[test]
    fn files_are_opened_by_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, content) in
            [("pointer", POINTER), ("model.gguf.incomplete", "GGUF"), ("zip", "PK\x03\x04")]
        {
            std::fs::write(path(name), content).unwrap();
        }
        let said = |name: &str, read: &[StandIn]| open_real(&path(name), read).unwrap_err().to_string();
        assert!(said("pointer", &[]).contains("Git LFS"), "{}", said("pointer", &[]));
        assert!(said("model.gguf.incomplete", &[]).contains("not finished"));
        assert!(said("zip", &[]).contains("zip archive"));
        assert!(open_real(&path("zip"), &[StandIn::Zip]).is_ok());
        assert!(open_real(folder.path(), &[]).unwrap_err().to_string().contains("a folder"));
        assert_eq!(unfinished_beside(&path("model.gguf")), Some(path("model.gguf.incomplete")));
        assert_eq!(unfinished_beside(&path("pointer")), None);
        assert!(open_data(&path("pointer")).unwrap_err().to_string().contains("Git LFS"));
        assert!(open_data(&path("zip")).is_ok());
    }
}
