//! Edits while they are trained: the tensors of an edit, or every weight of a model.

use candle_core::{DType, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use strait_model::{
    Decoder, Edit,
    edit::{Adapter, Full, Lora, Site, SteeringVector},
    ops::Weight,
};

use super::{
    EditKind, Settings,
    optimiser::{Parameter, beside_each_other},
};
use crate::{Error, Result};

/// An edit while it is trained: its values are variables.
pub struct Trainable {
    tuned: Tuned,
    parameters: Vec<Parameter>,
    /// The ablations behind it, which stay as they are.
    behind: Option<Edit>,
}

/// The weights of a decoder, in memory.
fn of_base(decoder: &Decoder) -> Result<Vec<(String, Tensor)>> {
    let tensors = decoder.weights().iter().map(|(name, weight)| Ok((name.clone(), weight.tensor()?)));
    tensors.collect()
}

/// The edit or decoder that the variables make up.
enum Tuned {
    /// An edit of their tensors, alone and with what is taken out behind it.
    Edit { own: Edit, whole: Edit },
    /// A decoder whose weights they are: what is trained is W itself, so that weight decay shortens W and rounding is that of W, as
    /// in everybody's full fine-tunes. The edit is what W differs by from the base model's.
    Weights { decoder: Box<Decoder>, base: Vec<(String, Weight)>, fingerprint: String },
}

impl Trainable {
    /// A fresh edit: a zero steering vector, adapters with B = 0, or the weights of the model as they are.
    ///
    /// `residual_scale` is the length of a typical coordinate of the residual stream where a steering vector acts.
    ///
    /// # Errors
    /// If the edit does not fit the model.
    pub fn new(settings: &Settings, decoder: &Decoder, residual_scale: f64) -> Result<Self> {
        let (config, device) = (decoder.config(), decoder.device());
        let edit = match &settings.edit {
            EditKind::Steering { layer } => {
                let vector = Tensor::zeros(config.hidden_size, DType::F32, device)?;
                Edit::Steering(SteeringVector { layer: *layer, vector })
            }
            EditKind::Lora { layers, projections, rank, alpha, rslora } => {
                let mut rng = ChaCha8Rng::seed_from_u64(settings.seeds.initialisation);
                let mut adapters = Vec::new();
                for site in layers.iter().flat_map(|&layer| Site::of_layer(layer, projections)) {
                    let (input, output) = site.size(config);
                    let bound = 1.0 / (input as f32).sqrt();
                    let a = (0..rank * input).map(|_| rng.random_range(-bound..bound)).collect::<Vec<f32>>();
                    let a = Tensor::from_vec(a, (*rank, input), device)?;
                    let b = Tensor::zeros((output, *rank), DType::F32, device)?;
                    adapters.push(Adapter { site, a, b });
                }
                Edit::Lora(Lora { adapters, rank: *rank, alpha: *alpha, rslora: *rslora, factor: 1.0 })
            }
            EditKind::Full => return Self::weights(decoder, &of_base(decoder)?),
        };
        edit.check(config)?;
        Self::from_edit(edit, decoder, residual_scale)
    }

    /// Makes the tensors of an edit trainable, from the values that they have; of a full fine-tune the weights that it gives. Ablations
    /// behind it stay as they are.
    ///
    /// # Errors
    /// If training does not know the kind of edit, a full fine-tune is one of another model, or a variable cannot be made.
    pub fn from_edit(edit: Edit, decoder: &Decoder, residual_scale: f64) -> Result<Self> {
        let mut parameters = Vec::new();
        let mut trainable = |name: String, tensor: &Tensor, unit: f64| -> Result<Tensor> {
            let var = Var::from_tensor(&tensor.copy()?)?;
            let tensor = var.as_tensor().clone();
            parameters.push(Parameter::new(name, var, unit));
            Ok(tensor)
        };
        let edit = match edit {
            Edit::Steering(SteeringVector { layer, vector }) => {
                let vector = trainable(format!("steering.{layer}"), &vector, residual_scale)?;
                Edit::Steering(SteeringVector { layer, vector })
            }
            Edit::Lora(mut lora) => {
                for adapter in &mut lora.adapters {
                    let name = adapter.site.module();
                    adapter.a = trainable(format!("{name}.lora_A"), &adapter.a, 1.0)?;
                    adapter.b = trainable(format!("{name}.lora_B"), &adapter.b, 1.0)?;
                }
                Edit::Lora(lora)
            }
            Edit::Full(_) => return Self::weights(decoder, &decoder.changed_tensors(&edit)?),
            Edit::Ablation(_) => return Err(Error::CannotTrain("an ablation".into())),
            Edit::Composed(parts) => {
                let mut parts = parts.into_iter();
                let (first, behind): (_, Vec<Edit>) = (parts.next(), parts.collect());
                return match first {
                    Some(first) if behind.iter().all(|part| matches!(part, Edit::Ablation(_))) => {
                        Ok(Self::from_edit(first, decoder, residual_scale)?.without(behind))
                    }
                    _ => Err(Error::CannotTrain("a composition of edits".into())),
                };
            }
        };
        let tuned = Tuned::Edit { whole: edit.clone(), own: edit };
        Ok(Self { tuned, parameters, behind: None })
    }

    /// With ablations behind the edit, which training leaves as they are: what it learns is learned without their directions.
    pub fn without(self, ablations: impl IntoIterator<Item = Edit>) -> Self {
        let behind = Edit::composed(self.behind.into_iter().chain(ablations));
        let tuned = match self.tuned {
            Tuned::Edit { own, .. } => {
                Tuned::Edit { whole: Edit::composed([own.clone(), behind.clone()]), own }
            }
            weights => weights,
        };
        Self { tuned, behind: Some(behind), ..self }
    }

    /// Makes every weight trainable, from some values.
    fn weights(base: &Decoder, values: &[(String, Tensor)]) -> Result<Self> {
        let mut parameters = Vec::with_capacity(values.len());
        for (name, value) in values {
            let var = Var::from_tensor(&value.detach().to_dtype(DType::F32)?.copy()?)?;
            // As transformers has it, norms and biases do not decay.
            let decays = var.rank() > 1;
            parameters.push(Parameter { decays, ..Parameter::new(name.clone(), var, 1.0) });
        }
        let mut next = parameters.iter();
        let decoder = Decoder::from_tensors(base.config().clone(), base.precision(), |_, _| {
            let parameter = next.next().expect("a decoder has as many tensors as its base");
            Ok(parameter.var.as_tensor().clone())
        })?;
        let fingerprint = base.fingerprint()?.to_string();
        let base = base.weights().to_vec();
        let tuned = Tuned::Weights { decoder: Box::new(decoder), base, fingerprint };
        Ok(Self { tuned, parameters, behind: None })
    }

    /// The decoder and the edit with which the model as it is now is read; `base` is the decoder without the edit.
    pub fn on<'a>(&'a self, base: &'a Decoder) -> (&'a Decoder, Option<&'a Edit>) {
        match &self.tuned {
            Tuned::Edit { whole, .. } => (base, Some(whole)),
            Tuned::Weights { decoder, .. } => (decoder, self.behind.as_ref()),
        }
    }

    /// Names and variables of the parameters.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.parameters.iter().map(|p| (p.name.as_str(), &p.var))
    }

    pub(super) fn parameters(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// The norm of the edit as it is now, without the ablations behind it.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn norm(&self) -> Result<f64> {
        match &self.tuned {
            Tuned::Edit { own, .. } => Ok(own.norm()?),
            // Without the edit itself, which is as large as the model.
            Tuned::Weights { base, .. } => {
                let both = self.parameters.par_iter().zip(base);
                let both = both.with_min_len(beside_each_other(&self.parameters));
                let squared = |(p, (_, base)): (&Parameter, &(String, Weight))| {
                    Ok(base.squared_distance(p.var.as_tensor())?)
                };
                Ok(both.map(squared).collect::<Result<Vec<f64>>>()?.into_iter().sum::<f64>().sqrt())
            }
        }
    }

    /// The edit as it is now, with the ablations behind it, apart from its variables.
    ///
    /// # Errors
    /// If a tensor cannot be copied.
    pub fn frozen(&self) -> Result<Edit> {
        match &self.tuned {
            Tuned::Edit { whole, .. } => Ok(whole.copied()?),
            Tuned::Weights { base, fingerprint, .. } => {
                let delta = |(parameter, (name, base)): (&Parameter, &(String, Weight))| {
                    Ok((
                        name.clone(),
                        (parameter.var.as_detached_tensor()
                            - base.tensor()?.detach().to_dtype(DType::F32)?)?,
                    ))
                };
                let deltas = self.parameters.iter().zip(base).map(delta).collect::<Result<_>>()?;
                let full = Edit::Full(Full::new(fingerprint.clone(), deltas));
                Ok(Edit::composed([full].into_iter().chain(self.behind.clone())))
            }
        }
    }
}
