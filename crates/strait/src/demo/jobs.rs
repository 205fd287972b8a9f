//! The pieces of a demo, done beside each other. What is finished stays on disk and is not done again.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use sha2::{Digest, Sha256};
use strait_model::{
    files::hex,
    progress::{Progress, Unit},
};

use super::{
    bench::{Bench, Kind, Work},
    causal,
    files::write_json,
    pair::{How, Pair, pair},
    piece::{Piece, Wanted, piece},
};
use crate::{Error, Result, train::SolutionFolder, world::World};

/// What follows from the code and not from what a job is asked: a job that was finished under another number is done again.
const REVISION: u32 = 3;

/// Where a demo puts everything.
pub(super) struct Folder {
    root: PathBuf,
}

/// A built-in world in the demo's folder.
pub(super) struct OpenedWorld {
    /// Its name.
    pub name: &'static str,
    /// The world.
    pub world: World,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Writes a built-in world into the folder, unless it is there, and reads it.
    pub fn open(&self, name: &'static str) -> Result<OpenedWorld> {
        Ok(OpenedWorld { name, world: World::shipped(name, &self.world(name))? })
    }

    fn world(&self, name: &str) -> PathBuf {
        self.root.join("worlds").join(name)
    }

    /// Where the solutions of one domain of a world lie.
    pub fn solutions(&self, world: &OpenedWorld, domain: usize) -> PathBuf {
        let word = world.world.language.domains()[domain].word;
        self.world(world.name).join("solutions").join(word)
    }

    /// The folder of one solution.
    pub fn solution(&self, world: &OpenedWorld, domain: usize, name: &str) -> SolutionFolder {
        SolutionFolder::new(self.solutions(world, domain).join(name))
    }
}

/// What a job comes to.
enum Found {
    Piece(Box<Piece>),
    Row(Box<causal::Row>),
    Pair(Box<Pair>),
}

/// Something to do in one world and one domain.
pub(super) struct Job<'a> {
    world: &'a OpenedWorld,
    domain: usize,
    task: JobTask,
}

#[derive(Clone, Copy, Serialize)]
enum JobTask {
    Piece(Kind, Wanted),
    Causal(Kind),
    Pair(How),
}

impl<'a> Job<'a> {
    /// A piece of the programme.
    pub fn piece(world: &'a OpenedWorld, domain: usize, kind: Kind, wanted: Wanted) -> Self {
        Self { world, domain, task: JobTask::Piece(kind, wanted) }
    }

    /// A row of the causal table.
    pub fn causal(world: &'a OpenedWorld, domain: usize, kind: Kind) -> Self {
        Self { world, domain, task: JobTask::Causal(kind) }
    }

    /// A pair.
    pub fn pair(world: &'a OpenedWorld, domain: usize, how: How) -> Self {
        Self { world, domain, task: JobTask::Pair(how) }
    }

    fn cost(&self) -> u64 {
        match self.task {
            JobTask::Piece(kind, wanted) => wanted.cost(kind),
            JobTask::Causal(kind) => causal::cost(kind),
            JobTask::Pair(how) => how.cost(),
        }
    }

    /// Where what it finds is kept.
    fn path(&self, folder: &Folder) -> PathBuf {
        let (role, name) = match self.task {
            JobTask::Piece(kind, _) => ("piece", kind.name()),
            JobTask::Causal(kind) => ("causal", kind.name()),
            JobTask::Pair(how) => ("pair", how.name()),
        };
        let file = format!("{role}-{name}.json");
        folder.solutions(self.world, self.domain).join(file)
    }

    /// A hash of all that it depends on.
    fn key(&self) -> String {
        let inputs = json!({
            "revision": REVISION,
            "world": self.world.world.made.sha256,
            "domain": self.domain,
            "task": self.task,
        });
        hex(&Sha256::digest(inputs.to_string()))
    }

    fn finished(&self, folder: &Folder) -> Option<Found> {
        let path = self.path(folder);
        match self.task {
            JobTask::Piece(kind, _) => {
                let piece: Piece = finished(&path, &self.key())?;
                // Without its edits nobody could go on from it.
                let solutions = [super::piece::GENERAL, super::piece::NARROW];
                let there = |role: &&str| {
                    let name = super::piece::solution(role, kind);
                    folder.solution(self.world, self.domain, &name).edit().is_file()
                };
                solutions.iter().all(there).then(|| Found::Piece(Box::new(piece)))
            }
            JobTask::Causal(_) => finished(&path, &self.key()).map(|row| Found::Row(Box::new(row))),
            JobTask::Pair(_) => finished(&path, &self.key()).map(|pair| Found::Pair(Box::new(pair))),
        }
    }

    fn work(&self, folder: &Folder, work: &Work<'_>) -> Result<Found> {
        let OpenedWorld { name, world } = self.world;
        let mut bench = Bench::new(world, self.domain, folder.solutions(self.world, self.domain), work)?;
        let (path, key) = (self.path(folder), self.key());
        match self.task {
            JobTask::Piece(kind, wanted) => {
                let found = piece(name, &mut bench, kind, wanted)?;
                write_json(&path, &Finished { key, found: &found })?;
                Ok(Found::Piece(Box::new(found)))
            }
            JobTask::Causal(kind) => {
                let found = causal::row(name, world, &mut bench, kind)?;
                write_json(&path, &Finished { key, found: &found })?;
                Ok(Found::Row(Box::new(found)))
            }
            JobTask::Pair(how) => {
                let found = pair(name, &bench, how)?;
                write_json(&path, &Finished { key, found: &found })?;
                Ok(Found::Pair(Box::new(found)))
            }
        }
    }
}

/// What a job found, on disk.
#[derive(Serialize, Deserialize)]
struct Finished<T> {
    /// Of the job that found it.
    key: String,
    found: T,
}

/// What a job of that key left, if it is whole; anything else is as good as nothing.
fn finished<T: DeserializeOwned>(path: &Path, key: &str) -> Option<T> {
    let found: Finished<T> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (found.key == key).then_some(found.found)
}

/// What all jobs came to, each in the order of the jobs.
pub(super) struct Done {
    pub pieces: Vec<Piece>,
    pub rows: Vec<causal::Row>,
    pub pairs: Vec<Pair>,
}

/// Jobs and how they are done.
pub(super) struct Jobs<'a> {
    pub folder: &'a Folder,
    pub jobs: &'a [Job<'a>],
    /// How many are done beside each other.
    pub threads: usize,
}

impl Jobs<'_> {
    /// Does what is not finished.
    ///
    /// # Errors
    /// What the first job that fails says; those that were finished stay.
    pub fn run(&self, progress: &dyn Progress) -> Result<Done> {
        let mut found: Vec<Option<Found>> = self.jobs.iter().map(|job| job.finished(self.folder)).collect();
        let left: Vec<usize> = (0..found.len()).filter(|&job| found[job].is_none()).collect();
        let cost = left.iter().map(|&job| self.jobs[job].cost()).sum();
        if !left.is_empty() {
            let task = progress.begin("training and measuring", Some(cost), Unit::Count);
            let work = Work::new(progress, task);
            let done = each(&left, self.threads, |&job| self.jobs[job].work(self.folder, &work))?;
            left.iter().zip(done).for_each(|(&job, done)| found[job] = Some(done));
        }
        let mut done = Done { pieces: Vec::new(), rows: Vec::new(), pairs: Vec::new() };
        for found in found.into_iter().flatten() {
            match found {
                Found::Piece(piece) => done.pieces.push(*piece),
                Found::Row(row) => done.rows.push(*row),
                Found::Pair(pair) => done.pairs.push(*pair),
            }
        }
        Ok(done)
    }

    /// Seconds that the jobs that are not finished will take, from a few steps of the first one.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn estimate(&self, progress: &dyn Progress) -> Result<f64> {
        let left: Vec<&Job<'_>> =
            self.jobs.iter().filter(|job| job.finished(self.folder).is_none()).collect();
        let Some(first) = left.first() else { return Ok(0.0) };
        let task = progress.begin("timing a few steps", None, Unit::Count);
        let work = Work::new(progress, task);
        let seconds = each(&[first], 1, |job| {
            let bench = Bench::new(
                &job.world.world,
                job.domain,
                self.folder.solutions(job.world, job.domain),
                &work,
            )?;
            let began = Instant::now();
            let cost = bench.probe()?;
            Ok(began.elapsed().as_secs_f64() / cost as f64)
        })?;
        let cost: u64 = left.iter().map(|job| job.cost()).sum();
        let threads = self.threads.min(left.len()) as f64;
        Ok(MEASURING * cost as f64 * seconds.iter().sum::<f64>() / threads)
    }
}

/// What measuring adds to the time of training.
const MEASURING: f64 = 1.3;

/// Does every job on a thread of its own, so many beside each other, each in a pool of one thread: no figure depends on how
/// many there are. Results come in the order of the jobs; after a failure no further job is begun.
pub(super) fn each<J: Sync, T: Send>(
    jobs: &[J],
    threads: usize,
    work: impl Fn(&J) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::new());
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(place) else { break };
            let done = alone(|| work(job));
            if done.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((place, done));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(worker);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, done)| done).collect()
}

/// Does something in a pool of one thread.
fn alone<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|error| Error::from(candle_core::Error::wrap(error)))?;
    pool.install(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_every_job_has_one_thread() {
        let jobs: Vec<usize> = (0..20).collect();
        for threads in [1, 3, 64] {
            let done = each(&jobs, threads, |&job| Ok((job, rayon::current_num_threads()))).unwrap();
            assert_eq!(done, jobs.iter().map(|&job| (job, 1)).collect::<Vec<_>>());
        }
        assert!(each(&[] as &[usize], 2, |&job| Ok(job)).unwrap().is_empty());
    }

    #[test]
    fn after_a_failure_no_job_is_begun() {
        let begun = AtomicUsize::new(0);
        let jobs: Vec<usize> = (0..20).collect();
        let done = each(&jobs, 1, |&job| {
            begun.fetch_add(1, Ordering::Relaxed);
            if job == 2 { Err(Error::Interrupted) } else { Ok(()) }
        });
        assert!(matches!(done, Err(Error::Interrupted)));
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn only_what_another_job_did_not_leave_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("found.json");
        write_json(&path, &Finished { key: "a".into(), found: 7u32 }).unwrap();
        assert_eq!(finished::<u32>(&path, "a"), Some(7));
        assert_eq!(finished::<u32>(&path, "b"), None);
        std::fs::write(&path, r#"{"key": "a", "fou"#).unwrap();
        assert_eq!(finished::<u32>(&path, "a"), None);
    }
}
