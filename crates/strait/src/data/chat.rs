//! Chat rows: one conversation a row.

use std::{borrow::Cow, io::Read, path::Path};

use serde_json::{Map, Value};
use strait_model::{Conversation, Message, json};

use super::{
    Notices, Problem, RowSource,
    lines::{Rows as RowTexts, Spot},
    row::{self, Format, kind},
    unfold::unfolded,
};
use crate::Result;

/// One conversation, with at least one assistant message.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// Its place, for errors: its file and line.
    pub place: String,
    /// The row's `id`, where it has one; a number is taken as its digits.
    pub id: Option<String>,
    /// The row's `domain`, where it has one.
    pub domain: Option<String>,
    /// The conversation.
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

    /// The answers, and those among them that are trained on.
    pub(super) fn answers(&self) -> (usize, usize) {
        let answers = self.conversation.messages.iter().filter(|m| m.is_answer());
        answers.fold((0, 0), |(all, trained), m| (all + 1, trained + usize::from(m.trained)))
    }
}

/// Reads the chats of a file that have something to train on. Each row is in one of the formats of [`Format`]; the file is
/// JSONL or one JSON list, perhaps packed with gzip or Zstandard.
///
/// Things seen without refusing the row are counted in `notices`.
///
/// # Errors
/// The first problem, with file and line; a file without rows, or without any to train on, is one.
pub fn read_chats_noting(source: &RowSource, notices: &mut Notices) -> Result<Vec<Chat>> {
    let place = source.place();
    let rows = parse_rows(source.open()?, &place, notices)?;
    let mut chats = Vec::with_capacity(rows.len());
    for ParsedRow { chat, .. } in rows {
        match chat.answers() {
            (_, 0) => notices.rows_left_out += 1,
            (all, trained) => {
                notices.untrained_answers += all - trained;
                chats.push(chat);
            }
        }
    }
    if chats.is_empty() {
        return Err(Problem::NothingTrained.at(&place, None));
    }
    Ok(chats)
}

/// [`read_chats_noting`] for those who say no notices.
///
/// # Errors
/// As [`read_chats_noting`].
pub fn read_chats(source: &RowSource) -> Result<Vec<Chat>> {
    read_chats_noting(source, &mut Notices::default())
}

/// A chat, where it stands and how it was written.
pub(super) struct ParsedRow {
    pub spot: Spot,
    pub format: Format,
    pub chat: Chat,
}

/// All chats, with those that are not trained on.
pub(super) fn parse_rows(reader: impl Read, place: &Path, notices: &mut Notices) -> Result<Vec<ParsedRow>> {
    let mut texts = RowTexts::new(unfolded(reader, place)?, place)?;
    let mut rows = Vec::new();
    while let Some((spot, text)) = texts.next()? {
        let (format, mut chat) = parse(text, notices).map_err(|problem| spot.problem(place, problem))?;
        chat.place = format!("`{}`, {spot}", place.display());
        rows.push(ParsedRow { spot, format, chat });
    }
    if rows.is_empty() {
        return Err(Problem::Empty.at(place, None));
    }
    Ok(rows)
}

/// The chat of one row.
fn parse(text: &str, notices: &mut Notices) -> Result<(Format, Chat), row::Problem> {
    // Parsed as plain JSON first: the parser's own messages about a wrong type would quote the row.
    let row: Value =
        json::from_str(text).map_err(|e| row::Problem::NotJson { reason: reason(&e), column: e.column() })?;
    let Value::Object(row) = row else {
        let (what, found) = ("the row".into(), kind(&row));
        return Err(row::Problem::Kind { what, expected: "an object", found });
    };
    let found = row::read(&row, notices)?;
    let chat = Chat {
        place: String::new(),
        id: match row.get("id") {
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => optional_text(&row, "id")?,
        },
        domain: optional_text(&row, "domain")?,
        conversation: found.conversation,
    };
    if chat.answers().0 == 0 {
        return Err(row::Problem::NoAssistant);
    }
    Ok((found.format, chat))
}

/// The text under a key that may be absent or null.
pub(super) fn optional_text(row: &Map<String, Value>, key: &str) -> Result<Option<String>, row::Problem> {
    match row.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => {
            let what = format!("`{key}` of the row");
            Err(row::Problem::Kind { what, expected: "text", found: kind(other) })
        }
    }
}

/// The parser's message without its own account of the place.
pub(super) fn reason(error: &serde_json::Error) -> String {
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
        let rows = parse_rows(text.as_bytes(), Path::new("f"), &mut Notices::default());
        Ok(rows.map_err(|e| e.to_string())?.into_iter().map(|row| row.chat).collect())
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
        for rows in [format!("{first}\n{second}"), format!("[{first}, {second}]")] {
            let chats = read(&rows).unwrap();
            assert_eq!(chats.len(), 2);
            assert_eq!(chats[0].id.as_deref(), Some("7"));
            assert_eq!(chats[0].domain.as_deref(), Some("food"));
            assert_eq!(chats[0].prompt().len(), 2);
            assert_eq!(chats[0].answer(), "a");
            assert_eq!((chats[1].id.as_ref(), chats[1].prompt().len()), (None, 0));
            assert_eq!(chats[1].answer(), "x");
        }
    }

    #[test]
    fn each_malformation_has_its_message() {
        check("", "`f`: there are no rows");
        check("\n \r\n", "`f`: there are no rows");
        check("\n[]", "`f`: there are no rows");
        check("{\"messages\":", "`f`, line 1: not JSON: EOF while parsing a value at column 12");
        check("\n3", "`f`, line 2: the row is a number, not an object");
        check("\n[[]]", "`f`, line 2: row 1 of the list: the row is an array, not an object");
        check(
            "{}",
            "`f`, line 1: the row has no `messages`, nor the keys of another format that is read, but none",
        );
        check(r#"{"messages":"hi"}"#, "`f`, line 1: `messages` is text, not an array");
        check(r#"{"messages":[]}"#, "`f`, line 1: the row has no assistant message");
        check(r#"{"messages":[1]}"#, "`f`, line 1: message 1 is a number, not an object");
        check(r#"{"messages":[{"content":"x"}]}"#, "`f`, line 1: message 1 has no `role`");
        check(
            r#"{"messages":[{"role":"critic","content":"x"}]}"#,
            "`f`, line 1: message 1 has the role `critic`, which is none of `system`, `user`, `assistant`, `tool` and \
             `developer`",
        );
        check(
            r#"{"messages":[{"role":"user","content":["x"]}]}"#,
            "`f`, line 1: a part of the content of message 1 is text, not an object",
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
        check(
            r#"{"messages":[{"role":"assistant","content":"x"}],"id":1,"id":2}"#,
            "`f`, line 1: not JSON: the key \"id\" stands twice in one object at column 60",
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
