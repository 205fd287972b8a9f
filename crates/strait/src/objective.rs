//! What training minimises and measures read: response cross-entropy, and KL to the base model.
//!
//! Both work on [`Kept`] rows: the base model's residual stream at the point up to which the edit changes nothing is
//! computed once for a set of rows, and so is the base's last hidden state where KL needs it (design §5).

use std::ops::Range;

use candle_core::Tensor;
use strait_model::{
    Decoder, Edit, Message, Model,
    decoder::{Packed, first_changed_point},
    ops,
    progress::{Progress, Unit},
};

use crate::{Error, Result};

/// A tokenised text and which of its tokens are responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Ranges of response tokens, one per assistant turn; none begins at the first token.
    pub responses: Vec<Range<usize>>,
}

impl Row {
    /// A chat as the model's template renders it; `place` says in errors where it stands.
    ///
    /// # Errors
    /// If the template refuses the chat, or its tokens do not fit the model's context.
    pub fn from_chat(model: &Model, messages: &[Message], place: &str) -> Result<Self> {
        let in_place = |source| Error::Row { place: place.into(), source: Box::new(source) };
        let chat = model.tokenizer.encode_chat(messages).map_err(in_place)?;
        let context = model.config().context_length;
        if chat.ids.len() > context {
            return Err(in_place(strait_model::Error::TooLong { tokens: chat.ids.len(), context }));
        }
        Ok(Self { ids: chat.ids, responses: chat.responses })
    }

    /// Number of response tokens.
    pub fn response_tokens(&self) -> usize {
        self.responses.iter().map(ExactSizeIterator::len).sum()
    }
}

/// Rows with what no edit from `point` on can change: computed once, kept while memory allows.
pub struct Kept {
    rows: Vec<Row>,
    point: usize,
    streams: Option<Vec<Tensor>>,
    base_hidden: Option<Vec<Tensor>>,
}

/// Bytes that one set of rows may keep; beyond it the prefix is computed again for every batch.
pub const KEEP_LIMIT: u64 = 768 << 20;

/// Tokens that a pass over many rows takes at once: enough for full matrix products, little memory.
const TOKENS_AT_ONCE: usize = 1024;

impl Kept {
    /// Computes the base model's residual stream of every row at `point`; with `base_hidden` also its last hidden state.
    ///
    /// # Errors
    /// If a row does not fit the model.
    pub fn new(
        decoder: &Decoder,
        rows: Vec<Row>,
        point: usize,
        base_hidden: bool,
        title: &str,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut kept = Self { rows, point, streams: None, base_hidden: None };
        let tokens = kept.rows.iter().map(|r| r.ids.len() as u64).sum::<u64>();
        let bytes = tokens * decoder.config().hidden_size as u64 * 4 * if base_hidden { 2 } else { 1 };
        if bytes > KEEP_LIMIT {
            progress.note(&format!(
                "{title}: {:.1} GB of residual stream are computed anew for every batch instead of kept",
                bytes as f64 / 1e9
            ));
            return Ok(kept);
        }
        let task = progress.begin(title, Some(tokens), Unit::Count);
        let mut streams = Vec::with_capacity(kept.rows.len());
        let mut hidden = Vec::with_capacity(kept.rows.len());
        for batch in kept.batches_by_tokens() {
            let packed = kept.packed(&batch);
            let stream = kept.stream(decoder, &packed, &batch)?;
            let last = base_hidden.then(|| kept.base_of(decoder, &packed, &stream)).transpose()?;
            for rows in packed.rows() {
                // A copy: a view would keep the whole batch's storage alive, and gaps with it.
                streams.push(stream.narrow(0, rows.start, rows.len())?.copy()?);
                if let Some(last) = &last {
                    hidden.push(last.narrow(0, rows.start, rows.len())?.copy()?);
                }
            }
            task.advance(packed.tokens() as u64);
            if progress.stopped() {
                return Err(Error::Interrupted);
            }
        }
        kept.streams = Some(streams);
        kept.base_hidden = base_hidden.then_some(hidden);
        Ok(kept)
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Consecutive rows in batches of a good size for a pass.
    pub fn batches_by_tokens(&self) -> Vec<Vec<usize>> {
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut tokens = 0;
        for (i, row) in self.rows.iter().enumerate() {
            if batches.is_empty() || tokens + row.ids.len() > TOKENS_AT_ONCE {
                batches.push(Vec::new());
                tokens = 0;
            }
            tokens += row.ids.len();
            if let Some(batch) = batches.last_mut() {
                batch.push(i);
            }
        }
        batches
    }

    /// Median over all tokens of the residual stream's norm at the kept point: its scale there.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn median_norm(&self, decoder: &Decoder) -> Result<f64> {
        let mut norms: Vec<f32> = Vec::new();
        for batch in self.batches_by_tokens() {
            let stream = self.stream(decoder, &self.packed(&batch), &batch)?;
            norms.extend(stream.sqr()?.sum(1)?.sqrt()?.to_vec1::<f32>()?);
        }
        norms.sort_by(f32::total_cmp);
        Ok(norms.get(norms.len() / 2).copied().unwrap_or(0.0) as f64)
    }

    /// Cross-entropy of every response token of some rows, in nats, in the order of the rows.
    ///
    /// # Shapes
    /// - result: `(response tokens)`
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn response_losses(
        &self,
        decoder: &Decoder,
        rows: &[usize],
        edit: Option<&Edit>,
        gradient: bool,
    ) -> Result<Tensor> {
        let packed = self.packed(rows);
        let mut predicting = Vec::new();
        let mut targets = Vec::new();
        for (&row, at) in rows.iter().zip(packed.rows()) {
            let row = &self.rows[row];
            for token in row.responses.iter().flat_map(Clone::clone) {
                predicting.push((at.start + token - 1) as u32);
                targets.push(row.ids[token]);
            }
        }
        let predicting = Tensor::new(predicting, decoder.device())?;
        let hidden = match (&self.base_hidden, edit) {
            (Some(kept), None) => gather(kept, rows)?.index_select(&predicting, 0)?,
            _ => {
                let stream = self.through(decoder, self.stream(decoder, &packed, rows)?, &packed, edit)?;
                decoder.finish(stream.index_select(&predicting, 0)?, edit)?
            }
        };
        Ok(ops::cross_entropy(&hidden, &targets, decoder.unembedding(), gradient)?)
    }

    /// KL(base ‖ edited) of every token of some rows, in nats, in the order of the rows.
    ///
    /// # Shapes
    /// - result: `(tokens)`
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn kl(&self, decoder: &Decoder, rows: &[usize], edit: &Edit, gradient: bool) -> Result<Tensor> {
        let packed = self.packed(rows);
        let stream = self.stream(decoder, &packed, rows)?;
        let base = match &self.base_hidden {
            Some(kept) => gather(kept, rows)?,
            None => self.base_of(decoder, &packed, &stream)?,
        };
        let stream = self.through(decoder, stream, &packed, Some(edit))?;
        let hidden = decoder.finish(stream, Some(edit))?;
        Ok(ops::kl_divergence(&hidden, &base, decoder.unembedding(), gradient)?)
    }

    fn packed(&self, rows: &[usize]) -> Packed {
        Packed::new(rows.iter().map(|&r| self.rows[r].ids.as_slice()))
    }

    /// The base model's residual stream of packed rows at the kept point.
    fn stream(&self, decoder: &Decoder, packed: &Packed, rows: &[usize]) -> Result<Tensor> {
        match &self.streams {
            Some(kept) => gather(kept, rows),
            None => Ok(decoder.run(decoder.embed(packed)?, 0..self.point, packed, None, None)?),
        }
    }

    fn through(
        &self,
        decoder: &Decoder,
        stream: Tensor,
        packed: &Packed,
        edit: Option<&Edit>,
    ) -> Result<Tensor> {
        let layers = decoder.config().layers;
        debug_assert!(edit.is_none_or(|e| first_changed_point(e, layers) >= self.point));
        Ok(decoder.run(stream, self.point..layers, packed, edit, None)?)
    }

    fn base_of(&self, decoder: &Decoder, packed: &Packed, stream: &Tensor) -> Result<Tensor> {
        let stream = self.through(decoder, stream.clone(), packed, None)?;
        Ok(decoder.finish(stream, None)?)
    }
}

/// What is kept of some rows, one behind the other.
fn gather(kept: &[Tensor], rows: &[usize]) -> Result<Tensor> {
    Ok(Tensor::cat(&rows.iter().map(|&r| &kept[r]).collect::<Vec<_>>(), 0)?)
}
