//! Lists of turns: messages with `role` and `content`, and ShareGPT's turns with `from` and `value`.

use serde_json::{Map, Value, json};
use strait_model::{Message, Role};

use super::{
    Format, Problem, is_empty,
    problem::{kind_of, kind_of_part},
    trained,
};
use crate::data::words::shortened;

/// Keys of messages that templates read, and some that say who wrote a message and when.
const KNOWN: &[&str] = &[
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "reasoning_content",
    "reasoning",
    "thinking",
    "refusal",
    "annotations",
    "audio",
    "function_call",
    "id",
    "index",
    "timestamp",
    "created",
    "created_at",
    "model",
    "language",
    "toxic",
    "redacted",
];

/// Keys of an assistant's message beside the content.
const SAID: [&str; 4] = ["tool_calls", "reasoning_content", "reasoning", "thinking"];

pub(super) fn is_known(key: &str) -> bool {
    KNOWN.contains(&key)
}

/// The turns of a list, which stands under `key`.
pub(super) fn read(list: &Value, key: &str) -> Result<(Format, Vec<Message>), Problem> {
    let list = list.as_array().ok_or_else(|| kind_of(format!("`{key}`"), "an array", list))?;
    let is_sharegpt = |turn: &Value| {
        turn.as_object().is_some_and(|turn| turn.contains_key("from") && !turn.contains_key("role"))
    };
    let sharegpt = list.first().is_some_and(is_sharegpt);
    let format = if sharegpt { Format::ShareGpt } else { Format::Messages };
    let read_one = if sharegpt { sharegpt_turn } else { message };
    let messages = list.iter().zip(1..).map(|(turn, number)| {
        let what = format!("message {number}");
        let turn = turn.as_object().ok_or_else(|| kind_of(what.as_str(), "an object", turn))?;
        read_one(turn, number, &what)
    });
    Ok((format, messages.collect::<Result<_, _>>()?))
}

/// A message of `role` and `content`, with its keys as they are.
fn message(keys: &Map<String, Value>, number: usize, what: &str) -> Result<Message, Problem> {
    let role = text(keys, "role", what)?;
    let Some(message) = Message::from_keys(keys.clone()) else {
        return Err(Problem::UnknownRole { message: number, found: shortened(role), rename: rename(role) });
    };
    finish(message, number, what)
}

/// A turn of `from` and `value` as the message that says the same.
fn sharegpt_turn(keys: &Map<String, Value>, number: usize, what: &str) -> Result<Message, Problem> {
    let from = text(keys, "from", what)?;
    let value = text(keys, "value", what)?;
    let (role, calls) = match from.to_lowercase().as_str() {
        "human" | "user" => ("user", None),
        "gpt" | "assistant" | "chatgpt" | "bing" | "bard" | "model" => ("assistant", None),
        "system" => ("system", None),
        "tool" | "observation" | "function_response" | "tool_response" => ("tool", None),
        "function_call" | "tool_call" => ("assistant", Some(calls(value, what)?)),
        _ => return Err(Problem::UnknownSpeaker { message: number, found: shortened(from) }),
    };
    let mut message = Map::new();
    message.insert("role".into(), role.into());
    message.insert("content".into(), if calls.is_some() { "" } else { value }.into());
    message.extend(calls.map(|calls| ("tool_calls".to_string(), calls)));
    let others = keys.iter().filter(|(key, _)| !["from", "value"].contains(&key.as_str()));
    for (key, value) in others {
        // Renderings of the value for a page, as ShareGPT itself gave them.
        if ["markdown", "html", "text"].contains(&key.as_str()) {
            continue;
        }
        if message.insert(key.clone(), value.clone()).is_some() {
            return Err(Problem::TwoNames { what: what.into(), key: key.clone() });
        }
    }
    match Message::from_keys(message) {
        Some(message) => finish(message, number, what),
        None => Err(Problem::UnknownSpeaker { message: number, found: shortened(from) }),
    }
}

/// A ShareGPT call: `{"name", "arguments"}`, or a list of them, as JSON text.
fn calls(value: &str, what: &str) -> Result<Value, Problem> {
    let wrong = || Problem::NestedJson { what: format!("`value` of {what}, a function call,") };
    let call: Value = strait_model::json::from_str(value).map_err(|_| wrong())?;
    let list = match call {
        Value::Array(list) if !list.is_empty() => list,
        call => vec![call],
    };
    let calls = list.into_iter().map(|call| {
        let keys = call.as_object().ok_or_else(wrong)?;
        let named = keys.get("name").is_some_and(Value::is_string) && keys.contains_key("arguments");
        if named && keys.len() == 2 {
            Ok(json!({"type": "function", "function": call}))
        } else {
            Err(wrong())
        }
    });
    calls.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// Checks a message's content, and whether it is trained on.
fn finish(mut message: Message, number: usize, what: &str) -> Result<Message, Problem> {
    let keys = message.keys();
    if keys.get("function_call").is_some_and(|call| !call.is_null()) {
        return Err(Problem::FunctionCall { message: number });
    }
    if keys.get("audio").is_some_and(|audio| !is_empty(audio)) {
        return Err(Problem::Medium { what: what.into(), found: "audio".into() });
    }
    let is_said = message.is_answer() && SAID.iter().any(|&key| keys.get(key).is_some_and(says_something));
    match keys.get("content") {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => check_parts(parts, what)?,
        None | Some(Value::Null) if is_said => {}
        None => return Err(Problem::NoKey { what: what.into(), key: "content" }),
        Some(other) => return Err(kind_of(format!("`content` of {what}"), "text", other)),
    }
    if let Some(calls) = keys.get("tool_calls").filter(|calls| !calls.is_null()) {
        check_calls(calls, what)?;
    }
    let trained = trained::of_message(keys, what)?;
    if trained == Some(true) && !message.is_answer() {
        let key = keys.keys().find(|key| trained::is_message_key(key)).cloned().unwrap_or_default();
        return Err(Problem::TrainedUser { what: format!("{what}, the {}'s,", message.role()), key });
    }
    let empty = message.text().trim().is_empty() && !is_said;
    message.trained = trained.unwrap_or(true);
    if message.is_answer() && message.trained && empty {
        return Err(Problem::EmptyAnswer { message: number });
    }
    Ok(message)
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty(),
        other => !is_empty(other),
    }
}

/// Parts of a content may be texts alone: a model of text does not see the rest.
fn check_parts(parts: &[Value], what: &str) -> Result<(), Problem> {
    for part in parts {
        let keys = part.as_object().ok_or_else(|| kind_of_part(what, part))?;
        match keys.get("type").and_then(Value::as_str) {
            Some("text") => {
                text(keys, "text", &format!("a part of {what}"))?;
            }
            Some(other) => return Err(Problem::Medium { what: what.into(), found: shortened(other) }),
            None => return Err(Problem::NoKey { what: format!("a part of {what}"), key: "type" }),
        }
    }
    Ok(())
}

fn check_calls(calls: &Value, what: &str) -> Result<(), Problem> {
    let of = format!("`tool_calls` of {what}");
    let list = calls.as_array().ok_or_else(|| kind_of(of.as_str(), "an array", calls))?;
    match list.iter().find(|call| !call.is_object()) {
        Some(other) => Err(kind_of(format!("a call of {of}"), "an object", other)),
        None => Ok(()),
    }
}

fn text<'a>(keys: &'a Map<String, Value>, key: &'static str, what: &str) -> Result<&'a str, Problem> {
    match keys.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(kind_of(format!("`{key}` of {what}"), "text", other)),
        None => Err(Problem::NoKey { what: what.into(), key }),
    }
}

/// The role that a template knows in place of another word for it.
fn rename(role: &str) -> Option<Role> {
    let role = role.to_lowercase();
    Role::of_name(&role).or(match role.as_str() {
        "human" | "prompter" | "customer" => Some(Role::User),
        "gpt" | "model" | "bot" | "ai" | "chatgpt" | "chatbot" => Some(Role::Assistant),
        "function" | "ipython" | "observation" | "tool_response" | "function_response" => Some(Role::Tool),
        _ => None,
    })
}
