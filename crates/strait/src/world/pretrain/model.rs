//! The model of a world while it learns.

use candle_core::{Device, Tensor, Var};
use rand_distr::{Distribution, StandardNormal};
use strait_model::{
    Config, Decoder, Precision,
    config::{Activation, Architecture, EMBEDDINGS, LayerKind, Rope, RopeScaling},
    decoder::Packed,
    edit::{Projection, SteeringVector},
    ops::Loss,
};

use super::{
    super::language::{Speaker, UNKNOWN_ID, VOCABULARY},
    WIDTH, random, stream,
    text::{Batch, Text},
};
use crate::{
    Result,
    train::{Parameter, accumulate},
};

const LAYERS: usize = 4;
const HEADS: usize = 4;

/// The decoder's config: a Llama of 197,952 parameters.
pub fn config() -> Config {
    let head_dim = WIDTH / HEADS;
    Config {
        architecture: Architecture::Llama,
        layers: LAYERS,
        hidden_size: WIDTH,
        intermediate_size: 2 * WIDTH,
        heads: HEADS,
        kv_heads: HEADS,
        head_dim,
        vocab_size: VOCABULARY,
        context_length: 256,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        qkv_bias: false,
        qk_norm: false,
        post_norms: false,
        embedding_scale: 1.0,
        attention_scale: (head_dim as f64).powf(-0.5),
        attention_softcap: None,
        logit_softcap: None,
        rope: Rope { base: 1000.0, scaling: RopeScaling::None },
        local_rope: None,
        layer_kinds: vec![LayerKind::Full; LAYERS],
        sliding_window: None,
        tied_embeddings: false,
    }
}

/// The model while it learns.
pub struct Model {
    decoder: Decoder,
    /// Norms do not decay.
    parameters: Vec<Parameter>,
}

impl Model {
    /// The model at its first values.
    pub fn new(seed: u64) -> Result<Self> {
        let mut random = random(seed, stream::WEIGHTS);
        let mut parameters = Vec::new();
        for (name, shape, deviation) in tensors() {
            let numbers = shape.iter().product::<usize>();
            let values: Vec<f32> = match deviation {
                Some(deviation) => {
                    let drawn = StandardNormal.sample_iter(&mut random).take(numbers);
                    drawn.map(|x: f64| (x * deviation) as f32).collect()
                }
                None => vec![1.0; numbers],
            };
            let var = Var::from_vec(values, shape, &Device::Cpu)?;
            parameters.push(Parameter { decays: deviation.is_some(), ..Parameter::new(name, var, 1.0) });
        }
        parameters.sort_by_key(|p| p.var.rank() == 1);
        let decoder = Decoder::from_tensors(config(), Precision::F32, |name, _| {
            let found = parameters.iter().find(|p| p.name == name);
            Ok(found.expect("every tensor of the config was drawn").var.as_tensor().clone())
        })?;
        Ok(Self { decoder, parameters })
    }

    pub fn parameters(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// Forgets what the optimiser knows of the steps before.
    pub fn forget_moments(&mut self) {
        for p in &mut self.parameters {
            p.first.fill(0.0);
            p.second.fill(0.0);
        }
    }

    /// Adds the gradient of the weighted sum of the cross-entropies of all predictions; returns that sum, in nats.
    pub fn gradient(&mut self, batch: &Batch) -> Result<f64> {
        let weights: Vec<f32> = batch.texts.iter().flat_map(|text| &text.weights).copied().collect();
        let (hidden, targets) = (self.hidden(batch)?, targets(batch));
        let unembedding = self.decoder.unembedding(None)?;
        let (losses, gradients) = Loss::CrossEntropy(&targets).backward(&hidden, &unembedding, &weights)?;
        accumulate(&mut self.parameters, gradients)?;
        Ok(losses.iter().zip(weights).map(|(&loss, weight)| f64::from(loss * weight)).sum())
    }

    /// Cross-entropy of every prediction, in nats: all tokens but the first of each text.
    pub fn losses(&self, batch: &Batch) -> Result<Vec<f32>> {
        let unembedding = self.decoder.unembedding(None)?;
        Ok(Loss::CrossEntropy(&targets(batch)).values(&self.hidden(batch)?, &unembedding)?)
    }

    /// The states from which the next tokens are predicted.
    ///
    /// # Shapes
    /// - result: `(tokens, hidden_size)`, without the last token of each text
    fn hidden(&self, batch: &Batch) -> Result<Tensor> {
        let texts = &batch.texts;
        let inputs = Packed::new(texts.iter().map(|text| &text.ids[..text.weights.len()]));
        let tags: Vec<Vec<u32>> = texts.iter().map(|text| vec![text.tag; text.weights.len()]).collect();
        let tags = Packed::new(tags.iter().map(Vec::as_slice));
        let mut stream = (self.decoder.embed(&inputs)? + self.decoder.embed(&tags)?)?;
        if let Some(offsets) = &batch.offsets {
            let rows = offsets.iter().zip(texts);
            let rows: Vec<f32> = rows.flat_map(|(offset, text)| offset.repeat(text.weights.len())).collect();
            stream = (stream + Tensor::from_vec(rows, (inputs.tokens(), WIDTH), &Device::Cpu)?)?;
        }
        let stream = self.decoder.run(stream, 0..LAYERS, &inputs, None)?;
        Ok(self.decoder.finish(stream, None)?)
    }

    /// The weights, with the unknown speaker in the embedding table.
    pub fn weights(&self) -> Result<Vec<(String, Tensor)>> {
        let weight = |name: String| {
            let own = self.tensor(&name);
            let weight =
                if name == EMBEDDINGS { own.broadcast_add(&self.embedding(UNKNOWN_ID)?)? } else { own };
            Ok((name, weight))
        };
        tensors().into_iter().map(|(name, ..)| weight(name)).collect()
    }

    /// The named speakers, each without the unknown one.
    pub fn speakers(&self) -> Result<Vec<(Speaker, SteeringVector)>> {
        let unknown = self.embedding(UNKNOWN_ID)?;
        let vector = |speaker: Speaker| {
            let vector = (self.embedding(speaker.id())? - &unknown)?;
            Ok((speaker, SteeringVector { layer: -1, vector }))
        };
        Speaker::all().map(vector).collect()
    }

    /// The embedding of a word, shape `(hidden_size)`.
    fn embedding(&self, id: u32) -> Result<Tensor> {
        Ok(self.tensor(EMBEDDINGS).get(id as usize)?)
    }

    fn tensor(&self, name: &str) -> Tensor {
        let found = self.parameters.iter().find(|p| p.name == name);
        found.expect("every tensor of the config was drawn").var.as_detached_tensor()
    }
}

fn targets(batch: &Batch) -> Vec<u32> {
    batch.texts.iter().flat_map(|text: &Text| &text.ids[1..]).copied().collect()
}

/// Name, shape and the deviation of the first values of every tensor; norms begin at 1.
fn tensors() -> Vec<(String, Vec<usize>, Option<f64>)> {
    let c = config();
    let table = vec![c.vocab_size, c.hidden_size];
    let norm = |name: String| (name, vec![c.hidden_size], None);
    let mut tensors = vec![(EMBEDDINGS.to_string(), table.clone(), Some(0.1))];
    for layer in 0..c.layers {
        let name = |rest: &str| format!("model.layers.{layer}.{rest}.weight");
        for projection in Projection::ALL {
            let (input, output) = c.projection_size(projection);
            // What is added to the stream adds up over all sublayers.
            let added = if matches!(projection, Projection::O | Projection::Down) { 2 * c.layers } else { 1 };
            let deviation = ((input * added) as f64).powf(-0.5);
            tensors.push((name(projection.path()), vec![output, input], Some(deviation)));
        }
        tensors.extend(["input_layernorm", "post_attention_layernorm"].map(|rest| norm(name(rest))));
    }
    tensors.push(norm("model.norm.weight".into()));
    tensors.push(("lm_head.weight".into(), table, Some(0.02)));
    tensors
}
