//! The tokens that a direction promotes and demotes (logit lens).

use strait_model::{Model, edit::SteeringVector, ops::Unembedding};

use crate::{Result, table::Word};

/// The side of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Its own: tokens become likelier where it is added.
    Promoted,
    /// The opposite one.
    Demoted,
}

impl Word for Pull {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Promoted, "promoted"), (Self::Demoted, "demoted")];
}

crate::row! {
    /// A token that a direction pulls at.
    pub struct DirectionToken in "direction_tokens",
        "Tokens that directions promote and demote: their logits, were the residual stream nothing but the direction"
    {
        /// The layer of the direction, counted from 0; -1 is the embeddings.
        layer: i64,
        /// The side.
        pull: Pull,
        /// Its place among those of the side, counted from 1.
        rank: usize,
        /// The token's id.
        id: u64,
        /// Its text.
        token: String,
        /// Its logit less the mean of all tokens.
        logit: f64,
    }
}

/// The `count` tokens that a direction promotes most, and those that it demotes most: by the logits that the final norm and the
/// unembedding give a stream which is the direction alone. What later blocks make of it is left out, so that the tokens say most at
/// late layers.
///
/// # Errors
/// If the vector does not have the model's width, or a tensor operation fails.
pub fn tokens(model: &Model, direction: &SteeringVector, count: usize) -> Result<Vec<DirectionToken>> {
    let decoder = &model.decoder;
    let stream = direction.vector.to_device(decoder.device())?.unsqueeze(0)?;
    // A soft cap would not move the order.
    let unembedding = Unembedding { softcap: None, ..decoder.unembedding(None)? };
    let logits: Vec<f32> = unembedding.logits(&decoder.finish(stream, None)?)?.flatten_all()?.to_vec1()?;
    let mean = logits.iter().map(|&logit| f64::from(logit)).sum::<f64>() / logits.len() as f64;
    // Tables of embeddings may have more rows than there are tokens.
    let mut ids: Vec<u32> =
        (0..logits.len() as u32).filter(|&id| model.tokenizer.token(id).is_some()).collect();
    ids.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    let row = |pull: Pull, (rank, id): (usize, u32)| {
        Ok(DirectionToken {
            layer: direction.layer.into(),
            pull,
            rank,
            id: id.into(),
            token: model.tokenizer.decode(&[id], false)?,
            logit: f64::from(logits[id as usize]) - mean,
        })
    };
    let promoted = (1..).zip(ids.iter().copied()).take(count).map(|token| row(Pull::Promoted, token));
    let demoted = (1..).zip(ids.iter().rev().copied()).take(count).map(|token| row(Pull::Demoted, token));
    promoted.chain(demoted).collect()
}
