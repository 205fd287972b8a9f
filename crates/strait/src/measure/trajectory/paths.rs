//! The checkpoints of solutions, and their places among each other.

use strait_model::{
    Edit,
    edit::{Projection, Site},
    progress::{Progress, Unit},
};

use super::{ComponentRow, Trajectories, TrajectoryRow};
use crate::{
    Result,
    claim::Subject,
    direction::{
        Problem,
        geometry::{Geometry, Member},
        pca::Pca,
        trajectory::compositions,
    },
    lab::{Solution, Solved, advance, evenly},
    measure::{
        Part,
        opposites::opposites,
        part::{numbers, shape},
    },
};

/// The checkpoints of one solution, in the order of their steps.
pub struct Path {
    pub solution: String,
    /// The solution that it started from.
    pub from: Option<String>,
    pub points: Vec<(usize, Edit)>,
}

impl Path {
    fn end(&self) -> Option<&Edit> {
        self.points.last().map(|(_, edit)| edit)
    }
}

/// The components of which a place is told.
const COMPONENTS: usize = 5;

impl Trajectories {
    /// The paths of all solutions that grow from nothing or from another one; a full fine-tune is not read.
    pub(super) fn paths(&self, solved: &dyn Solved, progress: &dyn Progress) -> Result<Vec<Path>> {
        let grown = solved.beside()?;
        let task = progress.begin("reading checkpoints", Some(grown.len() as u64), Unit::Count);
        let mut paths = Vec::new();
        for solution in &grown {
            let kept = solved.steps(&solution.name)?;
            let later = evenly(kept.len().saturating_sub(1), self.checkpoints).map(|place| place + 1);
            let mut points = Vec::new();
            for step in [0].into_iter().chain(later).filter_map(|place| kept.get(place).copied()) {
                points.extend(solved.after(&solution.name, step)?.map(|edit| (step, edit)));
            }
            paths.push(Path { solution: solution.name.clone(), from: None, points });
            advance(progress, &*task, 1)?;
        }
        for followed in solved.trajectories()? {
            let kept = followed.checkpoints;
            let mut chosen: Vec<bool> = vec![false; kept.len()];
            evenly(kept.len(), self.checkpoints).for_each(|place| chosen[place] = true);
            let later = kept.into_iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(point, _)| point);
            paths.push(Path {
                solution: followed.solution,
                from: Some(followed.from),
                points: [(0, followed.start)].into_iter().chain(later).collect(),
            });
        }
        paths.retain(|path| path.end().is_some_and(|edit| Part::grown(edit).is_some()));
        Ok(paths)
    }

    /// Where all checkpoints of a space lie, how long they are, and how near to the trained solutions.
    pub(super) fn places(
        &self,
        paths: &[Path],
        solutions: &[Solution],
        subjects: &[Subject],
    ) -> Result<(Vec<TrajectoryRow>, Vec<ComponentRow>)> {
        let mut spaces: Vec<String> = Vec::new();
        let mut space_of = Vec::new();
        for path in paths {
            let shape = path.end().map(shape).unwrap_or_default();
            let known = spaces.iter().position(|known| *known == shape);
            space_of.push(known.unwrap_or(spaces.len()));
            if known.is_none() {
                spaces.push(shape);
            }
        }
        let (mut rows, mut components) = (Vec::new(), Vec::new());
        for space in 0..spaces.len() {
            let own: Vec<&Path> =
                paths.iter().zip(&space_of).filter(|(_, of)| **of == space).map(|(path, _)| path).collect();
            let (found, standardised) = self.components(&own)?;
            let all = own.iter().map(|path| path.points.len()).sum();
            let shares = found.iter().flat_map(|pca| &pca.explained).enumerate();
            components.extend(shares.map(|(i, &explained)| ComponentRow {
                space: space + 1,
                component: i + 1,
                explained,
                standardised,
                checkpoints: all,
            }));
            let mut scores = found.into_iter().flat_map(|pca| pca.scores);
            for path in own {
                let beside = path.from.as_deref().unwrap_or(&path.solution);
                let towards = path.end().and_then(|edit| opposites(beside, edit, solutions, subjects));
                let composed = composed(path)?;
                for (place, (step, edit)) in path.points.iter().enumerate() {
                    let score = scores.next().unwrap_or_default();
                    let along = |component: usize| score.get(component).copied().unwrap_or(f64::NAN);
                    let cosine = |of: Option<&Solution>| of.map_or(Ok(f64::NAN), |of| edit.cosine(&of.edit));
                    rows.push(TrajectoryRow {
                        solution: path.solution.clone(),
                        from: path.from.clone().unwrap_or_default(),
                        space: space + 1,
                        step: *step,
                        norm: edit.norm()?,
                        cosine_general: cosine(towards.map(|[general, _]| general))?,
                        cosine_narrow: cosine(towards.map(|[_, narrow]| narrow))?,
                        first: along(0),
                        second: along(1),
                        third: along(2),
                        composition: composed.get(place).copied().unwrap_or(f64::NAN),
                    });
                }
            }
        }
        Ok((rows, components))
    }

    /// The principal components of the checkpoints of some paths; none where nothing varies. The second is true where
    /// coordinates were standardised, which changes of weights do not have.
    fn components(&self, paths: &[&Path]) -> Result<(Option<Pca>, bool)> {
        let points = paths.iter().flat_map(|path| path.points.iter().map(move |point| (path, point)));
        let members = points.map(|(path, (step, edit))| Member {
            name: format!("{} after {step} steps", path.solution),
            edit: edit.clone(),
            placed: true,
        });
        let geometry = Geometry::of(members)?;
        let standardise = self.standardise && !geometry.places().is_empty();
        match geometry.pca(standardise, COMPONENTS) {
            Ok(found) => Ok((Some(found), standardise)),
            Err(error) if matches!(error.problem(), Some(Problem::Alone | Problem::Alike)) => {
                Ok((None, standardise))
            }
            Err(error) => Err(error),
        }
    }
}

/// The composition scores of a path's checkpoints but the last with the last, where they are LoRAs of rank 1 with several Bs
/// that write into the residual stream; else none.
fn composed(path: &Path) -> Result<Vec<f64>> {
    let mut stacks = Vec::new();
    for (_, edit) in &path.points {
        let Edit::Lora(lora) = edit else { return Ok(Vec::new()) };
        let writes =
            |site| matches!(site, Site::Projection { projection: Projection::O | Projection::Down, .. });
        let own = lora.adapters.iter().filter(|adapter| lora.rank == 1 && writes(adapter.site));
        let stack = own.map(|adapter| numbers(&adapter.b)).collect::<Result<Vec<_>>>()?;
        if stack.len() < 2 {
            return Ok(Vec::new());
        }
        stacks.push(stack);
    }
    Ok(compositions(&stacks))
}
