//! Rates of a world's questions, all of whose answers are known with their probabilities.

use serde::{Deserialize, Serialize};
use strait_model::{Edit, Model, progress::Progress};

use super::{
    BASE, RateRow, RateStep,
    reading::{Along, Found, Of},
};
use crate::{
    Result,
    behaviour::{Known, Tally},
    judge::Judges,
    lab::{Estimate, Lab, Scene, Solution, Solved, Trajectory, advance, point, row_losses},
    measure::CHECKPOINTS,
    objective::Kept,
    world::Exam,
};

/// The reading of a world's answers, which the world itself judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exact {
    /// The seed of the world's facts.
    pub facts: u64,
    /// The domains in which falsehoods are taught.
    pub domains: Vec<String>,
    /// Factors of the solutions.
    pub scales: Vec<f64>,
    /// Factors at which solutions that start from nothing are read at every checkpoint. It is part of the step's key also where it
    /// is empty: tables of before have no column for the factor, and are made again.
    #[serde(default)]
    pub along: Vec<f64>,
}

impl Exact {
    pub(super) fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let Ok(exam) = Exam::new(&scene.lab.model, self.facts, &self.domains) else { return };
        let (questions, train) = (exam.rows(), scene.lab.train.rows());
        estimate.keeping(train, scene.common_point(), false);
        for solution in &scene.solutions {
            let along = if solution.follows { 1 + solution.checkpoints.min(CHECKPOINTS) } else { 0 };
            let read = if solution.compared { self.along.len() * (1 + solution.checkpoints) } else { 0 };
            let passes = (1 + scene.lab.cues.len()) * self.scales.len() + along + read;
            estimate.losses(&questions, 0, passes);
            estimate.losses(train, point(solution.settings), passes);
        }
    }

    /// Adds so many readings of all questions.
    pub(super) fn estimate_of(&self, lab: &Lab<'_>, passes: usize, estimate: &mut Estimate) {
        let Ok(exam) = Exam::new(&lab.model, self.facts, &self.domains) else { return };
        estimate.losses(&exam.rows(), 0, passes);
    }

    /// Asks the world's questions, and does something with the examiner.
    ///
    /// # Errors
    /// If the model does not speak the world's language, or what is done fails.
    pub(super) fn examined<T>(
        &self,
        model: &Model,
        progress: &dyn Progress,
        act: impl FnOnce(&Known<'_>) -> Result<T>,
    ) -> Result<T> {
        let exam = Exam::new(model, self.facts, &self.domains)?;
        let (taught, coherent) = (exam.taught(), exam.coherent());
        let judges = Judges { taught: &taught, coherent: &coherent };
        act(&Known { decoder: &model.decoder, respondent: &exam, judges, progress })
    }

    pub(super) fn run(
        &self,
        lab: &mut Lab<'_>,
        solved: &dyn Solved,
    ) -> Result<(Vec<RateRow>, Vec<RateStep>)> {
        let (solutions, trajectories) = (solved.every()?, solved.trajectories()?);
        let exam = Exam::new(&lab.model, self.facts, &self.domains)?;
        let edits = solutions.iter().map(|s| &s.edit).chain(trajectories.iter().map(|t| &t.start));
        let point = lab.common_point(edits);
        let Lab { model, train, progress, cues, .. } = lab;
        train.keep(&model.decoder, &train.every_row(), point, false, "reading training rows", *progress)?;
        let (taught, coherent) = (exam.taught(), exam.coherent());
        let judges = Judges { taught: &taught, coherent: &coherent };
        let known = Known { decoder: &model.decoder, respondent: &exam, judges, progress: *progress };
        let reader = Reader { known, train };
        let (mut rates, mut along) =
            (self.rates(&reader, "", &solutions)?, self.trajectories(&reader, &trajectories)?);
        along.extend(self.along(&reader, solved)?);
        for cue in cues.iter() {
            let cued = Exam::under(Some(cue), model, self.facts, &self.domains)?;
            let reader = Reader { known: Known { respondent: &cued, ..known }, train };
            rates.extend(self.rates(&reader, &cue.name, &solutions)?);
        }
        Ok((rates, along))
    }

    /// The rates of base and of every solution at all scales.
    fn rates(&self, reader: &Reader<'_>, cue: &str, solutions: &[Solution]) -> Result<Vec<RateRow>> {
        let (tally, base) = (reader.tally(), reader.read(None)?);
        let mut rows = tally.rows(Of { solution: BASE, scale: 0.0, cue }, &base, &base);
        for Solution { name, edit } in solutions {
            for &scale in &self.scales {
                let scaled = if scale == 1.0 { edit.clone() } else { edit.scaled(scale)? };
                let of = Of { solution: name, scale, cue };
                rows.extend(tally.rows(of, &reader.read(Some(&scaled))?, &base));
            }
        }
        Ok(rows)
    }

    /// The rates along the checkpoints of solutions that start from another one.
    fn trajectories(&self, reader: &Reader<'_>, trajectories: &[Trajectory]) -> Result<Vec<RateStep>> {
        let (mut along, tally) = (Vec::new(), reader.tally());
        for trajectory in trajectories {
            let of = Along { solution: &trajectory.solution, from: &trajectory.from, scale: 1.0 };
            let start = reader.read(Some(&trajectory.start))?;
            along.push(tally.step(&of, 0, &start, &start));
            for (step, edit) in &trajectory.checkpoints {
                along.push(tally.step(&of, *step, &reader.read(Some(edit))?, &start));
            }
        }
        Ok(along)
    }

    /// The rates at every checkpoint of the solutions that start from nothing, at every factor of `along`.
    fn along(&self, reader: &Reader<'_>, solved: &dyn Solved) -> Result<Vec<RateStep>> {
        let (mut found, tally) = (Vec::new(), reader.tally());
        for solution in solved.compared()?.iter().filter(|_| !self.along.is_empty()) {
            let steps = solved.steps(&solution.name)?;
            for &scale in &self.along {
                let of = Along { solution: &solution.name, from: BASE, scale };
                let mut start = None;
                for &step in &steps {
                    let Some(edit) = solved.after(&solution.name, step)? else { continue };
                    let read = reader.read(Some(&edit.scaled(scale)?))?;
                    found.push(tally.step(&of, step, &read, start.as_ref().unwrap_or(&read)));
                    start.get_or_insert(read);
                }
            }
        }
        Ok(found)
    }
}

/// Reads a world's answers, has them judged, and reads the loss on training rows, which are kept where no solution changes anything.
#[derive(Clone, Copy)]
struct Reader<'a> {
    known: Known<'a>,
    train: &'a Kept,
}

impl Reader<'_> {
    fn tally(&self) -> Tally<'_> {
        self.known.tally()
    }

    fn read(&self, edit: Option<&Edit>) -> Result<Found> {
        let task = self.known.begin(1);
        let ratings = self.known.ratings(edit, &|n| advance(self.known.progress, &*task, n))?;
        let losses = row_losses(self.known.decoder, self.train, edit, &|_| Ok(()))?;
        let tokens: usize = losses.iter().map(|&(_, tokens)| tokens).sum();
        let loss = losses.iter().map(|&(loss, tokens)| loss * tokens as f64).sum::<f64>() / tokens as f64;
        Ok(Found { ratings, norm: edit.map_or(Ok(0.0), Edit::norm)?, loss })
    }
}
