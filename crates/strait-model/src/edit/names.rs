//! Names of an edit's tensors: `steering.LAYER`, `ablation.LAYER`, and PEFT's for the halves of adapters.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{Adapter, Problem, Projection, Site};
use crate::Result;

const STEERING: &str = "steering.";
const ABLATION: &str = "ablation.";
/// PEFT wraps the model twice; its names begin with both wrappers.
const WRAPPERS: &str = "base_model.model.";
const BLOCKS: &str = "model.layers.";
const EMBEDDINGS: &str = "model.embed_tokens";

/// One of an adapter's two matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Half {
    /// Shape (r, in).
    A,
    /// Shape (out, r).
    B,
}

impl Half {
    fn name(self) -> &'static str {
        match self {
            Self::A => "lora_A",
            Self::B => "lora_B",
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

fn layer_after(prefix: &str, name: &str) -> Option<i32> {
    let written = name.strip_prefix(prefix)?;
    let layer: i32 = written.parse().ok()?;
    (layer >= -1 && layer.to_string() == written).then_some(layer)
}

/// `model.layers.24.mlp.down_proj`: the module under Hugging Face's names.
pub(super) fn module(site: Site) -> String {
    match site {
        Site::Embeddings => EMBEDDINGS.into(),
        Site::Projection { layer, projection } => format!("{BLOCKS}{layer}.{}", projection.path()),
    }
}

/// The site of a module under Hugging Face's names.
fn site(module: &str) -> Option<Site> {
    if module == EMBEDDINGS {
        return Some(Site::Embeddings);
    }
    let (layer, path) = module.strip_prefix(BLOCKS)?.split_once('.')?;
    Some(Site::Projection { layer: layer.parse().ok()?, projection: Projection::from_path(path)? })
}

/// `base_model.model.model.layers.24.mlp.down_proj.lora_A.weight`.
pub(super) fn lora(site: Site, half: Half) -> String {
    format!("{WRAPPERS}{}.{}.weight", module(site), half.name())
}

/// PEFT's name of a half that adapts the embeddings: `base_model.model.model.embed_tokens.lora_embedding_A`. Its A has a
/// column for every token, shape (r, vocab).
pub(super) fn peft_embedding(half: Half) -> String {
    let half = match half {
        Half::A => "lora_embedding_A",
        Half::B => "lora_embedding_B",
    };
    format!("{WRAPPERS}{EMBEDDINGS}.{half}")
}

/// Reads a half's name: with or without PEFT's wrappers, with or without the adapter's name `default`.
pub(super) fn parse_lora(name: &str) -> Result<(Site, Half), Problem> {
    let unknown_tensor = || Problem::UnknownTensor { name: name.into() };
    let unknown_module = || Problem::UnknownModule { name: name.into() };
    if !name.contains("lora_") {
        return Err(unknown_tensor());
    }
    let (module, half) = [Half::A, Half::B]
        .into_iter()
        .find_map(|half| {
            [".weight", ".default.weight"].iter().find_map(|suffix| {
                let module = name.strip_suffix(suffix)?.strip_suffix(half.name())?;
                Some((module.strip_suffix('.')?, half))
            })
        })
        .ok_or_else(|| {
            // PEFT's embeddings have `lora_embedding_A` and no `.weight`: any (r, vocab) matrix, which need not be A E^T.
            if name.contains("lora_embedding_") { unknown_module() } else { unknown_tensor() }
        })?;
    let module = module.strip_prefix(WRAPPERS).unwrap_or(module);
    Ok((site(module).ok_or_else(unknown_module)?, half))
}

/// Puts named halves together; the adapters are in the order of layers and projections.
pub(super) fn pair(tensors: Vec<(String, Tensor)>) -> Result<Vec<Adapter>> {
    let mut sites = BTreeMap::<Site, [Option<Tensor>; 2]>::new();
    for (name, tensor) in tensors {
        let (site, half) = parse_lora(&name)?;
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
        for site in sites.into_iter().chain([Site::Embeddings]) {
            for half in [Half::A, Half::B] {
                let name = lora(site, half);
                let bare = name.strip_prefix(WRAPPERS).unwrap();
                let named = name.replace(".weight", ".default.weight");
                for name in [&name, bare, &named] {
                    assert_eq!(parse_lora(name).unwrap(), (site, half), "{name}");
                }
            }
        }
        for layer in [-1, 0, 24] {
            assert_eq!(steering_layer(&steering(layer)), Some(layer));
            assert_eq!(ablation_layer(&ablation(layer)), Some(layer));
        }
    }

    #[test]
    fn other_names_are_refused_by_name() {
        for name in ["steering.-2", "steering.+3", "steering.03", "steering."] {
            assert_eq!(steering_layer(name), None, "{name}");
        }
        let problem = |name: &str| parse_lora(name).unwrap_err();
        for name in [
            "base_model.model.model.embed_tokens.lora_embedding_A",
            "base_model.model.lm_head.lora_A.weight",
            "base_model.model.model.layers.0.mlp.experts.3.down_proj.lora_A.weight",
            "base_model.model.model.layers.x.mlp.down_proj.lora_A.weight",
            "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
        ] {
            assert!(matches!(problem(name), Problem::UnknownModule { name: n } if n == name));
        }
        for name in [
            "base_model.model.model.layers.0.mlp.down_proj.weight",
            "base_model.model.model.layers.0.mlp.down_proj.lora_magnitude_vector",
            "base_model.model.model.layers.0.mlp.down_proj.lora_B.bias",
            "base_model.model.model.layers.0.mlp.down_proj.lora_A.second.weight",
        ] {
            assert!(matches!(problem(name), Problem::UnknownTensor { name: n } if n == name));
        }
    }
}
