//! The training of an edit on rows: response loss and KL penalty, checkpoints, and the edit at its end.

use serde_json::json;
use strait_model::{Decoder, Edit, edit, ops::Gradients, progress::Progress};

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
            ("eval/outside_shift", self.outside_shift),
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
    /// Reads the preference shift outside the domain, in nats a token, where that may end the training.
    pub outside: Option<&'a Shift<'a>>,
}

/// Reads how far a model under an edit, or another decoder, has shifted from the base model.
pub type Shift<'a> = dyn Fn(&Decoder, Option<&Edit>) -> Result<f64> + 'a;

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
    /// The edit after the last step, or where that shifted too much outside the domain that of the checkpoint before.
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
        learner.keep_start()?;
        let history = learn(&mut learner, Some(keeping), TRAINING, |_, _| Ok(()), progress)?;
        let mut provenance = provenance.clone();
        let edit = match self.ended_early(&history) {
            None => learner.trainable.frozen()?,
            Some(last) => {
                let before = keeping.folder.trajectory()?.into_iter().rfind(|(step, _)| *step < last.step);
                let kept = before.as_ref().map_or(0, |(step, _)| *step);
                provenance["stopped"] =
                    json!({ "step": last.step, "outside_shift": last.outside_shift, "edit_of_step": kept });
                progress.note(&format!(
                    "training ends after step {}: outside the domain preference has shifted by {:.3} nats; the edit is that of \
                     step {kept}",
                    last.step,
                    last.outside_shift.unwrap_or(f64::NAN)
                ));
                match before {
                    Some((_, path)) => {
                        edit::open(&path.to_string_lossy())?.to_device(self.decoder.device())?
                    }
                    None => learner.within_bound()?,
                }
            }
        };
        edit.save_with(&keeping.folder.edit(), &provenance)?;
        Ok(Trained { edit, history })
    }

    /// Trains to the end and keeps nothing on disk.
    ///
    /// # Errors
    /// As [`Run::train`]; what was done is lost.
    pub fn train_in_memory(&self, trainable: Trainable, progress: &dyn Progress) -> Result<Trained> {
        let mut learner = self.learner(trainable);
        learner.keep_start()?;
        let history = learn(&mut learner, None, TRAINING, |_, _| Ok(()), progress)?;
        let edit = match self.ended_early(&history) {
            None => learner.trainable.frozen()?,
            Some(_) => learner.within_bound()?,
        };
        Ok(Trained { edit, history })
    }

    /// The last step, where training ended after it for what it did outside the domain.
    fn ended_early<'h>(&self, history: &'h [StepRecord]) -> Option<&'h StepRecord> {
        history.last().filter(|line| self.is_beyond(line))
    }

    /// True if the shift outside the domain after a step is more than training may make.
    fn is_beyond(&self, line: &StepRecord) -> bool {
        let bound = self.settings.stop.map(|stop| stop.outside);
        line.outside_shift.zip(bound).is_some_and(|(shift, bound)| shift > bound)
    }

    /// The run as the loop takes it, for those who watch it on the way.
    pub fn learner(&self, trainable: Trainable) -> EditLearner<'_, 'a> {
        EditLearner { run: self, trainable, start: None, kept: None }
    }
}

/// An edit in the loop.
pub struct EditLearner<'r, 'a> {
    run: &'r Run<'a>,
    trainable: Trainable,
    /// Response loss before the first step.
    start: Option<f64>,
    /// The edit at the last checkpoint that was within the bound of training, or at its start; none where there is no bound.
    kept: Option<Edit>,
}

impl EditLearner<'_, '_> {
    /// The edit as it is now.
    pub fn trainable(&self) -> &Trainable {
        &self.trainable
    }

    /// Keeps the edit as it is before the first step, where training may end early.
    fn keep_start(&mut self) -> Result<()> {
        if self.run.settings.stop.is_some() {
            self.kept = Some(self.trainable.frozen()?);
        }
        Ok(())
    }

    /// The edit at the last checkpoint that was within the bound.
    fn within_bound(self) -> Result<Edit> {
        match self.kept {
            Some(edit) => Ok(edit),
            None => self.trainable.frozen(),
        }
    }

    fn outside_shift(&self) -> Result<Option<f64>> {
        let Some(shift) = self.run.data.outside else { return Ok(None) };
        let (decoder, edit) = self.trainable.on(self.run.decoder);
        shift(decoder, edit).map(Some)
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
        let line = StepRecord {
            step: done,
            learning_rate: taken.rate,
            loss: self.objective(taken.loss),
            response_loss: taken.loss.response,
            kl: self.run.settings.kl.is_some().then_some(taken.loss.kl),
            gradient_norm: taken.gradient_norm,
            norm: self.trainable.norm()?,
            heldout_loss: if checkpoint { self.heldout_loss()? } else { None },
            outside_shift: if checkpoint { self.outside_shift()? } else { None },
        };
        if line.outside_shift.is_some() && !self.run.is_beyond(&line) {
            self.kept = Some(self.trainable.frozen()?);
        }
        Ok(line)
    }

    fn ends_after(&self, line: &StepRecord) -> bool {
        self.run.is_beyond(line)
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
