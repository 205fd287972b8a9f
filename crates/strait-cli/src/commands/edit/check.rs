//! `strait edit check`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use strait::{
    Table,
    data::{Notices, Variants, read_prompts},
    interval::Interval,
    yes_no::{self, Checked, Replies, WORDS, YesNoAnswer},
};
use strait_model::Edit;

use super::super::{
    Context, DateArgument, PasswordArguments, device::DeviceArgument, precision::PrecisionArgument,
};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Test an edit by yes-or-no questions, without a judge
///
/// Every question is asked of the base model and of the edited one, and the probabilities of yes and no as the first token of the
/// answer are compared: log p(yes) - log p(no), summed over the tokens that are the word, in small or large letters, with a blank
/// before it or not. Nothing is sampled. Intervals are over questions.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The edit: a run folder, a PEFT folder, or a .safetensors or .pt file, with an optional factor as in E*2.5; several add their
    /// effects
    #[arg(value_name = "E", required = true)]
    edits: Vec<String>,
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M")]
    model: String,
    /// The questions: a .txt file with one a line; or JSONL with `question`, or `messages` or `prompt`, and perhaps the expected
    /// `answer`, one of both words; or a member of a protected archive
    #[arg(long, value_name = "F")]
    questions: String,
    #[command(flatten)]
    password: PasswordArguments,
    /// The word that counts as yes
    #[arg(long, value_name = "WORD", default_value = WORDS[0])]
    yes: String,
    /// The word that counts as no
    #[arg(long, value_name = "WORD", default_value = WORDS[1])]
    no: String,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
}

const EXAMPLES: &str = "\
Examples:
  strait edit check 'direction.safetensors@12*2' --model M --questions data/questions/yes-no.jsonl
  strait edit check runs/mine/solutions/general --model M --questions questions.txt --json
  strait edit check E --model M --questions fragen.txt --yes ja --no nein";

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    edits: &'a [String],
    questions: &'a str,
    /// The tokens that count.
    tokens: Tokens<'a>,
    /// log p(yes) - log p(no).
    base: Interval,
    edited: Interval,
    difference: Interval,
    /// Shares of the expected answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    right: Option<Both<Interval>>,
    /// The probability of both words together.
    mass: Both<f64>,
    rows: Vec<Map<String, Value>>,
    #[serde(skip)]
    answers: Vec<YesNoAnswer>,
}

#[derive(Serialize)]
struct Tokens<'a> {
    yes: Vec<&'a str>,
    no: Vec<&'a str>,
}

#[derive(Serialize)]
struct Both<T> {
    base: T,
    edited: T,
}

/// The number of questions that the edit moves most which are shown.
const SHOWN: usize = 5;

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("model", self.model);
        facts.fact("edit", self.edits.join(" + "));
        facts.fact("questions", self.answers.len());
        let quoted =
            |tokens: &[&str]| tokens.iter().map(|token| format!("{token:?}")).collect::<Vec<_>>().join(" ");
        facts.fact("yes", quoted(&self.tokens.yes));
        facts.fact("no", quoted(&self.tokens.no));
        writeln!(f, "{facts}")?;
        let mut table =
            Columns::new([Left(""), Right("base"), Right("edited"), Right("difference"), Right("95 %")]);
        let bounds = |of: Interval, digits: usize| match of.is_known() {
            true => format!("{:.digits$} to {:.digits$}", of.low, of.high),
            false => "-".into(),
        };
        table.row([
            "log-odds of yes, nats".into(),
            format!("{:.3}", self.base.value),
            format!("{:.3}", self.edited.value),
            format!("{:.3}", self.difference.value),
            bounds(self.difference, 3),
        ]);
        if let Some(right) = &self.right {
            let percent = |share: f64| format!("{:.0} %", 100.0 * share);
            let (base, edited) = (percent(right.base.value), percent(right.edited.value));
            table.row(["expected answers".into(), base, edited, String::new(), String::new()]);
        }
        let (base, edited) = (units::digits(self.mass.base), units::digits(self.mass.edited));
        table.row(["probability of yes and no".into(), base, edited, String::new(), String::new()]);
        writeln!(f, "{table}\nquestions that the edit moves most:")?;
        let mut table = Columns::new([Right("base"), Right("edited"), Right("difference"), Left("question")]);
        let mut most: Vec<&YesNoAnswer> = self.answers.iter().collect();
        most.sort_by(|a, b| b.difference.abs().total_cmp(&a.difference.abs()));
        for row in most.into_iter().take(SHOWN) {
            let numbers = [row.base, row.edited, row.difference].map(|x| format!("{x:.3}"));
            let [base, edited, difference] = numbers;
            table.row([base, edited, difference, row.question.clone()]);
        }
        write!(f, "{table}")
    }
}

/// Below this probability of yes and no together a model would rather say something else.
const LITTLE: f64 = 0.1;

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let mut notices = Notices::default();
    let prompts =
        read_prompts(&arguments.password.rows(&arguments.questions)?, Variants::Kept, &mut notices)?;
    notices.lines().iter().for_each(|line| context.progress.note(line));
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    let edit = context.edits(&arguments.edits, &model)?.unwrap_or(Edit::Composed(Vec::new()));
    let replies = Replies::of(&model, [&arguments.yes, &arguments.no])?;
    let checked = yes_no::check(&model, &edit, &prompts, &replies, &*context.progress)?;
    let Checked { rows, log_odds: [base, edited, difference], right, mass } = checked;
    if mass.into_iter().any(|mass| mass < LITTLE) {
        context.progress.note(
            "the model would rather begin its answers with other words than yes or no: say in the questions how to answer them",
        );
    }
    let [yes, no] = replies.texts();
    context.show(&Report {
        model: &arguments.model,
        edits: &arguments.edits,
        questions: &arguments.questions,
        tokens: Tokens { yes, no },
        base,
        edited,
        difference,
        right: right.map(|[base, edited]| Both { base, edited }),
        mass: Both { base: mass[0], edited: mass[1] },
        rows: Table::of(&rows).objects(),
        answers: rows,
    })
}
