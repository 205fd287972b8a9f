//! Text files read piece by piece: lines, and rows of JSON that stand one a line or in one list.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use super::{Problem, row};
use crate::{Error, Result};

/// The longest line or row read, in bytes. A chat row of this size is longer than any context; what is longer still is
/// another kind of file.
pub(super) const MAX_LINE: u64 = 16 << 20;

/// The lines of a text file that are not blank, with their numbers from 1. Carriage returns before line ends are dropped.
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
                .map_err(|e| Problem::unreadable(self.place, e))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > MAX_LINE {
                return Err(self.error(Problem::LineTooLong { limit: MAX_LINE }));
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

/// The place of a row in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// In a list, its place there, counted from 1.
    pub element: Option<u64>,
}

impl Spot {
    /// The crate's error for a problem of the row here.
    pub(super) fn problem(self, place: &Path, problem: row::Problem) -> Error {
        match self.element {
            None => Problem::Row(problem).at(place, self.line),
            Some(element) => Problem::Element { element, problem }.at(place, self.line),
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        self.element.map_or(Ok(()), |element| write!(f, ", row {element}"))
    }
}

/// The JSON texts of a file's rows: its lines, or the elements of the one list that it is.
pub(super) struct Rows<'a, R> {
    lines: Lines<'a, R>,
    /// The elements read so far, where the file is a list.
    list: Option<u64>,
    ended: bool,
}

impl<'a, R: Read> Rows<'a, R> {
    pub(super) fn new(reader: R, place: &'a Path) -> Result<Self> {
        let mut rows = Self { lines: Lines::new(reader, place), list: None, ended: false };
        if rows.read(Self::first)? == Some(b'[') {
            rows.lines.reader.consume(1);
            rows.lines.number += 1;
            rows.list = Some(0);
        }
        Ok(rows)
    }

    /// The next row; none at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<(Spot, &str)>> {
        let Some(element) = self.list else {
            return Ok(self.lines.next()?.map(|(line, text)| (Spot { line, element: None }, text)));
        };
        if self.ended {
            return Ok(None);
        }
        let element = element + 1;
        self.list = Some(element);
        self.read(Self::first)?;
        let spot = Spot { line: self.lines.number, element: Some(element) };
        let end = self.read(Self::element)?;
        let wrong = |problem| Problem::List { element, problem }.at(self.lines.place, spot.line);
        match end {
            Ended::Comma => {}
            Ended::List if element == 1 && self.lines.buffer.is_empty() => {
                self.close()?;
                return Ok(None);
            }
            Ended::List => self.close()?,
            Ended::File => return Err(wrong("the file ends within the list")),
            Ended::Limit => {
                return Err(Problem::LineTooLong { limit: MAX_LINE }.at(self.lines.place, spot.line));
            }
        }
        match std::str::from_utf8(&self.lines.buffer) {
            Ok(text) => Ok(Some((spot, text))),
            Err(_) => Err(wrong("it is not UTF-8")),
        }
    }

    /// After the list there may be nothing.
    fn close(&mut self) -> Result<()> {
        self.ended = true;
        match self.read(Self::first)? {
            None => Ok(()),
            Some(_) => Err(Problem::AfterList.at(self.lines.place, self.lines.number)),
        }
    }

    fn read<T>(&mut self, what: fn(&mut Self) -> io::Result<T>) -> Result<T> {
        what(self).map_err(|e| Problem::unreadable(self.lines.place, e))
    }

    /// Goes on to the first byte that is not blank, and gives it.
    fn first(&mut self) -> io::Result<Option<u8>> {
        loop {
            let lines = &mut self.lines;
            let first = lines.reader.fill_buf()?.first().copied();
            match first {
                Some(b'\n') => lines.number += 1,
                Some(b' ' | b'\t' | b'\r') => {}
                other => return Ok(other),
            }
            lines.reader.consume(1);
        }
    }

    /// Reads an element, without the separator behind it, into the buffer.
    fn element(&mut self) -> io::Result<Ended> {
        let Lines { reader, buffer, number, .. } = &mut self.lines;
        buffer.clear();
        let (mut depth, mut in_text, mut escaped) = (0_u64, false, false);
        loop {
            let bytes = reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok(Ended::File);
            }
            for (at, &byte) in bytes.iter().enumerate() {
                *number += u64::from(byte == b'\n');
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_text => escaped = true,
                    b'"' => in_text = !in_text,
                    _ if in_text => {}
                    b'[' | b'{' => depth += 1,
                    b',' | b']' if depth == 0 => {
                        buffer.extend(&bytes[..at]);
                        buffer.truncate(buffer.trim_ascii_end().len());
                        reader.consume(at + 1);
                        return Ok(if byte == b',' { Ended::Comma } else { Ended::List });
                    }
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            buffer.extend(bytes);
            let read = bytes.len();
            reader.consume(read);
            if buffer.len() as u64 > MAX_LINE {
                return Ok(Ended::Limit);
            }
        }
    }
}

/// The end of reading an element.
enum Ended {
    Comma,
    List,
    File,
    Limit,
}

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

    fn rows(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut rows = Rows::new(text.as_bytes(), Path::new("f")).map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        while let Some((spot, text)) = rows.next().map_err(|e| e.to_string())? {
            all.push((spot.to_string(), text.to_string()));
        }
        Ok(all)
    }

    #[test]
    fn blank_lines_and_carriage_returns_are_not_rows() {
        let expected = [(1, "a".to_string()), (4, " b ".to_string())];
        assert_eq!(lines(b"a\r\n\r\n  \n b \n\n"), expected);
        assert_eq!(lines(b"a\n\n\n b "), expected);
        assert_eq!(lines(b"\n"), []);
    }

    #[test]
    fn a_line_that_never_ends_is_refused_before_it_fills_the_memory() {
        let mut endless = Lines::new(std::io::repeat(b'x'), Path::new("rows"));
        let error = endless.next().unwrap_err().to_string();
        assert_eq!(error, "`rows`, line 1: the line is longer than 16777216 bytes");
        let longest = [vec![b'x'; MAX_LINE as usize - 1], b"\nb".to_vec()].concat();
        assert_eq!(lines(&longest)[1], (2, "b".into()));
        let endless = b"[".chain(std::io::repeat(b'x'));
        let error = Rows::new(endless, Path::new("rows")).unwrap().next().unwrap_err().to_string();
        assert_eq!(error, "`rows`, line 1: the line is longer than 16777216 bytes");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named_by_their_column() {
        let mut lines = Lines::new(&b"a\nbc\xff\n"[..], Path::new("rows"));
        lines.next().unwrap();
        let error = lines.next().unwrap_err().to_string();
        assert_eq!(error, "`rows`, line 2: byte 3 is not UTF-8");
    }

    #[test]
    fn a_list_gives_its_elements_with_their_places() {
        let of = |spot: &str, text: &str| (spot.to_string(), text.to_string());
        assert_eq!(rows("{\"a\":1}\n\n{}"), Ok(vec![of("line 1", "{\"a\":1}"), of("line 3", "{}")]));
        let text = "\n [ {\"a\": \"],[\\\"\"} ,\n\n [1,[2]],3\n]\n \n";
        let expected = [
            of("line 2, row 1", "{\"a\": \"],[\\\"\"}"),
            of("line 4, row 2", "[1,[2]]"),
            of("line 4, row 3", "3"),
        ];
        assert_eq!(rows(text), Ok(expected.to_vec()));
        assert_eq!(rows(" [ \n ] "), Ok(vec![]));
        assert_eq!(rows("[1,]").unwrap()[1], of("line 1, row 2", ""));
        assert_eq!(rows("[,]").unwrap()[0], of("line 1, row 1", ""));
        let cut = "`f`, line 1: row 2 of the list: the file ends within the list";
        assert_eq!(rows("[1, {\"a\": [").unwrap_err(), cut);
        assert_eq!(rows("[").unwrap_err(), cut.replace("row 2", "row 1"));
        assert_eq!(rows("[1]\n{}").unwrap_err(), "`f`, line 2: something follows the list");
    }
}
