//! Passages of plain text, as pre-training text has them.

use std::{fs::File, panic::catch_unwind, path::Path};

use parquet::{
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
    schema::types::Type,
};
use serde_json::Value;

use super::{Problem, RowSource, source::Lines};
use crate::Result;

/// The column or key that holds the text.
const TEXT: &str = "text";

/// A text that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Where it stands, for errors: its file, and its line or row.
    pub place: String,
    /// The text.
    pub text: String,
}

/// Reads the first `most` passages of a file: of `.txt` its paragraphs, which blank lines part; of `.jsonl` the `text` of
/// each line; of `.parquet` the column `text`, however compressed.
///
/// # Errors
/// If the file cannot be read, has another ending, or has no passages; or the first passage that has no text or is not
/// UTF-8, with its line.
pub fn read_passages(path: &Path, most: usize) -> Result<Vec<Passage>> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let passages = match ending.as_str() {
        "txt" => paragraphs(path, most)?,
        "jsonl" => json_lines(path, most)?,
        "parquet" => parquet_rows(path, most)?,
        _ => return Err(Problem::NotOfPassages.at(path, None)),
    };
    if passages.is_empty() {
        return Err(Problem::Empty.at(path, None));
    }
    Ok(passages)
}

fn at_line(path: &Path, line: u64) -> String {
    format!("`{}`, line {line}", path.display())
}

fn paragraphs(path: &Path, most: usize) -> Result<Vec<Passage>> {
    let mut lines = Lines::new(RowSource::File(path.into()).open()?, path);
    let mut passages: Vec<Passage> = Vec::new();
    let mut last = None;
    while let Some((number, line)) = lines.next()? {
        // Blank lines are skipped, so a gap in the numbers is where one stood.
        let full = passages.len() == most;
        match passages.last_mut() {
            Some(passage) if last == Some(number - 1) => {
                passage.text.push('\n');
                passage.text.push_str(line);
            }
            _ if full => break,
            _ => passages.push(Passage { place: at_line(path, number), text: line.into() }),
        }
        last = Some(number);
    }
    Ok(passages)
}

fn json_lines(path: &Path, most: usize) -> Result<Vec<Passage>> {
    let mut lines = Lines::new(RowSource::File(path.into()).open()?, path);
    let mut passages = Vec::new();
    while passages.len() < most
        && let Some((number, line)) = lines.next()?
    {
        let text = text_of(line).map_err(|problem| problem.at(path, number))?;
        passages.push(Passage { place: at_line(path, number), text });
    }
    Ok(passages)
}

/// The text of one line of JSON.
fn text_of(line: &str) -> Result<String, Problem> {
    let row: Value = serde_json::from_str(line)
        .map_err(|e| Problem::NoPassage { why: format!("it is not JSON from column {} on", e.column()) })?;
    match row.get(TEXT) {
        Some(Value::String(text)) if text.trim().is_empty() => {
            Err(Problem::NoPassage { why: format!("its `{TEXT}` is empty") })
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Problem::NoPassage { why: format!("its `{TEXT}` is not text") }),
        None => Err(Problem::NoPassage { why: format!("it has no `{TEXT}`") }),
    }
}

fn parquet_rows(path: &Path, most: usize) -> Result<Vec<Passage>> {
    let file = File::open(path).map_err(strait_model::Error::io(path, "open the file"))?;
    // The Parquet reader asserts some of what a damaged page header can break.
    let texts = catch_unwind(|| parquet_texts(file, most));
    let damaged = || Problem::Parquet { reason: "its pages contradict each other".into() };
    let texts = texts.unwrap_or_else(|_| Err(damaged())).map_err(|problem| problem.at(path, None))?;
    let passage = |(number, text)| Passage { place: format!("`{}`, row {number}", path.display()), text };
    Ok((1..).zip(texts).map(passage).collect())
}

fn parquet_texts(file: File, most: usize) -> Result<Vec<String>, Problem> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema();
    let Some(column) = schema.get_fields().iter().find(|field| field.name() == TEXT) else {
        let columns = schema.get_fields().iter().map(|field| field.name());
        return Err(Problem::NoColumn { column: TEXT, found: super::problem::listed(columns) });
    };
    let only = Type::group_type_builder(schema.name()).with_fields(vec![column.clone()]).build()?;
    let mut texts = Vec::new();
    for (number, row) in (1..).zip(reader.get_row_iter(Some(only))?.take(most)) {
        let bad = |why: &str| Problem::NoPassage { why: format!("row {number} {why}") };
        let text = match row?.into_columns().into_iter().next() {
            Some((_, Field::Str(text))) => text,
            Some((_, Field::Bytes(bytes))) => {
                let text = std::str::from_utf8(bytes.data());
                text.map_err(|_| bad("is not UTF-8"))?.to_string()
            }
            Some((_, Field::Null)) | None => return Err(bad("has no text")),
            Some(_) => return Err(bad("holds something else than text")),
        };
        if text.trim().is_empty() {
            return Err(bad("is empty"));
        }
        texts.push(text);
    }
    Ok(texts)
}

impl From<ParquetError> for Problem {
    fn from(error: ParquetError) -> Self {
        Self::Parquet { reason: error.to_string() }
    }
}
