//! Response loss on rows that training did not see.

use strait_model::{
    Decoder,
    progress::{Progress, Unit},
};

use super::{Bootstrap, Solution, row_losses};
use crate::{Result, Table, interval::bootstrap_mean, objective::Kept, table::Column};

/// Mean response loss in nats a token on held-out rows, base and edited, and the difference with its interval over rows.
///
/// # Errors
/// If a tensor operation fails.
pub fn heldout(
    decoder: &Decoder,
    solutions: &[Solution],
    rows: &Kept,
    bootstrap: Bootstrap,
    progress: &dyn Progress,
) -> Result<Table> {
    let passes = 1 + solutions.len();
    let task = progress.begin("held-out loss", Some((rows.rows().len() * passes) as u64), Unit::Count);
    let seen = |n| super::advance(progress, &*task, n);
    let base = row_losses(decoder, rows, None, &seen)?;
    let weights: Vec<f64> = base.iter().map(|&(_, tokens)| tokens as f64).collect();
    let each_alone: Vec<usize> = (0..base.len()).collect();
    let mean =
        |losses: &[f64]| bootstrap_mean(losses, &weights, &each_alone, bootstrap.resamples, bootstrap.seed);
    let base_losses: Vec<f64> = base.iter().map(|&(loss, _)| loss).collect();
    let mut names = Vec::new();
    let (mut losses, mut differences) = (Vec::new(), Vec::new());
    for solution in solutions {
        let edited = row_losses(decoder, rows, Some(&solution.edit), &seen)?;
        let changes: Vec<f64> = edited.iter().zip(&base).map(|(e, b)| e.0 - b.0).collect();
        names.push(solution.name.clone());
        losses.push(mean(&edited.iter().map(|&(loss, _)| loss).collect::<Vec<_>>()).value);
        differences.push(mean(&changes));
    }
    let n = names.len();
    let tokens = weights.iter().sum::<f64>() as i64;
    let pick = |f: fn(&crate::interval::Interval) -> f64| Column::Real(differences.iter().map(f).collect());
    Ok(Table::new("heldout", "Response loss on rows of the taught domain that training did not see")
        .with_column("solution", "", Column::Text(names))
        .with_column("rows", "", Column::Integer(vec![base.len() as i64; n]))
        .with_column("tokens", "", Column::Integer(vec![tokens; n]))
        .with_column("base_loss", "nats/token", Column::Real(vec![mean(&base_losses).value; n]))
        .with_column("loss", "nats/token", Column::Real(losses))
        .with_column("difference", "nats/token", pick(|d| d.value))
        .with_column("low", "nats/token", pick(|d| d.low))
        .with_column("high", "nats/token", pick(|d| d.high))
        .with_column("seed", "", Column::Integer(vec![bootstrap.seed as i64; n])))
}
