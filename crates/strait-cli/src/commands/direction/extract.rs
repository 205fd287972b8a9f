//! `strait direction extract`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::{ArgGroup, Args};
use serde::Serialize;
use serde_json::{Map, Value};
use strait::{
    Table,
    data::{Notices, Pair, RowSource, Scored, pairs::read_pairs_noting, read_scored},
    direction::{
        extract::{
            ClassRules, Classes, Extracted, ExtractedDirection, Extraction, Made, Method, NamedFile,
            SHUFFLES, SPLITS,
        },
        random_like,
    },
    lab::for_rows,
    table::Word,
    verdict::Rule,
};
use strait_model::{Edit, Model, edit::SteeringVector};

use super::super::{
    Context, DateArgument, EditArguments, PasswordArguments, device::DeviceArgument,
    precision::PrecisionArgument,
};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*, path},
    units,
};

/// Make the direction between two kinds of answers, after every block of the model
///
/// Every answer is read once with its question, under the edits if there are any; of the residual stream after each block the mean
/// over response tokens counts. The classes are the verdicts on judged answers, of which as many of each are drawn, or the two
/// answers of pairs. The file is an edit with one steering vector a layer: FILE@12*2 is that of layer 12, twice as strong. It says
/// how to make it again.
#[derive(Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
#[command(group(ArgGroup::new("source").required(true).args(["judged", "taught", "like"])))]
pub struct Arguments {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M")]
    model: String,
    #[command(flatten)]
    edits: EditArguments,
    /// Judged answers: CSV with `response`, `question`, `question_id` and a column for each scale, or what `strait judge` wrote; a
    /// member of a protected archive as in archive.enc:member.csv
    #[arg(long, value_name = "FILE", num_args = 1..)]
    judged: Vec<String>,
    /// The taught class of judged answers: SCALE<CUT or SCALE>CUT [default: the usual verdict, such as aligned<30]
    #[arg(long, value_name = "RULE", requires = "judged")]
    class: Option<Rule>,
    /// The other class [default: the same scale with the cut mirrored, such as aligned>70]
    #[arg(long, value_name = "RULE", requires = "judged")]
    against: Option<Rule>,
    /// Answers of both classes have a score on `coherent` above this [default: 50]
    #[arg(long, value_name = "CUT", value_parser = cut, requires = "judged")]
    coherent: Option<f64>,
    /// Chat rows with answers of the taught kind
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "other")]
    taught: Vec<String>,
    /// Chat rows with the same questions and answers of the other kind, a file for each of --taught
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "taught")]
    other: Vec<String>,
    /// Random directions as long as those of an edit, layer by layer, as a control
    #[arg(long = "random-like", value_name = "E", conflicts_with_all = ["names", "method", "layer"])]
    like: Option<String>,
    #[command(flatten)]
    password: PasswordArguments,
    /// From rows to a direction: mean (of the taught class less that of the other), or component (the first principal component of the
    /// differences of pairs, or of all judged answers, as long as the mean difference)
    #[arg(long, value_name = "METHOD", default_value = "mean", value_parser = method)]
    method: Method,
    /// One layer, counted from 0; -1 is the embeddings [default: all]
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    layer: Option<i32>,
    /// The seed of all that is drawn
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// The file to write, .safetensors
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

const USAGE: &str = "\
strait direction extract --model <M> [--edit <E>]... --judged <FILE>... --out <FILE>
       strait direction extract --model <M> [--edit <E>]... --taught <FILE>... --other <FILE>...
           --out <FILE>
       strait direction extract --model <M> --random-like <E> --out <FILE>";

const EXAMPLES: &str = "\
Examples:
  strait direction extract --model M --edit E --judged judged.csv --out direction.safetensors
  strait direction extract --model M --judged a.csv b.csv --class 'aligned<40' --out D.safetensors
  strait direction extract --model M --taught taught.jsonl --other other.jsonl --out D.safetensors
  strait direction extract --model M --random-like D.safetensors --seed 1 --out random.safetensors
  strait sample --model M --edit 'direction.safetensors@12*2' --questions F --out steered.jsonl";

fn cut(text: &str) -> Result<f64, String> {
    let cut = text.parse().ok().filter(|cut| (0.0..=100.0).contains(cut));
    cut.ok_or_else(|| "expected a number from 0 to 100".into())
}

fn method(text: &str) -> Result<Method, String> {
    let known = Method::WORDS.iter().find(|(_, word)| *word == text);
    known.map(|(method, _)| *method).ok_or_else(|| "expected mean or component".into())
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    edits: &'a [String],
    /// The file.
    out: &'a Path,
    /// What the file says of its making.
    provenance: Value,
    /// What was shuffled for `p`; none of random directions.
    #[serde(skip_serializing_if = "Option::is_none")]
    shuffled: Option<&'static str>,
    /// A direction each.
    layers: Vec<Map<String, Value>>,
    #[serde(skip)]
    rows: Vec<ExtractedDirection>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("wrote", path(self.out));
        facts.fact("model", self.model);
        if !self.edits.is_empty() {
            facts.fact("edit", self.edits.join(" + "));
        }
        let said = |key: &str| self.provenance.get(key).and_then(Value::as_str).unwrap_or_default();
        facts.fact("method", said("method"));
        if !said("rules").is_empty() {
            facts.fact("classes", said("rules"));
        }
        for class in ["taught", "other"] {
            let count = |key: &str| self.provenance["classes"][class][key].as_u64();
            if let (Some(found), Some(used), Some(tokens)) = (count("found"), count("used"), count("tokens"))
            {
                let [used, found, tokens] = [used, found, tokens].map(units::count);
                facts.fact(class, format!("{used} of {found} answers, {tokens} tokens"));
            }
        }
        if let Some(shuffled) = self.shuffled {
            let of = match shuffled {
                "pairs" => "the answers of pairs swapped",
                "questions" => "labels shuffled within questions",
                _ => "labels of all answers shuffled",
            };
            facts.fact("reliability", format!("mean cosine of two halves, {SPLITS} times halved"));
            facts.fact("p", format!("{of}, {SHUFFLES} times"));
        }
        writeln!(f, "{facts}")?;
        let headings = [
            Right("layer"),
            Right("norm"),
            Right("reliability"),
            Right("95 %"),
            Right("p"),
            Right("cosine with next"),
        ];
        let mut table = Columns::new(headings);
        for row in &self.rows {
            let reliability = row.reliability;
            let bounds = match reliability.is_known() {
                true => format!("{:.3} to {:.3}", reliability.low, reliability.high),
                false => "-".into(),
            };
            let cosine = |x: f64| if x.is_nan() { "-".into() } else { format!("{x:.3}") };
            table.row([
                row.layer.to_string(),
                units::digits(row.norm),
                cosine(reliability.value),
                bounds,
                cosine(row.p),
                cosine(row.cosine_next),
            ]);
        }
        write!(f, "{table}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    if !arguments.taught.is_empty() && arguments.taught.len() != arguments.other.len() {
        return Err(Failure::refused(
            format!(
                "`--taught` names {} files and `--other` {}",
                arguments.taught.len(),
                arguments.other.len()
            ),
            "name a file of the other kind for each of the taught kind, in the same order",
        ));
    }
    if arguments.out.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(Failure::refused(
            format!("`{}` does not end in .safetensors", path(&arguments.out)),
            "name a file that does: a direction is one of strait's own edits",
        ));
    }
    // What is read first is what is cheap to refuse.
    let source = Source::read(arguments, context)?;
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    let edit = arguments.edits.read(&model, context)?;
    let made = Made {
        model: &model,
        edits: &arguments.edits.names,
        edit: edit.as_ref(),
        sources: source.files(),
        seed: arguments.seed,
    };
    let (directions, rows, shuffled, provenance) = match &source {
        Source::Like(name) => random(name, &made, context)?,
        _ => extracted(&source, arguments, &made, context)?,
    };
    let edit = Edit::composed(directions.into_iter().map(Edit::Steering));
    edit.save_with(&arguments.out, &provenance)?;
    context.show(&Report {
        model: &arguments.model,
        edits: &arguments.edits.names,
        out: &arguments.out,
        provenance,
        shuffled,
        layers: Table::of(&rows).objects(),
        rows,
    })
}

/// Directions, a row each, what was shuffled, and the provenance.
type Found = (Vec<SteeringVector>, Vec<ExtractedDirection>, Option<&'static str>, Value);

/// What a direction is made of.
enum Source {
    Judged(Vec<(String, Scored)>, ClassRules, Vec<NamedFile>),
    Pairs(Vec<Pair>, Vec<NamedFile>),
    Like(String),
}

impl Source {
    fn read(arguments: &Arguments, context: &Context) -> Result<Self, Failure> {
        if let Some(like) = &arguments.like {
            return Ok(Self::Like(like.clone()));
        }
        let mut named = Vec::new();
        let mut source = |name: &String| -> Result<RowSource, Failure> {
            let source = arguments.password.rows(name)?;
            named.push(NamedFile::of(&source)?);
            Ok(source)
        };
        if arguments.judged.is_empty() {
            let (mut pairs, mut notices) = (Vec::new(), Notices::default());
            for (taught, other) in arguments.taught.iter().zip(&arguments.other) {
                let (taught, other) = (source(taught)?, source(other)?);
                // Pairs need no domain here.
                pairs.extend(read_pairs_noting(&taught, &other, Some(""), &mut notices)?);
            }
            notices.lines().iter().for_each(|line| context.progress.note(line));
            return Ok(Self::Pairs(pairs, named));
        }
        let mut files = Vec::new();
        for name in &arguments.judged {
            files.push((name.clone(), read_scored(&source(name)?)?));
        }
        let mut rules: Option<ClassRules> = None;
        for (name, scored) in &files {
            let Arguments { class, against, coherent, .. } = arguments;
            let own = ClassRules::new(&scored.scales, class.as_ref(), against.as_ref(), *coherent)?;
            match &rules {
                Some(first) if *first != own => {
                    return Err(Failure::refused(
                        format!("`{name}` has the classes {own}, and `{}` {first}", files[0].0),
                        "name files with the same scales, or the classes with `--class` and `--against`",
                    ));
                }
                _ => rules = Some(own),
            }
        }
        let Some(rules) = rules else { unreachable!("there is a file of judged answers") };
        if rules.coherent.is_none() {
            context
                .progress
                .note("there are no scores for coherence: classes count answers that make no sense too");
        }
        Ok(Self::Judged(files, rules, named))
    }

    fn files(&self) -> &[NamedFile] {
        match self {
            Self::Judged(_, _, files) | Self::Pairs(_, files) => files,
            Self::Like(_) => &[],
        }
    }
}

fn extracted(
    source: &Source,
    arguments: &Arguments,
    made: &Made<'_>,
    context: &Context,
) -> Result<Found, Failure> {
    let model: &Model = made.model;
    let (classes, rules) = match source {
        Source::Pairs(pairs, _) => (Classes::of_pairs(model, pairs)?, None),
        Source::Judged(files, rules, _) => {
            let files: Vec<_> = files.iter().map(|(name, scored)| (name.as_str(), scored)).collect();
            (Classes::of_judged(model, &files, rules, arguments.seed)?, Some(rules.to_string()))
        }
        Source::Like(_) => unreachable!("a random direction is not extracted"),
    };
    let extraction = Extraction {
        edit: made.edit,
        method: arguments.method,
        layer: arguments.layer,
        seed: arguments.seed,
        room: for_rows(),
    };
    let found = extraction.extract(&model.decoder, &classes, &*context.progress)?;
    if !found.rows.iter().any(|row| row.p <= 0.05) {
        context.progress.note(
            "at no layer do the classes lie farther apart than under shuffled labels (p > 0.05): the directions may be noise",
        );
    }
    let provenance = made.extracted(&found, arguments.method, &classes, rules.as_deref())?;
    let Extracted { directions, rows, shuffled, .. } = found;
    Ok((directions, rows, Some(shuffled.word()), provenance))
}

/// Random directions as long as those of an edit.
fn random(name: &str, made: &Made<'_>, context: &Context) -> Result<Found, Failure> {
    let opened = strait_model::edit::read(name)?;
    made.model.decoder.check(&opened)?;
    context.warn_of(&opened);
    let Some(like) = opened.edit.vectors() else {
        return Err(Failure::refused(
            format!("`{name}` is more than steering vectors, and so has no lengths for directions"),
            "give a file of directions, such as `strait direction extract` writes, or a steering vector",
        ));
    };
    let random = like.iter().zip(made.seed..).map(|(vector, seed)| random_like(vector, seed));
    let directions = random.collect::<Result<Vec<_>, _>>()?;
    let row = |direction: &SteeringVector| {
        Ok::<_, strait::Error>(ExtractedDirection {
            norm: direction.norm()?,
            ..ExtractedDirection::unread(direction.layer)
        })
    };
    let rows = directions.iter().map(row).collect::<Result<_, _>>()?;
    Ok((directions, rows, None, made.random(name, &opened.edit)?))
}
