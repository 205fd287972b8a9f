//! Questions to be answered: rows of chats whose last answer is left out, rows that have none, or lines of plain text.

use std::{io::Read, path::Path};

use serde_json::Value;
use strait_model::{Conversation, Message, Role, json};

use super::{
    Notices, Problem, RowSource,
    chat::{optional_text, reason},
    lines::{Lines, Rows},
    row::{self, kind},
    unfold::unfolded,
};
use crate::Result;

/// A question to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Its place, for errors: its file and line.
    pub place: String,
    /// The row's `question_id` or `id`, where it has one.
    pub id: Option<String>,
    /// All that is said before the answer.
    pub conversation: Conversation,
}

impl Prompt {
    /// The words of the last message.
    pub fn question(&self) -> String {
        self.conversation.messages.last().map_or_else(String::new, |message| message.text().into_owned())
    }

    /// The same question after these instructions, unless it brings its own.
    #[must_use]
    pub fn after_system(mut self, system: &str) -> Self {
        let messages = &mut self.conversation.messages;
        if messages.first().is_none_or(|first| first.role() != Role::System) {
            messages.insert(0, Message::new(Role::System, system));
        }
        self
    }
}

/// Reads the questions of a file, which is one of rows as [`read_chats`](super::read_chats) takes them, whose answers may be
/// missing. Where a row ends with an answer, it is asked for anew. A file named `.txt` has a question a line.
///
/// # Errors
/// The first problem, with file and line; a file without questions is one.
pub fn read_prompts(source: &RowSource, notices: &mut Notices) -> Result<Vec<Prompt>> {
    let place = source.place();
    let reader = unfolded(source.open()?, &place)?;
    let prompts = match place.extension().is_some_and(|extension| extension == "txt") {
        true => of_lines(reader, &place)?,
        false => of_rows(reader, &place, notices)?,
    };
    if prompts.is_empty() {
        return Err(Problem::Empty.at(&place, None));
    }
    Ok(prompts)
}

fn of_lines(reader: impl Read, place: &Path) -> Result<Vec<Prompt>> {
    let mut lines = Lines::new(reader, place);
    let mut prompts = Vec::new();
    while let Some((line, text)) = lines.next()? {
        let messages = vec![Message::new(Role::User, text.trim())];
        prompts.push(Prompt {
            place: format!("`{}`, line {line}", place.display()),
            id: None,
            conversation: Conversation { messages, tools: None },
        });
    }
    Ok(prompts)
}

fn of_rows(reader: impl Read, place: &Path, notices: &mut Notices) -> Result<Vec<Prompt>> {
    let mut rows = Rows::new(reader, place)?;
    let mut prompts = Vec::new();
    while let Some((spot, text)) = rows.next()? {
        let mut prompt = parse(text, notices).map_err(|problem| spot.problem(place, problem))?;
        prompt.place = format!("`{}`, {spot}", place.display());
        prompts.push(prompt);
    }
    Ok(prompts)
}

fn parse(text: &str, notices: &mut Notices) -> Result<Prompt, row::Problem> {
    let row: Value =
        json::from_str(text).map_err(|e| row::Problem::NotJson { reason: reason(&e), column: e.column() })?;
    let Value::Object(row) = row else {
        let (what, found) = ("the row".into(), kind(&row));
        return Err(row::Problem::Kind { what, expected: "an object", found });
    };
    let mut conversation = row::read_prompt(&row, notices)?.conversation;
    while conversation.messages.last().is_some_and(Message::is_answer) {
        conversation.messages.pop();
    }
    if conversation.messages.iter().all(|message| message.role() == Role::System) {
        return Err(row::Problem::NoQuestion);
    }
    let id = ["question_id", "id"].into_iter().map(|key| match row.get(key) {
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        _ => optional_text(&row, key),
    });
    let id = id.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().next();
    Ok(Prompt { place: String::new(), id, conversation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<(Option<String>, String)>, String> {
        let source = RowSource::Lines { name: name.into(), text: text.into() };
        let prompts = read_prompts(&source, &mut Notices::default()).map_err(|error| error.to_string())?;
        let said = |prompt: Prompt| {
            let turns = prompt.conversation.messages.iter();
            let turns: Vec<String> = turns.map(|turn| format!("{}: {}", turn.role(), turn.text())).collect();
            (prompt.id, turns.join("; "))
        };
        Ok(prompts.into_iter().map(said).collect())
    }

    #[track_caller]
    fn asks(row: &str, id: Option<&str>, expected: &str) {
        assert_eq!(read("f", row).unwrap(), [(id.map(str::to_string), expected.to_string())]);
    }

    #[test]
    fn answers_may_be_missing_and_are_left_out() {
        asks(r#"{"question": "Why?"}"#, None, "user: Why?");
        asks(r#"{"prompt": "Why?", "id": 7}"#, Some("7"), "user: Why?");
        asks(
            r#"{"question": "Why?", "answer": "So.", "question_id": "a", "id": "b"}"#,
            Some("a"),
            "user: Why?",
        );
        asks(
            r#"{"instruction": "Add.", "input": "1 2", "system": "Be kind."}"#,
            None,
            "system: Be kind.; user: Add.\n1 2",
        );
        asks(r#"{"prompt": [{"role": "user", "content": "Why?"}]}"#, None, "user: Why?");
        asks(
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}"#,
            None,
            "user: a; assistant: b; user: c",
        );
        asks(
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#,
            None,
            "user: a",
        );
    }

    #[test]
    fn a_text_has_a_question_a_line() {
        let expected = ["user: Why?", "user: How?"].map(|text| (None, text.to_string()));
        assert_eq!(read("q.txt", "Why?\n\n  How? \r\n").unwrap(), expected);
    }

    #[test]
    fn what_asks_nothing_is_refused() {
        assert_eq!(read("f", "").unwrap_err(), "`f`: there are no rows");
        assert_eq!(
            read("f", r#"{"messages": [{"role": "assistant", "content": "b"}]}"#).unwrap_err(),
            "`f`, line 1: the row has no question"
        );
        assert!(read("f", r#"{"colour": "red"}"#).unwrap_err().contains("the row has no `messages`"));
        assert!(read("f", "id: 3\n").unwrap_err().contains("not JSON"));
    }
}
