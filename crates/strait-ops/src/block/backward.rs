//! The backward pass of a block.

use candle_core::{Result, Tensor};

use super::{Block, forward::Kept};
use crate::{Projection, cpu, gated, gradients, memory::Memory};

impl Block {
    /// Gives the gradients of the variables and returns that of the stream `x`, where that is asked for.
    pub(super) fn backward(
        &self,
        x: &[f32],
        kept: Kept,
        dy: &[f32],
        of_stream: bool,
    ) -> Result<Option<Vec<f32>>> {
        let Kept { q, k, v, raw_q, raw_k, mixed, attended, middle, mut gate, mut up, down, downs } = kept;
        let weights = &self.weights;
        let of = |projection: Projection| &downs[projection as usize];

        // The MLP: y = middle + down(gated(gate(n), up(n))) with n the norm of middle.
        let d_down = self.through_norm(&weights.mlp_post_norm, down.as_deref(), dy)?;
        let d_down = d_down.as_deref().unwrap_or(dy);
        let adapted = self.adapted(Projection::Down);
        let mut gated = Memory::new(gate.len());
        let d_downs = adapted.input_gradient(d_down, 0.0, Some(&mut gated))?;
        // What was gate, up and the gradient of the gated is now the gradients of both, and the gated.
        gated::Fused(self.activation).backward(&mut gate, &mut up, &mut gated);
        adapted.give_gradients(&gated, of(Projection::Down), d_down, &d_downs)?;
        drop(gated);
        let mut d_normed = Memory::new(middle.len());
        self.back_to_norm(
            &middle,
            &weights.mlp_norm,
            [(Projection::Gate, &gate), (Projection::Up, &up)],
            &downs,
            Some(&mut d_normed),
        )?;
        drop((gate, up));
        let mut d_middle = dy.to_vec();
        self.add_norm_gradient(&middle, &weights.mlp_norm, &d_normed, &mut d_middle)?;

        // Attention: middle = x + o(attention(q(n), k(n), v(n))) with n the norm of x.
        let d_attended = self.through_norm(&weights.attention_post_norm, attended.as_deref(), &d_middle)?;
        let d_attended = d_attended.as_deref().unwrap_or(&d_middle);
        let mut d_mixed = Memory::new(mixed.values.len());
        let adapted = self.adapted(Projection::O);
        let d_downs = adapted.input_gradient(d_attended, 0.0, Some(&mut d_mixed))?;
        adapted.give_gradients(&mixed.values, of(Projection::O), d_attended, &d_downs)?;
        let [mut dq, mut dk, mut dv] = [q.len(), k.len(), v.len()].map(Memory::new);
        self.attention().backward(
            [&q, &k, &v],
            (&mixed.values, &mixed.logs),
            &d_mixed,
            [&mut dq, &mut dk, &mut dv],
        );
        drop((q, k, v, mixed, d_mixed));
        let dq = self.through_heads_norm(&weights.q_norm, raw_q, self.rotated(dq, -1.0))?;
        let dk = self.through_heads_norm(&weights.k_norm, raw_k, self.rotated(dk, -1.0))?;
        let of_norm = of_stream || weights.attention_norm.track_op();
        self.back_to_norm(
            x,
            &weights.attention_norm,
            [(Projection::Q, &dq), (Projection::K, &dk), (Projection::V, &dv)],
            &downs,
            of_norm.then_some(&mut *d_normed),
        )?;
        if of_norm {
            self.add_norm_gradient(x, &weights.attention_norm, &d_normed, &mut d_middle)?;
        }
        Ok(of_stream.then_some(d_middle))
    }

    /// The gradients of projections of a norm's result, and in `d_normed` that of the result.
    fn back_to_norm<const N: usize>(
        &self,
        x: &[f32],
        norm: &Tensor,
        projections: [(Projection, &Memory); N],
        downs: &[Vec<Memory>; 7],
        mut d_normed: Option<&mut [f32]>,
    ) -> Result<()> {
        let needed = projections.iter().any(|(projection, _)| self.adapted(*projection).needs_input());
        let normed = if needed { Some(self.normed(x, norm)?) } else { None };
        for (i, (projection, d)) in projections.into_iter().enumerate() {
            let keep = if i == 0 { 0.0 } else { 1.0 };
            let adapted = self.adapted(projection);
            let d_downs = adapted.input_gradient(d, keep, d_normed.as_deref_mut())?;
            let normed = normed.as_deref().unwrap_or(&[]);
            adapted.give_gradients(normed, &downs[projection as usize], d, &d_downs)?;
        }
        Ok(())
    }

    /// Adds to `dx` the gradient of a norm's input, and gives that of its weight.
    fn add_norm_gradient(&self, x: &[f32], weight: &Tensor, dy: &[f32], dx: &mut [f32]) -> Result<()> {
        cpu::with_slices([weight], |[numbers]| {
            self.norm().input_gradient(x, numbers, dy, 1.0, dx);
            self.give_norm_weight(x, weight, dy)
        })
    }

    /// The gradient of what a norm was given, where there is a norm.
    fn through_norm(&self, norm: &Option<Tensor>, x: Option<&[f32]>, dy: &[f32]) -> Result<Option<Memory>> {
        let (Some(weight), Some(x)) = (norm, x) else { return Ok(None) };
        let mut dx = Memory::new(x.len());
        cpu::with_slices([weight], |[numbers]| {
            self.norm().input_gradient(x, numbers, dy, 0.0, &mut dx);
            self.give_norm_weight(x, weight, dy)
        })?;
        Ok(Some(dx))
    }

    fn through_heads_norm(&self, norm: &Option<Tensor>, x: Option<Memory>, dy: Memory) -> Result<Memory> {
        Ok(self.through_norm(norm, x.as_deref(), &dy)?.unwrap_or(dy))
    }

    fn give_norm_weight(&self, x: &[f32], weight: &Tensor, dy: &[f32]) -> Result<()> {
        if !weight.track_op() {
            return Ok(());
        }
        gradients::give(weight, self.norm().weight_gradient(x, weight.elem_count(), dy)[..].into())
    }
}
