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
    direction::{
        extract::{Extracted, ExtractedDirection, Extraction, Made, Method, SHUFFLES, SPLITS},
        random_like,
    },
    lab::for_rows,
    table::Word,
};
use strait_model::{Edit, Model, edit::SteeringVector};

use super::super::{
    Context, DateArgument, EditArguments, PasswordArguments,
    classes::{ClassArguments, ClassSource},
    device::DeviceArgument,
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
    #[command(flatten)]
    classes: ClassArguments,
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
    if arguments.out.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(Failure::refused(
            format!("`{}` does not end in .safetensors", path(&arguments.out)),
            "name a file that does: a direction is one of strait's own edits",
        ));
    }
    // What is read first is what is cheap to refuse.
    let source = match &arguments.like {
        Some(like) => Source::Like(like),
        None => Source::Classes(arguments.classes.read(&arguments.password, context)?),
    };
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    let edit = arguments.edits.read(&model, context)?;
    let made = Made {
        model: &model,
        edits: &arguments.edits.names,
        edit: edit.as_ref(),
        sources: match &source {
            Source::Classes(classes) => classes.files(),
            Source::Like(_) => &[],
        },
        seed: arguments.seed,
    };
    let (directions, rows, shuffled, provenance) = match &source {
        Source::Classes(classes) => extracted(classes, arguments, &made, context)?,
        Source::Like(name) => random(name, &made, context)?,
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
enum Source<'a> {
    Classes(ClassSource),
    Like(&'a str),
}

fn extracted(
    source: &ClassSource,
    arguments: &Arguments,
    made: &Made<'_>,
    context: &Context,
) -> Result<Found, Failure> {
    let model: &Model = made.model;
    let classes = source.classes(model, arguments.seed)?;
    let rules = source.rules().map(ToString::to_string);
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
