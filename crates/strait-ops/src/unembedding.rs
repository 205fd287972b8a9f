//! The map from hidden states after the final norm to logits, with LoRAs on it.

use candle_core::{Result, Tensor};

use super::{Linear, Precision, Product, Weight};

/// From hidden states after the final norm to logits.
#[derive(Clone, Debug)]
pub struct Unembedding {
    /// Shape `(vocab, hidden_size)`.
    pub weight: Weight,
    /// The precision of its products.
    pub precision: Precision,
    /// Logits l become cap * tanh(l / cap) (Gemma 2).
    pub softcap: Option<f64>,
    /// The term that an edit of the head adds.
    pub change: Option<HeadChange>,
}

/// A low-rank change of the map: logits are W h + B A h, and the soft cap comes after that.
#[derive(Clone, Debug)]
pub struct HeadChange {
    /// Shape `(rank, hidden_size)`.
    pub a: Tensor,
    /// Shape `(vocab, rank)`, with the scale in it.
    pub b: Tensor,
}

impl Unembedding {
    /// Logits of every row.
    ///
    /// # Shapes
    /// - `hidden`: `(tokens, hidden_size)`
    /// - result: `(tokens, vocab)`
    ///
    /// # Errors
    /// If the shapes disagree.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.logits_by(Product::OfAll, hidden)
    }

    /// As [`logits`](Self::logits), by a product of one's choice.
    pub fn logits_by(&self, product: Product, hidden: &Tensor) -> Result<Tensor> {
        let by = |x: &Tensor, weight: &Tensor| product.apply(x, &Linear::of(weight, self.precision));
        let table = Linear { weight: self.weight.clone(), bias: None, precision: self.precision };
        let mut logits = product.apply(hidden, &table)?;
        if let Some(HeadChange { a, b }) = &self.change {
            logits = (logits + by(&by(hidden, a)?, b)?)?;
        }
        match self.softcap {
            Some(cap) => (logits / cap)?.tanh()? * cap,
            None => Ok(logits),
        }
    }

    /// True if the change is of variables, to which the losses give no gradient.
    pub(super) fn change_is_trained(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.a.track_op() || change.b.track_op())
    }
}
