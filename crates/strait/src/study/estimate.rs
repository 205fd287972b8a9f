//! Time and memory that a study will need, before it needs them.
//!
//! Time is counted in multiply-adds of the matrix products (design §5) and turned into seconds by what this machine did
//! in two short trials with the model at hand: a pass forward, and a step forth and back.

use std::time::Instant;

use candle_core::Device;
use strait_model::{Config, Model, decoder::first_changed_point, edit::Projection, progress::Silent};

use crate::{
    Result,
    objective::{KEEP_LIMIT, Kept, Row},
    train::{EditKind, Length, Settings, Trainable},
};

/// What has been added up so far.
pub struct Estimate {
    config: Config,
    /// Multiply-adds a second of a pass forward, and of a training step.
    forward_rate: f64,
    training_rate: f64,
    seconds: f64,
    /// Largest memory of any step beyond the weights, in bytes.
    working: f64,
}

/// Point up to which an edit of these settings changes nothing.
pub fn point(settings: &Settings) -> usize {
    match &settings.edit {
        EditKind::Steering { layer } => (layer + 1) as usize,
        EditKind::Lora { layers, .. } => layers.iter().copied().min().unwrap_or(0),
    }
}

/// Tokens of a trial pass.
const TRIAL: usize = 256;

impl Estimate {
    /// Times two short passes of the model; `like` is a row such as the study has.
    ///
    /// # Errors
    /// If the model cannot be run.
    pub fn calibrated(model: &Model, like: Option<&Row>) -> Result<Self> {
        let config = model.config().clone();
        let length = like.map_or(64, |row| row.ids.len()).clamp(8, TRIAL);
        let ids: Vec<u32> = (0..length as u32).map(|i| i % config.vocab_size as u32).collect();
        let half = length / 2..length;
        let row = Row { ids, responses: vec![half] };
        let rows = vec![row; TRIAL.div_ceil(length)];
        let every_row: Vec<usize> = (0..rows.len()).collect();
        let middle = config.layers / 2;
        let mut estimate = Self { config, forward_rate: 1.0, training_rate: 1.0, seconds: 0.0, working: 0.0 };

        let start = Instant::now();
        let kept = Kept::all(&model.decoder, rows.clone(), middle, false, "trial", &Silent)?;
        let work = rows.iter().map(|r| estimate.blocks(middle) * r.ids.len() as f64).sum::<f64>();
        estimate.forward_rate = work / start.elapsed().as_secs_f64();

        let edit = strait_model::Edit::Steering(strait_model::edit::SteeringVector {
            layer: middle as i32 - 1,
            vector: candle_core::Tensor::zeros(
                estimate.config.hidden_size,
                candle_core::DType::F32,
                &Device::Cpu,
            )?,
        });
        let trainable = Trainable::from_edit(edit, 1.0)?;
        debug_assert!(first_changed_point(trainable.edit(), estimate.config.layers) == middle);
        let start = Instant::now();
        let losses = kept.response_losses(&model.decoder, &every_row, Some(trainable.edit()), true)?;
        losses.sum_all()?.backward()?;
        let work = rows.iter().map(|r| estimate.training_work(middle, r)).sum::<f64>();
        estimate.training_rate = work / start.elapsed().as_secs_f64();
        Ok(estimate)
    }

    /// Adds the training of one solution.
    pub fn training(&mut self, settings: &Settings, train: &[Row], held_out: &[Row], kl: &[Row]) {
        let point = point(settings);
        let micro_batches = match settings.length {
            Length::Steps(steps) => (steps * settings.accumulation) as f64,
            Length::Epochs(epochs) => epochs * train.len() as f64 / settings.batch_size as f64,
        };
        let steps = micro_batches / settings.accumulation as f64;
        let rows = micro_batches * settings.batch_size as f64;
        let mean_work = |rows: &[Row], work: &dyn Fn(&Row) -> f64| {
            rows.iter().map(work).sum::<f64>() / (rows.len() as f64).max(1.0)
        };
        let mut work = rows * mean_work(train, &|row| self.training_work(point, row));
        if let Some(penalty) = settings.kl {
            let rows = micro_batches * penalty.batch_size as f64;
            work += rows * mean_work(kl, &|row| row.ids.len() as f64 * self.kl_token(point, true));
        }
        self.seconds += work / self.training_rate;

        let checkpoints = 1.0 + steps / settings.checkpoint_every as f64;
        let reading =
            |rows: &[Row]| rows.iter().map(|r| r.ids.len() as f64).sum::<f64>() * self.blocks(point);
        let heldout = held_out.iter().map(|r| self.measuring_work(point, r)).sum::<f64>();
        let forward = reading(train) + reading(held_out) + reading(kl) + checkpoints * heldout;
        self.seconds += forward / self.forward_rate;

        let longest = |rows: &[Row]| rows.iter().map(|r| r.ids.len()).max().unwrap_or(0) as f64;
        let batch = longest(train) * settings.batch_size as f64;
        let penalty = settings.kl.map_or(0.0, |k| longest(kl) * k.batch_size as f64);
        let tokens = |rows: &[Row]| rows.iter().map(|r| r.ids.len() as f64).sum::<f64>();
        let kept =
            (tokens(train) + tokens(held_out) + 2.0 * tokens(kl)) * self.config.hidden_size as f64 * 4.0;
        let kept = kept.min(3.0 * KEEP_LIMIT as f64);
        self.working = self.working.max(kept + self.activations(point, batch.max(penalty)));
    }

    /// Adds `passes` readings of `rows` rows that are like `like`, with the stream kept at `point`.
    pub fn measuring(&mut self, rows: usize, point: usize, passes: usize, like: &[Row], kl: bool) {
        let mean =
            |work: &dyn Fn(&Row) -> f64| like.iter().map(work).sum::<f64>() / (like.len() as f64).max(1.0);
        let pass = match kl {
            true => mean(&|row| row.ids.len() as f64 * self.kl_token(point, false)),
            false => mean(&|row| self.measuring_work(point, row)),
        };
        let reading = mean(&|row| row.ids.len() as f64 * self.blocks(self.config.layers));
        self.seconds += rows as f64 * (passes as f64 * pass + reading) / self.forward_rate;
    }

    /// In words.
    pub fn lines(&self) -> Vec<String> {
        let weights = self.config.parameters() as f64 * 4.0;
        let logits = 64.0 * self.config.vocab_size as f64 * 4.0 * 2.0;
        let memory = weights + self.working + logits;
        vec![format!(
            "estimate: {} and {:.1} GiB of memory, of which the weights take {:.1}",
            duration(self.seconds),
            memory / f64::from(1 << 30),
            weights / f64::from(1 << 30),
        )]
    }

    /// Multiply-adds a token of so many blocks, forward.
    fn blocks(&self, blocks: usize) -> f64 {
        let sizes = Projection::ALL.map(|p| self.config.projection_size(p));
        blocks as f64 * sizes.iter().map(|&(input, output)| (input * output) as f64).sum::<f64>()
    }

    fn unembedding(&self) -> f64 {
        (self.config.vocab_size * self.config.hidden_size) as f64
    }

    /// Forth and back above `point`, logits and their gradient where a response token is.
    fn training_work(&self, point: usize, row: &Row) -> f64 {
        let above = self.blocks(self.config.layers - point);
        2.0 * (above * row.ids.len() as f64 + self.unembedding() * row.response_tokens() as f64)
    }

    fn measuring_work(&self, point: usize, row: &Row) -> f64 {
        let above = self.blocks(self.config.layers - point);
        above * row.ids.len() as f64 + self.unembedding() * row.response_tokens() as f64
    }

    fn kl_token(&self, point: usize, training: bool) -> f64 {
        let above = self.blocks(self.config.layers - point);
        if training { 2.0 * above + 3.0 * self.unembedding() } else { above + 2.0 * self.unembedding() }
    }

    /// Bytes that autograd holds for so many tokens above `point`: about a dozen streams and four of the MLP a block.
    fn activations(&self, point: usize, tokens: f64) -> f64 {
        let c = &self.config;
        let a_block = 12 * c.hidden_size + 4 * c.intermediate_size;
        tokens * ((c.layers - point) * a_block) as f64 * 4.0
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("about {s:.0} s"),
        s if s < 5400.0 => format!("about {:.0} min", s / 60.0),
        s => format!("about {:.1} h", s / 3600.0),
    }
}
