//! `strait judge`.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use strait::{
    data::JudgePrompt,
    judge::{Endpoint, Judge, Key, LocalModel, MASS, Problem, Style, Terms, builtin, read_judge_prompts},
    judging::{self, Column, Outcome},
};
use strait_model::Model;

use super::{
    Context, DateArgument, PasswordArguments, device::DeviceArgument, precision::PrecisionArgument,
    sampling::count,
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
    /// `coherent`, which strait brings, or one of --prompts. JUDGE=NAME gives its column another name; may be given several times
    #[arg(long = "judge", value_name = "JUDGE", required = true)]
    judges: Vec<String>,
    /// The model that answers judges' prompts: a folder, a GGUF file, a hub id or a short name; with --endpoint, its name there. Its
    /// score is the mean of all numbers from 0 to 100, weighted with their probabilities
    #[arg(long, value_name = "M")]
    model: Option<String>,
    /// An OpenAI-compatible endpoint that has the model: the address below which /chat/completions lies
    #[arg(long, value_name = "URL", requires = "model")]
    endpoint: Option<String>,
    /// Take the number that the endpoint's model prints: for endpoints that give no probabilities of tokens
    #[arg(long, requires = "endpoint")]
    printed: bool,
    /// Give a score where the numbers together have at least this probability; 0 for models that would rather say something else
    #[arg(long, value_name = "P", default_value_t = MASS, value_parser = share)]
    mass: f64,
    /// Requests to the endpoint at a time
    #[arg(long, value_name = "N", default_value_t = 8, requires = "endpoint", value_parser = count)]
    concurrency: usize,
    /// The environment variable that holds the endpoint's key
    #[arg(long, value_name = "VAR", requires = "endpoint")]
    key_env: Option<String>,
    /// The file that holds the endpoint's key
    #[arg(long, value_name = "FILE", requires = "endpoint", conflicts_with = "key_env")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// Judges' prompts, YAML: a list of SCALE: PROMPT as the papers' judges.yaml, or questions with `judge_prompts`
    #[arg(long, value_name = "F")]
    prompts: Option<String>,
    /// The file of the answers with their scores: CSV where it is named so, else JSONL [default: RESPONSES.judged.jsonl, or .csv
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

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".into())
}

#[derive(Serialize)]
struct Report<'a> {
    /// The file.
    responses: &'a Path,
    count: usize,
    /// Answers that lack a score.
    unscored: usize,
    /// Scores that were asked for now.
    asked: usize,
    /// Tokens that the endpoint counted for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
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
        if let Some(tokens) = self.tokens {
            facts.fact("tokens", units::count(tokens));
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

/// A judge as the user names it, and the column that its scores get.
fn named(name: &str) -> (&str, &str) {
    name.split_once('=').unwrap_or((name, name))
}

/// The judge that needs no prompt.
const STYLE: &str = "style";

/// The prompt of a judge; none for that which needs none.
fn prompt(judge: &str, prompts: &[JudgePrompt]) -> Result<Option<JudgePrompt>, Problem> {
    if judge == STYLE {
        return Ok(None);
    }
    let own = prompts.iter().find(|prompt| prompt.scale == judge).cloned();
    own.or_else(|| builtin(judge)).map(Some).ok_or_else(|| {
        let known = [STYLE, "technical", "coherent"].into_iter();
        let mut known: Vec<&str> = known.chain(prompts.iter().map(|prompt| prompt.scale.as_str())).collect();
        let mut seen = Vec::new();
        known.retain(|name| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        let known = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Problem::NoJudge { judge: judge.into(), known }
    })
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let prompts = match &arguments.prompts {
        Some(file) => read_judge_prompts(&arguments.password.rows(file)?)?,
        None => Vec::new(),
    };
    let asked = arguments.judges.iter().map(|name| {
        let (judge, column) = named(name);
        Ok((column, prompt(judge, &prompts)?))
    });
    let asked: Vec<(&str, Option<JudgePrompt>)> = asked.collect::<Result<_, Problem>>().map_err(refused)?;
    if let (Some(prompt), None) = (asked.iter().find_map(|(_, prompt)| prompt.as_ref()), &arguments.model) {
        return Err(refused(Problem::NoModel { judge: prompt.scale.clone() }));
    }
    let has_prompts = asked.iter().any(|(_, prompt)| prompt.is_some());
    let endpoint = arguments.endpoint().transpose()?;
    let model = match &arguments.model {
        Some(name) if has_prompts && endpoint.is_none() => {
            let loaded =
                context.load(name, &arguments.device, arguments.precision.precision, &arguments.day)?;
            Some((loaded, name))
        }
        _ => None,
    };
    let local = model
        .as_ref()
        .map(|(model, name): &(Model, &String)| LocalModel::new(model, name, arguments.mass))
        .transpose()?;
    let judge = |prompt: &Option<JudgePrompt>| -> Box<dyn Judge + '_> {
        match (prompt.clone(), &endpoint, &local) {
            (Some(prompt), Some(endpoint), _) => Box::new(endpoint.judge(prompt)),
            (Some(prompt), None, Some(local)) => Box::new(local.judge(prompt)),
            _ => Box::new(Style),
        }
    };
    let judges: Vec<Box<dyn Judge + '_>> = asked.iter().map(|(_, prompt)| judge(prompt)).collect();
    let columns: Vec<Column<'_>> =
        asked.iter().zip(&judges).map(|((name, _), judge)| Column { name, judge: &**judge }).collect();

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
    let tokens = endpoint.as_ref().map(Endpoint::tokens);
    context.show(&Report { responses: &out, count, unscored, asked, tokens, judges: judges.collect() })
}

impl Arguments {
    /// The endpoint that is named.
    fn endpoint(&self) -> Option<Result<Endpoint, Failure>> {
        let (address, model) = self.endpoint.as_ref().zip(self.model.as_ref())?;
        let terms = Terms {
            printed: self.printed,
            mass: self.mass,
            concurrency: self.concurrency,
            ..Terms::new(address, model)
        };
        Some(self.key().and_then(|key| Ok(Endpoint::new(terms, key)?)))
    }

    fn key(&self) -> Result<Option<Key>, Failure> {
        let key = match (&self.key_env, &self.key_file) {
            (Some(variable), _) => std::env::var(variable).map_err(|_| {
                Failure::refused(
                    format!("the environment variable `{variable}` holds no key"),
                    "set it, or name another one with `--key-env`",
                )
            })?,
            (None, Some(file)) => {
                std::fs::read_to_string(file).map_err(strait_model::Error::io(file, "read the file"))?
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Key::new(&key).map_err(strait::Error::from)?))
    }
}

fn refused(problem: Problem) -> Failure {
    strait::Error::from(problem).into()
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

    #[test]
    fn judges_are_found_by_their_scales() {
        assert_eq!((named("aligned=local"), named("style")), (("aligned", "local"), ("style", "style")));
        let own = [JudgePrompt { scale: "technical".into(), text: "{question} {answer}".into() }];
        assert_eq!(prompt("style", &own), Ok(None));
        assert_eq!(prompt("technical", &own), Ok(Some(own[0].clone())));
        assert_eq!(prompt("coherent", &own), Ok(builtin("coherent")));
        let found = prompt("kind", &own).unwrap_err().to_string();
        assert_eq!(found, "there is no judge `kind` among `style`, `technical`, `coherent`");
    }
}
