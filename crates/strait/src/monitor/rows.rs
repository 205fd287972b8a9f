//! Responses from files.

use std::io::Read;

use strait_model::{Message, Model, Role, progress::Progress};

use super::Problem;
use crate::{
    Result,
    data::{Chat, Notices, RowSource, UnscoredAnswer, read_answers, read_chats_noting},
    objective::Row,
};

/// A response that is read: a row with its name and its group.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The tokens.
    pub row: Row,
    /// The row's name in its file, where it has one; of answers to a file of questions the question's.
    pub id: Option<String>,
    /// The row's domain, or the name of its file without what follows the first dot.
    pub group: String,
}

/// Reads the responses of a file: chat rows, answers as `strait sample` and the papers write them (JSON lines, CSV, Parquet), or a
/// plain text (`.txt`), of which every token but the first is read.
///
/// # Errors
/// If the file cannot be read or has no rows, or one does not fit the model.
pub fn read_rows(
    model: &Model,
    source: &RowSource,
    notices: &mut Notices,
    progress: &dyn Progress,
) -> Result<Vec<Answered>> {
    let place = source.place();
    let ends_in = |end: &str| place.extension().is_some_and(|extension| extension == end);
    let stem = place.file_name().unwrap_or_default().to_string_lossy();
    let group = stem.split('.').next().unwrap_or_default().to_string();
    if ends_in("txt") {
        return Ok(vec![Answered { row: text(model, source)?, id: None, group }]);
    }
    let chats = match ends_in("csv") || ends_in("parquet") {
        true => {
            let answers = read_answers(source)?;
            let place = |at: usize| format!("`{}`, answer {}", place.display(), at + 1);
            answers.into_iter().enumerate().map(|(at, answer)| chat(answer, place(at))).collect()
        }
        false => read_chats_noting(source, notices)?,
    };
    let rows = Row::from_chats(model, &chats, progress)?;
    let answered = |(chat, row): (Chat, Row)| Answered {
        row,
        id: chat.id,
        group: chat.domain.unwrap_or_else(|| group.clone()),
    };
    Ok(chats.into_iter().zip(rows).map(answered).collect())
}

/// The tokens of some responses.
pub fn of_rows(answered: &[Answered]) -> Vec<Row> {
    answered.iter().map(|answered| answered.row.clone()).collect()
}

fn chat(answer: UnscoredAnswer, place: String) -> Chat {
    let id = answer.row.get("question_id").and_then(|id| id.as_str()).map(str::to_string);
    let messages =
        vec![Message::new(Role::User, answer.question), Message::new(Role::Assistant, answer.response)];
    Chat { place, id, domain: None, conversation: messages.into() }
}

fn text(model: &Model, source: &RowSource) -> Result<Row> {
    let place = source.place();
    let mut bytes = Vec::new();
    source.open()?.read_to_end(&mut bytes).map_err(strait_model::Error::io(&place, "read the file"))?;
    let text = String::from_utf8(bytes).map_err(|_| Problem::NotUtf8.at(&place))?;
    let mut row = Row::of_text(model, &text, usize::MAX)?;
    if row.ids.len() < 2 {
        return Err(Problem::EmptyText.at(&place));
    }
    row.responses.push(1..row.ids.len());
    Ok(row)
}
