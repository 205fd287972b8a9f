//! Names of an edit's tensors: `steering.LAYER`, `ablation.LAYER`, `delta.WEIGHT`, and for the halves of adapters PEFT's.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{Adapter, Problem, Projection, Site};
use crate::Result;

const STEERING: &str = "steering.";
const ABLATION: &str = "ablation.";
const DELTA: &str = "delta.";
/// PEFT wraps the model twice; its names begin with both wrappers.
pub(super) const WRAPPERS: &str = "base_model.model.";
const BLOCKS: &str = "model.layers.";
const EMBEDDINGS: &str = "model.embed_tokens";
const HEAD: &str = "lm_head";

/// One of an adapter's two matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Half {
    /// Shape (r, in).
    A,
    /// Shape (out, r).
    B,
}

impl Half {
    pub(super) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::A => "lora_A",
            Self::B => "lora_B",
        }
    }

    /// Its name on the embedding table, where it is no module of its own.
    pub(super) fn name_on_table(self) -> &'static str {
        match self {
            Self::A => "lora_embedding_A",
            Self::B => "lora_embedding_B",
        }
    }
}

/// `steering.24`.
pub(super) fn steering(layer: i32) -> String {
    format!("{STEERING}{layer}")
}

/// The layer of `steering.24`.
pub(super) fn steering_layer(name: &str) -> Option<i32> {
    layer_after(STEERING, name)
}

/// `ablation.24`.
pub(super) fn ablation(layer: i32) -> String {
    format!("{ABLATION}{layer}")
}

/// The layer of `ablation.24`.
pub(super) fn ablation_layer(name: &str) -> Option<i32> {
    layer_after(ABLATION, name)
}

/// `delta.model.norm.weight`.
pub(super) fn delta(weight: &str) -> String {
    format!("{DELTA}{weight}")
}

/// The layer of a weight: -1 for the embeddings, none for weights behind all blocks.
pub(super) fn layer_of_weight(weight: &str) -> Option<i32> {
    match weight.strip_prefix(BLOCKS) {
        Some(rest) => rest.split_once('.')?.0.parse().ok(),
        None => weight.starts_with(EMBEDDINGS).then_some(-1),
    }
}

/// The weight of `delta.model.norm.weight`.
pub(super) fn delta_of(name: &str) -> Option<&str> {
    name.strip_prefix(DELTA)
}

fn layer_after(prefix: &str, name: &str) -> Option<i32> {
    let written = name.strip_prefix(prefix)?;
    let layer: i32 = written.parse().ok()?;
    (layer >= -1 && layer.to_string() == written).then_some(layer)
}

/// `model.layers.24.mlp.down_proj`: the module under Hugging Face's names.
pub(super) fn module(site: Site) -> String {
    match site {
        Site::Embeddings | Site::Lookup => EMBEDDINGS.into(),
        Site::Projection { layer, projection } => format!("{BLOCKS}{layer}.{}", projection.path()),
        Site::Head => HEAD.into(),
    }
}

/// The projection at `24.mlp.down_proj`.
pub(super) fn projection(path: &str) -> Option<Site> {
    let (written, path) = path.split_once('.')?;
    let layer: usize = written.parse().ok()?;
    let projection = Projection::from_path(path)?;
    (layer.to_string() == written).then_some(Site::Projection { layer, projection })
}

/// `base_model.model.model.layers.24.mlp.down_proj.lora_A.weight`, and on the embedding table
/// `base_model.model.model.embed_tokens.lora_embedding_A`.
pub(super) fn lora(site: Site, half: Half) -> String {
    let module = module(site);
    match site {
        Site::Lookup => format!("{WRAPPERS}{module}.{}", half.name_on_table()),
        _ => format!("{WRAPPERS}{module}.{}.weight", half.name()),
    }
}

/// Reads a name that [`lora`] writes.
fn parse_lora(name: &str) -> Option<(Site, Half)> {
    let path = name.strip_prefix(WRAPPERS)?;
    Half::BOTH.into_iter().find_map(|half| {
        let before = |end: &str| path.strip_suffix(end)?.strip_suffix('.');
        let site = match (before(&format!("{}.weight", half.name())), before(half.name_on_table())) {
            (_, Some(EMBEDDINGS)) => Site::Lookup,
            (Some(EMBEDDINGS), _) => Site::Embeddings,
            (Some(HEAD), _) => Site::Head,
            (Some(module), _) => projection(module.strip_prefix(BLOCKS)?)?,
            _ => return None,
        };
        Some((site, half))
    })
}

/// Half of an adapter as a file has it.
pub(super) struct Named {
    /// The tensor's name.
    pub(super) name: String,
    pub(super) site: Site,
    pub(super) half: Half,
    pub(super) tensor: Tensor,
}

impl Named {
    /// One of strait's own names.
    pub(super) fn own((name, tensor): (String, Tensor)) -> Result<Self, Problem> {
        match parse_lora(&name) {
            Some((site, half)) => Ok(Self { name, site, half, tensor }),
            None => Err(Problem::UnknownTensor { name }),
        }
    }
}

/// Puts halves together; the adapters are in the order of sites.
pub(super) fn pair(halves: impl IntoIterator<Item = Named>) -> Result<Vec<Adapter>> {
    let mut sites = BTreeMap::<Site, [Option<Tensor>; 2]>::new();
    for Named { name, site, half, tensor } in halves {
        let slot = &mut sites.entry(site).or_default()[half as usize];
        if slot.replace(tensor).is_some() {
            return Err(Problem::Duplicate { name }.into());
        }
    }
    sites
        .into_iter()
        .map(|(site, halves)| {
            let unpaired = |half: Half| Problem::Unpaired { site: module(site), missing: half.name() };
            let [a, b] = halves;
            let adapter = Adapter {
                site,
                a: a.ok_or_else(|| unpaired(Half::A))?,
                b: b.ok_or_else(|| unpaired(Half::B))?,
            };
            adapter.rank()?;
            Ok(adapter)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        let sites = Projection::ALL.map(|projection| Site::Projection { layer: 17, projection });
        for site in sites.into_iter().chain([Site::Embeddings, Site::Lookup, Site::Head]) {
            for half in Half::BOTH {
                assert_eq!(parse_lora(&lora(site, half)), Some((site, half)));
            }
        }
        for layer in [-1, 0, 24] {
            assert_eq!(steering_layer(&steering(layer)), Some(layer));
            assert_eq!(ablation_layer(&ablation(layer)), Some(layer));
        }
    }

    #[test]
    fn other_names_are_none() {
        for name in ["steering.-2", "steering.+3", "steering.03", "steering."] {
            assert_eq!(steering_layer(name), None, "{name}");
        }
        for name in [
            "model.layers.0.mlp.down_proj.lora_A.weight",
            "base_model.model.model.layers.00.mlp.down_proj.lora_A.weight",
            "base_model.model.model.layers.+1.mlp.down_proj.lora_A.weight",
            "base_model.model.model.layers.x.mlp.down_proj.lora_A.weight",
            "base_model.model.model.layers.0.mlp.experts.3.down_proj.lora_A.weight",
            "base_model.model.model.layers.0.mlp.down_proj.lora_A",
            "base_model.model.model.layers.0.mlp.down_proj.lora_B.bias",
            "base_model.model.model.layers.0.mlp.down_proj.lora_embedding_A",
            "base_model.model.model.layers.0.mlp.down_proj.weight",
            "base_model.model.lm_head.lora_embedding_A",
        ] {
            assert_eq!(parse_lora(name), None, "{name}");
        }
    }
}
