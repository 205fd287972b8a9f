//! Tokenizer folders beside transformers, over sources, places and classes (`scripts/golden/tokenizer_folders.py`).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use strait_model::{Conversation, Error, Message, Tokenizer};
use tempfile::TempDir;

/// The tokens of a folder's tokenizer: ids of the text and of the chat, and the chat's text.
#[derive(Debug, PartialEq)]
struct Given {
    text: Vec<u32>,
    rendered: String,
    chat: Vec<u32>,
    bos: Option<u32>,
}

fn fixture() -> Value {
    let path = match std::env::var_os("STRAIT_TOKENIZERS") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers.json"),
    };
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn write(folder: &Path, name: &str, content: &Value, template: &Value) {
    let mut content = content.clone();
    if content.get("chat_template").and_then(Value::as_str) == Some("TEMPLATE") {
        content["chat_template"] = template.clone();
    }
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = content.as_str().map_or_else(|| content.to_string(), String::from);
    std::fs::write(path, text).unwrap();
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// Strait's tokens in a folder with these files.
fn given(base: &Value, case: &Value, fixture: &Value) -> Result<Given, Error> {
    let folder = TempDir::new().unwrap();
    let mut tokenizer = base.clone();
    for (key, value) in object(&case["changes"]) {
        tokenizer[key] = value.clone();
    }
    write(folder.path(), "tokenizer.json", &tokenizer, &fixture["template"]);
    for (name, content) in object(&case["files"]) {
        write(folder.path(), name, content, &fixture["template"]);
    }
    let messages: Vec<Message> = serde_json::from_value(fixture["messages"].clone()).unwrap();
    let chat = Conversation::from(messages);
    let tokenizer = Tokenizer::from_folder(folder.path())?;
    let rendered = tokenizer.render(&chat, false)?;
    Ok(Given {
        text: tokenizer.encode(fixture["text"].as_str().unwrap(), true)?,
        chat: tokenizer.encode(&rendered, false)?,
        rendered,
        bos: tokenizer.bos(),
    })
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn folders_are_read_as_transformers_reads_them() {
    let fixture = fixture();
    let folders = fixture["folders"].as_array().unwrap();
    let (mut wrong, mut right, mut refused) = (Vec::new(), 0, Vec::new());
    for case in folders {
        let what = case["what"].as_str().unwrap();
        let expected = (!case["gives"].is_null()).then(|| Given {
            text: ids(&case["gives"]["text"]),
            rendered: case["gives"]["rendered"].as_str().unwrap().into(),
            chat: ids(&case["gives"]["chat"]),
            bos: serde_json::from_value(case["gives"]["bos"].clone()).unwrap(),
        });
        match (given(&fixture["base"], case, &fixture), expected) {
            (Ok(given), Some(expected)) if given == expected => right += 1,
            (Err(error), expected) => {
                assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
                if expected.is_some() {
                    refused.push(format!("{what}: {error}"));
                }
            }
            (given, expected) => {
                wrong.push(format!("{what}: {given:?}, where transformers gives {expected:?} for {case}"))
            }
        }
    }
    println!(
        "{} folders: {right} the same, {} refused though transformers reads them",
        folders.len(),
        refused.len()
    );
    for line in &refused {
        println!("  {line:.300}");
    }
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong: {:#?}",
        wrong.len(),
        folders.len(),
        &wrong[..wrong.len().min(5)]
    );
    assert!(right >= folders.len() * 3 / 4, "only {right} of {} are read", folders.len());
}
