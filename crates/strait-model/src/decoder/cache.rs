//! Keys and values of tokens already seen, in pages that sequences share.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use crate::{
    Config, Result,
    ops::{self, AttentionShape, PAGE, Pages, Span, Spans},
};

/// A sequence in a [`Cache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(usize);

/// Keys and values of sequences, kept for decoding step by step.
///
/// They lie in pages of [`Cache::PAGE`] tokens, which are written in place. Sequences that [fork](Self::fork) hold their common
/// pages together; one that writes into such a page gets a copy of it first. A page that none holds any more is used again.
#[derive(Debug)]
pub struct Cache {
    /// Of each layer the keys, after the rotary embedding, and the values: `(pages * PAGE, kv_heads * head_dim)`, on the
    /// CPU in the type in which products see them.
    layers: Vec<(Tensor, Tensor)>,
    /// The number of sequences that hold each page.
    holders: Vec<u32>,
    /// Pages that none holds.
    free: Vec<u32>,
    /// None where a sequence has ended.
    sequences: Vec<Option<Held>>,
}

/// A sequence's part of the cache.
#[derive(Clone, Debug, Default)]
struct Held {
    pages: Vec<u32>,
    tokens: usize,
}

impl Cache {
    /// Tokens of a page.
    pub const PAGE: usize = PAGE;

    /// A cache without sequences, which takes memory as they grow.
    ///
    /// # Errors
    /// If the device has no room.
    pub(super) fn new(config: &Config, dtype: DType, device: &Device) -> Result<Self> {
        let page = || Tensor::zeros((PAGE, config.kv_heads * config.head_dim), dtype, device);
        // One page at first: not every device has tensors without numbers.
        let layers = (0..config.layers).map(|_| Ok((page()?, page()?))).collect::<Result<_>>()?;
        Ok(Self { layers, holders: vec![0], free: vec![0], sequences: Vec::new() })
    }

    /// The pages that a number of tokens takes.
    pub fn pages_of(tokens: usize) -> usize {
        tokens.div_ceil(PAGE)
    }

    /// The bytes of a page, over all layers.
    pub fn page_bytes(&self) -> usize {
        let of_row = |of: &Tensor| of.dims().last().map_or(0, |width| width * of.dtype().size_in_bytes());
        self.layers.iter().map(|(keys, values)| PAGE * (of_row(keys) + of_row(values))).sum()
    }

    /// The pages that sequences hold.
    pub fn pages(&self) -> usize {
        self.holders.len() - self.free.len()
    }

    /// The pages that a sequence may still ask for until it has so many tokens.
    pub fn pages_to_come(&self, sequence: Sequence, tokens: usize) -> usize {
        let held = self.held(sequence);
        let copied = usize::from(self.shared_last(held).is_some());
        Self::pages_of(tokens).saturating_sub(held.pages.len()) + copied
    }

    /// A new sequence, without tokens.
    pub fn begin(&mut self) -> Sequence {
        self.insert(Held::default())
    }

    /// A new sequence that goes on from where another stands.
    pub fn fork(&mut self, sequence: Sequence) -> Sequence {
        let held = self.held(sequence).clone();
        held.pages.iter().for_each(|&page| self.holders[page as usize] += 1);
        self.insert(held)
    }

    /// Lets a sequence go.
    pub fn end(&mut self, sequence: Sequence) {
        let ended = self.sequences[sequence.0].take();
        ended.into_iter().flat_map(|held| held.pages).for_each(|page| self.release(page));
    }

    /// The tokens of a sequence.
    pub fn length(&self, sequence: Sequence) -> usize {
        self.held(sequence).tokens
    }

    fn insert(&mut self, held: Held) -> Sequence {
        let place = self.sequences.iter().position(Option::is_none).unwrap_or(self.sequences.len());
        if place == self.sequences.len() {
            self.sequences.push(None);
        }
        self.sequences[place] = Some(held);
        Sequence(place)
    }

    fn held(&self, sequence: Sequence) -> &Held {
        self.sequences[sequence.0].as_ref().expect("a sequence that has not ended")
    }

    /// The page that a sequence's next token would be written into and that others hold too.
    fn shared_last(&self, held: &Held) -> Option<u32> {
        let last = held.pages.last().copied().filter(|_| !held.tokens.is_multiple_of(PAGE))?;
        (self.holders[last as usize] > 1).then_some(last)
    }

    fn release(&mut self, page: u32) {
        self.holders[page as usize] -= 1;
        if self.holders[page as usize] == 0 {
            self.free.push(page);
        }
    }

    /// Gives sequences pages of their own for so many more tokens, which [`Cache::write`] fills in every layer.
    pub(super) fn grow(&mut self, sequences: &[Sequence], tokens: &[usize]) -> Result<()> {
        let asked = |(&sequence, more): (&Sequence, &usize)| {
            self.pages_to_come(sequence, self.length(sequence) + more)
        };
        let asked: usize = sequences.iter().zip(tokens).map(asked).sum();
        self.make_room(asked)?;
        for (sequence, &more) in sequences.iter().zip(tokens) {
            let mut held = self.sequences[sequence.0].take().expect("a sequence that has not ended");
            if let Some(shared) = self.shared_last(&held) {
                let own = self.take_page();
                self.copy(shared, own)?;
                self.release(shared);
                held.pages.pop();
                held.pages.push(own);
            }
            held.tokens += more;
            while held.pages.len() < Self::pages_of(held.tokens) {
                held.pages.push(self.take_page());
            }
            self.sequences[sequence.0] = Some(held);
        }
        Ok(())
    }

    /// Makes sure that so many pages are free.
    fn make_room(&mut self, pages: usize) -> Result<()> {
        if self.free.len() >= pages {
            return Ok(());
        }
        let had = self.holders.len();
        // As much again, so that growing token by token copies little.
        let made = (pages - self.free.len()).max(had);
        for (keys, values) in &mut self.layers {
            for tensor in [keys, values] {
                let (rows, width) = tensor.dims2()?;
                let larger = Tensor::zeros((rows + made * PAGE, width), tensor.dtype(), tensor.device())?;
                larger.slice_set(tensor, 0, 0)?;
                *tensor = larger;
            }
        }
        self.holders.resize(had + made, 0);
        self.free.extend((had..had + made).rev().map(|page| page as u32));
        Ok(())
    }

    fn take_page(&mut self) -> u32 {
        let page = self.free.pop().expect("room was made");
        self.holders[page as usize] = 1;
        page
    }

    fn copy(&self, from: u32, to: u32) -> Result<()> {
        for (keys, values) in &self.layers {
            for tensor in [keys, values] {
                let page = tensor.narrow(0, from as usize * PAGE, PAGE)?.copy()?;
                tensor.slice_set(&page, 0, to as usize * PAGE)?;
            }
        }
        Ok(())
    }

    fn seen(&self, sequence: Sequence) -> Pages<'_> {
        let held = self.held(sequence);
        Pages { pages: &held.pages, length: held.tokens }
    }

    /// Writes the last keys and values of sequences, whose rows `rows` are, into a layer.
    pub(super) fn write(
        &self,
        layer: usize,
        sequences: &[Sequence],
        rows: &[Range<usize>],
        k: &Tensor,
        v: &Tensor,
    ) -> Result<()> {
        let (keys, values) = &self.layers[layer];
        let places = sequences.iter().zip(rows).flat_map(|(&sequence, rows)| {
            let seen = self.seen(sequence);
            (seen.length - rows.len()..seen.length).map(move |token| seen.row(token))
        });
        let places: Vec<usize> = places.collect();
        ops::write_rows(keys, &places, k)?;
        Ok(ops::write_rows(values, &places, v)?)
    }

    /// Attention of the last tokens of sequences over all of theirs.
    pub(super) fn attention(
        &self,
        layer: usize,
        sequences: &[Sequence],
        rows: &[Range<usize>],
        q: &Tensor,
        shape: AttentionShape,
    ) -> Result<Tensor> {
        let (keys, values) = &self.layers[layer];
        let seen: Vec<Pages> = sequences.iter().map(|&sequence| self.seen(sequence)).collect();
        if ops::fused(q) && rows.iter().all(|rows| rows.len() == 1) {
            return Ok(ops::attention_in_pages(q, keys, values, shape, &seen)?);
        }
        let every_row = seen.iter().flat_map(|seen| (0..seen.length).map(|token| seen.row(token) as u32));
        let every_row = Tensor::from_iter(every_row, q.device())?;
        let mut end = 0;
        let spans = rows.iter().zip(&seen).map(|(rows, seen)| {
            let start = end;
            end += seen.length;
            Span { queries: rows.clone(), beginning: 0..0, keys: start..end }
        });
        let spans = Spans::new(spans);
        let (k, v) = (keys.index_select(&every_row, 0)?, values.index_select(&every_row, 0)?);
        let (k, v) = (k.to_dtype(q.dtype())?, v.to_dtype(q.dtype())?);
        Ok(ops::attention(q, &k, &v, shape, &spans)?)
    }
}
