//! The origin of answers: it stands beside the file that `strait sample` wrote.

use std::path::Path;

use serde_json::{Map, Value};

use crate::responses;

/// The model, the edits and the seed of a file of responses; nothing where no settings lie beside it.
pub fn of(responses: &Path) -> Map<String, Value> {
    let settings = std::fs::read(responses::settings_of(responses)).ok();
    let settings: Option<Map<String, Value>> = settings.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(settings) = settings else { return Map::new() };
    let edits = settings.get("edits").and_then(Value::as_array);
    let edits = edits.map(|edits| edits.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" + "));
    let mut origin = Map::new();
    let mut set = |key: &str, value: Option<Value>| value.map(|value| origin.insert(key.into(), value));
    set("model", settings.get("model").cloned());
    set("edit", edits.map(Value::from));
    set("seed", settings.get("seed").cloned());
    origin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_say_where_answers_come_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        assert_eq!(of(&path), Map::new());
        let settings = r#"{"model": "m", "edits": ["e*2", "f"], "seed": 3, "count": 4}"#;
        std::fs::write(folder.path().join("a.jsonl.settings.json"), settings).unwrap();
        assert_eq!(Value::from(of(&path)).to_string(), r#"{"model":"m","edit":"e*2 + f","seed":3}"#);
    }
}
