//! Batches without padding.

use std::ops::Range;

/// Sequences one behind the other, without padding. What all of them begin with may stand there once, before them.
#[derive(Clone, Debug)]
pub struct Packed {
    pub(super) ids: Vec<u32>,
    /// Position of each token in its own sequence.
    pub(super) positions: Vec<u32>,
    /// Tokens of the shared beginning.
    pub(super) shared: usize,
    /// Tokens of each sequence that follow it.
    pub(super) lengths: Vec<usize>,
}

impl Packed {
    /// Packs whole sequences; each begins at position 0.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        Self::continuing(sequences.into_iter().map(|ids| (0, ids)))
    }

    /// Packs pieces of sequences, each with the position of its first token.
    pub fn continuing<'a>(pieces: impl IntoIterator<Item = (usize, &'a [u32])>) -> Self {
        let mut packed = Self { ids: Vec::new(), positions: Vec::new(), shared: 0, lengths: Vec::new() };
        for (start, ids) in pieces {
            packed.ids.extend(ids);
            packed.positions.extend((start..start + ids.len()).map(|p| p as u32));
            packed.lengths.push(ids.len());
        }
        packed
    }

    /// Packs whole sequences, with what all of them begin with computed once for all: a causal model cannot tell there which
    /// sequence it reads. Chats begin with the same system prompt.
    pub fn sharing<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let sequences: Vec<&[u32]> = sequences.into_iter().collect();
        let shared = common_beginning(&sequences);
        let beginning = sequences.first().map_or(&[][..], |first| &first[..shared]);
        let pieces =
            std::iter::once((0, beginning)).chain(sequences.iter().map(|ids| (shared, &ids[shared..])));
        let mut packed = Self::continuing(pieces);
        packed.lengths.remove(0);
        packed.shared = shared;
        packed
    }

    /// All token ids: the shared beginning, and one sequence behind the other.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Rows of the shared beginning.
    pub fn beginning(&self) -> Range<usize> {
        0..self.shared
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Rows of each sequence, without the shared beginning.
    pub fn rows(&self) -> Vec<Range<usize>> {
        let mut end = self.shared;
        let next = |&length: &usize| {
            let start = end;
            end += length;
            start..end
        };
        self.lengths.iter().map(next).collect()
    }

    /// The row of every token of every sequence, in their order: those of a shared beginning come once for each.
    pub fn every_token(&self) -> Vec<u32> {
        let rows = self.rows().into_iter().flat_map(|own| self.beginning().chain(own));
        rows.map(|row| row as u32).collect()
    }
}

/// The number of tokens that all sequences begin with; each keeps one of its own. None where there are not several.
fn common_beginning(sequences: &[&[u32]]) -> usize {
    let [first, others @ ..] = sequences else { return 0 };
    let alike = |other: &&[u32]| first.iter().zip(*other).take_while(|(a, b)| a == b).count();
    let shortest = sequences.iter().map(|ids| ids.len().saturating_sub(1)).min().unwrap_or(0);
    others.iter().map(alike).min().map_or(0, |shared| shared.min(shortest))
}
