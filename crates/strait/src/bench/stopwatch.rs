//! The time of what is done again and again.

use std::time::{Duration, Instant};

use candle_core::Device;
use serde::{Deserialize, Serialize};
use strait_model::progress::{Progress, Task, Unit};

use crate::{Error, Result};

/// Tries that are timed at least, after one that warms up, and at most; in between it is as many as take this long.
const LEAST: usize = 3;
const MOST: usize = 100;
const LONG: Duration = Duration::from_secs(3);

/// The times of several tries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The median.
    pub seconds: f64,
    /// The quickest.
    pub low: f64,
    /// The slowest.
    pub high: f64,
    /// Tries.
    pub runs: usize,
}

/// Times what a step does once, and what it does again and again.
pub struct Stopwatch<'a> {
    device: &'a Device,
    progress: &'a dyn Progress,
    task: Box<dyn Task>,
    once: f64,
    seconds: Vec<f64>,
}

impl<'a> Stopwatch<'a> {
    /// Nothing is timed yet. What is asked of the device is waited for.
    pub fn new(device: &'a Device, title: &str, progress: &'a dyn Progress) -> Self {
        let task = progress.begin(title, None, Unit::Count);
        Self { device, progress, task, once: 0.0, seconds: Vec::new() }
    }

    /// The most tries that there may be, the one that warms up included.
    pub const MOST: usize = MOST + 1;

    /// Does what is done once.
    ///
    /// # Errors
    /// The value that `work` returns.
    pub fn once<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let done = work()?;
        self.device.synchronize()?;
        self.once += start.elapsed().as_secs_f64();
        Ok(done)
    }

    /// Does what is done again and again; `work` gets the number of the try, counted from 0.
    ///
    /// # Errors
    /// The value that `work` returns, or [`Error::Interrupted`] after a request to stop.
    pub fn repeat(&mut self, mut work: impl FnMut(usize) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        for run in 0..Self::MOST {
            let start = Instant::now();
            work(run)?;
            self.device.synchronize()?;
            // The first try warms up.
            if run > 0 {
                self.seconds.push(start.elapsed().as_secs_f64());
            }
            self.task.advance(1);
            if self.progress.stopped() {
                return Err(Error::Interrupted);
            }
            if run >= LEAST && began.elapsed() >= LONG {
                break;
            }
        }
        Ok(())
    }

    /// The times of what was done again and again.
    pub fn times(&self) -> Times {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        let at = |place: usize| seconds.get(place).copied().unwrap_or(f64::NAN);
        let runs = seconds.len();
        let median = 0.5 * (at(runs.saturating_sub(1) / 2) + at(runs / 2));
        Times { seconds: median, low: at(0), high: at(runs.saturating_sub(1)), runs }
    }

    /// Seconds of what was done once.
    pub fn once_seconds(&self) -> f64 {
        self.once
    }
}

#[cfg(test)]
mod tests {
    use strait_model::progress::Silent;

    use super::*;

    #[test]
    fn the_first_try_is_left_out_and_the_median_taken() {
        let mut watch = Stopwatch::new(&Device::Cpu, "", &Silent);
        let mut tries = 0;
        watch
            .repeat(|run| {
                assert_eq!(run, tries);
                tries += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!((tries, watch.times().runs), (Stopwatch::MOST, MOST));
        watch.seconds = vec![4.0, 1.0, 3.0, 2.0];
        assert_eq!(watch.times(), Times { seconds: 2.5, low: 1.0, high: 4.0, runs: 4 });
        watch.seconds.pop();
        assert_eq!(watch.times().seconds, 3.0);
    }
}
