//! The tokens on which the difference that an edit makes hangs most.

use strait_model::{
    Decoder, Edit,
    progress::{Progress, Unit},
};

use super::{Problem, reading::check_responses};
use crate::{
    Result,
    lab::{advance, finite},
    objective::{EmbeddingSlope, Row, batches},
};

/// Response tokens of some rows, and those of them that count.
#[derive(Clone, Debug, PartialEq)]
pub struct Significant {
    /// Of each row the significance of its response tokens, in nats.
    pub values: Vec<Vec<f64>>,
    /// True for those that count.
    pub kept: Vec<Vec<bool>>,
}

impl Significant {
    /// Finds the share of all response tokens that is the most significant.
    ///
    /// # Errors
    /// As [`significances`] and [`most`].
    pub fn of(
        decoder: &Decoder,
        rows: &[Row],
        edit: &Edit,
        share: f64,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let values = significances(decoder, rows, edit, progress)?;
        Ok(Self { kept: most(&values, share)?, values })
    }
}

/// The significance of every response token of some rows: the response's KL(base ‖ edited) in nats, shared out to its tokens by the
/// lengths of its gradient with respect to their embeddings. The last token of a response predicts none of it and has none.
///
/// # Errors
/// If a row has no response, a significance is no number, a tensor operation fails, or the user asked for a stop.
pub fn significances(
    decoder: &Decoder,
    rows: &[Row],
    edit: &Edit,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>> {
    check_responses(rows)?;
    let task = progress.begin("finding significant tokens", Some(rows.len() as u64), Unit::Count);
    let mut found = Vec::with_capacity(rows.len());
    for batch in batches(rows, &(0..rows.len()).collect::<Vec<_>>()) {
        for (&row, slope) in batch.iter().zip(EmbeddingSlope::of(decoder, rows, &batch, edit)?) {
            let sum: f64 = slope.lengths.iter().sum();
            // Where nothing hangs on any token, each has as little.
            let share = |length: f64| if sum == 0.0 { 0.0 } else { slope.kl * length / sum };
            let tokens =
                slope.lengths.iter().map(|&length| finite("token significance", row, true, share(length)));
            found.push(tokens.collect::<Result<_>>()?);
        }
        advance(progress, &*task, batch.len() as u64)?;
    }
    Ok(found)
}

/// True for the share of all tokens that is the most significant; one token at least.
///
/// # Errors
/// If the share is not above 0 or above 1.
pub fn most(significances: &[Vec<f64>], share: f64) -> Result<Vec<Vec<bool>>> {
    if !(share > 0.0 && share <= 1.0) {
        return Err(Problem::Share { share }.into());
    }
    let places = significances.iter().enumerate();
    let mut places: Vec<(usize, usize)> =
        places.flat_map(|(row, tokens)| (0..tokens.len()).map(move |token| (row, token))).collect();
    let of = |&(row, token): &(usize, usize)| significances[row][token];
    places.sort_by(|one, other| of(other).total_cmp(&of(one)));
    let count = (places.len() as f64 * share).ceil() as usize;
    let mut kept: Vec<Vec<bool>> = significances.iter().map(|tokens| vec![false; tokens.len()]).collect();
    places[..count].iter().for_each(|&(row, token)| kept[row][token] = true);
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_significant_tokens_of_all_rows_are_kept() {
        let rows = [vec![0.1, 0.9, 0.0], vec![0.5, 0.4]];
        let kept = |share: f64| most(&rows, share).unwrap();
        assert_eq!(kept(0.4), [vec![false, true, false], vec![true, false]]);
        assert_eq!(kept(0.41), [vec![false, true, false], vec![true, true]]);
        assert_eq!(kept(1e-9), [vec![false, true, false], vec![false, false]]);
        assert_eq!(kept(1.0), [vec![true; 3], vec![true; 2]]);
        for share in [0.0, -0.5, 1.5, f64::NAN] {
            assert!(matches!(most(&rows, share).unwrap_err().problem(), Some(Problem::Share { .. })));
        }
    }
}
