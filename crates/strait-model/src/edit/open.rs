//! Edits by the name that a user gives, and back to files.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Adapter, BaseModel, Edit, Leaf, Lora, Problem, gguf, native,
    peft::{self, Imported},
    problem::in_file,
    table::SavedTable,
    torch, vector,
};
use crate::{Config, Error, Result, config::Architecture, ops::Weight, source::hub_id};

/// The edit's file in a run folder.
const RUN_FILE: &str = "edit.safetensors";
const BASE_MODEL: &str = "base_model";
/// The layer of a vector that has none.
const NOWHERE: i32 = -1;
/// Endings of files that strait does not write.
const NOT_WRITTEN: [&str; 5] = ["pt", "pth", "bin", "ckpt", "json"];

/// An edit as read, with its origin and notes on it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The edit.
    pub edit: Edit,
    /// The kind of file that it came from.
    pub source: Source,
    /// The file or folder.
    pub path: PathBuf,
    /// Notes for the user, one sentence each.
    pub notes: Vec<String>,
    /// The origin of the edit by its file; null where the file does not say.
    pub provenance: Value,
    /// False for a vector of which neither the file nor the name says the layer: see [`read_unplaced`].
    pub placed: bool,
    /// Weights of the model that the file holds as well.
    tables: Vec<SavedTable>,
    /// The family of models that it is for, where its file has to say it.
    architecture: Option<Architecture>,
}

impl Opened {
    /// Checks that the edit fits a model's config, and that weights in its file are the model's own.
    pub(crate) fn check(&self, config: &Config, weights: &[(String, Weight)]) -> Result<()> {
        if let Some(own) = self.architecture {
            gguf::check_architecture(own, config).map_err(|problem| Error::input(&self.path, problem))?;
        }
        self.edit.check(config).map_err(in_file(&self.path))?;
        self.tables.iter().try_for_each(|table| table.check(weights)).map_err(in_file(&self.path))
    }
}

/// The kinds of files that edits are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// strait's own `.safetensors`, alone or in a run folder.
    Strait,
    /// A PEFT folder.
    Peft,
    /// PyTorch's `.pt` or `.bin`.
    Torch,
    /// A control vector or LoRA adapter of llama.cpp.
    Gguf,
}

/// Reads an edit: `PATH`, `PATH*FACTOR`, and `PATH@LAYER` or `PATH@LAYER*FACTOR` for a vector that does not say its layer, and for
/// the part at one layer of steering vectors or adapters at several. PATH is a run folder (which holds `edit.safetensors`), a PEFT
/// folder, a `.safetensors` of strait, a `.gguf` of llama.cpp, or a `.pt` or `.bin` with a steering vector. A path that exists is
/// taken as it stands, even with `*` or `@` in it.
///
/// # Errors
/// If there is no such file, or it holds no edit that strait can run.
pub fn open(spec: &str) -> Result<Edit> {
    Ok(read(spec)?.edit)
}

/// As [`open`], with where the edit came from and what the user should know of it.
///
/// # Errors
/// As [`open`].
pub fn read(spec: &str) -> Result<Opened> {
    read_with(spec, None, false)
}

/// As [`read`], for a model at hand: an adapter in a GGUF file may need to know it.
///
/// # Errors
/// As [`open`], and if the adapter is for models of another architecture.
pub fn read_for(spec: &str, model: &Config) -> Result<Opened> {
    read_with(spec, Some(model), false)
}

/// As [`read`], for whoever asks for lengths and angles alone: a vector that does not say its layer is read too. The layer
/// that it then has means nothing, and [`Opened::placed`] is false.
///
/// # Errors
/// As [`read`], but for a layer that is not said.
pub fn read_unplaced(spec: &str) -> Result<Opened> {
    read_with(spec, None, true)
}

fn read_with(spec: &str, model: Option<&Config>, unplaced: bool) -> Result<Opened> {
    let Spec { path, layer, factor } = Spec::parse(spec)?;
    let mut opened = read_path(&path, layer, model, unplaced)?;
    opened.edit.check_alone().map_err(in_file(&path))?;
    opened.edit = opened.edit.scaled(factor)?;
    if opened.edit.changes_nothing()? {
        opened.notes.push("the edit changes nothing: whatever it would add is zero".into());
    }
    Ok(opened)
}

/// Reads the edit `from` and writes it to `to`: a `.safetensors` file, a `.gguf` file of llama.cpp for the given model, or a folder
/// for a PEFT adapter. Returns what was read.
///
/// # Errors
/// If it cannot be read or written; if `to` is a folder and the edit is more than LoRAs; or if `to` is a GGUF file and no model is
/// given. What becomes a folder with the whole model: see [`crate::merged`].
pub fn convert(from: &str, to: &Path, model: Option<&Config>) -> Result<Opened> {
    let mut opened = read_with(from, model, false)?;
    match extension(to).as_str() {
        "safetensors" => opened.edit.save_with(to, &opened.provenance)?,
        "gguf" => match model {
            Some(model) => gguf::write(&opened.edit, to, model)?,
            None => return Err(Error::input(to, gguf::Problem::ModelNeeded)),
        },
        other if NOT_WRITTEN.contains(&other) => {
            let extension = other.into();
            return Err(Problem::OutputExtension { extension }.at(to));
        }
        _ if opened.edit.leaves().all(|leaf| matches!(leaf, Leaf::Full(_))) => {
            return Err(Problem::ModelNeeded.at(to));
        }
        _ => {
            let loras = loras(&opened.edit).map_err(|problem| problem.at(to))?;
            let name = opened.provenance.get(BASE_MODEL).and_then(Value::as_str).and_then(hub_id);
            peft::export(&loras, to, &BaseModel { name: name.as_deref(), ..BaseModel::default() })?;
            if name.is_none() {
                opened
                    .notes
                    .push("its model's id on the hub is not known: the adapter names no base model".into());
            }
        }
    }
    for table in &opened.tables {
        opened.notes.push(format!(
            "tensor `{}` is the model's own weight beside the adapter: it was compared with no model, and is not written",
            table.name
        ));
    }
    Ok(opened)
}

/// True if an edit written there is a file; otherwise it is a folder.
pub fn is_file_name(to: &Path) -> bool {
    let extension = extension(to);
    matches!(extension.as_str(), "safetensors" | "gguf") || NOT_WRITTEN.contains(&extension.as_str())
}

/// An edit as LoRAs, where it is nothing else.
fn loras(edit: &Edit) -> Result<Vec<&Lora>, Problem> {
    let whole = match edit {
        Edit::Composed(_) => "a composition of edits that are not all LoRAs",
        Edit::Ablation(_) => "an ablation",
        Edit::Full(_) => "a full fine-tune",
        _ => "a steering vector",
    };
    let lora = |part| match part {
        Leaf::Lora(lora) => Ok(lora),
        Leaf::Steering(_) | Leaf::Ablation(_) | Leaf::Full(_) => Err(Problem::NotPeft { kind: whole }),
    };
    edit.leaves().map(lora).collect()
}

/// The parts of an edit's name.
#[derive(Debug, PartialEq)]
struct Spec {
    path: PathBuf,
    layer: Option<i32>,
    factor: f64,
}

impl Spec {
    fn parse(spec: &str) -> Result<Self, Problem> {
        let mut path = spec;
        let (mut layer, mut factor) = (None, 1.0);
        if let Some((rest, text)) = split_suffix(path, '*') {
            (path, factor) = (rest, parse_factor(text)?);
        }
        if let Some((rest, text)) = split_suffix(path, '@') {
            (path, layer) = (rest, Some(parse_layer(text)?));
        }
        Ok(Self { path: path.into(), layer, factor })
    }
}

/// The parts before and after the last `mark`, unless the mark belongs to a path: one that exists, or a folder's name.
fn split_suffix(spec: &str, mark: char) -> Option<(&str, &str)> {
    let (rest, text) = spec.rsplit_once(mark)?;
    let in_path = Path::new(spec).exists() || text.contains(std::path::is_separator);
    (!in_path).then_some((rest.trim_end(), text.trim()))
}

fn parse_factor(text: &str) -> Result<f64, Problem> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() => Ok(factor),
        _ => Err(Problem::FactorText { text: text.into() }),
    }
}

fn parse_layer(text: &str) -> Result<i32, Problem> {
    match text.parse::<i32>() {
        Ok(layer) if layer >= -1 => Ok(layer),
        _ => Err(Problem::LayerText { text: text.into() }),
    }
}

fn read_path(path: &Path, layer: Option<i32>, model: Option<&Config>, unplaced: bool) -> Result<Opened> {
    let metadata = path.metadata().map_err(Error::io(path, "open the edit"))?;
    let opened = if metadata.is_dir() {
        read_folder(path)?
    } else {
        match extension(path).as_str() {
            "safetensors" => read_native(path)?,
            "pt" | "pth" | "bin" => return read_torch(path, layer, unplaced),
            "gguf" => read_gguf(path, model)?,
            other => {
                let extension = other.into();
                return Err(Problem::Extension { extension }.at(path));
            }
        }
    };
    if let Some(asked) = layer {
        let edit = of_layer(&opened.edit, asked).map_err(|problem| problem.at(path))?;
        return Ok(Opened { edit, ..opened });
    }
    Ok(opened)
}

fn read_folder(path: &Path) -> Result<Opened> {
    let run = path.join(RUN_FILE);
    if run.exists() {
        return read_native(&run);
    }
    if !path.join(peft::CONFIG).exists() {
        return Err(Problem::NoEdit.at(path));
    }
    let Imported { edit, tables, base_model, notes } = peft::import(path)?;
    Ok(Opened {
        edit,
        source: Source::Peft,
        path: path.into(),
        notes,
        provenance: base_model.map_or(Value::Null, |name| json!({ BASE_MODEL: name })),
        placed: true,
        tables,
        architecture: None,
    })
}

fn read_gguf(path: &Path, model: Option<&Config>) -> Result<Opened> {
    let gguf::Imported { edit, architecture, notes, provenance } = gguf::read(path, model)?;
    let (path, source) = (path.into(), Source::Gguf);
    let tables = Vec::new();
    Ok(Opened { edit, source, path, notes, provenance, placed: true, tables, architecture })
}

fn read_native(path: &Path) -> Result<Opened> {
    let (edit, provenance) = native::read(path)?;
    Ok(Opened {
        edit,
        source: Source::Strait,
        path: path.into(),
        notes: Vec::new(),
        provenance,
        placed: true,
        tables: Vec::new(),
        architecture: None,
    })
}

fn read_torch(path: &Path, layer: Option<i32>, unplaced: bool) -> Result<Opened> {
    let value = torch::read(path)?;
    let placed = layer.is_some() || vector::layer(&value).map_err(|p| p.at(path))?.is_some();
    let layer = if unplaced && !placed { Some(NOWHERE) } else { layer };
    let (edit, notes) = vector::from_torch(value, layer).map_err(in_file(path))?;
    let (path, provenance) = (path.into(), Value::Null);
    let (source, tables) = (Source::Torch, Vec::new());
    Ok(Opened { edit, source, path, notes, provenance, placed, tables, architecture: None })
}

/// The part of steering vectors and LoRAs that is at a layer, which must be one of theirs.
fn of_layer(edit: &Edit, asked: i32) -> Result<Edit, Problem> {
    let mut there = Vec::new();
    for leaf in edit.leaves() {
        match leaf {
            Leaf::Steering(vector) if vector.layer == asked => there.push(Edit::Steering(vector.clone())),
            Leaf::Steering(_) => {}
            Leaf::Lora(lora) => {
                let here = |adapter: &&Adapter| adapter.site.layer() == Some(asked);
                let adapters: Vec<Adapter> = lora.adapters.iter().filter(here).cloned().collect();
                if !adapters.is_empty() {
                    there.push(Edit::Lora(Lora { adapters, ..lora.clone() }));
                }
            }
            Leaf::Ablation(_) | Leaf::Full(_) => return Err(Problem::LayerNotWanted { asked }),
        }
    }
    match edit {
        _ if !there.is_empty() => Ok(Edit::composed(there)),
        Edit::Steering(one) => Err(Problem::LayerDisagrees { found: one.layer, asked }),
        _ => Err(Problem::LayerMissing { asked, found: edit.layers() }),
    }
}

/// The extension of a file's name, in lower case.
fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_edits() {
        let check = |spec: &str, path: &str, layer: Option<i32>, factor: f64| {
            let path = path.into();
            let expected = Spec { path, layer, factor };
            assert_eq!(Spec::parse(spec).unwrap(), expected, "{spec}");
        };
        check("v.pt", "v.pt", None, 1.0);
        check("v.pt*2.5", "v.pt", None, 2.5);
        check("v.pt*-1", "v.pt", None, -1.0);
        check("v.pt * 1e-3", "v.pt", None, 1e-3);
        check("v.pt@24", "v.pt", Some(24), 1.0);
        check("v.pt@-1*0", "v.pt", Some(-1), 0.0);
        check("a*b/v.pt*2", "a*b/v.pt", None, 2.0);
        check("me@home/v.pt@3*2", "me@home/v.pt", Some(3), 2.0);
        check("runs/*/me@home/v.pt", "runs/*/me@home/v.pt", None, 1.0);
    }

    #[test]
    fn an_existing_path_wins() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["v*2", "v@3", "v@3*2"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            let spec = Spec::parse(path.to_str().unwrap()).unwrap();
            assert_eq!((spec.path, spec.layer, spec.factor), (path, None, 1.0));
        }
        let scaled = folder.path().join("v@3*4");
        let spec = Spec::parse(scaled.to_str().unwrap()).unwrap();
        assert_eq!(spec.path, folder.path().join("v@3"));
        assert_eq!((spec.layer, spec.factor), (None, 4.0));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for (spec, text) in [("v*two", "two"), ("v*", ""), ("v*NaN", "NaN"), ("v*inf", "inf")] {
            let problem = Spec::parse(spec).unwrap_err();
            assert!(matches!(problem, Problem::FactorText { text: t } if t == text));
        }
        for (spec, text) in [("v@-2", "-2"), ("v@x", "x"), ("v@1.5", "1.5"), ("v@*2", "")] {
            let problem = Spec::parse(spec).unwrap_err();
            assert!(matches!(problem, Problem::LayerText { text: t } if t == text));
        }
    }
}
