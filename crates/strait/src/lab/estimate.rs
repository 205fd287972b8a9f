//! Time and memory that a study will need, before it needs them.
//!
//! Time is counted in multiply-adds of the matrix products (design §5) and turned into seconds by what this machine did
//! in two short trials with the model at hand: a forward pass, and a training step.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Device;
use strait_model::Model;

use super::{
    memory::{self, Budget, GIB, LimitProblem, Limits, Need},
    speed::Speed,
    work::{Work, tokens},
};
use crate::{
    objective::{Row, TOKENS_AT_ONCE, batches, kept_bytes, packed},
    train::{EditKind, Order, Settings},
};

/// The time and memory of the work added so far.
pub struct Estimate {
    work: Work,
    speed: Speed,
    seconds: f64,
    /// The needs of each step; what is added now belongs to the last.
    needs: Vec<Need>,
    /// Bytes of all solutions' edits, which measures hold at once.
    edits: f64,
    /// The memory that the steps get; none where all rows have room.
    budget: Option<Budget>,
    /// The point at which training rows are kept already, and these rows.
    kept: Option<(usize, Vec<usize>)>,
    /// Rows that several measures share and that are counted already, each with its point.
    shared: BTreeSet<(usize, usize)>,
    /// Memory that the machine has left, where that is what rows are kept in.
    left: Option<f64>,
}

/// Point up to which an edit of these settings changes nothing.
pub fn point(settings: &Settings) -> usize {
    settings.first_changed_point()
}

/// The times that a token sampled alone takes longer than one of a full batch: all weights are read for it.
const SLOWER_ALONE: f64 = 8.0;

/// Copies of an edit while it is trained: itself, a second one, its gradient and the optimiser's two moments.
const TRAINED: f64 = 5.0;

/// The longest time that a run may take.
const MOST_YEARS: f64 = 10.0;

/// The factor beyond the machine's memory at which a run is refused: estimates err by less, and the disk can lend some.
const FAR: f64 = 4.0;

impl Estimate {
    /// Nothing yet, on a machine of this speed where steps get the memory of a plan.
    pub fn new(model: &Model, speed: Speed, budget: Option<&Budget>) -> Self {
        let left = matches!(model.decoder.device(), Device::Cpu).then(memory::left).flatten();
        Self {
            work: Work::of(model),
            speed,
            seconds: 0.0,
            needs: Vec::new(),
            edits: 0.0,
            budget: budget.cloned(),
            kept: None,
            shared: BTreeSet::new(),
            left,
        }
    }

    /// Adds a solution, whose edit measures will hold.
    pub fn solution(&mut self, settings: &Settings) {
        let edit = self.work.edit(&settings.edit);
        // A full fine-tune is used as a copy of the weights with what it adds.
        self.edits += if settings.edit == EditKind::Full { 2.0 * edit } else { edit };
    }

    /// Begins a step that trains; what is added from now on is its.
    pub fn begin_training(&mut self, step: &str) {
        self.needs.push(Need { step: step.into(), ..Need::default() });
    }

    /// Begins the step of a measure, which holds the edits of all solutions.
    pub fn begin_measure(&mut self, step: &str) {
        self.needs.push(Need { step: step.into(), held: self.edits, ..Need::default() });
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
        let (point, layers) = (point(settings), self.work.config.layers);
        let (used, used_kl) = (order.train_rows(), order.kl_rows());
        let pick = |rows: &[Row], picked: &[usize]| -> Vec<Row> {
            picked.iter().map(|&row| rows[row].clone()).collect()
        };
        let sizes = |rows: &[Row], batches: &[Vec<usize>]| -> Vec<f64> {
            batches.iter().map(|batch| packed(rows, batch).tokens() as f64).collect()
        };

        let work: f64 = order.train.iter().map(|batch| self.work.training(point, train, batch)).sum();
        // Trained weights have a product more each.
        let work = if settings.edit == EditKind::Full { 1.5 * work } else { work };
        self.seconds += times * work / self.speed.training;
        let kl_sizes = sizes(kl, &order.kl);
        let penalised = times * kl_sizes.iter().sum::<f64>();
        let above = self.work.blocks(layers - point);
        self.seconds += penalised * 2.0 * above / self.speed.training;
        self.seconds += penalised * 3.0 * self.work.unembedding() / self.speed.kl;

        let (rows, rows_kl) = (pick(train, &used), pick(kl, &used_kl));
        let now = Some((point, used.clone()));
        if self.kept != now {
            self.reading(&rows, point);
            self.reading(held_out, point);
            self.kept = now;
        }
        self.reading(&rows_kl, layers);
        for (rows, hidden) in [(&rows[..], false), (held_out, false), (&rows_kl, true)] {
            self.holding(rows, hidden);
        }
        let checkpoints = 1 + (times * order.steps() as f64) as usize / settings.checkpoint_every;
        self.losses(held_out, point, checkpoints);
        let lacking = 1.0 - self.share();
        if lacking > 0.0 {
            let anew = passed(train, &used, &order.train) * self.work.blocks(point)
                + passed(kl, &used_kl, &order.kl) * self.work.blocks(layers);
            self.seconds += times * lacking * anew / self.speed.forward;
        }

        let sizes: Vec<f64> = sizes(train, &order.train).into_iter().chain(kl_sizes).collect();
        let (batch, order_tokens) = (sizes.iter().copied().fold(0.0, f64::max), sizes.iter().sum::<f64>());
        let edit = self.work.edit(&settings.edit);
        self.going_back(point, batch, TRAINED * edit);
        self.seconds +=
            (1.0 - self.share_of_activations()) * times * above * order_tokens / self.speed.forward;
        self.seconds - before
    }

    /// Adds the reading of rows of which the stream is kept at `point`, and the last hidden state where a measure reads it;
    /// returns its seconds.
    pub fn keeping(&mut self, rows: &[Row], point: usize, hidden: bool) -> f64 {
        let before = self.seconds;
        self.reading(rows, if hidden { self.work.config.layers } else { point });
        self.holding(rows, hidden);
        self.seconds - before
    }

    /// Adds the reading of rows that several measures share, once; `rows_number` tells such rows apart.
    pub fn keeping_once(&mut self, rows_number: usize, rows: &[Row], point: usize, hidden: bool) {
        match self.shared.insert((rows_number, point)) {
            true => _ = self.keeping(rows, point, hidden),
            false => self.holding(rows, hidden),
        }
    }

    /// Adds the memory of rows that are kept, and of passes over them.
    pub fn holding(&mut self, rows: &[Row], hidden: bool) {
        let all = rows.iter().map(|row| row.ids.len()).sum();
        let bytes = kept_bytes(all, self.work.config.hidden_size, hidden) as f64;
        if let Some(need) = self.needs.last_mut() {
            need.rows += bytes;
        }
        self.passing(all);
    }

    /// Adds so many whole passes over rows of which nothing is kept.
    pub fn passes(&mut self, rows: &[Row], passes: usize) {
        (0..passes).for_each(|_| self.reading(rows, self.work.config.layers));
        self.passing(TOKENS_AT_ONCE);
    }

    /// Adds so many readings of the response losses of rows whose stream is kept at `point`; returns their seconds.
    pub fn losses(&mut self, rows: &[Row], point: usize, passes: usize) -> f64 {
        let responses: f64 = rows.iter().map(|row| row.response_tokens() as f64).sum();
        let tokens = tokens(rows);
        let above = self.work.blocks(self.work.config.layers - point);
        let anew = (1.0 - self.share()) * self.work.blocks(point);
        let work = (above + anew) * tokens + self.work.unembedding() * responses;
        let seconds = passes as f64 * work / self.speed.forward;
        self.seconds += seconds;
        self.passing(tokens as usize);
        seconds
    }

    /// Adds so many readings of the KL of rows whose stream and last hidden state are kept at `point`.
    pub fn divergences(&mut self, rows: &[Row], point: usize, passes: usize) {
        let layers = self.work.config.layers;
        let above = self.work.blocks(layers - point) + (1.0 - self.share()) * self.work.blocks(layers);
        let a_token = above / self.speed.forward + 2.0 * self.work.unembedding() / self.speed.kl;
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
        let layers = self.work.config.layers;
        let (whole, lacking) = (self.work.blocks(layers), 1.0 - self.share());
        self.seconds += (2.0 * begun + written) * whole / self.speed.forward;
        self.seconds += SLOWER_ALONE * written * (whole + self.work.unembedding()) / self.speed.forward;
        let above = self.work.blocks(layers - point) + lacking * whole;
        let a_pass =
            all * above / self.speed.forward + written * 2.0 * self.work.unembedding() / self.speed.kl;
        self.seconds += passes as f64 * a_pass;
        let bytes = kept_bytes(all as usize, self.work.config.hidden_size, true) as f64;
        if let Some(need) = self.needs.last_mut() {
            need.rows += bytes;
        }
        self.passing(all as usize);
    }

    /// Adds the sampling of answers: passes over so many tokens of prompts, and so many tokens that are written.
    pub fn answers(&mut self, prompts: f64, written: f64) {
        self.seconds += self.work.written(prompts, written) / self.speed.forward;
        self.passing(prompts as usize);
    }

    /// The step at hand holds the weights of another model.
    pub(crate) fn holding_model(&mut self, other: &Work) {
        if let Some(need) = self.needs.last_mut() {
            need.held += other.weights;
        }
    }

    /// Adds what a model that judges reads and replies, so many tokens of each; the study's own where it is no other.
    pub(crate) fn judging(&mut self, other: Option<&Work>, read: f64, replied: f64) {
        let work = other.unwrap_or(&self.work);
        let (all, bytes) = (work.written(read, replied), work.passing(read as usize));
        self.seconds += all / self.speed.forward;
        self.working(bytes);
    }

    /// Adds so many readings of the gradient of the response losses of rows, with respect to an edit of these settings; it is
    /// held in so many parts.
    pub fn gradients(&mut self, rows: &[Row], settings: &Settings, parts: usize, passes: usize) {
        let point = point(settings);
        let every_row: Vec<usize> = (0..rows.len()).collect();
        let work = self.work.training(point, rows, &every_row);
        self.seconds += passes as f64 * work / self.speed.training;
        // The rows of a part lie apart, so that each of them is computed anew with its neighbours.
        let alone: Vec<Vec<usize>> = every_row.iter().map(|&row| vec![row]).collect();
        let anew = (1.0 - self.share()) * passed(rows, &every_row, &alone) * self.work.blocks(point);
        self.seconds += passes as f64 * anew / self.speed.forward;
        let batch = tokens(rows).min(TOKENS_AT_ONCE as f64);
        let held = (TRAINED + parts as f64) * self.work.edit(&settings.edit);
        self.going_back(point, batch, held);
    }

    fn reading(&mut self, rows: &[Row], blocks: usize) {
        self.seconds += tokens(rows) * self.work.blocks(blocks) / self.speed.forward;
    }

    /// The step at hand needs so many bytes at once beside its rows and what it holds.
    fn working(&mut self, bytes: f64) {
        if let Some(need) = self.needs.last_mut() {
            need.working = need.working.max(bytes);
        }
    }

    /// The step at hand goes back through the blocks above a point with so many tokens, and holds so many bytes beside.
    fn going_back(&mut self, point: usize, tokens: f64, held: f64) {
        let working = held + self.work.block(tokens) + self.work.logits(tokens);
        let activations = self.work.activations(point, tokens);
        if self.work.composed {
            return self.working(working + activations);
        }
        self.working(working);
        if let Some(need) = self.needs.last_mut() {
            need.activations = need.activations.max(activations);
        }
    }

    /// Adds the memory of a pass forward over batches of so many tokens in all, which holds the tensors of a block at a time.
    fn passing(&mut self, tokens: usize) {
        self.working(self.work.passing(tokens));
    }

    /// The share of the activations of the step at hand that have room.
    fn share_of_activations(&self) -> f64 {
        match (&self.budget, self.needs.last()) {
            (Some(budget), Some(need)) => budget.share_of_activations(&need.step),
            _ => 1.0,
        }
    }

    /// The share of the rows of the step at hand that have room.
    fn share(&self) -> f64 {
        match (&self.budget, self.needs.last()) {
            (Some(budget), Some(need)) => budget.share(&need.step),
            _ => 1.0,
        }
    }

    /// The plan of memory for the steps.
    ///
    /// # Errors
    /// If the memory that is given does not suffice for a step.
    pub fn budget(&self, limits: Limits) -> Result<Budget, LimitProblem> {
        Budget::plan(self.work.weights, &self.needs, limits, self.left)
    }

    /// The seconds of all that was added.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// In words, with the memory of a plan.
    ///
    /// # Errors
    /// If neither this machine nor its owner's patience could hold that.
    pub fn line(&self, budget: &Budget) -> Result<String, LimitProblem> {
        hold(self.seconds, budget.peak(), memory::of_the_machine().unwrap_or(f64::INFINITY))?;
        let beside = match budget.jobs {
            1 => String::new(),
            jobs => format!(", {jobs} steps beside each other"),
        };
        Ok(format!(
            "estimate: {} and {:.1} GiB of memory, of which the weights take {:.1}{beside}",
            duration(self.seconds),
            budget.peak() / GIB,
            self.work.weights / GIB,
        ))
    }
}

/// Tokens that are passed where none of the rows that are `kept` have room, and they are read in these batches: each is
/// computed with those beside which it would have been kept.
fn passed(rows: &[Row], kept: &[usize], read: &[Vec<usize>]) -> f64 {
    let mut sizes = Vec::new();
    let mut batch_of = BTreeMap::new();
    for (number, batch) in batches(rows, kept).into_iter().enumerate() {
        sizes.push(packed(rows, &batch).tokens() as f64);
        batch_of.extend(batch.into_iter().map(|row| (row, number)));
    }
    let of = |batch: &Vec<usize>| -> f64 {
        let found: BTreeSet<usize> = batch.iter().filter_map(|row| batch_of.get(row).copied()).collect();
        found.into_iter().map(|number| sizes[number]).sum()
    };
    read.iter().map(of).sum()
}

/// Refuses a time that nobody waits, and memory that is far from there. What an overflow leaves, infinite or no number, is
/// beyond all bounds.
fn hold(seconds: f64, memory: f64, there: f64) -> Result<(), LimitProblem> {
    let years = seconds / (3600.0 * 24.0 * 365.25);
    if years.is_nan() || years > MOST_YEARS {
        return Err(LimitProblem::Time { years });
    }
    if memory.is_nan() || memory > FAR * there {
        return Err(LimitProblem::Memory { needed: memory / GIB, there: there / GIB });
    }
    Ok(())
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
    use std::path::Path;

    use strait_model::{
        Precision,
        source::{Located, Road},
    };

    use super::*;
    use crate::lab::unloaded;

    #[test]
    fn another_model_that_judges_is_held_and_timed_by_its_own_size() {
        let tiny = |name: &str| {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny").join(name);
            Located { name: name.into(), path, road: Road::Path, revision: None }
        };
        let load = |name| Model::load(&tiny(name), &Device::Cpu, Precision::F32).unwrap();
        let mut estimate = Estimate::new(&load("llama"), Speed::UNKNOWN, None);
        estimate.begin_measure("rates");
        estimate.judging(None, 100.0, 10.0);
        let own = estimate.seconds();
        assert_eq!((own, estimate.needs[0].held), (estimate.work.written(100.0, 10.0), 0.0));
        let other = unloaded(&tiny("gemma3"), &Device::Cpu, Precision::F32).unwrap();
        estimate.holding_model(&other);
        estimate.judging(Some(&other), 100.0, 10.0);
        let loaded = Work::of(&load("gemma3"));
        assert_eq!(estimate.needs[0].held, loaded.weights);
        assert_eq!(estimate.seconds(), own + loaded.written(100.0, 10.0));
        assert!(loaded.weights > 0.0 && loaded.written(100.0, 10.0) != own);
    }

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
