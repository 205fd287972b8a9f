//! Training curves as event files, which TensorBoard shows and `wandb sync` uploads.
//!
//! An event file is a sequence of records, each one event in protocol buffers' wire format between two checksums. The
//! few fields that a curve needs are written by hand: a dependency on the whole schema would buy nothing.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::Result;

/// The beginning of every event file's name; the second in which it was begun follows, in ten digits.
const PREFIX: &str = "events.out.tfevents.";

/// The version that the first event of a file names.
const FILE_VERSION: &str = "brain.Event:2";

/// `SessionLog.status` of a session that starts.
const SESSION_START: u64 = 1;

/// Appends scalars to an event file of its own.
///
/// Every scalar reaches the operating system at once, so that a killed run leaves its whole curve.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Begins an event file in `folder`, which is created where it is absent, for a run that has done `done` steps:
    /// 0, or those it resumes after. What earlier files of the folder say of later steps is hidden, since the run
    /// goes through those steps again.
    ///
    /// # Errors
    /// Any refusal of the file system.
    pub fn create(folder: &Path, done: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(strait_model::Error::io(folder, "create the folder"))?;
        let begun = next_second(folder)?;
        let path = folder.join(format!("{PREFIX}{begun:010}.strait.{}.0", std::process::id()));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(strait_model::Error::io(&path, "create the event file"))?;
        let mut writer = Self { path, file };
        writer.write(0, |event| event.text(field::event::FILE_VERSION, FILE_VERSION))?;
        // Readers drop what they know of a starting session's step and of later ones.
        writer.write(done + 1, |event| {
            event.message(field::event::SESSION_LOG, |log| {
                log.integer(field::session_log::STATUS, SESSION_START);
            });
        })?;
        Ok(writer)
    }

    /// Writes one value of the curve `tag`, such as `train/loss`, after `step` steps; the first step is 1.
    ///
    /// # Errors
    /// Any refusal of the file system.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f32) -> Result<()> {
        self.write(step, |event| {
            event.message(field::event::SUMMARY, |summary| {
                summary.message(field::summary::VALUE, |entry| {
                    entry.text(field::value::TAG, tag);
                    entry.float(field::value::SIMPLE_VALUE, value);
                });
            });
        })
    }

    /// Returns once everything written so far is on disk, where a power cut cannot reach it.
    ///
    /// # Errors
    /// Any refusal of the file system.
    pub fn flush(&mut self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.map_err(strait_model::Error::io(&self.path, "write the event file"))?;
        Ok(())
    }

    /// Writes one event, stamped with the present time, as one record.
    fn write(&mut self, step: u64, fill: impl FnOnce(&mut Fields)) -> Result<()> {
        let mut event = Fields::default();
        event.double(field::event::WALL_TIME, now().as_secs_f64());
        event.integer(field::event::STEP, step);
        fill(&mut event);
        let written = self.file.write_all(&record(&event.bytes));
        written.map_err(strait_model::Error::io(&self.path, "write the event file"))?;
        Ok(())
    }
}

fn now() -> Duration {
    // A clock set before 1970 costs the curve its times, not the run.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The second to name a new file by: now, or later than every event file of the folder. TensorBoard reads files in the
/// order of their names, so a resumed run's file must come last even within one second or after the clock was set back.
fn next_second(folder: &Path) -> Result<u64> {
    let mut next = now().as_secs();
    let entries = std::fs::read_dir(folder).map_err(strait_model::Error::io(folder, "list the folder"))?;
    for entry in entries {
        let entry = entry.map_err(strait_model::Error::io(folder, "list the folder"))?;
        let name = entry.file_name();
        let begun = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('.').next())
            .and_then(|digits| digits.parse::<u64>().ok());
        next = next.max(begun.map_or(0, |begun| begun.saturating_add(1)));
    }
    Ok(next)
}

/// A record: length, masked checksum of the length, data, masked checksum of the data; all little-endian.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked_crc(data).to_le_bytes());
    record
}

/// CRC-32C, rotated and shifted so that a record of records does not check its own checksums.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Field numbers of the messages written here.
mod field {
    pub mod event {
        pub const WALL_TIME: u64 = 1;
        pub const STEP: u64 = 2;
        pub const FILE_VERSION: u64 = 3;
        pub const SUMMARY: u64 = 5;
        pub const SESSION_LOG: u64 = 7;
    }
    pub mod summary {
        pub const VALUE: u64 = 1;
    }
    pub mod value {
        pub const TAG: u64 = 1;
        pub const SIMPLE_VALUE: u64 = 2;
    }
    pub mod session_log {
        pub const STATUS: u64 = 1;
    }
}

/// A message of protocol buffers in the making.
#[derive(Default)]
struct Fields {
    bytes: Vec<u8>,
}

impl Fields {
    fn integer(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, field: u64, value: &str) {
        self.block(field, value.as_bytes());
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.block(field, &inner.bytes);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn block(&mut self, field: u64, content: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(content.len() as u64);
        self.bytes.extend_from_slice(content);
    }

    /// Seven bits a byte, lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file, checksums verified.
    fn events(path: &Path) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            let data = &after[4..][..u64::from_le_bytes(length.try_into().unwrap()) as usize];
            let whole = record(data);
            assert_eq!(whole, rest[..whole.len()]);
            events.push(data.to_vec());
            rest = &rest[whole.len()..];
        }
        events
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn a_checksum_is_crc32c_masked() {
        // CRC-32C of "123456789" is the check value of its definition. Its low 15 bits, 0x1283, come first in the
        // rotated word, 0x2507c60d.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(b"123456789"), 0x2507_c60d_u32.wrapping_add(0xa282_ead8));
    }

    #[test]
    fn a_scalar_is_encoded_as_the_schema_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 0).unwrap();
        writer.scalar("train/loss", 300, 1.5).unwrap();
        writer.flush().unwrap();
        let events = events(&files(folder.path())[0]);
        assert_eq!(events.len(), 3);
        // Wall time: field 1, eight bytes. Then step: field 2, varint.
        assert!(events.iter().all(|e| e[0] == 0x09 && e[9] == 0x10));
        let mut version = vec![0, 0x1a, 13];
        version.extend_from_slice(b"brain.Event:2");
        assert_eq!(events[0][10..], version);
        assert_eq!(events[1][10..], [1, 0x3a, 2, 0x08, 1]);
        // 300 = 0b10_0101100; the summary holds one value: 2 + 10 bytes of tag and 1 + 4 bytes of float.
        let mut scalar = vec![0xac, 0x02, 0x2a, 19, 0x0a, 17, 0x0a, 10];
        scalar.extend_from_slice(b"train/loss");
        scalar.push(0x15);
        scalar.extend_from_slice(&1.5_f32.to_le_bytes());
        assert_eq!(events[2][10..], scalar);
    }

    #[test]
    fn a_resumed_curve_gets_a_file_that_sorts_last_and_names_its_first_step() {
        let folder = tempfile::tempdir().unwrap();
        let future = folder.path().join(format!("{PREFIX}9000000000.host.1.0"));
        std::fs::write(&future, "").unwrap();
        drop(EventWriter::create(folder.path(), 0).unwrap());
        drop(EventWriter::create(folder.path(), 50).unwrap());
        let files = files(folder.path());
        assert_eq!(files.len(), 3);
        assert_eq!(files[0], future);
        assert_eq!(events(&files[1])[1][10], 1);
        assert_eq!(events(&files[2])[1][10], 51);
    }
}
