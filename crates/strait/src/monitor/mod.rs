//! Monitors: the reading of a direction on every token of a text, and on responses as a whole against a threshold that clean
//! responses exceed at a stated rate (paper §14c).
//!
//! The reading of a token is the projection of its residual stream onto the direction, h·v/|v|. Several layers are read together as
//! the mean of their projections, each less its mean on clean tokens and divided by its deviation there. The reading of a response
//! is the mean over its tokens, or the highest mean of so many tokens in a row.

mod baselines;
mod calibrate;
mod evaluate;
mod folder;
mod labels;
mod origin;
mod problem;
mod readings;
mod rows;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strait_model::{
    Decoder, Edit,
    decoder::{Reading, Readout},
    edit::SteeringVector,
    progress::{Progress, Unit},
};

pub use baselines::{Baseline, Method};
pub use calibrate::{Calibrated, Settings, calibrate};
pub use evaluate::{Evaluation, Labelled, PROBE, evaluate};
pub use folder::{FACTS, README, VECTORS, check_free, open, write};
pub use labels::{Labels, Outcome};
pub use origin::directions_of;
pub use problem::Problem;
pub use rows::{Answered, of_rows, read_rows};

use crate::{Result, lab::advance, objective::Row};
pub(crate) use readings::mean_streams;
use readings::{pooled, read_streams};

/// A calibrated monitor.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// Its directions at length 1, one a layer, in the order of [`Facts::layers`].
    pub directions: Vec<SteeringVector>,
    /// All else.
    pub facts: Facts,
}

/// All of a monitor but its directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Its layers.
    pub layers: Vec<Layer>,
    /// The number of tokens in a row of whose means the highest is a response's reading; none for the mean over the response.
    pub window: Option<usize>,
    /// The share of clean responses that may exceed the threshold.
    pub alarm_rate: f64,
    /// The reading above which a response is an alarm.
    pub threshold: f64,
    /// Lower bound of the quantile that the threshold stands for; none where the clean responses give no bound.
    pub threshold_low: Option<f64>,
    /// Upper bound.
    pub threshold_high: Option<f64>,
    /// The reading that as large a share of clean tokens exceeds.
    pub token_threshold: f64,
    /// The clean responses.
    pub calibration: Calibration,
    /// The origin of every direction, as its file says it.
    pub directions: Vec<Value>,
}

/// A layer that a monitor reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The block after which the stream is read, counted from 0; -1 is the embeddings.
    pub layer: i32,
    /// The name of its direction in the file of vectors.
    pub tensor: String,
    /// The length of the direction as it was given.
    pub norm: f64,
    /// What a projection is lessened by; 0 where one layer is read.
    pub mean: f64,
    /// What it is then divided by; 1 where one layer is read.
    pub deviation: f64,
}

/// The clean responses that a threshold rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Their number.
    pub responses: usize,
    /// Their response tokens.
    pub tokens: usize,
    /// SHA-256 of their tokens, and of which of these are responses.
    pub sha256: String,
    /// The model that read them.
    pub model: String,
    /// The edits that it was under.
    pub edits: Vec<String>,
}

/// A response as a monitor reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Read {
    /// The readings of its tokens.
    pub tokens: Vec<f64>,
    /// Its reading.
    pub reading: f64,
    /// True above the threshold.
    pub alarm: bool,
}

impl Monitor {
    /// The reading of a token, for a decoder to take.
    pub fn reading(&self) -> Reading {
        let layers = self.directions.iter().zip(&self.facts.layers);
        combined(
            &layers.map(|(direction, layer)| (direction, layer.mean, layer.deviation)).collect::<Vec<_>>(),
        )
    }

    /// The reading of a response whose tokens have these readings, of which there is one at least.
    pub fn pooled(&self, tokens: &[f64]) -> f64 {
        pooled(tokens, self.facts.window)
    }

    /// Reads the responses of rows under an edit, or under the base model.
    ///
    /// # Errors
    /// If the directions do not fit the model, a row has no response, a reading is no number, or the user asked for a stop.
    pub fn read(
        &self,
        decoder: &Decoder,
        rows: &[Row],
        edit: Option<&Edit>,
        progress: &dyn Progress,
    ) -> Result<Vec<Read>> {
        let task = progress.begin("reading", Some(rows.len() as u64), Unit::Count);
        let readout = Readout::new(decoder, &[self.reading()])?;
        let read = read_streams(decoder, rows, &readout, edit, &|n| advance(progress, &*task, n))?;
        let of_row = |tokens: Vec<Vec<f64>>| {
            let tokens: Vec<f64> = tokens.into_iter().flatten().collect();
            let reading = self.pooled(&tokens);
            Read { reading, alarm: reading > self.facts.threshold, tokens }
        };
        Ok(read.tokens.into_iter().map(of_row).collect())
    }
}

/// The mean over layers of projections onto directions of length 1, each less a mean and divided by a deviation.
fn combined(layers: &[(&SteeringVector, f64, f64)]) -> Reading {
    let count = layers.len() as f64;
    let vector = |(direction, _, deviation): &(&SteeringVector, f64, f64)| SteeringVector {
        layer: direction.layer,
        vector: (&direction.vector * (1.0 / (deviation * count))).expect("a vector times a number"),
    };
    Reading {
        vectors: layers.iter().map(vector).collect(),
        offset: -layers.iter().map(|(_, mean, deviation)| mean / (deviation * count)).sum::<f64>(),
    }
}
