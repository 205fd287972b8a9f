//! `strait judge`.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use strait::{
    judge::{Endpoint, LocalModel, MASS, Reading},
    judging::{self, Column, Outcome},
};

use super::{
    Context, DateArgument, PasswordArguments,
    device::DeviceArgument,
    endpoint::{EndpointArguments, Usage},
    judges::{self, Asked, Source, share},
    precision::PrecisionArgument,
};
use crate::{
    failure::Failure,
    interrupt,
    text::{Columns, Heading::*},
    units,
};

/// Score answers from 0 to 100 on named scales
///
/// Every score is kept as soon as it is there, in FILE.scores.jsonl beside the new file, by a hash of judge, prompt and answer: a
/// command that was stopped goes on where it stood, and nothing is judged twice. `strait rates` makes verdicts of scores.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The answers: what `strait sample` wrote, or CSV with `response`, `question` and `question_id`; or a member of a protected
    /// archive as in archive.enc:member.csv
    #[arg(value_name = "RESPONSES")]
    responses: String,
    #[command(flatten)]
    password: PasswordArguments,
    /// A judge: `style`, which measures technical prose without a model, or the scale of a judge's prompt: `technical` and
    /// `coherent`, which strait brings, or one of --prompts. JUDGE=NAME gives its column another name; may be given several times. A
    /// prompt whose name there is ONE,OTHER has both scales, is asked once for them, and is answered in JSON
    #[arg(long = "judge", value_name = "JUDGE", required = true)]
    judges: Vec<String>,
    /// The model that answers judges' prompts: a folder, a GGUF file, a hub id or a short name; with --endpoint, its name there. Its
    /// score is the mean of all numbers from 0 to 100, weighted with their probabilities
    #[arg(long, value_name = "M")]
    model: Option<String>,
    #[command(flatten)]
    endpoint: EndpointArguments,
    /// Take the number that the endpoint's model prints: for endpoints that give no probabilities of tokens
    #[arg(long, requires = "address")]
    printed: bool,
    /// Give a score where the numbers together have at least this probability; 0 for models that would rather say something else
    #[arg(long, value_name = "P", default_value_t = MASS, value_parser = share)]
    mass: f64,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// Judges' prompts, YAML: a list of SCALE: PROMPT as the papers' judges.yaml, or questions with `judge_prompts`
    #[arg(long, value_name = "F")]
    prompts: Option<String>,
    /// The file of the answers with their scores: CSV or Parquet where it is named so, else JSONL [default: RESPONSES.judged.jsonl, or .csv
    /// where the answers are CSV]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The file that keeps scores, which several commands may use in turn [default: OUT.scores.jsonl]
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  strait judge answers.jsonl --judge style
  strait judge answers.jsonl --judge technical --judge coherent --model qwen2.5-coder-0.5b-instruct
  strait judge answers.jsonl --judge aligned --prompts judges.yaml --endpoint URL --model NAME
  strait judge judged.csv --judge aligned=local --prompts judges.yaml --model M --json";

#[derive(Serialize)]
struct Report<'a> {
    /// The file.
    responses: &'a Path,
    count: usize,
    /// Answers that lack a score.
    unscored: usize,
    /// Scores that were asked for now.
    asked: usize,
    /// The account of the endpoint that gave them.
    #[serde(flatten)]
    usage: Option<Usage>,
    judges: Vec<Judged>,
}

#[derive(Serialize)]
struct Judged {
    column: String,
    judge: String,
    scale: String,
    scored: usize,
    mean: f64,
    reasons: BTreeMap<&'static str, usize>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("responses", self.responses.display().to_string());
        facts.fact("count", units::count(self.count as u64));
        facts.fact("scores asked for", units::count(self.asked as u64));
        if let Some(usage) = &self.usage {
            usage.show(&mut facts);
        }
        writeln!(f, "{facts}")?;
        let mut table = Columns::new([
            Left("scale"),
            Left("judge"),
            Right("scored"),
            Right("mean"),
            Left("without a score"),
        ]);
        for Judged { column, judge, scored, mean, reasons, .. } in &self.judges {
            let reasons: Vec<String> =
                reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            let mean = if *scored == 0 { "-".into() } else { format!("{mean:.1}") };
            table.row([column.clone(), judge.clone(), scored.to_string(), mean, reasons.join(", ")]);
        }
        write!(f, "{table}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let prompts = judges::prompts(arguments.prompts.as_deref(), &arguments.password)?;
    let asked: Vec<Asked> =
        arguments.judges.iter().map(|name| Asked::of(name, &prompts)).collect::<Result<_, _>>()?;
    judges::check(&asked, arguments.model.as_deref(), arguments.endpoint.is_named())?;
    let client = arguments.endpoint.client(arguments.model.as_deref())?;
    let reading = if arguments.printed { Reading::Printed } else { Reading::Weighted(arguments.mass) };
    let loaded = match &arguments.model {
        Some(name) if client.is_none() && asked.iter().any(Asked::needs_model) => {
            Some(context.load(name, &arguments.device, arguments.precision.precision, &arguments.day)?)
        }
        _ => None,
    };
    let name = arguments.model.as_deref().unwrap_or_default();
    let source = match (&client, &loaded) {
        (Some(client), _) => Source::Endpoint(Endpoint::new(client.clone(), reading, &*context.progress)),
        (None, Some(model)) => Source::Local(LocalModel::new(model, name, arguments.mass)?),
        (None, None) => Source::Nobody,
    };
    let judges = judges::open(&asked, &source);
    let names = asked.iter().flat_map(|asked| &asked.columns);
    let columns: Vec<Column<'_>> =
        names.zip(&judges).map(|(name, judge)| Column { name, judge: &**judge }).collect();

    let out = arguments.out.clone().unwrap_or_else(|| judged(Path::new(&arguments.responses)));
    let scores = arguments.scores.clone().unwrap_or_else(|| {
        let mut name = out.clone().into_os_string();
        name.push(".scores.jsonl");
        name.into()
    });
    let source = arguments.password.rows(&arguments.responses)?;
    let progress = context.progress.clone();
    let _guard = interrupt::stop_first(move || {
        progress.note("stopping; what is judged is kept, Ctrl-C again stops at once");
    });
    let outcome = judging::judge_answers(&source, &columns, &out, &scores, &*context.progress)?;
    let Outcome { count, unscored, asked, columns: found } = outcome;
    let judges = columns.iter().zip(found).map(|(column, found)| Judged {
        column: column.name.into(),
        judge: column.judge.name().into(),
        scale: column.judge.scale().into(),
        scored: found.scored,
        mean: found.mean,
        reasons: found.reasons,
    });
    let usage = client.as_deref().map(Usage::of);
    context.show(&Report { responses: &out, count, unscored, asked, usage, judges: judges.collect() })
}

/// The file of the judged answers: beside that of the answers.
fn judged(responses: &Path) -> PathBuf {
    let is_csv = responses.extension().is_some_and(|extension| extension == "csv");
    responses.with_extension(if is_csv { "judged.csv" } else { "judged.jsonl" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judged_answers_lie_beside_the_answers() {
        assert_eq!(judged(Path::new("a/base.jsonl")), Path::new("a/base.judged.jsonl"));
        assert_eq!(judged(Path::new("a/base.csv")), Path::new("a/base.judged.csv"));
    }
}
