//! Thresholds from clean responses.

use sha2::{Digest, Sha256};
use strait_model::{
    Decoder, Edit,
    decoder::Readout,
    edit::SteeringVector,
    files::hex,
    progress::{Progress, Unit},
};

use super::{
    Calibration, Facts, Layer, Monitor, Problem, combined,
    readings::{pooled, read_streams},
};
use crate::{
    Result,
    interval::{Interval, fewest_for, mean},
    lab::advance,
    objective::Row,
};

/// The settings of a calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The share of clean responses that may exceed the threshold, above 0 and below 1.
    pub alarm_rate: f64,
    /// See [`Facts::window`].
    pub window: Option<usize>,
}

impl Default for Settings {
    /// One alarm in twenty clean responses, by the mean over a response.
    fn default() -> Self {
        Self { alarm_rate: 0.05, window: None }
    }
}

/// A monitor with the readings of the clean responses that gave its threshold.
pub struct Calibrated {
    /// The monitor; it names no model, no edits and no origin of its directions yet.
    pub monitor: Monitor,
    /// The readings, in the order of the rows.
    pub clean: Vec<f64>,
}

/// Makes a monitor of directions, one a layer, by the responses of rows that are not of the behaviour, read under an edit or under
/// the base model.
///
/// # Errors
/// If there are fewer rows than the rate needs, a direction has no length, two are of one layer, or as [`Monitor::read`].
pub fn calibrate(
    decoder: &Decoder,
    directions: &[SteeringVector],
    clean: &[Row],
    edit: Option<&Edit>,
    settings: Settings,
    progress: &dyn Progress,
) -> Result<Calibrated> {
    let Settings { alarm_rate, window } = settings;
    if !(alarm_rate > 0.0 && alarm_rate < 1.0) {
        return Err(Problem::Rate { rate: alarm_rate }.into());
    }
    let needed = fewest_for(alarm_rate);
    if clean.len() < needed {
        return Err(Problem::TooFewClean { responses: clean.len(), rate: alarm_rate, needed }.into());
    }
    let (directions, norms) = units(directions)?;
    let single: Vec<_> = directions.iter().map(|direction| combined(&[(direction, 0.0, 1.0)])).collect();
    let task = progress.begin("reading clean responses", Some(clean.len() as u64), Unit::Count);
    let readout = Readout::new(decoder, &single)?;
    let projections = read_streams(decoder, clean, &readout, edit, &|n| advance(progress, &*task, n))?.tokens;
    let scales = scales(&projections, &directions)?;
    let of_token = |token: &Vec<f64>| {
        mean(token.iter().zip(&scales).map(|(projection, (mean, deviation))| (projection - mean) / deviation))
    };
    let tokens: Vec<Vec<f64>> = projections.iter().map(|row| row.iter().map(of_token).collect()).collect();
    let readings: Vec<f64> = tokens.iter().map(|tokens| pooled(tokens, window)).collect();
    let threshold = Interval::of_upper_quantile(&readings, alarm_rate);
    let tokens: Vec<f64> = tokens.concat();
    let bound = |bound: f64| Some(bound).filter(|bound| !bound.is_nan());
    let names = super::folder::tensor_names(&directions);
    let layers = directions.iter().zip(names).zip(norms.iter().zip(&scales));
    let layer = |((direction, tensor), (&norm, &(mean, deviation))): ((&SteeringVector, String), _)| Layer {
        layer: direction.layer,
        tensor,
        norm,
        mean,
        deviation,
    };
    let facts = Facts {
        layers: layers.map(layer).collect(),
        window,
        alarm_rate,
        threshold: threshold.value,
        threshold_low: bound(threshold.low),
        threshold_high: bound(threshold.high),
        token_threshold: Interval::of_upper_quantile(&tokens, alarm_rate).value,
        calibration: Calibration {
            responses: clean.len(),
            tokens: tokens.len(),
            sha256: hash(clean),
            model: String::new(),
            edits: Vec::new(),
        },
        directions: Vec::new(),
    };
    Ok(Calibrated { monitor: Monitor { directions, facts }, clean: readings })
}

/// The directions at length 1, by layer, and their lengths.
fn units(directions: &[SteeringVector]) -> Result<(Vec<SteeringVector>, Vec<f64>)> {
    let mut directions = directions.to_vec();
    directions.sort_by_key(|direction| direction.layer);
    if directions.is_empty() {
        return Err(Problem::NoDirection.into());
    }
    if let Some(two) = directions.windows(2).find(|two| two[0].layer == two[1].layer) {
        return Err(Problem::TwoOfALayer { layer: two[0].layer }.into());
    }
    let mut norms = Vec::new();
    for SteeringVector { layer, vector } in &mut directions {
        let norm = SteeringVector { layer: *layer, vector: vector.clone() }.norm()?;
        if !(norm.is_finite() && norm > 0.0) {
            return Err(Problem::NoLength { layer: *layer, norm }.into());
        }
        *vector = (&*vector * (1.0 / norm))?;
        norms.push(norm);
    }
    Ok((directions, norms))
}

/// The mean and the deviation of every layer's projections on clean tokens; one layer alone is read as it is.
fn scales(projections: &[Vec<Vec<f64>>], directions: &[SteeringVector]) -> Result<Vec<(f64, f64)>> {
    if directions.len() == 1 {
        return Ok(vec![(0.0, 1.0)]);
    }
    let of_layer = |(at, direction): (usize, &SteeringVector)| {
        let tokens = || projections.iter().flatten().map(|token| token[at]);
        let centre = mean(tokens());
        let deviation = mean(tokens().map(|x| (x - centre).powi(2))).sqrt();
        match deviation > 0.0 {
            true => Ok((centre, deviation)),
            false => Err(Problem::NoSpread { layer: direction.layer }.into()),
        }
    };
    directions.iter().enumerate().map(of_layer).collect()
}

/// SHA-256 of rows: of each the number of its tokens, these, the number of its responses, and where they begin and end, all as
/// 32-bit numbers, the lowest byte first.
fn hash(rows: &[Row]) -> String {
    let mut digest = Sha256::new();
    for row in rows {
        let ends = row.responses.iter().flat_map(|response| [response.start as u32, response.end as u32]);
        let tokens = std::iter::once(row.ids.len() as u32).chain(row.ids.iter().copied());
        let responses = std::iter::once(row.responses.len() as u32).chain(ends);
        tokens.chain(responses).for_each(|number| digest.update(number.to_le_bytes()));
    }
    hex(&digest.finalize())
}
