//! The decoder: embed, blocks, norm, unembed. One for all architectures, built from its [`Config`].
//!
//! The residual stream is named by *points*: point `p` is what enters block `p`; point 0 is the embeddings and point
//! `layers` what enters the final norm. A pass may begin and end at any point, so that the blocks below an edit are
//! computed once and kept (design §5). An edit that acts after block `l` acts at point `l + 1`, by the pass that *leaves*
//! that point: a stream kept at a point is always unsteered there.

mod cache;
mod changed;
mod decode;
mod edited;
mod packed;
mod readout;
mod scalars;

pub use cache::{Cache, Sequence};
pub use decode::{Extension, Piece};
pub use edited::first_changed_point;
pub use packed::Packed;
pub use readout::{Reading, Readout};

use std::{collections::HashMap, ops::Range, sync::Arc};

use candle_core::{Device, Shape, Tensor, TensorId};

use crate::{
    Config, Edit, Error, Result, Weights,
    config::{EMBEDDINGS, HEAD, LAST_NORM, LayerKind},
    edit::{self, Projection, Site},
    ops::{
        self, Adapter, AttentionShape, Block, BlockWeights, HeadChange, Linear, Precision, Product,
        RopeTable, Span, Spans, Unembedding, Weight,
    },
};
use changed::Changed;
use edited::{Edits, adapters, edited};
use scalars::Way;

/// A decoder-only transformer, frozen unless it was built from variables.
pub struct Decoder {
    config: Config,
    precision: Precision,
    /// All that follow, by name.
    weights: Vec<(String, Weight)>,
    embedding: Weight,
    blocks: Vec<Arc<BlockWeights>>,
    norm: Tensor,
    unembedding: Unembedding,
    /// Inverse frequencies of the rotary embedding.
    frequencies: Vec<f32>,
    /// Those of layers with sliding attention, where they are others.
    local_frequencies: Option<Vec<f32>>,
    /// The decoders that full fine-tunes made of this one.
    changed: Changed,
}

/// The inputs of every block of one pass.
struct Pass<'a> {
    rope: RopeTable,
    /// That of layers with sliding attention.
    local_rope: RopeTable,
    /// The edits, each with the rows that it acts on.
    edits: Edits<'a>,
    way: Way<'a>,
    keys: Keys<'a>,
}

/// The keys and values that a pass attends to.
enum Keys<'a> {
    /// Its own.
    Own(Spans),
    /// Those of the sequences of a cache, which go on by these rows.
    Cached { cache: &'a Cache, sequences: &'a [Sequence], rows: &'a [Range<usize>] },
}

fn block_weights(
    config: &Config,
    precision: Precision,
    layer: usize,
    weights: &HashMap<&str, &Weight>,
) -> Result<BlockWeights> {
    let weight = |rest: &str| weights.get(format!("model.layers.{layer}.{rest}").as_str()).copied();
    let optional = |rest: &str| match weight(rest) {
        Some(Weight::Tensor(tensor)) => Some(tensor.clone()),
        _ => None,
    };
    let tensor = |rest: &str| optional(rest).ok_or_else(|| no_tensor(rest));
    let projection = |p: Projection| {
        let name = format!("{}.weight", p.path());
        let weight = weight(&name).cloned().ok_or_else(|| no_tensor(&name))?;
        Ok(Linear { weight, bias: optional(&format!("{}.bias", p.path())), precision })
    };
    let after_attention = tensor("post_attention_layernorm.weight")?;
    let (attention_post_norm, mlp_norm) = match config.post_norms {
        true => (Some(after_attention), tensor("pre_feedforward_layernorm.weight")?),
        false => (None, after_attention),
    };
    Ok(BlockWeights {
        attention_norm: tensor("input_layernorm.weight")?,
        projections: Projection::ALL.into_iter().map(projection).collect::<Result<_>>()?,
        q_norm: optional("self_attn.q_norm.weight"),
        k_norm: optional("self_attn.k_norm.weight"),
        attention_post_norm,
        mlp_norm,
        mlp_post_norm: optional("post_feedforward_layernorm.weight"),
    })
}

fn no_tensor(name: &str) -> Error {
    candle_core::Error::CannotFindTensor { path: name.into() }.bt().into()
}

impl Decoder {
    /// Builds the decoder from its weights and the config that came with them, on `device`.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape than the config says, or holds a number that is not finite.
    pub fn new(weights: &Weights, device: &Device, precision: Precision) -> Result<Self> {
        let weight = |name: &str, shape: &[usize]| weights.weight(name, shape, device, precision);
        Self::from_weights(weights.config().clone(), precision, weight)
    }

    /// Builds the decoder from tensors that a function gives by their name, as Hugging Face has it, and shape; it is asked
    /// for each once. Tensors that are variables, or made of some, get gradients; the others cost none, and are kept as the precision
    /// has them.
    ///
    /// # Errors
    /// If the config describes no decoder, a tensor has another shape than was asked for, or what the function returns.
    pub fn from_tensors(
        config: Config,
        precision: Precision,
        mut tensor: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        Self::from_weights(config, precision, |name, shape| Ok(precision.keep(tensor(name, shape)?)?.into()))
    }

    fn from_weights(
        config: Config,
        precision: Precision,
        mut weight: impl FnMut(&str, &[usize]) -> Result<Weight>,
    ) -> Result<Self> {
        config.validate().map_err(candle_core::Error::wrap)?;
        let mut weights = Vec::new();
        for (name, shape) in config.tensors() {
            let found = weight(&name, &shape)?;
            let (expected, got) = (Shape::from(shape), found.shape());
            if got != expected {
                return Err(candle_core::Error::UnexpectedShape { msg: name, expected, got }.into());
            }
            weights.push((name, found));
        }
        let named: HashMap<&str, &Weight> =
            weights.iter().map(|(name, weight)| (name.as_str(), weight)).collect();
        let weight = |name: &str| named.get(name).copied().cloned().ok_or_else(|| no_tensor(name));
        let embedding = weight(EMBEDDINGS)?;
        let head = if config.tied_embeddings { embedding.clone() } else { weight(HEAD)? };
        let blocks = (0..config.layers)
            .map(|layer| block_weights(&config, precision, layer, &named).map(Arc::new))
            .collect::<Result<_>>()?;
        Ok(Self {
            norm: weight(LAST_NORM)?.tensor()?,
            embedding,
            blocks,
            unembedding: Unembedding { weight: head, precision, softcap: config.logit_softcap, change: None },
            frequencies: config.rope.inverse_frequencies(config.head_dim),
            local_frequencies: config
                .local_rope
                .as_ref()
                .map(|rope| rope.inverse_frequencies(config.head_dim)),
            weights,
            changed: Changed::default(),
            precision,
            config,
        })
    }

    /// The config that it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The precision of its products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The device of its tensors.
    pub fn device(&self) -> &Device {
        self.embedding.device()
    }

    /// The embedding table, shape `(vocab, hidden_size)`, as it is kept.
    pub fn embeddings(&self) -> &Weight {
        &self.embedding
    }

    /// All weights under the names of [`Config::tensors`], in that order, as they are kept.
    pub fn weights(&self) -> &[(String, Weight)] {
        &self.weights
    }

    /// The number that tells it from other decoders.
    pub fn id(&self) -> TensorId {
        self.norm.id()
    }

    /// The map from hidden states after the final norm to logits, with the change that an edit makes to it.
    ///
    /// # Errors
    /// If the tensors of several edits of the head do not fit together.
    pub fn unembedding(&self, edit: Option<&Edit>) -> Result<Unembedding> {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (adapter, scale) in adapters(edit, Site::Head) {
            a.push(adapter.a.clone());
            b.push((&adapter.b * scale)?);
        }
        let change = match a.len() {
            0 => None,
            _ => Some(HeadChange { a: Tensor::cat(&a, 0)?, b: Tensor::cat(&b, 1)? }),
        };
        Ok(Unembedding { change, ..self.under(edit)?.unembedding.clone() })
    }

    /// The residual stream at point 0.
    ///
    /// # Shapes
    /// - result: `(tokens, hidden_size)`
    ///
    /// # Errors
    /// If a token id is outside the vocabulary or a sequence longer than the context.
    pub fn embed(&self, batch: &Packed) -> Result<Tensor> {
        let longest = batch.positions.iter().max().map_or(0, |&p| p as usize + 1);
        if longest > self.config.context_length {
            return Err(Error::TooLong { tokens: longest, context: self.config.context_length });
        }
        let rows = self.config.vocab_size;
        if let Some(&id) = batch.ids.iter().find(|&&id| id as usize >= rows) {
            return Err(Error::NoRow { id, rows });
        }
        let embedded = self.precision.look_up(&self.embedding, &batch.ids)?;
        match self.config.embedding_scale {
            1.0 => Ok(embedded),
            scale => Ok((embedded * scale)?),
        }
    }

    /// Carries the residual stream from point `blocks.start` to point `blocks.end`.
    ///
    /// Edits act at every point that is left and in every block that is run.
    ///
    /// # Shapes
    /// - `stream`, result: `(tokens, hidden_size)`
    ///
    /// # Errors
    /// If the shapes disagree.
    pub fn run(
        &self,
        stream: Tensor,
        blocks: Range<usize>,
        batch: &Packed,
        edit: Option<&Edit>,
    ) -> Result<Tensor> {
        self.run_in(stream, blocks, batch, edit, Way::of(Product::OfAll))
    }

    fn run_in(
        &self,
        stream: Tensor,
        blocks: Range<usize>,
        batch: &Packed,
        edit: Option<&Edit>,
        way: Way<'_>,
    ) -> Result<Tensor> {
        let beginning = batch.beginning();
        let own =
            |rows: Range<usize>| Span { queries: rows.clone(), beginning: beginning.clone(), keys: rows };
        let spans = batch.rows().into_iter().map(own);
        let first = Span { queries: beginning.clone(), beginning: 0..0, keys: beginning.clone() };
        let spans = Spans::new((batch.shared > 0).then_some(first).into_iter().chain(spans));
        let edits = std::iter::once((0..batch.tokens(), edit)).collect();
        let pass = self.pass(batch, edits, way, Keys::Own(spans));
        self.under(edit)?.carry(stream, blocks, batch, &pass)
    }

    fn pass<'a>(&self, batch: &Packed, edits: Edits<'a>, way: Way<'a>, keys: Keys<'a>) -> Pass<'a> {
        let rope = |frequencies: &Vec<f32>| RopeTable::new(&batch.positions, frequencies);
        let (full, local) = (rope(&self.frequencies), self.local_frequencies.as_ref().map(rope));
        Pass { local_rope: local.unwrap_or_else(|| full.clone()), rope: full, edits, way, keys }
    }

    /// Carries a stream through blocks, by these weights.
    fn carry(&self, mut stream: Tensor, blocks: Range<usize>, batch: &Packed, pass: &Pass) -> Result<Tensor> {
        for layer in blocks {
            stream = edited(&pass.edits, stream, |stream, rows, edit| {
                self.steer(stream, layer, &batch.ids[rows.clone()], edit, pass.way)
            })?;
            stream = self.block(stream, layer, pass)?;
        }
        Ok(stream)
    }

    /// Edits at the last point, then the final norm: the hidden states that [`Decoder::unembedding`] takes.
    ///
    /// # Shapes
    /// - `stream`, result: `(tokens, hidden_size)`; any rows may be left out beforehand
    ///
    /// # Errors
    /// If the shapes disagree.
    pub fn finish(&self, stream: Tensor, edit: Option<&Edit>) -> Result<Tensor> {
        // No edit asks for the tokens here, since there is a block at least.
        let stream = self.steer(stream, self.config.layers, &[], edit, Way::of(Product::OfAll))?;
        Ok(ops::rms_norm(&stream, &self.under(edit)?.norm, self.config.norm_eps)?)
    }

    /// Logits of every token of a batch.
    ///
    /// # Shapes
    /// - result: `(tokens, vocab_size)`
    ///
    /// # Errors
    /// As [`Decoder::embed`].
    pub fn logits(&self, batch: &Packed, edit: Option<&Edit>) -> Result<Tensor> {
        let stream = self.run(self.embed(batch)?, 0..self.config.layers, batch, edit)?;
        Ok(self.unembedding(edit)?.logits(&self.finish(stream, edit)?)?)
    }

    /// The residual stream after the embeddings and after each block, edits included: `layers + 1` tensors.
    ///
    /// # Shapes
    /// - each: `(tokens, hidden_size)`
    ///
    /// # Errors
    /// As [`Decoder::embed`].
    pub fn residuals(&self, batch: &Packed, edit: Option<&Edit>) -> Result<Vec<Tensor>> {
        let mut seen = Vec::with_capacity(self.config.layers + 1);
        self.each_residual(batch, edit, self.config.layers, |stream| {
            seen.push(stream);
            Ok::<_, Error>(())
        })?;
        Ok(seen)
    }

    /// As [`Decoder::residuals`], up to the point `last` and one after the other, so that none is held longer than it is looked at.
    ///
    /// # Errors
    /// As [`Decoder::embed`], or what `look` returns.
    pub fn each_residual<E: From<Error>>(
        &self,
        batch: &Packed,
        edit: Option<&Edit>,
        last: usize,
        mut look: impl FnMut(Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut stream = self.embed(batch)?;
        look(self.steer(stream.clone(), 0, batch.ids(), edit, Way::of(Product::OfAll))?)?;
        for layer in 0..last.min(self.config.layers) {
            stream = self.run(stream, layer..layer + 1, batch, edit)?;
            look(self.steer(stream.clone(), layer + 1, &[], edit, Way::of(Product::OfAll))?)?;
        }
        Ok(())
    }

    fn block(&self, stream: Tensor, layer: usize, pass: &Pass) -> Result<Tensor> {
        if let (Keys::Own(spans), [(_, edit)], None) = (&pass.keys, pass.edits.as_slice(), pass.way.scalars) {
            let block = self.block_of(layer, *edit, spans, pass);
            if block.is_one_operation(&stream) {
                return Ok(block.apply(&stream)?);
            }
        }
        self.composed_block(stream, layer, pass)
    }

    /// A block with the adapters of an edit.
    fn block_of(&self, layer: usize, edit: Option<&Edit>, spans: &Spans, pass: &Pass) -> Block {
        let adapters = |projection| {
            let site = Site::Projection { layer, projection };
            let adapter =
                |(own, scale): (&edit::Adapter, f64)| Adapter { a: own.a.clone(), b: own.b.clone(), scale };
            adapters(edit, site).map(adapter).collect()
        };
        Block {
            weights: Arc::clone(&self.blocks[layer]),
            adapters: Projection::ALL.into_iter().map(adapters).collect(),
            shape: self.attention_shape(layer),
            spans: spans.clone(),
            rope: self.rope_of(layer, pass).clone(),
            norm_eps: self.config.norm_eps,
            activation: self.config.activation,
        }
    }

    fn is_sliding(&self, layer: usize) -> bool {
        self.config.layer_kinds[layer] == LayerKind::Sliding
    }

    fn rope_of<'a>(&self, layer: usize, pass: &'a Pass) -> &'a RopeTable {
        if self.is_sliding(layer) { &pass.local_rope } else { &pass.rope }
    }

    fn attention_shape(&self, layer: usize) -> AttentionShape {
        let c = &self.config;
        AttentionShape {
            heads: c.heads,
            kv_heads: c.kv_heads,
            head_dim: c.head_dim,
            scale: c.attention_scale as f32,
            softcap: c.attention_softcap.map(|cap| cap as f32),
            window: c.sliding_window.filter(|_| self.is_sliding(layer)),
            precision: self.precision,
        }
    }

    /// A block by small operations: on other devices than the CPU, with keys that are cached, with several edits at once, with
    /// scalars that are looked at.
    fn composed_block(&self, stream: Tensor, layer: usize, pass: &Pass) -> Result<Tensor> {
        let block = &self.blocks[layer];
        let norm = |x: &Tensor, weight: &Tensor| ops::rms_norm(x, weight, self.config.norm_eps);
        let after = |x: Tensor, weight: &Option<Tensor>| match weight {
            Some(weight) => norm(&x, weight),
            None => Ok(x),
        };
        let mixed = self.attention(&norm(&stream, &block.attention_norm)?, layer, pass)?;
        let stream = (stream + after(mixed, &block.attention_post_norm)?)?;
        let mixed = self.mlp(&norm(&stream, &block.mlp_norm)?, layer, pass)?;
        Ok((stream + after(mixed, &block.mlp_post_norm)?)?)
    }

    fn attention(&self, x: &Tensor, layer: usize, pass: &Pass) -> Result<Tensor> {
        let (block, c) = (&self.blocks[layer], &self.config);
        let rope = self.rope_of(layer, pass);
        let heads_normed = |x: Tensor, weight: &Option<Tensor>| -> Result<Tensor> {
            let Some(weight) = weight else { return Ok(x) };
            let (tokens, width) = x.dims2()?;
            let heads = x.reshape((tokens, width / c.head_dim, c.head_dim))?;
            Ok(ops::rms_norm(&heads, weight, c.norm_eps)?.reshape((tokens, width))?)
        };
        let [q, k, v] = self.project(x, layer, [Projection::Q, Projection::K, Projection::V], pass)?;
        let (q, k) = (heads_normed(q, &block.q_norm)?, heads_normed(k, &block.k_norm)?);
        let (q, k) = (ops::rope(&q, rope)?, ops::rope(&k, rope)?);
        let shape = self.attention_shape(layer);
        let mixed = match &pass.keys {
            Keys::Own(spans) => ops::attention(&q, &k, &v, shape, spans)?,
            Keys::Cached { cache, sequences, rows } => {
                cache.write(layer, sequences, rows, &k, &v)?;
                cache.attention(layer, sequences, rows, &q, shape)?
            }
        };
        let [mixed] = self.project(&mixed, layer, [Projection::O], pass)?;
        Ok(mixed)
    }

    fn mlp(&self, x: &Tensor, layer: usize, pass: &Pass) -> Result<Tensor> {
        let [gate, up] = self.project(x, layer, [Projection::Gate, Projection::Up], pass)?;
        let gated = ops::gated(&gate, &up, self.config.activation)?;
        let [down] = self.project(&gated, layer, [Projection::Down], pass)?;
        Ok(down)
    }

    /// Projections with their adapters: W x + scale * B A x.
    fn project<const N: usize>(
        &self,
        x: &Tensor,
        layer: usize,
        projections: [Projection; N],
        pass: &Pass,
    ) -> Result<[Tensor; N]> {
        let bare = projections.map(|projection| &self.blocks[layer].projections[projection as usize]);
        let bare = pass.way.product.apply_each(x, &bare)?.into_iter().zip(projections);
        let all: Vec<Tensor> =
            bare.map(|(y, projection)| self.adapted(y, x, layer, projection, pass)).collect::<Result<_>>()?;
        Ok(all.try_into().expect("one of each"))
    }

    /// What a projection gives, with what the edits' adapters add to it.
    fn adapted(
        &self,
        y: Tensor,
        x: &Tensor,
        layer: usize,
        projection: Projection,
        pass: &Pass,
    ) -> Result<Tensor> {
        let site = Site::Projection { layer, projection };
        if !pass.edits.iter().any(|(_, edit)| adapters(*edit, site).next().is_some()) {
            return Ok(y);
        }
        edited(&pass.edits, y, |mut y, rows, edit| {
            let x = x.narrow(0, rows.start, rows.len())?;
            for (adapter, scale) in adapters(edit, site) {
                y = (y + self.change(pass.way, &x, adapter, scale)?)?;
            }
            Ok(y)
        })
    }
}
