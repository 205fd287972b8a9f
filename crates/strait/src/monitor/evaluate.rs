//! How well a monitor does on responses that it was not made of, beside a sceptic's baselines.

use std::ops::Range;

use serde::Serialize;
use strait_model::{
    Decoder, Edit,
    decoder::{Reading, Readout},
    progress::{Progress, Unit},
};

use super::{
    Baseline, Labels, Method, Monitor, Outcome, Problem, combined,
    readings::{mean_streams, pooled, read_streams},
};
use crate::{
    Result,
    direction::random_like,
    lab::{advance, row_losses},
    objective::{Kept, Row},
    probe::{Logistic, Penalty},
};

/// The probe that monitors are held to: as scikit-learn makes it by default, of standardised features.
pub const PROBE: Logistic = Logistic { penalty: Penalty::L2, c: 1.0, standardise: true };

/// How well a monitor does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// On all responses.
    pub all: Outcome,
    /// On those of each group, in the order in which they first come.
    pub groups: Vec<Outcome>,
    /// What else tells the responses of the behaviour from clean ones, on all of them.
    pub baselines: Vec<Baseline>,
}

/// Responses with what is known of them.
#[derive(Clone, Copy)]
pub struct Labelled<'a> {
    /// The rows.
    pub rows: &'a [Row],
    /// Their labels.
    pub labels: &'a Labels,
}

/// Reads responses under an edit, or under the base model, and compares the monitor with random directions, one a seed, with the
/// responses' lengths, with their losses under the base model, and where there are responses to learn from with a logistic probe.
///
/// # Errors
/// If responses are all of one kind, or as [`Monitor::read`].
pub fn evaluate(
    decoder: &Decoder,
    monitor: &Monitor,
    edit: Option<&Edit>,
    tested: Labelled<'_>,
    learnt: Option<Labelled<'_>>,
    random: Range<u64>,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    for labelled in [Some(tested), learnt].into_iter().flatten() {
        let [behaviour, clean] = labelled.labels.counts();
        if behaviour == 0 || clean == 0 {
            return Err(Problem::OneKind { behaviour, clean }.into());
        }
    }
    let Labelled { rows, labels } = tested;
    let passes = 2 * rows.len() + learnt.map_or(0, |learnt| learnt.rows.len());
    let task = progress.begin("evaluating the monitor", Some(passes as u64), Unit::Count);
    let seen = |n| advance(progress, &*task, n);

    let randoms = random.map(|seed| of_random(monitor, seed)).collect::<Result<Vec<_>>>()?;
    let readings: Vec<Reading> = std::iter::once(monitor.reading()).chain(randoms).collect();
    let readout = Readout::new(decoder, &readings)?;
    let read = read_streams(decoder, rows, &readout, edit, &seen)?;
    let of_reading = |at: usize| -> Vec<f64> {
        let of_row = |tokens: &Vec<Vec<f64>>| {
            let own: Vec<f64> = tokens.iter().map(|token| token[at]).collect();
            pooled(&own, monitor.facts.window)
        };
        read.tokens.iter().map(of_row).collect()
    };
    let own = of_reading(0);
    let mut baselines = Vec::new();
    if readings.len() > 1 {
        let each: Vec<_> = (1..readings.len()).map(of_reading).collect();
        baselines.push(labels.random_baseline(&own, &each));
    }
    let lengths: Vec<f64> = rows.iter().map(|row| row.response_tokens() as f64).collect();
    baselines.push(labels.baseline(Method::Length, &own, &lengths));
    let losses = row_losses(decoder, &Kept::new(rows.to_vec()), None, &seen)?;
    let losses: Vec<f64> = losses.into_iter().map(|(loss, _)| loss).collect();
    baselines.push(labels.baseline(Method::Loss, &own, &losses));
    if let Some(learnt) = learnt {
        let layers: Vec<i32> = monitor.directions.iter().map(|direction| direction.layer).collect();
        let features = mean_streams(decoder, learnt.rows, &layers, edit, &seen)?;
        let probe = PROBE.learn(&features, &learnt.labels.behaviour)?;
        let scores: Vec<f64> = read.means.iter().map(|features| probe.score(features)).collect();
        baselines.push(labels.baseline(Method::Probe, &own, &scores));
    }
    let (all, groups) = labels.outcomes(&own, monitor.facts.threshold);
    Ok(Evaluation { all, groups, baselines })
}

/// A random direction in the place of each of a monitor's.
fn of_random(monitor: &Monitor, seed: u64) -> Result<Reading> {
    // Each layer draws from a seed of its own.
    let many = monitor.directions.len() as u64;
    let drawn = monitor.directions.iter().zip(seed.wrapping_mul(many)..);
    let drawn = drawn.map(|(direction, seed)| random_like(direction, seed)).collect::<Result<Vec<_>>>()?;
    let layers = drawn.iter().zip(&monitor.facts.layers);
    Ok(combined(&layers.map(|(vector, layer)| (vector, 0.0, layer.deviation)).collect::<Vec<_>>()))
}
