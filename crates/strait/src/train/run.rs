//! The training of an edit on rows: response loss and KL penalty, checkpoints, and the edit at its end.

use strait_model::{Decoder, Edit, ops::Gradients, progress::Progress};

use super::{
    Order, Settings, SolutionFolder, Trainable,
    looped::{Keeping, Learner, Line, StepSettings, TRAINING, Taken, learn},
    optimiser::Parameter,
    record::StepRecord,
    schedule::learning_rate,
};
use crate::{Error, Result, objective::Kept};

impl Line for StepRecord {
    fn step(&self) -> usize {
        self.step
    }

    fn words(&self) -> String {
        match self.kl {
            Some(kl) => format!("loss {:.3}, KL {kl:.3}", self.response_loss),
            None => format!("loss {:.3}", self.response_loss),
        }
    }

    fn scalars(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![
            ("train/loss", Some(self.loss)),
            ("train/response_loss", Some(self.response_loss)),
            ("train/kl", self.kl),
            ("train/learning_rate", Some(self.learning_rate)),
            ("train/grad_norm", Some(self.gradient_norm)),
            ("train/norm", Some(self.norm)),
            ("eval/loss", self.heldout_loss),
        ]
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

/// One training run: model, rows, settings and order.
pub struct Run<'a> {
    /// The frozen model.
    pub decoder: &'a Decoder,
    /// Rows.
    pub data: TrainingData<'a>,
    /// Settings.
    pub settings: &'a Settings,
    /// The order of its rows.
    pub order: Order,
}

/// A trained edit and the record of its training.
pub struct Trained {
    /// The edit after the last step.
    pub edit: Edit,
    /// Every step.
    pub history: Vec<StepRecord>,
}

/// The loss of a step, in nats a token.
#[derive(Clone, Copy, Debug)]
pub struct Losses {
    /// Of response tokens.
    response: f64,
    /// KL on the KL set; 0 without a penalty.
    kl: f64,
}

impl<'a> Run<'a> {
    /// Trains from the last state that was kept to the end, or to the request to stop, and writes the edit with its provenance:
    /// the base model and the like.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a request to stop, with everything saved; [`Error::Diverged`] where the loss is not
    /// finite or explodes; or what the file system or a tensor operation says.
    pub fn train(
        &self,
        trainable: Trainable,
        keeping: Keeping<'_>,
        provenance: &serde_json::Value,
        progress: &dyn Progress,
    ) -> Result<Trained> {
        let mut learner = self.learner(trainable);
        let history = learn(&mut learner, Some(keeping), TRAINING, |_, _| Ok(()), progress)?;
        let edit = learner.trainable.frozen()?;
        edit.save_with(&keeping.folder.edit(), provenance)?;
        Ok(Trained { edit, history })
    }

    /// Trains to the end and keeps nothing on disk.
    ///
    /// # Errors
    /// As [`Run::train`]; what was done is lost.
    pub fn train_in_memory(&self, trainable: Trainable, progress: &dyn Progress) -> Result<Trained> {
        let mut learner = self.learner(trainable);
        let history = learn(&mut learner, None, TRAINING, |_, _| Ok(()), progress)?;
        Ok(Trained { edit: learner.trainable.frozen()?, history })
    }

    /// The run as the loop takes it, for those who watch it on the way.
    pub fn learner(&self, trainable: Trainable) -> EditLearner<'_, 'a> {
        EditLearner { run: self, trainable, start: None }
    }
}

/// An edit in the loop.
pub struct EditLearner<'r, 'a> {
    run: &'r Run<'a>,
    trainable: Trainable,
    /// Response loss before the first step.
    start: Option<f64>,
}

impl EditLearner<'_, '_> {
    /// The edit as it is now.
    pub fn trainable(&self) -> &Trainable {
        &self.trainable
    }

    fn heldout_loss(&self) -> Result<Option<f64>> {
        let Some(held_out) = self.run.data.held_out else { return Ok(None) };
        let (decoder, edit) = self.trainable.on(self.run.decoder);
        let (mut total, mut tokens) = (0.0, 0);
        for batch in held_out.batches_by_tokens() {
            let losses = held_out.response_losses(decoder, &batch, edit)?;
            total += sum(&losses);
            tokens += losses.len();
        }
        Ok(Some(total / tokens as f64))
    }
}

impl Learner for EditLearner<'_, '_> {
    type Line = StepRecord;
    type Loss = Losses;

    fn steps(&self) -> usize {
        self.run.order.steps()
    }

    fn parameters(&mut self) -> &mut [Parameter] {
        self.trainable.parameters()
    }

    fn step_settings(&self, step: usize) -> StepSettings {
        let settings = self.run.settings;
        let rate = learning_rate(settings, step, self.steps());
        StepSettings { adamw: settings.adamw(), rate, clip: settings.clip }
    }

    fn begin(&mut self, _: usize, first: Option<&StepRecord>) {
        self.start = first.map(|line| line.response_loss);
    }

    fn gradient(&mut self, step: usize) -> Result<Losses> {
        let Run { decoder, data, settings, order } = self.run;
        let weight = settings.kl.map_or(0.0, |kl| kl.weight);
        let (mut response_tokens, mut kl_tokens) = (0, 0);
        for (rows, kl_rows) in order.of_step(step) {
            response_tokens += rows.iter().map(|&r| data.train.rows()[r].response_tokens()).sum::<usize>();
            if let Some(kl) = data.kl {
                kl_tokens += kl_rows.iter().map(|&r| kl.rows()[r].ids.len()).sum::<usize>();
            }
        }
        let (response_tokens, kl_tokens) = (response_tokens as f64, kl_tokens as f64);
        let mut found = Losses { response: 0.0, kl: 0.0 };
        for (rows, kl_rows) in order.of_step(step) {
            let (edited, edit) = self.trainable.on(decoder);
            let (losses, gradients) =
                data.train.response_gradient(edited, rows, edit, 1.0 / response_tokens)?;
            found.response += sum(&losses) / response_tokens;
            accumulate(self.trainable.parameters(), gradients)?;
            if let Some(kl) = data.kl.filter(|_| !kl_rows.is_empty()) {
                let edited = self.trainable.on(decoder);
                let (losses, gradients) = kl.kl_gradient(decoder, kl_rows, edited, weight / kl_tokens)?;
                found.kl += sum(&losses) / kl_tokens;
                accumulate(self.trainable.parameters(), gradients)?;
            }
        }
        Ok(found)
    }

    /// Stops where the loss or its gradient is not finite, or the loss is far above both a blind guess and the start.
    fn look(&mut self, taken: &Taken<Losses>) -> Result<()> {
        let response = taken.loss.response;
        let blind = (self.run.decoder.config().vocab_size as f64).ln();
        let start = *self.start.get_or_insert(response);
        let loss = self.objective(taken.loss);
        let exploded = response > 2.0 * blind.max(start);
        if loss.is_finite() && taken.gradient_norm.is_finite() && !exploded {
            return Ok(());
        }
        let rows = self.run.order.of_step(taken.step - 1);
        Err(Error::Diverged {
            step: taken.step,
            rows: rows.flat_map(|(rows, _)| rows.to_vec()).collect(),
            loss,
            gradient_norm: taken.gradient_norm,
        })
    }

    fn line(&mut self, taken: Taken<Losses>) -> Result<StepRecord> {
        let done = taken.step;
        let checkpoint = done == self.steps() || self.is_kept_after(done);
        Ok(StepRecord {
            step: done,
            learning_rate: taken.rate,
            loss: self.objective(taken.loss),
            response_loss: taken.loss.response,
            kl: self.run.settings.kl.is_some().then_some(taken.loss.kl),
            gradient_norm: taken.gradient_norm,
            norm: self.trainable.norm()?,
            heldout_loss: if checkpoint { self.heldout_loss()? } else { None },
        })
    }

    fn is_kept_after(&self, done: usize) -> bool {
        let Settings { checkpoint_every, checkpoints, .. } = self.run.settings;
        done.is_multiple_of(*checkpoint_every) || checkpoints.contains(&done)
    }

    fn save(&self, folder: &SolutionFolder, done: usize) -> Result<()> {
        Ok(self.trainable.frozen()?.save(&folder.checkpoint(done))?)
    }

    fn is_saved(&self, folder: &SolutionFolder, done: usize) -> bool {
        folder.checkpoint(done).is_file()
    }
}

impl EditLearner<'_, '_> {
    /// The objective: response loss + weight * KL.
    fn objective(&self, losses: Losses) -> f64 {
        losses.response + self.run.settings.kl.map_or(0.0, |kl| kl.weight) * losses.kl
    }
}

fn sum(losses: &[f32]) -> f64 {
    losses.iter().map(|&l| l as f64).sum()
}

/// Adds gradients to those of the parameters.
pub(crate) fn accumulate(parameters: &mut [Parameter], mut gradients: Gradients) -> Result<()> {
    for p in parameters {
        if let Some(gradient) = gradients.take(&p.var)? {
            p.accumulate(gradient)?;
        }
    }
    Ok(())
}
