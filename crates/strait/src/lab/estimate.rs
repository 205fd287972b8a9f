//! Time and memory that a study will need, before it needs them.
//!
//! Time is counted in multiply-adds of the matrix products (design §5) and turned into seconds by what this machine did
//! in two short trials with the model at hand: a pass forward, and a step forth and back.

use std::{collections::BTreeSet, time::Instant};

use candle_core::Device;
use strait_model::{
    Config, Edit, Model,
    edit::{Projection, Site, SteeringVector},
    ops::LOGITS_HELD,
    progress::Silent,
};

use crate::{
    Result,
    objective::{KEEP_LIMIT, Kept, Row, TOKENS_AT_ONCE, batches, packed},
    train::{EditKind, Order, Settings, Trainable},
};

/// More than a machine, or its owner's patience, could hold.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Beyond {
    /// A time that nobody waits.
    #[error("it would take some {years:.0} years on this machine")]
    Time {
        /// Years.
        years: f64,
    },
    /// Memory that is far from there.
    #[error("it would take some {needed:.0} GiB of memory, and this machine has {there:.0}")]
    Memory {
        /// GiB.
        needed: f64,
        /// GiB of this machine.
        there: f64,
    },
}

/// What has been added up so far.
pub struct Estimate {
    config: Config,
    /// Bytes of the model's files, which are mapped while they are read.
    mapped: f64,
    rates: Rates,
    seconds: f64,
    /// Largest memory of any step beyond the weights, in bytes.
    working: f64,
    /// Bytes of all solutions' edits, which measures hold at once.
    edits: f64,
    /// Which training rows are kept already, and at which point.
    kept: Option<(usize, Vec<usize>)>,
    /// Which rows that several measures share are counted as read, and at which point.
    shared: BTreeSet<(usize, usize)>,
}

/// Multiply-adds a second on this machine.
struct Rates {
    /// Of blocks, forward.
    forward: f64,
    /// Of blocks and response losses, forth and back.
    training: f64,
    /// Of the unembedding where KL is read, which is more than its products.
    kl: f64,
}

/// Point up to which an edit of these settings changes nothing.
pub fn point(settings: &Settings) -> usize {
    settings.edit.first_changed_point()
}

/// How much longer a token takes that is sampled alone than one of a full batch: all weights are read for it.
const SLOWER_ALONE: f64 = 8.0;

/// Bytes of the program itself, its tokenizer and what its allocator does not give back.
const PROGRAM: f64 = 128.0 * (1 << 20) as f64;

/// What an edit takes while it is trained: itself, a copy, its gradient and the optimiser's two moments.
const TRAINED: f64 = 5.0;

/// Nobody waits so long.
const MOST_YEARS: f64 = 10.0;

/// What is estimated may be wrong by less, and memory be lent by the disk.
const FAR: f64 = 4.0;

/// Threads that one step makes good use of: its products are small.
const THREADS_A_STEP: usize = 4;

/// Most rows of a trial, and most tokens of one of them.
const TRIAL: (usize, usize) = (4, 256);

impl Estimate {
    /// Times what the study will do on a few of its rows.
    ///
    /// # Errors
    /// If the model cannot be run.
    pub fn calibrated(model: &Model, rows: &[Row]) -> Result<Self> {
        let (most, longest) = TRIAL;
        let cut = |row: &Row| {
            let length = row.ids.len().min(longest);
            Row { ids: row.ids[..length].to_vec(), responses: std::iter::once(length / 2..length).collect() }
        };
        let rows: Vec<Row> = rows.iter().take(most).filter(|r| r.ids.len() > 1).map(cut).collect();
        let (decoder, config) = (&model.decoder, model.config().clone());
        let middle = config.layers / 2;
        let rates = Rates { forward: 1.0, training: 1.0, kl: 1.0 };
        let size = |file: &std::path::PathBuf| file.metadata().map_or(0.0, |found| found.len() as f64);
        let mapped = model.provenance.files.iter().map(size).sum();
        let mut estimate = Self {
            config,
            mapped,
            rates,
            seconds: 0.0,
            working: 0.0,
            edits: 0.0,
            kept: None,
            shared: BTreeSet::new(),
        };

        let mut kept = Kept::new(rows);
        let every_row = kept.every_row();
        let tokens = packed(kept.rows(), &every_row).tokens() as f64;
        let reading = quicker(decoder.device(), || {
            kept.forget();
            kept.keep(decoder, &every_row, middle, false, "trial", &Silent)
        })?;
        estimate.rates.forward = tokens * estimate.blocks(middle) / reading;

        let width = estimate.config.hidden_size;
        let vector = candle_core::Tensor::zeros(width, candle_core::DType::F32, decoder.device())?;
        let edit = Edit::Steering(SteeringVector { layer: middle as i32 - 1, vector });
        let trainable = Trainable::from_edit(edit.clone(), decoder, 1.0)?;
        let (_, trained) = trainable.on(decoder);
        let step = quicker(decoder.device(), || {
            kept.response_gradient(decoder, &every_row, trained, 1.0).map(drop)
        })?;
        estimate.rates.training = estimate.training_work(middle, kept.rows(), &every_row) / step;

        kept.keep(decoder, &every_row, middle, true, "trial", &Silent)?;
        let divergence = quicker(decoder.device(), || kept.kl(decoder, &every_row, &edit).map(drop))?;
        let above = tokens * estimate.blocks(estimate.config.layers - middle) / estimate.rates.forward;
        let unembedding = (divergence - above).max(0.1 * divergence);
        estimate.rates.kl = 2.0 * tokens * estimate.unembedding() / unembedding;
        Ok(estimate)
    }

    /// Adds the training of one solution on rows to train on, held-out rows and KL rows: so many times as long as that order
    /// of rows. Returns its seconds.
    pub fn training(
        &mut self,
        settings: &Settings,
        order: &Order,
        times: f64,
        [train, held_out, kl]: [&[Row]; 3],
    ) -> f64 {
        let before = self.seconds;
        let point = point(settings);
        let pick = |rows: &[Row], picked: Vec<usize>| {
            picked.into_iter().map(|r| rows[r].clone()).collect::<Vec<_>>()
        };
        let (used, used_kl) = (pick(train, order.train_rows()), pick(kl, order.kl_rows()));
        let sizes = |rows: &[Row], batches: &[Vec<usize>]| -> Vec<f64> {
            batches.iter().map(|batch| packed(rows, batch).tokens() as f64).collect()
        };

        let work: f64 = order.train.iter().map(|batch| self.training_work(point, train, batch)).sum();
        // Trained weights have a product more each.
        let work = if settings.edit == EditKind::Full { 1.5 * work } else { work };
        self.seconds += times * work / self.rates.training;
        let kl_sizes = sizes(kl, &order.kl);
        let penalised = times * kl_sizes.iter().sum::<f64>();
        let above = self.blocks(self.config.layers - point);
        self.seconds += penalised * 2.0 * above / self.rates.training;
        self.seconds += penalised * 3.0 * self.unembedding() / self.rates.kl;

        let now = Some((point, order.train_rows()));
        if self.kept != now {
            self.reading(&used, point);
            self.reading(held_out, point);
            self.kept = now;
        }
        self.reading(&used_kl, self.config.layers);
        let checkpoints = 1 + (times * order.steps() as f64) as usize / settings.checkpoint_every;
        self.losses(held_out, point, checkpoints);

        let kept = self.stream(&used) + self.stream(held_out) + 2.0 * self.stream(&used_kl);
        let batch = sizes(train, &order.train).into_iter().chain(kl_sizes).fold(0.0, f64::max);
        let edit = self.edit(&settings.edit);
        // A full fine-tune is used as a copy of the weights with what it adds.
        self.edits += if settings.edit == EditKind::Full { 2.0 * edit } else { edit };
        self.working = self.working.max(kept + self.activations(point, batch) + TRAINED * edit);
        self.seconds - before
    }

    /// Adds the reading of rows of which stream and last hidden state are kept; returns its seconds.
    pub fn keeping(&mut self, rows: &[Row], point: usize) -> f64 {
        let before = self.seconds;
        self.reading(rows, self.config.layers);
        let batch = TOKENS_AT_ONCE as f64;
        // A pass forward holds the tensors of a block at a time.
        let passing = self.activations(point, batch) / (self.config.layers - point).max(1) as f64;
        self.working = self.working.max(2.0 * self.stream(rows) + passing);
        self.seconds - before
    }

    /// Adds the reading of rows that several measures share, once; `rows_number` tells such rows apart.
    pub fn keeping_once(&mut self, rows_number: usize, rows: &[Row], point: usize) {
        if self.shared.insert((rows_number, point)) {
            self.keeping(rows, point);
        }
    }

    /// Adds so many readings of the response losses of rows whose stream is kept at `point`; returns their seconds.
    pub fn losses(&mut self, rows: &[Row], point: usize, passes: usize) -> f64 {
        let responses: f64 = rows.iter().map(|row| row.response_tokens() as f64).sum();
        let above = self.blocks(self.config.layers - point);
        let work = above * tokens(rows) + self.unembedding() * responses;
        let seconds = passes as f64 * work / self.rates.forward;
        self.seconds += seconds;
        seconds
    }

    /// Adds so many readings of the KL of rows whose stream is kept at `point`.
    pub fn divergences(&mut self, rows: &[Row], point: usize, passes: usize) {
        let above = self.blocks(self.config.layers - point);
        let a_token = above / self.rates.forward + 2.0 * self.unembedding() / self.rates.kl;
        self.seconds += passes as f64 * tokens(rows) * a_token;
    }

    /// Adds the base model's continuations of the first `beginning` tokens of passages by `written` tokens, and so many
    /// readings of their KL.
    pub fn continuations(
        &mut self,
        passages: &[Row],
        [beginning, written]: [usize; 2],
        point: usize,
        passes: usize,
    ) {
        let written = (passages.len() * written) as f64;
        let begun: f64 = passages.iter().map(|row| row.ids.len().min(beginning) as f64).sum();
        let all = begun + written;
        let whole = self.blocks(self.config.layers);
        self.seconds += (2.0 * begun + written) * whole / self.rates.forward;
        self.seconds += SLOWER_ALONE * written * (whole + self.unembedding()) / self.rates.forward;
        let above = self.blocks(self.config.layers - point);
        let a_pass = all * above / self.rates.forward + written * 2.0 * self.unembedding() / self.rates.kl;
        self.seconds += passes as f64 * a_pass;
        let kept = 2.0 * all * self.config.hidden_size as f64 * 4.0;
        self.working = self.working.max(kept.min(KEEP_LIMIT as f64));
    }

    /// Adds so many readings of the gradient of the response losses of rows, with respect to an edit of these settings; it is
    /// held in so many parts.
    pub fn gradients(&mut self, rows: &[Row], settings: &Settings, parts: usize, passes: usize) {
        let point = point(settings);
        let every_row: Vec<usize> = (0..rows.len()).collect();
        let work = self.training_work(point, rows, &every_row);
        self.seconds += passes as f64 * work / self.rates.training;
        let held = (TRAINED + parts as f64) * self.edit(&settings.edit) + self.stream(rows);
        let batch = tokens(rows).min(TOKENS_AT_ONCE as f64);
        self.working = self.working.max(held + self.activations(point, batch));
    }

    fn reading(&mut self, rows: &[Row], blocks: usize) {
        self.seconds += tokens(rows) * self.blocks(blocks) / self.rates.forward;
    }

    /// Bytes of the residual stream of rows, as far as it is kept.
    fn stream(&self, rows: &[Row]) -> f64 {
        let tokens: f64 = rows.iter().map(|row| row.ids.len() as f64).sum();
        (tokens * self.config.hidden_size as f64 * 4.0).min(KEEP_LIMIT as f64)
    }

    /// How many steps to do beside each other: few threads serve one step best, and each needs memory of its own.
    pub fn jobs(&self) -> usize {
        let threads = rayon::current_num_threads() / THREADS_A_STEP;
        let room = memory_left().map_or(usize::MAX, |bytes| (0.8 * bytes / self.of_a_step()) as usize);
        threads.min(room).max(1)
    }

    /// Bytes beyond the weights that the largest step needs.
    fn of_a_step(&self) -> f64 {
        self.working + 2.0 * LOGITS_HELD as f64 * 4.0
    }

    /// In words, with so many steps beside each other.
    ///
    /// # Errors
    /// If neither this machine nor its owner's patience could hold that.
    pub fn line(&self, jobs: usize) -> Result<String, Beyond> {
        let weights = self.config.parameters() as f64 * 4.0;
        let memory = PROGRAM + self.mapped + weights + self.edits + jobs as f64 * self.of_a_step();
        hold(self.seconds, memory, memory_of_the_machine().unwrap_or(f64::INFINITY))?;
        let beside = if jobs > 1 { format!(", {jobs} steps beside each other") } else { String::new() };
        Ok(format!(
            "estimate: {} and {:.1} GiB of memory, of which the weights take {:.1}{beside}",
            duration(self.seconds),
            memory / GIB,
            weights / GIB,
        ))
    }

    /// Bytes of an edit's tensors.
    fn edit(&self, edit: &EditKind) -> f64 {
        let numbers = match edit {
            EditKind::Steering { .. } => self.config.hidden_size as f64,
            EditKind::Full => self.config.parameters() as f64,
            EditKind::Lora { layers, projections, rank, .. } => {
                let sites = layers.iter().flat_map(|&layer| Site::of_layer(layer, projections));
                let of_a_rank = sites.map(|site| site.size(&self.config)).map(|(i, o)| i as f64 + o as f64);
                *rank as f64 * of_a_rank.sum::<f64>()
            }
        };
        4.0 * numbers
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
    fn training_work(&self, point: usize, rows: &[Row], batch: &[usize]) -> f64 {
        let above = self.blocks(self.config.layers - point);
        let responses: usize = batch.iter().map(|&row| rows[row].response_tokens()).sum();
        2.0 * (above * packed(rows, batch).tokens() as f64 + self.unembedding() * responses as f64)
    }

    /// Bytes that autograd holds for so many tokens above `point`: about a dozen streams and four of the MLP a block.
    fn activations(&self, point: usize, tokens: f64) -> f64 {
        let c = &self.config;
        let a_block = 12 * c.hidden_size + 4 * c.intermediate_size;
        tokens * ((c.layers - point) * a_block) as f64 * 4.0
    }
}

/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// Refuses a time that nobody waits, and memory that is far from there. What an overflow leaves, infinite or no number, is
/// beyond all bounds.
fn hold(seconds: f64, memory: f64, there: f64) -> Result<(), Beyond> {
    let years = seconds / (3600.0 * 24.0 * 365.25);
    if years.is_nan() || years > MOST_YEARS {
        return Err(Beyond::Time { years });
    }
    if memory.is_nan() || memory > FAR * there {
        return Err(Beyond::Memory { needed: memory / GIB, there: there / GIB });
    }
    Ok(())
}

/// Bytes of memory that this machine has left, where it says so.
fn memory_left() -> Option<f64> {
    memory_said("MemAvailable:")
}

/// Bytes of memory that this machine has in all, where it says so.
fn memory_of_the_machine() -> Option<f64> {
    memory_said("MemTotal:")
}

fn memory_said(what: &str) -> Option<f64> {
    let said = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = said.lines().find_map(|line| line.strip_prefix(what))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Tokens that a pass over rows computes.
fn tokens(rows: &[Row]) -> f64 {
    let every_row: Vec<usize> = (0..rows.len()).collect();
    batches(rows, &every_row).iter().map(|batch| packed(rows, batch).tokens() as f64).sum()
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

/// Seconds as people say them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("about {s:.0} s"),
        s if s < 5400.0 => format!("about {:.0} min", s / 60.0),
        s => format!("about {:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_could_hold_is_refused_in_words() {
        let said = |seconds, memory| hold(seconds, memory, 8.0 * GIB).map_err(|problem| problem.to_string());
        assert_eq!(said(3600.0, 30.0 * GIB), Ok(()));
        let memory =
            |needed: &str| Err(format!("it would take some {needed} GiB of memory, and this machine has 8"));
        assert_eq!(said(3600.0, 40.0 * GIB), memory("40"));
        assert_eq!(said(0.0, f64::INFINITY), memory("inf"));
        assert_eq!(said(0.0, f64::NAN), memory("NaN"));
        let time = |years: &str| Err(format!("it would take some {years} years on this machine"));
        assert_eq!(said(3.2e9, 0.0), time("101"));
        assert_eq!(said(f64::INFINITY, 0.0), time("inf"));
        assert_eq!(said(f64::NAN, 0.0), time("NaN"));
        assert_eq!(hold(1.0, 1e30, f64::INFINITY), Ok(()));
    }
}
