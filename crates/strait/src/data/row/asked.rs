//! Rows of one question and its answer under two keys, perhaps after a history: Alpaca, prompt and completion, and the like.

use serde_json::{Map, Value};
use strait_model::{Message, Role};

use super::{Format, Problem, Reading, given, problem::kind_of, turns};

/// The keys of a question that has no answer yet.
const QUESTIONS: [&str; 5] = ["prompt", "question", "query", "instruction", "input"];

/// The keys of a question and of its answer.
const ASKED: [(&str, &str); 8] = [
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("input", "output"),
];

/// Adds the ways in which a row is one question and its answer.
pub(super) fn read(row: &Map<String, Value>, all: &mut Vec<Reading>) -> Result<(), Problem> {
    for (question, answer) in ASKED {
        let (Some(asked), Some(answered)) = (given(row, question), given(row, answer)) else { continue };
        // Alpaca's `input` belongs to its `instruction`.
        if question == "input" && given(row, "instruction").is_some() {
            continue;
        }
        // Beside a list of turns these are other things, such as a judge's question.
        if question != "prompt" && !all.is_empty() && !(asked.is_string() && answered.is_string()) {
            continue;
        }
        all.push(reading(row, question, answer, asked, answered)?);
    }
    Ok(())
}

/// Adds the way in which a row is a question without an answer.
pub(super) fn read_question(row: &Map<String, Value>, all: &mut Vec<Reading>) -> Result<(), Problem> {
    let found = QUESTIONS.iter().find_map(|&question| Some((question, given(row, question)?)));
    if let Some((question, asked)) = found {
        let mut used = vec![question];
        let messages = asking(row, question, asked, &mut used)?;
        all.push(Reading { format: Format::Question(question), messages, used });
    }
    Ok(())
}

fn reading(
    row: &Map<String, Value>,
    question: &'static str,
    answer: &'static str,
    asked: &Value,
    answered: &Value,
) -> Result<Reading, Problem> {
    if let Some(Value::Bool(_)) = given(row, "label") {
        return Err(Problem::Labelled { answer });
    }
    let mut used = vec![question, answer];
    let mut messages = asking(row, question, asked, &mut used)?;
    match answered {
        Value::String(text) if text.trim().is_empty() => return Err(Problem::EmptyText { key: answer }),
        Value::String(text) => messages.push(Message::new(Role::Assistant, text)),
        Value::Array(_) => messages.extend(turns::read(answered, answer)?.1),
        other => return Err(kind_of(format!("`{answer}`"), "text or an array", other)),
    }
    let format = match (question, answer) {
        ("instruction", "output") => Format::Alpaca,
        _ => Format::Asked(question, answer),
    };
    Ok(Reading { format, messages, used })
}

/// The turns up to the question.
fn asking(
    row: &Map<String, Value>,
    question: &'static str,
    asked: &Value,
    used: &mut Vec<&'static str>,
) -> Result<Vec<Message>, Problem> {
    let mut messages = history(row, used)?;
    match asked {
        Value::String(text) => {
            let text = with_input(row, question, text, used)?;
            messages.push(Message::new(Role::User, text));
        }
        Value::Array(_) => {
            // As TRL does, what stands in the prompt is not trained on.
            let mut before = turns::read(asked, question)?.1;
            before.iter_mut().for_each(|message| message.trained = false);
            messages.extend(before);
        }
        other => return Err(kind_of(format!("`{question}`"), "text or an array", other)),
    }
    Ok(messages)
}

/// The question with Alpaca's `input`, a line below.
fn with_input(
    row: &Map<String, Value>,
    question: &str,
    text: &str,
    used: &mut Vec<&'static str>,
) -> Result<String, Problem> {
    let filled = |key| match given(row, key) {
        Some(Value::String(more)) if more.trim().is_empty() => None,
        other => other,
    };
    if filled("context").is_some() {
        return Err(Problem::Context { key: "context" });
    }
    match filled("input") {
        Some(Value::String(more)) if question == "instruction" => {
            used.push("input");
            Ok(if text.is_empty() { more.clone() } else { format!("{text}\n{more}") })
        }
        Some(other) if question == "instruction" => Err(kind_of("`input`", "text", other)),
        Some(_) if question != "input" => Err(Problem::Context { key: "input" }),
        _ => Ok(text.into()),
    }
}

/// The earlier turns: pairs of a question and an answer, which are trained on as well.
fn history(row: &Map<String, Value>, used: &mut Vec<&'static str>) -> Result<Vec<Message>, Problem> {
    let Some(history) = given(row, "history") else { return Ok(Vec::new()) };
    used.push("history");
    let rounds = history.as_array().ok_or_else(|| kind_of("`history`", "an array", history))?;
    let mut messages = Vec::new();
    for (round, number) in rounds.iter().zip(1..) {
        let texts = round.as_array().map(|texts| texts.iter().map(Value::as_str).collect::<Vec<_>>());
        let Some([Some(asked), Some(answered)]) = texts.as_deref() else {
            return Err(Problem::History { round: number });
        };
        messages.push(Message::new(Role::User, *asked));
        messages.push(Message::new(Role::Assistant, *answered));
    }
    Ok(messages)
}
