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

/// Which of an edit's tensors.
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

    /// Whether an edit has tensors of this part.
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
