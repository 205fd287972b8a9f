//! Control vectors: `direction.L` is added to the output of block L, counted from 0, and none can act on block 0.

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Device, Tensor, quantized::GgmlDType};
use serde_json::json;

use super::{ARCHITECTURE, CONTROL_VECTOR, Imported, Problem};
use crate::{
    Config, Gguf, Result,
    edit::{Edit, SteeringVector, problem::Problem as EditProblem, tensors::finite_values},
    gguf::{Entry, TensorInfo, Value, write as write_gguf},
};

const HINT: &str = "controlvector.model_hint";
const LAYERS: &str = "controlvector.layer_count";
const DIRECTION: &str = "direction.";

/// Reads a control vector as llama.cpp's loader does: all of its tensors, or none.
pub(super) fn read(gguf: &Gguf) -> Result<Imported> {
    let path = gguf.path();
    let mut layers = BTreeMap::<i32, Vec<f32>>::new();
    let mut width = None;
    for tensor in gguf.tensors() {
        let refused = |why: String| Problem::Direction { tensor: tensor.name.clone(), why }.at(path);
        let layer = layer(tensor).map_err(refused)?;
        let (_, numbers) = gguf.dequantise(&tensor.name)?;
        let expected = *width.get_or_insert(numbers.len());
        if numbers.len() != expected {
            return Err(refused(format!("has {} numbers where the first has {expected}", numbers.len())));
        }
        // Tensors of one layer add up.
        let sum = layers.entry(layer).or_insert_with(|| vec![0.0; expected]);
        sum.iter_mut().zip(&numbers).for_each(|(sum, number)| *sum += number);
    }
    if layers.is_empty() {
        return Err(EditProblem::Empty.at(path));
    }
    let vector = |(layer, numbers): (i32, Vec<f32>)| {
        let width = numbers.len();
        let vector = Tensor::from_vec(numbers, width, &Device::Cpu)?;
        Ok(Edit::Steering(SteeringVector { layer, vector }))
    };
    let edit = Edit::composed(layers.into_iter().map(vector).collect::<Result<Vec<_>>>()?);
    let mut notes = Vec::new();
    // repeng writes it without a sign.
    if let Some(Value::Signed(_)) = gguf.get(LAYERS) {
        notes.push(
            "`controlvector.layer_count` has a sign, as llama.cpp's cvector-generator writes it: that tool keeps what it measured \
             after block L as `direction.L+1`, so that its vectors act one block later than they were measured. Here they act as \
             in llama.cpp"
                .into(),
        );
    }
    let provenance = json!({ "model_hint": gguf.string(HINT)? });
    Ok(Imported { edit, architecture: None, notes, provenance })
}

/// The layer of `direction.3`, of what llama.cpp would add there.
fn layer(tensor: &TensorInfo) -> Result<i32, String> {
    // As its `stoi` does: what follows the digits has no say.
    let digits = tensor.name.strip_prefix(DIRECTION).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<i32>()
    });
    let layer = match digits {
        Some(Ok(0)) => return Err("is of layer 0, which no control vector has".into()),
        Some(Ok(layer)) => layer,
        _ => return Err("is not named `direction.LAYER`".into()),
    };
    if tensor.dtype != GgmlDType::F32 {
        return Err("is not of type F32".into());
    }
    match tensor.shape.split_last() {
        Some((1.., outer)) if outer.iter().all(|&size| size == 1) => Ok(layer),
        _ => Err(format!("has shape {:?}, which is not one vector", tensor.shape)),
    }
}

/// Writes steering vectors; those of one layer as their sum.
pub(super) fn write(vectors: &[&SteeringVector], path: &Path, model: &Config) -> Result<()> {
    let mut layers = BTreeMap::<i32, Tensor>::new();
    for SteeringVector { layer, vector } in vectors {
        let place = match *layer {
            -1 => Some("on the embeddings"),
            0 => Some("after block 0"),
            _ => None,
        };
        if let Some(place) = place {
            return Err(Problem::TooLow { place }.at(path));
        }
        let vector = vector.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        let sum = match layers.remove(layer) {
            Some(sum) => (sum + vector)?,
            None => vector,
        };
        layers.insert(*layer, sum);
    }
    if layers.is_empty() {
        return Err(EditProblem::Empty.at(path));
    }
    let tensors: Vec<_> =
        layers.into_iter().map(|(layer, sum)| (format!("{DIRECTION}{layer}"), sum)).collect();
    for (name, tensor) in &tensors {
        finite_values(name, tensor).map_err(crate::edit::in_file(path))?;
    }
    let metadata = [
        (ARCHITECTURE.to_string(), Entry::Text(CONTROL_VECTOR)),
        (HINT.into(), Entry::Text(model.architecture.gguf_name())),
        (LAYERS.into(), Entry::Number(tensors.len() as u32)),
    ];
    write_gguf(path, &metadata, &tensors)
}
