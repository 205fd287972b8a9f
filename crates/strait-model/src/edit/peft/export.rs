//! Writes LoRAs as a PEFT folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use serde_json::{Map, json};

use super::{
    super::{Adapter, Lora, Problem, Projection, Site, join::joined, problem::in_file, tensors},
    CARD, CONFIG, WEIGHTS,
    card::card,
    config::written,
};
use crate::{Error, Result, files};

/// The model that an adapter was made for, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct BaseModel<'a> {
    /// Its name, as Hugging Face's tools would load it.
    pub name: Option<&'a str>,
    /// The number of its layers.
    pub layers: Option<usize>,
    /// Its embedding table, shape `(vocab, hidden_size)`; only a LoRA on the embeddings needs it.
    pub embeddings: Option<&'a Tensor>,
}

/// Writes a LoRA as a PEFT folder: config, weights and a model card; the folder is whole or as it was before.
///
/// Everyone's scale is alpha / r (or alpha / sqrt(r)), so a factor is folded into B. Where all adapted layers have the same
/// projections, `target_modules` lists these and `layers_to_transform` the layers, if they are not all layers of the
/// model (or if their number is not known); vLLM passes over the latter and goes by the tensors' names. Where layers
/// differ or the embeddings or the head are adapted, `target_modules` lists each module by its full path, which PEFT matches
/// as a whole. On the embeddings' stream PEFT's A is ours times the transposed embedding table.
///
/// # Errors
/// If the LoRA is malformed or empty, it adapts the embeddings' stream and their table is not given, the folder holds other
/// things, or it cannot be written.
pub fn export_peft(lora: &Lora, folder: &Path, base: &BaseModel) -> Result<()> {
    export(&[lora], folder, base)
}

/// As [`export_peft`], for LoRAs that act together: they become one adapter of one rank and one alpha, since vLLM reads no more.
pub(in super::super) fn export(loras: &[&Lora], folder: &Path, base: &BaseModel) -> Result<()> {
    let on_site = |adapter: &Adapter| on_site_of_peft(adapter, base.embeddings);
    let lora = joined(loras, on_site).map_err(in_file(folder))?;
    let tensors: Vec<_> = lora.adapters.iter().flat_map(Adapter::named_tensors).collect();
    let (modules, layers) = targets(&lora, base.layers);
    let config = written(&lora, base.name, &modules, layers.as_deref());
    let config = format!("{config:#}\n");
    let metadata = Map::from_iter([("format".to_string(), json!("pt"))]);
    replace_folder(folder, |folder| {
        tensors::write(&folder.join(WEIGHTS), metadata, &tensors)?;
        write_text(&folder.join(CARD), &card(&lora, base.name))?;
        write_text(&folder.join(CONFIG), &config)
    })
}

/// An adapter of the embeddings' stream as one of their table, which does the same.
fn on_site_of_peft(adapter: &Adapter, embeddings: Option<&Tensor>) -> Result<Adapter> {
    if adapter.site != Site::Embeddings {
        return Ok(adapter.clone());
    }
    let table = embeddings.ok_or(Problem::EmbeddingsNeeded)?;
    Ok(Adapter { site: Site::Lookup, a: adapter.a.matmul(&table.t()?)?, b: adapter.b.clone() })
}

/// PEFT's `target_modules` and `layers_to_transform`.
fn targets(lora: &Lora, layers: Option<usize>) -> (Vec<String>, Option<Vec<usize>>) {
    let mut by_layer = BTreeMap::<Option<i32>, BTreeSet<Site>>::new();
    for adapter in &lora.adapters {
        by_layer.entry(adapter.site.layer()).or_default().insert(adapter.site);
    }
    match same_projections(&by_layer) {
        Some(projections) => {
            let names = projections.iter().map(|p| p.name().to_string()).collect();
            let subset = layers != Some(by_layer.len());
            let adapted = by_layer.into_keys().filter_map(|layer| usize::try_from(layer?).ok());
            (names, subset.then(|| adapted.collect()))
        }
        None => (by_layer.into_values().flatten().map(Site::module).collect(), None),
    }
}

/// The projections that are adapted in every layer alike; none where layers differ, or where the embeddings or the head are among them.
fn same_projections(by_layer: &BTreeMap<Option<i32>, BTreeSet<Site>>) -> Option<Vec<Projection>> {
    let mut layers = by_layer.values().map(|sites| {
        let projections = sites.iter().map(|site| match site {
            Site::Projection { projection, .. } => Some(*projection),
            Site::Embeddings | Site::Lookup | Site::Head => None,
        });
        projections.collect::<Option<Vec<_>>>()
    });
    let first = layers.next().flatten()?;
    layers.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    files::write(path, text)
}

/// Fills a new folder beside `folder` and puts it in its place. A folder that is there must be an earlier export.
fn replace_folder(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if folder.exists() {
        check_replaceable(folder)?;
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(Error::io(parent, "create the folder"))?;
    // Both folders are made inside a temporary one, which takes them along when it goes, whatever happened.
    let temporary = tempfile::Builder::new()
        .prefix(".strait-")
        .tempdir_in(parent)
        .map_err(Error::io(folder, "write the folder"))?;
    let new = temporary.path().join("new");
    fill(&new).map_err(|error| named(error, folder))?;
    if folder.exists() {
        fs::rename(folder, temporary.path().join("old")).map_err(Error::io(folder, "replace the folder"))?;
    }
    fs::rename(&new, folder).map_err(Error::io(folder, "write the folder"))
}

/// The error of a file in the temporary folder, with the folder that the user knows.
fn named(error: Error, folder: &Path) -> Error {
    match error {
        Error::Io { doing, source, .. } => Error::Io { path: folder.into(), doing, source },
        Error::Input { problem, .. } => Error::Input { path: Some(folder.into()), problem },
        other => other,
    }
}

fn check_replaceable(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder, "read the folder"))?;
    for entry in entries {
        let entry = entry.map_err(Error::io(folder, "read the folder"))?.file_name();
        if ![CONFIG, WEIGHTS, CARD].iter().any(|name| entry == *name) {
            return Err(Problem::FolderTaken { entry: PathBuf::from(entry).display().to_string() }.at(folder));
        }
    }
    Ok(())
}
