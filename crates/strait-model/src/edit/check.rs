//! Checks of edits, alone and on a model.

use std::collections::HashSet;

use candle_core::{DType, Tensor};

use super::{Ablation, Adapter, Edit, Leaf, Lora, Problem, SteeringVector, names, tensors};
use crate::{Config, Result};

impl Edit {
    /// Checks that the edit is sound and fits a model: its layers exist, its tensors have the model's sizes, its values are
    /// finite.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self, config: &Config) -> Result<()> {
        self.check_alone()?;
        self.leaves().try_for_each(|leaf| match leaf {
            Leaf::Steering(steering) => steering.check_against(config),
            Leaf::Lora(lora) => lora.check_against(config),
            Leaf::Ablation(ablation) => ablation.check_against(config),
            Leaf::Full(full) => full.check_against(config),
        })
    }

    /// Checks that need no model: sane shapes, one rank, each adapter at another site, finite values.
    pub(super) fn check_alone(&self) -> Result<()> {
        self.leaves().try_for_each(|leaf| match leaf {
            Leaf::Steering(steering) => steering.check_alone(),
            Leaf::Lora(lora) => lora.check_alone(),
            Leaf::Ablation(ablation) => ablation.check_alone(),
            Leaf::Full(full) => full.check_alone(),
        })?;
        for (name, tensor) in self.tensors() {
            tensors::finite_values(&name, &tensor)?;
        }
        Ok(())
    }
}

impl Edit {
    /// True if the edit leaves every model as it is: all that it would add is zero.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn changes_nothing(&self) -> Result<bool> {
        for leaf in self.leaves() {
            let nothing = match leaf {
                Leaf::Steering(steering) => is_zero(&steering.vector)?,
                Leaf::Ablation(ablation) => ablation.factor == 0.0,
                Leaf::Full(full) => full.norm()? == 0.0,
                Leaf::Lora(lora) => lora.scale() == 0.0 || lora.is_zero()?,
            };
            if !nothing {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl SteeringVector {
    fn check_alone(&self) -> Result<()> {
        check_vector(names::steering(self.layer), &self.vector)
    }

    fn check_against(&self, config: &Config) -> Result<()> {
        check_place(names::steering(self.layer), self.layer, &self.vector, config)
    }
}

impl Ablation {
    fn check_alone(&self) -> Result<()> {
        let name = names::ablation(self.layer);
        check_vector(name.clone(), &self.direction)?;
        if !self.factor.is_finite() {
            return Err(Problem::Factor { factor: self.factor }.into());
        }
        if is_zero(&self.direction)? { Err(Problem::NoDirection { name }.into()) } else { Ok(()) }
    }

    fn check_against(&self, config: &Config) -> Result<()> {
        check_place(names::ablation(self.layer), self.layer, &self.direction, config)
    }
}

fn is_zero(tensor: &Tensor) -> Result<bool> {
    let largest = tensor.abs()?.max_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?;
    Ok(largest == 0.0)
}

fn check_vector(name: String, vector: &Tensor) -> Result<()> {
    match vector.dims() {
        [size] if *size > 0 => Ok(()),
        shape => Err(Problem::VectorShape { name, shape: shape.to_vec() }.into()),
    }
}

/// Checks that the model has the layer of a vector, and the vector the model's width.
fn check_place(site: String, layer: i32, vector: &Tensor, config: &Config) -> Result<()> {
    let exists = layer == -1 || usize::try_from(layer).is_ok_and(|layer| layer < config.layers);
    if !exists {
        return Err(Problem::LayerRange { site, layers: config.layers }.into());
    }
    check_size(site, vector, &[config.hidden_size])
}

impl Lora {
    /// True if each adapter has a half of zeros.
    fn is_zero(&self) -> Result<bool> {
        for adapter in &self.adapters {
            if !(is_zero(&adapter.b)? || is_zero(&adapter.a)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn check_alone(&self) -> Result<()> {
        let mut sites = HashSet::new();
        for adapter in &self.adapters {
            let found = adapter.rank()?;
            let site = adapter.site.module();
            if found != self.rank {
                return Err(Problem::Rank { site, expected: self.rank, found }.into());
            }
            if !sites.insert(adapter.site) {
                return Err(Problem::SameSite { site }.into());
            }
        }
        let scale = self.scale();
        if !scale.is_finite() {
            return Err(
                Problem::Scale { scale, rank: self.rank, alpha: self.alpha, factor: self.factor }.into()
            );
        }
        Ok(())
    }

    fn check_against(&self, config: &Config) -> Result<()> {
        for adapter in &self.adapters {
            let site = adapter.site;
            if site.layer().is_some_and(|layer| layer >= config.layers as i32) {
                return Err(Problem::LayerRange { site: site.module(), layers: config.layers }.into());
            }
            let (input, output) = site.size(config);
            let [a, b] = adapter.named_tensors();
            check_size(a.0, &a.1, &[self.rank, input])?;
            check_size(b.0, &b.1, &[output, self.rank])?;
        }
        Ok(())
    }
}

impl Adapter {
    /// Its rank by its shapes.
    ///
    /// # Errors
    /// If A and B are not of shapes (r, in) and (out, r), all of at least 1.
    pub fn rank(&self) -> Result<usize> {
        match (self.a.dims(), self.b.dims()) {
            (&[r, input], &[out, same]) if r == same && [r, input, out].iter().all(|&size| size > 0) => Ok(r),
            (a, b) => {
                Err(Problem::AdapterShapes { site: self.site.module(), a: a.to_vec(), b: b.to_vec() }.into())
            }
        }
    }
}

pub(super) fn check_size(name: String, tensor: &Tensor, expected: &[usize]) -> Result<()> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(Problem::Size { tensor: name, expected: expected.to_vec(), found: tensor.dims().to_vec() }.into())
}
