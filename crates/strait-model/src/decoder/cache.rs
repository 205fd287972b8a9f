//! Keys and values kept for decoding step by step.

use std::ops::Range;

use candle_core::Tensor;

use crate::Result;

/// Keys and values of tokens already seen, for decoding step by step. One entry per sequence of the batch.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// `[layer][sequence]`: keys and values after the rotary embedding, `(tokens, kv_heads * head_dim)`.
    layers: Vec<Vec<(Tensor, Tensor)>>,
}

impl Cache {
    /// Tokens kept of each sequence.
    pub fn lengths(&self) -> Vec<usize> {
        self.layers.first().map_or_else(Vec::new, |kept| {
            kept.iter().map(|(keys, _)| keys.dims().first().copied().unwrap_or(0)).collect()
        })
    }

    /// Keeps only the given sequences, in the given order; an index may come more than once (one prompt, many
    /// continuations).
    pub fn select(&self, sequences: &[usize]) -> Self {
        let layers =
            self.layers.iter().map(|kept| sequences.iter().map(|&s| kept[s].clone()).collect()).collect();
        Self { layers }
    }

    /// Appends new keys and values of each sequence of a layer; returns those of all sequences, packed.
    pub(super) fn extend(
        &mut self,
        layer: usize,
        rows: &[Range<usize>],
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, Vec::new());
        }
        let kept = &mut self.layers[layer];
        let first = kept.is_empty();
        for (i, rows) in rows.iter().enumerate() {
            let new = (k.narrow(0, rows.start, rows.len())?, v.narrow(0, rows.start, rows.len())?);
            if first {
                kept.push(new);
            } else {
                kept[i] = (Tensor::cat(&[&kept[i].0, &new.0], 0)?, Tensor::cat(&[&kept[i].1, &new.1], 0)?);
            }
        }
        let (keys, values): (Vec<_>, Vec<_>) = kept.iter().cloned().unzip();
        Ok((Tensor::cat(&keys, 0)?, Tensor::cat(&values, 0)?))
    }
}
