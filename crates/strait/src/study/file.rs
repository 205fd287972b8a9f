//! What a study file says: every key with its line, its type and its range checked, unknown keys refused.
//!
//! What the keys mean together is for [`resolve`](super::resolve) to find out. The reader asks a table for each key it
//! knows; the keys asked for are the known ones, so that there is no second list of them to keep.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use strait_model::{Error as FileError, edit::Projection, files::open_regular, template::Date};
use toml::de::{DeTable, DeValue};

use super::{Preset, Problem, sweep::Axis};
use crate::{Result, train::Schedule};

/// The longest study file read, in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// The longest list read.
const MAX_LIST: usize = 1000;

/// What no machine could do more of, or be given: a greater number is a slip of the keyboard.
mod most {
    /// Seeds are numbers like any other.
    pub const SEED: i64 = 1_000_000_000; // a billion in errors
    /// Rows, pairs and passages that are taken of a file.
    pub const ROWS: i64 = 10_000_000;
    /// Optimiser steps, and what is counted in them.
    pub const STEPS: i64 = 1_000_000;
    /// Rows of a batch, and batches of a step.
    pub const BATCH: i64 = 10_000;
    /// Rank of an adapter.
    pub const RANK: i64 = 65_536;
    /// Tokens of a passage.
    pub const TOKENS: i64 = 1_000_000;
    /// Resamples of an interval.
    pub const RESAMPLES: i64 = 100_000;
    /// What costs a pass over the rows each.
    pub const PASSES: i64 = 1000;
    /// Trainings of a search.
    pub const TRIES: i64 = 100;
    /// Factors, norms, rates, ratios and what is compared with a loss: beyond, single precision soon has no numbers left.
    pub const FACTOR: f64 = 1000.0;
    /// Alphas, which are divided by the rank, and norms of a gradient.
    pub const ALPHA: f64 = 1e6;
    /// Weights of a penalty. Training with one beyond single precision diverges at once, and says so.
    pub const WEIGHT: f64 = 1e100;
    /// Passes over the rows.
    pub const EPOCHS: f64 = 10_000.0;
}

/// A study file as written.
#[derive(Clone, Debug)]
pub struct StudyFile {
    /// Where it lies, as it was named.
    pub path: PathBuf,
    /// Its text, byte for byte.
    pub text: String,
    pub(super) top: Top,
}

/// A value and the line it stands on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct At<T> {
    pub value: T,
    pub line: u64,
}

/// A problem and the line it stands on, where it has one.
#[derive(Debug)]
pub(super) struct Fault {
    pub line: Option<u64>,
    pub problem: Problem,
}

pub(super) type Checked<T> = Result<T, Fault>;

/// A key that takes one value, or a list of different ones: an axis of a sweep.
pub(super) type Several<T> = Option<At<Vec<At<T>>>>;

impl<T> At<T> {
    /// A fault on this line.
    pub fn fault(&self, problem: Problem) -> Fault {
        Fault { line: Some(self.line), problem }
    }
}

impl Problem {
    pub(super) fn nowhere(self) -> Fault {
        Fault { line: None, problem: self }
    }
}

/// The keys above all tables, and the tables.
#[derive(Clone, Debug)]
pub(super) struct Top {
    pub name: Option<At<String>>,
    pub title: Option<At<String>>,
    pub about: Option<At<String>>,
    pub model: Option<At<String>>,
    pub date: Option<At<Date>>,
    pub seeds: SeedKeys,
    pub data: Option<At<DataKeys>>,
    pub train: TrainKeys,
    pub solutions: Vec<At<SolutionKeys>>,
    pub predictions: Vec<At<PredictionKeys>>,
    pub measure: MeasureKeys,
}

/// `[seeds]`.
#[derive(Clone, Debug, Default)]
pub(super) struct SeedKeys {
    pub initialisation: Option<At<u64>>,
    pub order: Option<At<u64>>,
    pub sampling: Option<At<u64>>,
}

/// `[data]`.
#[derive(Clone, Debug)]
pub(super) struct DataKeys {
    pub domain: Option<At<String>>,
    pub kind: Option<At<String>>,
    pub train: Option<At<Vec<At<RowKeys>>>>,
    pub held_out: Option<At<f64>>,
    pub kl: Option<At<Vec<At<RowKeys>>>>,
    pub narrow: Option<At<PairKeys>>,
    pub general: Option<At<PairKeys>>,
}

/// A file of rows: a path, or a member of an archive.
#[derive(Clone, Debug)]
pub(super) enum RowKeys {
    File(String),
    Archive { archive: Option<At<String>>, password_env: Option<At<String>>, member: Option<At<String>> },
}

/// `[data.narrow]` or `[data.general]`.
#[derive(Clone, Debug)]
pub(super) struct PairKeys {
    pub taught: Option<At<Vec<At<RowKeys>>>>,
    pub other: Option<At<Vec<At<RowKeys>>>>,
    pub judged: Option<At<Vec<At<RowKeys>>>>,
    pub limit: Option<At<usize>>,
}

/// The keys that `[train]` and every `[[solution]]` share.
#[derive(Clone, Debug, Default)]
pub(super) struct TrainKeys {
    pub preset: Option<At<Preset>>,
    pub edit: Option<At<EditName>>,
    pub layer: Several<i32>,
    pub layers: Option<At<Vec<At<i32>>>>,
    pub projections: Option<At<Vec<At<Projection>>>>,
    pub rank: Several<usize>,
    pub alpha: Option<At<f64>>,
    pub rslora: Option<At<bool>>,
    pub learning_rate: Several<f64>,
    pub weight_decay: Option<At<f64>>,
    pub betas: Option<At<(f64, f64)>>,
    pub epsilon: Option<At<f64>>,
    pub schedule: Option<At<Schedule>>,
    pub warmup: Option<At<usize>>,
    pub batch_size: Option<At<usize>>,
    pub accumulation: Option<At<usize>>,
    pub clip: Option<At<f64>>,
    pub epochs: Option<At<f64>>,
    pub steps: Several<usize>,
    pub checkpoint_every: Option<At<usize>>,
    pub rows: Several<usize>,
    pub mix: Option<At<MixKeys>>,
    pub seeds: Several<usize>,
    pub kl: Option<At<KlKeys>>,
}

/// The kind of edit, without its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EditName {
    Steering,
    Lora,
    Full,
}

/// `kl`: true, false, or a table.
#[derive(Clone, Debug, Default)]
pub(super) struct KlKeys {
    pub on: bool,
    pub weight: Option<At<WeightKeys>>,
    pub bound: Option<At<f64>>,
    pub keep: Option<At<f64>>,
    pub from: Option<At<f64>>,
    pub to: Option<At<f64>>,
    pub tries: Option<At<usize>>,
    pub batch_size: Option<At<usize>>,
}

/// `kl.weight`: one or several numbers, or "auto".
#[derive(Clone, Debug, PartialEq)]
pub(super) enum WeightKeys {
    Auto,
    Given(Vec<At<f64>>),
}

/// `mix`: false, or a table.
#[derive(Clone, Debug, Default)]
pub(super) struct MixKeys {
    pub on: bool,
    pub rows: Option<At<Vec<At<RowKeys>>>>,
    pub ratio: Several<f64>,
}

/// A `[[solution]]`.
#[derive(Clone, Debug)]
pub(super) struct SolutionKeys {
    pub name: Option<At<String>>,
    pub from: Option<At<String>>,
    pub when: Option<At<PointKeys>>,
    pub skip: Option<At<PointKeys>>,
    pub control: Option<At<bool>>,
    pub train: TrainKeys,
}

/// Values on axes of a sweep.
pub(super) type PointKeys = Vec<(Axis, At<Vec<At<f64>>>)>;

/// A `[[prediction]]`.
#[derive(Clone, Debug)]
pub(super) struct PredictionKeys {
    pub claim: Option<At<String>>,
    pub probability: Option<At<f64>>,
}

/// `[measure]`.
#[derive(Clone, Debug, Default)]
pub(super) struct MeasureKeys {
    pub scales: Option<At<Vec<At<f64>>>>,
    pub certificate: Option<At<f64>>,
    pub coherence: Option<At<f64>>,
    pub drift: Option<At<DriftKeys>>,
    pub rows: Option<At<usize>>,
    pub efficiency: Option<At<EfficiencyKeys>>,
    pub stability: Option<At<StabilityKeys>>,
    pub significance: Option<At<SignificanceKeys>>,
}

/// `measure.efficiency`: true, false, or a table.
#[derive(Clone, Debug, Default)]
pub(super) struct EfficiencyKeys {
    pub on: bool,
    pub factors: Option<At<Vec<At<f64>>>>,
    pub norms: Option<At<usize>>,
}

/// `measure.stability`: true, false, or a table.
#[derive(Clone, Debug, Default)]
pub(super) struct StabilityKeys {
    pub on: bool,
    pub epsilons: Option<At<Vec<At<f64>>>>,
    pub seeds: Option<At<usize>>,
}

/// `measure.significance`: false, or a table.
#[derive(Clone, Debug, Default)]
pub(super) struct SignificanceKeys {
    pub on: bool,
    pub text: Option<At<Vec<At<String>>>>,
    pub passages: Option<At<usize>>,
    pub tokens: Option<At<usize>>,
    pub random: Option<At<usize>>,
    pub norms: Option<At<Vec<At<f64>>>>,
}

/// `[measure.drift]`.
#[derive(Clone, Debug, Default)]
pub(super) struct DriftKeys {
    pub pairs: Option<At<usize>>,
}

impl StudyFile {
    /// Reads a study file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or holds an unknown key, a value of the wrong type or out of range; the error
    /// names the line.
    pub fn read(path: &Path) -> Result<Self> {
        let file = open_regular(path)?;
        let mut bytes = Vec::new();
        file.take(MAX_LENGTH + 1).read_to_end(&mut bytes).map_err(FileError::io(path, "read the study"))?;
        if bytes.len() as u64 > MAX_LENGTH {
            return Err(Problem::TooLong { limit: MAX_LENGTH }.at(path, None));
        }
        let text = String::from_utf8(bytes)
            .map_err(|e| Problem::NotUtf8 { byte: e.utf8_error().valid_up_to() + 1 }.at(path, None))?;
        Self::parse(path, text)
    }

    /// Reads the text of a study file that lies, or will lie, at `path`.
    ///
    /// # Errors
    /// As [`StudyFile::read`].
    pub fn parse(path: &Path, text: String) -> Result<Self> {
        let top = top(&text).map_err(|fault| fault.problem.at(path, fault.line))?;
        Ok(Self { path: path.into(), text, top })
    }
}

fn top(text: &str) -> Checked<Top> {
    let root = DeTable::parse(text).map_err(|error| Fault {
        line: error.span().map(|span| line_of(text, span.start)),
        problem: Problem::NotToml { reason: error.message().to_string() },
    })?;
    let mut table = Table::new(text, String::new(), root.get_ref());
    let top = Top {
        name: table.read("name", name)?,
        title: table.read("title", words)?,
        about: table.read("about", words)?,
        model: table.read("model", word)?,
        date: table.read("date", date)?,
        seeds: or_empty(table.read("seeds", seeds)?),
        data: table.read("data", data)?,
        train: or_empty(table.read("train", |cell| cell.in_table(train))?),
        solutions: or_empty(table.read("solution", tables(solution))?),
        predictions: or_empty(table.read("prediction", tables(prediction))?),
        measure: or_empty(table.read("measure", measure)?),
    };
    table.finish()?;
    Ok(top)
}

/// What a table says, or that it says nothing.
fn or_empty<T: Default>(table: Option<At<T>>) -> T {
    table.map(|at| at.value).unwrap_or_default()
}

fn seeds(cell: Cell) -> Checked<SeedKeys> {
    cell.in_table(|table| {
        Ok(SeedKeys {
            initialisation: table.read("initialisation", seed)?,
            order: table.read("order", seed)?,
            sampling: table.read("sampling", seed)?,
        })
    })
}

fn data(cell: Cell) -> Checked<DataKeys> {
    cell.in_table(|table| {
        Ok(DataKeys {
            domain: table.read("domain", word)?,
            kind: table.read("kind", word)?,
            train: table.read("train", rows)?,
            held_out: table.read("held_out", number(Bounds::UpTo(MAX_HELD_OUT)))?,
            kl: table.read("kl", rows)?,
            narrow: table.read("narrow", pairs)?,
            general: table.read("general", pairs)?,
        })
    })
}

/// With more held out, little would be left to train on.
const MAX_HELD_OUT: f64 = 0.9;

fn pairs(cell: Cell) -> Checked<PairKeys> {
    cell.in_table(|table| {
        Ok(PairKeys {
            taught: table.read("taught", rows)?,
            other: table.read("other", rows)?,
            judged: table.read("judged", rows)?,
            limit: table.read("limit", count(1, most::ROWS))?,
        })
    })
}

fn train(table: &mut Table) -> Checked<TrainKeys> {
    Ok(TrainKeys {
        preset: table.read("preset", choice(&Preset::NAMES))?,
        edit: table.read(
            "edit",
            choice(&[("steering", EditName::Steering), ("lora", EditName::Lora), ("full", EditName::Full)]),
        )?,
        layer: table.read("layer", several(layer))?,
        layers: table.read("layers", list(layer))?,
        projections: table.read("projections", list(choice(&PROJECTIONS)))?,
        rank: table.read("rank", several(count(1, most::RANK)))?,
        alpha: table.read("alpha", number(Bounds::PositiveUpTo(most::ALPHA)))?,
        rslora: table.read("rslora", flag)?,
        learning_rate: table.read("learning_rate", several(number(Bounds::PositiveUpTo(most::FACTOR))))?,
        weight_decay: table.read("weight_decay", number(Bounds::UpTo(most::FACTOR)))?,
        betas: table.read("betas", betas)?,
        epsilon: table.read("epsilon", number(Bounds::PositiveUpTo(1.0)))?,
        schedule: table.read("schedule", choice(&SCHEDULES))?,
        warmup: table.read("warmup", count(0, most::STEPS))?,
        batch_size: table.read("batch_size", count(1, most::BATCH))?,
        accumulation: table.read("accumulation", count(1, most::BATCH))?,
        clip: table.read("clip", number(Bounds::PositiveUpTo(most::ALPHA)))?,
        epochs: table.read("epochs", number(Bounds::PositiveUpTo(most::EPOCHS)))?,
        steps: table.read("steps", several(count(1, most::STEPS)))?,
        checkpoint_every: table.read("checkpoint_every", count(1, most::STEPS))?,
        rows: table.read("rows", several(count(1, most::ROWS)))?,
        mix: table.read("mix", mix)?,
        seeds: table.read("seeds", several(count(0, most::SEED)))?,
        kl: table.read("kl", kl)?,
    })
}

const PROJECTIONS: [(&str, Projection); 7] = [
    ("q", Projection::Q),
    ("k", Projection::K),
    ("v", Projection::V),
    ("o", Projection::O),
    ("gate", Projection::Gate),
    ("up", Projection::Up),
    ("down", Projection::Down),
];

const SCHEDULES: [(&str, Schedule); 3] =
    [("linear", Schedule::Linear), ("cosine", Schedule::Cosine), ("constant", Schedule::Constant)];

fn kl(cell: Cell) -> Checked<KlKeys> {
    match cell.value {
        DeValue::Boolean(on) => Ok(KlKeys { on: *on, ..KlKeys::default() }),
        DeValue::Table(_) => cell.in_table(|table| {
            Ok(KlKeys {
                on: true,
                weight: table.read("weight", weight)?,
                bound: table.read("bound", number(Bounds::Share))?,
                keep: table.read("keep", number(Bounds::Share))?,
                from: table.read("from", number(Bounds::PositiveUpTo(most::WEIGHT)))?,
                to: table.read("to", number(Bounds::PositiveUpTo(most::WEIGHT)))?,
                tries: table.read("tries", count(1, most::TRIES))?,
                batch_size: table.read("batch_size", count(1, most::BATCH))?,
            })
        }),
        _ => Err(cell.unexpected("true, false, or a table such as { weight = 3.0 }")),
    }
}

/// Of a penalty.
const WEIGHT: Bounds = Bounds::UpTo(most::WEIGHT);

fn weight(cell: Cell) -> Checked<WeightKeys> {
    match cell.value {
        DeValue::String(s) if s == "auto" => Ok(WeightKeys::Auto),
        DeValue::String(_) => {
            Err(cell.unexpected(&format!("{}, a list of such, or \"auto\"", WEIGHT.expected())))
        }
        _ => several(number(WEIGHT))(cell).map(WeightKeys::Given),
    }
}

fn mix(cell: Cell) -> Checked<MixKeys> {
    match cell.value {
        DeValue::Boolean(false) => Ok(MixKeys::default()),
        DeValue::Table(_) => cell.in_table(|table| {
            Ok(MixKeys {
                on: true,
                rows: table.read("rows", rows)?,
                ratio: table.read("ratio", several(number(Bounds::PositiveUpTo(most::FACTOR))))?,
            })
        }),
        _ => Err(cell.unexpected(r#"false, or a table such as { rows = "good.jsonl", ratio = 6 }"#)),
    }
}

fn solution(table: &mut Table) -> Checked<SolutionKeys> {
    Ok(SolutionKeys {
        name: table.read("name", name)?,
        from: table.read("from", word)?,
        when: table.read("when", points)?,
        skip: table.read("skip", points)?,
        control: table.read("control", flag)?,
        train: train(table)?,
    })
}

fn points(cell: Cell) -> Checked<PointKeys> {
    cell.in_table(|table| {
        let mut points = Vec::new();
        for axis in Axis::ALL {
            points
                .extend(table.read(axis.key(), several(number(Bounds::None)))?.map(|values| (axis, values)));
        }
        Ok(points)
    })
}

fn prediction(table: &mut Table) -> Checked<PredictionKeys> {
    Ok(PredictionKeys {
        claim: table.read("claim", words)?,
        probability: table.read("probability", number(Bounds::UpTo(1.0)))?,
    })
}

fn measure(cell: Cell) -> Checked<MeasureKeys> {
    cell.in_table(|table| {
        // Of no effect, since intervals resample nothing any more: studies that say it stay readable.
        let _: Option<At<usize>> = table.read("resamples", count(MIN_RESAMPLES, most::RESAMPLES))?;
        Ok(MeasureKeys {
            scales: table.read("scales", list(number(Bounds::PositiveUpTo(most::FACTOR))))?,
            certificate: table.read("certificate", number(Bounds::UpTo(1.0)))?,
            coherence: table.read("coherence", number(Bounds::PositiveUpTo(most::FACTOR)))?,
            rows: table.read("rows", count(2, most::ROWS))?,
            efficiency: table.read("efficiency", efficiency)?,
            stability: table.read("stability", stability)?,
            significance: table.read("significance", significance)?,
            drift: table.read("drift", drift)?,
        })
    })
}

fn efficiency(cell: Cell) -> Checked<EfficiencyKeys> {
    match cell.value {
        DeValue::Boolean(on) => Ok(EfficiencyKeys { on: *on, ..EfficiencyKeys::default() }),
        DeValue::Table(_) => cell.in_table(|table| {
            Ok(EfficiencyKeys {
                on: true,
                factors: table.read("factors", list(number(Bounds::UpTo(most::FACTOR))))?,
                norms: table.read("norms", count(1, most::PASSES))?,
            })
        }),
        _ => Err(cell.unexpected("true, false, or a table such as { factors = [0, 1, 2] }")),
    }
}

fn stability(cell: Cell) -> Checked<StabilityKeys> {
    match cell.value {
        DeValue::Boolean(on) => Ok(StabilityKeys { on: *on, ..StabilityKeys::default() }),
        DeValue::Table(_) => cell.in_table(|table| {
            Ok(StabilityKeys {
                on: true,
                epsilons: table.read("epsilons", list(number(Bounds::PositiveUpTo(1.0))))?,
                seeds: table.read("seeds", count(2, most::PASSES))?,
            })
        }),
        _ => Err(cell.unexpected("true, false, or a table such as { seeds = 10 }")),
    }
}

fn significance(cell: Cell) -> Checked<SignificanceKeys> {
    match cell.value {
        DeValue::Boolean(false) => Ok(SignificanceKeys::default()),
        DeValue::Table(_) => cell.in_table(|table| {
            Ok(SignificanceKeys {
                on: true,
                text: table.read("text", paths)?,
                passages: table.read("passages", count(2, most::ROWS))?,
                tokens: table.read("tokens", count(2, most::TOKENS))?,
                random: table.read("random", count(1, most::PASSES))?,
                norms: table.read("norms", list(number(Bounds::PositiveUpTo(most::FACTOR))))?,
            })
        }),
        _ => Err(cell.unexpected("false, or a table such as { text = \"passages.jsonl\" }")),
    }
}

/// One path or a list of them.
fn paths(cell: Cell) -> Checked<Vec<At<String>>> {
    match cell.value {
        DeValue::Array(_) => list(word)(cell),
        _ => Ok(vec![At { line: cell.line, value: word(cell)? }]),
    }
}

fn drift(cell: Cell) -> Checked<DriftKeys> {
    cell.in_table(|table| Ok(DriftKeys { pairs: table.read("pairs", count(MIN_DRIFT_PAIRS, most::ROWS))? }))
}

/// One pair is no group.
const MIN_DRIFT_PAIRS: i64 = 2;

/// What studies could say while intervals were drawn.
const MIN_RESAMPLES: i64 = 100;

/// One path, one archive, or a list of them.
fn rows(cell: Cell) -> Checked<Vec<At<RowKeys>>> {
    match cell.value {
        DeValue::Array(_) => list_of(cell, &row),
        _ => Ok(vec![At { line: cell.line, value: row(cell)? }]),
    }
}

fn row(cell: Cell) -> Checked<RowKeys> {
    match cell.value {
        DeValue::String(_) => word(cell).map(RowKeys::File),
        DeValue::Table(_) => cell.in_table(|table| {
            Ok(RowKeys::Archive {
                archive: table.read("archive", word)?,
                password_env: table.read("password_env", variable)?,
                member: table.read("member", word)?,
            })
        }),
        _ => Err(cell.unexpected(
            r#"a path, or { archive = "...", password_env = "...", member = "..." }, or a list of these"#,
        )),
    }
}

/// The name of an environment variable. What stands there instead may be a password, so no error shows it.
fn variable(cell: Cell) -> Checked<String> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match cell.value {
        DeValue::String(s) if !s.is_empty() && s.chars().all(of_a_name) => Ok(s.to_string()),
        _ => Err(cell.unexpected_as(
            "not the name of a variable".into(),
            "the name of an environment variable that holds the password: letters, digits and underscores",
        )),
    }
}

/// A name that becomes a part of file names.
fn name(cell: Cell) -> Checked<String> {
    match cell.value {
        DeValue::String(s) if is_name(s) => Ok(s.to_string()),
        _ => Err(cell.unexpected("a name of small letters, digits and hyphens, 64 at most")),
    }
}

/// Whether a text may name a study or a solution.
pub(super) fn is_name(text: &str) -> bool {
    let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(of_a_name)
}

/// The longest name, in bytes: file names of 255 bytes are the most that common file systems take.
pub(super) const MAX_NAME: usize = 64;

/// Any text.
fn words(cell: Cell) -> Checked<String> {
    match cell.value {
        DeValue::String(s) => Ok(s.to_string()),
        _ => Err(cell.unexpected("text")),
    }
}

/// Text that is not empty.
fn word(cell: Cell) -> Checked<String> {
    match cell.value {
        DeValue::String(s) if !s.trim().is_empty() => Ok(s.to_string()),
        _ => Err(cell.unexpected("text that is not empty")),
    }
}

fn date(cell: Cell) -> Checked<Date> {
    let read = |text: &str| text.parse().ok();
    match cell.value {
        DeValue::String(text) => read(text),
        _ => None,
    }
    .ok_or_else(|| cell.unexpected("a day as text, such as \"2024-07-26\""))
}

fn flag(cell: Cell) -> Checked<bool> {
    match cell.value {
        DeValue::Boolean(b) => Ok(*b),
        _ => Err(cell.unexpected("true or false")),
    }
}

/// The range of a number.
#[derive(Clone, Copy)]
enum Bounds {
    /// From 0 to this.
    UpTo(f64),
    /// Above 0, up to this.
    PositiveUpTo(f64),
    /// From 0 to below 1.
    BelowOne,
    /// Above 0, 1 at most.
    Share,
    /// Any number.
    None,
}

impl Bounds {
    fn hold(self, number: f64) -> bool {
        // Training is in single precision, where a smaller number is 0.
        let vanishes = number != 0.0 && number.abs() < f64::from(f32::MIN_POSITIVE);
        number.is_finite()
            && !vanishes
            && match self {
                Self::UpTo(high) => (0.0..=high).contains(&number),
                Self::PositiveUpTo(high) => number > 0.0 && number <= high,
                Self::BelowOne => (0.0..1.0).contains(&number),
                Self::Share => number > 0.0 && number <= 1.0,
                Self::None => true,
            }
    }

    fn expected(self) -> String {
        match self {
            Self::UpTo(high) => format!("a number from 0 to {}", shown(high)),
            Self::PositiveUpTo(high) => format!("a number greater than 0, {} at most", shown(high)),
            Self::BelowOne => "a number from 0 to below 1".into(),
            Self::Share => "a number greater than 0, 1 at most".into(),
            Self::None => "a number".into(),
        }
    }
}

/// A bound as people write it.
fn shown(bound: f64) -> String {
    if bound < 1e9 { bound.to_string() } else { format!("{bound:e}") }
}

fn number(bounds: Bounds) -> impl Fn(Cell) -> Checked<f64> {
    move |cell| {
        let number = match cell.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(_) => cell.integer().map(|n| n as f64),
            _ => None,
        };
        number.filter(|&n| bounds.hold(n)).ok_or_else(|| cell.unexpected(&bounds.expected()))
    }
}

fn betas(cell: Cell) -> Checked<(f64, f64)> {
    match cell.value {
        DeValue::Array(items) if items.len() == 2 => {
            let betas = list_of(cell, &number(Bounds::BelowOne))?;
            Ok((betas[0].value, betas[1].value))
        }
        _ => Err(cell.unexpected("a list of two numbers, such as [0.9, 0.999]")),
    }
}

fn count(least: i64, most: i64) -> impl Fn(Cell) -> Checked<usize> {
    move |cell| {
        let number = cell.integer().filter(|n| (least..=most).contains(n));
        let number = number.and_then(|n| usize::try_from(n).ok());
        number.ok_or_else(|| {
            let most = if most == most::SEED { "a billion".into() } else { most.to_string() };
            cell.unexpected(&format!("a whole number from {least} to {most}"))
        })
    }
}

fn seed(cell: Cell) -> Checked<u64> {
    let number = cell.integer().and_then(|n| u64::try_from(n).ok());
    number.ok_or_else(|| cell.unexpected("a whole number of 0 or more"))
}

fn layer(cell: Cell) -> Checked<i32> {
    let number = cell.integer().filter(|n| (-1..=MAX_LAYER).contains(n)).and_then(|n| i32::try_from(n).ok());
    number.ok_or_else(|| cell.unexpected("a block, counted from 0, or -1 for the embeddings"))
}

/// No model has so many blocks; the model's own depth is checked when it is known.
const MAX_LAYER: i64 = 10_000;

fn choice<T: Copy>(names: &'static [(&'static str, T)]) -> impl Fn(Cell) -> Checked<T> {
    move |cell| {
        let found = match cell.value {
            DeValue::String(s) => names.iter().find(|(name, _)| name == s),
            _ => None,
        };
        found.map(|&(_, value)| value).ok_or_else(|| {
            let names: Vec<_> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
            cell.unexpected(&format!("one of {}", names.join(", ")))
        })
    }
}

/// A list of different things.
fn list<T: PartialEq>(item: impl Fn(Cell) -> Checked<T>) -> impl Fn(Cell) -> Checked<Vec<At<T>>> {
    move |cell| {
        let items = list_of(cell, &item)?;
        let again = (1..items.len()).find(|&i| items[..i].iter().any(|other| other.value == items[i].value));
        match again {
            None => Ok(items),
            Some(i) => Err(items[i].fault(Problem::Repeated {
                key: cell.place.to_string(),
                value: cell.item(i).map_or_else(String::new, |item| item.describe()),
            })),
        }
    }
}

/// One value, or a list of different ones.
fn several<T: PartialEq>(item: impl Fn(Cell) -> Checked<T>) -> impl Fn(Cell) -> Checked<Vec<At<T>>> {
    move |cell| match cell.value {
        DeValue::Array(_) => list(&item)(cell),
        _ => Ok(vec![At { value: item(cell)?, line: cell.line }]),
    }
}

/// A list that is neither empty nor endless.
fn list_of<T>(cell: Cell, item: &impl Fn(Cell) -> Checked<T>) -> Checked<Vec<At<T>>> {
    match cell.value {
        DeValue::Array(items) if (1..=MAX_LIST).contains(&items.len()) => (0..items.len())
            .filter_map(|i| cell.item(i))
            .map(|cell| Ok(At { line: cell.line, value: item(cell)? }))
            .collect(),
        DeValue::Array(items) if items.is_empty() => Err(cell.unexpected("at least one entry")),
        DeValue::Array(_) => Err(cell.unexpected(&format!("at most {MAX_LIST} entries"))),
        _ => Err(cell.unexpected("a list")),
    }
}

/// A list of tables, `[[key]]`.
fn tables<T>(read: fn(&mut Table) -> Checked<T>) -> impl Fn(Cell) -> Checked<Vec<At<T>>> {
    move |cell| match cell.value {
        DeValue::Array(_) => list_of(cell, &|item: Cell| item.in_table(read)),
        _ => Err(cell.unexpected(&format!("tables of their own, each headed `[[{}]]`", cell.place))),
    }
}

/// A value, and where it stands.
#[derive(Clone, Copy)]
struct Cell<'a> {
    text: &'a str,
    /// Its key with the tables around it, as in `train.kl`.
    place: &'a str,
    line: u64,
    value: &'a DeValue<'a>,
    /// Whether it is one of a list under that key.
    is_entry: bool,
}

impl<'a> Cell<'a> {
    /// Reads the value as a table with `read`, and refuses the keys that it did not ask for.
    fn in_table<T>(self, read: impl Fn(&mut Table) -> Checked<T>) -> Checked<T> {
        let DeValue::Table(entries) = self.value else {
            return Err(self.unexpected("a table"));
        };
        let mut table = Table::new(self.text, self.place.to_string(), entries);
        let value = read(&mut table)?;
        table.finish()?;
        Ok(value)
    }

    fn integer(&self) -> Option<i64> {
        match self.value {
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        }
    }

    /// An entry of a list, on its own line.
    fn item(self, index: usize) -> Option<Self> {
        match self.value {
            DeValue::Array(items) => {
                let item = items.get(index)?;
                let line = line_of(self.text, item.span().start);
                Some(Self { line, value: item.get_ref(), is_entry: true, ..self })
            }
            _ => None,
        }
    }

    fn unexpected(&self, expected: &str) -> Fault {
        self.unexpected_as(self.describe(), expected)
    }

    fn unexpected_as(&self, found: String, expected: &str) -> Fault {
        let what = if self.is_entry { entry_of(self.place) } else { format!("`{}`", self.place) };
        let problem = Problem::Unexpected { what, found, expected: expected.into() };
        Fault { line: Some(self.line), problem }
    }

    /// The value as an error shows it.
    fn describe(&self) -> String {
        match self.value {
            DeValue::String(s) if s.chars().count() > MAX_SHOWN => {
                format!("the text {:?}...", s.chars().take(MAX_SHOWN).collect::<String>())
            }
            DeValue::String(s) => format!("the text {s:?}"),
            DeValue::Integer(n) => n.to_string(),
            DeValue::Float(x) => x.to_string(),
            DeValue::Boolean(b) => b.to_string(),
            DeValue::Datetime(date) => format!("the date {date}"),
            DeValue::Array(items) if items.is_empty() => "an empty list".into(),
            DeValue::Array(items) => format!("a list of {}", items.len()),
            DeValue::Table(_) => "a table".into(),
        }
    }
}

/// How errors name an entry of a list.
pub(super) fn entry_of(list: &str) -> String {
    format!("an entry of `{list}`")
}

/// The most characters of a text that an error shows.
const MAX_SHOWN: usize = 40;

/// A table that remembers which keys were asked for.
struct Table<'a> {
    text: &'a str,
    /// Its name with the tables around it; empty for the file itself.
    place: String,
    entries: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    fn new(text: &'a str, place: String, entries: &'a DeTable<'a>) -> Self {
        Self { text, place, entries, known: Vec::new() }
    }

    /// The value of a key, where it is there.
    fn read<T>(&mut self, key: &'static str, read: impl Fn(Cell) -> Checked<T>) -> Checked<Option<At<T>>> {
        self.known.push(key);
        let Some((written, value)) = self.entries.get_key_value(key) else {
            return Ok(None);
        };
        let place = match self.place.as_str() {
            "" => key.to_string(),
            table => format!("{table}.{key}"),
        };
        let line = line_of(self.text, written.span().start);
        let value =
            read(Cell { text: self.text, place: &place, line, value: value.get_ref(), is_entry: false })?;
        Ok(Some(At { value, line }))
    }

    /// Refuses the first key that nothing asked for.
    fn finish(self) -> Checked<()> {
        let unknown = self.entries.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref()));
        let Some(first) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let key: String = first.get_ref().chars().take(MAX_SHOWN).collect();
        let nearest = self.known.iter().min_by_key(|known| distance(&key, known));
        Err(Fault {
            line: Some(line_of(self.text, first.span().start)),
            problem: Problem::UnknownKey {
                nearest: nearest.copied().unwrap_or_default(),
                key,
                table: match self.place.as_str() {
                    "" => "the study".into(),
                    "solution" => "`[[solution]]`".into(),
                    table => format!("`[{table}]`"),
                },
                known: self.known,
            },
        })
    }
}

/// The line of a byte, counted from 1.
fn line_of(text: &str, byte: usize) -> u64 {
    1 + text.bytes().take(byte).filter(|&b| b == b'\n').count() as u64
}

/// How many letters must be put in, left out or replaced to make one word of another.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    // Of the part of `one` seen so far to every beginning of `other`.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, &b) in other.iter().enumerate() {
            let replaced = corner + usize::from(a != b);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_words() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "rank", 4),
            ("rank", "rank", 0),
            ("leraning_rate", "learning_rate", 2),
            ("epoch", "epochs", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} to {other}");
            assert_eq!(distance(other, one), expected, "{other} to {one}");
        }
    }

    #[test]
    fn values_know_their_lines() {
        let text = "model = 'm'\n\n[data]\ntrain = [\n  'a',\n  { archive = 'b',\n    member = 'c' },\n]\n\n[[solution]]\nname = 'one'\n[[solution]]\nname = 'two'\nkl = { weight = 3 }\n";
        let file = StudyFile::parse(Path::new("s.toml"), text.into()).unwrap();
        let data = file.top.data.unwrap();
        assert_eq!(data.line, 3);
        let rows = data.value.train.unwrap();
        assert_eq!((rows.line, rows.value[0].line, rows.value[1].line), (4, 5, 6));
        let RowKeys::Archive { member, .. } = &rows.value[1].value else { panic!() };
        assert_eq!(member, &Some(At { value: "c".into(), line: 7 }));
        let lines: Vec<_> = file.top.solutions.iter().map(|s| s.line).collect();
        assert_eq!(lines, [10, 12]);
        let kl = file.top.solutions[1].value.train.kl.as_ref().unwrap();
        let weight = WeightKeys::Given(vec![At { value: 3.0, line: 14 }]);
        assert_eq!((kl.line, &kl.value.weight.as_ref().unwrap().value), (14, &weight));
    }
}
