//! Losses of kept rows, and their gradients.

use candle_core::Tensor;
use strait_model::{
    Decoder, Edit,
    decoder::Packed,
    ops::{Gradients, Loss, Unembedding},
};

use super::{Kept, kept::Part, packed};
use crate::Result;

impl Kept {
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
        let edit = edit.map(Edit::detached);
        let Predictions { hidden, targets, unembedding } = self.predictions(decoder, rows, edit.as_ref())?;
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
    ) -> Result<(Vec<f32>, Gradients)> {
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
    ) -> Result<(Vec<f32>, Gradients)> {
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
        let (predicting, _) = self.responses(rows, &packed(self.rows(), rows));
        let both = self.both(decoder, decoder, rows, Some(edit), Some(predicting))?;
        Ok(both.loss().values(&both.hidden, &both.unembedding)?)
    }

    /// The hidden states that predict the response tokens of some rows.
    fn predictions(&self, decoder: &Decoder, rows: &[usize], edit: Option<&Edit>) -> Result<Predictions> {
        let packed = packed(self.rows(), rows);
        let (predicting, targets) = self.responses(rows, &packed);
        let predicting = Tensor::new(predicting, decoder.device())?;
        let kept = match edit {
            None => self.gather(&[Part::Hidden], decoder, rows, &packed)?,
            Some(_) => None,
        };
        let hidden = match kept {
            Some([hidden]) => hidden.index_select(&predicting, 0)?,
            None => {
                let stream = self.through(decoder, self.stream(decoder, &packed, rows)?, &packed, edit)?;
                decoder.finish(stream.index_select(&predicting, 0)?, edit)?
            }
        };
        Ok(Predictions { hidden, targets, unembedding: decoder.unembedding(edit)? })
    }

    /// The hidden states of the edited and the base model on some rows, or on some of their packed tokens.
    fn both(
        &self,
        base: &Decoder,
        edited: &Decoder,
        rows: &[usize],
        edit: Option<&Edit>,
        some: Option<Vec<u32>>,
    ) -> Result<Both> {
        let packed = packed(self.rows(), rows);
        let some = some.map(|some| Tensor::new(some, base.device())).transpose()?;
        let pick = |all: Tensor| match &some {
            Some(some) => all.index_select(some, 0),
            None => Ok(all),
        };
        let [stream, of_base] = self.stream_and_hidden(base, &packed, rows)?;
        let stream = match std::ptr::eq(base, edited) {
            true => stream,
            false => self.stream(edited, &packed, rows)?,
        };
        let stream = self.through(edited, stream, &packed, edit)?;
        Ok(Both {
            hidden: edited.finish(pick(stream)?, edit)?,
            unembedding: edited.unembedding(edit)?,
            base: pick(of_base)?,
            base_unembedding: base.unembedding(None)?,
            packed,
        })
    }

    /// The places in a packed batch at which the response tokens of its rows are predicted, and those tokens.
    pub(super) fn responses(&self, rows: &[usize], packed: &Packed) -> (Vec<u32>, Vec<u32>) {
        let (mut predicting, mut targets) = (Vec::new(), Vec::new());
        let every_token = packed.every_token();
        let mut start = 0;
        for row in rows.iter().map(|&row| &self.rows()[row]) {
            for token in row.responses.iter().flat_map(Clone::clone) {
                predicting.push(every_token[start + token - 1]);
                targets.push(row.ids[token]);
            }
            start += row.ids.len();
        }
        (predicting, targets)
    }
}

/// The hidden states that predict some tokens.
struct Predictions {
    hidden: Tensor,
    targets: Vec<u32>,
    unembedding: Unembedding,
}

/// The hidden states of an edited model and its base on the same tokens.
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
