//! `strait check`: proof on the user's own model that gradients, edits and decoding are right.

mod chats;
mod parity;
mod python;
mod slope;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use strait_model::{
    Decoder, Edit, Model,
    decoder::{Packed, Piece},
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
    progress::{Progress, Unit},
};

use slope::{Slope, TOLERANCE};

use crate::{
    Result,
    lab::mean,
    objective::{Kept, Row},
};

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The property.
    pub name: String,
    /// True if it holds; `None` where it could not be tried.
    pub holds: Option<bool>,
    /// The figure that decides.
    pub value: f64,
    /// The figure, and its bound.
    pub words: String,
}

/// The change of the loss, in nats, that the first of the steps along which the slope is measured should make: far above rounding.
const MOVE: f64 = 0.004;
/// f32 rounding through a whole model, relative to the largest logit.
const LOGITS_TOLERANCE: f64 = 1e-3;

const TEXTS: [&str; 2] = [
    "The river rose in the night, and by morning the lower fields were under water.",
    "A bicycle stays up because its rider keeps steering the wheels back under the weight.",
];

/// Tries everything that can be tried on a model.
///
/// # Errors
/// If the model cannot be run at all.
pub fn check(model: &Model, progress: &dyn Progress) -> Result<Vec<Check>> {
    let texts =
        TEXTS.iter().map(|text| Ok(model.tokenizer.encode(text, true)?)).collect::<Result<Vec<_>>>()?;
    let task = progress.begin("checking", Some(6), Unit::Count);
    let mut checks = Vec::new();
    for kind in [Kind::Steering, Kind::Lora] {
        checks.extend(gradients(model, &texts, kind)?);
        task.advance(1);
    }
    checks.push(zero_edit(model, &texts)?);
    task.advance(1);
    checks.push(cached_decoding(model, &texts[0])?);
    task.advance(1);
    checks.push(parity::with_transformers(model, &texts)?);
    task.advance(1);
    checks.extend(chats::with_transformers(model));
    task.advance(1);
    Ok(checks)
}

#[derive(Clone, Copy)]
enum Kind {
    Steering,
    Lora,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Steering => "steering vectors (embeddings, middle and last block)",
            Self::Lora => "LoRA (the embeddings and every projection of every block)",
        }
    }
}

/// An edit whose tensors are variables drawn at random, and the variables by name.
fn random_edit(decoder: &Decoder, kind: Kind) -> Result<(Edit, BTreeMap<String, Var>)> {
    const RANK: usize = 2;
    let config = decoder.config();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut vars = BTreeMap::new();
    let mut variable = |name: String, shape: &[usize], most: f32| -> Result<Tensor> {
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-most..most)).collect();
        let var = Var::from_tensor(&Tensor::from_vec(numbers, shape, decoder.device())?)?;
        let tensor = var.as_tensor().clone();
        vars.insert(name, var);
        Ok(tensor)
    };
    let edit = match kind {
        Kind::Steering => {
            let layers = config.layers as i32;
            let mut parts = Vec::new();
            // In a model of one or two layers the middle block is the last.
            for layer in BTreeSet::from([-1, layers / 2, layers - 1]) {
                let vector = variable(format!("steering.{layer}"), &[config.hidden_size], 1e-3)?;
                parts.push(Edit::Steering(SteeringVector { layer, vector }));
            }
            Edit::Composed(parts)
        }
        Kind::Lora => {
            let mut adapters = Vec::new();
            for site in (-1..config.layers as i32).flat_map(|layer| Site::of_layer(layer, &Projection::ALL)) {
                let (input, output) = site.size(config);
                // A keeps the size of what it reads, B makes a small part of a projection of it: with both small, gradients
                // would be products of small numbers.
                let most = (input as f32).sqrt().recip();
                let a = variable(format!("{}.lora_A", site.module()), &[RANK, input], most)?;
                let b = variable(format!("{}.lora_B", site.module()), &[output, RANK], 0.01)?;
                adapters.push(Adapter { site, a, b });
            }
            Edit::Lora(Lora { adapters, rank: RANK, alpha: 1.0, rslora: false, factor: 1.0 })
        }
    };
    Ok((edit, vars))
}

/// Two checks: that every tensor of the edit gets a gradient, and that the gradient is the loss's derivative.
fn gradients(model: &Model, texts: &[Vec<u32>], kind: Kind) -> Result<[Check; 2]> {
    let decoder = &model.decoder;
    let rows = texts.iter().map(|ids| {
        let all_but_first = 1..ids.len();
        Row { ids: ids.clone(), responses: vec![all_but_first] }
    });
    let kept = Kept::all(decoder, rows.collect(), 0, false, "reading", &strait_model::progress::Silent)?;
    let every_row: Vec<usize> = (0..texts.len()).collect();
    let (edit, vars) = random_edit(decoder, kind)?;
    let tokens: usize = kept.rows().iter().map(Row::response_tokens).sum();
    let (losses, found) = kept.response_gradient(decoder, &every_row, Some(&edit), 1.0 / tokens as f64)?;
    let without: Vec<&String> =
        vars.iter().filter(|(_, var)| !has_gradient(found.get(var).as_ref())).map(|(n, _)| n).collect();
    let reached = Check {
        name: format!("every tensor gets a gradient: {}", kind.words()),
        holds: Some(without.is_empty()),
        value: (vars.len() - without.len()) as f64 / vars.len() as f64,
        words: match without.first() {
            None => format!("share of {} tensors with a finite gradient that is not zero", vars.len()),
            Some(first) => {
                format!("{} of {} tensors have none, `{first}` among them", without.len(), vars.len())
            }
        },
    };

    // Steps along the gradient mixed with a random direction, forth and back.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut squares = (0.0, 0.0);
    let mut parts = Vec::new();
    for var in vars.values() {
        let gradient = match found.get(var) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>()?,
            None => vec![0.0; var.elem_count()],
        };
        let noise: Vec<f32> = gradient.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
        squares.0 += gradient.iter().map(|&g| (g as f64).powi(2)).sum::<f64>();
        squares.1 += noise.iter().map(|&n| (n as f64).powi(2)).sum::<f64>();
        parts.push((var, var.copy()?, gradient, noise));
    }
    let (gradient_norm, noise_norm) = (squares.0.sqrt().max(f64::MIN_POSITIVE), squares.1.sqrt());
    let direction = |gradient: &[f32], noise: &[f32]| -> Vec<f32> {
        let along = |(&g, &n): (&f32, &f32)| (g as f64 / gradient_norm + 0.5 * n as f64 / noise_norm) as f32;
        gradient.iter().zip(noise).map(along).collect()
    };
    let slope_of = |(_, _, gradient, noise): &(&Var, Tensor, Vec<f32>, Vec<f32>)| -> f64 {
        let direction = direction(gradient, noise);
        direction.iter().zip(gradient).map(|(&d, &g)| d as f64 * g as f64).sum()
    };
    let slope: f64 = parts.iter().map(slope_of).sum();
    let loss_at = |step: f64| -> Result<f64> {
        for (var, start, gradient, noise) in &parts {
            let direction = Tensor::from_vec(direction(gradient, noise), var.shape(), var.device())?;
            var.set(&(start + (direction * step)?)?)?;
        }
        Ok(mean(&kept.response_losses(decoder, &every_row, Some(&edit))?))
    };
    let rounding = f64::from(f32::EPSILON) * mean(&losses).abs().max(1.0);
    let measured = Slope::measure(loss_at, MOVE / gradient_norm, rounding)?;
    let holds = measured.agrees(slope);
    let allowed = format!("relative difference of the slope, at most {TOLERANCE}");
    let agrees = Check {
        name: format!("the gradient agrees with finite differences: {}", kind.words()),
        holds,
        value: measured.difference(slope),
        words: match holds {
            Some(_) => format!("{allowed} and what rounding and curvature allow ({})", rough(measured)),
            None => {
                format!("cannot be told: rounding of the loss hides a slope this small ({})", rough(measured))
            }
        },
    };
    Ok([reached, agrees])
}

/// The error of a slope, in words.
fn rough(slope: Slope) -> String {
    format!("{:.4} of it", slope.uncertainty())
}

fn has_gradient(gradient: Option<&Tensor>) -> bool {
    let largest = gradient.and_then(|g| g.abs().ok()?.max_all().ok()?.to_scalar::<f32>().ok());
    largest.is_some_and(|g| g.is_finite() && g > 0.0)
}

/// An edit of zeros must give the same bits as no edit.
fn zero_edit(model: &Model, texts: &[Vec<u32>]) -> Result<Check> {
    let decoder = &model.decoder;
    let batch = Packed::new(texts.iter().map(Vec::as_slice));
    let base = decoder.logits(&batch, None)?;
    let mut largest = 0f32;
    for kind in [Kind::Steering, Kind::Lora] {
        let (edit, vars) = random_edit(decoder, kind)?;
        for (_, var) in vars.iter().filter(|(name, _)| !name.ends_with("lora_A")) {
            var.set(&Tensor::zeros(var.shape(), DType::F32, var.device())?)?;
        }
        let edited = decoder.logits(&batch, Some(&edit))?;
        largest = largest.max((edited - &base)?.abs()?.max_all()?.to_scalar::<f32>()?);
    }
    Ok(Check {
        name: "an edit of zero changes nothing".into(),
        holds: Some(largest == 0.0),
        value: largest as f64,
        words: "largest difference of a logit, exactly 0".into(),
    })
}

/// Token by token through the cache must give what one pass gives.
fn cached_decoding(model: &Model, ids: &[u32]) -> Result<Check> {
    let (edit, _) = random_edit(&model.decoder, Kind::Steering)?;
    let whole = model.decoder.logits(&Packed::new([ids]), Some(&edit))?.to_vec2::<f32>()?;
    let mut cache = model.decoder.cache()?;
    let sequence = cache.begin();
    let (mut difference, mut scale) = (0f64, f64::MIN_POSITIVE);
    for (id, at_once) in ids.iter().zip(&whole) {
        let piece = Piece { sequence, ids: std::slice::from_ref(id), edit: Some(&edit) };
        let stepwise = model.decoder.extend(&mut cache, &[piece])?.concat();
        for (&stepwise, &at_once) in stepwise.iter().zip(at_once) {
            difference = difference.max((stepwise as f64 - at_once as f64).abs());
            scale = scale.max((at_once as f64).abs());
        }
    }
    let value = difference / scale;
    Ok(Check {
        name: "cached decoding equals the full pass".into(),
        holds: Some(value <= LOGITS_TOLERANCE),
        value,
        words: format!("largest difference relative to the largest logit, at most {LOGITS_TOLERANCE}"),
    })
}
