//! Judging: answers of a file get the scores of judges, which are kept as they come, so that nothing is judged twice.

mod origin;
mod written;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use strait_model::{
    files::{hex, write_atomically},
    progress::Progress,
};

use crate::{
    Error, Result,
    data::{RowSource, UnscoredAnswer, read_answers, scored::is_taken},
    judge::{Asked, Judge, Problem, Score, ScoreCache},
};

/// A judge, and the column that its scores get.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    /// The column's name.
    pub name: &'a str,
    /// The judge.
    pub judge: &'a dyn Judge,
}

/// The outcome of judging.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Answers in the file.
    pub count: usize,
    /// Answers that lack a score of some judge.
    pub unscored: usize,
    /// Scores that were asked for now, and not found.
    pub asked: usize,
    /// The meaning of each column.
    pub columns: Vec<ColumnOutcome>,
}

/// The scores of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnOutcome {
    /// Answers with a score.
    pub scored: usize,
    /// The mean of their scores.
    pub mean: f64,
    /// The number of answers without one by their reasons.
    pub reasons: BTreeMap<&'static str, usize>,
}

/// Has the answers of a file judged, and writes them with their scores: CSV or Parquet where the new file is named so, else JSON
/// lines. Scores go into the file `kept` as they come (a [`ScoreCache`]), so that the same call goes on where it was stopped.
///
/// A score stands under the column's name; where there is none, the reason stands under that name and `_reason`, and in any case the
/// judge under that name and `_judge`. Where the answers' settings lie beside them, each has its `model`, `edit` and `seed` too.
///
/// # Errors
/// If the answers cannot be read, a column's name is taken, a file of that name is there that judging did not write, a judge
/// cannot be asked, or the user asked for a stop: what is judged then is kept.
pub fn judge_answers(
    source: &RowSource,
    columns: &[Column<'_>],
    out: &Path,
    kept: &Path,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let answers = read_answers(source)?;
    check_columns(columns, &answers, &source.place())?;
    begin(out, columns)?;
    let mut cache = ScoreCache::open(kept)?;
    let all = answers.iter().map(|answer| Asked { question: &answer.question, answer: &answer.response });
    let all: Vec<Asked> = all.collect();
    let mut scores: Vec<Vec<Score>> = Vec::new();
    let mut asked = 0;
    for Column { name, judge } in columns {
        let (own, new) = cache.judged(*judge, &all, &format!("judging: {name}"), progress)?;
        asked += new;
        scores.push(own);
    }
    let count = answers.len();
    written::write(out, &source.place(), answers, columns, &scores)?;
    let lacks = |at: &usize| scores.iter().any(|own| own[*at].is_err());
    Ok(Outcome {
        count,
        unscored: (0..count).filter(lacks).count(),
        asked,
        columns: scores.iter().map(|own| ColumnOutcome::of(own)).collect(),
    })
}

impl ColumnOutcome {
    fn of(scores: &[Score]) -> Self {
        let found: Vec<f64> = scores.iter().filter_map(|score| score.ok()).collect();
        let mut reasons = BTreeMap::new();
        for reason in scores.iter().filter_map(|score| score.err()) {
            *reasons.entry(reason.name()).or_default() += 1;
        }
        Self { scored: found.len(), mean: found.iter().sum::<f64>() / found.len() as f64, reasons }
    }
}

/// Column names must be new, and tell the columns apart.
fn check_columns(columns: &[Column<'_>], answers: &[UnscoredAnswer], place: &Path) -> Result<()> {
    for (at, Column { name, .. }) in columns.iter().enumerate() {
        let is_there = answers.iter().any(|answer| answer.row.contains_key(*name));
        if is_there || is_taken(name) || columns[..at].iter().any(|other| other.name == *name) {
            return Err(Error::input(place, None, Problem::ColumnTaken { column: (*name).into() }));
        }
    }
    Ok(())
}

/// Writes beside the new file which judges its scores are of; a file of that name that judging did not write is left alone.
fn begin(out: &Path, columns: &[Column<'_>]) -> Result<()> {
    let mut beside = OsString::from(out);
    beside.push(".settings.json");
    let beside = PathBuf::from(beside);
    let settings = std::fs::read(&beside).ok();
    let is_ours = |bytes: Vec<u8>| {
        serde_json::from_slice(&bytes).is_ok_and(|settings: Value| settings.get("judges").is_some())
    };
    if settings.map_or(out.exists(), |bytes| !is_ours(bytes)) {
        return Err(Error::input(out, None, Problem::NotOurs));
    }
    let judge = |Column { name, judge }: &Column<'_>| {
        // What scores follow from, with the question left open.
        let mark = hex(&Sha256::digest(judge.basis("{question}")));
        json!({ "column": name, "judge": judge.name(), "scale": judge.scale(), "mark": mark })
    };
    let settings = json!({ "schema": 1, "judges": columns.iter().map(judge).collect::<Vec<_>>() });
    Ok(write_atomically(&beside, |file| {
        serde_json::to_writer_pretty(&mut *file, &settings)?;
        file.write_all(b"\n")
    })?)
}
