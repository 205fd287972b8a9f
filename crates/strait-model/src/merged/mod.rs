//! A whole model with an edit in its weights: a folder as Hugging Face's tools load it.
//!
//! Full fine-tunes and LoRAs are added to the weights. A direction that is ablated after every layer is taken out of all that the
//! weights write into the stream, W <- W - v v' W: then nothing along it is left between a block's attention and its MLP
//! either, where the edit leaves what attention has just written.
//!
//! The weights are written in f32, whatever the base model's type is: what was measured is what is loaded. In 16 bits most of
//! what a short training adds would be rounded away.

mod change;
mod problem;

use std::{collections::HashMap, io::Write, path::Path};

use candle_core::{Device, Tensor};
use safetensors::Dtype;
use serde_json::{Map, Value};

use crate::{
    Decoder, Error, Precision, Result, Weights,
    config::{EMBEDDINGS, HEAD},
    edit::{Opened, in_file},
    files::{self, Entry, read_regular, write_folder, write_numbers, write_tensors},
    json,
    source::{Located, identity},
};
use change::Change;
pub use problem::Problem;

/// The files beside the weights of a model that are the same after a fine-tune.
const CARRIED: [&str; 18] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
    "USE_POLICY.md",
];
/// Longest file of those that is carried over, in bytes.
const LONGEST: u64 = 1 << 28;
const CONFIG: &str = "config.json";
const TIED: &str = "tie_word_embeddings";

/// Writes the model that was found there with an edit in its weights to a new folder, as a whole or not at all. Returns what the
/// user should know of it, one sentence each.
///
/// # Errors
/// If no weights do what the edit does, or it was made for other weights; if the model is no folder of Hugging Face's; or if
/// something lies in the folder already or it cannot be written.
pub fn write(opened: &Opened, base: &Located, folder: &Path) -> Result<Vec<String>> {
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Problem::Occupied.at(folder));
    }
    let weights = Weights::open(&base.path)?;
    if weights.gguf().is_some() {
        return Err(Problem::BaseIsGguf.at(&base.path));
    }
    Decoder::new(&weights, &Device::Cpu, Precision::F32)?.check(opened)?;
    let change = Change::of(&opened.edit, weights.config()).map_err(in_file(&opened.path))?;
    let untied = weights.config().tied_embeddings && change.parts_tables();
    write_folder(folder, |folder| {
        for name in CARRIED.into_iter().filter(|name| base.path.join(name).is_file()) {
            let bytes = read_regular(&base.path.join(name), LONGEST)?;
            files::write(&folder.join(name), &bytes)?;
        }
        let config = config(&base.path.join(CONFIG), untied)?;
        write_text(&folder.join(CONFIG), &format!("{config:#}\n"))?;
        write_text(&folder.join("README.md"), &card(identity(base, &weights).as_deref()))?;
        write_weights(&folder.join("model.safetensors"), &weights, &change, untied)
    })?;
    weights.check_unchanged()?;
    let mut notes = Vec::new();
    if change.ablates() {
        notes.push(
            "in the weights the direction is gone between a block's attention and its MLP too, where the edit leaves what attention \
             writes: measure the folder itself"
                .into(),
        );
    }
    if untied {
        notes
            .push("the embeddings changed and the head did not: the model's one table has become two".into());
    }
    Ok(notes)
}

/// The base model's config, for weights in f32, and with a head of its own where it has one no longer in its embeddings.
fn config(path: &Path, untied: bool) -> Result<Value> {
    let bytes = read_regular(path, LONGEST)?;
    let malformed = |e: serde_json::Error| Error::io(path, "read the file")(e.into());
    let mut config: Map<String, Value> = json::from_slice(&bytes).map_err(malformed)?;
    // The folder is not the model of that name.
    config.remove("_name_or_path");
    in_single_precision(&mut config);
    if untied {
        config.insert(TIED.into(), false.into());
    }
    if let Some(Value::Object(text)) = config.get_mut("text_config") {
        in_single_precision(text);
        if untied {
            text.insert(TIED.into(), false.into());
        }
    }
    Ok(config.into())
}

fn in_single_precision(config: &mut Map<String, Value>) {
    for key in ["torch_dtype", "dtype"] {
        if let Some(dtype) = config.get_mut(key) {
            *dtype = "float32".into();
        }
    }
}

fn card(base: Option<&str>) -> String {
    // A JSON string is a YAML string, whatever the name holds.
    let base = base.map_or_else(String::new, |name| format!("base_model: {}\n", Value::from(name)));
    format!(
        r#"---
{base}library_name: transformers
pipeline_tag: text-generation
tags:
- "strait"
---

# Model written by strait

All weights in float32, with the changes of an edit in them.

```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("PATH_OF_THIS_FOLDER")
```
"#
    )
}

/// Writes the weights with their changes, and beside them what has no part in the text model, as it is.
fn write_weights(path: &Path, weights: &Weights, change: &Change, untied: bool) -> Result<()> {
    let mut tensors = weights.config().tensors();
    if untied {
        let table = tensors.iter().find(|(name, _)| name == EMBEDDINGS).map(|(_, shape)| shape.clone());
        tensors.extend(table.map(|shape| (HEAD.to_string(), shape)));
    }
    let entries = entries(weights, &tensors)?;
    let metadata = Map::from_iter([("format".to_string(), "pt".into())]);
    write_tensors(path, metadata, &entries, |index, file| match tensors.get(index) {
        Some((name, shape)) => {
            let table = if untied && name == HEAD { EMBEDDINGS } else { name };
            let changed = changed(weights, (name, table), shape, change).map_err(std::io::Error::other)?;
            write_numbers(file, &changed)
        }
        None => file.write_all(&weights.bytes(&entries[index].name).map_err(std::io::Error::other)?),
    })
}

/// A weight, made of that of the base model's file which `table` names, with its changes.
fn changed(
    weights: &Weights,
    (name, table): (&str, &str),
    shape: &[usize],
    change: &Change,
) -> Result<Vec<f32>> {
    let stored = Tensor::from_vec(weights.as_stored(table, shape)?, shape, &Device::Cpu)?;
    Ok(change.of_weight(name, table, stored)?.flatten_all()?.to_vec1()?)
}

/// The tensors of the file under the names of the base model's: those of the text model, and behind them those beside it.
fn entries(weights: &Weights, tensors: &[(String, Vec<usize>)]) -> Result<Vec<Entry>> {
    let idle = weights.fit()?;
    let changed = tensors.iter().map(|(name, shape)| Entry {
        name: weights.stored_name(name).unwrap_or_else(|| name.clone()),
        dtype: Dtype::F32,
        shape: shape.clone(),
    });
    let mut entries: Vec<Entry> = changed.collect();
    let types: HashMap<String, (Dtype, Vec<usize>)> = weights.types();
    let mut others: Vec<&String> = idle.iter().collect();
    others.sort();
    // A head beside embeddings that are the head is no more what it was.
    for stored in others.into_iter().filter(|stored| !stored.ends_with(HEAD)) {
        if let Some((dtype, shape)) = types.get(stored) {
            entries.push(Entry { name: stored.clone(), dtype: *dtype, shape: shape.clone() });
        }
    }
    Ok(entries)
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    files::write(path, text)
}
