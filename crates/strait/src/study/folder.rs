//! The folder of a run: what was asked, which steps are done, and who is at work in it.
//!
//! Every file in it is whole or absent. A step's record is first written as running and last as done or failed, so that a
//! run killed at any instant leaves a record of where it stood. The lock on `.lock` belongs to the process and goes with
//! it, however it ends: a step recorded as running in a folder that nobody holds was interrupted.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use candle_core::{Device, DeviceLocation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use strait_model::{
    Error as FileError,
    files::{TEMPORARY_PREFIX, hex, open_regular, read_regular, sha256_of, write_atomically},
};

use super::{
    Plan, Seal, Step, Study, StudyFile,
    made::{self, Damage, Made, damages, digest},
    results::{REPORT, solution_folder},
};
use crate::{Error, Result, Table};

/// Version of the files of a run folder and of what `status` prints.
pub const SCHEMA: u32 = 1;

const LOCK: &str = ".lock";
const RUN: &str = "run.json";
const PLAN: &str = "plan.json";
const PREDICTIONS: &str = "predictions.json";
const STEPS: &str = "steps";
/// The study as resolved.
pub(super) const RESOLVED: &str = "study.resolved.toml";
const TIMES: &str = "times.csv";

/// What is wrong with a run folder.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file where a folder should be.
    #[error("this is a file, not a folder")]
    NotAFolder,
    /// A folder with other things in it.
    #[error("the folder holds `{entry}`, and no run of strait")]
    Foreign {
        /// Something in it.
        entry: String,
    },
    /// A folder that no run was begun in.
    #[error("the folder holds no run: it has no `{RUN}`")]
    NoRun,
    /// A run of another study.
    #[error("the folder holds a run of the study `{found}`, not of `{expected}`")]
    OtherStudy {
        /// The study that is run.
        expected: String,
        /// The study that the folder belongs to.
        found: String,
    },
    /// A folder of a later strait.
    #[error(
        "the folder was written by strait {version} with schema {found}, this strait knows schema {SCHEMA}"
    )]
    Schema {
        /// The schema found.
        found: u32,
        /// The strait that wrote it.
        version: String,
    },
    /// A record that is not what strait writes.
    #[error("`{file}` is not what strait writes: {reason}")]
    Malformed {
        /// The file within the folder.
        file: String,
        /// What the parser missed.
        reason: String,
    },
    /// A folder that another process works in.
    #[error("another run is at work in this folder")]
    Locked,
    /// Results that are not what a finished step made.
    #[error("{what}")]
    Damaged {
        /// The step that made it, and what is wrong with it.
        what: String,
    },
    /// Predictions that changed once they were sealed, or came once a step was begun.
    #[error("the study's predictions are not those that were sealed before its first step")]
    Predictions,
}

impl Problem {
    fn at(self, path: &Path) -> Error {
        Error::Run { path: path.into(), problem: Box::new(self) }
    }

    /// The remedy.
    pub fn hint(&self) -> String {
        match self {
            Self::NotAFolder | Self::Foreign { .. } => {
                "choose a folder of its own for the run with `--out`".into()
            }
            Self::NoRun => "name the folder of a run, such as `runs/technical`".into(),
            Self::OtherStudy { .. } => "choose another folder with `--out`, or name the study otherwise".into(),
            Self::Schema { .. } => "use that strait, or choose another folder with `--out`".into(),
            Self::Malformed { .. } => {
                "run the study into another folder with `--out`; edits and tables in this one can still be read".into()
            }
            Self::Damaged { .. } => {
                "`strait run` with the study and this folder as `--out` makes again what was damaged".into()
            }
            Self::Predictions => {
                "take them back to what `predictions.json` holds (or out, if it is not there), or run into another folder \
                 with `--out`"
                    .into()
            }
            Self::Locked => {
                "wait for it to end and look at it with `strait status`, or choose another folder with `--out`".into()
            }
        }
    }
}

/// A run folder that this process alone works in, until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Number of the session, counted from 1; 0 before [`RunFolder::begin`].
    session: usize,
    _lock: File,
}

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
    /// Where the tensors lived: `cpu`, or `cuda` and the number of the GPU.
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
    /// How far it came.
    pub state: Recorded,
    /// The session that began it, counted from 1.
    pub session: usize,
    /// When it began, in UTC.
    pub started: String,
    /// When it ended, in UTC.
    pub ended: Option<String>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
    /// The files that it made, with their SHA-256; of a step that is begun again, those of before.
    #[serde(default)]
    pub made: Made,
    /// One hash of all that each step made that it needs.
    #[serde(default)]
    pub rests_on: BTreeMap<String, String>,
}

/// What a record can say of a step.
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

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Version of this object.
    pub schema: u32,
    /// Name of the study.
    pub study: String,
    /// The run folder.
    pub folder: PathBuf,
    /// Whether a process is at work in it.
    pub running: bool,
    /// The steps in the order of the plan.
    pub steps: Vec<StepStatus>,
    /// The report, once it is written.
    pub report: Option<PathBuf>,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepStatus {
    /// The step.
    pub name: String,
    /// How far it is.
    pub state: State,
    /// How long it took, where it ended.
    pub seconds: Option<f64>,
    /// Why it failed, or what of it is damaged.
    pub error: Option<String>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its results are there and are those of the plan.
    Done,
    /// A process is at it.
    Running,
    /// A process was at it and is gone.
    Interrupted,
    /// It ended with an error.
    Failed,
    /// It was done, and what it made is not as it was made.
    Damaged,
    /// It was not begun, or its inputs have changed since.
    Waiting,
}

impl State {
    /// The word that is printed for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Damaged => "damaged",
            Self::Waiting => "waiting",
        }
    }
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

/// Where a study's run goes unless it is told otherwise.
pub fn default_folder(study: &str) -> PathBuf {
    Path::new("runs").join(study)
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
        self.seal(study, plan)?;
        let mut sessions = read_run(&self.path)?.map_or_else(Vec::new, |run| run.sessions);
        let strait = session.strait.clone();
        sessions.push(session);
        self.session = sessions.len();
        let resolved = study.to_toml()?;
        let resolved_sha256 = Some(hex(&Sha256::digest(&resolved)));
        self.write_json(
            RUN,
            &Run { schema: SCHEMA, strait, study: study.name.clone(), sessions, resolved_sha256 },
        )?;
        self.write("study.toml", file.text.as_bytes())?;
        self.write(RESOLVED, resolved.as_bytes())?;
        self.write_json(PLAN, plan)
    }

    /// Seals the study's predictions where no step has been begun; later it only looks whether they are still the same.
    fn seal(&self, study: &Study, plan: &Plan) -> Result<()> {
        let sealed = sealed(&self.path)?.map_or_else(Vec::new, |seal| seal.predictions);
        if sealed == study.predictions {
            return Ok(());
        }
        for step in &plan.steps {
            if read_step(&self.path, &step.name)?.is_some() {
                return Err(Problem::Predictions.at(&self.path));
            }
        }
        self.write_json(PREDICTIONS, &Seal::new(utc(SystemTime::now()), &study.predictions))
    }

    /// Whether the results of a step are there, are those of the plan and are as they were made.
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
        self.write_json(&step_file(&step.name), &record)?;
        Ok(RunningStep { folder: self, needs: step.needs.clone(), record, since: Instant::now() })
    }

    /// Writes `times.csv`: when each step of a plan began and ended, and how long it took. No other result holds the time of
    /// day, so that equal runs are equal files.
    ///
    /// # Errors
    /// If a record cannot be read or the file not be written.
    pub(super) fn write_times(&self, plan: &Plan) -> Result<()> {
        let mut records = Vec::new();
        for step in &plan.steps {
            records.extend(read_step(&self.path, &step.name)?);
        }
        let times = Table::of_rows("times", "When each step was done, and how long it took", &records)
            .text("step", |r| r.name.clone())
            .text("started", |r| r.started.clone())
            .text("ended", |r| r.ended.clone().unwrap_or_default())
            .real("seconds", "s", |r| r.seconds.unwrap_or(f64::NAN))
            .table();
        times.write_csv(&self.path.join(TIMES))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.path.join(name), |file| std::io::Write::write_all(file, bytes))?;
        Ok(())
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_atomically(&self.path.join(name), |file| Ok(serde_json::to_writer_pretty(file, value)?))?;
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
        self.folder.write_json(&step_file(&self.record.name), &self.record)
    }
}

/// Where the run in a folder stands, by the plan that it was begun with. Takes nothing away from a process that works in
/// it.
///
/// # Errors
/// If the folder holds no run, or one that cannot be read.
pub fn status(path: &Path) -> Result<Status> {
    let running = is_held(path)?;
    let run = read_run(path)?.ok_or_else(|| Problem::NoRun.at(path))?;
    let plan = read_plan(path)?;
    let report = path.join(REPORT);
    Ok(Status {
        schema: SCHEMA,
        steps: standing(path, &plan, running.then_some(run.sessions.len()))?,
        study: run.study,
        folder: path.into(),
        running,
        report: report.is_file().then_some(report),
    })
}

/// Where the steps of a plan stand in a folder, or would if the plan were begun there: `waiting` is what a run would do.
/// The folder need not be there.
///
/// # Errors
/// If a run into the folder would be refused, but for one that is at work, or its records cannot be read.
pub fn status_of(plan: &Plan, path: &Path, study: &str) -> Result<Vec<StepStatus>> {
    belongs_to(path, study)?;
    let sessions = read_run(path)?.map_or(0, |run| run.sessions.len());
    standing(path, plan, is_held(path)?.then_some(sessions))
}

/// Where each step of a plan stands, with the session that is at work.
/// The plan of a run; without steps where none was begun.
pub(super) fn read_plan(path: &Path) -> Result<Plan> {
    Ok(read_json(path, PLAN)?.unwrap_or(Plan { steps: Vec::new() }))
}

fn standing(path: &Path, plan: &Plan, at_work: Option<usize>) -> Result<Vec<StepStatus>> {
    plan.steps.iter().map(|step| Ok(stand(path, step, at_work)?.0)).collect()
}

/// Where a step stands, and what of it is not as it was made.
fn stand(path: &Path, step: &Step, at_work: Option<usize>) -> Result<(StepStatus, Vec<Damage>)> {
    let of = |state, seconds, error| StepStatus { name: step.name.clone(), state, seconds, error };
    let record = match read_step(path, &step.name) {
        // A record that is none says nothing of what it stood for.
        Err(Error::Run { problem, .. }) => {
            return Ok((of(State::Damaged, None, Some(problem.to_string())), Vec::new()));
        }
        record => record?,
    };
    let Some(record) = record else { return Ok((of(State::Waiting, None, None), Vec::new())) };
    let damages = match record.state {
        Recorded::Done => damages(&record.made, &made::made(path, &step.name)?),
        Recorded::Failed | Recorded::Running => Vec::new(),
    };
    if record.key != step.key {
        return Ok((of(State::Waiting, None, None), damages));
    }
    let state = match record.state {
        Recorded::Done if !damages.is_empty() => State::Damaged,
        Recorded::Done if rests_on(path, &step.needs)? == record.rests_on => State::Done,
        // What it needs was made again, and has become something else.
        Recorded::Done => State::Waiting,
        Recorded::Failed => State::Failed,
        Recorded::Running if at_work == Some(record.session) => State::Running,
        Recorded::Running => State::Interrupted,
    };
    let error = if damages.is_empty() { record.error } else { Some(made::in_words(&damages)) };
    Ok((of(state, record.seconds, error), damages))
}

/// One hash of all that each of some steps made.
fn rests_on(path: &Path, needs: &[String]) -> Result<BTreeMap<String, String>> {
    let mut rests_on = BTreeMap::new();
    for need in needs {
        // A record that cannot be read is damage of that step.
        if let Some(record) = read_step(path, need).unwrap_or_default() {
            rests_on.insert(need.clone(), digest(&record.made));
        }
    }
    Ok(rests_on)
}

/// Refuses to go by results that are not as they were made, but for the report, which is about to be written.
pub(super) fn refuse_damage(path: &Path) -> Result<()> {
    let resolved = path.join(RESOLVED);
    let written = read_run(path)?.and_then(|run| run.resolved_sha256);
    if let Some(written) = written
        && (!resolved.is_file() || sha256_of(&resolved, |_| ())? != written)
    {
        return Err(Problem::Damaged { what: format!("`{RESOLVED}` is not as it was made") }.at(path));
    }
    for step in read_plan(path)?.steps {
        let (StepStatus { name, state, error, .. }, mut damages) = stand(path, &step, None)?;
        let only_the_report = !damages.is_empty() && damages.iter().all(|damage| damage.file == REPORT);
        if state == State::Damaged && !only_the_report {
            damages.retain(|damage| damage.file != REPORT);
            let what = if damages.is_empty() { error.unwrap_or_default() } else { made::in_words(&damages) };
            return Err(Problem::Damaged { what: format!("step `{name}`: {what}") }.at(path));
        }
    }
    Ok(())
}

/// Records that the report of a run was written again, where no run is at work and its step was done.
pub(super) fn report_written(path: &Path) -> Result<()> {
    if is_held(path)? {
        return Ok(());
    }
    let Some(mut record) = read_step(path, Step::REPORT)?.filter(|r| r.state == Recorded::Done) else {
        return Ok(());
    };
    let found = made::made(path, Step::REPORT)?;
    if let Some(sha256) = found.get(REPORT) {
        record.made.insert(REPORT.into(), sha256.clone());
    }
    write_atomically(&path.join(step_file(Step::REPORT)), |file| {
        Ok(serde_json::to_writer_pretty(file, &record)?)
    })?;
    Ok(())
}

/// Refuses a folder in which a run of this study has no place.
fn belongs_to(path: &Path, study: &str) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(Problem::NotAFolder.at(path));
    }
    match read_run(path)? {
        Some(run) if run.study != study => {
            Err(Problem::OtherStudy { expected: study.into(), found: run.study }.at(path))
        }
        Some(_) => Ok(()),
        None => match foreign_entry(path)? {
            Some(entry) => Err(Problem::Foreign { entry }.at(path)),
            None => Ok(()),
        },
    }
}

/// Something in the folder that is not the beginning of a run.
fn foreign_entry(path: &Path) -> Result<Option<String>> {
    for entry in entries(path)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != LOCK && !name.starts_with(TEMPORARY_PREFIX) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Removes the temporary files of writes that were cut off, in the folder and below.
fn remove_temporary_files(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let path = entry.path();
        let kind = entry.file_type().map_err(FileError::io(&path, "look at the file"))?;
        if kind.is_dir() {
            remove_temporary_files(&path)?;
        } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            std::fs::remove_file(&path).map_err(FileError::io(&path, "remove the temporary file"))?;
        }
    }
    Ok(())
}

/// What is in a folder, in the order of names; nothing if it is not there.
fn entries(folder: &Path) -> Result<Vec<std::fs::DirEntry>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect),
    };
    let mut entries: Vec<_> = entries.map_err(FileError::io(folder, "read the folder"))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    Ok(entries)
}

/// Takes the lock of a folder.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(FileError::io(&path, "write the lock"))?;
    let mut patience = LOCK_TRIES;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(FileError::io(path, "lock the folder")(error).into());
            }
            Err(TryLockError::WouldBlock) if patience == 0 => return Err(Problem::Locked.at(folder)),
            Err(TryLockError::WouldBlock) => {
                patience -= 1;
                std::thread::sleep(LOCK_PAUSE);
            }
        }
    }
}

/// Asking for the status holds the lock for an instant, which must not turn a run away.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Whether a process holds the lock of a folder.
fn is_held(folder: &Path) -> Result<bool> {
    let path = folder.join(LOCK);
    let file = match open_regular(&path) {
        Err(FileError::Io { source, .. }) if is_absent(&source) => return Ok(false),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(FileError::io(path, "look at the lock")(error).into()),
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Bytes of the longest record that is read: of a plan with all the solutions that a study may have.
const LONGEST: u64 = 64 << 20;

fn read_run(folder: &Path) -> Result<Option<Run>> {
    /// What every schema has.
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

fn read_step(folder: &Path, step: &str) -> Result<Option<StepRecord>> {
    read_json(folder, &step_file(step))
}

fn step_file(step: &str) -> String {
    format!("{STEPS}/{step}.json")
}

/// A record of the folder; none if it is not there.
fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    let bytes = match read_regular(&path, LONGEST) {
        Err(FileError::Io { source, .. }) if is_absent(&source) => return Ok(None),
        bytes => bytes?,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Problem::Malformed { file: name.into(), reason: e.to_string() }.at(folder))
}

/// The predictions that were sealed in a run folder.
pub fn sealed(folder: &Path) -> Result<Option<Seal>> {
    read_json(folder, PREDICTIONS)
}

/// A time as `2026-02-28T23:59:59Z`.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from 1 March of a year that 400 divides, so that a leap day is the last of its year.
    let days = days + DAYS_BEFORE_1970;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = 400 * era + year + next;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// From 1 March of the year 0 to 1 January 1970.
const DAYS_BEFORE_1970: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
