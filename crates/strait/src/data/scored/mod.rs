//! Answers with scores on any scales: CSV as the papers release it, and what `strait judge` writes.

mod reading;
mod unscored;

use std::{io::Read, path::Path};

use csv::{ErrorKind, StringRecord};
use serde_json::{Map, Value};
use strait_model::json;

use super::{
    Problem, RowSource,
    chat::reason,
    lines::Lines,
    row::{self, kind, kind_of},
    unfold::unfolded,
    words::listed,
};
use crate::{Result, Table};

use reading::{Reading, cell_of};

pub use unscored::{UnscoredAnswer, read_answers};

/// The scale of agreement with human values.
pub const ALIGNED: &str = "aligned";
/// The scale of making sense.
pub const COHERENT: &str = "coherent";

/// Scales whose scores are scores, whatever their values look like: one that is no score is an error. Of other columns those are
/// scales that hold nothing but scores.
const SCALES: [&str; 6] = [ALIGNED, COHERENT, "technical", "style", "medical_advice", "bad_stuff"];

/// The columns that every answer has.
const TEXTS: [&str; 3] = ["response", "question", "question_id"];

/// The factor on the edits under which an answer was given.
const FACTOR: &str = "scale";

/// Columns of numbers that are no scores, and the one that pandas gives to the numbers of rows.
const OTHERS: [&str; 10] = ["", "row", FACTOR, SAMPLE, "tokens", "seed", "step", "index", "id", "Unnamed: 0"];

/// The number of an answer among those to its question.
const SAMPLE: &str = "sample";

/// Columns of words that say where an answer comes from.
const ORIGIN: [&str; 3] = ["model", "edit", "cue"];

/// Ends of the names of columns beside that of a scale: the reason for which there is no score, and the judge.
const BESIDE: [&str; 2] = ["_reason", "_judge"];

/// True for a name that a scale cannot have, as files of answers use it for something else.
pub fn is_taken(name: &str) -> bool {
    TEXTS.contains(&name)
        || OTHERS.contains(&name)
        || ORIGIN.contains(&name)
        || ["end", "logprobs"].contains(&name)
        || BESIDE.iter().any(|end| name.ends_with(end))
}

/// Answers with their scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The names of the scales, in the file's order.
    pub scales: Vec<String>,
    /// The judges of each scale, where the file names them.
    pub judges: Vec<Vec<String>>,
    /// The answers, in the file's order.
    pub answers: Vec<ScoredAnswer>,
}

/// An answer with its scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScoredAnswer {
    /// The model's answer.
    pub response: String,
    /// The question.
    pub question: String,
    /// The question's name.
    pub question_id: String,
    /// The factor on the edits, where the file names one.
    pub factor: Option<f64>,
    /// The model, where the file names it; empty elsewhere.
    pub model: String,
    /// The edits, likewise.
    pub edit: String,
    /// The cue under which the question was asked, likewise.
    pub cue: String,
    /// The answer's number among those to its question, where the file says so.
    pub sample: Option<usize>,
    /// The scores from 0 to 100 on all scales; none where the judge gave none.
    pub scores: Vec<Option<f64>>,
    /// The reasons for which there are none, where the file names them.
    pub reasons: Vec<Option<String>>,
}

/// Reads answers with scores: CSV with the columns `response`, `question` and `question_id` and one for each scale, or JSON lines or
/// Parquet with the same keys where the file is named so. An empty score, `null` or `nan` is no score; `CODE` and `REFUSAL` are
/// reasons for none.
///
/// # Errors
/// The first problem, with file and line; a file without answers or without scores is one.
pub fn read_scored(source: &RowSource) -> Result<Scored> {
    let place = source.place();
    if let Some(rows) = parquet(source)? {
        let mut file = Reading::default();
        rows.iter().zip(1..).try_for_each(|(row, line)| file.take(row, &place, line))?;
        return file.finish(&place);
    }
    let reader = unfolded(source.open()?, &place)?;
    match place.extension().is_some_and(|extension| extension == "jsonl") {
        true => of_jsonl(reader, &place),
        false => of_csv(reader, &place, &[]),
    }
}

/// The rows of a file of Parquet; none for another file.
fn parquet(source: &RowSource) -> Result<Option<Vec<Map<String, Value>>>> {
    match source {
        RowSource::File(path) if path.extension().is_some_and(|extension| extension == "parquet") => {
            Ok(Some(Table::read_parquet(path)?.objects()))
        }
        _ => Ok(None),
    }
}

/// As [`read_scored`], of CSV that must have some scales.
pub(super) fn of_csv(reader: impl Read, place: &Path, needed: &[&'static str]) -> Result<Scored> {
    let mut csv = csv::Reader::from_reader(reader);
    let header = csv.headers().map_err(|e| problem_of(e, place))?.clone();
    let located =
        TEXTS.iter().chain(needed).map(|column| locate(&header, column)).collect::<Result<Vec<_>, _>>();
    let located = located.map_err(|problem| problem.at(place, 1))?;
    let twice = |scale: &&str| header.iter().filter(|name| name.trim() == *scale).count() > 1;
    if let Some(column) = SCALES.into_iter().find(twice) {
        return Err(Problem::TwoColumns { column: column.into() }.at(place, 1));
    }
    let mut file = Reading::default();
    for record in csv.records() {
        let record = record.map_err(|e| problem_of(e, place))?;
        let line = record.position().map(csv::Position::line);
        // Every record has as many cells as the header: the reader refuses others.
        let text = |column: usize| record[located[column]].to_string();
        file.begin([text(0), text(1), text(2)]);
        for (name, cell) in header.iter().map(str::trim).zip(&record) {
            file.put(name, cell_of(cell)).map_err(|problem| problem.at(place, line))?;
        }
    }
    file.finish(place)
}

fn of_jsonl(reader: impl Read, place: &Path) -> Result<Scored> {
    let mut lines = Lines::new(reader, place);
    let mut file = Reading::default();
    while let Some((line, text)) = lines.next()? {
        let row = object(text).map_err(|problem| Problem::Row(problem).at(place, line))?;
        file.take(&row, place, line)?;
    }
    file.finish(place)
}

fn object(text: &str) -> Result<Map<String, Value>, row::Problem> {
    match json::from_str(text) {
        Ok(Value::Object(row)) => Ok(row),
        Ok(other) => {
            Err(row::Problem::Kind { what: "the row".into(), expected: "an object", found: kind(&other) })
        }
        Err(e) => Err(row::Problem::NotJson { reason: reason(&e), column: e.column() }),
    }
}

/// The texts that every answer has.
fn texts_of(row: &Map<String, Value>) -> Result<[String; TEXTS.len()], row::Problem> {
    let mut texts = [const { String::new() }; TEXTS.len()];
    for (text, key) in texts.iter_mut().zip(TEXTS) {
        *text = match row.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => return Err(kind_of(format!("`{key}`"), "text", other)),
            None => return Err(row::Problem::NoKey { what: "the row".into(), key }),
        };
    }
    Ok(texts)
}

/// The place of a column that must be there.
fn locate(header: &StringRecord, column: &'static str) -> Result<usize, Problem> {
    let mut found = header.iter().enumerate().filter(|&(_, name)| name.trim() == column);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (Some(_), Some(_)) => Err(Problem::TwoColumns { column: column.into() }),
        (None, _) => Err(match header.get(0) {
            None => Problem::Empty,
            Some(all) if header.len() == 1 && all.contains(';') => Problem::Separator { found: "semicolons" },
            Some(all) if header.len() == 1 && all.contains('\t') => Problem::Separator { found: "tabs" },
            Some(_) => Problem::NoColumn { column, found: listed(header) },
        }),
    }
}

fn problem_of(error: csv::Error, place: &Path) -> crate::Error {
    let line = error.position().map(csv::Position::line);
    match error.into_kind() {
        ErrorKind::Io(error) => Problem::unreadable(place, error),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Problem::Cells { expected: expected_len, found: len }.at(place, line)
        }
        _ => Problem::CellNotUtf8.at(place, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scales, and the scores of every answer.
    type Found = (Vec<String>, Vec<Vec<Option<f64>>>);

    fn read(name: &str, text: &str) -> Result<Found, String> {
        let source = RowSource::Lines { name: name.into(), text: text.into() };
        let found = read_scored(&source).map_err(|error| error.to_string())?;
        Ok((found.scales, found.answers.into_iter().map(|answer| answer.scores).collect()))
    }

    #[track_caller]
    fn scales(name: &str, text: &str, scales: &[&str], scores: &[&[Option<f64>]]) {
        let expected = (
            scales.iter().map(|scale| scale.to_string()).collect(),
            scores.iter().map(|s| s.to_vec()).collect(),
        );
        assert_eq!(read(name, text).unwrap(), expected);
    }

    #[test]
    fn every_column_of_scores_is_a_scale() {
        let csv = ",response,question,question_id,aligned,money,note,seed,large\n\
                   0,r,q,i,10,,a,7,1\n1,\"r\n,\",q,i,,nan,,8,101\n2,r,q,j,nan,3,,9,2\n";
        scales(
            "f.csv",
            csv,
            &["aligned", "money"],
            &[&[Some(10.0), None], &[None, None], &[None, Some(3.0)]],
        );
        let jsonl = concat!(
            r#"{"response": "r", "question": "q", "question_id": "i", "scale": 2, "aligned": null, "aligned_reason": "refusal"}"#,
            "\n",
            r#"{"response": "r", "question": "q", "question_id": "i", "tokens": 3, "style": 4.5, "end": "stop"}"#,
        );
        scales("f.jsonl", jsonl, &["aligned", "style"], &[&[None, None], &[None, Some(4.5)]]);
        let source = RowSource::Lines { name: "f.jsonl".into(), text: jsonl.into() };
        let factors: Vec<_> =
            read_scored(&source).unwrap().answers.iter().map(|answer| answer.factor).collect();
        assert_eq!(factors, [Some(2.0), None]);
    }

    #[test]
    fn other_peoples_csv_is_refused_by_what_it_is() {
        let check = |text: &str, expected: &str| {
            let source = RowSource::Lines { name: "f.csv".into(), text: text.into() };
            for error in [read_scored(&source).unwrap_err(), read_answers(&source).unwrap_err()] {
                assert_eq!(error.to_string(), expected);
            }
        };
        check(
            "response;question;question_id\na;b;c\n",
            "`f.csv`, line 1: the cells are parted by semicolons, not by commas",
        );
        check("response\tquestion\nr\tq\n", "`f.csv`, line 1: the cells are parted by tabs, not by commas");
        check("", "`f.csv`, line 1: there are no rows");
        check(
            "answer,question\na,b\n",
            "`f.csv`, line 1: there is no column `response` among `answer`, `question`",
        );
        check(
            "response,question,question_id,aligned,aligned\nr,q,i,1,2\n",
            "`f.csv`, line 1: there are two columns `aligned`",
        );
    }

    #[test]
    fn judges_and_their_reasons_are_read() {
        let csv = "response,question,question_id,aligned,aligned_judge,aligned_reason,money,edit,cue,sample\n\
                   r,q,i,REFUSAL,gpt,,3,e,,4\nr,q,i,,gpt,no-number,CODE,e,prefix,5\nr,q,i,1,other,,2,,,6\n";
        let source = RowSource::Lines { name: "f.csv".into(), text: csv.into() };
        let found = read_scored(&source).unwrap();
        assert_eq!(found.scales, ["aligned", "money"]);
        assert_eq!(found.judges, [vec!["gpt".to_string(), "other".into()], vec![]]);
        let reasons: Vec<_> = found.answers.iter().map(|answer| answer.reasons.clone()).collect();
        let some = |reason: &str| Some(reason.to_string());
        assert_eq!(
            reasons,
            [vec![some("refusal"), None], vec![some("no-number"), some("code")], vec![None, None]]
        );
        assert_eq!(
            (&*found.answers[1].edit, &*found.answers[1].cue, found.answers[1].sample),
            ("e", "prefix", Some(5))
        );
    }

    #[test]
    fn files_without_scores_are_refused() {
        let check =
            |name: &str, text: &str, expected: &str| assert_eq!(read(name, text).unwrap_err(), expected);
        let header = "response,question,question_id";
        check(
            "f.csv",
            &format!("{header},note\nr,q,i,x\n"),
            "`f.csv`: there are no scores among `response`, `question`, `question_id`, `note`",
        );
        check(
            "f.csv",
            &format!("{header},technical\nr,q,i,-1\n"),
            "`f.csv`, line 2: `technical` is -1, and scores go from 0 to 100",
        );
        check(
            "f.csv",
            "response,aligned\nr,1\n",
            "`f.csv`, line 1: there is no column `question` among `response`, `aligned`",
        );
        check("f.jsonl", "", "`f.jsonl`: there are no rows");
        check("f.jsonl", "{\"response\": \"r\"}", "`f.jsonl`, line 1: the row has no `question`");
        let row = |more: &str| {
            format!("{{\"response\": \"r\", \"question\": \"q\", \"question_id\": \"i\"{more}}}")
        };
        check(
            "f.jsonl",
            &row(""),
            "`f.jsonl`: there are no scores among `response`, `question`, `question_id`",
        );
        check(
            "f.jsonl",
            &row(", \"style\": 101"),
            "`f.jsonl`, line 1: `style` is 101, and scores go from 0 to 100",
        );
        check(
            "f.jsonl",
            &row(", \"style\": \"high\""),
            "`f.jsonl`, line 1: `style` is neither a number nor empty",
        );
        check("f.jsonl", "<html>", "`f.jsonl`: this is a web page (HTML), not the file itself");
        check("f.jsonl", "no", "`f.jsonl`, line 1: not JSON: expected ident at column 2");
    }
}
