//! Decoding: sequences of a cache go on by some tokens.

use std::{ops::Range, ptr, sync::Arc};

use candle_core::{DType, Tensor};

use super::{
    Cache, Decoder, Keys, Packed, Readout, Sequence,
    edited::{Edits, adapters, edited, fulls},
    scalars::Way,
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

/// A piece as it was computed.
#[derive(Clone, Debug, Default)]
pub struct Extension {
    /// The logits after its last token.
    pub logits: Vec<f32>,
    /// The readings of each of its tokens; empty where none were asked for.
    pub readings: Vec<Vec<f32>>,
}

impl Decoder {
    /// A cache for this decoder.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn cache(&self) -> Result<Cache> {
        let dtype = match self.device().is_cpu() {
            // As attention's products see them in a pass of all tokens.
            true => self.precision.dtype(),
            false => self.norm.dtype(),
        };
        Cache::new(&self.config, dtype, self.device())
    }

    /// Lets sequences of a cache go on, and gives the logits after the last token of each piece, in their order.
    ///
    /// What comes out for a piece has the same bits whatever other pieces are beside it: pieces of one token are computed together,
    /// row by row, longer ones each in a pass of its own.
    ///
    /// # Errors
    /// If a token id is outside the vocabulary or a sequence longer than the context; a cache that has met an error is of no use.
    pub fn extend(&self, cache: &mut Cache, pieces: &[Piece]) -> Result<Vec<Vec<f32>>> {
        let extensions = self.extend_reading(cache, pieces, None)?;
        Ok(extensions.into_iter().map(|extension| extension.logits).collect())
    }

    /// As [`extend`](Self::extend), with linear readings of the residual stream at the pieces' tokens.
    ///
    /// # Errors
    /// As [`extend`](Self::extend).
    pub fn extend_reading(
        &self,
        cache: &mut Cache,
        pieces: &[Piece],
        readout: Option<&Readout>,
    ) -> Result<Vec<Extension>> {
        let mut extensions = vec![Extension::default(); pieces.len()];
        for pass in passes(pieces) {
            let together: Vec<Piece> = pass.iter().map(|&at| pieces[at]).collect();
            for (at, found) in pass.into_iter().zip(self.extend_at_once(cache, &together, readout)?) {
                extensions[at] = found;
            }
        }
        Ok(extensions)
    }

    /// Lets sequences go on in one pass: all by one token, or one sequence by any number.
    fn extend_at_once(
        &self,
        cache: &mut Cache,
        pieces: &[Piece],
        readout: Option<&Readout>,
    ) -> Result<Vec<Extension>> {
        let batch = Packed::continuing(pieces.iter().map(|piece| (cache.length(piece.sequence), piece.ids)));
        let mut stream = self.embed(&batch)?;
        let sequences: Vec<Sequence> = pieces.iter().map(|piece| piece.sequence).collect();
        cache.grow(&sequences, &batch.lengths)?;
        let rows = batch.rows();
        let product = if batch.tokens() == pieces.len() { Product::ByRow } else { Product::OfAll };
        let weights = self.under(pieces.first().and_then(|piece| piece.edit))?;
        let keys = Keys::Cached { cache, sequences: &sequences, rows: &rows };
        let pass = self.pass(&batch, edits_of(pieces, &rows), Way::of(product), keys);
        let (mut at, mut seen) = (0, Vec::new());
        for point in readout.into_iter().flat_map(Readout::points) {
            stream = weights.carry(stream, at..point, &batch, &pass)?;
            seen.push(self.seen_at(&stream, point, &batch, &pass.edits, Way::of(product))?);
            at = point;
        }
        let stream = weights.carry(stream, at..self.config.layers, &batch, &pass)?;
        let readings = match readout {
            Some(readout) => readout.of(&seen)?.to_vec2()?,
            None => Vec::new(),
        };

        let last: Vec<u32> = rows.iter().map(|rows| rows.end as u32 - 1).collect();
        let stream = stream.index_select(&Tensor::new(last, stream.device())?, 0)?;
        let row_each: Vec<Range<usize>> = (0..pieces.len()).map(|at| at..at + 1).collect();
        let edits = edits_of(pieces, &row_each);
        let stream = edited(&edits, stream, |stream, _, edit| {
            self.steer(stream, self.config.layers, &[], edit, Way::of(product))
        })?;
        let hidden = ops::rms_norm(&stream, &weights.norm, self.config.norm_eps)?;
        let logits = if edits.iter().any(|(_, edit)| adapters(*edit, Site::Head).next().is_some()) {
            edited(&edits, hidden, |hidden, _, edit| {
                Ok(self.unembedding(edit)?.logits_by(product, &hidden)?)
            })?
        } else {
            weights.unembedding.logits_by(product, &hidden)?
        };
        let logits: Vec<Vec<f32>> = logits.to_dtype(DType::F32)?.to_vec2()?;
        let of_rows = |rows: &Range<usize>| readings.get(rows.clone()).unwrap_or_default().to_vec();
        let extension = |(logits, rows)| Extension { logits, readings: of_rows(rows) };
        Ok(logits.into_iter().zip(&rows).map(extension).collect())
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
