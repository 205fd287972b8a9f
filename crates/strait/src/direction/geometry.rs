//! Lengths of edits and the angles between them.
//!
//! An edit is taken as its vectors where it has them: a steering vector; the direction of an ablation, as long as its factor;
//! B of each adapter of a LoRA of rank 1, as long as the whole change `scale * B A`. Others, LoRAs of higher rank and full
//! fine-tunes, are the change that they make to the weights. The two kinds lie in different spaces.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use serde::Serialize;
use strait_model::{
    Edit,
    edit::{Ablation, Lora, SteeringVector},
};

use super::{
    dot,
    pca::{Pca, products, standardised},
    problem::Problem,
};
use crate::Result;

/// Edits of one space.
pub struct Geometry {
    names: Vec<String>,
    space: Space,
}

enum Space {
    /// The vectors of each edit, one a place.
    Vectors { places: Vec<String>, edits: Vec<Vec<Vec<f64>>> },
    /// Changes of weights.
    Changes(Vec<Edit>),
}

/// Lengths, and the cosine of every two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Angles {
    /// The length of each.
    pub norms: Vec<f64>,
    /// The cosine of every two; NaN where one has no length, or where two share no place.
    pub cosine: Vec<Vec<f64>>,
}

/// An edit among others.
pub struct Member {
    /// Its name, for errors.
    pub name: String,
    /// The edit.
    pub edit: Edit,
    /// False for a vector whose layer is not known.
    pub placed: bool,
}

/// The place of a vector whose file does not say its layer.
const UNPLACED: &str = "vector";

impl Geometry {
    /// Of some edits. Those of one vector each lie in one space whatever their layers; those of several must have the same
    /// places.
    ///
    /// # Errors
    /// If they do not lie in one space, or a tensor operation fails.
    pub fn of(edits: impl IntoIterator<Item = Member>) -> Result<Self> {
        let (mut names, mut vectors, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for Member { name, edit, placed } in edits {
            match vectors_of(&edit, placed)? {
                Some(found) if found.is_empty() => return Err(Problem::Mixed { name }.into()),
                Some(found) => vectors.push((names.len(), found)),
                None => changes.push((names.len(), edit)),
            }
            names.push(name);
        }
        if let (Some((vector, _)), Some((change, _))) = (vectors.first(), changes.first()) {
            let (one, other) = (names[*vector].clone(), names[*change].clone());
            return Err(Problem::Kinds { one, other }.into());
        }
        let space = match changes.is_empty() {
            true => aligned(&names, vectors.into_iter().map(|(_, found)| found).collect())?,
            false => of_changes(&names, changes.into_iter().map(|(_, edit)| edit).collect())?,
        };
        Ok(Self { names, space })
    }

    /// The places of the vectors, such as `layer 24`; none where edits are changes of weights.
    pub fn places(&self) -> &[String] {
        match &self.space {
            Space::Vectors { places, .. } => places,
            Space::Changes(_) => &[],
        }
    }

    /// Lengths and cosines of whole edits: their vectors one behind the other, or all that they change.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn angles(&self) -> Result<Angles> {
        Ok(Angles::of(&self.products(f64::NAN)?))
    }

    /// Lengths and cosines of the vectors at each place.
    pub fn by_place(&self) -> Vec<Angles> {
        let Space::Vectors { places, edits } = &self.space else { return Vec::new() };
        let at = |place: usize| -> Vec<Vec<f64>> { edits.iter().map(|edit| edit[place].clone()).collect() };
        (0..places.len()).map(|place| Angles::of(&products(&at(place)))).collect()
    }

    /// Principal components, `standardised` where every coordinate is to weigh the same.
    ///
    /// # Errors
    /// If there are fewer than two edits, if they are all alike, if changes of weights are to be standardised, or if a tensor
    /// operation fails.
    pub fn pca(&self, standardise: bool, components: usize) -> Result<Pca> {
        if self.names.len() < 2 {
            return Err(Problem::Alone.into());
        }
        let found = match (&self.space, standardise) {
            (Space::Vectors { edits, .. }, _) => {
                let rows: Vec<Vec<f64>> = edits.iter().map(|edit| edit.concat()).collect();
                Pca::of(&if standardise { standardised(&rows) } else { rows }, components)
            }
            (Space::Changes(_), true) => {
                return Err(Problem::NoCoordinates { name: self.names[0].clone() }.into());
            }
            (Space::Changes(_), false) => Pca::of_products(&self.products(0.0)?, components),
        };
        Ok(found.ok_or(Problem::Alike)?)
    }

    /// The inner products of every two edits, `apart` for two that change no weight in common.
    fn products(&self, apart: f64) -> Result<Vec<Vec<f64>>> {
        match &self.space {
            Space::Vectors { edits, .. } => {
                let rows: Vec<Vec<f64>> = edits.iter().map(|edit| edit.concat()).collect();
                Ok(products(&rows))
            }
            Space::Changes(edits) => {
                let row = |(i, one): (usize, &Edit)| {
                    let product = |other: &Edit| Ok(one.dot(other)?.unwrap_or(apart));
                    edits[..=i].iter().map(product).collect::<Result<Vec<f64>>>()
                };
                let half = edits.par_iter().enumerate().map(row).collect::<Result<Vec<_>>>()?;
                let at = |i: usize, j: usize| half[i.max(j)][i.min(j)];
                Ok((0..edits.len()).map(|i| (0..edits.len()).map(|j| at(i, j)).collect()).collect())
            }
        }
    }
}

impl Angles {
    /// Of inner products.
    fn of(products: &[Vec<f64>]) -> Self {
        let norms: Vec<f64> = products.iter().enumerate().map(|(i, row)| row[i].max(0.0).sqrt()).collect();
        let of = |(i, row): (usize, &Vec<f64>)| {
            // One with itself can come out above 1 by rounding.
            let cosine = |(j, product): (usize, &f64)| (product / (norms[i] * norms[j])).clamp(-1.0, 1.0);
            row.iter().enumerate().map(cosine).collect()
        };
        Self { cosine: products.iter().enumerate().map(of).collect(), norms }
    }
}

/// The vectors of an edit by their places; none for an edit that is a change of weights, and no place where it is both.
fn vectors_of(edit: &Edit, placed: bool) -> Result<Option<BTreeMap<Place, Vec<f64>>>> {
    let mut found: BTreeMap<Place, (bool, Vec<f64>)> = BTreeMap::new();
    let mut whole = 0;
    for part in edit.parts() {
        match part {
            Edit::Steering(SteeringVector { layer, vector }) => {
                let place = if placed { Place::Layer(*layer) } else { Place::Unknown };
                let numbers = numbers(vector)?;
                match found.get_mut(&place) {
                    // Two vectors after one block add.
                    Some((true, sum)) if sum.len() == numbers.len() => {
                        sum.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
                    }
                    Some(_) => return Ok(Some(BTreeMap::new())),
                    None => _ = found.insert(place, (true, numbers)),
                }
            }
            Edit::Ablation(ablation) => {
                if found.insert(Place::Layer(ablation.layer), (false, direction(ablation)?)).is_some() {
                    return Ok(Some(BTreeMap::new()));
                }
            }
            Edit::Lora(lora) if lora.rank == 1 => {
                for (module, vector) in written(lora)? {
                    if found.insert(Place::Module(module), (false, vector)).is_some() {
                        return Ok(Some(BTreeMap::new()));
                    }
                }
            }
            Edit::Lora(_) | Edit::Full(_) => whole += 1,
            Edit::Composed(_) => {}
        }
    }
    match (whole, found.is_empty()) {
        (0, _) => Ok(Some(found.into_iter().map(|(place, (_, vector))| (place, vector)).collect())),
        (_, true) => Ok(None),
        (_, false) => Ok(Some(BTreeMap::new())),
    }
}

/// The place of a vector, in the order of layers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Unknown,
    Layer(i32),
    Module(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str(UNPLACED),
            Self::Layer(layer) => write!(f, "layer {layer}"),
            Self::Module(module) => f.write_str(module),
        }
    }
}

/// An ablation's direction, as long as its factor.
fn direction(ablation: &Ablation) -> Result<Vec<f64>> {
    let direction = numbers(&ablation.direction)?;
    let factor = ablation.factor / dot(&direction, &direction).sqrt();
    Ok(direction.into_iter().map(|x| factor * x).collect())
}

/// B of each adapter of rank 1, times the scale and the length of A: as long as the change that the adapter makes.
fn written(lora: &Lora) -> Result<Vec<(String, Vec<f64>)>> {
    let of = |adapter: &strait_model::edit::Adapter| {
        let a = numbers(&adapter.a)?;
        let factor = lora.scale() * dot(&a, &a).sqrt();
        let b = numbers(&adapter.b)?.into_iter().map(|x| factor * x).collect();
        Ok((adapter.site.module(), b))
    };
    lora.adapters.iter().map(of).collect()
}

/// Vectors in one space, or the reason for which they are not.
fn aligned(names: &[String], found: Vec<BTreeMap<Place, Vec<f64>>>) -> Result<Space> {
    let (Some(first), Some(name)) = (found.first(), names.first()) else {
        return Ok(Space::Vectors { places: Vec::new(), edits: Vec::new() });
    };
    let one_each = found.iter().all(|vectors| vectors.len() == 1);
    for (vectors, other) in found.iter().zip(names) {
        if !one_each && !vectors.keys().eq(first.keys()) {
            let only = |one: &BTreeMap<Place, _>, other: &BTreeMap<Place, _>| {
                one.keys().find(|place| !other.contains_key(place)).map(ToString::to_string)
            };
            let (one, other) = (name.clone(), other.clone());
            return Err(match (only(first, vectors), only(vectors, first)) {
                (Some(place), _) => Problem::Places { with: one, place, without: other },
                (None, place) => {
                    Problem::Places { with: other, place: place.unwrap_or_default(), without: one }
                }
            }
            .into());
        }
        for (one, another) in first.values().zip(vectors.values()) {
            if one.len() != another.len() {
                let (one_width, other_width) = (one.len(), another.len());
                let (one, other) = (name.clone(), other.clone());
                return Err(Problem::Widths { one, one_width, other, other_width }.into());
            }
        }
    }
    let places = first.keys().map(ToString::to_string).collect();
    Ok(Space::Vectors {
        places,
        edits: found.into_iter().map(|found| found.into_values().collect()).collect(),
    })
}

/// Changes of weights of one model, or the reason for which they are not.
fn of_changes(names: &[String], edits: Vec<Edit>) -> Result<Space> {
    let is_full = |edit: &Edit| edit.parts().any(|part| matches!(part, Edit::Full(_)));
    let mut known: BTreeMap<String, (Vec<usize>, &String)> = BTreeMap::new();
    for (edit, name) in edits.iter().zip(names) {
        if is_full(edit) != is_full(&edits[0]) {
            return Err(Problem::Kinds { one: names[0].clone(), other: name.clone() }.into());
        }
        for (tensor, size) in sizes(edit)? {
            let (expected, one) = known.entry(tensor.clone()).or_insert((size.clone(), name));
            if *expected != size {
                let (one, other) = (one.clone(), name.clone());
                return Err(Problem::Sizes { tensor, one, other }.into());
            }
        }
    }
    Ok(Space::Changes(edits))
}

/// The sizes of the weights that an edit changes.
fn sizes(edit: &Edit) -> Result<Vec<(String, Vec<usize>)>> {
    let mut found = Vec::new();
    for part in edit.parts() {
        match part {
            Edit::Lora(lora) => {
                for adapter in &lora.adapters {
                    let size = vec![adapter.b.dim(0)?, adapter.a.dim(1)?];
                    found.push((adapter.site.module(), size));
                }
            }
            other => {
                found.extend(other.tensors().into_iter().map(|(name, tensor)| (name, tensor.dims().to_vec())))
            }
        }
    }
    Ok(found)
}

/// A tensor's numbers, one behind the other.
fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}
