//! Attention on the CPU, a head of a span at a time.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::by_tiles;
use super::{
    AttentionShape, Span, Spans, by_gemm,
    head::{Back, Gradients, Head, OfHead},
};
use crate::{
    cpu,
    memory::Memory,
    product::{Kernel, round_in_place},
};

/// Attention of one shape over the spans of a batch. Its results do not depend on the number of threads, nor a span's on those
/// beside it.
pub(crate) struct Fused {
    shape: AttentionShape,
    spans: Arc<[Span]>,
    /// The kernel of products of rounded operands; none where operands are not rounded.
    kernel: Option<Kernel>,
}

/// The result of attention, and what its backward pass reads besides.
pub(crate) struct Mixed {
    /// The mixed values of every query, as queries lie.
    pub(crate) values: Memory,
    /// Of every query and head, the logarithm of the sum of its powers.
    pub(crate) logs: Memory,
}

impl Fused {
    pub(crate) fn new(shape: AttentionShape, spans: &Spans) -> Self {
        Self::by(shape.precision.kernel(), shape, spans)
    }

    /// By this kernel, or in f32.
    pub(super) fn by(kernel: Option<Kernel>, shape: AttentionShape, spans: &Spans) -> Self {
        Self { shape, spans: spans.list.clone(), kernel }
    }

    /// The mixed values of every query.
    pub(crate) fn forward(&self, q: &[f32], k: &[f32], v: &[f32]) -> Mixed {
        let parts =
            self.for_each_task(|span, kv_head| self.head_forward(&self.head(span, kv_head, [q, k, v])));
        let (values, logs): (Vec<_>, Vec<_>) = parts.into_iter().map(|of| (of.values, of.logs)).unzip();
        let mut mixed =
            Mixed { values: Memory::new(q.len()), logs: Memory::new(q.len() / self.shape.head_dim.max(1)) };
        self.place(&values, self.group() * self.shape.head_dim, &mut mixed.values);
        self.place(&logs, self.group(), &mut mixed.logs);
        mixed
    }

    /// The gradients of queries, keys and values, from those of the result.
    pub(crate) fn backward(
        &self,
        [q, k, v]: [&[f32]; 3],
        (values, logs): (&[f32], &[f32]),
        dy: &[f32],
        [dq, dk, dv]: [&mut [f32]; 3],
    ) {
        let d = self.shape.head_dim;
        let parts = self.for_each_task(|span, kv_head| {
            let head = self.head(span, kv_head, [q, k, v]);
            let values = self.of_queries(values, span, kv_head, d);
            let dy = rounded(self.kernel.is_some(), self.of_queries(dy, span, kv_head, d));
            let mut along = Memory::new(head.rows());
            cpu::vectorised!({
                for ((along, y), dy) in along.iter_mut().zip(values.chunks_exact(d)).zip(dy.chunks_exact(d)) {
                    *along = cpu::sum([y, dy], |[y, dy]| y * dy);
                }
            });
            let logs = self.of_queries(logs, span, kv_head, 1);
            self.head_backward(&head, &Back { dy, along, logs })
        });
        let mut dqs = Vec::with_capacity(parts.len());
        let mut dks = Vec::with_capacity(parts.len());
        let mut dvs = Vec::with_capacity(parts.len());
        for Gradients { dq, dk, dv } in parts {
            dqs.push(dq);
            dks.push(dk);
            dvs.push(dv);
        }
        self.place(&dqs, self.group() * d, dq);
        self.add(&dks, dk);
        self.add(&dvs, dv);
    }

    fn head_forward(&self, head: &Head) -> OfHead {
        #[cfg(target_arch = "x86_64")]
        if let Some(unit) = self.kernel.and_then(Kernel::unit) {
            return by_tiles::forward(head, &unit);
        }
        by_gemm::forward(head)
    }

    fn head_backward(&self, head: &Head, back: &Back) -> Gradients {
        #[cfg(target_arch = "x86_64")]
        if let Some(unit) = self.kernel.and_then(Kernel::unit) {
            return by_tiles::backward(head, back, &unit);
        }
        by_gemm::backward(head, back)
    }

    /// A span under a key-value head.
    fn head<'a>(&self, span: &'a Span, kv_head: usize, [q, k, v]: [&[f32]; 3]) -> Head<'a> {
        // Tiles round while they are packed.
        let rounds = self.kernel == Some(Kernel::Widened);
        Head {
            shape: self.shape,
            span,
            rounds,
            q: rounded(rounds, self.of_queries(q, span, kv_head, self.shape.head_dim)),
            k: rounded(rounds, self.of_keys(k, span, kv_head)),
            v: rounded(rounds, self.of_keys(v, span, kv_head)),
        }
    }

    /// Runs `f` for every pair of a span and a key-value head, in parallel; results in that order.
    fn for_each_task<R: Send>(&self, f: impl Fn(&Span, usize) -> R + Sync) -> Vec<R> {
        let kv_heads = self.shape.kv_heads;
        (0..self.spans.len() * kv_heads)
            .into_par_iter()
            .map(|task| f(&self.spans[task / kv_heads], task % kv_heads))
            .collect()
    }

    /// Puts the tasks' results, `width` numbers a query, where their queries stand.
    fn place(&self, parts: &[Memory], width: usize, to: &mut [f32]) {
        for (task, part) in parts.iter().enumerate() {
            let (span, head) = (&self.spans[task / self.shape.kv_heads], task % self.shape.kv_heads);
            for (row, numbers) in span.queries.clone().zip(part.chunks_exact(width)) {
                to[(row * self.shape.kv_heads + head) * width..][..width].copy_from_slice(numbers);
            }
        }
    }

    /// Sums up the tasks' results where their keys stand, which other spans may have too.
    fn add(&self, parts: &[Memory], to: &mut [f32]) {
        let width = self.shape.head_dim;
        to.fill(0.0);
        for (task, part) in parts.iter().enumerate() {
            let (span, head) = (&self.spans[task / self.shape.kv_heads], task % self.shape.kv_heads);
            for (row, numbers) in span.all_keys().zip(part.chunks_exact(width)) {
                let to = &mut to[(row * self.shape.kv_heads + head) * width..][..width];
                to.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
            }
        }
    }

    /// Heads that share the keys and values of one.
    fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    /// What all queries of a span have under one key-value head: `width` numbers a head, those of the heads of a query one behind the
    /// other.
    fn of_queries(&self, numbers: &[f32], span: &Span, kv_head: usize, width: usize) -> Memory {
        let (all, width) = (self.shape.heads * width, self.group() * width);
        let mut rows = Memory::new(span.queries.len() * width);
        for (to, row) in rows.chunks_exact_mut(width).zip(span.queries.clone()) {
            to.copy_from_slice(&numbers[row * all + kv_head * width..][..width]);
        }
        rows
    }

    /// All keys, or values, of a span under one key-value head: rows of `head_dim`.
    fn of_keys(&self, numbers: &[f32], span: &Span, kv_head: usize) -> Memory {
        let (width, d) = (self.shape.kv_heads * self.shape.head_dim, self.shape.head_dim);
        let mut rows = Memory::new(span.key_count() * d);
        for (to, row) in rows.chunks_exact_mut(d).zip(span.all_keys()) {
            to.copy_from_slice(&numbers[row * width + kv_head * d..][..d]);
        }
        rows
    }
}

/// Numbers as products see them, which round them or do not.
fn rounded(rounds: bool, mut numbers: Memory) -> Memory {
    if rounds {
        round_in_place(&mut numbers);
    }
    numbers
}

/// It as candle's operation.
pub(super) struct Operation {
    fused: Fused,
    /// Those of [`Mixed`], for the backward pass.
    logs: OnceLock<Memory>,
}

impl Operation {
    pub fn new(fused: Fused) -> Self {
        Self { fused, logs: OnceLock::new() }
    }
}

impl CustomOp3 for Operation {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (cpu::slice(q, q_layout)?, cpu::slice(k, k_layout)?, cpu::slice(v, v_layout)?);
        let Mixed { values, logs } = self.fused.forward(q, k, v);
        self.logs.get_or_init(|| logs);
        Ok((CpuStorage::F32(values.to_vec()), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (mut dq, mut dk, mut dv) =
            (vec![0f32; q.elem_count()], vec![0f32; k.elem_count()], vec![0f32; v.elem_count()]);
        let Some(logs) = self.logs.get() else { candle_core::bail!("attention goes back before it went") };
        cpu::with_slices([q, k, v, y, grad], |[q, k, v, y, dy]| {
            self.fused.backward([q, k, v], (y, logs), dy, [&mut dq, &mut dk, &mut dv]);
            Ok(())
        })?;
        Ok((
            Some(Tensor::from_vec(dq, q.shape(), q.device())?),
            Some(Tensor::from_vec(dk, k.shape(), k.device())?),
            Some(Tensor::from_vec(dv, v.shape(), v.device())?),
        ))
    }
}
