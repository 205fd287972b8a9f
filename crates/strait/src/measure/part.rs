//! The tensors of an edit by the part that they play.

use candle_core::Tensor;
use strait_model::{
    Edit,
    edit::{Ablation, Adapter, Lora, SteeringVector},
};

use crate::{Result, table::Word};

/// The kind of an edit, one word. Norms of different kinds live in different spaces and do not compare.
pub fn kind(edit: &Edit) -> &'static str {
    match edit {
        Edit::Steering(_) => "steering",
        Edit::Lora(_) => "lora",
        Edit::Ablation(_) => "ablation",
        Edit::Full(_) => "full",
        Edit::Composed(_) => "composed",
    }
}

/// A part of an edit: tensors that play the same role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Steering vectors.
    Vector,
    /// Each A of a LoRA.
    A,
    /// Each B of a LoRA.
    B,
    /// Directions of ablations.
    Direction,
    /// The changes of each weight in a full fine-tune.
    Weight,
}

impl Word for Part {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Vector, "vector"),
        (Self::A, "A"),
        (Self::B, "B"),
        (Self::Direction, "direction"),
        (Self::Weight, "weight"),
    ];
}

impl Part {
    /// All parts.
    pub(super) const ALL: [Self; 5] = [Self::Vector, Self::A, Self::B, Self::Direction, Self::Weight];

    /// The part that training moves away from nothing: the vector, or each B. None where an edit has neither.
    pub(super) fn grown(edit: &Edit) -> Option<Self> {
        [Self::Vector, Self::B].into_iter().find(|part| part.is_in(edit))
    }

    /// True if an edit has tensors of this part.
    pub(super) fn is_in(self, edit: &Edit) -> bool {
        edit.parts().any(|part| match part {
            Edit::Steering(_) => self == Self::Vector,
            Edit::Lora(_) => matches!(self, Self::A | Self::B),
            Edit::Ablation(_) => self == Self::Direction,
            Edit::Full(_) => self == Self::Weight,
            Edit::Composed(_) => false,
        })
    }
}

/// The names and sizes of an edit's tensors, as text: what has the same lies in one space.
pub(super) fn shape(edit: &Edit) -> String {
    let tensors = edit.tensors().into_iter();
    tensors.map(|(name, tensor)| format!("{name} {:?}\n", tensor.dims())).collect()
}

/// The edit with each of its tensors replaced by what `change` makes of it, in order.
pub(super) fn with_tensors(
    edit: &Edit,
    change: &mut dyn FnMut(Part, &Tensor) -> Result<Tensor>,
) -> Result<Edit> {
    Ok(match edit {
        Edit::Steering(steering) => Edit::Steering(SteeringVector {
            layer: steering.layer,
            vector: change(Part::Vector, &steering.vector)?,
        }),
        Edit::Lora(lora) => {
            let mut adapters = Vec::with_capacity(lora.adapters.len());
            for adapter in &lora.adapters {
                let (a, b) = (change(Part::A, &adapter.a)?, change(Part::B, &adapter.b)?);
                adapters.push(Adapter { a, b, ..*adapter });
            }
            Edit::Lora(Lora { adapters, ..*lora })
        }
        Edit::Ablation(ablation) => {
            Edit::Ablation(Ablation { direction: change(Part::Direction, &ablation.direction)?, ..*ablation })
        }
        Edit::Full(full) => Edit::Full(full.with_deltas(|delta| change(Part::Weight, delta))?),
        Edit::Composed(edits) => {
            Edit::Composed(edits.iter().map(|edit| with_tensors(edit, change)).collect::<Result<_>>()?)
        }
    })
}

/// One part of an edit, one number behind the other, in the order of its tensors.
///
/// # Errors
/// If a tensor operation fails.
pub fn flat(edit: &Edit, part: Part) -> Result<Vec<f64>> {
    collect(edit, part, numbers)
}

/// The values of `of` for each tensor of a part, one behind the other.
pub(super) fn collect(edit: &Edit, part: Part, of: impl Fn(&Tensor) -> Result<Vec<f64>>) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    with_tensors(edit, &mut |found, tensor| {
        if found == part {
            all.extend(of(tensor)?);
        }
        Ok(tensor.clone())
    })?;
    Ok(all)
}

/// A tensor's numbers, one behind the other.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.detach().flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}
