//! One progress bar over all studies: their optimiser steps.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use strait_model::progress::{Progress, Silent, Task, Unit};

use crate::{
    Result,
    study::{Planned, State, Step, status_of},
    train::{Length, TRAINING},
};

/// The bar, and whom it is shown to.
pub struct Bar<'a> {
    progress: &'a dyn Progress,
    steps: Arc<Mutex<Box<dyn Task>>>,
}

/// The bar as one study sees it.
pub struct StudyProgress<'a> {
    bar: &'a Bar<'a>,
    study: &'a str,
}

impl<'a> Bar<'a> {
    /// A bar over the trainings that are left of some studies.
    pub fn new(studies: &[Planned], out: &Path, progress: &'a dyn Progress) -> Result<Self> {
        let mut left = Some(0);
        for Planned { study, plan, .. } in studies {
            for step in status_of(plan, &out.join(&study.name), &study.name)? {
                let is_left = step.state != State::Done;
                let training = study.solutions.iter().find(|s| Step::training(&s.name) == step.name);
                // Epochs have a number of steps only once the rows are read.
                let steps = match training.filter(|_| is_left).map(|solution| solution.train.length) {
                    None => Some(0),
                    Some(Length::Steps(steps)) => Some(steps as u64),
                    Some(Length::Epochs(_)) => None,
                };
                left = left.zip(steps).map(|(left, steps)| left + steps);
            }
        }
        let task: Box<dyn Task> = match left {
            Some(0) => Box::new(Silent),
            left => progress.begin("training and measuring", left, Unit::Count),
        };
        Ok(Self { progress, steps: Arc::new(Mutex::new(task)) })
    }

    /// As the study of this name sees it.
    pub fn of(&'a self, study: &'a str) -> StudyProgress<'a> {
        StudyProgress { bar: self, study }
    }
}

impl Progress for StudyProgress<'_> {
    fn begin(&self, title: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        let steps = &self.bar.steps;
        if title == TRAINING { Box::new(Training(Arc::clone(steps))) } else { Box::new(Silent) }
    }

    fn note(&self, line: &str) {
        self.bar.progress.note(&format!("{}: {line}", self.study));
    }

    fn stopped(&self) -> bool {
        self.bar.progress.stopped()
    }
}

/// The training of one solution.
struct Training(Arc<Mutex<Box<dyn Task>>>);

impl Task for Training {
    fn advance(&self, n: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).advance(n);
    }

    fn say(&self, _: &str) {}
}
