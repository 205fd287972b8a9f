//! The trained solutions of a run folder.

use std::{path::Path, sync::Arc};

use strait_model::{Edit, Model, edit};

use super::{Solution, Study, layout::solution_folder, sweep::meant};
use crate::{
    Result,
    lab::{self, Solved, Trajectory},
    measure::CHECKPOINTS,
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
            let plain = |s: &&Solution| s.train.kl.is_none() && s.mix.is_none() && s.rows.is_none();
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
