//! The tensors that a decoder is made of.

use super::Config;
use crate::edit::Projection;

/// The embedding table.
pub const EMBEDDINGS: &str = "model.embed_tokens.weight";
/// The head, where it is another table.
pub const HEAD: &str = "lm_head.weight";
/// The last norm.
pub const LAST_NORM: &str = "model.norm.weight";

impl Config {
    /// Names, as Hugging Face has them, and shapes of the weights of a decoder of this config, each once, in the order of its
    /// computation. A table that is embeddings and head at once stands under the embeddings' name.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let table = vec![self.vocab_size, self.hidden_size];
        let mut tensors = vec![(EMBEDDINGS.to_string(), table.clone())];
        (0..self.layers).for_each(|layer| tensors.extend(self.tensors_of_block(layer)));
        tensors.push((LAST_NORM.into(), vec![self.hidden_size]));
        if !self.tied_embeddings {
            tensors.push((HEAD.into(), table));
        }
        tensors
    }

    fn tensors_of_block(&self, layer: usize) -> impl Iterator<Item = (String, Vec<usize>)> {
        let mut tensors = Vec::new();
        for projection in Projection::ALL {
            let (input, output) = self.projection_size(projection);
            tensors.push((format!("{}.weight", projection.path()), vec![output, input]));
            if self.qkv_bias && matches!(projection, Projection::Q | Projection::K | Projection::V) {
                tensors.push((format!("{}.bias", projection.path()), vec![output]));
            }
        }
        let mut norm = |name: &str, width: usize| tensors.push((format!("{name}.weight"), vec![width]));
        if self.qk_norm {
            norm("self_attn.q_norm", self.head_dim);
            norm("self_attn.k_norm", self.head_dim);
        }
        norm("input_layernorm", self.hidden_size);
        norm("post_attention_layernorm", self.hidden_size);
        if self.post_norms {
            norm("pre_feedforward_layernorm", self.hidden_size);
            norm("post_feedforward_layernorm", self.hidden_size);
        }
        tensors.into_iter().map(move |(name, shape)| (format!("model.layers.{layer}.{name}"), shape))
    }
}
