//! Standard output: one JSON object, or text for people.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::{
        Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::text;

/// The version of the objects that `--json` prints. Keys may be added under one version; a key that goes or changes its
/// meaning makes a new one.
const SCHEMA: u32 = 1;

/// True if standard output is for one object.
static JSON: AtomicBool = AtomicBool::new(false);

/// True if the object was printed, or is being printed.
static PRINTED: AtomicBool = AtomicBool::new(false);

/// Held while the object is being printed.
static PRINTING: Mutex<()> = Mutex::new(());

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// From now on standard output gets one object and nothing else.
pub fn promise_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// True if standard output is for one object.
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// True if the object was printed, or is being printed.
#[cfg(unix)]
pub fn was_printed() -> bool {
    PRINTED.load(Ordering::Relaxed)
}

/// Prints a result as text, or with `--json` as an object.
pub fn print(result: &(impl Serialize + Display)) -> io::Result<()> {
    if is_json() { print_object(result) } else { print_text(&result.to_string()) }
}

/// Prints the object on one line, with its schema version; where one was printed already, nothing.
pub fn print_object(body: &impl Serialize) -> io::Result<()> {
    let line = object(body)?;
    let _printing = PRINTING.lock().unwrap_or_else(PoisonError::into_inner);
    if PRINTED.swap(true, Ordering::Relaxed) { Ok(()) } else { write(line.as_bytes()) }
}

/// Prints the object before the process is ended from outside. Another one that is being printed is waited for, but not
/// for long: its reader may be gone.
pub fn print_last_object(body: &impl Serialize) {
    let Ok(line) = object(body) else { return };
    for _ in 0..20 {
        let printing = PRINTING.try_lock();
        if let Err(TryLockError::WouldBlock) = printing {
            thread::sleep(Duration::from_millis(50));
            continue;
        }
        if !PRINTED.swap(true, Ordering::Relaxed) {
            // The exit code has to do where nobody reads.
            let _ = write(line.as_bytes());
        }
        return;
    }
}

/// A line of JSON in which nothing moves the cursor of a terminal: what strings hold beyond plain text is escaped.
fn object(body: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(&Versioned { schema: SCHEMA, body })?;
    let mut line = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        // Such characters stand in strings alone.
        match text::is_hidden(c) {
            true => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| line.push_str(&format!("\\u{unit:04x}")))
            }
            false => line.push(c),
        }
    }
    line.push('\n');
    Ok(line)
}

/// Prints text, ended by one line break.
fn print_text(text: &str) -> io::Result<()> {
    write(format!("{}\n", text::printable(text.trim_end_matches('\n'))).as_bytes())
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_holds_nothing_that_moves_a_terminal_and_says_the_same() {
        let name = "a\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{200b}\u{e0041}é\"\n";
        let line = object(&serde_json::json!({ "name": name })).unwrap();
        assert!(!line.trim_end().chars().any(text::is_hidden), "{line:?}");
        assert!(line.contains('é') && line.contains("\\udb40\\udc41"), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["name"], &read["schema"]), (&name.into(), &1.into()));
    }
}
