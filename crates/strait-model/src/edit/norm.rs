//! Norms of edits, in f64.

use candle_core::{DType, Tensor};

use super::{Adapter, Edit, Leaf, Lora, SteeringVector};
use crate::Result;

impl Edit {
    /// How large the edit is: for a vector its length; for LoRA the root of the summed squares of ||scale * B A||_F over
    /// its adapters; for a composition the root of its parts' summed squares. Parts of different kinds act in different
    /// spaces, so a composition's norm compares only compositions of the same make.
    ///
    /// # Errors
    /// If a tensor operation fails, as for tensors of shapes that do not fit together.
    pub fn norm(&self) -> Result<f64> {
        root_of_squares(self.leaves().map(|leaf| match leaf {
            Leaf::Steering(steering) => steering.norm(),
            Leaf::Lora(lora) => lora.norm(),
        }))
    }
}

impl SteeringVector {
    /// Length of what is added to the residual stream.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn norm(&self) -> Result<f64> {
        Ok(wide(&self.vector)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
    }
}

impl Lora {
    /// The root of the summed squares of ||scale * B A||_F over the adapters.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn norm(&self) -> Result<f64> {
        root_of_squares(self.adapters.iter().map(|adapter| self.adapter_norm(adapter)))
    }

    /// ||scale * B A||_F of one of its adapters.
    ///
    /// ||B A||_F^2 = trace((B^T B)(A A^T)), the sum of products of two symmetric (r, r) matrices: the (out, in) product is
    /// never formed.
    pub(super) fn adapter_norm(&self, adapter: &Adapter) -> Result<f64> {
        let (a, b) = (wide(&adapter.a)?, wide(&adapter.b)?);
        let squared = (b.t()?.matmul(&b)? * a.matmul(&a.t()?)?)?.sum_all()?.to_scalar::<f64>()?;
        // Rounding can leave a square of almost zero below zero.
        Ok(self.scale().abs() * squared.max(0.0).sqrt())
    }
}

fn root_of_squares(norms: impl Iterator<Item = Result<f64>>) -> Result<f64> {
    let squared: f64 = norms.map(|n| n.map(|n| n * n)).sum::<Result<_>>()?;
    Ok(squared.sqrt())
}

/// A copy in f64, outside of any graph of gradients.
fn wide(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.detach().to_dtype(DType::F64)?)
}
