//! The changes of an edit to a model's weights, where weights can do what it does.

use candle_core::{DType, Device, Tensor};

use super::Problem;
use crate::{
    Config, Edit, Result,
    config::{EMBEDDINGS, HEAD, Projection},
    edit::{Ablation, Adapter, Full, Lora, Site},
};

/// Directions of which one is the other, by their cosine.
const SAME: f64 = 1.0 - 1e-6;
/// The largest cosine of directions at right angles.
const RIGHT_ANGLE: f64 = 1e-5;
/// The projections that write into the stream.
const WRITING: [Projection; 2] = [Projection::O, Projection::Down];

/// The change of a model's weights.
pub(super) struct Change {
    fulls: Vec<Full>,
    loras: Vec<Lora>,
    /// Directions of length 1 at right angles, along which nothing is written into the stream; each of shape `(1, hidden_size)`.
    directions: Vec<Tensor>,
}

impl Change {
    /// The change that does what an edit does.
    ///
    /// # Errors
    /// If no change of the weights does.
    pub(super) fn of(edit: &Edit, config: &Config) -> Result<Self> {
        let (mut fulls, mut loras, mut ablations) = (Vec::new(), Vec::new(), Vec::new());
        for part in edit.parts() {
            match part {
                Edit::Full(full) => fulls.push(full.clone()),
                Edit::Lora(lora) => {
                    if !ablations.is_empty() && lora.adapters.iter().any(|a| a.site.layer() == Some(-1)) {
                        return Err(Problem::Order.into());
                    }
                    loras.push(lora.clone());
                }
                Edit::Ablation(ablation) => ablations.push(ablation),
                Edit::Steering(_) | Edit::Composed(_) => return Err(Problem::Steering.into()),
            }
        }
        if !ablations.is_empty() && config.post_norms {
            return Err(Problem::PostNorms.into());
        }
        Ok(Self { fulls, loras, directions: directions(&ablations, config.layers)? })
    }

    /// True if it takes directions out.
    pub(super) fn ablates(&self) -> bool {
        !self.directions.is_empty()
    }

    /// True if a table that was embeddings and head at once can be that no longer.
    pub(super) fn parts_tables(&self) -> bool {
        let tables = [Site::Embeddings, Site::Lookup, Site::Head];
        let adapts = |lora: &Lora| lora.adapters.iter().any(|a| tables.contains(&a.site));
        self.ablates() || self.loras.iter().any(adapts)
    }

    /// The weight of that name after the change; `table` is the name that the weight has before it, another where embeddings and head
    /// were one.
    pub(super) fn of_weight(&self, name: &str, table: &str, weight: Tensor) -> Result<Tensor> {
        let mut weight = weight;
        for full in &self.fulls {
            weight = full.added_to(table, &weight)?;
        }
        if name == EMBEDDINGS {
            return self.of_embeddings(weight);
        }
        for (adapter, scale) in self.adapters().filter(|(a, _)| weight_of(a.site).as_deref() == Some(name)) {
            weight = (weight + (at_hand(&adapter.b)?.matmul(&at_hand(&adapter.a)?)? * scale)?)?;
        }
        let writes = |projection: &Projection| name.ends_with(&format!(".{}.weight", projection.path()));
        if WRITING.iter().any(writes) {
            for direction in &self.directions {
                let along = direction.matmul(&weight)?;
                weight = (weight - direction.t()?.matmul(&along)?)?;
            }
        }
        Ok(weight)
    }

    /// The embedding table, of which each row is a token's.
    fn of_embeddings(&self, table: Tensor) -> Result<Tensor> {
        let mut changed = table.clone();
        for (adapter, scale) in self.adapters() {
            let (a, b) = (at_hand(&adapter.a)?, at_hand(&adapter.b)?.t()?);
            let inner = match adapter.site {
                Site::Embeddings => table.matmul(&a.t()?)?,
                Site::Lookup => a.t()?.contiguous()?,
                _ => continue,
            };
            changed = (changed + (inner.matmul(&b)? * scale)?)?;
        }
        for direction in &self.directions {
            let along = changed.matmul(&direction.t()?)?;
            changed = (changed - along.matmul(direction)?)?;
        }
        Ok(changed)
    }

    fn adapters(&self) -> impl Iterator<Item = (&Adapter, f64)> {
        self.loras.iter().flat_map(|lora| lora.adapters.iter().map(move |adapter| (adapter, lora.scale())))
    }
}

/// The weight at an adapter's site, where it is that of a projection or the head.
fn weight_of(site: Site) -> Option<String> {
    match site {
        Site::Embeddings | Site::Lookup => None,
        Site::Head => Some(HEAD.into()),
        Site::Projection { .. } => Some(format!("{}.weight", site.module())),
    }
}

fn at_hand(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?)
}

/// The directions of ablations that take each of them out whole, everywhere.
fn directions(ablations: &[&Ablation], layers: usize) -> Result<Vec<Tensor>> {
    let mut found: Vec<(Vec<f64>, Vec<i32>)> = Vec::new();
    for ablation in ablations {
        if ablation.factor != 1.0 {
            return Err(Problem::Factor { factor: ablation.factor }.into());
        }
        let wide = ablation.direction.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        let numbers = wide.to_vec1::<f64>()?;
        let length = dot(&numbers, &numbers).sqrt();
        let unit: Vec<f64> = numbers.iter().map(|number| number / length).collect();
        let same = |(known, _): &&mut (Vec<f64>, Vec<i32>)| dot(known, &unit).abs() >= SAME;
        match found.iter_mut().find(same) {
            Some((_, at)) => at.push(ablation.layer),
            None => found.push((unit, vec![ablation.layer])),
        }
    }
    let every: Vec<i32> = (-1..layers as i32).collect();
    for (_, at) in &mut found {
        at.sort_unstable();
        at.dedup();
        if *at != every {
            return Err(Problem::Layers { found: at.clone(), layers }.into());
        }
    }
    for (index, (one, _)) in found.iter().enumerate() {
        let cosines = found[..index].iter().map(|(other, _)| dot(one, other));
        if let Some(cosine) = cosines.into_iter().find(|cosine| cosine.abs() > RIGHT_ANGLE) {
            return Err(Problem::Angle { cosine }.into());
        }
    }
    let tensor = |(unit, _): (Vec<f64>, Vec<i32>)| {
        let width = unit.len();
        Ok(Tensor::from_vec(unit, (1, width), &Device::Cpu)?.to_dtype(DType::F32)?)
    };
    found.into_iter().map(tensor).collect()
}

fn dot(one: &[f64], two: &[f64]) -> f64 {
    one.iter().zip(two).map(|(a, b)| a * b).sum()
}
