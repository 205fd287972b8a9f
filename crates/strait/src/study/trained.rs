//! The trained solutions of a run folder.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use strait_model::{Edit, Model, edit};

use super::{
    Solution, Study,
    layout::{ANSWERS, solution_folder},
    sweep::meant,
};
use crate::{
    Result,
    claim::Subject,
    lab::{self, Solved, Trajectory, evenly},
    measure::CHECKPOINTS,
    train::Trainable,
};

/// The solutions of a study whose edits lie in a run folder.
pub(super) struct InFolder<'a> {
    pub study: &'a Study,
    pub model: Arc<Model>,
    pub folder: &'a Path,
}

/// Reads an edit, onto the model's device.
pub(super) fn open(model: &Model, path: &Path) -> Result<Edit> {
    Ok(edit::open(&path.to_string_lossy())?.to_device(model.decoder.device())?)
}

impl InFolder<'_> {
    fn open(&self, solution: &Solution) -> Result<lab::Solution> {
        let edit = open(&self.model, &solution_folder(self.folder, &solution.name).edit())?;
        Ok(lab::Solution { name: solution.name.clone(), edit })
    }
}

impl Solved for InFolder<'_> {
    fn every(&self) -> Result<Vec<lab::Solution>> {
        self.study.solutions.iter().map(|solution| self.open(solution)).collect()
    }

    fn compared(&self) -> Result<Vec<lab::Solution>> {
        self.study.compared().map(|solution| self.open(solution)).collect()
    }

    fn beside(&self) -> Result<Vec<lab::Solution>> {
        self.study.beside().map(|solution| self.open(solution)).collect()
    }

    fn subjects(&self) -> Vec<Subject> {
        self.study.beside().map(|solution| solution.subject(None)).collect()
    }

    fn follows(&self, solution: &str) -> bool {
        self.study.solution(solution).is_some_and(|solution| solution.from.is_some())
    }

    fn steps(&self, solution: &str) -> Result<Vec<usize>> {
        let kept = solution_folder(self.folder, solution).trajectory()?;
        Ok([0].into_iter().chain(kept.into_iter().map(|(step, _)| step)).collect())
    }

    fn after(&self, solution: &str, step: usize) -> Result<Option<Edit>> {
        let Some(known) = self.study.solution(solution).filter(|known| known.beside()) else {
            return Ok(None);
        };
        if step > 0 {
            return open(&self.model, &solution_folder(self.folder, solution).checkpoint(step)).map(Some);
        }
        // Training begins with what its settings and seeds say; a vector is zero there in every unit.
        Trainable::new(&known.train, &self.model.decoder, 1.0)?.frozen().map(Some)
    }

    fn folder(&self) -> Option<PathBuf> {
        Some(self.folder.join(ANSWERS))
    }

    fn trajectories(&self) -> Result<Vec<Trajectory>> {
        let Self { study, folder, .. } = self;
        let trained = self.every()?;
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
            let plain = |s: &&Solution| {
                let held_back = s.train.kl.is_some() || s.without.is_some() || s.train.stop.is_some();
                !held_back && s.mix.is_none() && s.rows.is_none() && s.system.is_none()
            };
            let held = |s: &&Solution| s.train.kl.is_some();
            let general = others().find(plain);
            let narrow = Some(start).filter(held).or_else(|| others().find(held));
            let axis = general.zip(narrow).and_then(|(g, n)| edit_of(&g.name).zip(edit_of(&n.name)));
            let all = solution_folder(folder, &solution.name).trajectory()?;
            let checkpoints = evenly(all.len(), CHECKPOINTS).map(|i| {
                let (step, path) = &all[i];
                Ok((*step, open(&self.model, path)?))
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
