//! Progress of long work, told to the caller, who decides how to show it.

/// The unit in which a task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes read, written or fetched.
    Bytes,
    /// Steps, rows or other plain counts.
    Count,
}

/// Receives the news of long work.
pub trait Progress: Send + Sync {
    /// A task begins; `total` is `None` where its length is unknown. The task ends when the returned value is dropped.
    fn begin(&self, title: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task>;
    /// One line worth reading: a decision that was taken, or a warning.
    fn note(&self, line: &str);
    /// True if the work should stop as soon as nothing is lost by it.
    fn stopped(&self) -> bool {
        false
    }
}

/// One running task.
pub trait Task: Send {
    /// `n` more units are done.
    fn advance(&self, n: u64);
    /// A short word on where it stands, such as the loss.
    fn say(&self, state: &str);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        Box::new(Silent)
    }
    fn note(&self, _: &str) {}
}

impl Task for Silent {
    fn advance(&self, _: u64) {}
    fn say(&self, _: &str) {}
}
