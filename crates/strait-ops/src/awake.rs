//! Threads that stay awake between the parallel parts of some work.
//!
//! A thread of the pool that finds nothing to do for some ten microseconds goes to sleep, and waking it takes longer than many
//! parts of a pass over few rows take. Between two of them there is seldom more than a copy or a small sum.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rayon::Yield;

/// The time after which a thread that found nothing to do goes to sleep all the same.
const IDLE: Duration = Duration::from_micros(500);

thread_local! {
    /// True while this thread does work for which others stay awake.
    static WORKS: Cell<bool> = const { Cell::new(false) };
}

/// Does work on a thread of the pool, while the others look for parts of it longer than they would.
///
/// A thread that waits for parts of other work may look for parts of this one until it ends: let the pool do one thing at a time.
pub fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| {
        let _kept = Kept::new();
        work()
    })
}

/// Keeps the other threads of the pool while it lives.
struct Kept {
    ended: Arc<AtomicBool>,
    worked: bool,
}

impl Kept {
    fn new() -> Self {
        let kept = Self { ended: Arc::default(), worked: WORKS.replace(true) };
        let ended = kept.ended.clone();
        // One a thread: of jobs in one queue the first thread to wake would take them all.
        rayon::spawn_broadcast(move |_| look_for_work(&ended));
        kept
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        WORKS.set(self.worked);
    }
}

/// Does what there is to do. A thread with work of its own is given this while it waits for others, and must go on at once.
fn look_for_work(ended: &AtomicBool) {
    if WORKS.get() {
        return;
    }
    let mut since = Instant::now();
    while !ended.load(Ordering::Relaxed) && since.elapsed() < IDLE {
        match rayon::yield_now() {
            Some(Yield::Executed) => since = Instant::now(),
            _ => thread::yield_now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rayon::{ThreadPoolBuilder, prelude::*};

    use super::*;

    /// A sum whose parts are work for which others stay awake too.
    fn nested(depth: usize) -> usize {
        awake(|| match depth {
            0 => 1,
            _ => (0..3).into_par_iter().map(|_| nested(depth - 1)).sum(),
        })
    }

    #[test]
    fn work_within_work_ends_on_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| nested(5)), 243);
            assert!(pool.broadcast(|_| WORKS.get()).into_iter().all(|works| !works));
        }
    }

    #[test]
    fn a_panic_lets_the_others_sleep() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let panics = AssertUnwindSafe(|| pool.install(|| awake(|| panic!("on purpose"))));
        assert!(catch_unwind(panics).is_err());
        assert!(pool.broadcast(|_| WORKS.get()).into_iter().all(|works| !works));
    }
}
