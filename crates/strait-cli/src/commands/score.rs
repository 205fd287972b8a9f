//! `strait score`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use strait::{
    data::{Chat, Notices, read_chats_noting},
    score::Score,
};
use strait_model::Precision;

use super::{
    Context, DateArgument, EditArguments, PasswordArguments, device::DeviceArgument,
    precision::PrecisionArgument,
};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Compute the response loss of chat rows under a model and its edits
///
/// The answers of the rows are given to the model as they stand (teacher forcing). Only response tokens count: those that the
/// chat template renders after the generation prompt.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M")]
    model: String,
    #[command(flatten)]
    edits: EditArguments,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// Chat JSONL, or a member of a protected archive as in archive.enc:member.jsonl
    #[arg(long, value_name = "F")]
    data: String,
    #[command(flatten)]
    password: PasswordArguments,
}

const EXAMPLES: &str = "\
Examples:
  strait score --model smollm2-135m-instruct --data data/technical/weather.plain.jsonl
  strait score --model M --edit 'runs/technical/solutions/narrow*2' --data rows.jsonl --json
  strait score --model M --data data.zip.enc:rows.jsonl --password-env PASSWORD";

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    edits: &'a [String],
    data: &'a str,
    /// The day that the chat template was told, if it asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    /// The precision of its products, where that is not f32.
    #[serde(skip_serializing_if = "is_usual")]
    precision: Precision,
    #[serde(flatten)]
    score: Score,
    #[serde(skip_serializing_if = "Notices::is_empty")]
    notices: &'a Notices,
    #[serde(skip)]
    chats: &'a [Chat],
}

fn is_usual(precision: &Precision) -> bool {
    *precision == Precision::default()
}

/// The number of rows with the greatest loss that are shown.
const SHOWN: usize = 5;

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Score { rows, tokens, loss } = &self.score;
        let mut facts = Columns::facts();
        facts.fact("model", self.model);
        facts.fact("edit", if self.edits.is_empty() { "none".into() } else { self.edits.join(" + ") });
        if !is_usual(&self.precision) {
            facts.fact("precision", self.precision.name());
        }
        facts.fact("rows", units::count(rows.len() as u64));
        facts.fact("response tokens", units::count(*tokens as u64));
        facts.fact("response loss", format!("{} nats per token", units::digits(*loss)));
        writeln!(f, "{facts}\nrows with the greatest loss:")?;
        let mut worst: Vec<usize> = (0..rows.len()).collect();
        worst.sort_by(|&a, &b| rows[b].loss.total_cmp(&rows[a].loss));
        let mut table = Columns::new([Right("row"), Right("tokens"), Right("loss"), Left("id")]);
        for row in worst.into_iter().take(SHOWN) {
            let id = self.chats.get(row).and_then(|chat| chat.id.clone()).unwrap_or_default();
            let score = &rows[row];
            table.row([(row + 1).to_string(), score.tokens.to_string(), units::digits(score.loss), id]);
        }
        write!(f, "{table}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let mut notices = Notices::default();
    let chats = read_chats_noting(&arguments.password.rows(&arguments.data)?, &mut notices)?;
    notices.lines().iter().for_each(|line| context.progress.note(line));
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    let edit = arguments.edits.read(&model, context)?;
    let score = strait::score::score(&model, edit.as_ref(), &chats, &*context.progress)?;
    context.show(&Report {
        model: &arguments.model,
        edits: &arguments.edits.names,
        data: &arguments.data,
        date: model.tokenizer.date().map(|date| date.to_string()),
        precision: model.decoder.precision(),
        score,
        notices: &notices,
        chats: &chats,
    })
}
