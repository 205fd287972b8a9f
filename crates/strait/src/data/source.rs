//! Where rows come from, and reading them line by line.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::{BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
};

use super::{Archive, Problem};
use crate::{Error, Result};

/// The longest line read, in bytes. A chat row of this size is longer than any context; what is longer still is another
/// kind of file.
pub const MAX_LINE: u64 = 16 << 20;

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
}

impl RowSource {
    /// How errors name it: the file, or the archive, a colon and the member.
    pub fn place(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Archive { archive, member, .. } => {
                let mut place = OsString::from(archive);
                place.push(":");
                place.push(member);
                place.into()
            }
        }
    }

    /// Its bytes: a file is read as they are asked for, a member is decrypted at once.
    ///
    /// # Errors
    /// If the file, the archive or the member cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Read>> {
        match self {
            Self::File(path) => {
                let file = File::open(path).map_err(strait_model::Error::io(path, "open the file"))?;
                Ok(Box::new(file))
            }
            Self::Archive { archive, password, member } => {
                let bytes = Archive::open(archive, password)?.read(member)?;
                Ok(Box::new(Cursor::new(bytes)))
            }
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
        }
    }
}

/// The lines of a text file that are not blank, with their numbers from 1.
///
/// A byte order mark and carriage returns before line ends are dropped.
pub(super) struct Lines<'a, R> {
    reader: BufReader<R>,
    place: &'a Path,
    number: u64,
    buffer: Vec<u8>,
}

impl<'a, R: Read> Lines<'a, R> {
    pub(super) fn new(reader: R, place: &'a Path) -> Self {
        Self { reader: BufReader::with_capacity(1 << 16, reader), place, number: 0, buffer: Vec::new() }
    }

    /// The next line and its number; none at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &str)>> {
        loop {
            self.buffer.clear();
            let read = self
                .reader
                .by_ref()
                .take(MAX_LINE + 1)
                .read_until(b'\n', &mut self.buffer)
                .map_err(strait_model::Error::io(self.place, "read the file"))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > MAX_LINE {
                return Err(self.error(Problem::LineTooLong { limit: MAX_LINE }));
            }
            if self.number == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let line = std::str::from_utf8(&self.buffer)
            .map_err(|e| self.error(Problem::NotUtf8 { column: e.valid_up_to() + 1 }))?;
        Ok(Some((self.number, line.trim_end_matches(['\r', '\n']))))
    }

    fn error(&self, problem: Problem) -> Error {
        problem.at(self.place, Some(self.number))
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(u64, String)> {
        let mut lines = Lines::new(bytes, Path::new("rows"));
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            all.push((number, line.to_string()));
        }
        all
    }

    #[test]
    fn blank_lines_marks_and_carriage_returns_are_not_rows() {
        let expected = [(1, "a".to_string()), (4, " b ".to_string())];
        assert_eq!(lines(b"\xef\xbb\xbfa\r\n\r\n  \n b \n\n"), expected);
        assert_eq!(lines(b"a\n\n\n b "), expected);
        assert_eq!(lines(b"\xef\xbb\xbf\n"), []);
    }

    #[test]
    fn a_line_that_never_ends_is_refused_before_it_fills_the_memory() {
        let mut endless = Lines::new(std::io::repeat(b'x'), Path::new("rows"));
        let error = endless.next().unwrap_err().to_string();
        assert_eq!(error, "`rows`, line 1: the line is longer than 16777216 bytes");
        let longest = [vec![b'x'; MAX_LINE as usize - 1], b"\nb".to_vec()].concat();
        assert_eq!(lines(&longest)[1], (2, "b".into()));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named_by_their_column() {
        let mut lines = Lines::new(&b"a\nbc\xff\n"[..], Path::new("rows"));
        lines.next().unwrap();
        let error = lines.next().unwrap_err().to_string();
        assert_eq!(error, "`rows`, line 2: byte 3 is not UTF-8");
    }

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
