//! `strait monitor read`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::{
    monitor::{self, Answered, Monitor, Read, of_rows},
    objective::Row,
};
use strait_model::Model;

use super::{Context, Reader, layers, threshold};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Read responses with a monitor: each one's reading, and whether it is an alarm
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The monitor: a folder that `strait monitor calibrate` wrote
    #[arg(value_name = "DIR")]
    monitor: PathBuf,
    #[command(flatten)]
    reader: Reader,
    /// Responses: chat rows, answers in JSON lines, CSV or Parquet, or a text (.txt)
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    rows: Vec<String>,
    /// Show the reading of every token too
    #[arg(long)]
    tokens: bool,
}

const EXAMPLES: &str = "\
Examples:
  strait monitor read watch --model M --edit E --rows answers.jsonl
  strait monitor read watch --model M --rows letter.txt --tokens
  strait monitor read watch --model M --rows judged.csv --json | jq '.rows[] | select(.alarm)'";

#[derive(Serialize)]
struct Report<'a> {
    monitor: &'a PathBuf,
    model: &'a str,
    edits: &'a [String],
    threshold: f64,
    rows: Vec<ReadRow<'a>>,
    /// The share of rows that are alarms.
    alarms: f64,
    #[serde(skip)]
    made: &'a Monitor,
    #[serde(skip)]
    edit: String,
}

#[derive(Serialize)]
struct ReadRow<'a> {
    file: &'a str,
    /// Its place in its file, counted from 1.
    row: usize,
    id: Option<&'a str>,
    group: &'a str,
    /// Response tokens.
    tokens: usize,
    reading: f64,
    alarm: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_readings: Option<Vec<TokenReading>>,
}

#[derive(Serialize)]
struct TokenReading {
    text: String,
    reading: f64,
}

/// The number of rows with the highest readings that are shown.
const SHOWN: usize = 10;

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("monitor", self.monitor.display());
        facts.fact("model", self.model);
        facts.fact("edit", &self.edit);
        facts.fact("layers", layers(self.made));
        facts.fact("threshold", threshold(self.made));
        facts.fact("responses", units::count(self.rows.len() as u64));
        facts.fact("alarms", self.rows.iter().filter(|row| row.alarm).count());
        writeln!(f, "{facts}\nresponses with the highest readings:")?;
        let mut highest: Vec<&ReadRow<'_>> = self.rows.iter().collect();
        highest.sort_by(|one, other| other.reading.total_cmp(&one.reading));
        let mut table = Columns::new([
            Right("row"),
            Right("tokens"),
            Right("reading"),
            Left("alarm"),
            Left("group"),
            Left("id"),
            Left("file"),
        ]);
        for row in highest.into_iter().take(SHOWN) {
            table.row([
                row.row.to_string(),
                row.tokens.to_string(),
                units::digits(row.reading),
                if row.alarm { "alarm".into() } else { String::new() },
                row.group.into(),
                row.id.unwrap_or_default().into(),
                row.file.into(),
            ]);
        }
        write!(f, "{table}")?;
        for row in &self.rows {
            let Some(tokens) = &row.token_readings else { continue };
            writeln!(f, "\ntokens of row {} of {}:", row.row, row.file)?;
            let mut table = Columns::new([Right("reading"), Left("token")]);
            for token in tokens {
                table.row([units::digits(token.reading), token.text.replace('\n', "\\n")]);
            }
            write!(f, "{table}")?;
        }
        Ok(())
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let Arguments { monitor: folder, reader, rows: files, tokens } = arguments;
    let monitor = monitor::open(folder)?;
    let (model, edit) = reader.open(context)?;
    let rows = reader.rows(files, &model, context)?;
    let all = of_rows(&rows.concat());
    let read = monitor.read(&model.decoder, &all, edit.as_ref(), &*context.progress)?;
    let places = files.iter().zip(&rows).flat_map(|(file, rows)| (1..).zip(rows).map(move |row| (file, row)));
    let mut found = Vec::with_capacity(read.len());
    for ((file, (row, answered)), read) in places.zip(read) {
        let Answered { row: encoded, id, group } = answered;
        let token_readings = tokens.then(|| token_readings(&model, encoded, &read)).transpose()?;
        found.push(ReadRow {
            file,
            row,
            id: id.as_deref(),
            group,
            tokens: read.tokens.len(),
            reading: read.reading,
            alarm: read.alarm,
            token_readings,
        });
    }
    context.show(&Report {
        monitor: folder,
        model: &reader.model,
        edits: &reader.edits.names,
        threshold: monitor.facts.threshold,
        alarms: found.iter().filter(|row| row.alarm).count() as f64 / found.len() as f64,
        rows: found,
        made: &monitor,
        edit: reader.edits(),
    })
}

/// The text of every response token with its reading.
fn token_readings(model: &Model, row: &Row, read: &Read) -> Result<Vec<TokenReading>, Failure> {
    let ids = row.responses.iter().flat_map(|response| &row.ids[response.clone()]);
    let token = |(&id, &reading): (&u32, &f64)| {
        Ok(TokenReading { text: model.tokenizer.decode(&[id], false)?, reading })
    };
    ids.zip(&read.tokens).map(token).collect()
}
