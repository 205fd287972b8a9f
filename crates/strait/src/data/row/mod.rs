//! Rows of chats in the formats in which people keep them.
//!
//! A row is an object of one of the formats of [`Format`], which its keys tell. Whatever its format, it becomes the same
//! conversation as the row with `messages` that says the same.

mod asked;
mod problem;
mod trained;
mod turns;

use std::fmt;

use serde_json::{Map, Value};
use strait_model::{Conversation, Message, Role, json};

pub use problem::Problem;
pub(super) use problem::kind;
pub(super) use trained::is_message_key as is_training_mark;

use super::notices::Notices;

/// The formats in which rows have conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A list of messages with `role` and `content`.
    Messages,
    /// A list of turns with `from` and `value`.
    ShareGpt,
    /// `instruction`, `input` and `output`.
    Alpaca,
    /// A question and its answer under two keys: the key of the question, then that of the answer.
    Asked(&'static str, &'static str),
    /// A question without an answer, under this key.
    Question(&'static str),
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Messages => f.write_str("messages"),
            Self::ShareGpt => f.write_str("ShareGPT"),
            Self::Alpaca => f.write_str("Alpaca"),
            Self::Asked(question, answer) => write!(f, "{question}/{answer}"),
            Self::Question(question) => f.write_str(question),
        }
    }
}

/// The content of a row.
pub(super) struct Found {
    pub format: Format,
    pub conversation: Conversation,
}

/// One way to read a row: its format, its turns, and the keys that they came from.
struct Reading {
    format: Format,
    messages: Vec<Message>,
    used: Vec<&'static str>,
}

/// Keys of lists of turns.
const LISTS: [&str; 3] = ["messages", "conversations", "conversation"];

/// Keys that give the instructions before a conversation.
const SYSTEM: [&str; 2] = ["system", "system_prompt"];

/// Keys of content that a model of text cannot see, such as images.
const MEDIA: [&str; 6] = ["image", "images", "video", "videos", "audio", "audios"];

/// Keys of rows that change nothing about what is said or trained on: names, origins, judgements, counts. `text` holds the
/// rendered conversation beside another format.
const HARMLESS: &[&str] = &[
    "id",
    "_id",
    "uid",
    "uuid",
    "idx",
    "index",
    "key",
    "hash",
    "domain",
    "topic",
    "subject",
    "category",
    "categories",
    "source",
    "dataset",
    "dataset_name",
    "origin",
    "url",
    "link",
    "license",
    "author",
    "language",
    "lang",
    "locale",
    "split",
    "subset",
    "name",
    "title",
    "task",
    "task_type",
    "tag",
    "tags",
    "difficulty",
    "level",
    "score",
    "scores",
    "rating",
    "quality",
    "metadata",
    "meta",
    "info",
    "timestamp",
    "created",
    "created_at",
    "date",
    "version",
    "model",
    "model_name",
    "generator",
    "conversation_id",
    "conversation_hash",
    "prompt_id",
    "question_id",
    "message_id",
    "session_id",
    "row_id",
    "turn",
    "turns",
    "num_turns",
    "num_tokens",
    "token_count",
    "tokens",
    "length",
    "toxic",
    "redacted",
    "parallel_tool_calls",
    "text",
    "comment",
    "note",
    "notes",
    "seed",
    "type",
    "__index_level_0__",
];

/// Reads a row. Keys that are not understood and could matter go into `notices`.
pub(super) fn read(row: &Map<String, Value>, notices: &mut Notices) -> Result<Found, Problem> {
    refuse_what_cannot_be_kept(row)?;
    of_readings(row, readings(row)?, notices)
}

/// As [`read`], for rows that may lack an answer.
pub(super) fn read_prompt(row: &Map<String, Value>, notices: &mut Notices) -> Result<Found, Problem> {
    refuse_what_cannot_be_kept(row)?;
    let mut readings = readings(row)?;
    if readings.is_empty() {
        asked::read_question(row, &mut readings)?;
    }
    of_readings(row, readings, notices)
}

/// The one conversation that all readings of a row say.
fn of_readings(
    row: &Map<String, Value>,
    readings: Vec<Reading>,
    notices: &mut Notices,
) -> Result<Found, Problem> {
    let mut readings = readings.into_iter();
    let Some(mut reading) = readings.next() else { return Err(problem::not_a_chat(row)) };
    for other in readings {
        if !agree(&reading.messages, &other.messages) {
            return Err(Problem::TwoFormats { formats: [reading.format, other.format] });
        }
        reading.used.extend(other.used);
    }
    begin_with_system(row, &mut reading)?;
    let tools = tools(row)?;
    for message in &reading.messages {
        numbers_fit(message.keys().values())?;
    }
    numbers_fit(tools.iter())?;
    if trained::of_row(row)? == Some(false) {
        reading.messages.iter_mut().for_each(|message| message.trained = false);
    }
    take_notice(row, &reading, notices);
    Ok(Found { format: reading.format, conversation: Conversation { messages: reading.messages, tools } })
}

/// All the ways in which a row can be read.
fn readings(row: &Map<String, Value>) -> Result<Vec<Reading>, Problem> {
    let mut all = Vec::new();
    for key in LISTS {
        if let Some(list) = given(row, key) {
            let (format, messages) = turns::read(list, key)?;
            all.push(Reading { format, messages, used: vec![key] });
        }
    }
    asked::read(row, &mut all)?;
    Ok(all)
}

/// True if two readings say the same; one of them may lack the instructions before it.
fn agree(a: &[Message], b: &[Message]) -> bool {
    let said = |messages: &[Message]| -> Vec<(Role, String)> {
        let turns = messages.iter().filter(|m| m.role() != Role::System);
        turns.map(|m| (m.role(), m.text().into_owned())).collect()
    };
    said(a) == said(b)
}

/// Puts the row's own instructions before its turns, unless they stand there.
fn begin_with_system(row: &Map<String, Value>, reading: &mut Reading) -> Result<(), Problem> {
    for key in SYSTEM {
        let text = match given(row, key) {
            None => continue,
            Some(Value::String(text)) if text.trim().is_empty() => continue,
            Some(Value::String(text)) => text,
            Some(other) => return Err(problem::kind_of(format!("`{key}` of the row"), "text", other)),
        };
        reading.used.push(key);
        match reading.messages.first() {
            Some(first) if first.role() == Role::System && first.text() == text.as_str() => {}
            Some(first) if first.role() == Role::System => return Err(Problem::TwoSystems { key }),
            _ => reading.messages.insert(0, Message::new(Role::System, text)),
        }
    }
    Ok(())
}

/// The row's tools. Tables hold them as the text of a JSON list, since their descriptions differ in shape.
fn tools(row: &Map<String, Value>) -> Result<Option<Value>, Problem> {
    let tools = match given(row, "tools") {
        None => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => {
            json::from_str(text).map_err(|_| Problem::NestedJson { what: "`tools` of the row".into() })?
        }
        Some(tools) => tools.clone(),
    };
    let list = match &tools {
        Value::Null => return Ok(None),
        Value::Array(list) => list,
        other => return Err(problem::kind_of("`tools` of the row", "an array", other)),
    };
    for (tool, number) in list.iter().zip(1..) {
        if !tool.is_object() {
            return Err(problem::kind_of(format!("tool {number} of the row"), "an object", tool));
        }
    }
    Ok(Some(tools))
}

/// A key's value, unless it is null: tables write null where a row lacks a key.
fn given<'a>(row: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    row.get(key).filter(|value| !value.is_null())
}

/// Refuses keys that are not read and would change the template's text or the trained tokens.
fn refuse_what_cannot_be_kept(row: &Map<String, Value>) -> Result<(), Problem> {
    let says = |key: &str| given(row, key).is_some_and(|value| !is_empty(value));
    if says("functions") {
        return Err(Problem::Functions);
    }
    for key in MEDIA {
        if says(key) {
            return Err(Problem::Medium { what: "the row".into(), found: key.into() });
        }
    }
    for key in ["chat_template_kwargs", "chat_template", "documents"] {
        if says(key) {
            return Err(Problem::ForTemplate { key });
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Numbers that the JSON reader cannot hold come as the nearest that it can, and would be written as another number.
fn numbers_fit<'a>(values: impl Iterator<Item = &'a Value>) -> Result<(), Problem> {
    const BOUND: f64 = 18_446_744_073_709_551_616.0;
    for value in values {
        match value {
            Value::Number(number) if number.as_f64().is_some_and(|n| n.abs() >= BOUND) => {
                return Err(Problem::NumberTooLarge);
            }
            Value::Array(list) => numbers_fit(list.iter())?,
            Value::Object(map) => numbers_fit(map.values())?,
            _ => {}
        }
    }
    Ok(())
}

/// Counts the keys that are not known.
fn take_notice(row: &Map<String, Value>, reading: &Reading, notices: &mut Notices) {
    for (key, value) in row {
        let known = reading.used.contains(&key.as_str())
            || HARMLESS.contains(&key.as_str())
            || key == "tools"
            || trained::is_row_key(key)
            || is_empty(value)
            || value.as_str().is_some_and(|text| reading.messages.iter().any(|m| m.text() == text));
        if !known {
            notices.row_key(key);
        }
    }
    for message in &reading.messages {
        for (key, value) in message.keys() {
            if !turns::is_known(key) && !trained::is_message_key(key) && !is_empty(value) {
                notices.message_key(key);
            }
        }
    }
}
