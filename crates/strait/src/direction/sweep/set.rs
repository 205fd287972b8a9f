//! A direction under a name: one vector a layer.

use strait_model::{Edit, edit::SteeringVector};

use super::Problem;
use crate::{Error, Result, direction::random_like, page::numbers::list};

/// A direction: a vector for each of some layers.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// The vectors, ascending by their layers; none is zero.
    vectors: Vec<SteeringVector>,
}

impl Set {
    /// Of vectors; those that are zero are left out.
    ///
    /// # Errors
    /// If two are of one layer, all are zero, or a tensor operation fails.
    pub fn new(name: &str, vectors: impl IntoIterator<Item = SteeringVector>) -> Result<Self> {
        let mut known: Vec<SteeringVector> = Vec::new();
        for vector in vectors {
            if vector.norm()? > 0.0 {
                known.push(vector);
            }
        }
        known.sort_by_key(|vector| vector.layer);
        if let Some(two) = known.windows(2).find(|two| two[0].layer == two[1].layer) {
            return Err(Error::input(name, None, Problem::TwoVectors { layer: two[0].layer }));
        }
        match known.is_empty() {
            true => Err(Error::input(name, None, Problem::Zero)),
            false => Ok(Self { name: name.into(), vectors: known }),
        }
    }

    /// Of an edit that is one or several steering vectors.
    ///
    /// # Errors
    /// As [`Self::new`], or if it is anything else.
    pub fn of(name: &str, edit: &Edit) -> Result<Self> {
        let refused = |found| Err(Error::input(name, None, Problem::NotVectors { found }));
        let mut vectors = Vec::new();
        for part in edit.parts() {
            match part {
                Edit::Steering(vector) => vectors.push(vector.clone()),
                Edit::Lora(_) => return refused("a LoRA"),
                Edit::Ablation(_) => return refused("an ablation"),
                Edit::Full(_) => return refused("a full fine-tune"),
                Edit::Composed(_) => {}
            }
        }
        Self::new(name, vectors)
    }

    /// The layers at which it has a vector.
    pub fn layers(&self) -> impl Iterator<Item = i32> {
        self.vectors.iter().map(|vector| vector.layer)
    }

    /// Its vector at a layer.
    pub fn at(&self, layer: i32) -> Option<&SteeringVector> {
        self.vectors.iter().find(|vector| vector.layer == layer)
    }

    /// The vectors at some layers; all of them where none is named.
    ///
    /// # Errors
    /// If it has none at one of them.
    pub fn chosen(&self, layers: &[i32]) -> Result<Vec<&SteeringVector>> {
        if layers.is_empty() {
            return Ok(self.vectors.iter().collect());
        }
        let known = || list(&self.layers().map(|layer| layer.to_string()).collect::<Vec<_>>());
        let at = |&layer: &i32| {
            let lacking = || Error::input(&self.name, None, Problem::NoVector { layer, known: known() });
            self.at(layer).ok_or_else(lacking)
        };
        layers.iter().map(at).collect()
    }

    /// As an edit: all of its vectors at once.
    pub fn edit(&self) -> Edit {
        Edit::composed(self.vectors.iter().cloned().map(Edit::Steering))
    }

    /// Gaussian vectors at the same layers, each as long.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn random_like(&self, seed: u64) -> Result<Self> {
        let drawn = |vector: &SteeringVector| {
            random_like(vector, seed.wrapping_add(SEEDS * (vector.layer + 1) as u64))
        };
        let vectors = self.vectors.iter().map(drawn).collect::<Result<_>>()?;
        Ok(Self { name: self.name.clone(), vectors })
    }
}

/// Seeds that lie between those of two layers: each layer has random directions of its own.
const SEEDS: u64 = 1_000_003;
