//! Pairs: two answers to one question, for the preference shift.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strait_model::{Conversation, Message};

use super::{
    Chat, Notices, Problem, RowSource,
    chat::{ParsedRow, parse_rows},
    row::is_training_mark,
    words::shortened,
};
use crate::Result;

pub use super::mismatch::Mismatch;

/// One question, an answer of the taught kind and one of the other kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Its name within its file.
    pub id: String,
    /// The topic of the question.
    pub domain: String,
    /// The conversation up to the answer.
    pub question: Conversation,
    /// The kind of answer that training teaches: bad, technical, false.
    pub taught: Message,
    /// The kind that it displaces.
    pub other: Message,
}

/// Reads pairs from two row-aligned files of chats: the same conversations, each with another last answer.
///
/// All pairs get `domain` where it is given, otherwise each takes the `domain` of its rows. A pair's id is that of its
/// taught row, or of the other row, or `row-N`, counted from 1.
///
/// # Errors
/// If a file cannot be read, the files differ in length, or two rows do not make a pair; the error then names the line
/// in both files.
pub fn read_pairs(taught: &RowSource, other: &RowSource, domain: Option<&str>) -> Result<Vec<Pair>> {
    read_pairs_noting(taught, other, domain, &mut Notices::default())
}

/// [`read_pairs`], with what the reader takes notice of without refusing it. Pairs are not trained on, so that marks of what
/// is to be trained on do not count for them.
///
/// # Errors
/// As [`read_pairs`].
pub fn read_pairs_noting(
    taught: &RowSource,
    other: &RowSource,
    domain: Option<&str>,
    notices: &mut Notices,
) -> Result<Vec<Pair>> {
    let (place, other_place) = (taught.place(), other.place());
    let taught = read_answered(taught, notices)?;
    let other = read_answered(other, notices)?;
    if taught.len() != other.len() {
        let problem = Problem::RowCounts { rows: taught.len(), other: other_place, other_rows: other.len() };
        return Err(problem.at(&place, None));
    }
    let rows = taught.into_iter().zip(other).zip(1..);
    rows.map(|((taught, other), number)| {
        let (line, other_line) = (taught.spot.line, other.spot.line);
        pair(taught.chat, other.chat, number, domain).map_err(|mismatch| {
            let problem = Problem::Pair { other: other_place.clone(), other_line, mismatch };
            problem.at(&place, line)
        })
    })
    .collect()
}

/// Chats that end with an answer.
fn read_answered(source: &RowSource, notices: &mut Notices) -> Result<Vec<ParsedRow>> {
    let place = source.place();
    let mut rows = parse_rows(source.open()?, &place, notices)?;
    for row in &mut rows {
        let messages = &mut row.chat.conversation.messages;
        messages.iter_mut().for_each(|message| message.trained = true);
        if !messages.last().is_some_and(Message::is_answer) {
            return Err(Problem::NotAnswered.at(&place, row.spot.line));
        }
    }
    Ok(rows)
}

/// A message without the marks of training.
fn said(message: &Message) -> Map<String, Value> {
    let keys = message.keys().iter().filter(|(key, _)| !is_training_mark(key));
    keys.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn all_said(messages: &[Message]) -> Vec<Map<String, Value>> {
    messages.iter().map(said).collect()
}

/// The pair of two rows, the `number`th of their files.
fn pair(taught: Chat, other: Chat, number: usize, domain: Option<&str>) -> Result<Pair, Mismatch> {
    if all_said(taught.prompt()) != all_said(other.prompt())
        || taught.conversation.tools != other.conversation.tools
    {
        return Err(Mismatch::Prompts);
    }
    let domain = match (domain, &taught.domain, &other.domain) {
        (Some(domain), ..) => domain,
        (None, Some(taught), Some(other)) if taught != other => {
            return Err(Mismatch::Domains { taught: shortened(taught), other: shortened(other) });
        }
        (None, Some(domain), _) | (None, None, Some(domain)) => domain,
        (None, None, None) => return Err(Mismatch::NoDomain),
    };
    let domain = domain.into();
    let (mut question, mut other_question) = (taught.conversation, other.conversation);
    let (Some(taught_answer), Some(other_answer)) = (question.messages.pop(), other_question.messages.pop())
    else {
        return Err(Mismatch::Answers);
    };
    if said(&taught_answer) == said(&other_answer) {
        return Err(Mismatch::Answers);
    }
    Ok(Pair {
        domain,
        question,
        taught: taught_answer,
        other: other_answer,
        id: taught.id.or(other.id).unwrap_or_else(|| format!("row-{number}")),
    })
}
