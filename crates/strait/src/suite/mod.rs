//! Suites: several studies in one folder, with one report.
//!
//! A suite is a template, a study with holes, and the values of these; every combination of them is one study, which runs in a
//! folder of its own below that of the suite and is an ordinary run. Each is locked while a process is at it, so that
//! several machines that share the folder can share the suite.

mod bar;
mod claimed;
mod claims;
mod figure;
mod file;
mod joined;
mod page;
mod pictures;
mod plot;
mod problem;
mod split;
mod standing;
mod tables;
mod template;
mod time;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use candle_core::Device;
use serde::Serialize;
use strait_model::progress::Progress;

use crate::{
    Error, Result,
    lab::Limits,
    report::{Conclusion, Input, conclude},
    study::{
        self, DryRun, FolderProblem, Planned, Status, StudyFile, complete, is_run, outlook, report_input,
    },
};
use bar::Bar;
pub(crate) use claimed::claimed;
pub(crate) use claims::table;
pub use claims::{Check, Claim, Claims, Groups};
pub use joined::{StudyTables, over_studies, write_into};
pub(crate) use plot::looks;
pub use plot::{Axis, Plot, Series, Shape};
pub use problem::Problem;
pub use standing::{Standing, verdict};
pub use template::fill;
pub(crate) use time::say_time;

/// A suite of studies.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// The title of its report.
    pub title: String,
    /// The question that it asks, in the report's words; may be empty.
    pub about: String,
    /// The values of the holes of every study, and the study.
    pub studies: Vec<(Vec<(String, String)>, StudyFile)>,
    /// The claims that it makes of its own.
    pub claims: Claims,
}

/// One study of a suite that was run.
#[derive(Clone, Debug, Serialize)]
pub struct Ended {
    /// Its name.
    pub study: String,
    /// The values of its holes.
    pub values: Vec<(String, String)>,
    /// Its run folder.
    pub folder: PathBuf,
    /// Its conclusion; none where another process is at it.
    pub conclusion: Option<Conclusion>,
    /// All that its own report shows.
    #[serde(skip)]
    input: Option<Input>,
}

impl Ended {
    /// The values of its holes and its tables, where it has some.
    fn tables(&self) -> Option<StudyTables<'_>> {
        Some((&self.values, &self.input.as_ref()?.tables))
    }
}

/// A suite that was run.
#[derive(Clone, Debug, Serialize)]
pub struct SuiteOutcome {
    /// Its folder.
    pub folder: PathBuf,
    /// Its studies.
    pub studies: Vec<Ended>,
    /// Every claim of the studies over all of them.
    pub claims: Vec<tables::OverAll>,
    /// The suite's own claims, part by part.
    pub checks: Vec<Check>,
    /// Its report.
    pub report: PathBuf,
}

impl Suite {
    /// Runs the studies that are not finished, as many at a time as `limits` allow, and writes the report and the tables over
    /// all of them.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a request to stop, with everything saved; or the error of the first study that failed.
    pub fn run(
        &self,
        out: &Path,
        device: &Device,
        limits: Limits,
        progress: &dyn Progress,
    ) -> Result<SuiteOutcome> {
        let shares = self.shares(limits);
        let planned = self.planned(out, device, shares.limits, progress)?;
        say_time(&planned, out, device, shares, progress)?;
        let inputs = run_all(&planned, out, device, shares, progress)?;
        let mut studies = Vec::new();
        for (((values, _), planned), mut input) in self.studies.iter().zip(&planned).zip(inputs) {
            let folder = out.join(&planned.study.name);
            let conclusion = input.as_ref().map(|input| conclude(&input.facts, &input.tables));
            if let Some(input) = &mut input {
                input.tables.extend(self.claims.figures_of(values, &input.tables));
            }
            let (study, values) = (planned.study.name.clone(), values.clone());
            studies.push(Ended { study, values, folder, conclusion, input });
        }
        let found: Vec<StudyTables<'_>> = studies.iter().filter_map(Ended::tables).collect();
        let (checks, mut plots) = (self.claims.checks(&found), self.claims.plots(&found));
        // No table of a study is called so.
        plots.iter_mut().for_each(|plot| plot.name.insert_str(0, "plot_"));
        let claims = tables::over_all(&studies);
        let own = claims::table("suite_claims", &checks);
        let report = page::write(self, &studies, &claims, (&checks, &plots, &own), out)?;
        let own = [own].into_iter().chain(plots.iter().map(Plot::table));
        tables::write(&studies, &claims, own, out, progress)?;
        Ok(SuiteOutcome { folder: out.into(), studies, claims, checks, report })
    }

    /// The plan of a run, study by study, without doing it.
    ///
    /// # Errors
    /// If a study, its data or its model cannot be read.
    pub fn dry_run(
        &self,
        out: &Path,
        device: &Device,
        limits: Limits,
        progress: &dyn Progress,
    ) -> Result<Vec<DryRun>> {
        let limits = self.shares(limits).limits;
        let studies = self.planned(out, device, limits, progress)?.into_iter();
        let outlook = |planned: Planned| {
            let folder = out.join(&planned.study.name);
            outlook(planned, &folder, device, limits, progress)
        };
        studies.map(outlook).collect()
    }

    /// The part of the machine that each study has.
    fn shares(&self, limits: Limits) -> Shares {
        let beside = limits.jobs.map_or(1, NonZeroUsize::get).min(self.studies.len().max(1));
        Shares::of(limits, beside)
    }

    /// The studies with their models found and their plans made.
    fn planned(
        &self,
        out: &Path,
        device: &Device,
        limits: Limits,
        progress: &dyn Progress,
    ) -> Result<Vec<Planned>> {
        let mut all: Vec<Planned> = Vec::new();
        for (_, file) in &self.studies {
            let planned = Planned::new(file.clone(), device, limits, progress)?;
            if all.iter().any(|other| other.study.name == planned.study.name) {
                return Err(Problem::SameName { name: planned.study.name }.at(out, None));
            }
            all.push(planned);
        }
        Ok(all)
    }
}

/// The progress of every study in the folder of a suite, or of a demo, by their names; none where it holds no studies.
///
/// # Errors
/// If a folder cannot be read, or holds what is no run.
pub fn status(folder: &Path) -> Result<Vec<Status>> {
    let mut studies = Vec::new();
    for around in [folder, &folder.join("studies")] {
        let Ok(entries) = std::fs::read_dir(around) else { continue };
        let runs = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_run(path));
        studies.extend(runs.map(|path| study::status(&path)).collect::<Result<Vec<_>>>()?);
    }
    studies.sort_by(|one, other| one.study.cmp(&other.study));
    Ok(studies)
}

/// The parts that studies beside each other have of the machine.
#[derive(Clone, Copy)]
pub(crate) struct Shares {
    /// The number of studies beside each other.
    pub beside: usize,
    /// Threads of each.
    pub threads: NonZeroUsize,
    /// Limits of each.
    pub limits: Limits,
}

impl Shares {
    /// Equal parts of the threads and of the memory, for studies whose own steps follow each other.
    fn of(limits: Limits, beside: usize) -> Self {
        let threads = NonZeroUsize::new(rayon::current_num_threads() / beside).unwrap_or(NonZeroUsize::MIN);
        Self { beside, threads, limits: limits.of_each(beside) }
    }

    /// Parts for `beside` studies with a thread each, in `memory` bytes all together.
    pub fn single(beside: usize, memory: Option<u64>) -> Self {
        let limits = Limits { jobs: None, memory }.of_each(beside);
        Self { beside, threads: NonZeroUsize::MIN, limits }
    }
}

/// Runs what is left of some studies, each in a folder of its name, with their parts of the machine, on which no figure
/// depends. Returns what the report of each shows; none for one that is left to another process at work on it.
///
/// # Errors
/// Those of the first study that fails; what the others have done stays.
pub(crate) fn run_all(
    studies: &[Planned],
    out: &Path,
    device: &Device,
    shares: Shares,
    progress: &dyn Progress,
) -> Result<Vec<Option<Input>>> {
    let bar = Bar::new(studies, out, progress)?;
    each(studies, (shares.beside, shares.threads), |planned| {
        let folder = out.join(&planned.study.name);
        match complete(planned, &folder, device, shares.limits, &bar.of(&planned.study.name)) {
            Err(error) if error.problem::<FolderProblem>() == Some(&FolderProblem::Locked) => {
                progress.note(&format!(
                    "{}: another run is at work on it; it is left to that run",
                    planned.study.name
                ));
                Ok(None)
            }
            done => done.and_then(|()| report_input(&folder).map(Some)),
        }
    })
}

/// Does every job, `beside` at a time, each in a pool of `threads`. Results come in the order of the jobs; after
/// a failure no further job is begun.
pub(crate) fn each<J: Sync, T: Send>(
    jobs: &[J],
    (beside, threads): (usize, NonZeroUsize),
    work: impl Fn(&J) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let waiting = Mutex::new(jobs.iter().enumerate());
    let failed = AtomicBool::new(false);
    let results: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::new());
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((place, job)) = next else { break };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build();
            let done = pool.map_err(|e| Error::Threads { reason: e.to_string() });
            let done = done.and_then(|pool| pool.install(|| work(job)));
            failed.fetch_or(done.is_err(), Ordering::Relaxed);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((place, done));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..beside.clamp(1, jobs.len().max(1)) {
            scope.spawn(worker);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn jobs_come_back_in_their_order() {
        let jobs: Vec<usize> = (0..20).collect();
        for beside in [1, 3, 40] {
            let done =
                each(&jobs, (beside, NonZeroUsize::MIN), |&job| Ok((job, rayon::current_num_threads())))
                    .unwrap();
            assert_eq!(done, jobs.iter().map(|&job| (job, 1)).collect::<Vec<_>>());
        }
        assert!(each(&[] as &[usize], (2, NonZeroUsize::MIN), |&job| Ok(job)).unwrap().is_empty());
    }

    #[test]
    fn after_a_failure_no_job_is_begun() {
        let begun = AtomicUsize::new(0);
        let jobs: Vec<usize> = (0..20).collect();
        let done = each(&jobs, (1, NonZeroUsize::MIN), |&job| {
            begun.fetch_add(1, Ordering::Relaxed);
            if job == 2 { Err(Error::Interrupted) } else { Ok(()) }
        });
        assert!(matches!(done, Err(Error::Interrupted)));
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }
}
