//! The folder of a run: what was asked, which steps are done, and who is at work in it.
//!
//! Every file in it is whole or absent. A step's record is first written as running and last as done or failed, so that a
//! run killed at any instant leaves a record of where it stood. The lock on `.lock` belongs to the process and goes with
//! it, however it ends: a step recorded as running in a folder that nobody holds was interrupted.

mod clock;
mod content;
mod lock;
mod problem;
mod records;
mod seal;
mod status;
mod times;

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use sha2::{Digest, Sha256};
use strait_model::{
    Error as FileError,
    files::{hex, write_atomically},
};

use super::{Plan, SCHEMA, Step, Study, StudyFile, layout::solution_folder, made};
use crate::{Error, Result};

use content::{belongs_to, remove_temporary_files};
use lock::lock;
pub(crate) use records::write_json;
use records::{PLAN, read_run, read_step, step_file};
use seal::seal;
use status::{rests_on, stand};

pub(crate) use clock::utc;
pub use problem::Problem;
pub(super) use records::read_plan;
pub use records::{Recorded, Run, Session, StepRecord};
pub use seal::sealed;
pub use status::{State, Status, StepStatus, status, status_of};
pub(super) use status::{refuse_damage, report_written};

/// The record of what was run, and of every time that it was.
const RUN: &str = "run.json";

/// The study as resolved.
pub(super) const RESOLVED: &str = "study.resolved.toml";

/// A run folder that this process alone works in, until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Number of the session, counted from 1; 0 before [`RunFolder::begin`].
    session: usize,
    _lock: File,
}

/// A step that is being done. Dropped without a word, it stays on record as running, and so as interrupted.
#[derive(Debug)]
#[must_use]
pub struct RunningStep<'a> {
    folder: &'a RunFolder,
    needs: Vec<String>,
    record: StepRecord,
    since: Instant,
}

/// The run folder of a study that names none.
pub fn default_folder(study: &str) -> PathBuf {
    Path::new("runs").join(study)
}

/// True if a run was begun in a folder.
pub fn is_run(folder: &Path) -> bool {
    folder.join(RUN).is_file()
}

impl RunFolder {
    /// Takes a folder for the run of a study, making it where it is not there, and removes what a killed run left half
    /// written.
    ///
    /// # Errors
    /// If the folder belongs to another study or to something else, cannot be written, or another process works in it.
    pub fn open(path: &Path, study: &str) -> Result<Self> {
        // Looked at before anything is written, so that a foreign folder stays as it is, and again under the lock.
        belongs_to(path, study)?;
        std::fs::create_dir_all(path).map_err(FileError::io(path, "create the folder"))?;
        let lock = lock(path)?;
        belongs_to(path, study)?;
        remove_temporary_files(path)?;
        Ok(Self { path: path.into(), session: 0, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records the start of a run: `run.json`, the study as written and as resolved, and the plan.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn begin(&mut self, session: Session, file: &StudyFile, study: &Study, plan: &Plan) -> Result<()> {
        seal(&self.path, study, plan)?;
        let mut sessions = read_run(&self.path)?.map_or_else(Vec::new, |run| run.sessions);
        let strait = session.strait.clone();
        sessions.push(session);
        self.session = sessions.len();
        let resolved = study.to_toml()?;
        let resolved_sha256 = Some(hex(&Sha256::digest(&resolved)));
        let run = Run { schema: SCHEMA, strait, study: study.name.clone(), sessions, resolved_sha256 };
        write_json(&self.path, RUN, &run)?;
        self.write("study.toml", file.text.as_bytes())?;
        self.write(RESOLVED, resolved.as_bytes())?;
        write_json(&self.path, PLAN, plan)
    }

    /// True if the results of a step are there, are those of the plan and are as they were made.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn is_done(&self, step: &Step) -> Result<bool> {
        Ok(stand(&self.path, step, None)?.0.state == State::Done)
    }

    /// The steps of a plan that are not done, each with the words for what of it was damaged. A solution of which more than
    /// its edit was damaged is taken away, lest its training go on from there.
    ///
    /// # Errors
    /// If what they made cannot be read, or not be removed.
    pub(super) fn left<'p>(&self, plan: &'p Plan) -> Result<Vec<(&'p Step, Option<String>)>> {
        let mut left = Vec::new();
        for step in &plan.steps {
            let (StepStatus { state, error, .. }, damages) = stand(&self.path, step, None)?;
            if let Some(solution) = step.name.strip_prefix(Step::TRAINING) {
                let own = solution_folder(&self.path, solution);
                if damages.iter().any(|damage| self.path.join(&damage.file) != own.edit()) {
                    own.clear()?;
                }
            }
            if state != State::Done {
                left.push((step, error.filter(|_| state == State::Damaged)));
            }
        }
        Ok(left)
    }

    /// Records that a step is begun.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn start(&self, step: &Step) -> Result<RunningStep<'_>> {
        let before = read_step(&self.path, &step.name).unwrap_or_default();
        let (made, rests_on) = before.map(|record| (record.made, record.rests_on)).unwrap_or_default();
        let record = StepRecord {
            schema: SCHEMA,
            name: step.name.clone(),
            key: step.key.clone(),
            state: Recorded::Running,
            session: self.session,
            started: utc(SystemTime::now()),
            ended: None,
            seconds: None,
            error: None,
            made,
            rests_on,
        };
        write_json(&self.path, &step_file(&step.name), &record)?;
        Ok(RunningStep { folder: self, needs: step.needs.clone(), record, since: Instant::now() })
    }

    /// Writes `times.csv`, which says when each step of a plan was done.
    ///
    /// # Errors
    /// If a record cannot be read or the file not be written.
    pub(super) fn write_times(&self, plan: &Plan) -> Result<()> {
        times::write_times(&self.path, plan)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.path.join(name), |file| file.write_all(bytes))?;
        Ok(())
    }
}

impl RunningStep<'_> {
    /// Records that the step's results are all there, and which they are.
    ///
    /// # Errors
    /// If the results cannot be read or the record not be written.
    pub fn done(mut self) -> Result<()> {
        let folder = &self.folder.path;
        self.record.made = made::made(folder, &self.record.name)?;
        self.record.rests_on = rests_on(folder, &self.needs)?;
        self.end(Recorded::Done, None)
    }

    /// Records that the step failed.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn failed(self, error: &Error) -> Result<()> {
        self.end(Recorded::Failed, Some(error.to_string()))
    }

    fn end(mut self, state: Recorded, error: Option<String>) -> Result<()> {
        self.record.state = state;
        self.record.ended = Some(utc(SystemTime::now()));
        self.record.seconds = Some(self.since.elapsed().as_secs_f64());
        self.record.error = error;
        write_json(&self.folder.path, &step_file(&self.record.name), &self.record)
    }
}
