//! Causal attention over packed sequences, with grouped key-value heads, sliding windows and soft caps.

mod by_gemm;
#[cfg(target_arch = "x86_64")]
mod by_tiles;
mod fused;
mod head;
mod paged;
mod plain;
#[cfg(target_arch = "x86_64")]
mod softmax;
#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use candle_core::{Device, Result, Tensor};

use super::{Precision, fused as is_fused, get_or_try};
use fused::Operation;
pub(super) use fused::{Fused, Mixed};
pub use paged::{PAGE, Pages, attention_in_pages};
use plain::{Padded, plain};

/// One sequence of a packed batch: its queries see its keys, and no others.
///
/// There may be fewer queries than keys (a cached prefix); the last query stands at the last key's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Rows of the queries.
    pub queries: Range<usize>,
    /// Rows of keys and values that come first, and that other spans may begin with too.
    pub beginning: Range<usize>,
    /// Rows of the keys and values that follow them.
    pub keys: Range<usize>,
}

impl Span {
    /// Rows of all its keys and values, in their order.
    fn all_keys(&self) -> impl Iterator<Item = usize> + use<> {
        self.beginning.clone().chain(self.keys.clone())
    }

    fn key_count(&self) -> usize {
        self.beginning.len() + self.keys.len()
    }

    fn is_within(&self, queries: usize, keys: usize) -> bool {
        self.queries.end <= queries
            && self.beginning.end <= keys
            && self.keys.end <= keys
            && self.queries.len() <= self.keys.len()
    }

    /// The keys that query `i` of the span sees, counted from the span's first key.
    fn visible(&self, i: usize, window: Option<usize>) -> Range<usize> {
        let end = self.key_count() - self.queries.len() + i + 1;
        end.saturating_sub(window.unwrap_or(end))..end
    }
}

/// All sequences of a packed batch, whose queries follow each other in their order.
#[derive(Clone, Debug)]
pub struct Spans {
    list: Arc<[Span]>,
    /// The block that other devices than the CPU take, made once for all layers of a pass.
    padded: Arc<OnceLock<Padded>>,
}

impl Spans {
    /// The spans of one batch, for passes on one device.
    pub fn new(list: impl IntoIterator<Item = Span>) -> Self {
        Self { list: list.into_iter().collect(), padded: Arc::default() }
    }

    fn padded(&self, device: &Device) -> Result<&Padded> {
        get_or_try(&self.padded, || Padded::new(&self.list, device))
    }
}

/// The settings that do not change from batch to batch.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor on every score.
    pub scale: f32,
    /// Scores s become cap * tanh(s / cap).
    pub softcap: Option<f32>,
    /// A query sees at most this many keys, its own position included.
    pub window: Option<usize>,
    /// That of its products on the CPU: in bf16 queries, keys, values, shares and their gradients are rounded before they are
    /// multiplied, and sums, softmax and all else are f32.
    pub precision: Precision,
}

/// Softmax attention of each span's queries over its keys.
///
/// # Shapes
/// - `q`: `(queries, heads * head_dim)`
/// - `k`, `v`: `(keys, kv_heads * head_dim)`
/// - result: as `q`
///
/// # Errors
/// If the shapes disagree or a span reaches outside.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape, spans: &Spans) -> Result<Tensor> {
    shape.check(q.dims(), k.dims(), v.dims(), spans)?;
    if is_fused(q) {
        let op = Operation::new(Fused::new(shape, spans));
        q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
    } else {
        plain(q, k, v, shape, spans)
    }
}

impl AttentionShape {
    /// Checks that queries, keys and values of these dimensions go together.
    pub(super) fn check(&self, q: &[usize], k: &[usize], v: &[usize], spans: &Spans) -> Result<()> {
        let (width, kv_width) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        if let (&[queries, q_width], &[keys, k_width]) = (q, k)
            && (q_width, k_width) == (width, kv_width)
            && k == v
            && self.heads.is_multiple_of(self.kv_heads)
            && spans.list.iter().all(|span| span.is_within(queries, keys))
        {
            return Ok(());
        }
        candle_core::bail!(
            "attention: queries {q:?}, keys {k:?}, values {v:?} do not fit {self:?} over {} spans",
            spans.list.len()
        );
    }
}
