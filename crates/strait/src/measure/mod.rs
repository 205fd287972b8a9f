//! Measures: each takes (model, solutions, data) and returns a table. They read no files, print nothing, and know nothing
//! of the command line.

mod divergence;
mod drift;
mod families;
mod heldout;
mod preference;

pub use divergence::divergence;
pub use drift::{DriftRows, Trajectory, drift};
pub use families::{Member, families};
pub use heldout::heldout;
pub use preference::{PairRows, certificate, preference};

use strait_model::{
    Decoder, Edit,
    progress::{Progress, Task},
};

use crate::{Error, Result, objective::Kept};

/// A trained edit under the name that the study gave it.
#[derive(Clone, Debug)]
pub struct Solution {
    /// Its name in the study.
    pub name: String,
    /// The edit.
    pub edit: Edit,
}

/// How intervals are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: usize,
    /// Seed.
    pub seed: u64,
}

/// Mean response loss of every row in nats a token, and the row's number of response tokens. `seen` is told of the rows
/// that are done and may end the pass by an error.
///
/// # Errors
/// If a tensor operation fails, or what `seen` returns.
pub fn row_losses(
    decoder: &Decoder,
    kept: &Kept,
    edit: Option<&Edit>,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Vec<(f64, usize)>> {
    let mut rows = Vec::with_capacity(kept.rows().len());
    for batch in kept.batches_by_tokens() {
        let losses = kept.response_losses(decoder, &batch, edit, false)?.to_vec1::<f32>()?;
        let mut rest = losses.as_slice();
        for &row in &batch {
            let (own, later) = rest.split_at(kept.rows()[row].response_tokens());
            rows.push((mean(own), own.len()));
            rest = later;
        }
        seen(batch.len() as u64)?;
    }
    Ok(rows)
}

fn mean(numbers: &[f32]) -> f64 {
    numbers.iter().map(|&x| x as f64).sum::<f64>() / numbers.len() as f64
}

/// Tells a task of rows that are done, and stops where the user asked for it.
fn advance(progress: &dyn Progress, task: &dyn Task, rows: u64) -> Result<()> {
    task.advance(rows);
    if progress.stopped() { Err(Error::Interrupted) } else { Ok(()) }
}
