//! A change of every weight of a model: a full fine-tune (paper §5.2).

use std::{collections::HashMap, sync::Arc};

use candle_core::{DType, Device, Tensor};

use super::{Problem, check::check_size, times};
use crate::{
    Config, Result,
    config::EMBEDDINGS,
    ops::{self, cpu},
};

/// W <- W + factor * delta for every weight W of a model (paper §5.2). It changes the weights of just one model, and acts
/// there before all other edits that it is composed with.
#[derive(Clone, Debug)]
pub struct Full {
    /// By the names of [`Config::tensors`], each once; of the weights' shapes.
    deltas: Arc<Vec<(String, Tensor)>>,
    factor: f64,
    base: String,
    life: Arc<Life>,
}

/// Ends with the last copy of an edit: what was made for it alone can go.
#[derive(Debug)]
pub(crate) struct Life;

impl Full {
    /// A change of the weights that have the fingerprint `base`, by names of [`Config::tensors`].
    pub fn new(base: String, deltas: Vec<(String, Tensor)>) -> Self {
        Self::with_factor(base, deltas.into(), 1.0)
    }

    pub(super) fn with_factor(base: String, deltas: Arc<Vec<(String, Tensor)>>, factor: f64) -> Self {
        Self { deltas, factor, base, life: Arc::new(Life) }
    }

    /// The change of each weight at factor 1, by its name.
    pub fn deltas(&self) -> &[(String, Tensor)] {
        &self.deltas
    }

    /// The same change with other deltas, in their order and at the same factor.
    ///
    /// # Errors
    /// As `change`.
    pub fn with_deltas<E>(&self, mut change: impl FnMut(&Tensor) -> Result<Tensor, E>) -> Result<Self, E> {
        let deltas = self.deltas.iter().map(|(name, delta)| Ok((name.clone(), change(delta)?)));
        Ok(Self::with_factor(self.base.clone(), Arc::new(deltas.collect::<Result<_, E>>()?), self.factor))
    }

    /// Factor by which the change is scaled; 1 as trained.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// The fingerprint of the weights that it changes: see [`crate::Decoder::fingerprint`].
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Lives as long as this edit and its copies.
    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// Refuses other weights than those that it changes.
    ///
    /// # Errors
    /// If their fingerprint is another.
    pub fn check_base(&self, fingerprint: &str) -> Result<()> {
        if self.base == fingerprint { Ok(()) } else { Err(Problem::OtherBase.into()) }
    }

    /// A weight with its change.
    ///
    /// # Errors
    /// If there is no change of that weight, or it is of another shape.
    pub fn added_to(&self, name: &str, weight: &Tensor) -> Result<Tensor> {
        let delta = times(&self.delta(name)?.detach(), self.factor)?.to_device(weight.device())?;
        Ok((weight + delta.to_dtype(weight.dtype())?)?)
    }

    fn delta(&self, name: &str) -> Result<&Tensor> {
        let named = self.deltas.iter().find(|(own, _)| own == name);
        Ok(named.map(|(_, delta)| delta).ok_or_else(|| Problem::DeltaMissing { tensor: name.into() })?)
    }

    /// The term that the change of the embedding table adds to the embeddings of some tokens, which a model scales by `scale`.
    pub(crate) fn of_tokens(&self, tokens: &[u32], scale: f64) -> Result<Tensor> {
        let table = self.delta(EMBEDDINGS)?;
        let ids = Tensor::from_slice(tokens, tokens.len(), table.device())?;
        times(&times(&table.detach().index_select(&ids, 0)?, self.factor)?, scale)
    }

    pub(super) fn scaled(&self, factor: f64) -> Self {
        Self::with_factor(self.base.clone(), Arc::clone(&self.deltas), self.factor * factor)
    }

    pub(super) fn to_device(&self, device: &Device) -> Result<Self> {
        self.with_deltas(|delta| Ok(delta.to_device(device)?))
    }

    pub(super) fn check_alone(&self) -> Result<()> {
        if self.deltas.is_empty() {
            return Err(Problem::Empty.into());
        }
        match self.factor.is_finite() {
            true => Ok(()),
            false => Err(Problem::Factor { factor: self.factor }.into()),
        }
    }

    pub(super) fn check_against(&self, config: &Config) -> Result<()> {
        let expected = config.tensors();
        let shapes: HashMap<&str, &[usize]> =
            expected.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        for (name, delta) in self.deltas() {
            match shapes.get(name.as_str()) {
                Some(shape) => check_size(name.clone(), delta, shape)?,
                None => return Err(Problem::DeltaUnknown { tensor: name.clone() }.into()),
            }
        }
        expected.iter().try_for_each(|(name, _)| self.delta(name).map(drop))
    }

    /// Norm of all that it changes together, as one long vector.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn norm(&self) -> Result<f64> {
        let squares = self.deltas.iter().map(|(_, delta)| product(delta, delta));
        Ok(self.factor.abs() * squares.sum::<Result<f64>>()?.sqrt())
    }

    /// Norm of the change of each weight, by name.
    pub(super) fn norms(&self) -> Result<Vec<(String, f64)>> {
        let norm = |(name, delta): &(String, Tensor)| {
            Ok((name.clone(), self.factor.abs() * product(delta, delta)?.sqrt()))
        };
        self.deltas.iter().map(norm).collect()
    }

    /// The inner product of the changes of two fine-tunes, over the weights that both have.
    pub(super) fn dot(&self, other: &Self) -> Result<Option<f64>> {
        let mut sum = None;
        for (name, one) in self.deltas.iter() {
            if let Ok(two) = other.delta(name) {
                sum = Some(sum.unwrap_or(0.0) + product(one, two)?);
            }
        }
        Ok(sum.map(|sum: f64| self.factor * other.factor * sum))
    }
}

/// The inner product of two tensors of one shape.
fn product(one: &Tensor, two: &Tensor) -> Result<f64> {
    if one.dims() != two.dims() {
        let words =
            format!("two fine-tunes of models of different sizes: {:?} and {:?}", one.dims(), two.dims());
        return Err(candle_core::Error::Msg(words).into());
    }
    let at_hand = |tensor: &Tensor| tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32);
    let (one, two) = (at_hand(one)?, at_hand(two)?);
    Ok(cpu::with_slices([&one, &two], |[one, two]| Ok(ops::dot(one, two)))?)
}
