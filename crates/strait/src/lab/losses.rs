//! Response losses of rows, one figure a row.

use strait_model::{
    Decoder, Edit,
    decoder::first_changed_point,
    progress::{Progress, Task, Unit},
};

use crate::{Error, Result, interval, objective::Kept};

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
pub(crate) fn token_losses(
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
pub(crate) fn finite(what: &'static str, row: usize, edited: bool, value: f64) -> Result<f64> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::NotFinite { what, row, place: None, edited, value })
    }
}

pub(crate) fn mean(numbers: &[f32]) -> f64 {
    interval::mean(numbers.iter().map(|&x| x as f64))
}

/// Tells a task of rows that are done, and stops where the user asked for it.
pub(crate) fn advance(progress: &dyn Progress, task: &dyn Task, rows: u64) -> Result<()> {
    task.advance(rows);
    if progress.stopped() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Reads the mean loss of every one of some fixed rows under an edit, or under the base model, in nats a token.
pub type LossesOf<'a> = dyn FnMut(Option<&Edit>) -> Result<Vec<f64>> + 'a;

/// A reader of the response losses of all rows, with everything below the edit kept, and counts `passes` of them.
pub(crate) fn losses_of<'a>(
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
pub(crate) fn response_tokens(rows: &Kept) -> Vec<f64> {
    rows.rows().iter().map(|row| row.response_tokens() as f64).collect()
}

/// Mean of the rows' figures, each row with its weight.
pub(crate) fn weighted_mean(values: &[f64], weights: &[f64]) -> f64 {
    let sum: f64 = values.iter().zip(weights).map(|(value, weight)| value * weight).sum();
    sum / weights.iter().sum::<f64>()
}

/// Row by row, one less the other.
pub(crate) fn differences(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(a, b)| a - b).collect()
}

/// Every two of some things, in their order.
pub(crate) fn every_two<T>(items: &[T]) -> impl Iterator<Item = (&T, &T)> {
    items.iter().enumerate().flat_map(|(i, one)| items[i + 1..].iter().map(move |other| (one, other)))
}
