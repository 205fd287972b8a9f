//! The settings of a training run, with all defaults filled in.

use serde::{Deserialize, Serialize};
use strait_model::edit::Projection;

use super::optimiser::AdamW;

/// The edit that is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EditKind {
    /// One vector added after a block, begun at zero (paper §7).
    Steering {
        /// The block, counted from 0; -1 is the embeddings.
        layer: i32,
    },
    /// Low-rank adapters; A is drawn as PEFT draws it (uniform, Kaiming with a = sqrt 5), B begins at zero.
    Lora {
        /// The blocks, counted from 0; -1 is the embeddings, which have one adapter and no projections.
        layers: Vec<i32>,
        /// The projections in each block.
        projections: Vec<Projection>,
        /// Rank r.
        rank: usize,
        /// Alpha; the scale is alpha / r.
        alpha: f64,
        /// True for a scale of alpha / sqrt(r).
        rslora: bool,
    },
    /// Every weight of the model (paper §5.2).
    Full,
}

impl EditKind {
    /// Its kind, one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Steering { .. } => "steering",
            Self::Lora { .. } => "lora",
            Self::Full => "full",
        }
    }

    /// Point up to which such an edit changes nothing.
    pub fn first_changed_point(&self) -> usize {
        match self {
            Self::Steering { layer } => (layer + 1) as usize,
            // -1, the embeddings, act at point 0 as block 0 does.
            Self::Lora { layers, .. } => layers.iter().map(|&layer| layer.max(0) as usize).min().unwrap_or(0),
            Self::Full => 0,
        }
    }

    /// Its description: "a steering vector at layer 15".
    pub fn words(&self) -> String {
        match self {
            Self::Steering { layer } => format!("a steering vector at layer {layer}"),
            Self::Full => "a full fine-tune".into(),
            Self::Lora { layers, projections, rank, alpha, rslora } => {
                let listed = |names: Vec<String>| names.join(", ");
                let blocks: Vec<String> = layers.iter().filter(|l| **l >= 0).map(i32::to_string).collect();
                let mut places = Vec::new();
                if blocks.len() < layers.len() {
                    places.push("the embeddings".to_string());
                }
                if !blocks.is_empty() {
                    let projections = projections.iter().map(|p| p.name().to_string()).collect();
                    places.push(format!("{} of layers {}", listed(projections), listed(blocks)));
                }
                format!(
                    "{}LoRA of rank {rank}, alpha {alpha}, on {}",
                    if *rslora { "an rs" } else { "a " },
                    places.join(" and "),
                )
            }
        }
    }
}

/// The course of the learning rate over the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Falls linearly to zero after the warm-up.
    #[default]
    Linear,
    /// Falls to zero along half a cosine after the warm-up.
    Cosine,
    /// Stays after the warm-up.
    Constant,
}

/// The length of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// Passes over the training rows; a part of a pass counts its share.
    Epochs(f64),
    /// Optimiser steps.
    Steps(usize),
}

/// The KL penalty of the objective: `weight` * KL(base ‖ edited) in nats per token of the KL set (paper §6).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kl {
    /// Nats of loss per nat of KL. The paper's lambda divided by its vocabulary of 152,064.
    pub weight: f64,
    /// Rows of the KL set in each micro-batch.
    pub batch_size: usize,
}

/// The end of a training before its time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// The preference shift outside the domain, in nats per response token, above which it ends at a checkpoint.
    pub outside: f64,
}

/// The seeds of the three streams of random numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seeds {
    /// Of the edit's first values.
    pub initialisation: u64,
    /// Of the held-out split and the order of rows.
    pub order: u64,
    /// Of sampled answers and resampled intervals.
    pub sampling: u64,
}

/// One training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The edit.
    pub edit: EditKind,
    /// Peak learning rate of AdamW. For a steering vector it is relative to the residual stream: a rate of 0.01 moves a
    /// coordinate of the vector by up to 1 % of a typical coordinate of the stream (median norm / sqrt(hidden_size)) a
    /// step, so that one rate serves all models.
    pub learning_rate: f64,
    /// Decoupled weight decay: a step shortens the tensor by learning rate * weight decay of its own length. For a steering
    /// vector the rate is the relative one, and a share of a length is the same in every unit.
    pub weight_decay: f64,
    /// AdamW's beta 1 and beta 2.
    pub betas: (f64, f64),
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// The course of the learning rate.
    pub schedule: Schedule,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// Rows in a micro-batch.
    pub batch_size: usize,
    /// Micro-batches in an optimiser step.
    pub accumulation: usize,
    /// Largest norm of the gradient of all tensors together; a longer one is shortened to it. For a steering vector it is the
    /// gradient with respect to the vector in units of a typical coordinate of the stream: that with respect to the vector,
    /// times median norm / sqrt(hidden_size). The gradient norms of the metrics are in this unit, too.
    pub clip: Option<f64>,
    /// The length of the training.
    pub length: Length,
    /// A checkpoint is kept every so many steps.
    pub checkpoint_every: usize,
    /// Further steps after which one is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<usize>,
    /// The KL penalty, if any.
    pub kl: Option<Kl>,
    /// True if directions are projected out behind the edit, from the embeddings on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ablated: bool,
    /// What ends it early, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Seeds.
    pub seeds: Seeds,
}

impl Settings {
    /// Point up to which the edit, and what is projected out behind it, change nothing.
    pub fn first_changed_point(&self) -> usize {
        if self.ablated { 0 } else { self.edit.first_changed_point() }
    }

    /// The usual settings of an edit: one pass in batches of four, which small models on small machines bear.
    pub fn of(edit: EditKind) -> Self {
        Self {
            learning_rate: match edit {
                EditKind::Steering { .. } => 0.01,
                EditKind::Lora { .. } | EditKind::Full => 2e-5,
            },
            edit,
            weight_decay: 0.0,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            schedule: Schedule::Linear,
            warmup: 5,
            batch_size: 4,
            accumulation: 1,
            clip: None,
            length: Length::Epochs(1.0),
            checkpoint_every: 10,
            checkpoints: Vec::new(),
            kl: None,
            ablated: false,
            stop: None,
            seeds: Seeds::default(),
        }
    }

    /// Micro-batches of a run over so many rows.
    pub(crate) fn micro_batches(&self, rows: usize) -> usize {
        let an_epoch = rows.div_ceil(self.batch_size);
        match self.length {
            Length::Steps(steps) => steps.saturating_mul(self.accumulation),
            Length::Epochs(epochs) => ((epochs * an_epoch as f64).round() as usize).max(1),
        }
    }

    /// The number of rows that the batches take of so many training rows and KL rows, and of the training rows themselves: the
    /// size of a run's order of rows, as a float, which no product overflows.
    pub(crate) fn rows_taken(&self, train: f64, kl: f64) -> f64 {
        let batches = match self.length {
            Length::Steps(steps) => steps as f64 * self.accumulation as f64,
            Length::Epochs(epochs) => epochs * (train / self.batch_size as f64).ceil(),
        };
        let of_a_batch = |size: usize, rows: f64| (size as f64).min(rows).max(1.0);
        let kl = self.kl.map_or(0.0, |penalty| of_a_batch(penalty.batch_size, kl));
        train + batches * (of_a_batch(self.batch_size, train) + kl)
    }

    /// The settings of the optimiser.
    pub(crate) fn adamw(&self) -> AdamW {
        AdamW { betas: self.betas, epsilon: self.epsilon, weight_decay: self.weight_decay }
    }
}
