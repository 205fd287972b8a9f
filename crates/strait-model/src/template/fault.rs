//! The faults at which a template stops, and the meter that makes it stop.

use std::cell::Cell;

/// Steps that any rendering may take; a message takes about a hundred.
const STEPS: u64 = 1_000_000;
/// Steps that each byte of the conversation adds.
const STEPS_A_BYTE: u64 = 10;
/// Bytes that any rendering may read, copy and write in its values, counted each time.
pub const WORK: u64 = 1 << 26;
/// Bytes of work that each byte of the conversation adds.
const WORK_A_BYTE: u64 = 32;

/// The cost of handling one value, in bytes.
pub const VALUE: usize = 64;

/// A fault at which a template stops.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// It is not Jinja.
    Syntax(String),
    /// Jinja2 fails here too.
    Failed(String),
    /// Jinja2 would go on; strait would not give the same text.
    Unsupported(String),
    /// The template called `raise_exception`.
    Raised(String),
    /// It takes more steps than its input can need.
    Endless,
    /// It handles more text than its input can need.
    Work,
}

/// The result of a rendering.
pub type Result<T> = std::result::Result<T, Fault>;

/// Stops as Jinja2 does.
pub fn fail<T>(why: impl Into<String>) -> Result<T> {
    Err(Fault::Failed(why.into()))
}

/// Stops where the text would be another than Jinja2's.
pub fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(Fault::Unsupported(what.into()))
}

/// Steps and bytes that the running rendering has left.
#[derive(Debug)]
pub struct Meter {
    steps: Cell<u64>,
    work: Cell<u64>,
}

impl Meter {
    /// A meter for an input of so many bytes.
    pub fn new(input: usize) -> Self {
        let input = input as u64;
        Self {
            steps: Cell::new(STEPS.saturating_add(input.saturating_mul(STEPS_A_BYTE))),
            work: Cell::new(WORK.saturating_add(input.saturating_mul(WORK_A_BYTE))),
        }
    }

    /// Counts one step.
    pub fn step(&self) -> Result<()> {
        self.steps.set(self.steps.get().checked_sub(1).ok_or(Fault::Endless)?);
        Ok(())
    }

    /// Counts bytes that are about to be handled.
    pub fn charge(&self, bytes: usize) -> Result<()> {
        self.work.set(self.work.get().checked_sub(bytes as u64).ok_or(Fault::Work)?);
        Ok(())
    }

    /// Counts values that are about to be handled.
    pub fn charge_values(&self, values: usize) -> Result<()> {
        self.charge(values.saturating_mul(VALUE))
    }
}
