//! A model's id on the hub, by which others can load it.
//!
//! Reports and edits name the model by it. A guess would be worse than nothing: an adapter opened on a model that
//! resembles its own gives other numbers, in silence. So what only hints at the model is believed where two hints agree.

use std::path::Path;

use serde_json::Value;

use super::{CATALOGUE, Located, Road, hub::HubId};
use crate::{Gguf, Weights, files::read_regular, json};

/// The keys in which GGUF files name the repository that they were made from.
const SOURCES: [&str; 4] = [
    "general.source.huggingface.repository",
    "general.source.repo_url",
    "general.repo_url",
    "general.source.url",
];
/// The keys in which they name the model that theirs was made from, which is theirs where the names agree.
const BASE: [&str; 2] = ["general.base_model.0.repo_url", "general.base_model.0.name"];
const NAME: &str = "general.name";
/// Longest `config.json` that is looked into, in bytes.
const LONGEST: u64 = 1 << 20;

/// The hub's id, `org/name`, of a model that was asked for by this name: of a short name its repository. None for paths, and for
/// files inside of a repository, which loaders do not find by the repository's name.
pub fn hub_id(name: &str) -> Option<String> {
    if Path::new(name).exists() {
        return None;
    }
    if let Some(entry) = CATALOGUE.iter().find(|entry| entry.name == name) {
        return Some(entry.repository.into());
    }
    repository(name)
}

/// The hub's id of a model that was found and opened, where it can be known.
pub fn identity(located: &Located, weights: &Weights) -> Option<String> {
    let by_name = if located.road == Road::Path { None } else { hub_id(&located.name) };
    by_name.or_else(|| match weights.gguf() {
        Some(gguf) => of_gguf(gguf),
        None => of_cache(&located.path).or_else(|| of_folder(&located.path)),
    })
}

fn repository(name: &str) -> Option<String> {
    let id = HubId::parse(name)?;
    id.file.is_none().then_some(id.repository)
}

/// By the layout of Hugging Face's cache, `models--org--name/snapshots/..`.
fn of_cache(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let at = parts.iter().position(|part| part == "snapshots")?;
    let (organisation, name) = parts.get(at.checked_sub(1)?)?.strip_prefix("models--")?.split_once("--")?;
    repository(&format!("{organisation}/{name}"))
}

/// By `_name_or_path` of `config.json`. transformers writes there what a model was loaded from, which for a tuned model is
/// another one; so the folder's name must agree.
fn of_folder(path: &Path) -> Option<String> {
    let config = read_regular(&path.join("config.json"), LONGEST).ok()?;
    let config: Value = json::from_slice(&config).ok()?;
    let id = repository(config.get("_name_or_path")?.as_str()?)?;
    let folder = path.canonicalize().ok()?;
    agree(id.split_once('/')?.1, &folder.file_name()?.to_string_lossy()).then_some(id)
}

fn of_gguf(gguf: &Gguf) -> Option<String> {
    let text = |key: &str| gguf.string(key).ok().flatten();
    let source = SOURCES.iter().find_map(|key| of_url(text(key)?));
    source.or_else(|| {
        let [url, name] = BASE.map(text);
        let id = of_url(url?)?;
        let same = agree(name?, text(NAME)?) && agree(id.split_once('/')?.1, name?);
        same.then_some(id)
    })
}

/// `org/name` of a page of the hub, or as it stands.
fn of_url(url: &str) -> Option<String> {
    let page = ["https://huggingface.co/", "http://huggingface.co/", "https://hf.co/"];
    let rest = page.iter().find_map(|page| url.strip_prefix(page)).unwrap_or(url);
    repository(rest.trim_end_matches('/'))
}

/// True if two names are one, whatever stands between their words.
fn agree(one: &str, two: &str) -> bool {
    let words = |name: &str| {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect::<String>()
    };
    words(one) == words(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_can_load() {
        for (name, expected) in [
            ("smollm2-135m-instruct", Some("HuggingFaceTB/SmolLM2-135M-Instruct")),
            ("Qwen/Qwen3-0.6B", Some("Qwen/Qwen3-0.6B")),
            ("Qwen/Qwen3-0.6B@main", Some("Qwen/Qwen3-0.6B")),
            ("org/name-GGUF:file.Q4_0.gguf", None),
            ("/home/me/model", None),
            ("./models/mine", None),
            ("some-model", None),
            ("src/source", None),
            ("", None),
        ] {
            assert_eq!(hub_id(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn pages_of_the_hub() {
        for url in ["https://huggingface.co/org/name", "https://huggingface.co/org/name/", "org/name"] {
            assert_eq!(of_url(url).as_deref(), Some("org/name"));
        }
        for url in ["https://example.com/org/name", "https://huggingface.co/org", "me"] {
            assert_eq!(of_url(url), None, "{url}");
        }
    }

    #[test]
    fn a_folder_is_known_where_its_name_agrees() {
        let parent = tempfile::tempdir().unwrap();
        for (folder, says, expected) in [
            ("Tiny-Llama", "org/tiny-llama", Some("org/tiny-llama")),
            ("my-tuned", "org/tiny-llama", None),
            ("model", "/home/me/model", None),
            ("plain", "plain", None),
        ] {
            let path = parent.path().join(folder);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("config.json"), format!("{{\"_name_or_path\": \"{says}\"}}")).unwrap();
            assert_eq!(of_folder(&path).as_deref(), expected, "{folder}");
        }
        let snapshot = parent.path().join("models--org--tiny.model/snapshots/0123abcd");
        std::fs::create_dir_all(&snapshot).unwrap();
        assert_eq!(of_cache(&snapshot).as_deref(), Some("org/tiny.model"));
        assert_eq!(of_cache(parent.path()), None);
    }
}
