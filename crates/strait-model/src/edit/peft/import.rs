//! Reads a LoRA from a PEFT folder, as PEFT would read it, or refuses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use candle_core::Tensor;

use super::{
    super::{
        Adapter, Edit, Lora, Problem, Projection, Site,
        names::{self as own_names, Named},
        problem::in_file,
        table::SavedTable,
        tensors, torch, vector,
    },
    CONFIG, OLD_WEIGHTS, WEIGHTS,
    config::PeftConfig,
    names::{self, Meaning, Module},
};
use crate::Result;

/// The content of a PEFT folder.
pub(in super::super) struct Imported {
    /// One LoRA, or as many as there are ranks.
    pub(in super::super) edit: Edit,
    /// Weights of the model that the file holds as well.
    pub(in super::super) tables: Vec<SavedTable>,
    pub(in super::super) base_model: Option<String>,
    pub(in super::super) notes: Vec<String>,
}

/// Reads a PEFT folder. Adapters of one rank make one LoRA; their alphas are made equal by scaling B.
pub(in super::super) fn import(folder: &Path) -> Result<Imported> {
    let config_path = folder.join(CONFIG);
    let config = PeftConfig::read(&config_path)?;
    let (path, tensors) = weights(folder)?;
    let Sorted { halves, modules, tables, of_senses } = Sorted::of(tensors).map_err(|p| p.at(&path))?;
    if halves.is_empty() {
        return Err(Problem::Empty.at(path));
    }
    check_targets(&config, &modules).map_err(|p| p.at(&config_path))?;
    let adapters = own_names::pair(halves).map_err(in_file(&path))?;
    let mut notes = config.notes.clone();
    let edit = loras(&config, &modules, adapters, &mut notes).map_err(in_file(&config_path))?;
    if of_senses > 0 {
        notes.push(format!(
            "{of_senses} of its tensors belong to what the model sees or hears with: they change nothing for text and are \
             left out here"
        ));
    }
    Ok(Imported { edit, tables, base_model: config.base_model, notes })
}

/// The adapter's tensors, and the file that they were in.
fn weights(folder: &Path) -> Result<(PathBuf, Vec<(String, Tensor)>)> {
    let (weights, old_weights) = (folder.join(WEIGHTS), folder.join(OLD_WEIGHTS));
    if weights.exists() {
        let contents = tensors::read(&weights)?;
        return Ok((weights, contents.tensors));
    }
    if old_weights.exists() {
        let named = vector::named_tensors(torch::read(&old_weights)?);
        let named = named.map_err(in_file(&old_weights))?;
        return Ok((old_weights, named));
    }
    let shard = fs::read_dir(folder).ok().and_then(|entries| {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.starts_with("adapter_model")).min()
    });
    Err(match shard {
        Some(found) => Problem::OtherWeights { found },
        None => Problem::NoAdapterWeights,
    }
    .at(folder))
}

/// An adapter file's tensors, sorted: halves of adapters, saved tables, and those of other modalities.
struct Sorted {
    halves: Vec<Named>,
    /// The modules that the halves adapt.
    modules: BTreeMap<Site, Module>,
    tables: Vec<SavedTable>,
    /// The number of those that belong to a tower that sees or hears.
    of_senses: usize,
}

impl Sorted {
    fn of(tensors: Vec<(String, Tensor)>) -> Result<Self, Problem> {
        let (mut halves, mut modules) = (Vec::new(), BTreeMap::new());
        let (mut tables, mut of_senses) = (Vec::new(), 0);
        let mut place: Option<(&str, String)> = None;
        for (name, tensor) in tensors {
            let module = match names::meaning(&name)? {
                Meaning::OfSenses => {
                    of_senses += 1;
                    continue;
                }
                Meaning::Table(module) => {
                    tables.push(SavedTable { name: name.clone(), site: module.site, values: tensor });
                    module
                }
                Meaning::Half(module, half) => {
                    let site = module.site;
                    halves.push(Named { name: name.clone(), site, half, tensor });
                    modules.insert(site, module.clone());
                    module
                }
            };
            // One model has its text model in one place: PEFT would pass over the names that have it elsewhere.
            let Some(found) = module.place else { continue };
            match &place {
                Some((first, _)) if *first == found => {}
                Some((_, first)) => {
                    return Err(Problem::Places { first: first.clone(), second: name });
                }
                None => place = Some((found, name)),
            }
        }
        Ok(Self { halves, modules, tables, of_senses })
    }
}

/// Config and tensors must agree about which modules are adapted.
fn check_targets(config: &PeftConfig, modules: &BTreeMap<Site, Module>) -> Result<(), Problem> {
    for module in modules.values() {
        if !config.targets.adapts(module)? {
            return Err(Problem::NotTargeted { module: module.path.clone() });
        }
    }
    let place = modules.values().find_map(|module| module.place).unwrap_or("model.");
    let layers: BTreeSet<_> = modules.keys().filter_map(|site| usize::try_from(site.layer()?).ok()).collect();
    // How many layers the model has is not known here; those above the last adapted one have no say.
    let projections = (0..layers.last().map_or(0, |last| last + 1)).flat_map(|layer| {
        Projection::ALL.into_iter().map(move |projection| Site::Projection { layer, projection })
    });
    for site in projections.chain([Site::Lookup, Site::Head]).filter(|site| !modules.contains_key(site)) {
        let Some(path) = names::path(site, place) else { continue };
        let module = Module { path, site, place: Some(place) };
        if config.targets.adapts(&module)? {
            return Err(Problem::TargetMissing { module: module.path });
        }
    }
    if config.tied && (modules.contains_key(&Site::Lookup) || modules.contains_key(&Site::Head)) {
        return Err(Problem::Unsupported {
            key: "ensure_weight_tying",
            value: "true".into(),
            why: "one adapter serves the embeddings and the head",
        });
    }
    Ok(())
}

/// The adapters as LoRAs of one rank each.
fn loras(
    config: &PeftConfig,
    modules: &BTreeMap<Site, Module>,
    adapters: Vec<Adapter>,
    notes: &mut Vec<String>,
) -> Result<Edit> {
    let mut by_rank = BTreeMap::<usize, Vec<(Adapter, f64)>>::new();
    for adapter in adapters {
        let (module, found) = (&modules[&adapter.site], adapter.rank()?);
        let expected = config.rank(module)?;
        if found != expected {
            return Err(Problem::Rank { site: module.path.clone(), expected, found }.into());
        }
        let alpha = config.alpha(module)?;
        by_rank.entry(found).or_default().push((adapter, alpha));
    }
    if by_rank.len() > 1 {
        let ranks: Vec<_> = by_rank.keys().map(usize::to_string).collect();
        notes.push(format!(
            "`rank_pattern` gives ranks {}: the adapters of each are read as one LoRA, and all act together",
            ranks.join(", ")
        ));
    }
    let mut loras = Vec::new();
    for (rank, adapters) in by_rank {
        let (alpha, adapters, absorbed) = shared_alpha(adapters)?;
        if absorbed {
            notes.push(format!(
                "`alpha_pattern` gives several alphas: B was scaled so that alpha {alpha:?} holds for all"
            ));
        }
        loras.push(Edit::Lora(Lora { adapters, rank, alpha, rslora: config.rslora, factor: 1.0 }));
    }
    Ok(Edit::composed(loras))
}

/// One alpha for all adapters, and whether B had to be scaled for it. It is the largest one, so that nothing grows.
fn shared_alpha(adapters: Vec<(Adapter, f64)>) -> Result<(f64, Vec<Adapter>, bool)> {
    let alphas = adapters.iter().map(|&(_, alpha)| alpha);
    let shared = alphas.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    let mut absorbed = false;
    let adapters = adapters
        .into_iter()
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
