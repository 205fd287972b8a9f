//! KL to the base model: how much an edit changes at all, in the domain and outside it.

use strait_model::{
    Decoder,
    progress::{Progress, Unit},
};

use super::{Bootstrap, PairRows, Solution};
use crate::{
    Result, Table,
    interval::{bootstrap_mean, clusters},
    table::Column,
};

/// Mean KL(base ‖ edited) in nats a token over all tokens of the pairs' conversations, at scale 1, with its interval over
/// questions.
///
/// # Errors
/// If a tensor operation fails.
pub fn divergence(
    decoder: &Decoder,
    solutions: &[Solution],
    groups: &[PairRows],
    bootstrap: Bootstrap,
    progress: &dyn Progress,
) -> Result<Table> {
    let total = groups.iter().map(|g| g.kept.rows().len() * solutions.len()).sum::<usize>();
    let task = progress.begin("KL to base", Some(total as u64), Unit::Count);
    let (mut names, mut texts, mut rows, mut tokens) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut intervals = Vec::new();
    for group in groups.iter().filter(|g| !g.is_empty()) {
        for solution in solutions {
            let (mut means, mut weights) = (Vec::new(), Vec::new());
            for batch in group.kept.batches_by_tokens() {
                let kl = group.kept.kl(decoder, &batch, &solution.edit, false)?.to_vec1::<f32>()?;
                let mut rest = kl.as_slice();
                for &row in &batch {
                    let (own, later) = rest.split_at(group.kept.rows()[row].ids.len());
                    means.push(super::mean(own));
                    weights.push(own.len() as f64);
                    rest = later;
                }
                super::advance(progress, &*task, batch.len() as u64)?;
            }
            let questions = clusters((0..means.len()).map(|row| group.question_of_row(row)));
            intervals.push(bootstrap_mean(&means, &weights, &questions, bootstrap.resamples, bootstrap.seed));
            names.push(solution.name.clone());
            texts.push(if group.group == "narrow" { "in-domain" } else { "general" }.to_string());
            rows.push(means.len() as i64);
            tokens.push(weights.iter().sum::<f64>() as i64);
        }
    }
    let n = names.len();
    let pick = |f: fn(&crate::interval::Interval) -> f64| Column::Real(intervals.iter().map(f).collect());
    Ok(Table::new(
        "kl",
        "KL(base ‖ edited): how far the edited model's next-token distribution is from the base model's",
    )
    .with_column("solution", "", Column::Text(names))
    .with_column("text", "", Column::Text(texts))
    .with_column("scale", "", Column::Real(vec![1.0; n]))
    .with_column("rows", "", Column::Integer(rows))
    .with_column("tokens", "", Column::Integer(tokens))
    .with_column("kl", "nats/token", pick(|i| i.value))
    .with_column("low", "nats/token", pick(|i| i.low))
    .with_column("high", "nats/token", pick(|i| i.high))
    .with_column("seed", "", Column::Integer(vec![bootstrap.seed as i64; n])))
}
