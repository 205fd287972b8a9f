//! The file of responses: a line each, and its settings beside it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use strait_model::files::write_atomically;

use super::{
    Problem, Response,
    settings::{Settings, difference},
};
use crate::{Result, journal};

/// The place of a response in the whole file: question, scale and sample.
type Key = (usize, usize, usize);

/// A file of responses that is written, locked against others.
pub struct ResponseFile {
    path: PathBuf,
    file: File,
    scales: Vec<f64>,
    /// The place of each response's line, and its length.
    lines: BTreeMap<Key, (u64, u64)>,
    end: u64,
}

impl ResponseFile {
    /// Opens the file, or makes it where there is none. What a process that was killed left of its last line is cut off.
    pub fn open(path: &Path, settings: &Settings) -> Result<Self> {
        let io = |error: io::Error| strait_model::Error::io(path, "open the file")(error);
        let file = journal::open(path, || Problem::InUse.at(path, None))?;
        let there = file.metadata().map_err(io)?.len() > 0;
        check_settings(path, there, &settings.written())?;
        let scales = settings.scales().to_vec();
        let mut opened = Self { path: path.into(), file, scales, lines: BTreeMap::new(), end: 0 };
        opened.read(settings)?;
        Ok(opened)
    }

    /// Finds the responses that are whole.
    fn read(&mut self, settings: &Settings) -> Result<()> {
        let (mut lines, mut end) = (BTreeMap::new(), 0);
        journal::read_lines(&self.file, &self.path, |number, line| {
            let found = serde_json::from_slice::<Response>(line).ok();
            let key = found.and_then(|found| self.key(found.row, found.scale, found.sample));
            let key = key.filter(|&(row, _, sample)| settings.asks(row, sample));
            let key = key.ok_or_else(|| Problem::NoResponse.at(&self.path, Some(number)))?;
            lines.insert(key, (end, line.len() as u64));
            end += line.len() as u64;
            Ok(())
        })?;
        (self.lines, self.end) = (lines, end);
        Ok(())
    }

    fn key(&self, row: usize, scale: f64, sample: usize) -> Option<Key> {
        Some((row, self.scales.iter().position(|&own| own == scale)?, sample))
    }

    /// The number of responses that it holds.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// True if it holds this one.
    pub fn has(&self, row: usize, scale: f64, sample: usize) -> bool {
        self.key(row, scale, sample).is_some_and(|key| self.lines.contains_key(&key))
    }

    /// Writes a response behind the others.
    pub fn add(&mut self, response: &Response) -> Result<()> {
        let io = |error: io::Error| strait_model::Error::io(&self.path, "write the file")(error);
        let mut line = serde_json::to_vec(response).map_err(|error| io(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(io)?;
        if let Some(key) = self.key(response.row, response.scale, response.sample) {
            self.lines.insert(key, (self.end, line.len() as u64));
        }
        self.end += line.len() as u64;
        Ok(())
    }

    /// Brings the lines into the order of their keys, and gives their number.
    pub fn finish(self) -> Result<usize> {
        let io = |error: io::Error| strait_model::Error::io(&self.path, "read the file")(error);
        let places = self.lines.values().map(|(start, _)| start);
        if places.is_sorted() {
            self.file.sync_all().map_err(io)?;
            return Ok(self.count());
        }
        let whole = std::fs::read(&self.path).map_err(io)?;
        write_atomically(&self.path, |file| {
            let mut lines = self.lines.values();
            lines.try_for_each(|&(start, length)| {
                let line = whole.get(start as usize..(start + length) as usize);
                file.write_all(line.ok_or(ErrorKind::UnexpectedEof)?)
            })
        })?;
        Ok(self.count())
    }
}

/// Compares the settings beside a file with those that are asked for, or writes them where the file holds nothing yet.
fn check_settings(path: &Path, there: bool, asked: &Map<String, Value>) -> Result<()> {
    let beside = beside(path);
    if !there {
        return Ok(write_atomically(&beside, |file| {
            serde_json::to_writer_pretty(&mut *file, asked)?;
            file.write_all(b"\n")
        })?);
    }
    let found = match std::fs::read(&beside) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Problem::NotOurs.at(path, None)),
        Err(error) => return Err(strait_model::Error::io(beside, "read the file")(error).into()),
    };
    let found: Map<String, Value> =
        serde_json::from_slice(&found).map_err(|_| Problem::NoSettings.at(&beside, None))?;
    match difference(&found, asked) {
        None => Ok(()),
        Some((key, found, asked)) => Err(Problem::OtherSettings { key, found, asked }.at(path, None)),
    }
}

/// The file of the settings.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".settings.json");
    name.into()
}
