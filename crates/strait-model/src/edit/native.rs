//! strait's own file: a `.safetensors` with the tensors of [`Edit::tensors`] and with everything else in its metadata.
//!
//! The metadata, all strings as safetensors wants them: `format` ("strait.edit"), `version` ("1"), for a composition
//! `parts` (how many), for a LoRA `r`, `alpha`, `rslora` and `factor`, for an ablation `factor`, for a full fine-tune `factor`
//! and `base` (the fingerprint of the weights that it changes), and `provenance` (JSON). In
//! a composition the keys of a part start with its index, as the names of tensors do: `0.alpha`.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    str::FromStr,
};

use candle_core::Tensor;
use serde_json::{Map, Value};

use super::{
    Ablation, Edit, Full, Leaf, Lora, Problem, SteeringVector,
    names::{self, Named},
    problem::in_file,
    tensors::{self, Contents},
};
use crate::Result;

const FORMAT: &str = "strait.edit";
const VERSION: &str = "1";

impl Edit {
    /// Writes the edit as strait's own `.safetensors`, as a whole or not at all. A vector's factor is folded in, that of
    /// any other edit is kept beside it; equal edits make equal files.
    ///
    /// # Errors
    /// If the edit has no tensors or is malformed, has values that are not finite, or cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_with(path, &Value::Null)
    }

    /// As [`save`](Self::save), with where the edit comes from; null leaves it out.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_with(&self, path: &Path, provenance: &Value) -> Result<()> {
        self.check_alone().map_err(in_file(path))?;
        let tensors = self.tensors();
        if tensors.is_empty() {
            return Err(Problem::Empty.at(path));
        }
        tensors::write(path, self.metadata(provenance), &tensors)
    }

    fn metadata(&self, provenance: &Value) -> Map<String, Value> {
        let mut metadata = Map::new();
        let mut insert = |key: String, value: String| metadata.insert(key, value.into());
        insert("format".into(), FORMAT.into());
        insert("version".into(), VERSION.into());
        if matches!(self, Self::Composed(_)) {
            insert("parts".into(), self.parts().count().to_string());
        }
        for (prefix, leaf) in self.named_leaves() {
            match leaf {
                Leaf::Steering(_) => {}
                Leaf::Lora(lora) => {
                    insert(format!("{prefix}r"), lora.rank.to_string());
                    insert(format!("{prefix}alpha"), lora.alpha.to_string());
                    insert(format!("{prefix}rslora"), lora.rslora.to_string());
                    insert(format!("{prefix}factor"), lora.factor.to_string());
                }
                Leaf::Ablation(ablation) => {
                    insert(format!("{prefix}factor"), ablation.factor.to_string());
                }
                Leaf::Full(full) => {
                    insert(format!("{prefix}factor"), full.factor().to_string());
                    insert(format!("{prefix}base"), full.base().into());
                }
            }
        }
        if !provenance.is_null() {
            insert("provenance".into(), provenance.to_string());
        }
        metadata
    }
}

/// Reads strait's own file: the edit, not yet checked, and its provenance (null where it has none).
pub(super) fn read(path: &Path) -> Result<(Edit, Value)> {
    let Contents { metadata, tensors } = tensors::read(path)?;
    let metadata = Metadata(metadata);
    let provenance = metadata.check_format().map_err(|p| p.at(path))?;
    let edit = edit(&metadata, tensors).map_err(in_file(path))?;
    Ok((edit, provenance))
}

fn edit(metadata: &Metadata, tensors: Vec<(String, Tensor)>) -> Result<Edit> {
    if !metadata.0.contains_key("parts") {
        return part(metadata, "", tensors);
    }
    let count: usize = metadata.parsed("parts", "a whole number")?;
    let mut parts = BTreeMap::<usize, Vec<(String, Tensor)>>::new();
    for (name, tensor) in tensors {
        let (index, rest) = name
            .split_once('.')
            .and_then(|(index, rest)| Some((index.parse::<usize>().ok()?, rest)))
            .filter(|(index, _)| *index < count)
            .ok_or_else(|| Problem::UnknownTensor { name: name.clone() })?;
        parts.entry(index).or_default().push((rest.into(), tensor));
    }
    // As many parts as tensors at most, whatever the metadata say.
    if let Some(part) = (0..count).find(|index| !parts.contains_key(index)) {
        return Err(Problem::EmptyPart { part }.into());
    }
    let parts = parts.into_iter().map(|(index, tensors)| part(metadata, &format!("{index}."), tensors));
    Ok(Edit::Composed(parts.collect::<Result<_>>()?))
}

/// A vector, an ablation, a full fine-tune or a LoRA; `prefix` is what its metadata's keys start with.
fn part(metadata: &Metadata, prefix: &str, tensors: Vec<(String, Tensor)>) -> Result<Edit> {
    match tensors.as_slice() {
        [] => return Err(Problem::Empty.into()),
        [(name, vector)] if let Some(layer) = names::steering_layer(name) => {
            let vector = vector.clone();
            return Ok(Edit::Steering(SteeringVector { layer, vector }));
        }
        [(name, direction)] if let Some(layer) = names::ablation_layer(name) => {
            let factor = metadata.parsed(&format!("{prefix}factor"), "a number")?;
            return Ok(Edit::Ablation(Ablation { layer, direction: direction.clone(), factor }));
        }
        [(name, _), ..] if names::delta_of(name).is_some() => return full(metadata, prefix, tensors),
        _ => {}
    }
    let halves = tensors.into_iter().map(Named::own).collect::<Result<Vec<_>, _>>()?;
    Ok(Edit::Lora(Lora {
        adapters: names::pair(halves)?,
        rank: metadata.parsed(&format!("{prefix}r"), "a whole number")?,
        alpha: metadata.parsed(&format!("{prefix}alpha"), "a number")?,
        rslora: metadata.parsed(&format!("{prefix}rslora"), "`true` or `false`")?,
        factor: metadata.parsed(&format!("{prefix}factor"), "a number")?,
    }))
}

fn full(metadata: &Metadata, prefix: &str, tensors: Vec<(String, Tensor)>) -> Result<Edit> {
    let of_weight = |(name, delta): (String, Tensor)| match names::delta_of(&name) {
        Some(weight) => Ok((weight.to_string(), delta)),
        None => Err(Problem::UnknownTensor { name }),
    };
    let deltas = tensors.into_iter().map(of_weight).collect::<Result<Vec<_>, _>>()?;
    let factor = metadata.parsed(&format!("{prefix}factor"), "a number")?;
    let base = metadata.text(&format!("{prefix}base"))?.to_string();
    Ok(Edit::Full(Full::with_factor(base, deltas.into(), factor)))
}

struct Metadata(HashMap<String, String>);

impl Metadata {
    /// Checks format and version and returns the provenance.
    fn check_format(&self) -> Result<Value, Problem> {
        let found = self.0.get("format").cloned();
        if found.as_deref() != Some(FORMAT) {
            return Err(Problem::Format { found });
        }
        let version = self.text("version")?;
        if version != VERSION {
            return Err(Problem::Version { found: version.into(), known: VERSION });
        }
        match self.0.get("provenance") {
            None => Ok(Value::Null),
            Some(_) => self.parsed("provenance", "JSON"),
        }
    }

    fn text(&self, key: &str) -> Result<&str, Problem> {
        self.0.get(key).map(String::as_str).ok_or_else(|| Problem::MetadataMissing { key: key.into() })
    }

    fn parsed<T: FromStr>(&self, key: &str, expected: &'static str) -> Result<T, Problem> {
        let value = self.text(key)?;
        value.parse().map_err(|_| Problem::MetadataValue { key: key.into(), value: value.into(), expected })
    }
}
