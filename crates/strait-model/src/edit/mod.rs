//! Edits: small changes that act on a model without touching its weights.
//!
//! An edit acts at *sites*: the residual stream after a block (steering vector), or one linear projection (LoRA). Edits
//! compose by adding their effects and scale by a factor. Their tensors may be candle variables; gradients then reach them.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// One of the seven linear projections of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Projection {
    /// Queries of the attention.
    Q,
    /// Keys of the attention.
    K,
    /// Values of the attention.
    V,
    /// Output of the attention.
    O,
    /// Gate of the MLP.
    Gate,
    /// Up projection of the MLP.
    Up,
    /// Down projection of the MLP.
    Down,
}

impl Projection {
    /// All seven, in the order of a block's computation.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Path inside a block under Hugging Face's names, such as `mlp.down_proj`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }
}

/// h <- h + v at the output of one block, at every position (paper §7).
#[derive(Clone, Debug)]
pub struct SteeringVector {
    /// The block after which it acts, counted from 0; -1 is the embeddings.
    pub layer: i32,
    /// What is added, shape `(hidden_size)`, f32. A factor given in a file is folded in.
    pub vector: Tensor,
}

/// The low-rank change of one projection: y <- y + scale * B A x.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The block, counted from 0.
    pub layer: usize,
    /// The projection in the block.
    pub projection: Projection,
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
    /// Whether the scale is alpha / sqrt(r) instead of alpha / r.
    pub rslora: bool,
    /// Factor by which the whole edit is scaled (`E*2.5`); 1 as trained.
    pub factor: f64,
}

impl Lora {
    /// What B A x is multiplied by: `factor * alpha / r`, with rsLoRA `factor * alpha / sqrt(r)`.
    pub fn scale(&self) -> f64 {
        let r = self.rank as f64;
        self.factor * self.alpha / if self.rslora { r.sqrt() } else { r }
    }
}

/// A change to a model that never touches its weights.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A vector added to the residual stream.
    Steering(SteeringVector),
    /// Low-rank changes of projections.
    Lora(Lora),
    /// Several edits at once; their effects add.
    Composed(Vec<Edit>),
}

/// What is wrong with an edit or its file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {}

impl Problem {
    /// The remedy.
    pub fn hint(&self) -> String {
        match *self {}
    }
}
