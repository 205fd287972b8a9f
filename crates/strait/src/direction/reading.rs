//! Passes over rows: the residual stream at every point, summed over the tokens of each row.

use candle_core::{DType, Tensor};
use strait_model::{Decoder, Edit};

use crate::{
    Error, Result,
    objective::{Row, batches, packed},
};

/// Over which tokens of a row a mean is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// All before the first response.
    Prompt,
    /// The responses.
    Response,
}

impl Tokens {
    pub(super) fn of(self, row: &Row) -> Vec<usize> {
        match self {
            Self::Prompt => (0..row.responses.first().map_or(row.ids.len(), |r| r.start)).collect(),
            Self::Response => row.responses.iter().flat_map(Clone::clone).collect(),
        }
    }
}

/// Rows read under an edit, or under the base model.
#[derive(Clone, Copy)]
pub struct Condition<'a> {
    /// The rows.
    pub rows: &'a [Row],
    /// The edit, or none for the base model.
    pub edit: Option<&'a Edit>,
}

/// Takes a sum over the tokens of a row: the point, the row's number, and a number for each coordinate of the stream.
pub(super) type Take<'a> = dyn FnMut(usize, usize, &[f64]) -> Result<()> + 'a;

/// Reads every row in one pass up to the point `last`, and gives the sum of the stream over its tokens at every point. `seen` is
/// told of the rows that are done and may end the reading by an error.
pub(super) fn row_sums(
    decoder: &Decoder,
    condition: Condition<'_>,
    tokens: Tokens,
    last: usize,
    seen: &dyn Fn(u64) -> Result<()>,
    take: &mut Take<'_>,
) -> Result<()> {
    let Condition { rows, edit } = condition;
    let every_row: Vec<usize> = (0..rows.len()).collect();
    for batch in batches(rows, &every_row) {
        let packed = packed(rows, &batch);
        let shared = packed.beginning().len();
        let mut chosen = Vec::with_capacity(batch.len());
        for (&row, own) in batch.iter().zip(packed.rows()) {
            // A token of the shared beginning stands there, any other behind it.
            let place = |token: usize| if token < shared { token } else { own.start + token - shared };
            let places: Vec<u32> = tokens.of(&rows[row]).into_iter().map(|t| place(t) as u32).collect();
            chosen.push((row, Tensor::new(places, decoder.device())?));
        }
        let mut point = 0;
        decoder.each_residual(&packed, edit, last, |stream| {
            for (row, places) in chosen.iter().filter(|(_, places)| places.elem_count() > 0) {
                let own = stream.index_select(places, 0)?.to_dtype(DType::F64)?.sum(0)?.to_vec1()?;
                if let Some(&value) = own.iter().find(|x: &&f64| !x.is_finite()) {
                    let (what, edited) = ("residual stream", edit.is_some());
                    return Err(Error::NotFinite { what, row: *row, place: None, edited, value });
                }
                take(point, *row, &own)?;
            }
            point += 1;
            Ok(())
        })?;
        seen(batch.len() as u64)?;
    }
    Ok(())
}
