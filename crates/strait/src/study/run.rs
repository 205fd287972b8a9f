//! Running a study: each step of the plan that is not done yet, one by one or by several workers.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use candle_core::Device;
use strait_model::{
    ops::ActivationLimit,
    progress::{Progress, Silent},
};

use super::{
    RunFolder, Session, State, Step, StepStatus, Study, StudyFile,
    crew::{WorkerProgress, carry_out},
    default_folder,
    folder::status_of,
    planned::Planned,
    results::{Outcome, outcome},
    worker::Worker,
};
use crate::{Error, Result, lab::Limits};

/// The plan of a run, with its estimate.
pub struct DryRun {
    /// The study as resolved.
    pub study: Study,
    /// Its steps, with where they stand in the run folder.
    pub steps: Vec<StepStatus>,
    /// The presets as they became, and the estimate of time and memory, in words.
    pub lines: Vec<String>,
}

/// The plan of a study, without carrying it out.
///
/// # Errors
/// If the study, its data or its model cannot be read.
pub fn dry_run(
    file: &Path,
    out: Option<&Path>,
    device: &Device,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<DryRun> {
    let plan = Planned::new(StudyFile::read(file)?, device, limits, progress)?;
    let folder = out.map_or_else(|| default_folder(&plan.study.name), Path::to_path_buf);
    outlook(plan, &folder, device, limits, progress)
}

/// The plan of a study whose model is found, in a run folder.
///
/// # Errors
/// As [`dry_run`].
pub(crate) fn outlook(
    plan: Planned,
    folder: &Path,
    device: &Device,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<DryRun> {
    plan.hold_weights(limits)?;
    let steps = status_of(&plan.plan, folder, &plan.study.name)?;
    let mut lines = plan.preset_lines();
    let worker = Worker::new(&plan, device, progress)?;
    lines.extend(worker.said().iter().cloned());
    let (budget, estimate, speed) = worker.estimate(|_| true, limits)?;
    lines.extend(worker.solution_lines(speed, &budget));
    lines.extend(worker.measure_lines());
    lines.push(
        "the report will say of each of these whether it holds ([[prediction]] takes them as claims):".into(),
    );
    lines.extend(plan.study.claims().into_iter().map(|claim| format!("  {claim}")));
    lines.extend(plan.estimated(&estimate, &budget)?);
    Ok(DryRun { steps, lines, study: plan.study })
}

/// The seconds that the rest of a planned study takes in a run folder, by trials of its model on the threads of this pool.
///
/// # Errors
/// As [`dry_run`].
pub(crate) fn seconds_left(planned: &Planned, folder: &Path, device: &Device, limits: Limits) -> Result<f64> {
    planned.hold_weights(limits)?;
    let steps = status_of(&planned.plan, folder, &planned.study.name)?;
    let is_left = |name: &str| steps.iter().any(|step| step.name == name && step.state != State::Done);
    let (_, estimate, _) = Worker::new(planned, device, &Silent)?.estimate(is_left, limits)?;
    Ok(estimate.seconds())
}

/// Runs a study, or what is left of it, within limits that its results do not depend on.
///
/// # Errors
/// [`Error::Interrupted`] after a request to stop, with everything saved; or the error of the step that failed.
pub fn run(
    file: &Path,
    out: Option<&Path>,
    device: &Device,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let planned = Planned::new(StudyFile::read(file)?, device, limits, progress)?;
    let path = out.map_or_else(|| default_folder(&planned.study.name), Path::to_path_buf);
    complete(&planned, &path, device, limits, progress)?;
    outcome(&path)
}

/// Does what is left of a study in a run folder.
///
/// # Errors
/// As [`run`].
pub(crate) fn complete(
    planned: &Planned,
    path: &Path,
    device: &Device,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<()> {
    let Planned { file, study, plan, .. } = planned;
    let mut folder = RunFolder::open(path, &study.name)?;
    let session = Session::now(command_line(), rayon::current_num_threads(), device);
    folder.begin(session, file, study, plan)?;
    planned.preset_lines().iter().for_each(|line| progress.note(line));

    // What was damaged is made again; where it has become something else, so is what rests on it.
    for _ in 0..=plan.steps.len() {
        let left = folder.left(plan)?;
        for (step, damage) in &left {
            if let Some(damage) = damage {
                progress.note(&format!("{}: {damage}; the step is done again", step.name));
            }
        }
        let left: Vec<&Step> = left.into_iter().map(|(step, _)| step).collect();
        if left.is_empty() {
            break;
        }
        carry_out_all(left, planned, &folder, device, limits, progress)?;
    }
    folder.write_times(plan)
}

fn carry_out_all(
    left: Vec<&Step>,
    planned: &Planned,
    folder: &RunFolder,
    device: &Device,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<()> {
    planned.hold_weights(limits)?;
    let mut measures = left.iter().filter_map(|step| planned.study.measures.asked.get(&step.name));
    measures.try_for_each(|measure| measure.ready(progress))?;
    let worker = Worker::new(planned, device, progress)?;
    worker.said().iter().for_each(|line| progress.note(line));
    let (budget, estimate, _) = worker.estimate(|name| left.iter().any(|step| step.name == name), limits)?;
    planned.estimated(&estimate, &budget)?.iter().for_each(|line| progress.note(line));
    worker.lab.store.limit(budget.rows);
    let _limit = ActivationLimit::new(budget.activations);
    match budget.jobs {
        1 => one_by_one(left, worker, folder),
        jobs => beside_each_other(left, worker, folder, jobs),
    }
}

fn one_by_one(steps: Vec<&Step>, mut worker: Worker, folder: &RunFolder) -> Result<()> {
    // On a thread of the pool: one outside would sleep and be woken for every operation that threads share.
    rayon::scope(|_| steps.into_iter().try_for_each(|step| recorded(step, &mut worker, folder)))
}

/// Does steps by `jobs` workers, each with rows and threads of its own.
fn beside_each_other(steps: Vec<&Step>, worker: Worker, folder: &RunFolder, jobs: usize) -> Result<()> {
    let halted = AtomicBool::new(false);
    let progresses: Vec<_> = (0..jobs).map(|_| WorkerProgress::new(worker.lab.progress, &halted)).collect();
    let threads = (rayon::current_num_threads() / jobs).max(1);
    let mut workers = Vec::with_capacity(jobs);
    for progress in &progresses {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Error::Threads { reason: e.to_string() })?;
        workers.push((pool, progress, worker.beside(progress)));
    }
    carry_out(steps, workers, |(pool, progress, worker), step| {
        progress.turn_to(&step.name);
        let result = pool.install(|| recorded(step, worker, folder));
        if result.is_err() {
            halted.store(true, Ordering::Relaxed);
        }
        result
    })
}

/// Does a step and keeps record of it.
fn recorded(step: &Step, worker: &mut Worker, folder: &RunFolder) -> Result<()> {
    if worker.lab.progress.stopped() {
        return Err(Error::Interrupted);
    }
    let running = folder.start(step)?;
    let result = worker.carry_out(step, folder.path());
    match &result {
        Ok(()) => running.done()?,
        Err(Error::Interrupted) => {}
        Err(error) => running.failed(error)?,
    }
    result
}

/// The command that runs, as text.
fn command_line() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}
