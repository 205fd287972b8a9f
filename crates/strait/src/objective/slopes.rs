//! How strongly the difference between an edited model and its base hangs on the embedding of each token (paper §13.6).

use candle_core::{Tensor, Var};
use strait_model::{Decoder, Edit, decoder::Packed, ops::Loss};

use super::Row;
use crate::Result;

/// The KL of a row's response and its slope along the embeddings of the response.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingSlope {
    /// KL(base ‖ edited) in nats, summed over all places where a response token is predicted.
    pub kl: f64,
    /// Of every response token the length of the gradient of that sum with respect to what the token puts into the first block,
    /// while the base model's distributions stay as they are.
    pub lengths: Vec<f64>,
}

impl EmbeddingSlope {
    /// The slopes of some rows, in one pass forwards and one back.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn of(decoder: &Decoder, rows: &[Row], some: &[usize], edit: &Edit) -> Result<Vec<Self>> {
        let (edit, layers) = (edit.detached(), decoder.config().layers);
        // A beginning that rows shared would add up the slopes of all of them.
        let packed = Packed::new(some.iter().map(|&row| rows[row].ids.as_slice()));
        let places: Vec<Vec<usize>> = packed
            .rows()
            .into_iter()
            .zip(some)
            .map(|(at, &row)| {
                rows[row].responses.iter().cloned().flatten().map(|token| at.start + token).collect()
            })
            .collect();
        let predicting: Vec<u32> = places.iter().flatten().map(|&place| place as u32 - 1).collect();
        let count = predicting.len();
        let predicting = Tensor::new(predicting, decoder.device())?;
        let hidden = |stream: Tensor, edit: Option<&Edit>| {
            let stream = decoder.run(stream, 0..layers, &packed, edit)?;
            decoder.finish(stream.index_select(&predicting, 0)?, edit)
        };
        let embedded = Var::from_tensor(&decoder.embed(&packed)?)?;
        let base = hidden(embedded.as_detached_tensor(), None)?;
        let edited = hidden(embedded.as_tensor().clone(), Some(&edit))?;
        let loss = Loss::Divergence { base: &base, unembedding: &decoder.unembedding(None)? };
        let unembedding = decoder.unembedding(Some(&edit))?;
        let (values, gradients) = loss.backward(&edited, &unembedding, &vec![1.0; count])?;
        let lengths: Vec<f32> = match gradients.get(&embedded) {
            Some(gradient) => gradient.sqr()?.sum(1)?.sqrt()?.to_vec1()?,
            None => vec![0.0; packed.tokens()],
        };
        let mut rest = values.as_slice();
        let of_row = |places: Vec<usize>| {
            let (own, later) = rest.split_at(places.len());
            rest = later;
            Self {
                kl: own.iter().map(|&kl| f64::from(kl)).sum(),
                lengths: places.into_iter().map(|place| lengths[place].into()).collect(),
            }
        };
        Ok(places.into_iter().map(of_row).collect())
    }
}
