//! The steps that train, alone or from another solution, and the measure that follows training on its way.

use std::path::Path;

use serde_json::json;
use strait_model::Edit;

use super::{
    Problem, Rows, Search, Solution, Step, Tried,
    results::{save, solution_folder},
    run::{Lab, MEDIAN_NORM},
    search::frontier,
    sweep::meant,
    values::shown,
};
use crate::{
    Error, Result, Table,
    measure::{self, DriftRows, Trajectory},
    objective::{Kept, Row},
    train::{Keeping, Kl, Length, Order, Run, Settings, SolutionFolder, Trainable, TrainingData, pick},
};

/// The training rows with rows of other domains behind them.
pub(super) struct Mixture {
    /// Where the others come from.
    pub files: Vec<Rows>,
    /// All of them.
    pub kept: Kept,
}

/// Steps of which an estimate looks at every row: more would tell it nothing new.
const OUTLINED: usize = 1000;

/// The most rows that the batches of a study take, each counted as often as it is taken.
const MOST_ROWS: f64 = 2e7;

/// The most checkpoints of a drift that are read, besides its start.
pub(super) const CHECKPOINTS: usize = 6;

impl Lab<'_> {
    pub(super) fn train(&mut self, solution: &Solution, step: &Step, folder: &Path) -> Result<()> {
        let start = match &solution.from {
            Some(start) => Some(self.open(&solution_folder(folder, start).edit())?),
            None => None,
        };
        let into = solution_folder(folder, &solution.name);
        match &solution.search {
            Some(search) => self.search(solution, search, start.as_ref(), step, folder),
            None => self.train_into(&into, solution, &solution.train, start.as_ref(), &step.key),
        }
    }

    /// The rows of each micro-batch of a solution.
    pub(super) fn order(&self, solution: &Solution, settings: &Settings) -> Order {
        Order::over(&self.picked(solution), settings, self.rows_of(solution), self.kl.rows())
    }

    /// The rows of a pass.
    fn picked(&self, solution: &Solution) -> Vec<usize> {
        let own = self.train.rows().len();
        let ratio = solution.mix.as_ref().map_or(0.0, |mix| mix.ratio);
        let others = self.rows_of(solution).len() - own;
        pick(own, solution.rows, others, ratio, solution.train.seeds.order)
    }

    /// Optimiser steps of a solution's training.
    pub(super) fn steps(&self, solution: &Solution) -> usize {
        solution.train.micro_batches(self.picked(solution).len()).div_ceil(solution.train.accumulation)
    }

    /// The order of a solution's rows, of a long training its beginning, and how often that goes into the whole.
    pub(super) fn outline(&self, solution: &Solution) -> (Order, f64) {
        let steps = self.steps(solution);
        if steps <= OUTLINED {
            return (self.order(solution, &solution.train), 1.0);
        }
        let settings = Settings { length: Length::Steps(OUTLINED), ..solution.train.clone() };
        (self.order(solution, &settings), steps as f64 / OUTLINED as f64)
    }

    /// Refuses trainings that no machine would finish, before their orders of rows are written down.
    ///
    /// # Errors
    /// If the batches of all of them take more than [`MOST_ROWS`] rows.
    pub(super) fn refuse_endless_training(&self) -> Result<()> {
        let mut taken = 0.0;
        for solution in &self.planned.study.solutions {
            let own = self.train.rows().len();
            let ratio = solution.mix.as_ref().map_or(0.0, |mix| mix.ratio);
            let picked = solution.rows.map_or(own, |few| few.min(own)) as f64 * (1.0 + ratio);
            let trainings = solution.search.as_ref().map_or(1, |search| search.tries + 1);
            taken += trainings as f64 * solution.train.rows_taken(picked, self.kl.rows().len() as f64);
            if taken > MOST_ROWS {
                let solution = solution.name.clone();
                let problem = Problem::LongTraining { solution, rows: taken, most: MOST_ROWS };
                return Err(problem.at(self.planned.study.file.path(), None));
            }
        }
        Ok(())
    }

    /// The rows that a solution trains on: the training rows, and behind them those that it mixes in.
    pub(super) fn rows_of(&self, solution: &Solution) -> &[Row] {
        self.mixture(solution).map_or(self.train.rows(), |i| self.mixtures[i].kept.rows())
    }

    fn mixture(&self, solution: &Solution) -> Option<usize> {
        let mix = solution.mix.as_ref()?;
        self.mixtures.iter().position(|mixture| mixture.files == mix.rows)
    }

    /// Trains from `start`, or from nothing, unless the run of that fingerprint has ended already.
    fn train_into(
        &mut self,
        into: &SolutionFolder,
        solution: &Solution,
        settings: &Settings,
        start: Option<&Edit>,
        fingerprint: &str,
    ) -> Result<()> {
        let point = settings.edit.first_changed_point();
        let order = self.order(solution, settings);
        self.say_rows(solution, &order);
        let mixture = self.mixture(solution);
        let Self { planned, progress, model, train, mixtures, held_out, kl, pairs, measured, .. } = self;
        measured.forget();
        let (decoder, progress) = (&model.decoder, *progress);
        pairs.iter_mut().for_each(|pairs| pairs.kept.forget());
        for (i, other) in mixtures.iter_mut().enumerate() {
            if Some(i) != mixture {
                other.kept.forget();
            }
        }
        let train = match mixture {
            Some(i) => {
                train.forget();
                &mut mixtures[i].kept
            }
            None => train,
        };
        let train_rows = order.train_rows();
        train.keep(decoder, &train_rows, point, false, "reading training rows", progress)?;
        let held_out_rows = held_out.every_row();
        held_out.keep(decoder, &held_out_rows, point, false, "reading held-out rows", progress)?;
        kl.keep(decoder, &order.kl_rows(), point, true, "reading KL rows", progress)?;
        let median_norm = train.median_norm(decoder, &train_rows)?;
        let scale = median_norm / (model.config().hidden_size as f64).sqrt();
        let data = TrainingData {
            train,
            held_out: (!held_out_rows.is_empty()).then_some(&*held_out),
            kl: settings.kl.map(|_| &*kl),
        };
        let mut provenance = json!({
            "base_model": model.provenance.hub,
            "study": planned.study.name,
            "solution": solution.name,
            (MEDIAN_NORM): median_norm,
        });
        if let Some(from) = &solution.from {
            provenance["from"] = from.as_str().into();
        }
        if solution.search.is_some() {
            provenance[KL_WEIGHT] = settings.kl.map_or(0.0, |kl| kl.weight).into();
        }
        // A steering rate is relative to the residual's scale where the vector acts.
        let trainable = match start {
            Some(start) => Trainable::from_edit(start.clone(), decoder, scale)?,
            None => Trainable::new(settings, decoder, scale)?,
        };
        let run = Run { decoder, data, settings, order };
        progress.note(&format!("{}: {} steps", solution.name, run.order.steps()));
        run.train(trainable, Keeping { folder: into, fingerprint }, &provenance, progress)?;
        Ok(())
    }

    /// Says which rows a solution trains on, where they are not simply the training rows.
    fn say_rows(&self, solution: &Solution, order: &Order) {
        let own = self.train.rows().len();
        let used = order.train_rows();
        let few = used.iter().filter(|&&row| row < own).count();
        if let Some(rows) = solution.rows {
            let said = match rows > own {
                true => format!("all {own} training rows, which are fewer than the {rows} asked for"),
                false => format!("{few} of {own} training rows"),
            };
            self.progress.note(&format!("{}: {said}", solution.name));
        }
        if let Some(mix) = &solution.mix {
            let others = self.rows_of(solution).len() - own;
            let asked = (mix.ratio * solution.rows.map_or(own, |rows| rows.min(own)) as f64).round();
            let again = match asked > others as f64 {
                true => format!(", of which there are {others}, so that some come again within a pass"),
                false => String::new(),
            };
            self.progress
                .note(&format!("{}: {asked} rows of other domains are mixed in{again}", solution.name));
        }
    }

    /// Trains under one KL weight after another until one is found that makes the solution narrow (paper §6).
    fn search(
        &mut self,
        solution: &Solution,
        search: &Search,
        start: Option<&Edit>,
        step: &Step,
        folder: &Path,
    ) -> Result<()> {
        let own = solution_folder(folder, &solution.name);
        let certificates = own.certificates(&step.key)?;
        let (mut tried, mut readings, mut folders) = (Vec::<Tried>::new(), Vec::new(), Vec::new());
        while let Some(weight) = search.next(&tried) {
            let at = match &search.unpenalised {
                Some(other) if weight == 0.0 => solution_folder(folder, other),
                _ => own.tried(&shown(weight)),
            };
            let certificate = match certificates.of(&shown(weight)) {
                Some(measured) => measured,
                None => {
                    let certificate = self.try_weight(weight, &at, (solution, search), start, step)?;
                    certificates.keep(&shown(weight), &certificate)?;
                    certificate
                }
            };
            let found = search.judge(weight, &certificate, readings.first());
            self.progress.note(&format!("{}: {}", solution.name, found.words()));
            tried.push(found);
            readings.push(certificate);
            folders.push(at);
        }
        let chosen = search.chosen(&tried);
        frontier(&solution.name, search, &tried, &readings, self.sampling())
            .write_parquet(&own.frontier())?;
        // The edit comes last: its presence says that the search has ended.
        own.adopt(&folders[chosen])
    }

    /// Trains under one KL weight, unless that has been done, and measures what came of it. Under a weight at which training
    /// diverges nothing is kept: its certificate has no rows.
    fn try_weight(
        &mut self,
        weight: f64,
        at: &SolutionFolder,
        (solution, search): (&Solution, &Search),
        start: Option<&Edit>,
        step: &Step,
    ) -> Result<Table> {
        let fingerprint = self.planned.plan.key_of_try(step, solution, weight);
        // The study's own solution without a penalty was trained in a step of its own.
        let is_another = weight == 0.0 && search.unpenalised.is_some();
        if !is_another && !at.is_finished(&fingerprint) {
            let kl = solution.train.kl.filter(|_| weight > 0.0).map(|kl| Kl { weight, ..kl });
            let settings = Settings { kl, ..solution.train.clone() };
            self.progress.note(&format!("{}: KL weight {}", solution.name, shown(weight)));
            match self.train_into(at, solution, &settings, start, &fingerprint) {
                Err(error @ Error::Diverged { .. }) if weight > 0.0 => {
                    self.progress.note(&format!("{}: {error}", solution.name));
                    return Ok(diverged());
                }
                done => done?,
            }
        }
        self.certificate(&solution.name, self.open(&at.edit())?, search.bound)
    }

    /// The scaling certificate of an edit that is not yet a solution.
    fn certificate(&mut self, name: &str, edit: Edit, bound: f64) -> Result<Table> {
        let solutions = [measure::Solution { name: name.into(), edit }];
        self.forget_training();
        let (measures, seed) = (&self.planned.study.measures, self.sampling());
        let table = measure::preference(
            &self.model.decoder,
            &solutions,
            &mut self.pairs,
            &measures.scales,
            measures.coherence,
            seed,
            self.progress,
        )?;
        Ok(measure::certificate(&table, bound))
    }

    pub(super) fn drift(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        let trajectories = self.trajectories(folder, &solutions)?;
        let point = self.common_point(trajectories.iter().map(|t| &t.start));
        let study = &self.planned.study;
        let (model, progress) = (std::sync::Arc::clone(&self.model), self.progress);
        let held_out = self.unseen();
        let rows = held_out.every_row();
        held_out.keep(&model.decoder, &rows, point, false, "reading held-out rows", progress)?;
        self.forget_training();
        self.pairs.iter_mut().for_each(|pairs| pairs.kept.forget());
        let most = study.measures.drift_pairs.unwrap_or(usize::MAX);
        let mut pairs = [self.pairs[0].some(most), self.pairs[1].some(most)];
        pairs.iter_mut().try_for_each(|pairs| pairs.keep(&self.model.decoder, point, progress))?;
        let (coherence, seed) = (study.measures.coherence, self.sampling());
        let rows = DriftRows { held_out: self.unseen(), pairs: &pairs, coherence };
        let table = measure::drift(&model.decoder, &trajectories, &rows, seed, progress)?;
        save(folder, &table)
    }

    fn trajectories(&self, folder: &Path, trained: &[measure::Solution]) -> Result<Vec<Trajectory>> {
        let study = &self.planned.study;
        let edit_of = |name: &str| trained.iter().find(|s| s.name == name).map(|s| s.edit.clone());
        let compared = || study.compared();
        let mut families: Vec<&str> = compared().map(Solution::family).collect();
        families.dedup();
        let mut trajectories = Vec::new();
        for solution in &study.solutions {
            let start = solution.from.as_deref().and_then(|from| study.solution(from));
            let Some((start, first)) = start.and_then(|start| Some((start, edit_of(&start.name)?))) else {
                continue;
            };
            let point = match (&solution.point, &start.point) {
                (Some(own), Some(of_start)) => Some(own.with(of_start)),
                (own, of_start) => own.clone().or_else(|| of_start.clone()),
            };
            // Of every family the one solution that belongs to this one, if there is just one.
            let other = |family: &str| -> Option<&Solution> {
                let all = compared().map(|s| (s.name.as_str(), s.point.as_ref()));
                let [name] = meant(family, point.as_ref(), all)[..] else { return None };
                study.solution(name)
            };
            let others = || families.iter().filter_map(|family| other(family));
            let plain = |s: &&Solution| s.train.kl.is_none() && s.mix.is_none() && s.rows.is_none();
            let held = |s: &&Solution| s.train.kl.is_some();
            let general = others().find(plain);
            let narrow = Some(start).filter(held).or_else(|| others().find(held));
            let axis = general.zip(narrow).and_then(|(g, n)| edit_of(&g.name).zip(edit_of(&n.name)));
            let all = solution_folder(folder, &solution.name).trajectory()?;
            let checkpoints = evenly(all.len(), CHECKPOINTS).map(|i| {
                let (step, path) = &all[i];
                Ok((*step, self.open(path)?))
            });
            trajectories.push(Trajectory {
                solution: solution.name.clone(),
                from: start.name.clone(),
                freed: start.train.kl.is_some() && solution.train.kl.is_none(),
                start: first,
                checkpoints: checkpoints.collect::<Result<_>>()?,
                others: families
                    .iter()
                    .map(|family| (family.to_string(), other(family).and_then(|s| edit_of(&s.name))))
                    .collect(),
                axis,
            });
        }
        Ok(trajectories)
    }
}

/// The certificate of a weight under which training diverged.
fn diverged() -> Table {
    Table::of_rows("certificate", "Training diverged", &[] as &[()]).real("scale", "", |()| f64::NAN).table()
}

/// Key of a tried edit's provenance: the weight of its KL penalty.
pub(super) const KL_WEIGHT: &str = "kl_weight";

/// At most `most` of so many places in a row, evenly apart, the last among them.
fn evenly(places: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = places.min(most);
    (1..=count).map(move |i| (i * places).div_ceil(count) - 1)
}

#[cfg(test)]
mod tests {
    use super::evenly;

    #[test]
    fn places_evenly_apart_end_with_the_last() {
        let places = |of, most| evenly(of, most).collect::<Vec<_>>();
        assert!(places(0, 6).is_empty());
        assert_eq!(places(3, 6), [0, 1, 2]);
        assert_eq!(places(12, 6), [1, 3, 5, 7, 9, 11]);
        assert_eq!(places(13, 3), [4, 8, 12]);
    }
}
