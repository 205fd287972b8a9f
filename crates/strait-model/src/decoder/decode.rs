//! Decoding: sequences of a cache go on by some tokens.

use std::{ops::Range, ptr, sync::Arc};

use candle_core::{DType, Tensor};

use super::{
    Cache, Decoder, Keys, Packed, Sequence,
    edited::{Edits, adapters, edited, fulls},
};
use crate::{
    Edit, Result,
    edit::{Full, Site},
    ops::{self, Product},
};

/// Tokens by which a sequence of a cache goes on, and the edit that it is under.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The sequence; no two pieces are of one.
    pub sequence: Sequence,
    /// The tokens, one at least.
    pub ids: &'a [u32],
    /// The edit: that of the sequence's tokens before. Pieces that point to one edit are computed together.
    pub edit: Option<&'a Edit>,
}

impl Decoder {
    /// A cache for this decoder.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn cache(&self) -> Result<Cache> {
        // Vectors are kept in the type of the stream, whatever the precision of products.
        Cache::new(&self.config, self.norm.dtype(), self.device())
    }

    /// Lets sequences of a cache go on, and gives the logits after the last token of each piece, in their order.
    ///
    /// What comes out for a piece has the same bits whatever other pieces are beside it: pieces of one token are computed together,
    /// row by row, longer ones each in a pass of its own.
    ///
    /// # Errors
    /// If a token id is outside the vocabulary or a sequence longer than the context; a cache that has met an error is of no use.
    pub fn extend(&self, cache: &mut Cache, pieces: &[Piece]) -> Result<Vec<Vec<f32>>> {
        let mut logits = vec![Vec::new(); pieces.len()];
        for pass in passes(pieces) {
            let together: Vec<Piece> = pass.iter().map(|&at| pieces[at]).collect();
            for (at, found) in pass.into_iter().zip(self.extend_at_once(cache, &together)?) {
                logits[at] = found;
            }
        }
        Ok(logits)
    }

    /// Lets sequences go on in one pass: all by one token, or one sequence by any number.
    fn extend_at_once(&self, cache: &mut Cache, pieces: &[Piece]) -> Result<Vec<Vec<f32>>> {
        let batch = Packed::continuing(pieces.iter().map(|piece| (cache.length(piece.sequence), piece.ids)));
        let stream = self.embed(&batch)?;
        let sequences: Vec<Sequence> = pieces.iter().map(|piece| piece.sequence).collect();
        cache.grow(&sequences, &batch.lengths)?;
        let rows = batch.rows();
        let product: Product = if batch.tokens() == pieces.len() { ops::linear_by_row } else { ops::linear };
        let weights = self.under(pieces.first().and_then(|piece| piece.edit))?;
        let keys = Keys::Cached { cache, sequences: &sequences, rows: &rows };
        let pass = self.pass(&batch, edits_of(pieces, &rows), product, keys);
        let stream = weights.carry(stream, 0..self.config.layers, &batch, &pass)?;

        let last: Vec<u32> = rows.iter().map(|rows| rows.end as u32 - 1).collect();
        let stream = stream.index_select(&Tensor::new(last, stream.device())?, 0)?;
        let row_each: Vec<Range<usize>> = (0..pieces.len()).map(|at| at..at + 1).collect();
        let edits = edits_of(pieces, &row_each);
        let stream = edited(&edits, stream, |stream, _, edit| {
            self.steer(stream, self.config.layers, &[], edit, product)
        })?;
        let hidden = ops::rms_norm(&stream, &weights.norm, self.config.norm_eps)?;
        let logits = if edits.iter().any(|(_, edit)| adapters(*edit, Site::Head).next().is_some()) {
            edited(&edits, hidden, |hidden, _, edit| {
                Ok(self.unembedding(edit)?.logits_by(product, &hidden)?)
            })?
        } else {
            weights.unembedding.logits_by(product, &hidden)?
        };
        Ok(logits.to_dtype(DType::F32)?.to_vec2()?)
    }
}

/// The pieces of each pass. Pieces of one token that are under the same weights go together, those of one edit side by side.
fn passes(pieces: &[Piece]) -> Vec<Vec<usize>> {
    let mut passes: Vec<Vec<usize>> = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let fits = |pass: &&mut Vec<usize>| {
            let first = &pieces[pass[0]];
            piece.ids.len() == 1 && first.ids.len() == 1 && are_of_the_same_weights(piece.edit, first.edit)
        };
        match passes.iter_mut().find(fits) {
            Some(pass) => pass.push(at),
            None => passes.push(vec![at]),
        }
    }
    let place = |at: &usize| pieces[*at].edit.map(ptr::from_ref);
    passes.iter_mut().for_each(|pass| pass.sort_by_key(place));
    passes
}

/// True if both edits have the same full fine-tunes, or none.
fn are_of_the_same_weights(one: Option<&Edit>, other: Option<&Edit>) -> bool {
    let lives = |edit| fulls(edit).map(Full::life);
    lives(one).count() == lives(other).count()
        && lives(one).zip(lives(other)).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// The edits of pieces, each with the rows that it acts on.
fn edits_of<'a>(pieces: &[Piece<'a>], rows: &[Range<usize>]) -> Edits<'a> {
    let mut edits: Edits = Vec::new();
    for (piece, rows) in pieces.iter().zip(rows) {
        match edits.last_mut() {
            Some((all, edit)) if edit.map(ptr::from_ref) == piece.edit.map(ptr::from_ref) => {
                all.end = rows.end
            }
            _ => edits.push((rows.clone(), piece.edit)),
        }
    }
    edits
}
