//! Directions taken out of a model: h <- h - v v'h at every position, v of length 1 (paper §13.3, §13.4).

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use strait_model::{
    Config, Edit,
    decoder::first_changed_point,
    edit::{Ablation, Adapter, Lora, Projection, Site},
};

use super::{Problem, Set, Variant};
use crate::{Error, Result, table::Word};

/// The places at which directions are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// After each block, and at the embeddings, the direction that is of that layer; where there is none, nothing.
    Own,
    /// The direction of one layer, after every block and at the embeddings.
    Everywhere,
    /// The direction of one layer, after that block.
    Layer,
    /// The direction of one layer, out of B of every adapter that writes into the stream: of `o_proj` and `down_proj` in every
    /// block, and of the embeddings. What the adapters then write has nothing along it; the stream itself is left alone.
    Lora,
}

impl Mode {
    /// Each with its name, as a study writes it.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("own", Self::Own), ("everywhere", Self::Everywhere), ("layer", Self::Layer), ("lora", Self::Lora)];

    /// True if one layer's direction is used.
    pub fn is_of_one_layer(self) -> bool {
        self != Self::Own
    }
}

impl Word for Mode {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Own, "own"), (Self::Everywhere, "everywhere"), (Self::Layer, "layer"), (Self::Lora, "lora")];
}

/// An edit without some directions: where there are several, without all that lies in the subspace which they span. None where none of
/// them has any length there.
///
/// # Errors
/// If directions do not fit the edit or the model.
pub fn without(
    edit: Option<&Edit>,
    sets: &[Set],
    mode: Mode,
    layer: i32,
    config: &Config,
) -> Result<Option<Variant>> {
    let at = |layer: i32| -> Vec<Tensor> {
        sets.iter().filter_map(|set| set.at(layer)).map(|vector| vector.vector.clone()).collect()
    };
    let after = |layer: i32, directions: &[Tensor]| -> Result<Vec<Edit>> {
        Ok(Ablation::of_span(layer, directions)?.into_iter().map(Edit::Ablation).collect())
    };
    let every_layer = || -1..config.layers as i32;
    let parts: Vec<Vec<Edit>> = match mode {
        Mode::Own => every_layer().map(|layer| after(layer, &at(layer))).collect::<Result<_>>()?,
        Mode::Everywhere => {
            let directions = at(layer);
            every_layer().map(|layer| after(layer, &directions)).collect::<Result<_>>()?
        }
        Mode::Layer => vec![after(layer, &at(layer))?],
        Mode::Lora => return out_of_b(edit, &at(layer), config),
    };
    let parts: Vec<Edit> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return Ok(None);
    }
    Ok(Some(Variant::with(edit, Edit::composed(parts), config.layers)))
}

/// An edit whose adapters write nothing along some directions.
fn out_of_b(edit: Option<&Edit>, directions: &[Tensor], config: &Config) -> Result<Option<Variant>> {
    let problem = |problem| Error::Input { place: crate::error::Place::Nowhere, problem: Box::new(problem) };
    if config.post_norms {
        return Err(problem(Problem::NormedWrites));
    }
    if !edit.is_some_and(writes_into_stream) {
        return Err(problem(Problem::NoAdapter));
    }
    let Some(edit) = edit.filter(|_| !directions.is_empty()) else { return Ok(None) };
    let basis = Ablation::of_span(-1, directions)?;
    let units = basis.iter().map(Ablation::unit).collect::<strait_model::Result<Vec<_>>>()?;
    let changed = edit.parts().map(|part| match part {
        Edit::Lora(lora) => {
            let adapters = lora.adapters.iter().map(|adapter| match writes(adapter) {
                true => Ok(Adapter { b: beside(&adapter.b, &units)?, ..adapter.clone() }),
                false => Ok(adapter.clone()),
            });
            Ok(Edit::Lora(Lora { adapters: adapters.collect::<Result<_>>()?, ..lora.clone() }))
        }
        other => Ok(other.clone()),
    });
    let changed = Edit::composed(changed.collect::<Result<Vec<_>>>()?);
    Ok(Some(Variant { edit: Some(changed), from: first_changed_point(edit, config.layers) }))
}

/// True if an edit has an adapter that writes into the residual stream.
pub fn writes_into_stream(edit: &Edit) -> bool {
    edit.parts().any(|part| matches!(part, Edit::Lora(lora) if lora.adapters.iter().any(writes)))
}

/// True if what an adapter makes is added to the residual stream.
fn writes(adapter: &Adapter) -> bool {
    match adapter.site {
        Site::Embeddings | Site::Lookup => true,
        Site::Projection { projection, .. } => matches!(projection, Projection::O | Projection::Down),
        Site::Head => false,
    }
}

/// B - v v'B for every unit vector v, in f64.
fn beside(b: &Tensor, units: &[Tensor]) -> Result<Tensor> {
    let mut left = b.detach().to_dtype(DType::F64)?;
    for unit in units {
        let unit = unit.to_dtype(DType::F64)?.unsqueeze(1)?;
        let along = unit.t()?.matmul(&left)?;
        left = (left - unit.matmul(&along)?)?;
    }
    Ok(left.to_dtype(b.dtype())?)
}

/// The layers at which sets have a direction of some length.
pub(super) fn layers_of(sets: &[Set]) -> Vec<i32> {
    let all = sets.iter().flat_map(|set| set.layers().map(|layer| (layer, ())));
    all.collect::<BTreeMap<_, _>>().into_keys().collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn b_keeps_nothing_along_any_of_the_directions() {
        let numbers = |seed: f32, shape: &[usize]| {
            let count = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..count).map(|i| (seed * (i as f32 + 1.0)).sin()).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let (b, directions) = (numbers(0.7, &[8, 3]), [numbers(1.1, &[8]), numbers(2.3, &[8])]);
        let units: Vec<Tensor> =
            Ablation::of_span(0, &directions).unwrap().iter().map(|a| a.unit().unwrap()).collect();
        let left = beside(&b, &units).unwrap();
        let along = |b: &Tensor, direction: &Tensor| {
            let along = direction.unsqueeze(0).unwrap().matmul(b).unwrap();
            along.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
        };
        for direction in &directions {
            assert!(along(&b, direction) > 0.1 && along(&left, direction) < 1e-5);
        }
        let again = beside(&left, &units).unwrap();
        let difference =
            (again - &left).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(difference < 1e-6, "{difference}");
    }
}
