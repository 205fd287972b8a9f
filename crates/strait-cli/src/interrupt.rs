//! Ctrl-C, SIGTERM and SIGHUP.
//!
//! A signal ends the command at once with exit code 130, unless the command asked to be told first: a study then saves
//! its state, an answer stops and the conversation goes on. A second signal always ends it.

use std::{
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::failure::{self, Failure, INTERRUPTED};

/// Set by the first signal while a command asked to be told.
static STOP: AtomicBool = AtomicBool::new(false);

/// The reaction to the first signal instead of ending the process, or before it.
static REACTION: Mutex<Option<Reaction>> = Mutex::new(None);

enum Reaction {
    /// Sets [`STOP`] after a word to the user.
    Stop(Box<dyn Fn() + Send>),
    /// Puts something back in order, then ends the process.
    CleanUp(Box<dyn Fn() + Send>),
}

/// While it lives, signals are treated otherwise.
#[must_use]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        *reaction() = None;
        STOP.store(false, Ordering::Relaxed);
    }
}

/// Listens to signals.
pub fn install() -> Result<(), Failure> {
    ctrlc::set_handler(on_signal).map_err(|error| {
        Failure::refused(format!("signals cannot be caught: {error}"), "report this with your system's name")
    })
}

/// While the guard lives, the first signal calls `tell` and makes [`stopped`] true.
pub fn stop_first(tell: impl Fn() + Send + 'static) -> Guard {
    *reaction() = Some(Reaction::Stop(Box::new(tell)));
    Guard(())
}

/// While the guard lives, a signal calls `clean_up` before it ends the process.
pub fn clean_up_first(clean_up: impl Fn() + Send + 'static) -> Guard {
    *reaction() = Some(Reaction::CleanUp(Box::new(clean_up)));
    Guard(())
}

/// True if a signal came while a [`stop_first`] guard lived.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

fn on_signal() {
    match &*reaction() {
        Some(Reaction::Stop(tell)) if !STOP.swap(true, Ordering::Relaxed) => return tell(),
        Some(Reaction::CleanUp(clean_up)) => clean_up(),
        _ => {}
    }
    failure::interrupted();
    process::exit(INTERRUPTED.into());
}

fn reaction() -> MutexGuard<'static, Option<Reaction>> {
    REACTION.lock().unwrap_or_else(PoisonError::into_inner)
}
