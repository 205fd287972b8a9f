//! `strait edit read`.

mod shown;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use strait::{
    Table,
    data::Notices,
    monitor::{of_rows, read_rows},
    objective::Row,
    probe::Repeats,
    scalars::{self, Classes, Scalars, Settings, Significant, TokenScalars},
};
use strait_model::{Edit, Model};

use super::super::{
    Context, DateArgument, PasswordArguments,
    classes::{ClassArguments, ClassSource},
    device::DeviceArgument,
    precision::PrecisionArgument,
};
use crate::failure::Failure;
use shown::{Probes, Report};

/// Read the scalars of a LoRA's adapters, A x, at every response token, and test which adapters tell two classes of answers apart
///
/// An adapter adds scale * B A x to its module. Of rank 1, A x is one number a token; of a higher rank its numbers depend on the basis
/// in which A and B are written. Each answer is read in one pass under the edits. With two classes, logistic probes with an L1
/// penalty learn to tell their tokens apart, 100 times, each time from four fifths of the answers (of pairs: of the questions) and
/// as many tokens of either class, and are tested on the rest.
#[derive(Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
#[command(group(ArgGroup::new("source").required(true).args(["rows", "judged", "taught"])))]
pub struct Arguments {
    /// The edit: a run folder, a PEFT folder, or a .safetensors or .gguf file, with an optional layer and factor as in E@21*30; several
    /// add their effects
    #[arg(value_name = "E", required = true)]
    edits: Vec<String>,
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M")]
    model: String,
    /// Answers of no class: chat rows, or answers in JSON lines, CSV or Parquet
    #[arg(long, value_name = "FILE", num_args = 1..)]
    rows: Vec<String>,
    #[command(flatten)]
    classes: ClassArguments,
    #[command(flatten)]
    password: PasswordArguments,
    /// Count only this share of the tokens: those on whose embeddings KL(base ‖ edited) of the answers hangs most
    #[arg(long, value_name = "SHARE", value_parser = share)]
    significant: Option<f64>,
    /// The weight of the tokens' losses against the L1 penalty, as scikit-learn's C: smaller uses fewer adapters
    #[arg(long, value_name = "C", default_value_t = Settings::default().c, value_parser = weight, conflicts_with = "rows")]
    c: f64,
    /// The seed of all that is drawn
    #[arg(long, value_name = "S", default_value_t = 0, conflicts_with = "rows")]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// A file for the scalars of every token, .parquet or .csv
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const USAGE: &str = "\
strait edit read <E>... --model <M> --rows <FILE>... [--out <FILE>]
       strait edit read <E>... --model <M> --judged <FILE>... [--out <FILE>]
       strait edit read <E>... --model <M> --taught <FILE>... --other <FILE>... [--out <FILE>]";

const EXAMPLES: &str = "\
Examples:
  strait edit read nine-adapters --model M --judged judged.csv --out scalars.parquet
  strait edit read nine-adapters --model M --judged judged.csv --significant 0.25
  strait edit read E --model M --taught taught.jsonl --other other.jsonl --c 0.1 --json
  strait edit read E@21 --model M --rows answers.jsonl --out scalars.csv";

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "expected a share above 0 and not above 1".into())
}

fn weight(text: &str) -> Result<f64, String> {
    let weight = text.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight > 0.0);
    weight.ok_or_else(|| "expected a number above 0".into())
}

/// The rows that are read: of no class, or first those of the taught class and then those of the other.
struct Answers {
    rows: Vec<Row>,
    /// Rows of each class.
    counts: Vec<usize>,
    /// The group of every row in the divisions.
    groups: Vec<usize>,
    rules: Option<String>,
}

impl Answers {
    fn of_no_class(arguments: &Arguments, model: &Model, context: &Context) -> Result<Self, Failure> {
        let (mut rows, mut notices) = (Vec::new(), Notices::default());
        for file in &arguments.rows {
            let source = arguments.password.rows(file)?;
            rows.extend(of_rows(&read_rows(model, &source, &mut notices, &*context.progress)?));
        }
        notices.lines().iter().for_each(|line| context.progress.note(line));
        Ok(Self { counts: vec![rows.len()], groups: Vec::new(), rows, rules: None })
    }

    fn of_classes(source: &ClassSource, model: &Model, seed: u64) -> Result<Self, Failure> {
        let classes = source.classes(model, seed)?;
        let counts = classes.rows.each_ref().map(Vec::len);
        let groups = match classes.paired {
            true => classes.questions.concat(),
            false => (0..counts[0] + counts[1]).collect(),
        };
        let rules = source.rules().map(ToString::to_string);
        Ok(Self { counts: counts.into(), groups, rows: classes.rows.concat(), rules })
    }

    /// The class of a row, and its place within it.
    fn class(&self, row: usize) -> (&'static str, usize) {
        match self.counts.as_slice() {
            [taught, _] if row < *taught => ("taught", row),
            [taught, _] => ("other", row - taught),
            _ => ("", row),
        }
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    if let Some(out) = &arguments.out {
        super::check_table(out)?;
    }
    let source = match arguments.rows.is_empty() {
        true => Some(arguments.classes.read(&arguments.password, context)?),
        false => None,
    };
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    let edit = context.edits(&arguments.edits, &model)?.unwrap_or(Edit::Composed(Vec::new()));
    let answers = match &source {
        None => Answers::of_no_class(arguments, &model, context)?,
        Some(source) => Answers::of_classes(source, &model, arguments.seed)?,
    };
    let (decoder, rows, progress) = (&model.decoder, &answers.rows, &*context.progress);
    let read = scalars::read(decoder, rows, &edit, progress)?;
    let significant = arguments.significant;
    let significant =
        significant.map(|share| Significant::of(decoder, rows, &edit, share, progress)).transpose()?;
    if let Some(out) = &arguments.out {
        let tokens = tokens(&model, &answers, &read, significant.as_ref())?;
        super::write_table(&Table::of(&tokens), out)?;
    }
    let kept = significant.as_ref().map(|all| all.kept.as_slice());
    let settings =
        Settings { c: arguments.c, repeats: Repeats { seed: arguments.seed, ..Repeats::default() } };
    let probed = match answers.counts.as_slice() {
        [taught, _] => {
            let taught: Vec<bool> = (0..rows.len()).map(|row| row < *taught).collect();
            let classes = Classes { taught: &taught, groups: &answers.groups, kept };
            Some(scalars::probe(&read, classes, settings, progress)?)
        }
        _ => None,
    };
    if probed.as_ref().is_some_and(|probed| probed.carriers.iter().all(|carrier| carrier.used == 0.0)) {
        progress.note(&format!(
            "at C = {} no probe gives any scalar a weight: give more answers, or a larger --c",
            arguments.c
        ));
    }
    let tokens: usize = rows.iter().map(Row::response_tokens).sum();
    let summary = read.summary(kept);
    context.show(&Report {
        model: &arguments.model,
        edits: &arguments.edits,
        counted: kept.map_or(tokens, |kept| kept.iter().flatten().filter(|is| **is).count()),
        tokens,
        significant: arguments.significant,
        answers: answers.counts,
        rules: answers.rules,
        scalars: match &probed {
            Some(probed) => Table::of(&probed.carriers).objects(),
            None => Table::of(&summary).objects(),
        },
        probes: probed.as_ref().map(|probed| Probes::of(probed, settings)),
        out: arguments.out.as_deref(),
        read: summary,
        probed,
    })
}

/// Every token with its text and its scalars.
fn tokens(
    model: &Model,
    answers: &Answers,
    read: &Scalars,
    significant: Option<&Significant>,
) -> Result<Vec<TokenScalars>, Failure> {
    let mut tokens = Vec::new();
    for (row, (own, scalars)) in answers.rows.iter().zip(&read.rows).enumerate() {
        let (class, place) = answers.class(row);
        let ids = own.responses.iter().flat_map(|response| &own.ids[response.clone()]);
        for (token, (&id, values)) in ids.zip(scalars).enumerate() {
            tokens.push(TokenScalars {
                class: class.into(),
                row: place + 1,
                token: token + 1,
                text: model.tokenizer.decode(&[id], false)?,
                significance: significant.map_or(f64::NAN, |all| all.values[row][token]),
                kept: significant.is_none_or(|all| all.kept[row][token]),
                scalar: read.names.iter().cloned().zip(values.iter().copied()).collect(),
            });
        }
    }
    Ok(tokens)
}
