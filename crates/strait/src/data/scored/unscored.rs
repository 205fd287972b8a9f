//! Answers that are to be judged.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{TEXTS, locate, object, parquet, problem_of, texts_of};
use crate::{
    Result,
    data::{Problem, RowSource, lines::Lines, unfold::unfolded},
};

/// An answer that is to be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct UnscoredAnswer {
    /// The question.
    pub question: String,
    /// The model's answer.
    pub response: String,
    /// All that its row holds.
    pub row: Map<String, Value>,
}

/// Reads answers that are to be judged: CSV with the columns `response`, `question` and `question_id`, or, where the file is named
/// `.jsonl`, JSON lines with these keys, as `strait sample` writes them, or Parquet. Cells of CSV stay texts.
///
/// # Errors
/// The first problem, with file and line; a file without answers is one.
pub fn read_answers(source: &RowSource) -> Result<Vec<UnscoredAnswer>> {
    let place = source.place();
    let answer = |row: Map<String, Value>| {
        let [response, question, _] = texts_of(&row)?;
        Ok(UnscoredAnswer { question, response, row })
    };
    let mut answers = Vec::new();
    if let Some(rows) = parquet(source)? {
        for (row, line) in rows.into_iter().zip(1..) {
            answers.push(answer(row).map_err(|problem| Problem::Row(problem).at(&place, line))?);
        }
        return if answers.is_empty() { Err(Problem::Empty.at(&place, None)) } else { Ok(answers) };
    }
    let reader = unfolded(source.open()?, &place)?;
    if place.extension().is_some_and(|extension| extension == "jsonl") {
        let mut lines = Lines::new(reader, &place);
        while let Some((line, text)) = lines.next()? {
            let row = object(text).and_then(answer);
            answers.push(row.map_err(|problem| Problem::Row(problem).at(&place, line))?);
        }
    } else {
        let mut csv = csv::Reader::from_reader(reader);
        let header = csv.headers().map_err(|e| problem_of(e, &place))?.clone();
        let columns = TEXTS.iter().map(|column| locate(&header, column)).collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(|problem| problem.at(&place, 1))?;
        // All columns go into the new file, where a name stands once.
        let mut names = HashSet::new();
        if let Some(twice) = header.iter().map(str::trim).find(|name| !names.insert(*name)) {
            return Err(Problem::TwoColumns { column: twice.into() }.at(&place, 1));
        }
        for record in csv.records() {
            let record = record.map_err(|e| problem_of(e, &place))?;
            let cells = header.iter().zip(&record).map(|(name, cell)| (name.trim().to_string(), cell.into()));
            let [response, question] = [columns[0], columns[1]].map(|column| record[column].to_string());
            answers.push(UnscoredAnswer { question, response, row: cells.collect() });
        }
    }
    if answers.is_empty() {
        return Err(Problem::Empty.at(&place, None));
    }
    Ok(answers)
}
