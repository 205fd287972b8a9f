//! Edits in llama.cpp's files: control vectors, which are steering vectors, and LoRA adapters.

mod adapter;
mod control;
mod problem;

use std::path::Path;

use serde_json::Value;

pub(super) use adapter::check_architecture;
pub use problem::Problem;

use super::{Edit, Leaf, Lora, SteeringVector};
use crate::{Config, Gguf, Result, config::Architecture};

const ARCHITECTURE: &str = "general.architecture";
const KIND: &str = "general.type";
const CONTROL_VECTOR: &str = "controlvector";
const ADAPTER: &str = "adapter";

/// The content of a file.
pub(super) struct Imported {
    pub(super) edit: Edit,
    /// The family of models that it is for, where the file has to say it.
    pub(super) architecture: Option<Architecture>,
    pub(super) notes: Vec<String>,
    pub(super) provenance: Value,
}

/// Reads a file as llama.cpp would, or refuses it. `model` is the model that it is for, where that is known: the rows of a Llama's
/// queries and keys lie in another order there, which takes the size of a head to undo.
pub(super) fn read(path: &Path, model: Option<&Config>) -> Result<Imported> {
    let gguf = Gguf::open(path)?;
    let architecture = gguf.string(ARCHITECTURE)?;
    if architecture == Some(CONTROL_VECTOR) {
        return control::read(&gguf);
    }
    match (architecture, gguf.string(KIND)?) {
        (Some(architecture), Some(ADAPTER)) => adapter::read(&gguf, architecture, model),
        (architecture, kind) => {
            let kind = kind.unwrap_or("model");
            let of = architecture.map_or(String::new(), |name| format!(" of the architecture `{name}`"));
            Err(Problem::NoEdit { found: format!("a {kind}{of}") }.at(path))
        }
    }
}

/// Writes an edit for a model, as a whole or not at all: steering vectors as a control vector, LoRAs as an adapter.
pub(super) fn write(edit: &Edit, path: &Path, model: &Config) -> Result<()> {
    edit.check(model).map_err(super::in_file(path))?;
    let kind = match edit {
        Edit::Composed(_) => "a composition of edits that are neither all steering vectors nor all LoRAs",
        Edit::Ablation(_) => "an ablation",
        _ => "a full fine-tune",
    };
    let vectors = edit.leaves().map(|leaf| match leaf {
        Leaf::Steering(vector) => Some(vector),
        _ => None,
    });
    if let Some(vectors) = vectors.collect::<Option<Vec<&SteeringVector>>>() {
        return control::write(&vectors, path, model);
    }
    let loras = edit.leaves().map(|leaf| match leaf {
        Leaf::Lora(lora) => Some(lora),
        _ => None,
    });
    match loras.collect::<Option<Vec<&Lora>>>() {
        Some(loras) => adapter::write(&loras, path, model),
        None => Err(Problem::Kind { kind }.at(path)),
    }
}
