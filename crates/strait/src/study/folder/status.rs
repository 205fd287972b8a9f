//! The progress of a run and its steps.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;
use strait_model::files::sha256_of;

use super::{
    super::{
        Plan, Step,
        layout::REPORT,
        made::{self, Damage, damages, digest},
    },
    Problem, RESOLVED, SCHEMA,
    content::belongs_to,
    lock::is_held,
    records::{Recorded, read_plan, read_run, read_step, step_file, write_json},
};
use crate::{Error, Result};

/// The progress of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Version of this object.
    pub schema: u32,
    /// Name of the study.
    pub study: String,
    /// The run folder.
    pub folder: PathBuf,
    /// True if a process is at work in it.
    pub running: bool,
    /// The steps in the order of the plan.
    pub steps: Vec<StepStatus>,
    /// The report, once it is written.
    pub report: Option<PathBuf>,
}

/// The progress of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepStatus {
    /// The step.
    pub name: String,
    /// Its state.
    pub state: State,
    /// The seconds that it took, where it ended.
    pub seconds: Option<f64>,
    /// The error with which it failed, or the damage to it.
    pub error: Option<String>,
}

/// The state of a step.
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

/// The progress of the run in a folder, by the plan that it was begun with. A process that works in it is not disturbed.
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

/// The progress of a plan's steps in a folder, or as it would be if the plan were begun there: `waiting` is what a run would do.
/// The folder need not be there.
///
/// # Errors
/// If a run into the folder would be refused, but for one that is at work, or its records cannot be read.
pub fn status_of(plan: &Plan, path: &Path, study: &str) -> Result<Vec<StepStatus>> {
    belongs_to(path, study)?;
    let sessions = read_run(path)?.map_or(0, |run| run.sessions.len());
    standing(path, plan, is_held(path)?.then_some(sessions))
}

/// The progress of each step of a plan, with the session that is at work.
fn standing(path: &Path, plan: &Plan, at_work: Option<usize>) -> Result<Vec<StepStatus>> {
    plan.steps.iter().map(|step| Ok(stand(path, step, at_work)?.0)).collect()
}

/// The progress of a step, and the damage to what it made.
pub(super) fn stand(path: &Path, step: &Step, at_work: Option<usize>) -> Result<(StepStatus, Vec<Damage>)> {
    let of = |state, seconds, error| StepStatus { name: step.name.clone(), state, seconds, error };
    let record = match read_step(path, &step.name) {
        // A record that is none says nothing of what it stood for.
        Err(Error::Input { problem, .. }) => {
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
pub(super) fn rests_on(path: &Path, needs: &[String]) -> Result<BTreeMap<String, String>> {
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
pub(in super::super) fn refuse_damage(path: &Path) -> Result<()> {
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
pub(in super::super) fn report_written(path: &Path) -> Result<()> {
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
    write_json(path, &step_file(Step::REPORT), &record)
}
