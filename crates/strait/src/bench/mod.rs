//! Benchmarks: what this machine can do, what the bare matrix products of a step take on it, and what the step takes.
//!
//! A [`Step`] is timed on a [`Batch`] that follows from a model's sizes alone, so that no data are needed and another program
//! can compute the same. Its floor is the [`products`] that it cannot avoid, as bare calls of the same kernels. Its peak memory
//! is that of the whole process: to compare steps, time each in a process of its own.

mod batch;
mod floor;
mod list;
mod machine;
mod sampling;
mod scoring;
mod step;
mod stopwatch;
mod training;

use serde::{Deserialize, Serialize};
use strait_model::{Model, Precision, progress::Progress};

pub use batch::{Batch, Sizes, Text};
pub use floor::{Form, Pass, Product, Trained, products};
pub use list::all;
pub use machine::{Machine, peak_memory};
pub use step::{Done, Step};
pub use stopwatch::{Stopwatch, Times};

use crate::Result;
use floor::Floor;

/// The name by which the machine itself is measured, beside those of the steps.
pub const MACHINE: &str = "machine";

/// The measurements.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The model's name.
    pub model: String,
    /// The precision of its products.
    pub precision: Precision,
    /// Threads.
    pub threads: usize,
    /// The batch of all steps.
    pub batch: Batch,
    /// The machine's peaks, where they were asked for.
    pub machine: Option<Machine>,
    /// Every step, in the order in which they were asked for.
    pub results: Vec<StepTime>,
    /// The steps that could not be timed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Untimed>,
}

/// The time and memory of one step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepTime {
    /// The step's name.
    pub name: String,
    /// Its work, in a few words.
    pub about: String,
    /// Its time.
    #[serde(flatten)]
    pub times: Times,
    /// Seconds of what is computed once for these rows, before the first step.
    pub once_seconds: f64,
    /// Seconds of its bare matrix products, the median of several tries.
    pub floor_seconds: f64,
    /// Its time over that of its products.
    pub ratio: f64,
    /// 10^9 floating-point operations of its products: a multiplication and an addition are two.
    pub gflop: f64,
    /// These a second of the step.
    pub gflops: f64,
    /// The most memory that the process held until then, the model's loading included, in bytes; none where the system does not
    /// say.
    pub peak_bytes: Option<u64>,
    /// Tokens drawn, where the step draws some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// These a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
}

/// A step that could not be timed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Untimed {
    /// The step's name.
    pub name: String,
    /// The reason.
    pub error: String,
}

/// The names of all that can be measured, in the order of a report.
pub fn names() -> Vec<&'static str> {
    std::iter::once(MACHINE).chain(all().iter().map(|step| step.name())).collect()
}

/// Measures what has these names on a model, one after the other.
///
/// # Errors
/// If the model cannot be run.
pub fn bench(
    (name, model): (&str, &Model),
    names: &[String],
    sizes: Sizes,
    progress: &dyn Progress,
) -> Result<Report> {
    let batch = Batch::new(model.config(), sizes);
    let asked = |name: &str| names.iter().any(|asked| asked == name);
    let mut results = Vec::new();
    for step in all().iter().filter(|step| asked(step.name())) {
        // On a thread of the pool, as studies run.
        results.push(rayon::scope(|_| timed(&**step, model, &batch, progress))?);
    }
    // Last, so that its memory is not counted as a step's.
    let machine = asked(MACHINE).then(|| Machine::measured(model.decoder.device())).transpose()?;
    let threads = rayon::current_num_threads();
    let precision = model.decoder.precision();
    Ok(Report { model: name.into(), precision, threads, batch, machine, results, failed: Vec::new() })
}

/// Times one step, and its bare products.
///
/// # Errors
/// If the model cannot be run, or the user asked for a stop.
pub fn timed(step: &dyn Step, model: &Model, batch: &Batch, progress: &dyn Progress) -> Result<StepTime> {
    let device = model.decoder.device();
    let mut watch = Stopwatch::new(device, step.name(), progress);
    let Done { passes, drawn } = step.run(model, batch, &mut watch)?;
    let (times, once_seconds) = (watch.times(), watch.once_seconds());
    let peak_bytes = peak_memory();
    let products = products(model.config(), &passes);
    let gflop = products.iter().map(Product::operations).sum::<f64>() / 1e9;
    let mut floor = Floor::of(model.config(), &products, device, model.decoder.precision());
    let mut watch = Stopwatch::new(device, &format!("{}, bare products", step.name()), progress);
    watch.repeat(|_| floor.run(&products))?;
    let floor_seconds = watch.times().seconds;
    Ok(StepTime {
        name: step.name().into(),
        about: step.about().into(),
        times,
        once_seconds,
        floor_seconds,
        ratio: times.seconds / floor_seconds,
        gflop,
        gflops: gflop / times.seconds,
        peak_bytes,
        tokens: drawn,
        tokens_per_second: drawn.map(|tokens| tokens as f64 / times.seconds),
    })
}
