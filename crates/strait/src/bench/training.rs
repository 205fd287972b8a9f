//! Steps of training.

use strait_model::{Config, Model, edit::Projection, ops::KeptGradients, progress::Silent};

use super::{Batch, Done, Pass, Step, Stopwatch, Trained};
use crate::{
    Result,
    objective::{Kept, packed},
    train::{self, EditKind, Kl, Length, Order, Run, Schedule, Settings, Trainable, TrainingData},
};

/// Optimiser steps, each on all rows.
pub struct Training {
    name: &'static str,
    about: &'static str,
    trained: Trained,
    /// True if the model is held to the base by a KL penalty on the KL rows.
    kl: bool,
}

impl Training {
    pub const STEERING: Self = Self {
        name: "steering",
        about: "training step of a vector after the middle block, 4 rows",
        trained: Trained::Vector,
        kl: false,
    };
    pub const STEERING_KL: Self = Self {
        name: "steering-kl",
        about: "the same with a KL penalty on 2 rows more",
        trained: Trained::Vector,
        kl: true,
    };
    pub const LORA: Self = Self {
        name: "lora",
        about: "training step of LoRA of rank 32 on all projections of all blocks, 4 rows",
        trained: Trained::Adapters { rank: 32 },
        kl: false,
    };
    pub const FULL: Self = Self {
        name: "full",
        about: "training step of a full fine-tune, 4 rows",
        trained: Trained::Weights,
        kl: false,
    };

    fn edit(&self, config: &Config) -> EditKind {
        match self.trained {
            Trained::Vector => EditKind::Steering { layer: config.layers as i32 / 2 },
            Trained::Adapters { rank } => EditKind::Lora {
                layers: (0..config.layers as i32).collect(),
                projections: Projection::ALL.to_vec(),
                rank,
                alpha: 2.0 * rank as f64,
                rslora: false,
            },
            Trained::Weights => EditKind::Full,
        }
    }

    fn settings(&self, batch: &Batch, config: &Config) -> Settings {
        Settings {
            schedule: Schedule::Constant,
            warmup: 0,
            batch_size: batch.rows.len(),
            length: Length::Steps(Stopwatch::MOST),
            checkpoint_every: usize::MAX,
            kl: self.kl.then_some(Kl { weight: 1.0, batch_size: batch.kl_rows.len() }),
            ..Settings::of(self.edit(config))
        }
    }
}

impl Step for Training {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn run(&self, model: &Model, batch: &Batch, watch: &mut Stopwatch<'_>) -> Result<Done> {
        let (decoder, config) = (&model.decoder, model.config());
        let settings = self.settings(batch, config);
        let point = settings.edit.first_changed_point();
        let rows = |texts: &[super::Text]| texts.iter().map(|text| text.row()).collect::<Vec<_>>();
        let (kept, kl, scale) = watch.once(|| {
            let keep = |rows, hidden| Kept::all(decoder, rows, point, hidden, "reading rows", &Silent);
            let kept = keep(rows(&batch.rows), false)?;
            let kl = self.kl.then(|| keep(rows(&batch.kl_rows), true)).transpose()?;
            let norm = kept.median_norm(decoder, &kept.every_row())?;
            Ok((kept, kl, norm / (config.hidden_size as f64).sqrt()))
        })?;
        let kl_rows = kl.as_ref().map_or(&[][..], Kept::rows);
        let order = Order::new(&settings, kept.rows(), kl_rows);
        let data = TrainingData { train: &kept, held_out: None, kl: kl.as_ref(), outside: None };
        let run = Run { decoder, data, settings: &settings, order };
        let mut learner = run.learner(Trainable::new(&settings, decoder, scale)?);
        let _gradients = KeptGradients::new();
        watch.repeat(|step| train::step(&mut learner, step).map(drop))?;

        let pass = |kept: &Kept, predicting: usize, beside_base: bool| {
            let tokens = packed(kept.rows(), &kept.every_row()).tokens();
            let predicting = predicting.min(tokens);
            Pass { from: point, tokens, predicting, beside_base, trained: Some(self.trained), times: 1 }
        };
        let responses = kept.rows().iter().map(|row| row.response_tokens()).sum();
        let held = kl.as_ref().map(|kl| pass(kl, usize::MAX, true));
        Ok(Done { passes: [pass(&kept, responses, false)].into_iter().chain(held).collect(), drawn: None })
    }
}
