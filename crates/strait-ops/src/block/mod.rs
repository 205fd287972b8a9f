//! A block of the decoder as one operation, with what an edit adds to its projections.
//!
//! Composed of small operations, a block keeps every tensor on its way for the backward pass and passes over memory for each.
//! As one operation it keeps the few that cannot be had again for the price of a pass over memory.

mod adapted;
mod backward;
mod forward;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use adapted::Adapted;
pub use adapted::Adapter;
use forward::Kept;

use super::{AttentionShape, Linear, RopeTable, Spans, cpu, fused, gradients, memory};
use crate::{Activation, Projection};

/// The weights of a block.
#[derive(Clone, Debug)]
pub struct BlockWeights {
    /// The norm before attention, shape `(hidden_size)`.
    pub attention_norm: Tensor,
    /// In the order of [`Projection::ALL`].
    pub projections: Vec<Linear>,
    /// The norm of every head of the queries, shape `(head_dim)`.
    pub q_norm: Option<Tensor>,
    /// The norm of every head of the keys, shape `(head_dim)`.
    pub k_norm: Option<Tensor>,
    /// The norm after attention, shape `(hidden_size)`.
    pub attention_post_norm: Option<Tensor>,
    /// The norm before the MLP, shape `(hidden_size)`.
    pub mlp_norm: Tensor,
    /// The norm after the MLP, shape `(hidden_size)`.
    pub mlp_post_norm: Option<Tensor>,
}

impl BlockWeights {
    /// All its tensors that are in memory.
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let norms = [&self.attention_norm, &self.mlp_norm].into_iter();
        let optional = [&self.q_norm, &self.k_norm, &self.attention_post_norm, &self.mlp_post_norm];
        let projections =
            self.projections.iter().flat_map(|p| p.weight.in_memory().into_iter().chain(&p.bias));
        norms.chain(optional.into_iter().flatten()).chain(projections)
    }
}

/// A block of one pass.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its weights.
    pub weights: Arc<BlockWeights>,
    /// The adapters of each projection, in the order of [`Projection::ALL`].
    pub adapters: Vec<Vec<Adapter>>,
    /// The settings of its attention.
    pub shape: AttentionShape,
    /// The sequences.
    pub spans: Spans,
    /// The rotations of every token.
    pub rope: RopeTable,
    /// The number that is added to mean squares.
    pub norm_eps: f64,
    /// The activation of the MLP's gate.
    pub activation: Activation,
}

impl Block {
    /// True if [`apply`](Self::apply) can carry this stream: f32 on the CPU, and every tensor that gets a gradient is a variable
    /// itself, since the gradients go to them and no further.
    pub fn is_one_operation(&self, stream: &Tensor) -> bool {
        fused(stream) && self.tensors().all(|tensor| !tensor.track_op() || tensor.is_variable())
    }

    /// Carries the residual stream through the block.
    ///
    /// # Shapes
    /// - `stream`, result: `(tokens, hidden_size)`
    ///
    /// # Errors
    /// If the shapes disagree.
    pub fn apply(self, stream: &Tensor) -> Result<Tensor> {
        self.check(stream)?;
        let trains = self.tensors().any(Tensor::track_op);
        let keeps = trains || stream.track_op();
        let operation = Operation { block: self, keeps, kept: Mutex::default() };
        let stream = stream.contiguous()?;
        match trains {
            true => stream.apply_op2(&gradients::anchor()?, operation),
            false => stream.apply_op1(operation),
        }
    }

    fn check(&self, stream: &Tensor) -> Result<()> {
        let tokens = stream.dim(0)?;
        let out = |projection| Result::Ok([tokens, self.out(projection)?]);
        let [q, k, v] = [Projection::Q, Projection::K, Projection::V].map(out);
        self.shape.check(&q?, &k?, &v?, &self.spans)?;
        let fits = |projection: Projection| {
            let Adapted { linear, adapters } = self.adapted(projection);
            let fits = |adapter: &Adapter| {
                let (a, b, weight) = (adapter.a.dims(), adapter.b.dims(), linear.weight.dims());
                a.len() == 2 && b.len() == 2 && a[0] == b[1] && [b[0], a[1]] == *weight
            };
            adapters.iter().all(fits)
        };
        let width = self.weights.attention_norm.elem_count();
        if stream.dims() != [tokens, width] || self.rope.tokens() != tokens {
            candle_core::bail!(
                "a stream of {:?} for a block of {width} and {} positions",
                stream.shape(),
                self.rope.tokens()
            );
        }
        if let Some(other) = Projection::ALL.into_iter().find(|&projection| !fits(projection)) {
            candle_core::bail!("an adapter of {} has another shape than the projection", other.name());
        }
        Ok(())
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let adapters = self.adapters.iter().flatten().flat_map(|adapter| [&adapter.a, &adapter.b]);
        self.weights.tensors().chain(adapters)
    }

    fn adapted(&self, projection: Projection) -> Adapted<'_> {
        let index = projection as usize;
        Adapted { linear: &self.weights.projections[index], adapters: &self.adapters[index] }
    }
}

/// The operation of one pass.
struct Operation {
    block: Block,
    /// True if a backward pass may come.
    keeps: bool,
    /// The parts of the forward pass that were kept for it.
    kept: Mutex<Option<Kept>>,
}

impl Operation {
    fn run(&self, stream: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let stream = cpu::slice(stream, layout)?;
        let mut y = stream.to_vec();
        let kept = self.block.forward(stream, &mut y)?;
        if self.keeps && memory::has_room() {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// The gradient of the stream, where it is asked for.
    fn run_back(&self, stream: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let dx = cpu::with_slices([stream, grad], |[x, dy]| {
            let kept = match kept {
                Some(kept) => kept,
                None => self.block.forward(x, &mut x.to_vec())?,
            };
            self.block.backward(x, kept, dy, stream.track_op())
        })?;
        dx.map(|dx| Tensor::from_vec(dx, stream.shape(), stream.device())).transpose()
    }
}

impl CustomOp1 for Operation {
    fn name(&self) -> &'static str {
        "block"
    }

    fn cpu_fwd(&self, stream: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run(stream, layout)
    }

    fn bwd(&self, stream: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        self.run_back(stream, grad)
    }
}

impl CustomOp2 for Operation {
    fn name(&self) -> &'static str {
        "block"
    }

    fn cpu_fwd(
        &self,
        stream: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run(stream, layout)
    }

    fn bwd(
        &self,
        stream: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.run_back(stream, grad)?, None))
    }
}
