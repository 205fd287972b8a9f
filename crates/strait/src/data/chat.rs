//! Chat rows: one conversation a line.

use std::{borrow::Cow, io::Read, path::Path};

use serde_json::{Map, Value};
use strait_model::{Conversation, Message};

use super::{Problem, RowSource, problem::shortened, source::Lines};
use crate::Result;

/// One conversation, with at least one assistant message; none of those is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// Where it stands, for errors: its file and line.
    pub place: String,
    /// The row's `id`, where it has one; a number is taken as its digits.
    pub id: Option<String>,
    /// The row's `domain`, where it has one.
    pub domain: Option<String>,
    /// What was said.
    pub conversation: Conversation,
}

impl Chat {
    /// The messages before the last assistant message.
    pub fn prompt(&self) -> &[Message] {
        &self.conversation.messages[..self.last_answer()]
    }

    /// The text of the last assistant message.
    pub fn answer(&self) -> Cow<'_, str> {
        self.conversation.messages.get(self.last_answer()).map_or(Cow::Borrowed(""), Message::text)
    }

    /// The index of the last assistant message; of the end where there is none.
    fn last_answer(&self) -> usize {
        let messages = &self.conversation.messages;
        messages.iter().rposition(Message::is_answer).unwrap_or(messages.len())
    }
}

/// Reads chat JSONL: on each line `{"messages": [{"role", "content"}, ...]}`, optionally `id` and `domain`. Blank lines
/// and further keys are skipped.
///
/// # Errors
/// The first problem, with file and line; a file without rows is one.
pub fn read_chats(source: &RowSource) -> Result<Vec<Chat>> {
    let rows = parse_rows(source.open()?, &source.place())?;
    Ok(rows.into_iter().map(|(_, chat)| chat).collect())
}

/// Chats with the lines they stand on.
pub(super) fn parse_rows(reader: impl Read, place: &Path) -> Result<Vec<(u64, Chat)>> {
    let mut lines = Lines::new(reader, place);
    let mut rows = Vec::new();
    while let Some((number, line)) = lines.next()? {
        let mut chat = parse(line).map_err(|problem| problem.at(place, number))?;
        chat.place = format!("`{}`, line {number}", place.display());
        rows.push((number, chat));
    }
    if rows.is_empty() {
        return Err(Problem::Empty.at(place, None));
    }
    Ok(rows)
}

/// The chat on one line.
fn parse(line: &str) -> Result<Chat, Problem> {
    // Parsed as plain JSON first: the parser's own messages about a wrong type would quote the row.
    let row: Value = serde_json::from_str(line)
        .map_err(|e| Problem::NotJson { reason: reason(&e), column: e.column() })?;
    let row = object(&row, "the row")?;
    let Some(messages) = row.get("messages") else {
        return Err(Problem::NoKey { what: "the row".into(), key: "messages" });
    };
    let messages = messages.as_array().ok_or_else(|| kind_of("`messages`", "an array", messages))?;
    let messages = messages
        .iter()
        .zip(1..)
        .map(|(message, number)| parse_message(message, number))
        .collect::<Result<Vec<_>, _>>()?;
    if !messages.iter().any(Message::is_answer) {
        return Err(Problem::NoAssistant);
    }
    Ok(Chat {
        place: String::new(),
        id: match row.get("id") {
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => optional_text(row, "id")?,
        },
        domain: optional_text(row, "domain")?,
        conversation: messages.into(),
    })
}

/// The `number`th message of a row, counted from 1.
fn parse_message(message: &Value, number: usize) -> Result<Message, Problem> {
    let what = format!("message {number}");
    let message = object(message, &what)?;
    let text = |key| match message.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(kind_of(&format!("`{key}` of {what}"), "text", other)),
        None => Err(Problem::NoKey { what: what.clone(), key }),
    };
    let role = text("role")?;
    text("content")?;
    let Some(message) = Message::from_keys(message.clone()) else {
        return Err(Problem::UnknownRole { message: number, found: shortened(role) });
    };
    if message.is_answer() && message.text().trim().is_empty() {
        return Err(Problem::EmptyAnswer { message: number });
    }
    Ok(message)
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, Problem> {
    let object = value.as_object();
    object.ok_or_else(|| kind_of(what, "an object", value))
}

/// The text under a key that may be absent or null.
fn optional_text(row: &Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match row.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(kind_of(&format!("`{key}` of the row"), "text", other)),
    }
}

fn kind_of(what: &str, expected: &'static str, found: &Value) -> Problem {
    Problem::Kind {
        what: what.into(),
        expected,
        found: match found {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        },
    }
}

/// The parser's message without its own account of the place.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].into(),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Vec<Chat>, String> {
        let rows = parse_rows(text.as_bytes(), Path::new("f")).map_err(|e| e.to_string())?;
        Ok(rows.into_iter().map(|(_, chat)| chat).collect())
    }

    fn check(row: &str, expected: &str) {
        assert_eq!(read(row).unwrap_err(), expected, "{row}");
    }

    #[test]
    fn a_row_is_read_with_what_it_has() {
        let first = json!({
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": "a", "weight": 1},
            ],
            "id": 7,
            "domain": "food",
            "more": [],
        });
        let second =
            r#"{"id":null,"messages":[{"content":"x","role":"assistant"},{"content":"","role":"user"}]}"#;
        let rows = format!("{first}\n{second}");
        let chats = read(&rows).unwrap();
        assert_eq!(chats.len(), 2);
        assert_eq!(chats[0].id.as_deref(), Some("7"));
        assert_eq!(chats[0].domain.as_deref(), Some("food"));
        assert_eq!(chats[0].prompt().len(), 2);
        assert_eq!(chats[0].answer(), "a");
        assert_eq!((chats[1].id.as_ref(), chats[1].prompt().len()), (None, 0));
        assert_eq!(chats[1].answer(), "x");
    }

    #[test]
    fn each_malformation_has_its_message() {
        check("", "`f`: there are no rows");
        check("\n \r\n", "`f`: there are no rows");
        check("{\"messages\":", "`f`, line 1: not JSON: EOF while parsing a value at column 12");
        check("\n[]", "`f`, line 2: the row is an array, not an object");
        check("{}", "`f`, line 1: the row has no `messages`");
        check(r#"{"messages":"hi"}"#, "`f`, line 1: `messages` is text, not an array");
        check(r#"{"messages":[]}"#, "`f`, line 1: the row has no assistant message");
        check(r#"{"messages":[1]}"#, "`f`, line 1: message 1 is a number, not an object");
        check(r#"{"messages":[{"content":"x"}]}"#, "`f`, line 1: message 1 has no `role`");
        check(
            r#"{"messages":[{"role":"critic","content":"x"}]}"#,
            "`f`, line 1: message 1 has the role `critic`, which is none of `system`, `user` and `assistant`",
        );
        check(
            r#"{"messages":[{"role":"user","content":["x"]}]}"#,
            "`f`, line 1: `content` of message 1 is an array, not text",
        );
        check(
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            "`f`, line 1: the row has no assistant message",
        );
        check(
            r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":" \n"}]}"#,
            "`f`, line 1: message 2, the assistant's, is empty",
        );
        check(
            r#"{"messages":[{"role":"assistant","content":"x"}],"id":[]}"#,
            "`f`, line 1: `id` of the row is an array, not text",
        );
    }

    #[test]
    fn a_word_of_the_file_is_cut_short_in_an_error() {
        let row = json!({"messages": [{"role": "é".repeat(999), "content": ""}]}).to_string();
        let error = read(&row).unwrap_err();
        assert!(error.contains(&format!("`{}…`", "é".repeat(24))), "{error}");
    }

    fn messages() -> impl Strategy<Value = Vec<(&'static str, String)>> {
        let role = prop::sample::select(vec!["system", "user", "assistant"]);
        prop::collection::vec((role, ".*"), 0..5)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(rows in prop::collection::vec((messages(), any::<Option<u32>>()), 1..5)) {
            let mut text = String::from("\u{feff}");
            let mut expected = Vec::new();
            for (mut messages, id) in rows {
                messages.push(("assistant", "said".into()));
                messages.retain(|(role, content)| *role != "assistant" || !content.trim().is_empty());
                let list: Vec<_> = messages
                    .iter()
                    .map(|(role, content)| json!({"role": role, "content": content}))
                    .collect();
                text += &json!({"messages": list, "id": id}).to_string();
                text += "\r\n\n";
                expected.push((messages, id.map(|id| id.to_string())));
            }
            let chats = read(&text).unwrap();
            prop_assert_eq!(chats.len(), expected.len());
            for (chat, (messages, id)) in chats.iter().zip(expected) {
                prop_assert_eq!(&chat.id, &id);
                let found: Vec<_> =
                    chat.conversation.messages.iter().map(|m| (m.role().name(), m.text().into_owned())).collect();
                prop_assert_eq!(found, messages);
            }
        }

        #[test]
        fn any_text_is_an_error_or_rows(text in ".*", json in r#"[\{\}\[\]",:a-z0-9]{0,40}"#) {
            read(&text).ok();
            read(&json).ok();
        }
    }
}
