//! Edits: changes that act on a model and leave its own weights as they are.
//!
//! An edit acts at *sites*: the residual stream after a block (steering vector, ablation), one linear projection of a
//! block or on the embeddings (LoRA), or every weight (full fine-tune). Edits compose: full fine-tunes change the weights
//! on which the others act, vectors and LoRAs add their effects, and an ablation takes its direction out of what the parts
//! before it have made. They scale by a factor. Their tensors may be candle variables;
//! gradients then reach them.
//!
//! [`open`] reads an edit from what a user names, [`Edit::save`] and [`export_peft`] write one.

mod check;
mod full;
mod gguf;
mod join;
mod layers;
mod mark;
mod names;
mod native;
mod norm;
mod open;
mod peft;
pub mod pickle;
mod problem;
mod span;
mod spectrum;
mod summary;
mod table;
mod tensors;
pub mod torch;
mod vector;

use candle_core::{Device, Tensor};

pub use full::Full;
pub(crate) use full::Life;
pub use gguf::Problem as GgufProblem;
pub use layers::layers_in_words;
pub use open::{Opened, Source, convert, is_file_name, open, read, read_for, read_unplaced};
pub use peft::{BaseModel, export_peft};
pub use problem::Problem;
pub(crate) use problem::in_file;
pub use summary::{Kind, LoraSummary, SiteSummary, Spectrum, Summary, WholeSpectrum};

pub use crate::config::Projection;
use crate::{Config, Result};
use names::Half;

/// h <- h + v at the output of one block, at every position (paper §7).
#[derive(Clone, Debug)]
pub struct SteeringVector {
    /// The block after which it acts, counted from 0; -1 is the embeddings.
    pub layer: i32,
    /// The vector that is added, shape `(hidden_size)`, f32. A factor given in a file is folded in.
    pub vector: Tensor,
}

/// h <- h - factor * (h . d) d at the output of one block, at every position, with d the direction at length 1 (paper
/// §13): with factor 1 nothing along the direction is left.
#[derive(Clone, Debug)]
pub struct Ablation {
    /// The block after which it acts, counted from 0; -1 is the embeddings.
    pub layer: i32,
    /// The direction, of any length but zero; shape `(hidden_size)`.
    pub direction: Tensor,
    /// The share that is taken out.
    pub factor: f64,
}

impl Ablation {
    /// The direction at length 1.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn unit(&self) -> Result<Tensor> {
        let length = self.direction.sqr()?.sum_all()?.sqrt()?;
        Ok(self.direction.broadcast_div(&length)?)
    }
}

/// The place where an adapter acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// On the embeddings: h <- h + scale * B A h before the first block, which a change of the embedding table would do.
    Embeddings,
    /// On the embedding table, as PEFT adapts it: a token's embedding is that of the table plus scale * B A, with A's column
    /// for the token. Where a model scales its embeddings, it scales this with them.
    Lookup,
    /// A projection of a block.
    Projection {
        /// The block, counted from 0.
        layer: usize,
        /// The projection.
        projection: Projection,
    },
    /// On the head: logits are W h + scale * B A h. The head alone, also where its table is that of the embeddings.
    Head,
}

impl Site {
    /// The sites in a layer: the projections of a block, or where the layer is -1 the embeddings.
    pub fn of_layer(layer: i32, projections: &[Projection]) -> Vec<Self> {
        match usize::try_from(layer) {
            Ok(layer) => {
                projections.iter().map(|&projection| Self::Projection { layer, projection }).collect()
            }
            Err(_) => vec![Self::Embeddings],
        }
    }

    /// The block, -1 for the embeddings; the head belongs to none.
    pub fn layer(self) -> Option<i32> {
        match self {
            Self::Embeddings | Self::Lookup => Some(-1),
            Self::Projection { layer, .. } => Some(i32::try_from(layer).unwrap_or(i32::MAX)),
            Self::Head => None,
        }
    }

    /// Input and output width on a model.
    pub fn size(self, config: &Config) -> (usize, usize) {
        match self {
            Self::Embeddings => (config.hidden_size, config.hidden_size),
            Self::Lookup => (config.vocab_size, config.hidden_size),
            Self::Projection { projection, .. } => config.projection_size(projection),
            Self::Head => (config.hidden_size, config.vocab_size),
        }
    }

    /// The module under Hugging Face's names, such as `model.layers.24.mlp.down_proj`.
    pub fn module(self) -> String {
        names::module(self)
    }
}

/// The low-rank change at one site: y <- y + scale * B A x.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Its site.
    pub site: Site,
    /// Shape `(rank, in)`.
    pub a: Tensor,
    /// Shape `(out, rank)`.
    pub b: Tensor,
}

/// Low-rank adapters that share one rank and one alpha.
#[derive(Clone, Debug)]
pub struct Lora {
    /// The adapters, each at another site.
    pub adapters: Vec<Adapter>,
    /// Rank r of every adapter.
    pub rank: usize,
    /// Alpha of every adapter.
    pub alpha: f64,
    /// True if the scale is alpha / sqrt(r) instead of alpha / r.
    pub rslora: bool,
    /// Factor by which the whole edit is scaled (`E*2.5`); 1 as trained.
    pub factor: f64,
}

impl Lora {
    /// The factor on B A x: `factor * alpha / r`, with rsLoRA `factor * alpha / sqrt(r)`.
    pub fn scale(&self) -> f64 {
        let r = self.rank as f64;
        self.factor * self.alpha / if self.rslora { r.sqrt() } else { r }
    }
}

/// A change to a model, whose own weights stay as they are.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A vector added to the residual stream.
    Steering(SteeringVector),
    /// Low-rank changes of projections.
    Lora(Lora),
    /// A direction taken out of the residual stream.
    Ablation(Ablation),
    /// A change of every weight.
    Full(Full),
    /// Several edits at once, in this order.
    Composed(Vec<Edit>),
}

impl Adapter {
    /// A and B under PEFT's names; on the residual stream of the embeddings, which PEFT does not know, under names of the same
    /// form.
    fn named_tensors(&self) -> [(String, Tensor); 2] {
        [(Half::A, &self.a), (Half::B, &self.b)].map(|(half, tensor)| {
            let name = names::lora(self.site, half);
            (name, tensor.clone())
        })
    }
}

/// An edit that is no composition.
#[derive(Clone, Copy)]
enum Leaf<'a> {
    Steering(&'a SteeringVector),
    Lora(&'a Lora),
    Ablation(&'a Ablation),
    Full(&'a Full),
}

impl Edit {
    /// Several edits at once; compositions among them are taken apart, and one edit alone stays itself.
    pub fn composed(edits: impl IntoIterator<Item = Self>) -> Self {
        let mut parts = Vec::new();
        for edit in edits {
            match edit {
                Self::Composed(inner) => parts.extend(inner),
                single => parts.push(single),
            }
        }
        match parts.len() {
            1 => parts.remove(0),
            _ => Self::Composed(parts),
        }
    }

    /// The same edit, `factor` times as strong. A vector is multiplied; a LoRA and a full fine-tune remember the factor, and so
    /// does an ablation, which takes out that much of what lies along its direction. Of a composition that adds something, what
    /// it adds is scaled: an ablation behind it takes out what it did, since more than all there is no taking out.
    ///
    /// # Errors
    /// If the factor is not finite.
    pub fn scaled(&self, factor: f64) -> Result<Self> {
        if !factor.is_finite() {
            return Err(Problem::Factor { factor }.into());
        }
        Ok(match self {
            Self::Steering(steering) => Self::Steering(SteeringVector {
                layer: steering.layer,
                vector: times(&steering.vector, factor)?,
            }),
            Self::Lora(lora) => Self::Lora(Lora { factor: lora.factor * factor, ..lora.clone() }),
            Self::Ablation(ablation) => {
                Self::Ablation(Ablation { factor: ablation.factor * factor, ..ablation.clone() })
            }
            Self::Full(full) => Self::Full(full.scaled(factor)),
            Self::Composed(edits) => {
                let adds = self.leaves().any(|leaf| !matches!(leaf, Leaf::Ablation(_)));
                let scaled = |edit: &Self| match edit {
                    Self::Ablation(_) if adds => Ok(edit.clone()),
                    other => other.scaled(factor),
                };
                Self::Composed(edits.iter().map(scaled).collect::<Result<_>>()?)
            }
        })
    }

    /// This edit after another one, where there is one.
    #[must_use]
    pub fn after(self, before: Option<&Self>) -> Self {
        Self::composed(before.cloned().into_iter().chain([self]))
    }

    /// The same edit with its tensors on a device, such as that of the model which it is for.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        self.each(&|tensor| tensor.to_device(device), &|full| full.to_device(device))
    }

    /// The same edit, on the same numbers, with tensors that are no variables: a pass under it keeps nothing for a way back.
    pub fn detached(&self) -> Self {
        let detached = self.each(&|tensor| Ok(tensor.detach()), &|full| Ok(full.clone()));
        detached.expect("neither of both fails")
    }

    /// The same edit, as far as possible on numbers of its own.
    ///
    /// # Errors
    /// If a tensor cannot be copied.
    pub fn copied(&self) -> Result<Self> {
        self.each(&|tensor| tensor.detach().copy(), &|full| Ok(full.clone()))
    }

    /// The same edit with other tensors and other full fine-tunes.
    fn each(
        &self,
        tensor: &impl Fn(&Tensor) -> candle_core::Result<Tensor>,
        full: &impl Fn(&Full) -> Result<Full>,
    ) -> Result<Self> {
        Ok(match self {
            Self::Steering(steering) => {
                Self::Steering(SteeringVector { vector: tensor(&steering.vector)?, ..steering.clone() })
            }
            Self::Lora(lora) => {
                let mut lora = lora.clone();
                for adapter in &mut lora.adapters {
                    adapter.a = tensor(&adapter.a)?;
                    adapter.b = tensor(&adapter.b)?;
                }
                Self::Lora(lora)
            }
            Self::Ablation(ablation) => {
                Self::Ablation(Ablation { direction: tensor(&ablation.direction)?, ..ablation.clone() })
            }
            Self::Full(one) => Self::Full(full(one)?),
            Self::Composed(edits) => {
                Self::Composed(edits.iter().map(|edit| edit.each(tensor, full)).collect::<Result<_>>()?)
            }
        })
    }

    /// The vectors, LoRAs, ablations and full fine-tunes in it, in order, through all compositions; none of them is a composition.
    pub fn parts(&self) -> impl Iterator<Item = &Self> {
        let mut parts = Vec::new();
        let mut rest = vec![self];
        while let Some(edit) = rest.pop() {
            match edit {
                Self::Composed(edits) => rest.extend(edits.iter().rev()),
                single => parts.push(single),
            }
        }
        parts.into_iter()
    }

    /// The adapters of its LoRAs, in order, each with its scale: the factor on B A x.
    pub fn adapters(&self) -> impl Iterator<Item = (&Adapter, f64)> {
        self.parts().filter_map(Self::as_lora).flat_map(|lora| {
            let scale = lora.scale();
            lora.adapters.iter().map(move |adapter| (adapter, scale))
        })
    }

    fn as_lora(&self) -> Option<&Lora> {
        match self {
            Self::Lora(lora) => Some(lora),
            _ => None,
        }
    }

    /// The parts, for a match.
    fn leaves(&self) -> impl Iterator<Item = Leaf<'_>> {
        self.parts().filter_map(|part| match part {
            Self::Steering(steering) => Some(Leaf::Steering(steering)),
            Self::Lora(lora) => Some(Leaf::Lora(lora)),
            Self::Ablation(ablation) => Some(Leaf::Ablation(ablation)),
            Self::Full(full) => Some(Leaf::Full(full)),
            Self::Composed(_) => None,
        })
    }

    /// The first block whose output the edit changes, -1 for the embeddings; none for an edit of nothing or of the head alone.
    pub fn first_layer(&self) -> Option<i32> {
        self.leaves().flat_map(Leaf::layers).min()
    }

    /// The blocks whose output it changes first, ascending and each once; -1 is the embeddings.
    pub fn layers(&self) -> Vec<i32> {
        layers::ascending(self.leaves().flat_map(Leaf::layers))
    }

    /// All tensors under stable names: `steering.24`, `ablation.24`, for adapters PEFT's, and for what a weight changes by
    /// `delta.model.norm.weight`. In a composition each name starts with the part's index: `0.steering.24`.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.named_leaves()
            .flat_map(|(prefix, leaf)| {
                let tensors = leaf.tensors().into_iter();
                tensors.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
            })
            .collect()
    }

    /// The steering vectors in it, in order, where it is nothing else.
    pub fn vectors(&self) -> Option<Vec<&SteeringVector>> {
        let vector = |leaf| match leaf {
            Leaf::Steering(vector) => Some(vector),
            Leaf::Lora(_) | Leaf::Ablation(_) | Leaf::Full(_) => None,
        };
        self.leaves().map(vector).collect()
    }

    /// The leaves, each with what its names start with: its index in a composition, nothing otherwise.
    fn named_leaves(&self) -> impl Iterator<Item = (String, Leaf<'_>)> {
        let composed = matches!(self, Self::Composed(_));
        self.leaves().enumerate().map(move |(index, leaf)| {
            let prefix = if composed { format!("{index}.") } else { String::new() };
            (prefix, leaf)
        })
    }
}

impl Leaf<'_> {
    /// The blocks whose output it changes first, one for each of its sites but the head.
    fn layers(self) -> Vec<i32> {
        match self {
            Self::Steering(steering) => vec![steering.layer],
            Self::Lora(lora) => lora.adapters.iter().filter_map(|adapter| adapter.site.layer()).collect(),
            Self::Ablation(ablation) => vec![ablation.layer],
            Self::Full(full) => {
                full.deltas().iter().filter_map(|(name, _)| names::layer_of_weight(name)).collect()
            }
        }
    }

    fn tensors(self) -> Vec<(String, Tensor)> {
        match self {
            Self::Steering(SteeringVector { layer, vector }) => {
                vec![(names::steering(*layer), vector.clone())]
            }
            Self::Ablation(Ablation { layer, direction, .. }) => {
                vec![(names::ablation(*layer), direction.clone())]
            }
            Self::Lora(lora) => {
                let named = lora.adapters.iter().flat_map(Adapter::named_tensors);
                named.collect()
            }
            Self::Full(full) => {
                let named = full.deltas().iter();
                named.map(|(name, delta)| (names::delta(name), delta.clone())).collect()
            }
        }
    }
}

/// A tensor times a factor; a factor of 1 changes no bit, not even the sign of a zero.
fn times(tensor: &Tensor, factor: f64) -> Result<Tensor> {
    Ok(if factor == 1.0 { tensor.clone() } else { (tensor * factor)? })
}
