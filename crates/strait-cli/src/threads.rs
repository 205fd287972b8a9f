//! The number of threads, and the thread that every command runs on.
//!
//! Those that compute are started by the first work that needs them: a command that computes nothing starts none.

use std::{env, error::Error, num::NonZeroUsize, panic, thread};

use crate::failure::Failure;

/// The variable from which rayon takes its number of threads.
const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Threads that any machine may start; more are of use where there are cores for them.
const ALWAYS: usize = 64;
/// Threads a core beyond which they only wait for each other.
const A_CORE: usize = 4;
/// No machine has use for more.
const MOST: usize = 1024;

/// Bytes of the stack of the thread that works: as many as Linux gives a main thread.
const STACK: usize = 8 << 20;

/// Does work on a thread whose stack there is at once or not at all. That of the main thread grows while it is used, and where memory
/// cannot be had for it the process is killed without a word.
///
/// # Errors
/// If the system gives no thread.
pub fn with_whole_stack<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, Failure> {
    let thread = thread::Builder::new().name("strait".into()).stack_size(STACK).spawn(work);
    let thread = thread.map_err(|error| cannot_be_started(&error))?;
    Ok(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
}

/// The most threads, and the most steps beside each other, that this machine has use for.
pub fn most() -> usize {
    most_on(cores())
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn most_on(cores: usize) -> usize {
    cores.saturating_mul(A_CORE).clamp(ALWAYS, MOST)
}

/// A number of threads or of jobs, as an argument.
pub fn number(text: &str) -> Result<NonZeroUsize, String> {
    let most = most();
    let number = text.parse().ok().filter(|n: &NonZeroUsize| n.get() <= most);
    number.ok_or_else(|| format!("expected a whole number from 1 to {most}"))
}

/// Sets the number of threads for the work to come: what is asked for, else what the environment says, else one a core.
///
/// # Safety
/// As [`env::set_var`]: no other thread may run that could read the environment.
pub unsafe fn set(asked: Option<NonZeroUsize>) -> Result<(), Failure> {
    let number = match asked {
        Some(asked) => asked.get(),
        None => said()?.unwrap_or_else(|| cores().min(MOST)),
    };
    // SAFETY: the caller's.
    unsafe { env::set_var(VARIABLE, number.to_string()) };
    Ok(())
}

/// The number that the environment sets; none where it sets nothing, or 0, which has always meant the same to rayon.
fn said() -> Result<Option<usize>, Failure> {
    let Some(said) = env::var_os(VARIABLE).filter(|said| !said.is_empty() && said != "0") else {
        return Ok(None);
    };
    let said = said.to_string_lossy();
    number(&said).map(|number| Some(number.get())).map_err(|expected| {
        Failure::refused(
            format!("the environment variable `{VARIABLE}` is `{said}`: {expected}"),
            "set it to the number of threads that strait may take, or unset it for one a core",
        )
    })
}

/// Starts the threads, where they are not started yet.
///
/// # Errors
/// If the system gives no more threads.
pub fn start() -> Result<(), Failure> {
    match rayon::ThreadPoolBuilder::new().build_global() {
        // Without a cause it says that they are started already.
        Err(error) if error.source().is_some() => Err(cannot_be_started(&error)),
        _ => Ok(()),
    }
}

fn cannot_be_started(error: &dyn Error) -> Failure {
    Failure::refused(
        format!("the threads cannot be started: {error}"),
        "ask for fewer with `--threads`, or lift the limit on processes and memory",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_that_grows_with_the_machine() {
        assert_eq!([1, 16, 17, 200, 10_000].map(most_on), [64, 64, 68, 800, 1024]);
        assert_eq!(most_on(usize::MAX), MOST);
    }

    #[test]
    fn numbers_of_threads_are_bounded() {
        assert_eq!(number("3").unwrap().get(), 3);
        for wrong in ["0", "-1", "", "many", "1.5", "20000", "1e3", "99999999999999999999"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
