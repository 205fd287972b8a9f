//! Names of tensors in PEFT's files, from models of every make.
//!
//! PEFT writes `base_model.model.`, the module's path in the model that it wrapped, and what the tensor is. The same text
//! model has other paths where it was loaded alone, without its head, or beside eyes. What follows the path may hold the
//! adapter's name, which PEFT leaves out and other tools leave in.

use super::super::{
    Problem, Site,
    names::{self, Half, WRAPPERS},
};

/// The paths at which models keep their text model, and its head beside it; longer paths come before those that they begin with.
const PLACES: [(&str, Option<&str>); 5] = [
    ("model.language_model.", Some("lm_head")),
    ("model.", Some("lm_head")),
    ("language_model.model.", Some("language_model.lm_head")),
    ("language_model.", None),
    ("", None),
];

/// Parts of paths in models that see and hear beside their text model.
const SENSES: [&str; 9] = [
    "vision_tower",
    "vision_model",
    "multi_modal_projector",
    "mm_projector",
    "visual",
    "audio_tower",
    "audio_model",
    "embed_vision",
    "embed_audio",
];

/// The part that a tensor of a PEFT file is.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// Half of an adapter.
    Half(Module, Half),
    /// A weight of the model itself, which PEFT puts in place of the model's: that of the embeddings or of the head.
    Table(Module),
    /// Something of a tower that sees or hears, which text does not pass.
    OfSenses,
}

/// A module by its path in the model that PEFT wrapped.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Module {
    /// The path that PEFT matches its patterns against.
    pub(super) path: String,
    pub(super) site: Site,
    /// The place of the text model, as far as the path tells: the head's tells nothing.
    pub(super) place: Option<&'static str>,
}

/// Reads a tensor's name.
pub(super) fn meaning(name: &str) -> Result<Meaning, Problem> {
    let unknown = || Problem::UnknownTensor { name: name.into() };
    let Some(path) = name.strip_prefix(WRAPPERS) else {
        return Err(Problem::Unwrapped { name: name.into() });
    };
    if path.split('.').any(|part| SENSES.contains(&part)) {
        return Ok(Meaning::OfSenses);
    }
    let after = |ends: [String; 2]| ends.into_iter().find_map(|end| path.strip_suffix(end.as_str()));
    for half in Half::BOTH {
        let (inner, on_table) = (half.name(), half.name_on_table());
        if let Some(path) = after([format!(".{inner}.weight"), format!(".{inner}.default.weight")]) {
            let module = module(path).ok_or_else(|| Problem::UnknownModule { name: name.into() })?;
            return if module.site == Site::Lookup {
                Err(unknown())
            } else {
                Ok(Meaning::Half(module, half))
            };
        }
        if let Some(path) = after([format!(".{on_table}"), format!(".{on_table}.default")]) {
            let module = module(path).filter(|module| module.site == Site::Lookup);
            let module = module.ok_or_else(|| Problem::UnknownModule { name: name.into() })?;
            return Ok(Meaning::Half(module, half));
        }
    }
    let table = after([".base_layer.weight".into(), ".weight".into()]).and_then(module);
    let table = table.filter(|module| matches!(module.site, Site::Lookup | Site::Head));
    table.map(Meaning::Table).ok_or_else(unknown)
}

/// The module at a path.
fn module(path: &str) -> Option<Module> {
    let at = |site, place| Some(Module { path: path.into(), site, place });
    PLACES.iter().find_map(|&(place, head)| {
        if head == Some(path) {
            return at(Site::Head, (path != "lm_head").then_some(place));
        }
        match path.strip_prefix(place)? {
            "embed_tokens" => at(Site::Lookup, Some(place)),
            rest => at(names::projection(rest.strip_prefix("layers.")?)?, Some(place)),
        }
    })
}

/// The path of a site in a model that keeps its text model at a place; none where it has no such module.
pub(super) fn path(site: Site, place: &str) -> Option<String> {
    match site {
        Site::Head => {
            let (_, head) = PLACES.into_iter().find(|(known, _)| *known == place)?;
            head.map(str::to_string)
        }
        _ => names::module(site).strip_prefix("model.").map(|rest| format!("{place}{rest}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::Projection, *};

    const DOWN: Site = Site::Projection { layer: 3, projection: Projection::Down };

    #[test]
    fn a_module_is_known_wherever_the_text_model_is_kept() {
        for (place, head) in PLACES {
            for site in [Some(DOWN), Some(Site::Lookup), head.map(|_| Site::Head)].into_iter().flatten() {
                let path = path(site, place).unwrap();
                let found = module(&path).unwrap();
                assert_eq!((found.site, found.path.as_str()), (site, path.as_str()));
                assert!(found.place.is_none_or(|found| found == place), "{path}");
            }
        }
        assert_eq!(path(Site::Head, ""), None);
    }

    #[test]
    fn names_of_all_kinds() {
        let lookup = |half| (Site::Lookup, half);
        for (name, expected) in [
            ("model.layers.3.mlp.down_proj.lora_A.weight", (DOWN, Half::A)),
            ("model.layers.3.mlp.down_proj.lora_B.default.weight", (DOWN, Half::B)),
            ("layers.3.mlp.down_proj.lora_B.weight", (DOWN, Half::B)),
            ("model.language_model.layers.3.mlp.down_proj.lora_A.weight", (DOWN, Half::A)),
            ("language_model.model.layers.3.mlp.down_proj.lora_A.weight", (DOWN, Half::A)),
            ("language_model.layers.3.mlp.down_proj.lora_A.weight", (DOWN, Half::A)),
            ("lm_head.lora_A.weight", (Site::Head, Half::A)),
            ("language_model.lm_head.lora_B.weight", (Site::Head, Half::B)),
            ("model.embed_tokens.lora_embedding_A", lookup(Half::A)),
            ("embed_tokens.lora_embedding_B.default", lookup(Half::B)),
        ] {
            let Meaning::Half(module, half) = meaning(&format!("{WRAPPERS}{name}")).unwrap() else {
                panic!("{name}")
            };
            assert_eq!((module.site, half), expected, "{name}");
        }
        for name in ["lm_head.base_layer.weight", "lm_head.weight", "model.embed_tokens.base_layer.weight"] {
            assert!(matches!(meaning(&format!("{WRAPPERS}{name}")), Ok(Meaning::Table(_))), "{name}");
        }
        for name in ["model.vision_tower.layers.0.q_proj.lora_A.weight", "visual.merger.lora_B.weight"] {
            assert_eq!(meaning(&format!("{WRAPPERS}{name}")).unwrap(), Meaning::OfSenses, "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_by_name() {
        for name in [
            "model.layers.0.mlp.down_proj.lora_A.weight",
            "base_model.layers.0.mlp.down_proj.lora_A.weight",
            "module.base_model.model.model.layers.0.mlp.down_proj.lora_A.weight",
        ] {
            assert!(matches!(meaning(name), Err(Problem::Unwrapped { name: n }) if n == name));
        }
        for name in [
            "model.layers.0.mlp.experts.3.down_proj.lora_A.weight",
            "model.layers.x.mlp.down_proj.lora_A.weight",
            "model.layers.01.mlp.down_proj.lora_A.weight",
            "model.model.layers.0.mlp.down_proj.lora_A.weight",
            "_orig_mod.model.layers.0.mlp.down_proj.lora_A.weight",
            "transformer.h.0.attn.c_attn.lora_A.weight",
            "model.layers.0.mlp.down_proj.lora_embedding_A",
            "score.lora_A.weight",
        ] {
            let name = format!("{WRAPPERS}{name}");
            assert!(matches!(meaning(&name), Err(Problem::UnknownModule { name: n }) if n == name), "{name}");
        }
        for name in [
            "model.layers.0.mlp.down_proj.weight",
            "model.layers.0.mlp.down_proj.base_layer.bias",
            "model.layers.0.mlp.down_proj.lora_magnitude_vector",
            "model.layers.0.mlp.down_proj.lora_B.bias",
            "model.layers.0.mlp.down_proj.lora_A.second.weight",
            "model.embed_tokens.lora_A.weight",
            "model.embed_tokens.token_adapter.trainable_tokens_delta",
        ] {
            let name = format!("{WRAPPERS}{name}");
            assert!(matches!(meaning(&name), Err(Problem::UnknownTensor { name: n }) if n == name), "{name}");
        }
    }
}
