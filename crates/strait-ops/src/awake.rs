//! Threads that stay awake between the parallel parts of some work.
//!
//! A thread of the pool that finds nothing to do for some ten microseconds goes to sleep, and waking it takes longer than many
//! parts of a pass over few rows take. Between two of them there is seldom more than a copy or a small sum.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rayon::Yield;

/// The time after which a thread that found nothing to do goes to sleep all the same.
const IDLE: Duration = Duration::from_micros(500);

/// The works that keep threads awake at present.
static WORKS: AtomicUsize = AtomicUsize::new(0);

/// Does work on a thread of the pool, while the others look for parts of it longer than they would. Where there are several works
/// at a time there is always something to do, and no thread is kept.
pub fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| {
        let _kept = Kept::new();
        work()
    })
}

/// Keeps the other threads of the pool while it lives.
struct Kept {
    ended: Arc<AtomicBool>,
}

impl Kept {
    fn new() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let alone = WORKS.fetch_add(1, Ordering::Relaxed) == 0;
        if let Some(own) = rayon::current_thread_index().filter(|_| alone) {
            for _ in 1..rayon::current_num_threads() {
                let ended = ended.clone();
                rayon::spawn(move || look_for_work(own, &ended));
            }
        }
        Self { ended }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        WORKS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Does what there is to do. The thread of the work itself may be given this while it waits for others, and must go on at once.
fn look_for_work(own: usize, ended: &AtomicBool) {
    if rayon::current_thread_index() == Some(own) {
        return;
    }
    let mut since = Instant::now();
    while !ended.load(Ordering::Relaxed) && WORKS.load(Ordering::Relaxed) == 1 && since.elapsed() < IDLE {
        match rayon::yield_now() {
            Some(Yield::Executed) => since = Instant::now(),
            _ => thread::yield_now(),
        }
    }
}
