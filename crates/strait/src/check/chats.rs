//! The text and the tokens of chats beside those of transformers, where a Python that has it is at hand.

use serde::Deserialize;
use serde_json::{Value, json};
use strait_model::{Conversation, Model};

use super::{Check, python};

const SCRIPT: &str = include_str!("chats.py");
/// Ten chats: plain, with a system message, of several turns, with tools, with thoughts, of many writings, empty, beginning with
/// the assistant, of odd spaces, and one to be answered.
const CHATS: &str = include_str!("chats.json");
const TEXT: &str = "It's 12 o'clock — tea?\n\n  Öl & 漢字 🙂, 3.14%\t<s> e\u{301}";

#[derive(Deserialize)]
struct Answer {
    transformers: String,
    chats: Vec<Written>,
    text: Vec<u32>,
}

/// A chat as one side writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Given { text: String, ids: Vec<u32> },
    Refused { refused: String },
}

/// Compares the text and the ids of ten chats, and the ids of a plain text.
pub fn with_transformers(model: &Model) -> [Check; 2] {
    let names =
        ["chats have the text and the tokens of transformers", "plain text has the tokens of transformers"];
    let (chats, text) = match compare(model) {
        Ok((chats, text)) => (chats, text),
        Err(why) => {
            let words = format!("not tried: {why}");
            (
                Compared { holds: None, value: f64::NAN, words: words.clone() },
                Compared { holds: None, value: f64::NAN, words },
            )
        }
    };
    let [first, second] = names.map(str::to_string);
    let check = |name, Compared { holds, value, words }| Check { name, holds, value, words };
    [check(first, chats), check(second, text)]
}

struct Compared {
    holds: Option<bool>,
    /// The share that agrees.
    value: f64,
    words: String,
}

fn compare(model: &Model) -> Result<(Compared, Compared), String> {
    if model.provenance.format == "gguf" {
        return Err("a tokenizer that transformers rebuilds from a GGUF file is no reference".into());
    }
    let chats: Vec<Value> = serde_json::from_str(CHATS).map_err(|error| error.to_string())?;
    let question = json!({"chats": chats, "text": TEXT});
    let answer: Answer = python::ask(SCRIPT, &model.provenance.located.path, &question)?;
    let versions = format!("transformers {}", answer.transformers);
    let own = model.tokenizer.encode(TEXT, true);
    let same = own.as_ref().is_ok_and(|ids| *ids == answer.text);
    let text = Compared {
        holds: Some(same),
        value: f64::from(u8::from(same)),
        words: match own {
            Ok(ids) => format!("{} tokens, {} there ({versions})", ids.len(), answer.text.len()),
            Err(error) => format!("refused here: {error} ({versions})"),
        },
    };
    if !model.tokenizer.has_chat_template() {
        let words = "not tried: the model has no chat template".into();
        return Ok((Compared { holds: None, value: f64::NAN, words }, text));
    }
    let differences: Vec<String> = chats
        .iter()
        .zip(&answer.chats)
        .enumerate()
        .filter_map(|(at, (chat, there))| {
            Some(format!("chat {}: {}", at + 1, difference(model, chat, there)?))
        })
        .collect();
    let agree = answer.chats.len() - differences.len();
    let words = match differences.first() {
        None => format!("share of {} chats whose text and tokens agree ({versions})", chats.len()),
        Some(first) => format!("{agree} of {} agree; {first} ({versions})", chats.len()),
    };
    let value = agree as f64 / chats.len() as f64;
    Ok((Compared { holds: Some(agree == chats.len()), value, words }, text))
}

/// The difference of a chat here and there, if there is one. A refusal by both is none.
fn difference(model: &Model, chat: &Value, there: &Written) -> Option<String> {
    let prompt = chat["add_generation_prompt"].as_bool().unwrap_or(false);
    let here = Conversation::deserialize(chat).map_err(|error| error.to_string()).and_then(|conversation| {
        let text = model.tokenizer.render(&conversation, prompt).map_err(|error| error.to_string())?;
        let ids = model.tokenizer.encode(&text, false).map_err(|error| error.to_string())?;
        Ok((text, ids))
    });
    match (here, there) {
        (Err(_), Written::Refused { .. }) => None,
        (Err(here), Written::Given { .. }) => Some(format!("refused here: {here}")),
        (Ok(_), Written::Refused { refused }) => Some(format!("refused there: {refused:.200}")),
        (Ok((text, _)), Written::Given { text: there, .. }) if text != *there => {
            let at = text.bytes().zip(there.bytes()).take_while(|(a, b)| a == b).count();
            let around = |text: &str| {
                let (from, to) =
                    (text.floor_char_boundary(at.saturating_sub(10)), text.ceil_char_boundary(at + 20));
                format!("{:?}", &text[from.min(text.len())..to.min(text.len())])
            };
            Some(format!("the texts part at byte {at}: {} here, {} there", around(&text), around(there)))
        }
        (Ok((_, ids)), Written::Given { ids: there, .. }) if ids != *there => {
            let at = ids.iter().zip(there).take_while(|(a, b)| a == b).count();
            Some(format!("the tokens part at {at}: {} here, {} there", ids.len(), there.len()))
        }
        _ => None,
    }
}
