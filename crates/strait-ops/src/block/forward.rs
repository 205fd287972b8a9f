//! The forward pass of a block.

use candle_core::{Result, Tensor};

use super::Block;
use crate::{
    Projection,
    attention::{Fused, Mixed},
    cpu, gated,
    memory::Memory,
    norm::Norm,
    rope,
};

/// The parts of a forward pass that its backward pass needs. Norms and gates are computed again.
pub(super) struct Kept {
    /// Queries and keys as attention takes them, and values.
    pub(super) q: Memory,
    pub(super) k: Memory,
    pub(super) v: Memory,
    /// Queries and keys before their norms, where there are some.
    pub(super) raw_q: Option<Memory>,
    pub(super) raw_k: Option<Memory>,
    /// The result of attention.
    pub(super) mixed: Mixed,
    /// The output projection's result, where a norm follows.
    pub(super) attended: Option<Memory>,
    /// The stream between attention and the MLP.
    pub(super) middle: Memory,
    pub(super) gate: Memory,
    pub(super) up: Memory,
    /// The down projection's result, where a norm follows.
    pub(super) down: Option<Memory>,
    /// A x of the adapters of every projection, in the order of [`Projection::ALL`].
    pub(super) downs: [Vec<Memory>; 7],
}

impl Block {
    /// Adds to `y`, which is the stream x, what the block adds to it.
    pub(super) fn forward(&self, x: &[f32], y: &mut [f32]) -> Result<Kept> {
        let mut downs = <[Vec<Memory>; 7]>::default();
        let width = self.weights.attention_norm.elem_count();
        let tokens = x.len() / width;

        let normed = self.normed(x, &self.weights.attention_norm)?;
        let mut project = |projection: Projection, x: &[f32]| -> Result<Memory> {
            let mut to = Memory::new(tokens * self.out(projection)?);
            downs[projection as usize] = self.adapted(projection).forward(x, 0.0, &mut to)?;
            Ok(to)
        };
        let (raw_q, q) = self.with_norm(project(Projection::Q, &normed)?, &self.weights.q_norm)?;
        let (raw_k, k) = self.with_norm(project(Projection::K, &normed)?, &self.weights.k_norm)?;
        let v = project(Projection::V, &normed)?;
        drop(normed);
        let (q, k) = (self.rotated(q, 1.0), self.rotated(k, 1.0));
        let mixed = self.attention().forward(&q, &k, &v);
        let (attended, attention_downs) =
            self.add(Projection::O, &mixed.values, &self.weights.attention_post_norm, y)?;

        let mut middle = Memory::new(y.len());
        middle.copy_from_slice(y);
        let normed = self.normed(&middle, &self.weights.mlp_norm)?;
        let gate = project(Projection::Gate, &normed)?;
        let up = project(Projection::Up, &normed)?;
        drop(normed);
        let gated = self.gated(&gate, &up);
        let (down, mlp_downs) = self.add(Projection::Down, &gated, &self.weights.mlp_post_norm, y)?;
        downs[Projection::O as usize] = attention_downs;
        downs[Projection::Down as usize] = mlp_downs;
        Ok(Kept { q, k, v, raw_q, raw_k, mixed, attended, middle, gate, up, down, downs })
    }

    /// Adds a projection of `x` to the stream, by way of a norm where there is one. Returns what the norm was given.
    fn add(
        &self,
        projection: Projection,
        x: &[f32],
        norm: &Option<Tensor>,
        stream: &mut [f32],
    ) -> Result<(Option<Memory>, Vec<Memory>)> {
        let Some(norm) = norm else {
            return Ok((None, self.adapted(projection).forward(x, 1.0, stream)?));
        };
        let mut projected = Memory::new(stream.len());
        let downs = self.adapted(projection).forward(x, 0.0, &mut projected)?;
        let normed = self.normed(&projected, norm)?;
        stream.iter_mut().zip(&*normed).for_each(|(sum, x)| *sum += x);
        Ok((Some(projected), downs))
    }

    pub(super) fn out(&self, projection: Projection) -> Result<usize> {
        Ok(self.weights.projections[projection as usize].weight.dims2()?.0)
    }

    pub(super) fn norm(&self) -> Norm {
        Norm { eps: self.norm_eps as f32 }
    }

    pub(super) fn attention(&self) -> Fused {
        Fused::new(self.shape, &self.spans)
    }

    pub(super) fn normed(&self, x: &[f32], weight: &Tensor) -> Result<Memory> {
        let mut normed = Memory::new(x.len());
        cpu::with_slices([weight], |[weight]| {
            self.norm().forward(x, weight, &mut normed);
            Ok(())
        })?;
        Ok(normed)
    }

    /// The heads before their norm, where there is one, and as they go on.
    fn with_norm(&self, heads: Memory, norm: &Option<Tensor>) -> Result<(Option<Memory>, Memory)> {
        match norm {
            Some(weight) => {
                let normed = self.normed(&heads, weight)?;
                Ok((Some(heads), normed))
            }
            None => Ok((None, heads)),
        }
    }

    /// The heads of every token, rotated by its position, or back by a sign of -1.
    pub(super) fn rotated(&self, mut heads: Memory, sign: f32) -> Memory {
        let width = heads.len() / self.rope.tokens().max(1);
        rope::Fused { table: self.rope.clone(), sign }.rotate(&mut heads, width);
        heads
    }

    fn gated(&self, gate: &[f32], up: &[f32]) -> Memory {
        let mut gated = Memory::new(gate.len());
        gated::Fused(self.activation).forward(gate, up, &mut gated);
        gated
    }
}
