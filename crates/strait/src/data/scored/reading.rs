//! The cells of judged answers: which columns are scales, and what stands beside them.

use std::path::Path;

use serde_json::{Map, Value};

use super::{BESIDE, FACTOR, SAMPLE, SCALES, Scored, ScoredAnswer, is_taken, texts_of};
use crate::{
    Result,
    data::{Problem, words::listed},
};

/// A cell that may hold a score.
#[derive(Clone, Copy)]
pub enum Cell<'a> {
    Score(f64),
    /// No score was given.
    None,
    /// The judge's word in place of a score.
    Declined(&'static str),
    /// A number that no judge gives.
    OutOfRange(f64),
    Words(&'a str),
    /// A list or an object.
    Other,
}

/// The words with which judges decline, and the names of these reasons.
const DECLINED: [(&str, &str); 2] = [("CODE", "code"), ("REFUSAL", "refusal")];

pub fn cell_of(text: &str) -> Cell<'_> {
    let word = text.trim();
    if word.is_empty() {
        return Cell::None;
    }
    match word.parse::<f64>() {
        Ok(score) if score.is_nan() => Cell::None,
        Ok(score) if score.is_finite() => in_range(score),
        _ => match DECLINED.iter().find(|(said, _)| word == *said) {
            Some((_, reason)) => Cell::Declined(reason),
            None => Cell::Words(text),
        },
    }
}

fn cell_of_value(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::None,
        Value::Number(number) => number.as_f64().map_or(Cell::Other, in_range),
        Value::String(text) => cell_of(text),
        _ => Cell::Other,
    }
}

fn in_range(score: f64) -> Cell<'static> {
    if (0.0..=100.0).contains(&score) { Cell::Score(score) } else { Cell::OutOfRange(score) }
}

/// The answers as far as they are read, and the columns that may be scales.
#[derive(Default)]
pub struct Reading {
    answers: Vec<ScoredAnswer>,
    columns: Vec<Column>,
    /// The names of all columns.
    names: Vec<String>,
    /// Words beside scales: the place of an answer, the column, and its words.
    beside: Vec<(usize, String, String)>,
}

struct Column {
    name: String,
    is_scale: bool,
    /// Of the answers up to the last that has one: the score, or the judge's word in its place.
    scores: Vec<Result<f64, Option<&'static str>>>,
}

impl Reading {
    pub fn begin(&mut self, [response, question, question_id]: [String; 3]) {
        self.answers.push(ScoredAnswer { response, question, question_id, ..ScoredAnswer::default() });
    }

    /// Takes a whole row.
    pub fn take(&mut self, row: &Map<String, Value>, place: &Path, line: u64) -> Result<()> {
        self.begin(texts_of(row).map_err(|problem| Problem::Row(problem).at(place, line))?);
        for (key, value) in row {
            self.put(key, cell_of_value(value)).map_err(|problem| problem.at(place, line))?;
        }
        Ok(())
    }

    /// Takes a cell of the last answer.
    pub fn put(&mut self, name: &str, cell: Cell<'_>) -> Result<(), Problem> {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.into());
        }
        if is_taken(name) {
            self.put_beside(name, cell);
            return Ok(());
        }
        let at = self.columns.iter().position(|column| column.name == name).unwrap_or_else(|| {
            self.columns.push(Column { name: name.into(), is_scale: true, scores: Vec::new() });
            self.columns.len() - 1
        });
        let column = &mut self.columns[at];
        if column.scores.len() == self.answers.len() {
            // A second column of this name: which is meant cannot be known.
            column.is_scale = false;
            return Ok(());
        }
        let score = match cell {
            Cell::Score(score) => Ok(score),
            Cell::None => Err(None),
            Cell::Declined(reason) => Err(Some(reason)),
            Cell::OutOfRange(found) if SCALES.contains(&name) => {
                return Err(Problem::ScoreOutOfRange { column: name.into(), found });
            }
            Cell::Words(_) | Cell::Other if SCALES.contains(&name) => {
                return Err(Problem::NotAScore { column: name.into() });
            }
            Cell::OutOfRange(_) | Cell::Words(_) | Cell::Other => {
                column.is_scale = false;
                Err(None)
            }
        };
        column.scores.resize(self.answers.len() - 1, Err(None));
        column.scores.push(score);
        Ok(())
    }

    /// Takes a cell that is no score.
    fn put_beside(&mut self, name: &str, cell: Cell<'_>) {
        let at = self.answers.len().saturating_sub(1);
        let Some(answer) = self.answers.last_mut() else { return };
        match (name, cell) {
            (FACTOR, Cell::Score(factor) | Cell::OutOfRange(factor)) => answer.factor = Some(factor),
            (SAMPLE, Cell::Score(sample) | Cell::OutOfRange(sample)) if sample >= 0.0 => {
                answer.sample = Some(sample as usize);
            }
            ("model", Cell::Words(words)) => answer.model = words.into(),
            ("edit", Cell::Words(words)) => answer.edit = words.into(),
            ("cue", Cell::Words(words)) => answer.cue = words.into(),
            (_, Cell::Words(words)) if BESIDE.iter().any(|end| name.ends_with(end)) => {
                self.beside.push((at, name.into(), words.into()));
            }
            _ => {}
        }
    }

    pub fn finish(self, place: &Path) -> Result<Scored> {
        let Self { mut answers, mut columns, names, beside } = self;
        if answers.is_empty() {
            return Err(Problem::Empty.at(place, None));
        }
        let holds_scores = |column: &Column| column.scores.iter().any(Result::is_ok);
        columns.retain(|column| {
            column.is_scale && (holds_scores(column) || SCALES.contains(&column.name.as_str()))
        });
        if columns.is_empty() {
            return Err(Problem::NoScores { found: listed(names.iter().map(String::as_str)) }.at(place, None));
        }
        for (row, answer) in answers.iter_mut().enumerate() {
            let cells = || columns.iter().map(|column| column.scores.get(row).copied().unwrap_or(Err(None)));
            answer.scores = cells().map(Result::ok).collect();
            answer.reasons = cells().map(|cell| cell.err().flatten().map(str::to_string)).collect();
        }
        let mut judges = vec![Vec::new(); columns.len()];
        for (row, name, words) in beside {
            let of = |end: &str| {
                let scale = name.strip_suffix(end)?;
                columns.iter().position(|column| column.name == scale)
            };
            if let Some(at) = of("_reason") {
                answers[row].reasons[at].get_or_insert(words);
            } else if let Some(at) = of("_judge")
                && !judges[at].contains(&words)
            {
                judges[at].push(words);
            }
        }
        Ok(Scored { scales: columns.into_iter().map(|column| column.name).collect(), judges, answers })
    }
}
