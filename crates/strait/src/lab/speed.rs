//! The speed of this machine, by two short trials with the model at hand: a forward pass, and a training step.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use strait_model::{Edit, Model, edit::SteeringVector, progress::Silent};

use super::work::Work;
use crate::{
    Result,
    objective::{Kept, Row, packed},
    train::Trainable,
};

/// Multiply-adds a second.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Of blocks, forward.
    pub(super) forward: f64,
    /// Of blocks and response losses, forward and backward.
    pub(super) training: f64,
    /// Of the unembedding where KL is read, which is more than its products.
    pub(super) kl: f64,
}

/// Most rows of a trial, and most tokens of one of them.
const TRIAL: (usize, usize) = (4, 256);

impl Speed {
    /// Of no machine: for those who ask an estimate for memory alone.
    pub const UNKNOWN: Self = Self { forward: 1.0, training: 1.0, kl: 1.0 };

    /// Times what studies do on a few rows, of which no more is taken than `room` bytes hold.
    ///
    /// # Errors
    /// If the model cannot be run.
    pub fn measured(model: &Model, rows: &[Row], room: f64) -> Result<Self> {
        let (decoder, work) = (&model.decoder, Work::of(model));
        let (layers, middle) = (work.config.layers, work.config.layers / 2);
        let (most, longest) = TRIAL;
        let a_token = work.activations(middle, 1.0) + work.block(1.0);
        let fitting = (room / (most as f64 * a_token)) as usize;
        let cut = |row: &Row| {
            let length = row.ids.len().min(longest).min(fitting.max(2));
            Row { ids: row.ids[..length].to_vec(), responses: std::iter::once(length / 2..length).collect() }
        };
        let rows: Vec<Row> = rows.iter().take(most).filter(|r| r.ids.len() > 1).map(cut).collect();
        let mut speed = Self::UNKNOWN;

        let mut kept = Kept::new(rows.clone());
        let every_row = kept.every_row();
        let tokens = packed(kept.rows(), &every_row).tokens() as f64;
        let reading = quicker(decoder.device(), || {
            kept = Kept::all(decoder, rows.clone(), middle, false, "trial", &Silent)?;
            Ok(())
        })?;
        speed.forward = tokens * work.blocks(middle) / reading;

        let vector = Tensor::zeros(work.config.hidden_size, DType::F32, decoder.device())?;
        let edit = Edit::Steering(SteeringVector { layer: middle as i32 - 1, vector });
        let trainable = Trainable::from_edit(edit.clone(), decoder, 1.0)?;
        let (_, trained) = trainable.on(decoder);
        let step = quicker(decoder.device(), || {
            kept.response_gradient(decoder, &every_row, trained, 1.0).map(drop)
        })?;
        speed.training = work.training(middle, kept.rows(), &every_row) / step;

        kept.keep(decoder, &every_row, middle, true, "trial", &Silent)?;
        let divergence = quicker(decoder.device(), || kept.kl(decoder, &every_row, &edit).map(drop))?;
        let above = tokens * work.blocks(layers - middle) / speed.forward;
        let unembedding = (divergence - above).max(0.1 * divergence);
        speed.kl = 2.0 * tokens * work.unembedding() / unembedding;
        Ok(speed)
    }
}

/// Seconds of the quicker of two tries: the first one also warms up.
fn quicker(device: &Device, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..2 {
        let start = Instant::now();
        work()?;
        // A GPU is asked and does not answer at once.
        device.synchronize()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}
