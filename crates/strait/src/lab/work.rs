//! Multiply-adds and bytes of passes, which estimates add up.

use strait_model::{
    Config, Model, Precision, Weights,
    edit::{Projection, Site},
    ops::LOGITS_HELD,
};

use crate::{
    Result,
    objective::{Row, TOKENS_AT_ONCE, batches, packed},
    train::EditKind,
};

/// The times that a token takes longer of which some dozens are sampled at once, each attending to pages of its own.
const SLOWER_TOGETHER: f64 = 2.0;

/// The sizes of a model's passes.
pub(crate) struct Work {
    pub config: Config,
    /// Bytes of the weights, in memory or in their file.
    pub weights: f64,
    /// True if blocks are composed of small operations, which keep all that they compute: on other devices than the CPU.
    pub composed: bool,
}

impl Work {
    /// Those of a model.
    pub fn of(model: &Model) -> Self {
        let bytes = model.decoder.weights().iter().map(|(_, weight)| weight.bytes() as f64);
        let composed = !model.decoder.device().is_cpu();
        Self { config: model.config().clone(), weights: bytes.sum(), composed }
    }

    /// Those of a model whose weights are not loaded yet.
    ///
    /// # Errors
    /// If their file cannot be mapped.
    pub fn of_weights(weights: &Weights, precision: Precision, composed: bool) -> Result<Self> {
        Ok(Self { config: weights.config().clone(), weights: weights.size(precision)? as f64, composed })
    }

    /// Multiply-adds of passes over so many tokens, and of so many that are written one by one.
    pub fn written(&self, passed: f64, written: f64) -> f64 {
        let (whole, head) = (self.blocks(self.config.layers), self.unembedding());
        passed * whole + SLOWER_TOGETHER * written * (whole + head)
    }

    /// Bytes that a pass forward over batches of so many tokens in all works with, which holds the tensors of a block at a time.
    pub fn passing(&self, tokens: usize) -> f64 {
        let batch = tokens.min(TOKENS_AT_ONCE) as f64;
        self.block(batch) + self.logits(batch)
    }

    /// Multiply-adds a token of so many blocks, forward.
    pub fn blocks(&self, blocks: usize) -> f64 {
        let sizes = Projection::ALL.map(|p| self.config.projection_size(p));
        blocks as f64 * sizes.iter().map(|&(input, output)| (input * output) as f64).sum::<f64>()
    }

    /// Multiply-adds a token of the unembedding.
    pub fn unembedding(&self) -> f64 {
        (self.config.vocab_size * self.config.hidden_size) as f64
    }

    /// Multiply-adds forward and backward above `point`, logits and their gradient where a response token is.
    pub fn training(&self, point: usize, rows: &[Row], batch: &[usize]) -> f64 {
        let above = self.blocks(self.config.layers - point);
        let responses: usize = batch.iter().map(|&row| rows[row].response_tokens()).sum();
        2.0 * (above * packed(rows, batch).tokens() as f64 + self.unembedding() * responses as f64)
    }

    /// Bytes that a training step keeps of so many tokens for its way back through the blocks above `point`: streams, queries,
    /// keys, values and two of the MLP a block.
    pub fn activations(&self, point: usize, tokens: f64) -> f64 {
        let c = &self.config;
        let a_block = match self.composed {
            true => 12 * c.hidden_size + 4 * c.intermediate_size,
            false => 2 * (c.hidden_size + c.head_dim * (c.heads + c.kv_heads) + c.intermediate_size),
        };
        tokens * ((c.layers - point) * a_block) as f64 * 4.0
    }

    /// Bytes that a pass works with in a block, forwards or back.
    pub fn block(&self, tokens: f64) -> f64 {
        let c = &self.config;
        tokens * (8 * c.hidden_size + 4 * c.intermediate_size) as f64 * 4.0
    }

    /// Bytes of the logits of so many tokens that a loss holds at a time, and of their gradient.
    pub fn logits(&self, tokens: f64) -> f64 {
        2.0 * 4.0 * (tokens * self.config.vocab_size as f64).min(LOGITS_HELD as f64)
    }

    /// Bytes of an edit's tensors.
    pub fn edit(&self, edit: &EditKind) -> f64 {
        let numbers = match edit {
            EditKind::Steering { .. } => self.config.hidden_size as f64,
            EditKind::Full => self.config.parameters() as f64,
            EditKind::Lora { layers, projections, rank, .. } => {
                let sites = layers.iter().flat_map(|&layer| Site::of_layer(layer, projections));
                let of_a_rank = sites.map(|site| site.size(&self.config)).map(|(i, o)| i as f64 + o as f64);
                *rank as f64 * of_a_rank.sum::<f64>()
            }
        };
        4.0 * numbers
    }
}

/// Tokens that a pass over rows computes.
pub(super) fn tokens(rows: &[Row]) -> f64 {
    let every_row: Vec<usize> = (0..rows.len()).collect();
    batches(rows, &every_row).iter().map(|batch| packed(rows, batch).tokens() as f64).sum()
}
