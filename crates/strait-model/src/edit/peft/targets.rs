//! The modules that an `adapter_config.json` names, as PEFT reads it.
//!
//! PEFT adapts what the config names and looks for its tensors then: tensors of other modules are passed over with a warning
//! that nobody reads. So the config has its word here as well.

use serde_json::{Map, Value};

use super::{
    super::{Problem, Site},
    names::Module,
    pattern::Pattern,
};

/// The modules that PEFT adapts where the config names none: the same in every architecture that strait runs.
const DEFAULT: [&str; 2] = ["q_proj", "v_proj"];
const ALL_LINEAR: &str = "all-linear";

/// The modules that a config names.
#[derive(Debug)]
pub(super) struct Targets {
    modules: Modules,
    excluded: Option<Modules>,
    layers: Option<Layers>,
}

#[derive(Debug)]
enum Modules {
    /// Every linear module but the head.
    AllLinear,
    /// Those whose whole path a pattern matches.
    Matching(Pattern),
    /// Those whose path is one of these, or ends in one.
    Named(Vec<String>),
}

/// `layers_to_transform`: the only layers in which modules count that are named by the end of their path.
#[derive(Debug)]
struct Layers {
    indices: Vec<i64>,
    patterns: Vec<Pattern>,
}

impl Targets {
    pub(super) fn of(config: &Map<String, Value>) -> Result<Self, Problem> {
        let modules = match config.get("target_modules") {
            Some(Value::String(text)) if text.to_lowercase() == ALL_LINEAR => Modules::AllLinear,
            given => Modules::read("target_modules", given)?
                .unwrap_or_else(|| Modules::Named(DEFAULT.map(str::to_string).to_vec())),
        };
        let targets = Self {
            modules,
            excluded: Modules::read("exclude_modules", config.get("exclude_modules"))?
                .filter(|m| !m.is_empty()),
            layers: Layers::of(config)?,
        };
        if let (Modules::Matching(_), Some(_)) = (&targets.modules, &targets.layers) {
            return Err(Problem::KeyValue {
                key: "layers_to_transform",
                value: config["layers_to_transform"].to_string(),
                expected: "null, as PEFT wants it beside a `target_modules` that is one text",
            });
        }
        Ok(targets)
    }

    /// True if PEFT adapts a module.
    pub(super) fn adapts(&self, module: &Module) -> Result<bool, Problem> {
        let path = module.path.as_str();
        if let Some(excluded) = &self.excluded
            && excluded.name(path)?
        {
            return Ok(false);
        }
        match &self.modules {
            Modules::AllLinear => Ok(matches!(module.site, Site::Projection { .. })),
            Modules::Named(names) if names.iter().any(|name| name == path) => Ok(true),
            modules if !modules.name(path)? => Ok(false),
            _ => self.layers.as_ref().map_or(Ok(true), |layers| layers.hold(path)),
        }
    }
}

impl Modules {
    /// One text is a pattern, a list holds names; null says nothing.
    fn read(key: &'static str, value: Option<&Value>) -> Result<Option<Self>, Problem> {
        let names = |names: &[Value]| names.iter().map(|n| n.as_str().map(str::to_string)).collect();
        let read = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.is_empty() && key == "exclude_modules" => return Ok(None),
            Some(Value::String(text)) => return Pattern::whole(key, text).map(|p| Some(Self::Matching(p))),
            Some(Value::Array(items)) => names(items),
            Some(_) => None,
        };
        let expected = "a text, or a list of texts";
        let value = || value.map(Value::to_string).unwrap_or_default();
        read.map(|names| Some(Self::Named(names))).ok_or_else(|| Problem::KeyValue {
            key,
            value: value(),
            expected,
        })
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Named(names) if names.is_empty())
    }

    fn name(&self, path: &str) -> Result<bool, Problem> {
        match self {
            Self::AllLinear => Ok(true),
            Self::Matching(pattern) => pattern.matches(path),
            Self::Named(names) => Ok(names.iter().any(|name| {
                path.strip_suffix(name.as_str())
                    .is_some_and(|before| before.is_empty() || before.ends_with('.'))
            })),
        }
    }
}

impl Layers {
    fn of(config: &Map<String, Value>) -> Result<Option<Self>, Problem> {
        const KEY: &str = "layers_to_transform";
        let wrong =
            |key, value: &Value, expected| Problem::KeyValue { key, value: value.to_string(), expected };
        let patterns = match config.get("layers_pattern") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => vec![text.as_str()],
            Some(given @ Value::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                texts.ok_or_else(|| wrong("layers_pattern", given, "a text, or a list of texts"))?
            }
            Some(given) => return Err(wrong("layers_pattern", given, "a text, or a list of texts")),
        };
        let patterns: Vec<&str> = if patterns == [""] { Vec::new() } else { patterns };
        let indices = match config.get(KEY) {
            None | Some(Value::Null) if !patterns.is_empty() => {
                let given = &config["layers_pattern"];
                return Err(wrong(
                    "layers_pattern",
                    given,
                    "null, as PEFT wants it without `layers_to_transform`",
                ));
            }
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(items)) if items.is_empty() => return Ok(None),
            Some(given) => {
                let items = given.as_array().map_or(std::slice::from_ref(given), Vec::as_slice);
                let indices: Option<Vec<i64>> = items.iter().map(Value::as_i64).collect();
                indices.ok_or_else(|| wrong(KEY, given, "a layer, or a list of layers"))?
            }
        };
        let patterns = if patterns.is_empty() {
            vec![Pattern::of_any_layers(KEY)?]
        } else {
            patterns
                .iter()
                .map(|text| Pattern::of_layers("layers_pattern", text))
                .collect::<Result<_, _>>()?
        };
        Ok(Some(Self { indices, patterns }))
    }

    /// True if the module at a path is in one of the layers, by the first pattern that finds a layer in it.
    fn hold(&self, path: &str) -> Result<bool, Problem> {
        for pattern in &self.patterns {
            if let Some(layer) = pattern.layer(path)? {
                return Ok(self.indices.contains(&layer));
            }
        }
        Ok(false)
    }
}
