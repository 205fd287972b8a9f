//! Steering vectors in PyTorch files: the papers' dict, and a bare tensor, which says neither layer nor alpha.

use candle_core::{Device, Tensor};

use super::{Edit, Problem, SteeringVector, torch};
use crate::Result;

const VECTOR: &str = "steering_vector";
const LAYER: &str = "layer_idx";
const SIZE: &str = "d_model";
const ALPHA: &str = "alpha";

/// Makes a steering vector of what a PyTorch file holds; `asked` is the layer in the edit's name. What is added is
/// alpha * vector. Returns what the user should know about it as well.
pub(super) fn from_torch(value: torch::Value, asked: Option<i32>) -> Result<(Edit, Vec<String>)> {
    let layer = layer(&value)?;
    let size = value.get(SIZE).map(whole_number(SIZE)).transpose()?;
    let alpha = value.get(ALPHA).map(alpha).transpose()?;
    let vector = vector(value)?;

    let len = vector.elem_count();
    if let Some(size) = size
        && usize::try_from(size) != Ok(len)
    {
        return Err(Problem::Field {
            key: SIZE,
            found: size.to_string(),
            expected: format!("the vector's length {len}"),
        }
        .into());
    }
    let layer = match (layer, asked) {
        (Some(found), Some(asked)) if found != asked => {
            return Err(Problem::LayerDisagrees { found, asked }.into());
        }
        (Some(layer), _) | (None, Some(layer)) => layer,
        (None, None) => return Err(Problem::LayerNeeded { size: len }.into()),
    };
    let edit = Edit::Steering(SteeringVector { layer, vector });
    match alpha {
        Some(alpha) => Ok((edit.scaled(alpha)?, Vec::new())),
        None => Ok((
            edit,
            vec![
                "the file says no alpha, so it is taken as 1; if what was trained was alpha * vector (the papers used \
                 256), add it as a factor: `vector.pt@24*256`"
                    .into(),
            ],
        )),
    }
}

/// The layer that a dict says.
pub(super) fn layer(value: &torch::Value) -> Result<Option<i32>, Problem> {
    let Some(layer) = value.get(LAYER).map(whole_number(LAYER)).transpose()? else {
        return Ok(None);
    };
    match i32::try_from(layer) {
        Ok(layer) if layer >= -1 => Ok(Some(layer)),
        _ => Err(Problem::Field {
            key: LAYER,
            found: layer.to_string(),
            expected: "a layer from -1 up".into(),
        }),
    }
}

fn whole_number(key: &'static str) -> impl Fn(&torch::Value) -> Result<i64, Problem> {
    move |value| match value {
        torch::Value::Int(number) => Ok(*number),
        other => Err(Problem::Field { key, found: other.kind().into(), expected: "a whole number".into() }),
    }
}

fn alpha(value: &torch::Value) -> Result<f64, Problem> {
    let wrong = |found: String| Problem::Field { key: ALPHA, found, expected: "a finite number".into() };
    match value {
        torch::Value::Int(number) => Ok(*number as f64),
        torch::Value::Float(number) if number.is_finite() => Ok(*number),
        torch::Value::Float(number) => Err(wrong(number.to_string())),
        other => Err(wrong(other.kind().into())),
    }
}

/// The tensor, bare or in the dict, with its dimensions of one dropped.
fn vector(value: torch::Value) -> Result<Tensor> {
    let tensor = match value {
        torch::Value::Tensor(tensor) => tensor,
        ref dict @ torch::Value::Dict(_) => match dict.get(VECTOR) {
            Some(torch::Value::Tensor(tensor)) => tensor.clone(),
            Some(other) => {
                return Err(Problem::Field {
                    key: VECTOR,
                    found: other.kind().into(),
                    expected: "a tensor".into(),
                }
                .into());
            }
            None => {
                return Err(Problem::NoVector { found: keys(dict) }.into());
            }
        },
        other => {
            return Err(Problem::NoVector { found: other.kind().into() }.into());
        }
    };
    let len = tensor.values.len();
    if len == 0 || !tensor.shape.iter().all(|&size| size == 1 || size == len) {
        return Err(Problem::VectorShape { name: VECTOR.into(), shape: tensor.shape }.into());
    }
    Ok(Tensor::from_vec(tensor.values, len, &Device::Cpu)?)
}

/// A dict by its first few keys, for a message.
fn keys(dict: &torch::Value) -> String {
    const SHOWN: usize = 3;
    let torch::Value::Dict(entries) = dict else {
        return dict.kind().into();
    };
    let shown: Vec<_> = entries
        .iter()
        .take(SHOWN)
        .map(|(key, _)| match key {
            torch::Value::Str(key) => format!("`{}`", key.escape_debug()),
            torch::Value::Int(key) => format!("`{key}`"),
            other => other.kind().into(),
        })
        .collect();
    let more = entries.len().saturating_sub(SHOWN);
    match (shown.is_empty(), more) {
        (true, _) => "an empty dict".into(),
        (false, 0) => format!("a dict of {}", shown.join(", ")),
        (false, more) => format!("a dict of {} and {more} more", shown.join(", ")),
    }
}

/// The named tensors of a dict, for adapters in PEFT's older files.
pub(super) fn named_tensors(value: torch::Value) -> Result<Vec<(String, Tensor)>> {
    let torch::Value::Dict(entries) = value else {
        return Err(Problem::NoTensors { found: value.kind() }.into());
    };
    entries
        .into_iter()
        .map(|(key, value)| match (key, value) {
            (torch::Value::Str(name), torch::Value::Tensor(tensor)) => {
                Ok((name, Tensor::from_vec(tensor.values, tensor.shape, &Device::Cpu)?))
            }
            (torch::Value::Str(name), _) => Err(Problem::UnknownTensor { name }.into()),
            (other, _) => Err(Problem::UnknownTensor { name: other.kind().into() }.into()),
        })
        .collect()
}
