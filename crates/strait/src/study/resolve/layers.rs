//! The layers at which edits act, which may depend on the model's depth.

use super::{Solution, Study};
use crate::{
    Result,
    keys::{self, At, entry_of},
    study::{
        Problem,
        file::{EditName, TrainKeys},
        problem::Checked,
    },
    train::{EditKind, Settings},
};

/// An edit to train, on layers that may yet depend on the model's depth.
#[derive(Clone, Debug)]
pub struct Unplaced {
    /// All but the layers, which are placeholders.
    pub(super) solution: Solution,
    /// The layers that the study names; none for the one at half the depth.
    pub(super) layers: Option<Layers>,
    /// Its start, as written.
    pub(super) from: Option<At<String>>,
}

/// Layers, and how errors name one of them.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    what: String,
    indices: Vec<At<i32>>,
}

impl Layers {
    /// The layers that keys name, of which `own` are those in the solution's own table.
    pub(super) fn of(keys: &TrainKeys, own: &TrainKeys, edit: EditName) -> Option<Self> {
        let is_own = own.layer.is_some() || own.layers.is_some();
        let table = if is_own { "solution" } else { "train" };
        match (&keys.layer, &keys.layers) {
            (Some(layer), _) if edit.has("layer") => Some(Self {
                what: format!("`{table}.layer`"),
                indices: layer.value.iter().take(1).cloned().collect(),
            }),
            (None, Some(layers)) if edit.has("layers") => {
                Some(Self { what: entry_of(&format!("{table}.layers")), indices: layers.value.clone() })
            }
            _ => None,
        }
    }
}

impl Unplaced {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.solution.name
    }
}

impl Study<Unplaced> {
    /// The study on a model of `depth` blocks: solutions that name no layer act at half the depth.
    ///
    /// # Errors
    /// If a solution names a layer that the model does not have.
    pub fn fix_layers(self, depth: usize) -> Result<Study> {
        let Self {
            file,
            name,
            title,
            about,
            model,
            date,
            precision,
            seeds,
            data,
            cues,
            measures,
            solutions,
            predictions,
        } = self;
        let solutions =
            fix_all(solutions, depth).map_err(|fault| fault.problem.at(file.path(), fault.line))?;
        Ok(Study {
            file,
            name,
            title,
            about,
            model,
            date,
            precision,
            seeds,
            data,
            cues,
            measures,
            solutions,
            predictions,
        })
    }
}

fn fix_all(unplaced: Vec<Unplaced>, depth: usize) -> Checked<Vec<Solution>> {
    let written: Vec<_> = unplaced.iter().map(|s| s.from.clone()).collect();
    let mut solutions =
        unplaced.into_iter().map(|s| s.fix_layers(depth)).collect::<keys::Checked<Vec<Solution>>>()?;
    for (solution, written) in solutions.iter().zip(&written) {
        let start = solutions.iter().find(|other| Some(&other.name) == solution.from.as_ref());
        if let (Some(start), Some(written)) = (start, written)
            && start.train.edit != solution.train.edit
        {
            return Err(written.fault(Problem::OtherEdit {
                solution: solution.name.clone(),
                from: start.name.clone(),
                own: solution.train.edit.words(),
                other: start.train.edit.words(),
            }));
        }
    }
    let unpenalised: Vec<_> = solutions.iter().map(|s| unpenalised(s, &solutions)).collect();
    for (solution, other) in solutions.iter_mut().zip(unpenalised) {
        if let Some(search) = &mut solution.search {
            search.unpenalised = other;
        }
    }
    Ok(solutions)
}

impl Unplaced {
    fn fix_layers(self, depth: usize) -> keys::Checked<Solution> {
        let indices = match self.layers {
            None => vec![i32::try_from(depth / 2).unwrap_or(i32::MAX)],
            Some(Layers { what, indices }) => {
                // -1, the embeddings, is there in every model.
                let beyond = |layer: &&At<i32>| usize::try_from(layer.value).is_ok_and(|l| l >= depth);
                if let Some(layer) = indices.iter().find(beyond) {
                    return Err(layer.fault(keys::Problem::Unexpected {
                        what,
                        found: layer.value.to_string(),
                        expected: format!(
                            "a layer below {depth}: the model has {depth} blocks, counted from 0"
                        ),
                    }));
                }
                indices.into_iter().map(|layer| layer.value).collect()
            }
        };
        let mut solution = self.solution;
        match &mut solution.train.edit {
            EditKind::Steering { layer } => *layer = indices.first().copied().unwrap_or_default(),
            EditKind::Lora { layers, .. } => *layers = indices,
            EditKind::Full => {}
        }
        Ok(solution)
    }
}

/// The solution that is another one but for its penalty.
fn unpenalised(solution: &Solution, solutions: &[Solution]) -> Option<String> {
    let train = Settings { kl: None, ..solution.train.clone() };
    let same = |other: &&Solution| {
        other.train == train
            && other.from == solution.from
            && other.rows == solution.rows
            && other.own_rows == solution.own_rows
            && other.mix == solution.mix
            && other.system == solution.system
            && other.absolute_rate == solution.absolute_rate
    };
    solutions.iter().find(same).map(|other| other.name.clone())
}
