//! The scalars of adapters, A x of every token: read in a pass, or put in the place of its own (paper §13.6, §13.8).
//!
//! What an adapter adds to a module is scale * B A x. Of rank 1, A x is one number a token; of a higher rank its numbers depend on
//! the basis in which A and B are written.

use std::{cell::RefCell, ptr};

use candle_core::{Shape, Tensor};

use super::{Decoder, Packed};
use crate::{
    Edit, Result,
    edit::{Adapter, Problem, Site},
    ops::Product,
};

/// The way in which a pass applies projections and adapters.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub product: Product,
    /// The scalars that are looked at on their way, where there are any.
    pub scalars: Option<&'a Scalars<'a>>,
}

/// The scalars of a pass.
pub(super) struct Scalars<'a> {
    adapters: Vec<&'a Adapter>,
    /// Of each adapter what takes the place of its own, where something does.
    put: &'a [Option<Tensor>],
    /// Of each adapter its own, as far as the pass has come.
    seen: RefCell<Vec<Option<Tensor>>>,
}

impl<'a> Way<'a> {
    /// By this product, with nothing looked at.
    pub fn of(product: Product) -> Self {
        Self { product, scalars: None }
    }

    /// A x of an adapter as the pass goes on with it.
    pub fn of_adapter(self, adapter: &Adapter, own: Tensor) -> Tensor {
        let Some(scalars) = self.scalars else { return own };
        let Some(at) = scalars.adapters.iter().position(|known| ptr::eq(*known, adapter)) else { return own };
        scalars.seen.borrow_mut()[at] = Some(own.clone());
        scalars.put.get(at).cloned().flatten().unwrap_or(own)
    }
}

impl Decoder {
    /// A x of every adapter of an edit at every token, in the order of [`Edit::adapters`], in one pass that ends behind the last of
    /// them.
    ///
    /// # Shapes
    /// - each: `(tokens, rank)`
    ///
    /// # Errors
    /// If the edit has no adapters, or one on the head; or as [`Decoder::embed`].
    pub fn scalars(&self, batch: &Packed, edit: &Edit) -> Result<Vec<Tensor>> {
        let behind = |site| match site {
            Site::Projection { layer, .. } => layer + 1,
            // They act before the first block is run.
            Site::Embeddings | Site::Lookup | Site::Head => 1,
        };
        let end = edit.adapters().map(|(adapter, _)| behind(adapter.site)).max();
        let (_, seen) = self.with_scalars(batch, edit, &[], end.unwrap_or(0))?;
        seen.into_iter().map(|seen| seen.ok_or_else(|| Problem::NoAdapters.into())).collect()
    }

    /// The residual stream at the last point of a pass in which A x of some adapters is what is given. Adapters are counted as in
    /// [`Edit::adapters`]; those behind the end of `put` have their own.
    ///
    /// # Shapes
    /// - each of `put`: `(tokens, rank)` of its adapter
    /// - result: `(tokens, hidden_size)`
    ///
    /// # Errors
    /// As [`Decoder::scalars`]; and if the shapes disagree.
    pub fn run_with_scalars(&self, batch: &Packed, edit: &Edit, put: &[Option<Tensor>]) -> Result<Tensor> {
        Ok(self.with_scalars(batch, edit, put, self.config.layers)?.0)
    }

    fn with_scalars(
        &self,
        batch: &Packed,
        edit: &Edit,
        put: &[Option<Tensor>],
        end: usize,
    ) -> Result<(Tensor, Vec<Option<Tensor>>)> {
        let adapters: Vec<&Adapter> = edit.adapters().map(|(adapter, _)| adapter).collect();
        if adapters.is_empty() {
            return Err(Problem::NoAdapters.into());
        }
        if adapters.iter().any(|adapter| adapter.site == Site::Head) {
            return Err(Problem::ScalarsOfHead.into());
        }
        for (given, adapter) in put.iter().zip(&adapters) {
            let expected = Shape::from((batch.tokens(), adapter.a.dim(0)?));
            if let Some(got) =
                given.as_ref().map(|given| given.shape().clone()).filter(|got| *got != expected)
            {
                let msg = format!("scalars of {}", adapter.site.module());
                return Err(candle_core::Error::UnexpectedShape { msg, expected, got }.into());
            }
        }
        let seen = RefCell::new(vec![None; adapters.len()]);
        let scalars = Scalars { adapters, put, seen };
        let way = Way { product: Product::OfAll, scalars: Some(&scalars) };
        let stream = self.run_in(self.embed(batch)?, 0..end, batch, Some(edit), way)?;
        Ok((stream, scalars.seen.into_inner()))
    }
}
