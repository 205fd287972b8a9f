//! The streams of rows that no edit can change: computed once, kept while there is room, and computed anew otherwise.

use std::{collections::BTreeMap, ops::Range};

use candle_core::{DType, Tensor, TensorId};
use strait_model::{
    Decoder, Edit,
    decoder::{Packed, first_changed_point},
    progress::{Progress, Unit},
};

use super::{Row, batches, packed};
use crate::{
    Error, Result,
    interval::clusters,
    store::{Room, Store},
};

/// Rows with what no edit from `point` on can change: computed once, kept while there is room.
pub struct Kept {
    rows: Vec<Row>,
    store: Store,
    point: usize,
    /// Whose stream is kept: its embedding table. What is kept of one decoder says nothing of another.
    of: Option<TensorId>,
    /// True if the last hidden state is kept too.
    hidden: bool,
    /// The rows that are kept, in the order in which they were asked for.
    asked: Vec<usize>,
    /// The batches in which these rows are computed, to be kept or anew: products of other batches would round otherwise.
    batches: Vec<Vec<usize>>,
    /// The batch of each row, if the row is kept.
    places: Vec<Option<Place>>,
    /// Tensors of shape `(tokens, hidden_size)`: the stream, and the last hidden state. One tensor for all rows: many small
    /// ones that live long, between large ones that do not, leave the allocator with holes as large as the rest.
    room: Option<Room>,
    /// Tokens that the room's tensors have, those of the first batches; the other batches are computed anew.
    tokens: usize,
    /// True once it was said that some are computed anew.
    said: bool,
}

/// The place of a kept row.
#[derive(Clone, Copy)]
struct Place {
    batch: usize,
    /// Its first token among all that are kept.
    start: usize,
    /// Its first token within its batch.
    within: usize,
}

/// The parts of rows that are kept.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// The base model's residual stream at the point.
    Stream = 0,
    /// The base model's last hidden state.
    Hidden = 1,
}

/// Bytes of rows of which one set keeps nothing: the prefix is computed for every batch that is read, in that batch. This
/// line follows from the rows alone; whether there is room does not move it, since other batches round otherwise.
const KEEP_LIMIT: u64 = 768 << 20;

/// Bytes that a set of so many tokens keeps where there is room, with the last hidden state or without it.
pub fn kept_bytes(tokens: usize, width: usize, hidden: bool) -> u64 {
    let bytes = (tokens * width) as u64 * 4 * if hidden { 2 } else { 1 };
    if bytes > KEEP_LIMIT { 0 } else { bytes }
}

impl Kept {
    /// Rows of which nothing is kept yet, in a store of their own that has room for all of them.
    pub fn new(rows: Vec<Row>) -> Self {
        Self {
            places: vec![None; rows.len()],
            rows,
            store: Store::new(u64::MAX),
            point: 0,
            of: None,
            hidden: false,
            asked: Vec::new(),
            batches: Vec::new(),
            room: None,
            tokens: 0,
            said: false,
        }
    }

    /// These rows in a store that they share with others; nothing of them is kept yet.
    pub fn within(self, store: &Store) -> Self {
        Self { store: store.clone(), ..Self::new(self.rows) }
    }

    /// Other rows in the same store; nothing of them is kept yet.
    pub fn others(&self, rows: Vec<Row>) -> Self {
        Self::new(rows).within(&self.store)
    }

    /// The question of every row, by number: rows that begin alike up to their first response ask the same. A row without
    /// a response asks what the whole of it is.
    pub fn questions(&self) -> Vec<usize> {
        clusters(self.rows.iter().map(Row::question))
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

    /// Computes and keeps the base model's residual stream of some rows at `point`, and of no others, as far as there is
    /// room. Does nothing where just that is kept already.
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
        let of = Some(decoder.id());
        let same = self.of == of && self.point == point && self.asked == rows;
        if same && (self.hidden || !base_hidden) && self.is_whole() {
            return Ok(());
        }
        self.forget();
        (self.point, self.of, self.hidden) = (point, of, base_hidden);
        self.asked = rows.to_vec();
        let length = |batch: &[usize]| batch.iter().map(|&row| self.rows[row].ids.len()).sum::<usize>();
        let width = decoder.config().hidden_size;
        let all = length(rows);
        if all > 0 && kept_bytes(all, width, base_hidden) == 0 {
            let gigabytes = (all * width) as f64 * 4.0 / 1e9;
            self.say(
                progress,
                &format!("{title}: {gigabytes:.1} GB of residual stream are too much to keep and are computed for every batch"),
            );
            return Ok(());
        }
        self.batches = batches(&self.rows, rows);
        let lengths: Vec<usize> = self.batches.iter().map(|batch| length(batch)).collect();
        let pieces: Vec<u64> = lengths.iter().map(|&tokens| kept_bytes(tokens, width, base_hidden)).collect();
        let (room, count) = self.store.room(&pieces);
        self.tokens = lengths[..count].iter().sum();
        self.place();
        if self.tokens < all {
            let share = 100 * (all - self.tokens) / all;
            self.say(
                progress,
                &format!("{title}: memory has no room for {share} % of them, which are computed anew"),
            );
        }
        let task = progress.begin(title, Some(self.tokens as u64), Unit::Count);
        let parts = [Part::Stream, Part::Hidden].into_iter().take(if base_hidden { 2 } else { 1 });
        let empty = |_| Tensor::zeros((self.tokens, width), DType::F32, decoder.device());
        let tensors = parts.map(empty).collect::<candle_core::Result<Vec<_>>>()?;
        let mut start = 0;
        for (batch, tokens) in self.batches.iter().zip(&lengths).take(count) {
            for (tensor, found) in tensors.iter().zip(self.compute(decoder, batch, base_hidden)?) {
                tensor.slice_set(&found, 0, start)?;
            }
            start += tokens;
            task.advance(*tokens as u64);
            if progress.stopped() {
                return Err(Error::Interrupted);
            }
        }
        room.fill(tensors);
        self.room = Some(room);
        Ok(())
    }

    /// True if all that was asked for is kept, or never will be.
    fn is_whole(&self) -> bool {
        let asked = self.asked.iter().map(|&row| self.rows[row].ids.len()).sum::<usize>();
        self.batches.is_empty() || (self.tokens == asked && self.tensors().is_some())
    }

    /// Gives back the memory of what is kept.
    fn forget(&mut self) {
        (self.room, self.tokens) = (None, 0);
        self.asked.clear();
        self.batches.clear();
        self.places.fill(None);
    }

    /// Notes where every row of the batches is kept.
    fn place(&mut self) {
        let mut start = 0;
        for (number, batch) in self.batches.iter().enumerate() {
            let first = start;
            for &row in batch {
                self.places[row] = Some(Place { batch: number, start, within: start - first });
                start += self.rows[row].ids.len();
            }
        }
    }

    fn say(&mut self, progress: &dyn Progress, words: &str) {
        if !std::mem::replace(&mut self.said, true) {
            progress.note(words);
        }
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

    /// The base model's residual stream of packed rows at the kept point.
    pub(super) fn stream(&self, decoder: &Decoder, packed: &Packed, rows: &[usize]) -> Result<Tensor> {
        match self.gather(&[Part::Stream], decoder, rows, packed)? {
            Some([stream]) => Ok(stream),
            None => Ok(decoder.run(decoder.embed(packed)?, 0..self.point, packed, None)?),
        }
    }

    /// The base model's residual stream of packed rows at the kept point, and its last hidden state.
    pub(super) fn stream_and_hidden(
        &self,
        decoder: &Decoder,
        packed: &Packed,
        rows: &[usize],
    ) -> Result<[Tensor; 2]> {
        if let Some(both) = self.gather(&[Part::Stream, Part::Hidden], decoder, rows, packed)? {
            return Ok(both);
        }
        let stream = self.stream(decoder, packed, rows)?;
        let hidden = self.base_of(decoder, packed, &stream)?;
        Ok([stream, hidden])
    }

    pub(super) fn through(
        &self,
        decoder: &Decoder,
        stream: Tensor,
        packed: &Packed,
        edit: Option<&Edit>,
    ) -> Result<Tensor> {
        let layers = decoder.config().layers;
        debug_assert!(edit.is_none_or(|e| first_changed_point(e, layers) >= self.point));
        Ok(decoder.run(stream, self.point..layers, packed, edit)?)
    }

    fn base_of(&self, decoder: &Decoder, packed: &Packed, stream: &Tensor) -> Result<Tensor> {
        let stream = self.through(decoder, stream.clone(), packed, None)?;
        Ok(decoder.finish(stream, None)?)
    }

    /// The kept tensors of a batch's tokens, one row behind the other: the stream, and the last hidden state.
    fn compute(&self, decoder: &Decoder, batch: &[usize], hidden: bool) -> Result<Vec<Tensor>> {
        let packed = packed(&self.rows, batch);
        let every_token = Tensor::new(packed.every_token(), decoder.device())?;
        let stream = decoder.run(decoder.embed(&packed)?, 0..self.point, &packed, None)?;
        let mut found = vec![stream.index_select(&every_token, 0)?];
        if hidden {
            found.push(self.base_of(decoder, &packed, &stream)?.index_select(&every_token, 0)?);
        }
        Ok(found)
    }

    /// Parts of what is kept of some rows, packed, where all of them are kept of that decoder. What has no room is computed
    /// anew in the batches in which it would have been kept.
    pub(super) fn gather<const N: usize>(
        &self,
        parts: &[Part; N],
        decoder: &Decoder,
        rows: &[usize],
        packed: &Packed,
    ) -> Result<Option<[Tensor; N]>> {
        let of_it = self.of == Some(decoder.id());
        if !of_it || (parts.contains(&Part::Hidden) && !self.hidden) {
            return Ok(None);
        }
        let Some(places) = rows.iter().map(|&row| self.places[row]).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let (held, tokens) = self.tensors().map_or((Vec::new(), 0), |held| (held, self.tokens));
        let of_row = |tensors: &[Tensor], start: usize, row: usize| {
            let narrow = |tensor: &Tensor| tensor.narrow(0, start, self.rows[row].ids.len());
            tensors.iter().map(narrow).collect::<candle_core::Result<Vec<_>>>()
        };
        let mut found = vec![Vec::new(); rows.len()];
        let mut lacking: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, place) in places.iter().enumerate() {
            match place.start < tokens {
                true => found[i] = of_row(&held, place.start, rows[i])?,
                false => lacking.entry(place.batch).or_default().push(i),
            }
        }
        for (batch, lacking) in lacking {
            let computed = self.compute(decoder, &self.batches[batch], parts.contains(&Part::Hidden))?;
            for i in lacking {
                let own = of_row(&computed, places[i].within, rows[i])?;
                // A copy lets go of the rest of the batch.
                found[i] = own.iter().map(Tensor::force_contiguous).collect::<candle_core::Result<_>>()?;
            }
        }
        let shared = packed.beginning().len();
        let gathered = parts.map(|part| {
            let of = |found: &[Tensor], tokens: Range<usize>| {
                found[part as usize].narrow(0, tokens.start, tokens.len())
            };
            let beginning = found.first().map(|first| of(first, 0..shared)).filter(|_| shared > 0);
            let own = found.iter().zip(packed.rows()).map(|(row, at)| of(row, shared..shared + at.len()));
            Tensor::cat(&beginning.into_iter().chain(own).collect::<candle_core::Result<Vec<_>>>()?, 0)
        });
        let gathered: Vec<Tensor> = gathered.into_iter().collect::<candle_core::Result<_>>()?;
        Ok(gathered.try_into().ok())
    }

    fn tensors(&self) -> Option<Vec<Tensor>> {
        self.room.as_ref().and_then(Room::tensors)
    }
}
