//! Norms of edits and the angles between them, in f64.

use candle_core::{DType, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use super::{Ablation, Adapter, Edit, Leaf, Lora, SteeringVector};
use crate::{
    Error, Result,
    ops::cpu::{self, View},
};

impl Edit {
    /// The size of the edit: for a vector its length; for LoRA the root of the summed squares of ||scale * B A||_F over
    /// its adapters; for an ablation that of the matrix factor * d d^T, which is |factor|; for a full fine-tune the length of all
    /// that it adds to the weights, as one vector; for a composition the root of its parts' summed squares. Parts of different kinds act in different
    /// spaces, so a composition's norm compares only compositions of the same make.
    ///
    /// # Errors
    /// If a tensor operation fails, as for tensors of shapes that do not fit together.
    pub fn norm(&self) -> Result<f64> {
        root_of_squares(self.leaves().map(|leaf| match leaf {
            Leaf::Steering(steering) => steering.norm(),
            Leaf::Lora(lora) => lora.norm(),
            Leaf::Ablation(ablation) => Ok(ablation.factor.abs()),
            Leaf::Full(full) => full.norm(),
        }))
    }
}

impl Edit {
    /// The inner product of the changes of two edits: of vectors after one block, of the matrices scale * B A that LoRAs add to
    /// one projection, of the matrices factor * d d^T that ablations take away after one block, and of all that full
    /// fine-tunes add to the weights, summed over the sites that both have. None where they share no site.
    ///
    /// # Errors
    /// If a tensor operation fails, as for vectors of two models.
    pub fn dot(&self, other: &Self) -> Result<Option<f64>> {
        let mut sum = None;
        for one in self.leaves() {
            for two in other.leaves() {
                let dot = match (one, two) {
                    (Leaf::Steering(one), Leaf::Steering(two)) => one.dot(two)?,
                    (Leaf::Lora(one), Leaf::Lora(two)) => one.dot(two)?,
                    (Leaf::Ablation(one), Leaf::Ablation(two)) => one.dot(two)?,
                    (Leaf::Full(one), Leaf::Full(two)) => one.dot(two)?,
                    _ => None,
                };
                sum = dot.map(|dot| dot + sum.unwrap_or(0.0)).or(sum);
            }
        }
        Ok(sum)
    }

    /// The cosine between the changes of two edits; NaN where they share no site or one of them changes nothing.
    ///
    /// # Errors
    /// As [`Edit::dot`].
    pub fn cosine(&self, other: &Self) -> Result<f64> {
        let length = |edit: &Self| Ok::<_, Error>(edit.dot(edit)?.unwrap_or(f64::NAN).max(0.0).sqrt());
        let dot = self.dot(other)?.unwrap_or(f64::NAN);
        // An edit with itself can come out above 1 by rounding.
        Ok((dot / (length(self)? * length(other)?)).clamp(-1.0, 1.0))
    }
}

impl Ablation {
    /// <c1 d1 d1^T, c2 d2 d2^T> = c1 c2 (d1 . d2)^2.
    fn dot(&self, other: &Self) -> Result<Option<f64>> {
        if self.layer != other.layer {
            return Ok(None);
        }
        let cosine = (wide(&self.unit()?)? * wide(&other.unit()?)?)?.sum_all()?.to_scalar::<f64>()?;
        Ok(Some(self.factor * other.factor * cosine * cosine))
    }
}

impl SteeringVector {
    fn dot(&self, other: &Self) -> Result<Option<f64>> {
        if self.layer != other.layer {
            return Ok(None);
        }
        let products = (wide(&self.vector)? * wide(&other.vector)?)?;
        Ok(Some(products.sum_all()?.to_scalar::<f64>()?))
    }

    /// Length of the vector that is added to the residual stream.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn norm(&self) -> Result<f64> {
        Ok(wide(&self.vector)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
    }
}

impl Lora {
    /// <B1 A1, B2 A2> for every site that both adapt.
    fn dot(&self, other: &Self) -> Result<Option<f64>> {
        let mut sum = None;
        for one in &self.adapters {
            let same = |two: &&Adapter| two.site == one.site;
            for two in other.adapters.iter().filter(same) {
                sum = Some(sum.unwrap_or(0.0) + one.dot(two)?);
            }
        }
        Ok(sum.map(|sum: f64| self.scale() * other.scale() * sum))
    }

    /// The root of the summed squares of ||scale * B A||_F over the adapters.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn norm(&self) -> Result<f64> {
        // Adapters beside each other: each alone is too small for all threads.
        let norms: Vec<_> = self.adapters.par_iter().map(|adapter| self.adapter_norm(adapter)).collect();
        root_of_squares(norms.into_iter())
    }

    /// ||scale * B A||_F of one of its adapters.
    pub(super) fn adapter_norm(&self, adapter: &Adapter) -> Result<f64> {
        // Rounding can leave a square of almost zero below zero.
        Ok(self.scale().abs() * adapter.dot(adapter)?.max(0.0).sqrt())
    }
}

impl Adapter {
    /// <B1 A1, B2 A2> = trace((B1^T B2)(A2 A1^T)), the sum of products of two (r1, r2) matrices: the (out, in) products are
    /// never formed.
    fn dot(&self, other: &Self) -> Result<f64> {
        let ((r1, input), (out, r2)) = (self.a.dims2()?, other.b.dims2()?);
        if other.a.dims() != [r2, input] || self.b.dims() != [out, r1] {
            let site = self.site.module();
            let words = format!("two adapters of `{site}` were made for models of different sizes");
            return Err(candle_core::Error::Msg(words).into());
        }
        let numbers = |t: &Tensor| Ok::<_, Error>(wide(t)?.flatten_all()?.to_vec1::<f64>()?);
        let (a1, b1) = (numbers(&self.a)?, numbers(&self.b)?);
        let (a2, b2) = (numbers(&other.a)?, numbers(&other.b)?);
        let product = |k: usize, one: View<f64>, two: View<f64>| {
            let mut product = vec![0.0; r1 * r2];
            cpu::matmul((r1, r2, k), &mut product, r2, 0.0, one, two, 1.0, Parallelism::None);
            product
        };
        let of_a = product(input, View::rows(&a1, input), View::rows(&a2, input).t());
        let of_b = product(out, View::rows(&b1, r1).t(), View::rows(&b2, r2));
        Ok(of_a.iter().zip(&of_b).map(|(a, b)| a * b).sum())
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
