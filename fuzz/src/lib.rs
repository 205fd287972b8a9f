//! Mutated files for every reader of strait: whatever the bytes, a reader gives a value or an error, soon.
//!
//! [`TARGETS`] lists the readers. The tests replay the seed corpus, and a few mutations of each seed; `cargo run --release -p
//! strait-fuzz` goes on for as long as it is told to and keeps what makes a reader panic or dawdle.

pub mod mutate;
pub mod target;

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use target::{TARGETS, Target};

/// No reader may take longer for one small input: a build for tests on a busy machine has room in it.
pub const SLOW: Duration = Duration::from_secs(10);

/// A reader's misdeed on an input.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// It panicked, with these words.
    Panic(String),
    /// It took this long.
    Slow(Duration),
}

/// Gives an input to a reader.
///
/// # Errors
/// Runs the reader on an input.
pub fn run(target: &Target, bytes: &[u8], scratch: &Path) -> Result<(), Fault> {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.read)(bytes, scratch)));
    if let Err(panic) = outcome {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_string());
        return Err(Fault::Panic(
            words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default(),
        ));
    }
    match start.elapsed() {
        time if time > SLOW => Err(Fault::Slow(time)),
        _ => Ok(()),
    }
}

/// The folder of seeds of a target.
pub fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The seeds of a target, in the order of their names.
///
/// # Errors
/// If its folder cannot be read.
pub fn seeds(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(corpus(target))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        seeds.push((name, fs::read(&path)?));
    }
    seeds.sort();
    Ok(seeds)
}
