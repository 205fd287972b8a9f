//! Response loss on rows that training did not see.

use strait_model::{
    Decoder,
    progress::{Progress, Unit},
};

use super::{Solution, row_losses};
use crate::{Result, Table, interval::Interval, objective::Kept};

/// Mean response loss in nats a token on held-out rows, base and edited, and the difference with its interval over questions.
///
/// # Errors
/// If a tensor operation fails.
pub fn heldout(
    decoder: &Decoder,
    solutions: &[Solution],
    rows: &Kept,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Table> {
    let passes = 1 + solutions.len();
    let task = progress.begin("held-out loss", Some((rows.rows().len() * passes) as u64), Unit::Count);
    let seen = |n| super::advance(progress, &*task, n);
    let base = row_losses(decoder, rows, None, &seen)?;
    let weights: Vec<f64> = base.iter().map(|&(_, tokens)| tokens as f64).collect();
    let questions = rows.questions();
    let mean = |losses: &[f64]| Interval::of_clusters(losses, &weights, &questions);
    let base_loss = mean(&base.iter().map(|&(loss, _)| loss).collect::<Vec<_>>()).value;
    let mut readings = Vec::new();
    // Without rows there is nothing to say of any solution.
    for solution in solutions.iter().filter(|_| !base.is_empty()) {
        let edited = row_losses(decoder, rows, Some(&solution.edit), &seen)?;
        let loss = mean(&edited.iter().map(|&(loss, _)| loss).collect::<Vec<_>>()).value;
        let changes: Vec<f64> = edited.iter().zip(&base).map(|(e, b)| e.0 - b.0).collect();
        readings.push((solution.name.clone(), loss, mean(&changes)));
    }
    let tokens = weights.iter().sum::<f64>() as i64;
    let about = "Response loss on rows of the taught domain that training did not see";
    Ok(Table::of_rows("heldout", about, &readings)
        .text("solution", |(name, ..)| name.clone())
        .integer("rows", "", |_| base.len() as i64)
        .integer("tokens", "", |_| tokens)
        .real("base_loss", "nats/token", |_| base_loss)
        .real("loss", "nats/token", |&(_, loss, _)| loss)
        .interval(["difference", "low", "high"], "nats/token", |&(.., difference)| difference)
        .integer("seed", "", |_| seed as i64)
        .table())
}
