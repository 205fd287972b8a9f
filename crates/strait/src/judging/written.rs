//! The file of judged answers: JSON lines, CSV or Parquet, by its name.

use std::{
    io::{self, Write},
    path::Path,
};

use serde_json::{Map, Value, json};
use strait_model::files::write_atomically;

use super::{Column, origin};
use crate::{Result, Table, data::UnscoredAnswer, judge::Score};

/// Writes answers with their scores and where they come from.
pub fn write(
    out: &Path,
    source: &Path,
    answers: Vec<UnscoredAnswer>,
    columns: &[Column<'_>],
    scores: &[Vec<Score>],
) -> Result<()> {
    let origin = origin::of(source);
    let rows = answers.into_iter().enumerate().map(|(at, answer)| {
        let mut row = answer.row;
        for (key, value) in &origin {
            row.entry(key.as_str()).or_insert_with(|| value.clone());
        }
        for (Column { name, judge }, scores) in columns.iter().zip(scores) {
            row.insert((*name).into(), scores[at].map_or(Value::Null, |score| json!(score)));
            row.insert(format!("{name}_reason"), scores[at].err().map_or("", |reason| reason.name()).into());
            row.insert(format!("{name}_judge"), judge.name().into());
        }
        row
    });
    let rows: Vec<Map<String, Value>> = rows.collect();
    match out.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => table(&rows).write_parquet(out),
        Some("csv") => table(&rows).write_csv(out),
        _ => Ok(write_atomically(out, |file| write_jsonl(file, &rows))?),
    }
}

fn table(rows: &[Map<String, Value>]) -> Table {
    Table::of_objects("answers", "An answer with its scores", rows)
}

/// A row without a reason has no key for it.
fn write_jsonl(file: &mut dyn Write, rows: &[Map<String, Value>]) -> io::Result<()> {
    for row in rows {
        let mut row = row.clone();
        row.retain(|key, value| !(key.ends_with("_reason") && value == ""));
        serde_json::to_writer(&mut *file, &row)?;
        file.write_all(b"\n")?;
    }
    Ok(())
}
