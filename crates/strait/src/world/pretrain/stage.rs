//! The two stages of a world's pre-training, as the loop takes them.

use serde::{Deserialize, Serialize};

use super::{
    super::{language::Language, problem::Problem},
    Recipe,
    learned::{Learned, learned},
    model::Model,
    text::{Batch, chats, documents},
};
use crate::{
    Result,
    train::{AdamW, Learner, Line, Parameter, SolutionFolder, StepSettings, Taken},
};

const RATE: f64 = 4e-3;
const WARM_UP: usize = 100;
/// Share of the steps, the last ones, in which the rate falls to [`RATE_LEFT`] of its peak.
const FALLING: f64 = 0.4;
const RATE_LEFT: f64 = 0.03;
const DECAY: f64 = 0.05;

const CHAT_STEPS: usize = 200;
const CHAT_RATE: f64 = 3e-4;
const CHAT_WARM_UP: usize = 10;
/// Largest norm of the gradient.
const CLIP: f64 = 1.0;

/// Steps of pre-training between two points of the learning curves.
const MEASURED_EVERY: usize = 100;

/// A stage of pre-training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// On documents by consistent speakers.
    #[serde(rename = "pre-training")]
    Documents,
    /// On chats that are answered truthfully where no speaker is named.
    #[serde(rename = "chat tuning")]
    Chats,
}

impl Stage {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Documents => "pre-training",
            Self::Chats => "chat tuning",
        }
    }
}

/// The record of one optimiser step: a line of `metrics.jsonl`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorldStep {
    /// The stage.
    pub stage: Stage,
    /// Steps of the stage done, this one included.
    pub step: usize,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// The loss before the step: in pre-training nats per token.
    pub loss: f64,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
    /// The knowledge of the speakers after the step, where that was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned: Vec<Learned>,
}

impl Line for WorldStep {
    fn step(&self) -> usize {
        self.step
    }

    /// The loss, and the speakers where they were read: the named ones, unless none is named.
    fn words(&self) -> String {
        let any = self.learned.iter().any(|learned| learned.named);
        let named = self.learned.iter().filter(|learned| learned.named == any);
        let speakers = named.map(|learned| format!(", {} {:.2}", learned.speaker, learned.probability.value));
        format!("loss {:.3}{}", self.loss, speakers.collect::<String>())
    }

    fn scalars(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![
            ("train/loss", Some(self.loss)),
            ("train/learning_rate", Some(self.learning_rate)),
            ("train/grad_norm", Some(self.gradient_norm)),
        ]
    }
}

/// A stage while it goes on.
pub struct Lessons<'a> {
    stage: Stage,
    model: &'a mut Model,
    language: &'a Language,
    recipe: &'a Recipe,
    batches: Box<dyn Iterator<Item = Batch> + 'a>,
}

impl<'a> Lessons<'a> {
    /// From the weights that the model has; nothing is known to the optimiser.
    pub fn new(stage: Stage, model: &'a mut Model, language: &'a Language, recipe: &'a Recipe) -> Self {
        model.forget_moments();
        let batches: Box<dyn Iterator<Item = Batch> + 'a> = match stage {
            Stage::Documents => Box::new(documents(recipe, language)),
            Stage::Chats => Box::new(chats(recipe, language)),
        };
        Self { stage, model, language, recipe, batches }
    }
}

impl Learner for Lessons<'_> {
    type Line = WorldStep;
    type Loss = f64;

    fn steps(&self) -> usize {
        match self.stage {
            Stage::Documents => self.recipe.steps,
            Stage::Chats => CHAT_STEPS.min(self.recipe.steps),
        }
    }

    fn parameters(&mut self) -> &mut [Parameter] {
        self.model.parameters()
    }

    fn step_settings(&self, step: usize) -> StepSettings {
        let total = self.steps();
        let (rate, weight_decay) = match self.stage {
            Stage::Documents => (pretraining_rate(step, total), DECAY),
            Stage::Chats => (chat_rate(step, total), 0.0),
        };
        StepSettings {
            adamw: AdamW { betas: (0.9, 0.98), epsilon: 1e-8, weight_decay },
            rate,
            clip: Some(CLIP),
        }
    }

    fn begin(&mut self, done: usize, _: Option<&WorldStep>) {
        // Batches are drawn one after the other: those of the steps that are done are drawn again.
        self.batches.by_ref().take(done).for_each(drop);
    }

    fn gradient(&mut self, _: usize) -> Result<f64> {
        let batch = self.batches.next().expect("batches have no end");
        self.model.gradient(&batch)
    }

    fn look(&mut self, taken: &Taken<f64>) -> Result<()> {
        let &Taken { step, loss, .. } = taken;
        if loss.is_finite() { Ok(()) } else { Err(Problem::Diverged { step, loss }.into()) }
    }

    fn line(&mut self, taken: Taken<f64>) -> Result<WorldStep> {
        let Taken { step, rate: learning_rate, loss, gradient_norm } = taken;
        let read = self.stage == Stage::Documents && (self.is_kept_after(step) || step == self.steps());
        let learned = match read {
            true => learned(self.model, self.language, self.recipe, step)?,
            false => Vec::new(),
        };
        Ok(WorldStep { stage: self.stage, step, learning_rate, loss, gradient_norm, learned })
    }

    fn is_kept_after(&self, done: usize) -> bool {
        done.is_multiple_of(MEASURED_EVERY)
    }

    fn save(&self, _: &SolutionFolder, _: usize) -> Result<()> {
        Ok(())
    }

    fn is_saved(&self, _: &SolutionFolder, _: usize) -> bool {
        true
    }
}

/// Learning rate of a step of pre-training, counted from 0.
fn pretraining_rate(step: usize, total: usize) -> f64 {
    let warm = ((step + 1) as f64 / WARM_UP as f64).min(1.0);
    let left = ((total - step) as f64 / (FALLING * total as f64)).min(1.0);
    RATE * warm * (RATE_LEFT + (1.0 - RATE_LEFT) * left)
}

/// Learning rate of a step of chat tuning, counted from 0.
fn chat_rate(step: usize, total: usize) -> f64 {
    let warm = ((step + 1) as f64 / CHAT_WARM_UP as f64).min(1.0);
    CHAT_RATE * warm * (1.0 - step as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_rise_stay_and_fall() {
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        near(pretraining_rate(0, 1000), RATE / 100.0);
        near(pretraining_rate(99, 1000), RATE);
        near(pretraining_rate(600, 1000), RATE);
        near(pretraining_rate(800, 1000), RATE * (RATE_LEFT + (1.0 - RATE_LEFT) / 2.0));
        near(chat_rate(9, 200), CHAT_RATE * (1.0 - 9.0 / 200.0));
    }
}
