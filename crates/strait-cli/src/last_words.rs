//! The words of a program that cannot go on: after a panic, and where the process is aborted.
//!
//! Neither should happen. Where it does, the user is told in words, a machine gets its object, and the exit code is that of
//! any other failure.

use std::{
    env,
    panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::{Mutex, PoisonError},
};

use crate::failure::{Failure, MISTAKE};

/// The last panic's message.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// From now on a panic prints nothing, so that it can be caught, and an abort says why.
pub fn install() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(words(panic));
        // Whoever looks for the mistake wants to see where it is.
        if env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0") {
            loud(panic);
        }
    }));
    #[cfg(unix)]
    abort::install();
}

/// Does the work; a panic in it is a failure.
pub fn caught(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let said = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        let said = said.unwrap_or_else(|| "no message".into());
        Err(Failure::refused(format!("strait stopped where it should not have: {said}"), MISTAKE))
    })
}

/// The message of a panic, and its place in the source.
fn words(panic: &PanicHookInfo) -> String {
    let message = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(place) => format!("{message} ({}:{})", place.file(), place.line()),
        None => message.into(),
    }
}

/// Rust ends a process that gets no memory, or whose stack is full, by SIGABRT, after a line on standard error.
#[cfg(unix)]
mod abort {
    use crate::{failure::FAILED, output};

    const WORDS: &[u8] = b"error: strait was stopped, most often because memory cannot be had; the line above says why\n\n\
        hint: free some memory, lift the limit on it, or take a smaller model, shorter rows or smaller batches\n";
    const OBJECT: &[u8] = b"{\"schema\":1,\"error\":{\"message\":\"strait was stopped, most often because memory cannot be \
        had; standard error says why\",\"hint\":\"free some memory, lift the limit on it, or take a smaller model, shorter \
        rows or smaller batches\"}}\n";

    pub fn install() {
        let handler = on_abort as extern "C" fn(libc::c_int);
        // SAFETY: the structure is valid when zeroed, and the handler calls only what a signal handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            // A full stack is told on the stack that Rust keeps for it.
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESETHAND;
            libc::sigaction(libc::SIGABRT, &action, std::ptr::null_mut());
        }
    }

    extern "C" fn on_abort(_: libc::c_int) {
        let write = |stream, bytes: &[u8]| {
            // SAFETY: the bytes live for ever.
            unsafe { libc::write(stream, bytes.as_ptr().cast(), bytes.len()) };
        };
        write(libc::STDERR_FILENO, WORDS);
        if output::is_json() && !output::was_printed() {
            write(libc::STDOUT_FILENO, OBJECT);
        }
        // SAFETY: it ends the process at once.
        unsafe { libc::_exit(FAILED.into()) }
    }
}
