//! A study with its model found and its plan made.

use candle_core::Device;
use strait_model::{Config, files::sha256_of, progress::Progress, source::Located};

use super::{Plan, Problem, Study, StudyFile, results};
use crate::{
    Error, Result,
    lab::{self, Budget, Estimate, LimitProblem, Limits},
    world::locate,
};

/// A study with its model found and its plan made; nothing heavy is read yet.
pub(crate) struct Planned {
    pub file: StudyFile,
    pub study: Study,
    pub plan: Plan,
    pub located: Located,
    pub config: Config,
    /// The weights, held open: those that are hashed are those that are computed with.
    pub weights: strait_model::Weights,
    /// Name and SHA-256 of their files.
    pub hashes: Vec<(String, String)>,
}

impl Planned {
    pub fn new(file: StudyFile, device: &Device, limits: Limits, progress: &dyn Progress) -> Result<Self> {
        let study = file.resolve()?;
        let located = locate(&study.model.path().to_string_lossy(), progress)?;
        let weights = strait_model::Weights::open(&located.path)?;
        weights.fit()?;
        let config = weights.config().clone();
        let study = study.fix_layers(config.layers)?;
        let weights = lab::place(weights, device, study.precision, limits, progress);
        let hashes = weights.hashes(progress)?;
        let plan = Plan::of(&study, &hashes, |path| Ok(sha256_of(path, |_| ())?))?;
        Ok(Self { file, study, plan, located, config, weights, hashes })
    }

    /// An estimate and a plan of memory in words; an error where they are beyond all bounds.
    pub fn estimated(&self, estimate: &Estimate, budget: &Budget) -> Result<Vec<String>> {
        let line = estimate.line(budget).map_err(|problem| self.refused(problem))?;
        Ok(std::iter::once(line).chain(budget.lines()).collect())
    }

    /// The error of what a machine or the given memory cannot do.
    pub fn refused(&self, problem: LimitProblem) -> Error {
        Problem::from(problem).at(&self.file.path, None)
    }

    /// Refuses memory that does not hold the weights, before they are read.
    ///
    /// # Errors
    /// If it does not.
    pub fn hold_weights(&self, limits: Limits) -> Result<()> {
        let bytes = self.weights.size(self.study.precision)?;
        Budget::of_weights(bytes, limits).map(drop).map_err(|problem| self.refused(problem))
    }

    pub fn preset_lines(&self) -> Vec<String> {
        results::preset_lines(&self.study, self.config.layers)
    }
}
