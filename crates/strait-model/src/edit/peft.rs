//! LoRA adapters in PEFT's folders, which transformers and vLLM load.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use serde_json::{Map, Value, json};

use super::{
    Adapter, Lora, Problem, Projection, Site,
    names::{self, Half},
    peft_config,
    peft_config::PeftConfig,
    problem::in_file,
    tensors, times, torch, vector,
};
use crate::{Error, Result, files::write_atomically};

pub(super) const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const OLD_WEIGHTS: &str = "adapter_model.bin";
const CARD: &str = "README.md";

/// What is known of the model that an adapter was made for.
#[derive(Clone, Copy, Debug, Default)]
pub struct BaseModel<'a> {
    /// Its name, as Hugging Face's tools would load it.
    pub name: Option<&'a str>,
    /// How many layers it has.
    pub layers: Option<usize>,
    /// Its embedding table, shape `(vocab, hidden_size)`; only a LoRA on the embeddings needs it.
    pub embeddings: Option<&'a Tensor>,
}

/// A LoRA read from a PEFT folder.
pub(super) struct Imported {
    pub(super) lora: Lora,
    pub(super) base_model: Option<String>,
    pub(super) notes: Vec<String>,
}

/// Reads a PEFT folder. Alphas that differ between modules are made equal by scaling B; ranks must be equal.
pub(super) fn import(folder: &Path) -> Result<Imported> {
    let config_path = folder.join(CONFIG);
    let config = PeftConfig::read(&config_path)?;
    let (weights, old_weights) = (folder.join(WEIGHTS), folder.join(OLD_WEIGHTS));
    let (path, tensors) = if weights.is_file() {
        let contents = tensors::read(&weights)?;
        (weights, contents.tensors)
    } else if old_weights.is_file() {
        let named = vector::named_tensors(torch::read(&old_weights)?);
        let named = named.map_err(in_file(&old_weights))?;
        (old_weights, named)
    } else {
        return Err(Problem::NoAdapterWeights.at(folder));
    };
    let adapters = names::pair(tensors).map_err(in_file(&path))?;
    if adapters.is_empty() {
        return Err(Problem::Empty.at(path));
    }
    let rank = shared_rank(&config, &adapters).map_err(in_file(&config_path))?;
    let (alpha, adapters, absorbed) = shared_alpha(&config, adapters)?;

    let mut notes = Vec::new();
    if absorbed {
        notes.push(format!(
            "`alpha_pattern` gives several alphas: B was scaled so that alpha {alpha:?} holds for all"
        ));
    }
    for key in config.unknown {
        notes.push(format!("`{CONFIG}` has the key `{key}`, which strait does not know and passed over"));
    }
    Ok(Imported {
        lora: Lora { adapters, rank, alpha, rslora: config.rslora, factor: 1.0 },
        base_model: config.base_model,
        notes,
    })
}

/// The one rank of all adapters, each of which must be as the config says.
fn shared_rank(config: &PeftConfig, adapters: &[Adapter]) -> Result<usize> {
    let mut shared: Option<(String, usize)> = None;
    for adapter in adapters {
        let (site, found) = (adapter.site.module(), adapter.rank()?);
        let expected = config.rank(&site);
        if found != expected {
            return Err(Problem::Rank { site, expected, found }.into());
        }
        match &shared {
            Some((first, first_rank)) if *first_rank != found => {
                return Err(Problem::Ranks {
                    first: first.clone(),
                    first_rank: *first_rank,
                    second: site,
                    second_rank: found,
                }
                .into());
            }
            Some(_) => {}
            None => shared = Some((site, found)),
        }
    }
    Ok(shared.map_or(0, |(_, rank)| rank))
}

/// One alpha for all adapters, and whether B had to be scaled for it. It is the largest one, so that nothing grows.
fn shared_alpha(config: &PeftConfig, adapters: Vec<Adapter>) -> Result<(f64, Vec<Adapter>, bool)> {
    let alphas: Vec<f64> = adapters.iter().map(|a| config.alpha(&a.site.module())).collect();
    let shared = alphas.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    let mut absorbed = false;
    let adapters = adapters
        .into_iter()
        .zip(alphas)
        .map(|(mut adapter, alpha)| {
            if alpha != shared {
                absorbed = true;
                adapter.b = (adapter.b * (alpha / shared))?;
            }
            Ok(adapter)
        })
        .collect::<Result<_>>()?;
    Ok((shared, adapters, absorbed))
}

/// Writes a LoRA as a PEFT folder: config, weights and a model card; the folder is whole or as it was before.
///
/// Everyone's scale is alpha / r (or alpha / sqrt(r)), so a factor is folded into B. Where all adapted layers have the same
/// projections, `target_modules` lists these and `layers_to_transform` the layers, if they are not all layers of the
/// model (or if their number is not known); vLLM passes over the latter and goes by the tensors' names. Where layers
/// differ or the embeddings are adapted, `target_modules` lists each module by its full path, which PEFT matches as a
/// whole. On the embeddings PEFT's A is ours times the transposed embedding table.
///
/// # Errors
/// If the LoRA is malformed or empty, it adapts the embeddings and their table is not given, the folder holds other things, or it cannot be written.
pub fn export_peft(lora: &Lora, folder: &Path, base: &BaseModel) -> Result<()> {
    lora.check_alone().map_err(in_file(folder))?;
    if lora.adapters.is_empty() {
        return Err(Problem::Empty.at(folder));
    }
    let lora = folded(lora)?;
    let tensors = peft_tensors(&lora, base.embeddings).map_err(in_file(folder))?;
    let (modules, layers) = targets(&lora, base.layers);
    let config = peft_config::written(&lora, base.name, &modules, layers.as_deref());
    let config = format!("{config:#}\n");
    let metadata = Map::from_iter([("format".to_string(), json!("pt"))]);
    replace_folder(folder, |folder| {
        tensors::write(&folder.join(WEIGHTS), metadata, &tensors)?;
        write_text(&folder.join(CARD), &card(&lora, base.name))?;
        write_text(&folder.join(CONFIG), &config)
    })
}

/// The same LoRA with factor 1.
fn folded(lora: &Lora) -> Result<Lora> {
    let adapters = lora
        .adapters
        .iter()
        .map(|adapter| Ok(Adapter { b: times(&adapter.b, lora.factor)?, ..adapter.clone() }));
    Ok(Lora { adapters: adapters.collect::<Result<_>>()?, factor: 1.0, ..lora.clone() })
}

/// The adapters' tensors as PEFT has them.
fn peft_tensors(lora: &Lora, embeddings: Option<&Tensor>) -> Result<Vec<(String, Tensor)>> {
    let mut tensors = Vec::new();
    for adapter in &lora.adapters {
        match adapter.site {
            Site::Projection { .. } => tensors.extend(adapter.named_tensors()),
            Site::Embeddings => {
                let table = embeddings.ok_or(Problem::EmbeddingsNeeded)?;
                let a = adapter.a.matmul(&table.t()?)?;
                tensors.push((names::peft_embedding(Half::A), a));
                tensors.push((names::peft_embedding(Half::B), adapter.b.clone()));
            }
        }
    }
    Ok(tensors)
}

/// PEFT's `target_modules` and `layers_to_transform`.
fn targets(lora: &Lora, layers: Option<usize>) -> (Vec<String>, Option<Vec<usize>>) {
    let mut by_layer = BTreeMap::<i32, BTreeSet<Site>>::new();
    for adapter in &lora.adapters {
        by_layer.entry(adapter.site.layer()).or_default().insert(adapter.site);
    }
    match same_projections(&by_layer) {
        Some(projections) => {
            let names = projections.iter().map(|p| p.name().to_string()).collect();
            let subset = layers != Some(by_layer.len());
            let adapted = by_layer.into_keys().filter_map(|layer| usize::try_from(layer).ok());
            (names, subset.then(|| adapted.collect()))
        }
        None => (by_layer.into_values().flatten().map(Site::module).collect(), None),
    }
}

/// The projections that are adapted in every layer alike; none where layers differ or the embeddings are among them.
fn same_projections(by_layer: &BTreeMap<i32, BTreeSet<Site>>) -> Option<Vec<Projection>> {
    let mut layers = by_layer.values().map(|sites| {
        let projections = sites.iter().map(|site| match site {
            Site::Projection { projection, .. } => Some(*projection),
            Site::Embeddings => None,
        });
        projections.collect::<Option<Vec<_>>>()
    });
    let first = layers.next().flatten()?;
    layers.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// The model card: front matter that the hub knows, and how to load the adapter.
fn card(lora: &Lora, base_model: Option<&str>) -> String {
    // A JSON string is a YAML string, whatever the name holds.
    let quoted = |text: &str| Value::from(text).to_string();
    let mut front = String::from("library_name: peft\npipeline_tag: text-generation\n");
    let mut tags = vec!["lora".to_string(), "strait".to_string()];
    if let Some(name) = base_model {
        front = format!("base_model: {}\n{front}", quoted(name));
        tags.insert(0, format!("base_model:adapter:{name}"));
    }
    front.push_str("tags:\n");
    for tag in tags {
        front.push_str(&format!("- {}\n", quoted(&tag)));
    }
    let base = base_model.unwrap_or("BASE_MODEL");
    let variant = if lora.rslora { "rsLoRA" } else { "LoRA" };
    format!(
        r#"---
{front}---

# {variant} adapter written by strait

Rank {rank}, alpha {alpha}, scale {scale}, {count} adapted modules.

With PEFT:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(model, "PATH_OF_THIS_FOLDER")
```

With vLLM:

```sh
vllm serve {base} --enable-lora --max-lora-rank {serving_rank} --lora-modules edit=PATH_OF_THIS_FOLDER
```
"#,
        rank = lora.rank,
        alpha = lora.alpha,
        scale = lora.scale(),
        count = lora.adapters.len(),
        serving_rank = serving_rank(lora.rank),
    )
}

/// The smallest `--max-lora-rank` of vLLM that takes the rank.
fn serving_rank(rank: usize) -> usize {
    const CHOICES: [usize; 9] = [1, 8, 16, 32, 64, 128, 256, 320, 512];
    CHOICES.into_iter().find(|&c| c >= rank).unwrap_or(rank)
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, |file| file.write_all(text.as_bytes()))
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
        Error::Edit { problem, .. } => Error::Edit { path: Some(folder.into()), problem },
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
