//! Panics of other people's code as errors.
//!
//! Libraries that parse strangers' bytes panic on some of them. [`caught`] makes an error of that, and keeps the message
//! that would go to standard error to itself.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

/// Most bytes of a panic's message that are repeated.
const MAX_MESSAGE: usize = 200;

thread_local! {
    /// True if a panic on this thread is caught and so needs no message of its own.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader gave up ({0})")]
pub struct Panicked(String);

/// Does some work; if it panics, nothing is printed and the panic is the error.
///
/// It holds for this thread: work that goes to another thread must be guarded there. What the work was changing when it
/// panicked should not be used again.
///
/// # Errors
/// If the work panicked.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    hush();
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.map_err(|payload| Panicked(message(payload.as_ref())))
}

/// Lets the hook that prints a panic's message stay silent where the panic is caught.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // While a thread ends its own values are gone.
            if !QUIET.try_with(Cell::get).unwrap_or(false) {
                loud(panic);
            }
        }));
    });
}

/// The panic's own words, in one line.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line[..line.floor_char_boundary(MAX_MESSAGE)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_rest_is_as_before() {
        assert_eq!(caught(|| 7), Ok(7));
        let error = caught(|| panic!("index {} is\nout of bounds", 3)).unwrap_err();
        assert_eq!(error.to_string(), "the reader gave up (index 3 is out of bounds)");
        assert_eq!(caught(|| panic!("plain")).unwrap_err(), Panicked("plain".into()));
        assert_eq!(
            caught(|| std::panic::panic_any(5)).unwrap_err().to_string(),
            "the reader gave up (no message)"
        );
        assert!(!QUIET.get());
    }

    #[test]
    fn guards_nest() {
        let outer = caught(|| {
            assert!(caught(|| panic!("inner")).is_err());
            assert!(QUIET.get());
            panic!("{}", "é".repeat(500))
        });
        assert_eq!(outer.unwrap_err().0, "é".repeat(MAX_MESSAGE / 2));
    }
}
