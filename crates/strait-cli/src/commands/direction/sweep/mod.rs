//! `strait direction sweep`.

mod judged;
mod shown;

use std::path::{Path, PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use strait::{
    Table,
    data::pairs::{Pair, read_pairs},
    direction::sweep::{self, Bench, Blocks, Mode, Notebook, Of, Removal, Set, Sweep, Swept},
    lab::{Group, PairRows},
};
use strait_model::Model;

use judged::JudgedArguments;
use shown::Report;

use super::super::{
    Context, DateArgument, EditArguments, PasswordArguments, device::DeviceArgument,
    precision::PrecisionArgument,
};
use crate::{failure::Failure, units};

/// Add directions to a model at every layer by every factor, or take them out of an edit
///
/// The effect is read by pairs of answers to the same questions: how much likelier the taught answers become than the other
/// ones, beside random directions of the same length. Layers are counted from 0; -1 is the embeddings. With --questions or
/// --general-questions it is read by answers as well, which are sampled under every edit and judged: the rate of taught answers, and of
/// those that make sense. With --out a sweep that was stopped goes on where it was.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M")]
    model: String,
    #[command(flatten)]
    edits: EditArguments,
    /// A direction: a file with one steering vector a layer, or FILE@LAYER for one of them; may be given several times
    #[arg(long = "direction", value_name = "FILE", required = true)]
    directions: Vec<String>,
    /// Chat rows with the answers of the taught kind; may be given several times
    #[arg(long, value_name = "F", required = true)]
    taught: Vec<String>,
    /// The same rows with answers of the other kind, a file for each of --taught
    #[arg(long, value_name = "F", required = true)]
    other: Vec<String>,
    /// Rows with taught answers outside the taught domain; may be given several times
    #[arg(long, value_name = "F")]
    general_taught: Vec<String>,
    /// The same rows with answers of the other kind, a file for each of --general-taught
    #[arg(long, value_name = "F")]
    general_other: Vec<String>,
    #[command(flatten)]
    password: PasswordArguments,
    /// The layers whose directions are used, between commas, or `all` that the files have
    #[arg(long, value_name = "LAYERS", default_value = "all", value_parser = layers, allow_hyphen_values = true)]
    layers: Layers,
    /// The factors by which a direction is added, between commas
    #[arg(long, value_name = "X,...", value_delimiter = ',', default_value = "0.5,1,1.5,2,3,4,6,8", value_parser = factor, allow_hyphen_values = true)]
    factors: Vec<f64>,
    /// Take the directions out instead: of each layer its own, of one layer everywhere, of one layer after its block, or of one
    /// layer out of the B of a LoRA; may be given several times
    #[arg(long = "ablate", value_name = "MODE", value_delimiter = ',', value_parser = PossibleValuesParser::new(Mode::NAMES.iter().map(|(name, _)| *name)))]
    ablate: Vec<String>,
    /// Take out all directions at once: the subspace that they span
    #[arg(long, requires = "ablate")]
    together: bool,
    /// The most pairs of each side of the domain, evenly of all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pairs: Option<u32>,
    /// Random directions beside each; each takes as long as the direction itself
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=1000))]
    random: u32,
    /// The seed of the random directions, and of answers
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 62))]
    seed: u64,
    /// Nats a token that the loss of the answers may rise by until an effect no longer counts
    #[arg(long, value_name = "NATS", default_value_t = 1.0, value_parser = nats)]
    coherence: f64,
    #[command(flatten)]
    judged: JudgedArguments,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// A folder for the tables, the report, and the readings and answers by which a sweep goes on
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  strait direction sweep --model M --direction d.safetensors --taught taught.jsonl \\
      --other plain.jsonl --layers 10,15,20 --factors 1,2,4 --out sweep
  strait direction sweep --model M --edit runs/mine/solutions/general --direction d.safetensors@15 \\
      --taught taught.jsonl --other plain.jsonl --ablate everywhere,layer --json
  strait direction sweep --model M --direction d.safetensors --taught taught.jsonl \\
      --other plain.jsonl --layers 10,15 --factors 1,2 --general-questions everyday.jsonl \\
      --n 4 --max-tokens 64 --judge style --out sweep";

/// The layers of a sweep; none are all.
#[derive(Clone, Debug)]
struct Layers(Vec<i32>);

fn layers(text: &str) -> Result<Layers, String> {
    if text == "all" {
        return Ok(Layers(Vec::new()));
    }
    let layer = |text: &str| text.trim().parse().ok().filter(|layer: &i32| *layer >= -1);
    let mut layers: Vec<i32> = text
        .split(',')
        .map(layer)
        .collect::<Option<_>>()
        .ok_or("expected `all`, or layers between commas, as in 0,4,8; -1 is the embeddings")?;
    layers.sort_unstable();
    layers.dedup();
    Ok(Layers(layers))
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.trim().parse().ok().filter(|factor: &f64| factor.is_finite());
    factor.ok_or_else(|| "expected numbers between commas".into())
}

fn nats(text: &str) -> Result<f64, String> {
    let nats = text.parse().ok().filter(|nats: &f64| nats.is_finite() && *nats > 0.0);
    nats.ok_or_else(|| "expected a number greater than 0".into())
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let inside = pairs(arguments, "--taught", &arguments.taught, "--other", &arguments.other)?;
    let outside = pairs(
        arguments,
        "--general-taught",
        &arguments.general_taught,
        "--general-other",
        &arguments.general_other,
    )?;
    let judging = arguments.judged.read(&arguments.password, context)?;
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    let edit = arguments.edits.read(&model, context)?;
    let sets = sets(&arguments.directions, &model, context)?;
    let rows = |group, pairs: &[Pair]| {
        let rows = PairRows::new(&model, group, pairs)?;
        Ok::<_, strait::Error>(
            arguments.pairs.map_or(rows.some(pairs.len()), |most| rows.some(most as usize)),
        )
    };
    let pairs = [rows(Group::Narrow, &inside)?, rows(Group::General, &outside)?];
    let settings = Sweep {
        layers: arguments.layers.0.clone(),
        factors: arguments.factors.clone(),
        random: arguments.random as usize,
        coherence: arguments.coherence,
        seed: arguments.seed,
    };
    let modes: Vec<Mode> = Mode::NAMES
        .iter()
        .filter(|(name, _)| arguments.ablate.iter().any(|asked| asked == name))
        .map(|(_, mode)| *mode)
        .collect();
    let mut notebook = match &arguments.out {
        None => Notebook::none(),
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(strait_model::Error::io(folder, "create the folder"))?;
            let all = (&settings, &modes, arguments.together, &arguments.directions);
            Notebook::open(&folder.join("readings.json"), &model, edit.as_ref(), &sets, &pairs, &all)?
        }
    };
    if notebook.is_begun() {
        context.progress.note("going on with the readings of an earlier sweep of the same");
    }
    let mut bench = Bench { pairs: &pairs, notebook: &mut notebook, progress: &*context.progress };
    let mut found = Swept::default();
    let name = match arguments.edits.names.as_slice() {
        [] => "base".into(),
        names => names.join(" + "),
    };
    let of = Of { name: &name, edit: edit.as_ref() };
    let removals: Vec<Removal> = settings.removals(&sets, arguments.together, &modes)?;
    let blocks: Blocks;
    if modes.is_empty() {
        (found.steered, found.domains, blocks) = settings.steer(&model, edit.as_ref(), &sets, &mut bench)?;
    } else {
        (found.ablated, blocks) = settings.remove(&model, &[of], &removals, &mut bench)?;
    }
    let mut usage = None;
    if let (Some(judging), Some(folder)) = (&judging, &arguments.out) {
        let taken = (!modes.is_empty()).then_some((of, &removals[..]));
        let (rates, used) =
            judging.sweep(&settings, (&model, edit.as_ref()), &sets, taken, (arguments, folder), context)?;
        usage = used;
        found = Swept { steered_rates: rates.steered_rates, ablated_rates: rates.ablated_rates, ..found };
    }
    let report = arguments.out.as_deref().map(|folder| write(folder, arguments, &found)).transpose()?;
    context.show(&Report {
        model: &arguments.model,
        edits: &arguments.edits.names,
        directions: &arguments.directions,
        pairs: [pairs[0].len(), pairs[1].len()],
        questions: judging.as_ref().map(|judging| judging.questions),
        answers: judging.as_ref().map(|judging| judging.answers),
        steering: Table::of(&found.steered).objects(),
        domains: Table::of(&found.domains).objects(),
        ablation: Table::of(&found.ablated).objects(),
        steering_rates: Table::of(&found.steered_rates).objects(),
        ablation_rates: Table::of(&found.ablated_rates).objects(),
        blocks,
        endpoint: usage,
        report,
        shown: found,
    })
}

/// The pairs of files, two of which belong together each.
fn pairs(
    arguments: &Arguments,
    one: &str,
    taught: &[String],
    two: &str,
    other: &[String],
) -> Result<Vec<Pair>, Failure> {
    if taught.len() != other.len() {
        return Err(Failure::refused(
            format!(
                "{one} names {}, {two} {}",
                units::plural(taught.len(), "file"),
                units::plural(other.len(), "file")
            ),
            format!(
                "give a file of {two} for each of {one}, in the same order: both have the same questions"
            ),
        ));
    }
    let mut all = Vec::new();
    for (taught, other) in taught.iter().zip(other) {
        all.extend(read_pairs(&arguments.password.rows(taught)?, &arguments.password.rows(other)?, None)?);
    }
    Ok(all)
}

/// The directions of files that fit the model.
fn sets(names: &[String], model: &Model, context: &Context) -> Result<Vec<Set>, Failure> {
    let mut sets: Vec<Set> = Vec::new();
    for name in names {
        let opened = strait_model::edit::read(name)?;
        model.decoder.check(&opened)?;
        context.warn_of(&opened);
        if sets.iter().any(|set| set.name == *name) {
            return Err(Failure::refused(
                format!("the direction `{name}` is named twice"),
                "name each file once".to_string(),
            ));
        }
        sets.push(Set::of(name, &opened.edit.to_device(model.decoder.device())?)?);
    }
    Ok(sets)
}

/// Writes the tables that have rows, and the report; returns its path.
fn write(folder: &Path, arguments: &Arguments, found: &Swept) -> Result<PathBuf, Failure> {
    for table in found.tables() {
        table.write_csv(&folder.join(format!("{}.csv", table.name())))?;
        table.write_parquet(&folder.join(format!("{}.parquet", table.name())))?;
    }
    let path = folder.join("report.html");
    let edits = &arguments.edits.names;
    let facts = [
        format!("Model: {}", arguments.model),
        format!("Edit: {}", if edits.is_empty() { "none".into() } else { edits.join(" + ") }),
        format!("Directions: {}", arguments.directions.join(", ")),
        format!("Random directions beside each: {}, from seed {}", arguments.random, arguments.seed),
        format!(
            "Incoherent: where the loss of the answers rises by more than {} nats a token",
            arguments.coherence
        ),
    ];
    strait_model::files::write(&path, sweep::page("strait direction sweep", &facts, found))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_all_or_a_list() {
        let read = |text: &str| layers(text).map(|layers| layers.0);
        assert_eq!(read("all"), Ok(Vec::new()));
        assert_eq!(read("8, -1,4,8"), Ok(vec![-1, 4, 8]));
        for text in ["", "1,", "-2", "1.5", "x"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
