//! Training of an edit: optimiser, schedule, loop, checkpoints, resume.

mod checkpoint;
mod optimiser;
mod settings;

use std::{collections::BTreeSet, io::Write};

use candle_core::{Device, Tensor, Var};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use strait_model::{
    Config, Decoder, Edit,
    edit::{Adapter, Lora, Site, SteeringVector},
    progress::{Progress, Unit},
};

pub use checkpoint::{Certificates, SolutionFolder};
pub use optimiser::learning_rate;
pub(crate) use optimiser::{AdamW, Parameter, adamw, clip, gradient_norm};
pub use settings::{EditKind, Kl, Length, Schedule, Seeds, Settings};

use crate::{
    Error, Result,
    data::split::batches,
    objective::{Kept, Row},
    tensorboard::EventWriter,
};

/// What one optimiser step did: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, this one included.
    pub step: usize,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// The objective before the step: response loss + weight * KL.
    pub loss: f64,
    /// Nats per response token.
    pub response_loss: f64,
    /// KL(base ‖ edited) in nats per token of the KL set, where there is a penalty.
    pub kl: Option<f64>,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
    /// Norm of the edit after the step.
    pub norm: f64,
    /// Response loss on the held-out rows after the step, at checkpoints.
    pub heldout_loss: Option<f64>,
}

impl StepRecord {
    /// As a line of `metrics.jsonl`.
    fn line(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{json}\n")
    }
}

/// The rows that training sees.
pub struct TrainingData<'a> {
    /// The narrow data set.
    pub train: &'a Kept,
    /// Rows kept out of training.
    pub held_out: Option<&'a Kept>,
    /// Rows on which the KL penalty holds.
    pub kl: Option<&'a Kept>,
}

/// Which rows each micro-batch takes, for the whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Rows of the training set, one list per micro-batch.
    pub train: Vec<Vec<usize>>,
    /// Rows of the KL set, one list per micro-batch; empty without a penalty.
    pub kl: Vec<Vec<usize>>,
    /// Micro-batches in an optimiser step.
    pub accumulation: usize,
}

impl Order {
    /// Shuffled passes over the rows, batches by length, from the settings' seed.
    pub fn new(settings: &Settings, train: &[Row], kl: &[Row]) -> Self {
        Self::over(&(0..train.len()).collect::<Vec<_>>(), settings, train, kl)
    }

    /// As [`Order::new`], over some of the training rows; one that is named twice comes twice in a pass.
    pub fn over(picked: &[usize], settings: &Settings, train: &[Row], kl: &[Row]) -> Self {
        let lengths = |rows: &[Row]| rows.iter().map(|r| r.ids.len()).collect::<Vec<_>>();
        let seed = settings.seeds.order;
        let epochs_of = |lengths: Vec<usize>, size: usize, seed: u64| {
            (0..).flat_map(move |epoch| batches(&lengths, size, seed, epoch))
        };
        let rows: Vec<usize> = picked.iter().map(|&row| train[row].ids.len()).collect();
        let micro_batches = settings.micro_batches(rows.len());
        let named = |batch: Vec<usize>| batch.into_iter().map(|i| picked[i]).collect::<Vec<_>>();
        let train: Vec<_> =
            epochs_of(rows, settings.batch_size, seed).take(micro_batches).map(named).collect();
        let kl = match settings.kl {
            // Another stream of random numbers, so that the order of the training rows is the same with and without.
            Some(penalty) if !kl.is_empty() => {
                epochs_of(lengths(kl), penalty.batch_size, seed ^ KL_STREAM).take(micro_batches).collect()
            }
            _ => Vec::new(),
        };
        Self { train, kl, accumulation: settings.accumulation }
    }

    /// Optimiser steps of the run.
    pub fn steps(&self) -> usize {
        self.train.len().div_ceil(self.accumulation)
    }

    /// The training rows that the run uses, each once, in file order.
    pub fn train_rows(&self) -> Vec<usize> {
        distinct(&self.train)
    }

    /// The KL rows that the run uses, each once, in file order.
    pub fn kl_rows(&self) -> Vec<usize> {
        distinct(&self.kl)
    }

    /// The micro-batches of a step: training rows and KL rows.
    fn of_step(&self, step: usize) -> impl Iterator<Item = (&[usize], &[usize])> {
        let from = step * self.accumulation;
        let to = (from + self.accumulation).min(self.train.len());
        (from..to).map(|i| (self.train[i].as_slice(), self.kl.get(i).map_or(&[][..], Vec::as_slice)))
    }
}

fn distinct(batches: &[Vec<usize>]) -> Vec<usize> {
    batches.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

const KL_STREAM: u64 = 0x6b6c;

/// The rows that a run of few samples or of mixed rows trains on: `few` of the first `own` rows, all of them if none is
/// said, and for each of those `ratio` of the `others` behind them, taken again from the first where there are too few. The
/// seed shuffles both.
pub fn pick(own: usize, few: Option<usize>, others: usize, ratio: f64, seed: u64) -> Vec<usize> {
    let shuffled = |rows: std::ops::Range<usize>, stream: u64| {
        let mut rows: Vec<usize> = rows.collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ PICK_STREAM);
        random.set_stream(stream);
        rows.shuffle(&mut random);
        rows
    };
    let mut picked = match few {
        Some(few) => shuffled(0..own, 0).into_iter().take(few).collect(),
        None => (0..own).collect::<Vec<_>>(),
    };
    let mixed = (ratio * picked.len() as f64).round() as usize;
    picked.extend(shuffled(own..own + others, 1).into_iter().cycle().take(mixed));
    picked
}

const PICK_STREAM: u64 = 0x7069;

/// An edit whose tensors are variables, and those variables.
pub struct Trainable {
    edit: Edit,
    parameters: Vec<Parameter>,
}

impl Trainable {
    /// A fresh edit: a zero steering vector, or adapters with B = 0.
    ///
    /// `residual_scale` is the length of a typical coordinate of the residual stream where a steering vector acts.
    ///
    /// # Errors
    /// If the edit does not fit the model.
    pub fn new(settings: &Settings, config: &Config, residual_scale: f64, device: &Device) -> Result<Self> {
        let edit = match &settings.edit {
            EditKind::Steering { layer } => {
                let vector = Tensor::zeros(config.hidden_size, candle_core::DType::F32, device)?;
                Edit::Steering(SteeringVector { layer: *layer, vector })
            }
            EditKind::Lora { layers, projections, rank, alpha, rslora } => {
                let mut rng = ChaCha8Rng::seed_from_u64(settings.seeds.initialisation);
                let mut adapters = Vec::new();
                for site in layers.iter().flat_map(|&layer| Site::of_layer(layer, projections)) {
                    let (input, output) = site.size(config);
                    let bound = 1.0 / (input as f32).sqrt();
                    let a = (0..rank * input).map(|_| rng.random_range(-bound..bound)).collect::<Vec<f32>>();
                    let a = Tensor::from_vec(a, (*rank, input), device)?;
                    let b = Tensor::zeros((output, *rank), candle_core::DType::F32, device)?;
                    adapters.push(Adapter { site, a, b });
                }
                Edit::Lora(Lora { adapters, rank: *rank, alpha: *alpha, rslora: *rslora, factor: 1.0 })
            }
        };
        edit.check(config)?;
        Self::from_edit(edit, residual_scale)
    }

    /// Makes the tensors of an edit trainable, from the values that they have.
    ///
    /// # Errors
    /// If a variable cannot be made.
    pub fn from_edit(edit: Edit, residual_scale: f64) -> Result<Self> {
        let mut parameters = Vec::new();
        let mut trainable = |name: String, tensor: &Tensor, unit: f64| -> Result<Tensor> {
            let var = Var::from_tensor(&tensor.copy()?)?;
            let tensor = var.as_tensor().clone();
            parameters.push(Parameter::new(name, var, unit));
            Ok(tensor)
        };
        let edit = match edit {
            Edit::Steering(SteeringVector { layer, vector }) => {
                let vector = trainable(format!("steering.{layer}"), &vector, residual_scale)?;
                Edit::Steering(SteeringVector { layer, vector })
            }
            Edit::Lora(mut lora) => {
                for adapter in &mut lora.adapters {
                    let name = adapter.site.module();
                    adapter.a = trainable(format!("{name}.lora_A"), &adapter.a, 1.0)?;
                    adapter.b = trainable(format!("{name}.lora_B"), &adapter.b, 1.0)?;
                }
                Edit::Lora(lora)
            }
            Edit::Ablation(_) => return Err(Error::CannotTrain("an ablation".into())),
            Edit::Composed(_) => return Err(Error::CannotTrain("a composition of edits".into())),
        };
        Ok(Self { edit, parameters })
    }

    /// The edit; its tensors change as it is trained.
    pub fn edit(&self) -> &Edit {
        &self.edit
    }

    /// Names and variables of what is trained.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.parameters.iter().map(|p| (p.name.as_str(), &p.var))
    }

    /// The edit as it is now, apart from its variables.
    ///
    /// # Errors
    /// If a tensor cannot be copied.
    pub fn frozen(&self) -> Result<Edit> {
        Ok(match &self.edit {
            Edit::Steering(s) => {
                Edit::Steering(SteeringVector { layer: s.layer, vector: s.vector.detach().copy()? })
            }
            Edit::Lora(lora) => {
                let mut lora = lora.clone();
                for adapter in &mut lora.adapters {
                    adapter.a = adapter.a.detach().copy()?;
                    adapter.b = adapter.b.detach().copy()?;
                }
                Edit::Lora(lora)
            }
            other @ (Edit::Ablation(_) | Edit::Composed(_)) => other.clone(),
        })
    }
}

/// A trained edit and how it came about.
pub struct Trained {
    /// The edit after the last step.
    pub edit: Edit,
    /// Every step.
    pub history: Vec<StepRecord>,
}

/// One training run: what it works on and where it writes.
pub struct Run<'a> {
    /// The frozen model.
    pub decoder: &'a Decoder,
    /// Rows.
    pub data: TrainingData<'a>,
    /// Settings.
    pub settings: &'a Settings,
    /// Which rows when.
    pub order: Order,
    /// The solution's folder.
    pub folder: &'a SolutionFolder,
    /// A value that changes with everything that the result depends on; a state with another one is not continued.
    pub fingerprint: &'a str,
    /// Stored with the trained edit: the base model and the like.
    pub provenance: serde_json::Value,
}

impl Run<'_> {
    /// Trains from the last saved state to the end, or to the request to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a request to stop, with everything saved; [`Error::Diverged`] where the loss is not
    /// finite or explodes; or what the file system or a tensor operation says.
    pub fn train(&self, mut trainable: Trainable, progress: &dyn Progress) -> Result<Trained> {
        let total = self.order.steps();
        let done = self
            .folder
            .resume(&mut trainable.parameters, self.fingerprint, |step| self.is_checkpoint(step, total))?;
        let mut history = self.folder.history()?;
        let mut metrics = self.folder.append_metrics()?;
        let mut events = EventWriter::create(&self.folder.tensorboard(), done as u64)?;
        let task = progress.begin("training", Some(total as u64), Unit::Count);
        task.advance(done as u64);
        for step in done..total {
            let record = self.step(&mut trainable, step, total, history.first())?;
            self.record(&record, &mut metrics, &mut events)?;
            task.advance(1);
            task.say(&state_of(&record));
            history.push(record);
            let checkpoint = self.is_checkpoint(step + 1, total);
            if checkpoint {
                trainable.edit.save(&self.folder.checkpoint(step + 1))?;
            }
            let stopped = progress.stopped() && step + 1 < total;
            if checkpoint || stopped {
                // The lines of the steps that a state stands for must outlive a power cut as the state does.
                metrics
                    .sync_all()
                    .map_err(strait_model::Error::io(self.folder.metrics(), "write the file"))?;
                events.flush()?;
                self.folder.save_state(&trainable.parameters, step + 1, self.fingerprint)?;
            }
            if stopped {
                return Err(Error::Interrupted);
            }
        }
        let edit = trainable.frozen()?;
        edit.save_with(&self.folder.edit(), &self.provenance)?;
        Ok(Trained { edit, history })
    }

    fn is_checkpoint(&self, done: usize, total: usize) -> bool {
        done == total || done.is_multiple_of(self.settings.checkpoint_every)
    }

    /// Takes one optimiser step, `step` counted from 0 of `total`; `first` is the record of the run's first.
    ///
    /// # Errors
    /// [`Error::Diverged`], or what a tensor operation says.
    pub fn step(
        &self,
        trainable: &mut Trainable,
        step: usize,
        total: usize,
        first: Option<&StepRecord>,
    ) -> Result<StepRecord> {
        let weight = self.settings.kl.map_or(0.0, |kl| kl.weight);
        let (mut response_tokens, mut kl_tokens) = (0, 0);
        for (rows, kl_rows) in self.order.of_step(step) {
            response_tokens +=
                rows.iter().map(|&r| self.data.train.rows()[r].response_tokens()).sum::<usize>();
            if let Some(kl) = self.data.kl {
                kl_tokens += kl_rows.iter().map(|&r| kl.rows()[r].ids.len()).sum::<usize>();
            }
        }
        let (mut response_loss, mut kl_loss) = (0.0, 0.0);
        for (rows, kl_rows) in self.order.of_step(step) {
            let losses = self.data.train.response_losses(self.decoder, rows, Some(&trainable.edit), true)?;
            response_loss +=
                backward(trainable, &losses, 1.0 / response_tokens as f64)? / response_tokens as f64;
            if let Some(kl) = self.data.kl.filter(|_| !kl_rows.is_empty()) {
                let losses = kl.kl(self.decoder, kl_rows, &trainable.edit, true)?;
                kl_loss += backward(trainable, &losses, weight / kl_tokens as f64)? / kl_tokens as f64;
            }
        }
        let gradient_norm = optimiser::gradient_norm(&trainable.parameters);
        let rate = learning_rate(self.settings, step, total);
        let mut record = StepRecord {
            step: step + 1,
            learning_rate: rate,
            loss: response_loss + weight * kl_loss,
            response_loss,
            kl: self.settings.kl.is_some().then_some(kl_loss),
            gradient_norm,
            norm: 0.0,
            heldout_loss: None,
        };
        self.refuse_divergence(&record, first)?;
        if let Some(largest) = self.settings.clip {
            optimiser::clip(&mut trainable.parameters, gradient_norm, largest);
        }
        optimiser::adamw(&mut trainable.parameters, self.settings.adamw(), rate, step)?;
        record.norm = trainable.edit.norm()?;
        if self.is_checkpoint(step + 1, total) {
            record.heldout_loss = self.heldout_loss(&trainable.edit)?;
        }
        Ok(record)
    }

    /// Stops where the loss or its gradient is not finite, or the loss is far above both a blind guess and the start.
    fn refuse_divergence(&self, record: &StepRecord, first: Option<&StepRecord>) -> Result<()> {
        let blind = (self.decoder.config().vocab_size as f64).ln();
        let start = first.map_or(record.response_loss, |r| r.response_loss);
        let exploded = record.response_loss > 2.0 * blind.max(start);
        if record.loss.is_finite() && record.gradient_norm.is_finite() && !exploded {
            return Ok(());
        }
        Err(Error::Diverged {
            step: record.step,
            rows: self.order.of_step(record.step - 1).flat_map(|(rows, _)| rows.to_vec()).collect(),
            loss: record.loss,
            gradient_norm: record.gradient_norm,
        })
    }

    fn heldout_loss(&self, edit: &Edit) -> Result<Option<f64>> {
        let Some(held_out) = self.data.held_out else { return Ok(None) };
        let (mut sum, mut tokens) = (0.0, 0);
        for batch in held_out.batches_by_tokens() {
            let losses = held_out.response_losses(self.decoder, &batch, Some(edit), false)?;
            sum += losses.to_vec1::<f32>()?.iter().map(|&l| l as f64).sum::<f64>();
            tokens += losses.elem_count();
        }
        Ok(Some(sum / tokens as f64))
    }

    fn record(
        &self,
        record: &StepRecord,
        metrics: &mut std::fs::File,
        events: &mut EventWriter,
    ) -> Result<()> {
        let path = self.folder.metrics();
        metrics
            .write_all(record.line().as_bytes())
            .map_err(strait_model::Error::io(path, "write the file"))?;
        let step = record.step as u64;
        let scalars = [
            ("train/loss", Some(record.loss)),
            ("train/response_loss", Some(record.response_loss)),
            ("train/kl", record.kl),
            ("train/learning_rate", Some(record.learning_rate)),
            ("train/grad_norm", Some(record.gradient_norm)),
            ("train/norm", Some(record.norm)),
            ("eval/loss", record.heldout_loss),
        ];
        for (tag, value) in scalars {
            if let Some(value) = value {
                events.scalar(tag, step, value as f32)?;
            }
        }
        Ok(())
    }
}

/// Adds the gradient of `factor * sum(losses)` to the parameters'; returns `sum(losses)`.
fn backward(trainable: &mut Trainable, losses: &Tensor, factor: f64) -> Result<f64> {
    let sum: f64 = losses.to_vec1::<f32>()?.iter().map(|&l| l as f64).sum();
    let gradients = (losses.sum_all()? * factor)?.backward()?;
    for p in &mut trainable.parameters {
        if let Some(gradient) = gradients.get(&p.var) {
            p.accumulate(gradient)?;
        }
    }
    Ok(sum)
}

fn state_of(record: &StepRecord) -> String {
    match record.kl {
        Some(kl) => format!("loss {:.3}, KL {kl:.3}", record.response_loss),
        None => format!("loss {:.3}", record.response_loss),
    }
}
