//! Passages of plain text, as pre-training text has them.

use std::path::Path;

use serde_json::Value;
use strait_model::{files::open_real, json};

use super::{
    Problem, RowSource, column,
    lines::{Lines, MAX_LINE, Rows},
    taken::Taken,
    unfold::unfolded,
};
use crate::Result;

pub use super::taken::{MAX_TEXT, Passage};

/// The column or key that holds the text.
const TEXT: &str = "text";

/// Reads the first `most` passages of a file, and no more of them once they have [`MAX_TEXT`] bytes: of `.txt` its
/// paragraphs, which blank lines part; of `.jsonl` the `text` of each line; of `.parquet` the column `text`, however
/// compressed. Text and lines may be packed, as `.txt.gz` or `.jsonl.zst`.
///
/// # Errors
/// If the file cannot be read, has another ending, or has no passages; or the first passage that has no text or is not
/// UTF-8, with its line.
pub fn read_passages(path: &Path, most: usize) -> Result<Vec<Passage>> {
    let mut taken = Taken::of(path, most);
    match ending(path).as_str() {
        "txt" => paragraphs(&mut taken)?,
        "jsonl" | "json" => json_rows(&mut taken)?,
        "parquet" => {
            let file = open_real(path, &[])?;
            column::read(&file, TEXT, &mut taken).map_err(|problem| problem.at(path, None))?;
        }
        _ => return Err(Problem::NotOfPassages.at(path, None)),
    }
    if taken.passages.is_empty() {
        return Err(Problem::Empty.at(path, None));
    }
    Ok(taken.passages)
}

/// The ending of a file's name that tells its format: the one before `.gz` and the like.
fn ending(path: &Path) -> String {
    let of = |path: &Path| path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match of(path).as_str() {
        "gz" | "zst" | "zstd" => of(Path::new(path.file_stem().unwrap_or_default())),
        ending => ending.into(),
    }
}

fn paragraphs(taken: &mut Taken) -> Result<()> {
    let path = taken.path;
    let mut lines = Lines::new(unfolded(RowSource::File(path.into()).open()?, path)?, path);
    // The paragraph that is being read: its first line, its last so far, and its text.
    let mut open: Option<(u64, u64, String)> = None;
    while !taken.is_full() {
        let line = lines.next()?;
        match (&mut open, line) {
            // Blank lines are skipped, so a gap in the numbers is where one stood.
            (Some((first, last, text)), Some((number, line))) if *last + 1 == number => {
                if (text.len() + line.len()) as u64 > MAX_LINE {
                    let why = format!("the paragraph is longer than {MAX_LINE} bytes");
                    return Err(Problem::NoPassage { why }.at(path, *first));
                }
                *last = number;
                text.push('\n');
                text.push_str(line);
            }
            (_, line) => {
                let next = line.map(|(number, line)| (number, number, line.to_string()));
                let ended = next.is_none();
                if let Some((first, _, text)) = std::mem::replace(&mut open, next) {
                    taken.take(format!("line {first}"), text);
                }
                if ended {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn json_rows(taken: &mut Taken) -> Result<()> {
    let path = taken.path;
    let mut rows = Rows::new(unfolded(RowSource::File(path.into()).open()?, path)?, path)?;
    while !taken.is_full()
        && let Some((spot, row)) = rows.next()?
    {
        let text = text_of(row).map_err(|problem| problem.at(path, spot.line))?;
        taken.take(spot.to_string(), text);
    }
    Ok(())
}

/// The text of one row of JSON.
fn text_of(row: &str) -> Result<String, Problem> {
    let row: Value = json::from_str(row)
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
