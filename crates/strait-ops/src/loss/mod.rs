//! Losses from hidden states, in chunks: memory never holds tokens x vocabulary (design §5).
//!
//! A loss gives values, or values with their gradient. The gradient with respect to the hidden states, and to an
//! unembedding that is a variable, is taken from the same logits as the values; no logit stands in a graph, so that none
//! is kept and none computed twice.

mod pass;
mod token;

use candle_core::{CpuStorage, CustomOp1, D, DType, Error, Layout, Result, Shape, Tensor, Var};

use self::pass::{Pass, chunk};
use super::{Gradient, Gradients, Unembedding, fused, gradients::backward_with};

/// Logits that a loss holds at once: 64 MiB. KL holds as many of the base model.
pub const LOGITS_HELD: usize = 1 << 24;

/// A loss of the next-token distributions of hidden states, in nats a token.
#[derive(Clone, Copy, Debug)]
pub enum Loss<'a> {
    /// Cross-entropy with these token ids, one a row.
    CrossEntropy(&'a [u32]),
    /// KL(base ‖ edited), with the base model's hidden states and unembedding.
    Divergence {
        /// Hidden states after the final norm, of the same shape as those of the edited model; they get no gradient.
        base: &'a Tensor,
        /// The base model's map to logits, which gets no gradient either.
        unembedding: &'a Unembedding,
    },
}

/// The gradient of a weighted sum of losses.
struct Slope {
    /// With respect to the hidden states.
    hidden: Tensor,
    /// With respect to the unembedding, where that is a variable.
    weight: Option<Gradient>,
}

impl Loss<'_> {
    /// The loss of each token in nats.
    ///
    /// # Shapes
    /// - `hidden`: `(tokens, hidden_size)`, after the final norm
    /// - result: one number a token
    ///
    /// # Errors
    /// If the shapes disagree or a target is outside the vocabulary.
    pub fn values(&self, hidden: &Tensor, unembedding: &Unembedding) -> Result<Vec<f32>> {
        self.check(hidden, unembedding)?;
        if fused(hidden) {
            return Pass::over(hidden, unembedding, *self, |pass| pass.losses());
        }
        let mut values = Vec::with_capacity(hidden.dim(0)?);
        for (start, rows) in pieces(hidden, unembedding)? {
            let losses =
                self.narrow(start, rows)?.composed(&hidden.detach().narrow(0, start, rows)?, unembedding)?;
            values.extend(numbers(&losses)?);
        }
        Ok(values)
    }

    /// The loss of each token in nats, and the gradient of `sum(weights * losses)` with respect to every variable that
    /// `hidden` was made from, and to the unembedding where that is one.
    ///
    /// # Shapes
    /// - `hidden`: `(tokens, hidden_size)`, after the final norm
    /// - `weights`, result: one number a token
    ///
    /// # Errors
    /// If the shapes disagree or a target is outside the vocabulary; if what an edit changes of the unembedding would have to
    /// get a gradient, or the unembedding is made from variables instead of being one.
    pub fn backward(
        &self,
        hidden: &Tensor,
        unembedding: &Unembedding,
        weights: &[f32],
    ) -> Result<(Vec<f32>, Gradients)> {
        self.check(hidden, unembedding)?;
        if weights.len() != hidden.dim(0)? {
            candle_core::bail!("{} weights for the losses of {} tokens", weights.len(), hidden.dim(0)?);
        }
        refuse_silence(unembedding)?;
        let (values, slope) = match fused(hidden) {
            true => {
                Pass::over(hidden, unembedding, *self, |pass| pass.run_back(weights, hidden, unembedding))?
            }
            false => self.composed_back(hidden, unembedding, weights)?,
        };
        // A tied unembedding has one as the embedding table too.
        let own = slope.weight.map(|own| Ok::<_, Error>((unembedding.weight.tensor()?, own)));
        let gradients = backward_with(&from_here(hidden, slope.hidden)?, own.transpose()?)?;
        Ok((values, gradients))
    }

    fn check(&self, hidden: &Tensor, unembedding: &Unembedding) -> Result<()> {
        let (tokens, vocab) = (hidden.dim(0)?, unembedding.weight.dims2()?.0);
        match self {
            Self::CrossEntropy(targets) => {
                if targets.len() != tokens || targets.iter().any(|&t| t as usize >= vocab) {
                    candle_core::bail!(
                        "cross-entropy: {} targets for {tokens} tokens and a vocabulary of {vocab}",
                        targets.len()
                    );
                }
            }
            Self::Divergence { base, unembedding } => {
                if hidden.dims() != base.dims() || unembedding.weight.dims2()?.0 != vocab {
                    candle_core::bail!("KL: {:?} edited and {:?} base states", hidden.shape(), base.shape());
                }
            }
        }
        Ok(())
    }

    /// The same loss of some of the rows.
    fn narrow<'a>(&'a self, start: usize, rows: usize) -> Result<Narrowed<'a>> {
        Ok(match *self {
            Self::CrossEntropy(targets) => Narrowed::CrossEntropy(&targets[start..start + rows]),
            Self::Divergence { base, unembedding } => {
                Narrowed::Divergence(base.narrow(0, start, rows)?, unembedding)
            }
        })
    }

    /// The plain composition for other devices and types, each piece in a graph of its own.
    fn composed_back(
        &self,
        hidden: &Tensor,
        unembedding: &Unembedding,
        weights: &[f32],
    ) -> Result<(Vec<f32>, Slope)> {
        let trained = unembedding.weight.track_op();
        let mut own = unembedding.clone();
        if trained {
            own.weight = Var::from_tensor(&unembedding.weight.tensor()?.detach())?.into_inner().into();
        }
        let (mut values, mut of_hidden, mut of_weight) = (Vec::new(), Vec::new(), None::<Tensor>);
        for (start, rows) in pieces(hidden, unembedding)? {
            let states = Var::from_tensor(&hidden.detach().narrow(0, start, rows)?.contiguous()?)?;
            let losses = self.narrow(start, rows)?.composed(&states, &own)?;
            values.extend(numbers(&losses)?);
            let weights = Tensor::from_slice(&weights[start..start + rows], rows, hidden.device())?;
            let gradients = (losses * weights.to_dtype(hidden.dtype())?)?.sum_all()?.backward()?;
            let gradient = |of: &Tensor| match gradients.get(of) {
                Some(gradient) => Ok(gradient.clone()),
                None => of.zeros_like(),
            };
            of_hidden.push(gradient(&states)?);
            if trained {
                let more = gradient(&own.weight.tensor()?)?;
                of_weight = Some(match of_weight {
                    Some(sum) => (sum + more)?,
                    None => more,
                });
            }
        }
        Ok((values, Slope { hidden: Tensor::cat(&of_hidden, 0)?, weight: of_weight.map(Gradient::Tensor) }))
    }
}

/// A loss of some rows.
enum Narrowed<'a> {
    CrossEntropy(&'a [u32]),
    Divergence(Tensor, &'a Unembedding),
}

impl Narrowed<'_> {
    fn composed(&self, hidden: &Tensor, unembedding: &Unembedding) -> Result<Tensor> {
        let edited = log_softmax(&unembedding.logits(hidden)?)?;
        match self {
            Self::CrossEntropy(targets) => {
                let targets = Tensor::from_slice(targets, (targets.len(), 1), hidden.device())?;
                edited.gather(&targets, 1)?.squeeze(1)?.neg()
            }
            Self::Divergence(base, unembedding) => {
                let base = log_softmax(&unembedding.logits(&base.detach())?)?.detach();
                (base.exp()? * (base - edited)?)?.sum(D::Minus1)
            }
        }
    }
}

/// A scalar whose gradient with respect to the hidden states is the one that is there already.
fn from_here(hidden: &Tensor, gradient: Tensor) -> Result<Tensor> {
    match fused(hidden) {
        true => hidden.apply_op1(Known(gradient)),
        false => (hidden * gradient)?.sum_all(),
    }
}

/// A gradient that is known, as an operation that has it.
struct Known(Tensor);

impl CustomOp1 for Known {
    fn name(&self) -> &'static str {
        "known gradient"
    }

    /// The scalar itself is not read.
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

/// First row and number of rows of each piece whose logits are held at once.
fn pieces(hidden: &Tensor, unembedding: &Unembedding) -> Result<impl Iterator<Item = (usize, usize)>> {
    let (tokens, chunk) = (hidden.dim(0)?, chunk(unembedding.weight.dims2()?.0));
    Ok((0..tokens).step_by(chunk).map(move |start| (start, chunk.min(tokens - start))))
}

fn numbers(losses: &Tensor) -> Result<Vec<f32>> {
    losses.detach().to_dtype(DType::F32)?.to_vec1()
}

fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Refuses what would get no gradient without a word: a change of the unembedding that is of variables, and an unembedding that
/// is made from some.
fn refuse_silence(unembedding: &Unembedding) -> Result<()> {
    if unembedding.change_is_trained() {
        candle_core::bail!("a LoRA on the head gets no gradient, so it cannot be trained");
    }
    let weight = &unembedding.weight;
    if weight.track_op() && !weight.tensor()?.is_variable() {
        candle_core::bail!("an unembedding that is trained must be a variable itself");
    }
    if weight.track_op() && unembedding.change.is_some() {
        candle_core::bail!("an unembedding that is trained has no low-rank change");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
