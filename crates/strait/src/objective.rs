//! What training minimises and measures read: response cross-entropy, and KL to the base model.
//!
//! Both work on [`Kept`] rows: the base model's residual stream at the point up to which the edit changes nothing is
//! computed once for a set of rows, and so is the base's last hidden state where KL needs it (design §5).

use std::ops::Range;

use candle_core::{DType, Tensor, TensorId, backprop::GradStore};
use strait_model::{
    Conversation, Decoder, Edit, EncodedChat, Model,
    decoder::{Packed, first_changed_point},
    ops::{Loss, Unembedding},
    progress::{Progress, Unit},
};

use crate::{Error, Result, data::Chat, interval::clusters};

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
    pub fn from_chat(model: &Model, conversation: &Conversation, place: &str) -> Result<Self> {
        Ok(Self::from_encoded(encoded(model, conversation, place)?))
    }

    /// The rows of some chats. A note says how many of their turns are no responses, because the template writes them
    /// otherwise once others follow.
    ///
    /// # Errors
    /// As [`Self::from_chat`].
    pub fn from_chats(model: &Model, chats: &[Chat], progress: &dyn Progress) -> Result<Vec<Self>> {
        let mut rows = Vec::with_capacity(chats.len());
        let (mut turns, mut shortened, mut first) = (0, 0, None);
        for chat in chats {
            let encoded = encoded(model, &chat.conversation, &chat.place)?;
            if !encoded.left_out.is_empty() {
                turns += encoded.left_out.len();
                shortened += 1;
                first.get_or_insert(&chat.place);
            }
            rows.push(Self::from_encoded(encoded));
        }
        if let Some(first) = first {
            progress.note(&format!(
                "assistant turns that are read but are no responses: {turns}, in {shortened} of {} rows (first: {first}); \
                 the chat template writes them otherwise once others follow, as where it drops their thoughts",
                chats.len()
            ));
        }
        Ok(rows)
    }

    fn from_encoded(chat: EncodedChat) -> Self {
        Self { ids: chat.ids, responses: chat.responses }
    }

    /// The beginning of a plain text, `limit` tokens at most; no token of it is a response.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn of_text(model: &Model, text: &str, limit: usize) -> Result<Self> {
        let limit = limit.min(model.config().context_length);
        Ok(Self { ids: model.tokenizer.encode_start(text, limit)?, responses: Vec::new() })
    }

    /// Number of response tokens.
    pub fn response_tokens(&self) -> usize {
        self.responses.iter().map(ExactSizeIterator::len).sum()
    }
}

fn encoded(model: &Model, conversation: &Conversation, place: &str) -> Result<EncodedChat> {
    let context = model.config().context_length;
    let chat = model.tokenizer.encode_chat_within(conversation, context);
    chat.map_err(|source| Error::Row { place: place.into(), source: Box::new(source) })
}

/// Some rows, in their order, in batches of a good size for a pass.
pub fn batches(rows: &[Row], some: &[usize]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for &row in some {
        let length = rows[row].ids.len();
        if batches.is_empty() || tokens + length > TOKENS_AT_ONCE {
            batches.push(Vec::new());
            tokens = 0;
        }
        tokens += length;
        if let Some(batch) = batches.last_mut() {
            batch.push(row);
        }
    }
    batches
}

/// A batch of rows as passes compute it: what all of them begin with once.
pub fn packed(rows: &[Row], batch: &[usize]) -> Packed {
    Packed::sharing(batch.iter().map(|&row| rows[row].ids.as_slice()))
}

/// Rows with what no edit from `point` on can change: computed once, kept while memory allows.
pub struct Kept {
    rows: Vec<Row>,
    point: usize,
    /// Whose stream is kept: its embedding table. What is kept of one decoder says nothing of another.
    of: Option<TensorId>,
    /// Which rows are kept, in the order in which they were asked for.
    kept: Vec<usize>,
    /// Where each row begins in `streams` and `base_hidden`, if it is kept.
    starts: Vec<Option<usize>>,
    /// Shape `(tokens, hidden_size)`. One tensor for all rows: many small ones that live long, between large ones that do
    /// not, leave the allocator with holes as large as the rest.
    streams: Option<Tensor>,
    base_hidden: Option<Tensor>,
}

/// Bytes that one set of rows may keep; beyond it the prefix is computed again for every batch.
pub const KEEP_LIMIT: u64 = 768 << 20;

/// Tokens that a pass over many rows takes at once: enough for full matrix products, little memory.
pub const TOKENS_AT_ONCE: usize = 1024;

impl Kept {
    /// Rows of which nothing is kept yet.
    pub fn new(rows: Vec<Row>) -> Self {
        let starts = vec![None; rows.len()];
        Self { rows, point: 0, of: None, kept: Vec::new(), starts, streams: None, base_hidden: None }
    }

    /// The question of every row, by number: rows that begin alike up to their first response ask the same. A row without
    /// a response asks what the whole of it is.
    pub fn questions(&self) -> Vec<usize> {
        let asked = |row: &'_ Row| row.responses.first().map_or(row.ids.len(), |response| response.start);
        clusters(self.rows.iter().map(|row| &row.ids[..asked(row)]))
    }

    /// Computes and keeps the base model's residual stream of all rows at `point`; with `base_hidden` also its last
    /// hidden state.
    ///
    /// # Errors
    /// If a row does not fit the model.
    pub fn all(
        decoder: &Decoder,
        rows: Vec<Row>,
        point: usize,
        base_hidden: bool,
        title: &str,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut kept = Self::new(rows);
        let every_row = kept.every_row();
        kept.keep(decoder, &every_row, point, base_hidden, title, progress)?;
        Ok(kept)
    }

    /// Computes and keeps the base model's residual stream of some rows at `point`, and of no others. Does nothing where
    /// just that is kept already.
    ///
    /// # Errors
    /// If a row does not fit the model.
    pub fn keep(
        &mut self,
        decoder: &Decoder,
        rows: &[usize],
        point: usize,
        base_hidden: bool,
        title: &str,
        progress: &dyn Progress,
    ) -> Result<()> {
        let enough = self.streams.is_some() && (self.base_hidden.is_some() || !base_hidden);
        let of = Some(decoder.embeddings().id());
        if enough && self.of == of && self.point == point && self.kept == rows {
            return Ok(());
        }
        self.forget();
        (self.point, self.of) = (point, of);
        let tokens = rows.iter().map(|&r| self.rows[r].ids.len()).sum::<usize>();
        let width = decoder.config().hidden_size;
        let bytes = (tokens * width) as u64 * 4 * if base_hidden { 2 } else { 1 };
        if bytes > KEEP_LIMIT {
            progress.note(&format!(
                "{title}: {:.1} GB of residual stream are computed anew for every batch instead of kept",
                bytes as f64 / 1e9
            ));
            return Ok(());
        }
        let task = progress.begin(title, Some(tokens as u64), Unit::Count);
        let empty = || Tensor::zeros((tokens, width), DType::F32, decoder.device());
        let (streams, hidden) = (empty()?, base_hidden.then(empty).transpose()?);
        let mut starts = vec![None; self.rows.len()];
        let mut start = 0;
        for batch in batches(&self.rows, rows) {
            let packed = packed(&self.rows, &batch);
            let stream = self.stream(decoder, &packed, &batch)?;
            let every_token = Tensor::new(packed.every_token(), decoder.device())?;
            streams.slice_set(&stream.index_select(&every_token, 0)?, 0, start)?;
            if let Some(hidden) = &hidden {
                let base = self.base_of(decoder, &packed, &stream)?;
                hidden.slice_set(&base.index_select(&every_token, 0)?, 0, start)?;
            }
            let first = start;
            for &row in &batch {
                starts[row] = Some(start);
                start += self.rows[row].ids.len();
            }
            task.advance((start - first) as u64);
            if progress.stopped() {
                return Err(Error::Interrupted);
            }
        }
        (self.starts, self.streams, self.base_hidden) = (starts, Some(streams), hidden);
        self.kept = rows.to_vec();
        Ok(())
    }

    /// Gives back the memory of what is kept.
    pub fn forget(&mut self) {
        (self.streams, self.base_hidden) = (None, None);
        self.kept.clear();
    }

    /// Indices of all rows.
    pub fn every_row(&self) -> Vec<usize> {
        (0..self.rows.len()).collect()
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// All rows in batches of a good size for a pass.
    pub fn batches_by_tokens(&self) -> Vec<Vec<usize>> {
        batches(&self.rows, &self.every_row())
    }

    /// Median over all tokens of some rows of the residual stream's norm at the kept point: its scale there.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn median_norm(&self, decoder: &Decoder, rows: &[usize]) -> Result<f64> {
        let mut norms: Vec<f32> = Vec::new();
        for batch in batches(&self.rows, rows) {
            let packed = packed(&self.rows, &batch);
            let stream = self.stream(decoder, &packed, &batch)?;
            let of_rows = stream.sqr()?.sum(1)?.sqrt()?.to_vec1::<f32>()?;
            norms.extend(packed.every_token().into_iter().map(|at| of_rows[at as usize]));
        }
        norms.sort_by(f32::total_cmp);
        Ok(norms.get(norms.len() / 2).copied().unwrap_or(0.0) as f64)
    }

    /// Cross-entropy of every response token of some rows, in nats, in the order of the rows.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn response_losses(
        &self,
        decoder: &Decoder,
        rows: &[usize],
        edit: Option<&Edit>,
    ) -> Result<Vec<f32>> {
        let Predictions { hidden, targets, unembedding } = self.predictions(decoder, rows, edit)?;
        Ok(Loss::CrossEntropy(&targets).values(&hidden, &unembedding)?)
    }

    /// As [`Self::response_losses`], with the gradient of `weight` times their sum.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn response_gradient(
        &self,
        decoder: &Decoder,
        rows: &[usize],
        edit: Option<&Edit>,
        weight: f64,
    ) -> Result<(Vec<f32>, GradStore)> {
        let Predictions { hidden, targets, unembedding } = self.predictions(decoder, rows, edit)?;
        let weights = vec![weight as f32; targets.len()];
        Ok(Loss::CrossEntropy(&targets).backward(&hidden, &unembedding, &weights)?)
    }

    /// KL(base ‖ edited) of every token of some rows, in nats, in the order of the rows.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn kl(&self, decoder: &Decoder, rows: &[usize], edit: &Edit) -> Result<Vec<f32>> {
        let both = self.both(decoder, decoder, rows, Some(edit), None)?;
        let values = both.loss().values(&both.hidden, &both.unembedding)?;
        Ok(both.packed.every_token().into_iter().map(|at| values[at as usize]).collect())
    }

    /// KL(base ‖ edited) as [`Self::kl`], with the gradient of `weight` times its sum. The edited model may have a decoder of its
    /// own, as where all of its weights are trained.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn kl_gradient(
        &self,
        base: &Decoder,
        rows: &[usize],
        (edited, edit): (&Decoder, Option<&Edit>),
        weight: f64,
    ) -> Result<(Vec<f32>, GradStore)> {
        let both = self.both(base, edited, rows, edit, None)?;
        let every_token = both.packed.every_token();
        let mut weights = vec![0f32; both.packed.tokens()];
        // What all rows begin with stands there once, and counts in each.
        every_token.iter().for_each(|&at| weights[at as usize] += weight as f32);
        let (values, gradients) = both.loss().backward(&both.hidden, &both.unembedding, &weights)?;
        Ok((every_token.into_iter().map(|at| values[at as usize]).collect(), gradients))
    }

    /// KL(base ‖ edited) where each response token of some rows is predicted, in nats, in the order of the rows.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn response_kl(&self, decoder: &Decoder, rows: &[usize], edit: &Edit) -> Result<Vec<f32>> {
        let (predicting, _) = self.responses(rows, &packed(&self.rows, rows));
        let both = self.both(decoder, decoder, rows, Some(edit), Some(predicting))?;
        Ok(both.loss().values(&both.hidden, &both.unembedding)?)
    }

    /// What predicts the response tokens of some rows.
    fn predictions(&self, decoder: &Decoder, rows: &[usize], edit: Option<&Edit>) -> Result<Predictions> {
        let packed = packed(&self.rows, rows);
        let (predicting, targets) = self.responses(rows, &packed);
        let predicting = Tensor::new(predicting, decoder.device())?;
        let hidden = match (self.gather(&self.base_hidden, decoder, rows, &packed)?, edit) {
            (Some(kept), None) => kept.index_select(&predicting, 0)?,
            _ => {
                let stream = self.through(decoder, self.stream(decoder, &packed, rows)?, &packed, edit)?;
                decoder.finish(stream.index_select(&predicting, 0)?, edit)?
            }
        };
        Ok(Predictions { hidden, targets, unembedding: decoder.unembedding(edit)? })
    }

    /// What the edited and the base model make of some rows, or of some of their packed tokens.
    fn both(
        &self,
        base: &Decoder,
        edited: &Decoder,
        rows: &[usize],
        edit: Option<&Edit>,
        some: Option<Vec<u32>>,
    ) -> Result<Both> {
        let packed = packed(&self.rows, rows);
        let some = some.map(|some| Tensor::new(some, base.device())).transpose()?;
        let pick = |all: Tensor| match &some {
            Some(some) => all.index_select(some, 0),
            None => Ok(all),
        };
        let of_base = match self.gather(&self.base_hidden, base, rows, &packed)? {
            Some(kept) => kept,
            None => self.base_of(base, &packed, &self.stream(base, &packed, rows)?)?,
        };
        let stream = self.through(edited, self.stream(edited, &packed, rows)?, &packed, edit)?;
        Ok(Both {
            hidden: edited.finish(pick(stream)?, edit)?,
            unembedding: edited.unembedding(edit)?,
            base: pick(of_base)?,
            base_unembedding: base.unembedding(None)?,
            packed,
        })
    }

    /// Where in a packed batch the response tokens of its rows are predicted, and those tokens.
    fn responses(&self, rows: &[usize], packed: &Packed) -> (Vec<u32>, Vec<u32>) {
        let (mut predicting, mut targets) = (Vec::new(), Vec::new());
        let every_token = packed.every_token();
        let mut start = 0;
        for row in rows.iter().map(|&row| &self.rows[row]) {
            for token in row.responses.iter().flat_map(Clone::clone) {
                predicting.push(every_token[start + token - 1]);
                targets.push(row.ids[token]);
            }
            start += row.ids.len();
        }
        (predicting, targets)
    }

    /// The base model's residual stream of packed rows at the kept point.
    fn stream(&self, decoder: &Decoder, packed: &Packed, rows: &[usize]) -> Result<Tensor> {
        match self.gather(&self.streams, decoder, rows, packed)? {
            Some(kept) => Ok(kept),
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

    /// What is kept of some rows, packed, where all of them are kept of that decoder.
    fn gather(
        &self,
        kept: &Option<Tensor>,
        decoder: &Decoder,
        rows: &[usize],
        packed: &Packed,
    ) -> Result<Option<Tensor>> {
        let Some(kept) = kept.as_ref().filter(|_| self.of == Some(decoder.embeddings().id())) else {
            return Ok(None);
        };
        let Some(starts) = rows.iter().map(|&r| self.starts[r]).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let shared = packed.beginning().len();
        let beginning = starts.first().map(|&start| kept.narrow(0, start, shared));
        let own =
            starts.iter().zip(packed.rows()).map(|(start, at)| kept.narrow(0, start + shared, at.len()));
        let pieces = beginning.into_iter().filter(|_| shared > 0).chain(own);
        Ok(Some(Tensor::cat(&pieces.collect::<candle_core::Result<Vec<_>>>()?, 0)?))
    }
}

/// What predicts some tokens.
struct Predictions {
    hidden: Tensor,
    targets: Vec<u32>,
    unembedding: Unembedding,
}

/// What an edited model and its base make of the same tokens.
struct Both {
    packed: Packed,
    hidden: Tensor,
    unembedding: Unembedding,
    base: Tensor,
    base_unembedding: Unembedding,
}

impl Both {
    fn loss(&self) -> Loss<'_> {
        Loss::Divergence { base: &self.base, unembedding: &self.base_unembedding }
    }
}
