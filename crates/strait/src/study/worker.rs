//! A worker: carries out the steps of a plan, with the model and the rows of the study.

use std::{path::Path, sync::Arc};

use candle_core::Device;
use serde_json::json;
use strait_model::{
    Model, Precision,
    model::Provenance,
    progress::{Progress, Unit},
    source::Road,
};

use super::{
    Problem, Solution, Step,
    folder::write_json,
    layout,
    planned::Planned,
    records,
    results::save,
    rows::{self, Readout},
    trained::InFolder,
};
use crate::{
    Result,
    keys::last_part,
    lab::{self, Budget, Estimate, Lab, Limits, Scene, Speed, duration, point},
    objective::Row,
};

/// The model and the rows of a study, and what has been computed of them.
pub(super) struct Worker<'a> {
    pub planned: &'a Planned,
    pub lab: Lab<'a>,
    pub read: Readout,
}

impl<'a> Worker<'a> {
    pub fn new(planned: &'a Planned, device: &Device, progress: &'a dyn Progress) -> Result<Self> {
        let study = &planned.study;
        let task = progress.begin("loading the model", None, Unit::Count);
        let mut model = Model::of_weights(&planned.located, &planned.weights, device, study.precision)?;
        model.tokenizer.set_date(study.date);
        drop(task);
        let (lab, read) = rows::read(study, Arc::new(model), progress)?;
        let worker = Self { planned, lab, read };
        worker.refuse_endless_training()?;
        Ok(worker)
    }

    /// Another worker with the same model and rows, and nothing kept of them.
    pub fn beside<'b>(&self, progress: &'b dyn Progress) -> Worker<'b>
    where
        'a: 'b,
    {
        Worker { planned: self.planned, lab: self.lab.beside(progress), read: self.read.clone() }
    }

    /// Notes on the rows, for the user.
    pub fn said(&self) -> &[String] {
        &self.read.said
    }

    /// Lines that the plan says of the measures.
    pub fn measure_lines(&self) -> Vec<String> {
        let study = &self.planned.study;
        let scene = self.scene();
        let planned = study.measures.asked.0.iter().filter(|m| self.planned.plan.step(m.name()).is_some());
        planned.flat_map(|measure| measure.outlook(&scene)).collect()
    }

    /// Carries out a step.
    pub fn carry_out(&mut self, step: &Step, folder: &Path) -> Result<()> {
        let study = &self.planned.study;
        if let Some(measure) = study.measures.asked.get(&step.name) {
            let solved = InFolder { study, model: Arc::clone(&self.lab.model), folder };
            let tables = measure.tables(&mut self.lab, &solved)?;
            return tables.iter().try_for_each(|table| save(folder, table));
        }
        if let Some(solution) = study.solutions.iter().find(|s| Step::training(&s.name) == step.name) {
            return self.train(solution, step, folder);
        }
        match step.name.as_str() {
            Step::MODEL => self.describe_model(folder),
            Step::DATA => self.describe_data(folder),
            Step::REPORT => records::write(study, &self.read.left_out, folder),
            name => Err(Problem::UnknownStep { name: name.into() }.at(study.file.path(), None)),
        }
    }

    fn describe_model(&self, folder: &Path) -> Result<()> {
        let study = &self.planned.study;
        let Provenance { located, format, quantised, files, hub } = &self.lab.model.provenance;
        // What is told to others says which model it was, by name and hash, and nothing of where it lies here or whether it
        // had to be fetched.
        let road = match (located.road, &located.revision) {
            (Road::Cache, Some(revision)) if revision.contains("==") => Road::Package,
            (Road::Cache, _) => Road::Hub,
            (road, _) => road,
        };
        let mut facts = json!({
            "schema": super::SCHEMA,
            "provenance": {
                "name": study.model.shown(),
                "path": last_part(&located.path),
                "road": road,
                "revision": located.revision,
                "format": format,
                "quantised": quantised,
                "hub": hub,
                "files": files.iter().map(|file| last_part(file)).collect::<Vec<_>>(),
            },
            "sha256": self.planned.hashes,
            "config": self.lab.model.config(),
            "parameters": self.lab.model.config().parameters(),
        });
        if let Some(date) = self.lab.model.tokenizer.date() {
            facts["date"] = json!(date);
        }
        if study.precision != Precision::default() {
            facts["precision"] = json!(study.precision);
        }
        write_json(folder, layout::MODEL, &facts)
    }

    fn describe_data(&self, folder: &Path) -> Result<()> {
        let of = |rows: &[Row], questions: usize| {
            json!({
                "rows": rows.len(),
                "questions": questions,
                "tokens": rows.iter().map(|r| r.ids.len()).sum::<usize>(),
                "response_tokens": rows.iter().map(Row::response_tokens).sum::<usize>(),
            })
        };
        let mut facts = json!({
            "schema": super::SCHEMA,
            "train": of(self.lab.train.rows(), self.read.questions[0]),
            "held_out": of(self.lab.held_out.rows(), self.read.questions[1]),
        });
        if !self.read.notices.is_empty() {
            facts["notices"] = json!(self.read.notices);
        }
        write_json(folder, layout::DATA, &facts)
    }

    /// The training of each solution, one line each, with the time that it takes at this speed and with this memory.
    pub fn solution_lines(&self, speed: Speed, budget: &Budget) -> Vec<String> {
        let mut estimate = Estimate::new(&self.lab.model, speed, Some(budget));
        let line = |solution: &Solution| {
            let mut parts: Vec<String> = solution.point.iter().map(|point| point.words()).collect();
            parts.extend(solution.from.as_ref().map(|from| format!("from {from}")));
            let steps = self.steps(solution);
            parts.push(match &solution.search {
                Some(search) => format!("{steps} steps for each of up to {} KL weights", search.tries),
                None => format!("{steps} steps"),
            });
            let seconds = self.add_training(&mut estimate, solution);
            format!("{}: {}, {}", solution.name, parts.join(", "), duration(seconds))
        };
        self.planned.study.solutions.iter().map(line).collect()
    }

    /// Adds what training a solution takes; returns the seconds.
    fn add_training(&self, estimate: &mut Estimate, solution: &Solution) -> f64 {
        let step = Step::training(&solution.name);
        let rows = [self.rows_of(solution), self.lab.held_out.rows(), self.kl_of(solution)];
        let once = |estimate: &mut Estimate| {
            let (order, times) = self.outline(solution);
            estimate.begin_training(&step);
            estimate.training(&solution.train, &order, times, rows)
        };
        let Some(search) = &solution.search else { return once(estimate) };
        let tries = search.tries + usize::from(search.unpenalised.is_none());
        let mut seconds: f64 = (0..tries).map(|_| once(estimate)).sum();
        let point = point(&solution.train);
        for _ in 0..=search.tries {
            estimate.begin_training(&step);
            for pairs in &self.lab.pairs {
                let rows = pairs.kept.rows();
                seconds += estimate.keeping(rows, point, true);
                seconds += estimate.losses(rows, point, 1 + self.planned.study.measures.scales.len());
            }
        }
        seconds
    }

    /// Adds up those steps that are left.
    fn add(&self, estimate: &mut Estimate, left: impl Fn(&str) -> bool) {
        let study = &self.planned.study;
        study.solutions.iter().for_each(|solution| estimate.solution(&solution.train));
        for solution in study.solutions.iter().filter(|s| left(&Step::training(&s.name))) {
            self.add_training(estimate, solution);
        }
        let scene = self.scene();
        for measure in study.measures.asked.0.iter().filter(|measure| left(measure.name())) {
            if self.planned.plan.step(measure.name()).is_some() {
                measure.estimate(&scene, estimate);
            }
        }
    }

    /// The study before its training.
    fn scene(&self) -> Scene<'_> {
        let solutions = self.planned.study.solutions.iter().map(|solution| lab::Planned {
            name: &solution.name,
            settings: &solution.train,
            compared: solution.compared(),
            beside: solution.beside(),
            follows: solution.from.is_some(),
            checkpoints: self.steps(solution).div_ceil(solution.train.checkpoint_every),
        });
        Scene { lab: &self.lab, solutions: solutions.collect() }
    }

    /// The memory of those steps that are left, before anything is computed; then their time with that memory, and how fast
    /// this machine is.
    ///
    /// # Errors
    /// If the memory does not suffice for a step, or the model cannot be run.
    pub fn estimate(&self, left: impl Fn(&str) -> bool, limits: Limits) -> Result<(Budget, Estimate, Speed)> {
        let model = &self.lab.model;
        let mut memory = Estimate::new(model, Speed::UNKNOWN, None);
        self.add(&mut memory, &left);
        let budget = memory.budget(limits).map_err(|problem| self.planned.refused(problem))?;
        let speed = Speed::measured(model, self.lab.train.rows(), budget.of_trial())?;
        let mut estimate = Estimate::new(model, speed, Some(&budget));
        self.add(&mut estimate, &left);
        Ok((budget, estimate, speed))
    }
}
