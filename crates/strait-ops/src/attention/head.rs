//! Attention of one sequence under one key-value head.

use std::ops::Range;

use super::{AttentionShape, Span};
use crate::memory::Memory;

/// A span under a key-value head, with all query heads that read its keys: they are one product. A query has a row of scores for each
/// of them, one behind the other.
pub(super) struct Head<'a> {
    pub shape: AttentionShape,
    pub span: &'a Span,
    /// True if what is computed is rounded to bf16 before products in f32; queries, keys and values are already.
    pub rounds: bool,
    /// A row of `head_dim` for each row of scores.
    pub q: Memory,
    /// A row of `head_dim` for each key.
    pub k: Memory,
    /// As keys.
    pub v: Memory,
}

/// The values that a head's rows of scores come to, rows of `head_dim`, and for each row the logarithm of the sum of its powers.
pub(super) struct OfHead {
    pub values: Memory,
    pub logs: Memory,
}

/// A head's way back.
pub(super) struct Back {
    /// The gradients of its values.
    pub dy: Memory,
    /// The inner product of each row's values with their gradients.
    pub along: Memory,
    /// The logarithms that the forward pass found.
    pub logs: Memory,
}

/// The gradients of a head's queries, keys and values, as these lie.
pub(super) struct Gradients {
    pub dq: Memory,
    pub dk: Memory,
    pub dv: Memory,
}

impl Head<'_> {
    /// Heads that share these keys.
    pub fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    /// Rows of scores.
    pub fn rows(&self) -> usize {
        self.span.queries.len() * self.group()
    }

    /// The keys that a row of scores sees.
    pub fn visible(&self, row: usize) -> Range<usize> {
        self.span.visible(row / self.group(), self.shape.window)
    }
}
