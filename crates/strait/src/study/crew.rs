//! Steps beside each other: each after those that it needs, and as many at a time as there are workers.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use strait_model::progress::{Progress, Task, Unit};

use super::Step;
use crate::{Error, Result};

/// Does steps, each after those of them that it needs, and otherwise in their order; what is not among them counts as
/// done. Once a step has failed no other is begun.
///
/// # Errors
/// The first error of a step, once all workers are at rest; an interruption only where nothing else went wrong.
pub(super) fn carry_out<W: Send>(
    steps: Vec<&Step>,
    workers: Vec<W>,
    work: impl Fn(&mut W, &Step) -> Result<()> + Sync,
) -> Result<()> {
    let queue = Queue::new(steps);
    std::thread::scope(|scope| {
        for mut worker in workers {
            let (queue, work) = (&queue, &work);
            scope.spawn(move || {
                while let Some(mut turn) = queue.next() {
                    turn.result = work(&mut worker, turn.step);
                }
            });
        }
    });
    queue.state().error.take().map_or(Ok(()), Err)
}

/// The steps that are left, and those that a worker is at.
struct Queue<'s> {
    state: Mutex<State<'s>>,
    changed: Condvar,
}

struct State<'s> {
    waiting: Vec<&'s Step>,
    running: Vec<&'s Step>,
    error: Option<Error>,
}

/// A step that a worker is at, until it is dropped: also where the worker panics, so that the others do not wait for ever.
struct Turn<'q, 's> {
    queue: &'q Queue<'s>,
    step: &'s Step,
    result: Result<()>,
}

impl<'s> Queue<'s> {
    fn new(waiting: Vec<&'s Step>) -> Self {
        let state = State { waiting, running: Vec::new(), error: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<'s>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next step for a worker, once there is one; none where nothing is left to begin.
    fn next(&self) -> Option<Turn<'_, 's>> {
        let mut state = self.state();
        loop {
            if state.error.is_some() || state.waiting.is_empty() {
                return None;
            }
            if let Some(step) = state.take_ready() {
                state.running.push(step);
                return Some(Turn { queue: self, step, result: Err(Error::Interrupted) });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<'s> State<'s> {
    fn take_ready(&mut self) -> Option<&'s Step> {
        let unfinished = |name: &String| self.waiting.iter().chain(&self.running).any(|s| s.name == *name);
        let ready = self.waiting.iter().position(|step| !step.needs.iter().any(unfinished))?;
        Some(self.waiting.remove(ready))
    }
}

impl Drop for Turn<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.running.retain(|step| step.name != self.step.name);
        if let Err(error) = std::mem::replace(&mut self.result, Ok(())) {
            // A worker that stops because another has failed says that it was interrupted, and may say so before that one.
            if matches!(state.error, None | Some(Error::Interrupted)) {
                state.error = Some(error);
            }
        }
        self.queue.changed.notify_all();
    }
}

/// The progress of a worker among several: with the name of its step before each note, and stopped once another has failed.
pub(super) struct WorkerProgress<'a> {
    progress: &'a dyn Progress,
    halted: &'a AtomicBool,
    step: Mutex<String>,
}

impl<'a> WorkerProgress<'a> {
    pub(super) fn new(progress: &'a dyn Progress, halted: &'a AtomicBool) -> Self {
        Self { progress, halted, step: Mutex::default() }
    }

    /// From now on it speaks of this step.
    pub(super) fn turn_to(&self, step: &str) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step.into();
    }

    fn named(&self, words: &str) -> String {
        format!("{}: {words}", self.step.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for WorkerProgress<'_> {
    fn begin(&self, title: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        self.progress.begin(&self.named(title), total, unit)
    }

    fn note(&self, line: &str) {
        self.progress.note(&self.named(line));
    }

    fn stopped(&self) -> bool {
        self.halted.load(Ordering::Relaxed) || self.progress.stopped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, needs: &[&str]) -> Step {
        let needs = needs.iter().map(|need| need.to_string()).collect();
        Step { name: name.into(), needs, inputs: serde_json::Value::Null, key: String::new() }
    }

    /// The order in which a diamond's steps end, by so many workers.
    fn ended(workers: usize, failing: &str) -> (Vec<String>, Result<()>) {
        let steps =
            [step("d", &["b", "c"]), step("b", &["a"]), step("c", &["a", "elsewhere"]), step("a", &[])];
        let ended = Mutex::new(Vec::new());
        let result = carry_out(steps.iter().collect(), vec![(); workers], |(), step| {
            if step.name == failing {
                return Err(Error::Interrupted);
            }
            ended.lock().unwrap().push(step.name.clone());
            Ok(())
        });
        (ended.into_inner().unwrap(), result)
    }

    #[test]
    fn steps_come_after_those_they_need() {
        assert_eq!(ended(1, "").0, ["a", "b", "c", "d"]);
        for workers in 2..5 {
            let (order, result) = ended(workers, "");
            assert!(result.is_ok());
            assert_eq!((order[0].as_str(), order[3].as_str()), ("a", "d"), "{order:?}");
        }
    }

    #[test]
    fn nothing_is_begun_after_a_failure() {
        for workers in 1..4 {
            let (order, result) = ended(workers, "a");
            assert!(order.is_empty() && matches!(result, Err(Error::Interrupted)));
        }
    }

    #[test]
    fn the_failure_is_told_and_not_who_stopped_for_it() {
        let steps = [step("fails", &[]), step("stops", &[])];
        let meeting = std::sync::Barrier::new(2);
        let result = carry_out(steps.iter().collect(), vec![(); 2], |(), step| {
            meeting.wait();
            if step.name == "stops" {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            Err(Error::Threads { reason: "none is left".into() })
        });
        assert!(matches!(result, Err(Error::Threads { .. })), "{result:?}");
    }

    #[test]
    fn workers_are_at_two_steps_at_once() {
        let steps = [step("a", &[]), step("b", &[])];
        let meeting = std::sync::Barrier::new(2);
        carry_out(steps.iter().collect(), vec![(); 2], |(), _| {
            meeting.wait();
            Ok(())
        })
        .unwrap();
    }
}
