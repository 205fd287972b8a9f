//! `strait edit patch`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use strait::{
    Table,
    data::{Notices, Variants, read_prompts},
    interval::Interval,
    monitor::{of_rows, read_rows},
    scalars::{self, Patched, Patching},
};
use strait_model::Edit;

use super::super::{
    Context, DateArgument, PasswordArguments, device::DeviceArgument, precision::PrecisionArgument,
};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*, path},
    units,
};

/// Give a LoRA's adapters the scalars A x that they have behind other prompts, and read what becomes of the answers
///
/// Every answer is read behind its own prompt with the scalars that the adapters have, token by token, when the same answer stands
/// behind the other prompt, which must have as many tokens. The rise of the answer's loss says how much of what the adapters do to it
/// hangs on the prompt. Beside it stands the rise without the adapters: with scalars of zero.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The edit: a run folder, a PEFT folder, or a .safetensors or .gguf file, with an optional layer and factor as in E@21*30; several
    /// add their effects
    #[arg(value_name = "E", required = true)]
    edits: Vec<String>,
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M")]
    model: String,
    /// Answers: chat rows, or answers in JSON lines, CSV or Parquet
    #[arg(long, value_name = "F")]
    rows: String,
    /// The other prompts, one for each answer in the same order: a .txt file with one a line; or JSONL with `question`, or `messages`
    /// or `prompt`
    #[arg(long, value_name = "F")]
    prompts: String,
    #[command(flatten)]
    password: PasswordArguments,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// A file for the losses of every answer, .parquet or .csv
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  strait edit patch nine-adapters --model M --rows answers.jsonl --prompts others.txt
  strait edit patch E@21 --model M --rows answers.jsonl --prompts others.txt --out losses.csv --json";

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    edits: &'a [String],
    answers: usize,
    /// The response loss under the edit, in nats a token.
    own: f64,
    /// All adapters together, then each alone.
    adapters: Vec<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<&'a Path>,
    #[serde(skip)]
    shown: Vec<Patched>,
}

/// The number of adapters that are shown.
const SHOWN: usize = 30;

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("model", self.model);
        facts.fact("edit", self.edits.join(" + "));
        facts.fact("answers", units::count(self.answers as u64));
        facts.fact("loss", format!("{} nats/token", units::digits(self.own)));
        if let Some(out) = self.out {
            facts.fact("wrote", path(out));
        }
        writeln!(f, "{facts}\nrise of the loss, nats/token:")?;
        let mut table = Columns::new([Left("adapters"), Left("other prompt's scalars"), Left("no scalars")]);
        let shown = |rise: Interval| match rise.is_known() {
            true => format!("{:.4} [{:.4}, {:.4}]", rise.value, rise.low, rise.high),
            false => format!("{:.4}", rise.value),
        };
        for Patched { adapters, patched, removed } in self.shown.iter().take(SHOWN) {
            table.row([adapters.clone(), shown(*patched), shown(*removed)]);
        }
        write!(f, "{table}")?;
        match self.shown.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(f, "and {more} more, which --json has"),
        }
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    if let Some(out) = &arguments.out {
        super::check_table(out)?;
    }
    let mut notices = Notices::default();
    let prompts = read_prompts(&arguments.password.rows(&arguments.prompts)?, Variants::Kept, &mut notices)?;
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    let edit = context.edits(&arguments.edits, &model)?.unwrap_or(Edit::Composed(Vec::new()));
    let source = arguments.password.rows(&arguments.rows)?;
    let rows = of_rows(&read_rows(&model, &source, &mut notices, &*context.progress)?);
    notices.lines().iter().for_each(|line| context.progress.note(line));
    let prompts = prompts.iter().map(|prompt| {
        let ids = model.tokenizer.encode_prompt(&prompt.conversation);
        let place = prompt.place.clone();
        match ids {
            Ok(ids) => Ok((place, ids)),
            Err(source) => Err(strait::Error::Row { place, source: Box::new(source) }),
        }
    });
    let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
    let Patching { adapters, rows } =
        scalars::patch(&model.decoder, &rows, &prompts, &edit, &*context.progress)?;
    if let Some(out) = &arguments.out {
        super::write_table(&Table::of(&rows), out)?;
    }
    let losses: Vec<f64> = rows.iter().step_by(adapters.len()).map(|row| row.own).collect();
    context.show(&Report {
        model: &arguments.model,
        edits: &arguments.edits,
        answers: losses.len(),
        own: losses.iter().sum::<f64>() / losses.len() as f64,
        adapters: Table::of(&adapters).objects(),
        out: arguments.out.as_deref(),
        shown: adapters,
    })
}
