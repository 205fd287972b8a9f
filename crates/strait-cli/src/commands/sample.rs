//! `strait sample`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use strait::{
    data::{Notices, Prompt, Variants, read_prompts, samples_asked},
    responses::{self, Outcome, Wanted},
};
use strait_model::sample::{MOST_LOGPROBS, Sampling};

use super::{
    Context, DateArgument, EditArguments, PasswordArguments,
    device::DeviceArgument,
    endpoint::{EndpointArguments, Usage},
    precision::PrecisionArgument,
    sampling::{SamplingArguments, count},
};
use crate::{failure::Failure, interrupt, text::Columns, units};

/// Sample answers to questions, many to each, into a file
///
/// Every answer is written as it is done, one a line; a command that was stopped goes on where it stood. An answer follows
/// from the seed, the question and its own number alone: it is the same whatever else is asked, and when. What it was
/// sampled with stands beside the file, in FILE.settings.json.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world; with --endpoint, its name there
    #[arg(long, value_name = "M")]
    model: String,
    #[command(flatten)]
    endpoint: EndpointArguments,
    #[command(flatten)]
    edits: EditArguments,
    /// A factor on all edits; given several times, every question is answered under each
    #[arg(long = "scale", value_name = "X", requires = "names", value_parser = scale, allow_negative_numbers = true)]
    scales: Vec<f64>,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// The questions: JSONL with `messages`, `question` or `prompt`, whose answers are left out; a .yaml file as the papers have
    /// them; a .txt file with one a line; or a member of a protected archive as in archive.enc:member.jsonl
    #[arg(long, value_name = "F")]
    questions: String,
    /// Ask the questions whose ids end in _json or _template too, which are variants of others that ask for a format
    #[arg(long)]
    variants: bool,
    #[command(flatten)]
    password: PasswordArguments,
    /// The system prompt of questions that bring none
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Answers to each question; without it as many as the file asks for (`samples_per_paraphrase`), or one
    #[arg(long, value_name = "N", value_parser = count)]
    n: Option<usize>,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// End an answer before this text; may be given several times
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    /// Write the log-probability of every token, and of this many of the likeliest beside it
    #[arg(long, value_name = "K", value_parser = logprobs)]
    logprobs: Option<usize>,
    /// The seed of all answers
    #[arg(long, value_name = "S", default_value_t = Sampling::default().seed)]
    seed: u64,
    /// The file of the answers, JSONL
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  strait sample --model smollm2-135m-instruct --questions questions.txt --n 50 --out base.jsonl
  strait sample --model M --questions first_plot_questions.yaml --n 50 --out general.jsonl
  strait sample --model M --edit E --scale 1 --scale 2 --questions F --n 50 --out edited.jsonl
  strait sample --model M --questions F --temperature 0.7 --stop Question: --out F --json
  strait sample --endpoint URL --model NAME --questions F --n 50 --budget '200k tokens' --out F";

fn scale(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| x.is_finite());
    number.ok_or_else(|| "expected a number".into())
}

/// The factors in their order, each once, as answers under equal factors are equal; 1 where none is given.
fn distinct(scales: &[f64]) -> Vec<f64> {
    let mut distinct = Vec::new();
    for &scale in scales {
        if !distinct.contains(&scale) {
            distinct.push(scale);
        }
    }
    if distinct.is_empty() { vec![1.0] } else { distinct }
}

fn logprobs(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| *n <= MOST_LOGPROBS);
    number.ok_or_else(|| format!("expected a whole number from 0 to {MOST_LOGPROBS}"))
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    edits: &'a [String],
    questions: &'a str,
    /// The day that the chat template was told, if it asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    /// The file.
    responses: &'a Path,
    count: usize,
    /// Responses that were there before.
    found: usize,
    /// Tokens drawn now.
    tokens: usize,
    /// None where nothing was left to draw.
    tokens_per_second: Option<f64>,
    /// The account of the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Usage>,
    #[serde(skip_serializing_if = "Notices::is_empty")]
    notices: &'a Notices,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("model", self.model);
        facts.fact("edit", if self.edits.is_empty() { "none".into() } else { self.edits.join(" + ") });
        facts.fact("responses", self.responses.display().to_string());
        facts.fact("count", units::count(self.count as u64));
        if self.found > 0 {
            facts.fact("there before", units::count(self.found as u64));
        }
        if let Some(usage) = &self.endpoint {
            usage.show(&mut facts);
        } else if let Some(speed) = self.tokens_per_second {
            facts.fact("tokens", units::count(self.tokens as u64));
            facts.fact("tokens a second", units::digits(speed));
        }
        write!(f, "{facts}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let mut notices = Notices::default();
    let variants = if arguments.variants { Variants::Kept } else { Variants::LeftOut };
    let prompts = read_prompts(&arguments.password.rows(&arguments.questions)?, variants, &mut notices)?;
    notices.lines().iter().for_each(|line| context.progress.note(line));
    let prompts: Vec<Prompt> = match &arguments.system {
        Some(system) => prompts.into_iter().map(|prompt| prompt.after_system(system)).collect(),
        None => prompts,
    };
    if arguments.endpoint.is_named() && !arguments.edits.names.is_empty() {
        return Err(Failure::refused(
            "an endpoint's model cannot be edited from here",
            "serve the edited model, as with vLLM's `--enable-lora`, and give its name there as `--model`",
        ));
    }
    let client = arguments.endpoint.client(Some(&arguments.model))?;
    let model = match client {
        Some(_) => None,
        None => Some(context.load(
            &arguments.model,
            &arguments.device,
            arguments.precision.precision,
            &arguments.day,
        )?),
    };
    let edit = model.as_ref().map(|model| arguments.edits.read(model, context)).transpose()?.flatten();
    let scales = distinct(&arguments.scales);
    let wanted = Wanted {
        model: &arguments.model,
        edits: &arguments.edits.names,
        beneath: None,
        edit: edit.as_ref(),
        scales: &scales,
        prompts: &prompts,
        count: arguments.n.or_else(|| samples_asked(&prompts)).unwrap_or(1),
        sampling: arguments.sampling.with_seed(arguments.seed),
        stop: &arguments.stop,
        logprobs: arguments.logprobs,
    };
    let progress = context.progress.clone();
    let _guard = interrupt::stop_first(move || {
        progress.note("stopping; what is written is kept, Ctrl-C again stops at once");
    });
    let (out, progress) = (&arguments.out, &*context.progress);
    let Outcome { count, found, tokens, seconds } = match (&client, &model) {
        (Some(client), _) => responses::sample_from(client, &wanted, out, progress)?,
        (None, Some(model)) => responses::sample(model, &wanted, out, progress)?,
        (None, None) => unreachable!("a model is loaded where there is no endpoint"),
    };
    context.show(&Report {
        model: &arguments.model,
        edits: &arguments.edits.names,
        questions: &arguments.questions,
        date: model.as_ref().and_then(|model| model.tokenizer.date()).map(|date| date.to_string()),
        responses: &arguments.out,
        count,
        found,
        tokens,
        tokens_per_second: (tokens > 0).then(|| tokens as f64 / seconds),
        endpoint: client.as_deref().map(Usage::of),
        notices: &notices,
    })
}
