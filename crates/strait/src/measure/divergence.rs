//! KL to the base model: how much an edit changes at all, in the domain and outside it.

use strait_model::{
    Decoder,
    decoder::first_changed_point,
    progress::{Progress, Unit},
};

use super::{PairRows, Solution};
use crate::{
    Result, Table,
    interval::{Interval, clusters},
};

/// Mean KL(base ‖ edited) in nats a token over all tokens of the pairs' conversations, at scale 1, with its interval over
/// questions.
///
/// # Errors
/// If a reading is no number or a tensor operation fails.
pub fn divergence(
    decoder: &Decoder,
    solutions: &[Solution],
    groups: &mut [PairRows],
    seed: u64,
    progress: &dyn Progress,
) -> Result<Table> {
    let total = groups.iter().map(|g| g.kept.rows().len() * solutions.len()).sum::<usize>();
    let task = progress.begin("KL to base", Some(total as u64), Unit::Count);
    let mut readings = Vec::new();
    for group in groups.iter_mut().filter(|g| !g.is_empty()) {
        let mut kept_at = None;
        for solution in solutions {
            let point = first_changed_point(&solution.edit, decoder.config().layers);
            if kept_at.replace(point) != Some(point) {
                group.keep(decoder, point, progress)?;
            }
            let (mut means, mut weights) = (Vec::new(), Vec::new());
            for batch in group.kept.batches_by_tokens() {
                let kl = group.kept.kl(decoder, &batch, &solution.edit)?;
                let mut rest = kl.as_slice();
                for &row in &batch {
                    let (own, later) = rest.split_at(group.kept.rows()[row].ids.len());
                    means.push(super::finite("KL to the base model", row, true, super::mean(own))?);
                    weights.push(own.len() as f64);
                    rest = later;
                }
                super::advance(progress, &*task, batch.len() as u64)?;
            }
            let questions = clusters((0..means.len()).map(|row| group.question_of_row(row)));
            readings.push(Reading {
                solution: solution.name.clone(),
                text: if group.group == "narrow" { "in-domain" } else { "general" },
                rows: means.len(),
                tokens: weights.iter().sum::<f64>() as usize,
                kl: Interval::of_clusters(&means, &weights, &questions),
            });
        }
    }
    let about =
        "KL(base ‖ edited): how far the edited model's next-token distribution is from the base model's";
    Ok(Table::of_rows("kl", about, &readings)
        .text("solution", |r| r.solution.clone())
        .text("text", |r| r.text.into())
        .real("scale", "", |_| 1.0)
        .integer("rows", "", |r| r.rows as i64)
        .integer("tokens", "", |r| r.tokens as i64)
        .interval(["kl", "low", "high"], "nats/token", |r| r.kl)
        .integer("seed", "", |_| seed as i64)
        .table())
}

/// A row of the table.
struct Reading {
    solution: String,
    text: &'static str,
    rows: usize,
    tokens: usize,
    kl: Interval,
}
