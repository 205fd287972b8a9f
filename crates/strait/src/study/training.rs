//! The steps that train: alone, from another solution, or under one KL weight after another.

use std::{path::Path, sync::Arc};

use serde_json::json;
use strait_model::Edit;

use super::{
    Measures, Problem, Search, Solution, Step, Tried, Without,
    layout::solution_folder,
    numbers::shown,
    provenance::{KL_WEIGHT, MEDIAN_NORM},
    rows::Mixture,
    search::frontier,
    trained::open,
    worker::Worker,
};
use crate::{
    Error, Result, Table,
    lab::{self, Record, Training},
    measure::{Certificate, Preference, certificate},
    objective::Row,
    train::{Keeping, Kl, Length, Order, Settings, SolutionFolder, pick},
};

/// Steps of which an estimate looks at every row: more would tell it nothing new.
const OUTLINED: usize = 1000;

/// The most rows that the batches of a study take, each counted as often as it is taken.
const MOST_ROWS: f64 = 2e7;

impl Worker<'_> {
    pub(super) fn train(&mut self, solution: &Solution, step: &Step, folder: &Path) -> Result<()> {
        let start = match &solution.from {
            Some(start) => Some(open(&self.lab.model, &solution_folder(folder, start).edit())?),
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
        Order::over(&self.picked(solution), settings, self.rows_of(solution), self.kl_of(solution))
    }

    /// The rows of a pass.
    fn picked(&self, solution: &Solution) -> Vec<usize> {
        let own = self.own(solution);
        let others = self.rows_of(solution).len() - own;
        let seed = solution.train.seeds.order;
        let Some(mix) = &solution.mix else { return pick(own, solution.rows, 0, 0.0, seed) };
        if mix.every {
            // All of the others, and for each of them its part of the training rows, which come again and again.
            let few = pick(own, solution.rows, 0, 0.0, seed);
            let again = (others as f64 / mix.ratio).round() as usize;
            return few.into_iter().cycle().take(again).chain(own..own + others).collect();
        }
        pick(own, solution.rows, others, mix.ratio, seed)
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
            let own = self.own(solution);
            let ratio = solution.mix.as_ref().map_or(0.0, |mix| mix.ratio);
            let picked = match &solution.mix {
                Some(mix) if mix.every => {
                    let others = (self.rows_of(solution).len() - own) as f64;
                    others * (1.0 + 1.0 / mix.ratio)
                }
                _ => solution.rows.map_or(own, |few| few.min(own)) as f64 * (1.0 + ratio),
            };
            let trainings = solution.search.as_ref().map_or(1, |search| search.tries + 1);
            taken += trainings as f64 * solution.train.rows_taken(picked, self.kl_of(solution).len() as f64);
            if taken > MOST_ROWS {
                let solution = solution.name.clone();
                let problem = Problem::LongTraining { solution, rows: taken, most: MOST_ROWS };
                return Err(problem.at(self.planned.study.file.path(), None));
            }
        }
        Ok(())
    }

    /// The rows that a solution trains on: the training rows or its own, and behind them those that it mixes in.
    pub(super) fn rows_of(&self, solution: &Solution) -> &[Row] {
        self.mixture(solution).map_or(self.lab.train.rows(), |i| self.lab.mixtures[i].rows())
    }

    /// The rows on which a solution's penalty holds.
    pub(super) fn kl_of(&self, solution: &Solution) -> &[Row] {
        self.own_kl(solution).map_or(&self.lab.kl, |set| &self.lab.own_kl[set]).rows()
    }

    fn own_kl(&self, solution: &Solution) -> Option<usize> {
        let rows = solution.kl_rows.as_ref()?;
        self.read.own_kl.iter().position(|files| files == rows)
    }

    fn mixture(&self, solution: &Solution) -> Option<usize> {
        let mixture = Mixture::of(solution)?;
        self.read.mixed.iter().position(|(known, _)| *known == mixture)
    }

    /// The number of rows that a solution trains on before those that it mixes in.
    fn own(&self, solution: &Solution) -> usize {
        self.mixture(solution).map_or(self.lab.train.rows().len(), |i| self.read.mixed[i].1)
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
        let order = self.order(solution, settings);
        self.say_rows(solution, &order);
        self.lab.progress.note(&format!("{}: {} steps", solution.name, order.steps()));
        let (model, study) = (Arc::clone(&self.lab.model), &self.planned.study.name);
        let provenance = |median_norm: f64| {
            let mut provenance = json!({
                "base_model": model.provenance.hub,
                "study": study,
                "solution": solution.name,
                (MEDIAN_NORM): median_norm,
            });
            if let Some(from) = &solution.from {
                provenance["from"] = from.as_str().into();
            }
            if let Some(without) = &solution.without {
                provenance["without"] = without.shown().into();
            }
            if solution.search.is_some() {
                provenance[KL_WEIGHT] = settings.kl.map_or(0.0, |kl| kl.weight).into();
            }
            provenance
        };
        let (mixture, own_kl) = (self.mixture(solution), self.own_kl(solution));
        let without = match &solution.without {
            Some(without) => self.ablations(without)?,
            None => Vec::new(),
        };
        let absolute_rate = solution.absolute_rate;
        let course = Training { settings, order, mixture, own_kl, start, absolute_rate, without: &without };
        let record = Record { keeping: Keeping { folder: into, fingerprint }, provenance: &provenance };
        self.lab.train(course, Some(record))?;
        Ok(())
    }

    /// The ablations behind a solution's edit, on the model's device.
    fn ablations(&self, without: &Without) -> Result<Vec<Edit>> {
        let model = &self.lab.model;
        let on_model = |edit: Edit| {
            edit.check(model.config())?;
            Ok(edit.to_device(model.decoder.device())?)
        };
        without.ablations(model.config().layers)?.into_iter().map(on_model).collect()
    }

    /// Says which rows a solution trains on, where they are not simply the training rows.
    fn say_rows(&self, solution: &Solution, order: &Order) {
        let own = self.own(solution);
        let used = order.train_rows();
        let few = used.iter().filter(|&&row| row < own).count();
        if solution.own_rows.is_some() {
            self.lab
                .progress
                .note(&format!("{}: {own} rows of its own, in place of the training rows", solution.name));
        }
        if let Some(rows) = solution.rows {
            let said = match rows > own {
                true => format!("all {own} training rows, which are fewer than the {rows} asked for"),
                false => format!("{few} of {own} training rows"),
            };
            self.lab.progress.note(&format!("{}: {said}", solution.name));
        }
        if let Some(mix) = &solution.mix {
            let others = self.rows_of(solution).len() - own;
            if mix.every {
                let again = used.iter().filter(|&&row| row >= own).count();
                self.lab.progress.note(&format!(
                    "{}: all {again} rows of other domains are mixed in, and training rows come again",
                    solution.name
                ));
                return;
            }
            let asked = (mix.ratio * solution.rows.map_or(own, |rows| rows.min(own)) as f64).round();
            let again = match asked > others as f64 {
                true => format!(", of which there are {others}, so that some come again within a pass"),
                false => String::new(),
            };
            self.lab
                .progress
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
        let (mut tried, mut readings, mut folders) =
            (Vec::<Tried>::new(), Vec::<Vec<Certificate>>::new(), Vec::new());
        while let Some(weight) = search.next(&tried) {
            let at = match &search.unpenalised {
                Some(other) if weight == 0.0 => solution_folder(folder, other),
                _ => own.tried(&shown(weight)),
            };
            let measured = certificates.of(&shown(weight)).and_then(|table| table.read().ok());
            let certificate = match measured {
                Some(measured) => measured,
                None => {
                    let certificate = self.try_weight(weight, &at, (solution, search), start, step)?;
                    certificates.keep(&shown(weight), &Table::of(&certificate))?;
                    certificate
                }
            };
            let found = search.judge(weight, &certificate, readings.first().map(Vec::as_slice));
            self.lab.progress.note(&format!("{}: {}", solution.name, found.words()));
            tried.push(found);
            readings.push(certificate);
            folders.push(at);
        }
        let chosen = search.chosen(&tried);
        let rows = frontier(&solution.name, search, &tried, &readings, self.lab.seed);
        Table::of(&rows).write_parquet(&own.frontier())?;
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
    ) -> Result<Vec<Certificate>> {
        let fingerprint = self.planned.plan.key_of_try(step, solution, weight);
        // The study's own solution without a penalty was trained in a step of its own.
        let is_another = weight == 0.0 && search.unpenalised.is_some();
        if !is_another && !at.is_finished(&fingerprint) {
            let kl = solution.train.kl.filter(|_| weight > 0.0).map(|kl| Kl { weight, ..kl });
            let settings = Settings { kl, ..solution.train.clone() };
            self.lab.progress.note(&format!("{}: KL weight {}", solution.name, shown(weight)));
            match self.train_into(at, solution, &settings, start, &fingerprint) {
                Err(error @ Error::Diverged { .. }) if weight > 0.0 => {
                    self.lab.progress.note(&format!("{}: {error}", solution.name));
                    return Ok(Vec::new());
                }
                done => done?,
            }
        }
        self.certificate(&solution.name, open(&self.lab.model, &at.edit())?, search.bound)
    }

    /// The scaling certificate of an edit that is not yet a solution.
    fn certificate(&mut self, name: &str, edit: Edit, bound: f64) -> Result<Vec<Certificate>> {
        let Measures { scales, coherence, .. } = &self.planned.study.measures;
        let preference = Preference { scales: scales.clone(), coherence: *coherence };
        let solutions = vec![lab::Solution { name: name.into(), edit }];
        let lab = &mut self.lab;
        let (decoder, seed) = (&lab.model.decoder, lab.seed);
        let shifts = preference.read(decoder, &solutions, &mut lab.pairs, seed, lab.progress)?;
        Ok(certificate(&shifts, bound))
    }
}
