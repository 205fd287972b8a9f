//! A folder's chat templates, found in transformers' order.
//!
//! Files of their own count before `tokenizer_config.json`, which counts before `chat_template.json`, which the processors
//! of multimodal models write. A model may have several templates by name: `tool_use` is for conversations with tools,
//! `default` for all others.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::{
    problem::Problem,
    read::{read_file, read_json},
    unfit,
};
use crate::{Error, Result, template::MAX_TEMPLATE};

const FOLDER: &str = "additional_chat_templates";
const EXTENSION: &str = ".jinja";

/// The sources of a model's templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Templates {
    /// The one for all conversations.
    pub default: Option<String>,
    /// The one for conversations with tools, where that is another.
    pub tool_use: Option<String>,
    /// The names of those that are for nothing here.
    pub others: Vec<String>,
}

#[derive(Deserialize)]
struct ProcessorTemplate {
    chat_template: Value,
}

/// Finds the templates of a folder; `configured` is the template of `tokenizer_config.json`.
pub(super) fn read(folder: &Path, configured: Option<&Value>) -> Result<Templates> {
    let mut files = BTreeMap::new();
    if let Some(bytes) = read_file(folder, "chat_template.jinja", MAX_TEMPLATE as u64)? {
        files.insert("default".into(), text(folder, "chat_template.jinja", bytes)?);
    }
    files.extend(further_files(folder)?);
    if !files.is_empty() {
        return Ok(Templates::named(files));
    }
    match configured {
        None | Some(Value::Null) => match read_json::<ProcessorTemplate>(folder, "chat_template.json")? {
            None => Ok(Templates::default()),
            Some(file) => said(folder, "chat_template.json", &file.chat_template),
        },
        Some(value) => said(folder, "tokenizer_config.json", value),
    }
}

impl Templates {
    /// One template for all conversations.
    pub fn one(source: Option<String>) -> Self {
        Self { default: source, ..Self::default() }
    }

    /// True if a template has this name in it.
    pub fn name(&self, name: &str) -> bool {
        [&self.default, &self.tool_use].into_iter().flatten().any(|source| source.contains(name))
    }

    fn named(mut named: BTreeMap<String, String>) -> Self {
        let default = named.remove("default");
        let tool_use = named.remove("tool_use");
        Self { default, tool_use, others: named.into_keys().collect() }
    }
}

/// The templates that a key's value holds: one, or several by name.
fn said(folder: &Path, file: &'static str, value: &Value) -> Result<Templates> {
    let wrong = || {
        let expected = "a template, or templates with their names";
        unfit(folder)(Problem::Type { file, key: "chat_template".into(), expected })
    };
    let source = |value: &Value| value.as_str().map(str::to_string).ok_or_else(wrong);
    match value {
        Value::String(source) => Ok(Templates::one(Some(source.clone()))),
        Value::Object(named) => {
            let named = named.iter().map(|(name, value)| Ok((name.clone(), source(value)?)));
            Ok(Templates::named(named.collect::<Result<_>>()?))
        }
        Value::Array(list) => {
            let part = |entry: &Value, key| source(entry.get(key).ok_or_else(wrong)?);
            let named = list.iter().map(|entry| Ok((part(entry, "name")?, part(entry, "template")?)));
            Ok(Templates::named(named.collect::<Result<_>>()?))
        }
        _ => Err(wrong()),
    }
}

/// The templates in the folder beside, by name.
fn further_files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let place = folder.join(FOLDER);
    let listed = match std::fs::read_dir(&place) {
        Ok(listed) => listed,
        Err(_) if !place.is_dir() => return Ok(BTreeMap::new()),
        Err(error) => return Err(Error::io(place, "list the folder")(error)),
    };
    let mut found = BTreeMap::new();
    for entry in listed {
        let entry = entry.map_err(Error::io(&place, "list the folder"))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(EXTENSION) else { continue };
        let file = format!("{FOLDER}/{file}");
        let bytes = read_file(folder, &file, MAX_TEMPLATE as u64)?.unwrap_or_default();
        found.insert(name.to_string(), text(folder, &file, bytes)?);
    }
    Ok(found)
}

fn text(folder: &Path, file: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| unfit(folder)(Problem::NotText { file: file.into() }))
}
