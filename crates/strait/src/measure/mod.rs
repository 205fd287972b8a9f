//! Measures: each takes (model, solutions, data) and returns a table. They read no files, print nothing, and know nothing
//! of the command line.

mod divergence;
mod drift;
mod efficiency;
mod families;
mod gradient;
mod heldout;
mod preference;
mod significance;
mod stability;

pub use divergence::divergence;
pub use drift::{DriftRows, Trajectory, drift};
pub use efficiency::{EfficiencySettings, efficiency, efficiency_of};
pub use families::{Member, families, families_difference};
pub use gradient::{Pull, descent, flat, pull};
pub use heldout::heldout;
pub use preference::{PairRows, certificate, preference};
pub use significance::{
    BEGINNING, CONTINUATION, SignificanceSettings, continuations, random_like, significance,
};
pub use stability::{StabilitySettings, noise_across, perturbed, stability, stability_of};

use candle_core::Tensor;
use strait_model::{
    Decoder, Edit,
    decoder::first_changed_point,
    edit::{Ablation, Adapter, Lora, SteeringVector},
    progress::{Progress, Task, Unit},
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

/// Mean response loss of every row in nats a token, and the row's number of response tokens. `seen` is told of the rows
/// that are done and may end the pass by an error.
///
/// # Errors
/// If a loss is no number, a tensor operation fails, or what `seen` returns.
pub fn row_losses(
    decoder: &Decoder,
    kept: &Kept,
    edit: Option<&Edit>,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Vec<(f64, usize)>> {
    let rows = token_losses(decoder, kept, edit, seen)?;
    Ok(rows.iter().map(|losses| (mean(losses), losses.len())).collect())
}

/// The loss of every response token of every row, as [`row_losses`].
fn token_losses(
    decoder: &Decoder,
    kept: &Kept,
    edit: Option<&Edit>,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Vec<Vec<f32>>> {
    let mut rows = Vec::with_capacity(kept.rows().len());
    for batch in kept.batches_by_tokens() {
        let losses = kept.response_losses(decoder, &batch, edit)?;
        let mut rest = losses.as_slice();
        for &row in &batch {
            let (own, later) = rest.split_at(kept.rows()[row].response_tokens());
            finite("response loss", row, edit.is_some(), mean(own))?;
            rows.push(own.to_vec());
            rest = later;
        }
        seen(batch.len() as u64)?;
    }
    Ok(rows)
}

/// A reading of a row, which must be a number: a figure made of one that is none would say nothing, in silence.
fn finite(what: &'static str, row: usize, edited: bool, value: f64) -> Result<f64> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::NotFinite { what, row, place: None, edited, value })
    }
}

fn mean(numbers: &[f32]) -> f64 {
    numbers.iter().map(|&x| x as f64).sum::<f64>() / numbers.len() as f64
}

/// Tells a task of rows that are done, and stops where the user asked for it.
fn advance(progress: &dyn Progress, task: &dyn Task, rows: u64) -> Result<()> {
    task.advance(rows);
    if progress.stopped() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Reads the mean loss of every one of some fixed rows under an edit, or under the base model, in nats a token.
pub type LossesOf<'a> = dyn FnMut(Option<&Edit>) -> Result<Vec<f64>> + 'a;

/// What reads the response losses of all rows with everything below the edit kept, and counts `passes` of them.
fn losses_of<'a>(
    decoder: &'a Decoder,
    rows: &'a mut Kept,
    title: &str,
    passes: usize,
    progress: &'a dyn Progress,
) -> impl FnMut(Option<&Edit>) -> Result<Vec<f64>> + 'a {
    let task = progress.begin(title, Some((rows.rows().len() * passes) as u64), Unit::Count);
    let every_row = rows.every_row();
    let mut kept_at = None;
    move |edit| {
        // The base model is read wherever the rows are kept.
        if let Some(edit) = edit {
            let point = first_changed_point(edit, decoder.config().layers);
            if kept_at != Some(point) {
                rows.keep(decoder, &every_row, point, false, "reading training rows", progress)?;
                kept_at = Some(point);
            }
        }
        let losses = row_losses(decoder, rows, edit, &|n| advance(progress, &*task, n))?;
        Ok(losses.into_iter().map(|(loss, _)| loss).collect())
    }
}

/// The number of response tokens of every row.
fn response_tokens(rows: &Kept) -> Vec<f64> {
    rows.rows().iter().map(|row| row.response_tokens() as f64).collect()
}

/// Mean of the rows' figures, each row with its weight.
fn weighted_mean(values: &[f64], weights: &[f64]) -> f64 {
    let sum: f64 = values.iter().zip(weights).map(|(value, weight)| value * weight).sum();
    sum / weights.iter().sum::<f64>()
}

/// Row by row, one less the other.
fn differences(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(a, b)| a - b).collect()
}

/// Every two of some things, in their order.
fn every_two<T>(items: &[T]) -> impl Iterator<Item = (&T, &T)> {
    items.iter().enumerate().flat_map(|(i, one)| items[i + 1..].iter().map(move |other| (one, other)))
}

/// The kind of an edit, one word. Norms of different kinds live in different spaces and do not compare.
fn kind(edit: &Edit) -> &'static str {
    match edit {
        Edit::Steering(_) => "steering",
        Edit::Lora(_) => "lora",
        Edit::Ablation(_) => "ablation",
        Edit::Full(_) => "full",
        Edit::Composed(_) => "composed",
    }
}

/// Which of an edit's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Steering vectors.
    Vector,
    /// Each A of a LoRA.
    A,
    /// Each B of a LoRA.
    B,
    /// Directions of ablations.
    Direction,
    /// What each weight changes by in a full fine-tune.
    Weight,
}

impl Part {
    const ALL: [Self; 5] = [Self::Vector, Self::A, Self::B, Self::Direction, Self::Weight];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::A => "A",
            Self::B => "B",
            Self::Direction => "direction",
            Self::Weight => "weight",
        }
    }

    /// Whether an edit has tensors of this part.
    fn is_in(self, edit: &Edit) -> bool {
        edit.parts().any(|part| match part {
            Edit::Steering(_) => self == Self::Vector,
            Edit::Lora(_) => matches!(self, Self::A | Self::B),
            Edit::Ablation(_) => self == Self::Direction,
            Edit::Full(_) => self == Self::Weight,
            Edit::Composed(_) => false,
        })
    }
}

/// The edit with each of its tensors replaced by what `change` makes of it, in order.
fn with_tensors(edit: &Edit, change: &mut dyn FnMut(Part, &Tensor) -> Result<Tensor>) -> Result<Edit> {
    Ok(match edit {
        Edit::Steering(steering) => Edit::Steering(SteeringVector {
            layer: steering.layer,
            vector: change(Part::Vector, &steering.vector)?,
        }),
        Edit::Lora(lora) => {
            let mut adapters = Vec::with_capacity(lora.adapters.len());
            for adapter in &lora.adapters {
                let (a, b) = (change(Part::A, &adapter.a)?, change(Part::B, &adapter.b)?);
                adapters.push(Adapter { a, b, ..*adapter });
            }
            Edit::Lora(Lora { adapters, ..*lora })
        }
        Edit::Ablation(ablation) => {
            Edit::Ablation(Ablation { direction: change(Part::Direction, &ablation.direction)?, ..*ablation })
        }
        Edit::Full(full) => Edit::Full(full.with_deltas(|delta| change(Part::Weight, delta))?),
        Edit::Composed(edits) => {
            Edit::Composed(edits.iter().map(|edit| with_tensors(edit, change)).collect::<Result<_>>()?)
        }
    })
}
