//! The records of a run folder: the run's, and one a step.

use std::{collections::BTreeMap, io::ErrorKind, path::Path, time::SystemTime};

use candle_core::{Device, DeviceLocation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use strait_model::{
    Error as FileError,
    files::{read_regular, write_atomically},
};

use super::{
    super::SCHEMA,
    super::{Plan, made::Made},
    Problem, RUN,
    clock::utc,
};
use crate::Result;

pub(super) const PLAN: &str = "plan.json";
const STEPS: &str = "steps";

/// Bytes of the longest record that is read: of a plan with all the solutions that a study may have.
const LONGEST: u64 = 64 << 20;

/// `run.json`: what was run, and every time that it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Version of the folder's files.
    pub schema: u32,
    /// The strait that wrote this last.
    pub strait: String,
    /// Name of the study.
    pub study: String,
    /// The starts of the run, the first one first.
    pub sessions: Vec<Session>,
    /// SHA-256 of the study as resolved, which reports are drawn by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_sha256: Option<String>,
}

/// One start of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// When, in UTC.
    pub started: String,
    /// The strait that ran.
    pub strait: String,
    /// The command line.
    pub command: Vec<String>,
    /// Threads used.
    pub threads: usize,
    /// The device of the tensors: `cpu`, or `cuda` and the number of the GPU.
    #[serde(default = "cpu")]
    pub device: String,
    /// Operating system, as Rust names it.
    pub os: String,
    /// Architecture of the processor, as Rust names it.
    pub architecture: String,
}

impl Session {
    /// A start of this program, now.
    pub fn now(command: Vec<String>, threads: usize, device: &Device) -> Self {
        let device = match device.location() {
            DeviceLocation::Cpu => cpu(),
            DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
            DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
        };
        Self {
            started: utc(SystemTime::now()),
            strait: env!("CARGO_PKG_VERSION").into(),
            command,
            threads,
            device,
            os: std::env::consts::OS.into(),
            architecture: std::env::consts::ARCH.into(),
        }
    }
}

fn cpu() -> String {
    "cpu".into()
}

/// `steps/<name>.json`: where a step stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Version of the folder's files.
    pub schema: u32,
    /// The step's name.
    pub name: String,
    /// The key of the plan that it was begun with.
    pub key: String,
    /// Its state.
    pub state: Recorded,
    /// The session that began it, counted from 1.
    pub session: usize,
    /// The time at which it began, in UTC.
    pub started: String,
    /// The time at which it ended, in UTC.
    pub ended: Option<String>,
    /// The seconds that it took.
    pub seconds: Option<f64>,
    /// The error with which it failed.
    pub error: Option<String>,
    /// The files that it made, with their SHA-256; of a step that is begun again, those of before.
    #[serde(default)]
    pub made: Made,
    /// One hash of all that each step made that it needs.
    #[serde(default)]
    pub rests_on: BTreeMap<String, String>,
}

/// The state of a step in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorded {
    /// It was begun.
    Running,
    /// It ended well.
    Done,
    /// It ended with an error.
    Failed,
}

/// The record of a run; none where none was begun.
pub(super) fn read_run(folder: &Path) -> Result<Option<Run>> {
    /// The part that every schema has.
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
        strait: String,
    }
    match read_json::<Version>(folder, RUN)? {
        None => Ok(None),
        Some(Version { schema, strait }) if schema > SCHEMA => {
            Err(Problem::Schema { found: schema, version: strait }.at(folder))
        }
        Some(_) => read_json(folder, RUN),
    }
}

/// The record of a step; none where it was not begun.
pub(super) fn read_step(folder: &Path, step: &str) -> Result<Option<StepRecord>> {
    read_json(folder, &step_file(step))
}

/// The file of a step's record.
pub(super) fn step_file(step: &str) -> String {
    format!("{STEPS}/{step}.json")
}

/// The plan of a run; without steps where none was begun.
pub(in super::super) fn read_plan(folder: &Path) -> Result<Plan> {
    Ok(read_json(folder, PLAN)?.unwrap_or(Plan { steps: Vec::new() }))
}

/// A record of the folder; none if it is not there.
pub(super) fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    let bytes = match read_regular(&path, LONGEST) {
        Err(FileError::Io { source, .. }) if is_absent(&source) => return Ok(None),
        bytes => bytes?,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Problem::Malformed { file: name.into(), reason: e.to_string() }.at(folder))
}

/// Writes a JSON file of a folder, whole or not at all.
pub(crate) fn write_json(folder: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    write_atomically(&folder.join(name), |file| Ok(serde_json::to_writer_pretty(file, value)?))?;
    Ok(())
}

/// True if a file is missing, rather than unreadable.
pub(super) fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
