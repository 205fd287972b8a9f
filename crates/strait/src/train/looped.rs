//! The training loop: optimiser steps from the last state that was kept to the end, whatever the parameters are.

use std::io::Write;

use serde::{Serialize, de::DeserializeOwned};
use strait_model::{
    ops::KeptGradients,
    progress::{Progress, Unit},
};

use super::{
    SolutionFolder,
    checkpoint::json_line,
    optimiser::{self, AdamW, Parameter},
};
use crate::{Error, Result, tensorboard::EventWriter};

/// A thing to train: its parameters, the loss of every step, and the line of metrics that a step leaves.
pub trait Learner {
    /// The line of `metrics.jsonl` that a step leaves.
    type Line: Line;
    /// The loss of a step.
    type Loss;

    /// Optimiser steps in all.
    fn steps(&self) -> usize;

    /// The parameters, always in the same order.
    fn parameters(&mut self) -> &mut [Parameter];

    /// The optimiser's settings for a step, counted from 0.
    fn step_settings(&self, step: usize) -> StepSettings;

    /// Goes on after so many steps, of which the first left that line.
    fn begin(&mut self, done: usize, first: Option<&Self::Line>);

    /// Adds the gradient of a step's loss to that of the parameters. Steps come in order.
    ///
    /// # Errors
    /// If a tensor operation fails.
    fn gradient(&mut self, step: usize) -> Result<Self::Loss>;

    /// Looks at a step before the parameters move.
    ///
    /// # Errors
    /// If the training diverges.
    fn look(&mut self, taken: &Taken<Self::Loss>) -> Result<()>;

    /// The line of a step that was taken.
    ///
    /// # Errors
    /// If a tensor operation fails.
    fn line(&mut self, taken: Taken<Self::Loss>) -> Result<Self::Line>;

    /// True if the training is kept on disk after so many steps. After the last it always is.
    fn is_kept_after(&self, done: usize) -> bool;

    /// Keeps the parameters as a file of its own, where such files make the trajectory.
    ///
    /// # Errors
    /// If the file system refuses.
    fn save(&self, folder: &SolutionFolder, done: usize) -> Result<()>;

    /// True if the file of so many steps is there, or none is needed.
    fn is_saved(&self, folder: &SolutionFolder, done: usize) -> bool;

    /// True if training ends after the step of that line, which is one that is kept on disk, before all steps are taken.
    fn ends_after(&self, _: &Self::Line) -> bool {
        false
    }
}

/// The optimiser's settings for one step.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// The settings that are the same for all steps.
    pub adamw: AdamW,
    /// Learning rate.
    pub rate: f64,
    /// Largest norm of the gradient of all parameters together.
    pub clip: Option<f64>,
}

/// A step: its loss before it, its gradient and its rate.
#[derive(Clone, Copy, Debug)]
pub struct Taken<L> {
    /// Steps done, this one included.
    pub step: usize,
    /// Learning rate.
    pub rate: f64,
    /// The loss before the step.
    pub loss: L,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
}

/// A line of `metrics.jsonl`.
pub trait Line: Serialize + DeserializeOwned {
    /// Steps done, this one included.
    fn step(&self) -> usize;

    /// The state of the training, in a few words.
    fn words(&self) -> String;

    /// Its numbers under TensorBoard's names.
    fn scalars(&self) -> Vec<(&'static str, Option<f64>)>;
}

/// The folder in which a training is kept while it goes on.
#[derive(Clone, Copy)]
pub struct Keeping<'a> {
    /// The folder.
    pub folder: &'a SolutionFolder,
    /// A value that changes with everything that the result depends on; a state with another one is not continued.
    pub fingerprint: &'a str,
}

/// Takes one step, counted from 0.
///
/// # Errors
/// Any error of the learner, or if a tensor operation fails.
pub fn step<L: Learner>(learner: &mut L, step: usize) -> Result<L::Line> {
    let loss = learner.gradient(step)?;
    let StepSettings { adamw, rate, clip } = learner.step_settings(step);
    let gradient_norm = optimiser::gradient_norm(learner.parameters())?;
    let taken = Taken { step: step + 1, rate, loss, gradient_norm };
    learner.look(&taken)?;
    let shortened = clip.map_or(1.0, |largest| optimiser::clipped(gradient_norm, largest));
    optimiser::adamw(learner.parameters(), adamw, rate, step, shortened)?;
    learner.line(taken)
}

/// The title under which a solution's training tells its progress.
pub(crate) const TRAINING: &str = "training";

/// Takes all steps that are left, or those up to where the learner ends. `watch` sees the learner before the first of them and after each, with the number of steps
/// that are done, and may end the training by an error. Returns what every step left, those of earlier sessions included.
///
/// # Errors
/// [`Error::Interrupted`] after a request to stop, with everything kept; what the learner or `watch` returns; or what the file
/// system or a tensor operation says.
pub fn learn<L: Learner>(
    learner: &mut L,
    keeping: Option<Keeping<'_>>,
    title: &str,
    mut watch: impl FnMut(usize, &L) -> Result<()>,
    progress: &dyn Progress,
) -> Result<Vec<L::Line>> {
    let _gradients = KeptGradients::new();
    let total = learner.steps();
    let mut lines = match keeping {
        Some(keeping) => keeping.resume(learner)?,
        None => Vec::new(),
    };
    let done = lines.len();
    let mut kept = keeping.map(|keeping| Kept::open(keeping, done)).transpose()?;
    learner.begin(done, lines.first());
    watch(done, learner)?;
    let task = progress.begin(title, Some(total as u64), Unit::Count);
    task.advance(done as u64);
    let ended = lines.last().is_some_and(|line| learner.ends_after(line));
    for done in done + 1..=if ended { done } else { total } {
        let line = step(learner, done - 1)?;
        task.advance(1);
        task.say(&line.words());
        let stopped = progress.stopped() && done < total;
        if let Some(kept) = &mut kept {
            kept.line(&line)?;
            kept.state(learner, done, stopped)?;
        }
        let ended = learner.ends_after(&line);
        lines.push(line);
        watch(done, learner)?;
        if ended {
            break;
        }
        if stopped {
            return Err(Error::Interrupted);
        }
    }
    Ok(lines)
}

/// True if the trajectory has a file of so many steps.
fn is_checkpoint(learner: &impl Learner, done: usize) -> bool {
    done == learner.steps() || learner.is_kept_after(done)
}

impl Keeping<'_> {
    /// Puts everything back as it was kept last. Returns the lines of the steps that are done.
    fn resume<L: Learner>(&self, learner: &mut L) -> Result<Vec<L::Line>> {
        let Self { folder, fingerprint } = self;
        let lines = folder.lines::<L::Line>()?;
        let numbers: Vec<usize> = lines.iter().map(Line::step).collect();
        let is_whole = |done: usize| {
            let mut checkpoints = (1..=done).filter(|&done| is_checkpoint(learner, done));
            numbers.iter().take(done).copied().eq(1..=done)
                && checkpoints.all(|done| learner.is_saved(folder, done))
        };
        let there = folder.state_step(fingerprint).filter(|&done| is_whole(done));
        let restored = match there {
            Some(_) => folder.restore(learner.parameters(), fingerprint)?,
            None => None,
        };
        match restored {
            Some(done) => {
                let done_lines: Vec<L::Line> = lines.into_iter().take(done).collect();
                folder.cut(done, &done_lines)?;
                Ok(done_lines)
            }
            None => {
                folder.clear()?;
                Ok(Vec::new())
            }
        }
    }
}

/// The files of a training that goes on.
struct Kept<'a> {
    keeping: Keeping<'a>,
    metrics: std::fs::File,
    events: EventWriter,
}

impl<'a> Kept<'a> {
    fn open(keeping: Keeping<'a>, done: usize) -> Result<Self> {
        let metrics = keeping.folder.append_metrics()?;
        let events = EventWriter::create(&keeping.folder.tensorboard(), done as u64)?;
        Ok(Self { keeping, metrics, events })
    }

    fn line(&mut self, line: &impl Line) -> Result<()> {
        let path = self.keeping.folder.metrics();
        let written = self.metrics.write_all(json_line(line).as_bytes());
        written.map_err(strait_model::Error::io(path, "write the file"))?;
        for (tag, value) in line.scalars() {
            if let Some(value) = value {
                self.events.scalar(tag, line.step() as u64, value as f32)?;
            }
        }
        Ok(())
    }

    /// Keeps the state, where it is time or the user asked for a stop.
    fn state(&mut self, learner: &mut impl Learner, done: usize, stopped: bool) -> Result<()> {
        let Keeping { folder, fingerprint } = self.keeping;
        let checkpoint = is_checkpoint(learner, done);
        if checkpoint {
            learner.save(folder, done)?;
        }
        if checkpoint || stopped {
            // The lines of the steps that a state stands for must outlive a power cut as the state does.
            let path = folder.metrics();
            self.metrics.sync_all().map_err(strait_model::Error::io(path, "write the file"))?;
            self.events.flush()?;
            folder.save_state(learner.parameters(), done, fingerprint)?;
        }
        Ok(())
    }
}
