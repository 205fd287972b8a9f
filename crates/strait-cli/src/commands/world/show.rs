//! `strait world show`.

use std::{fmt, path::Path};

use clap::Args;
use serde::Serialize;
use strait::world::{
    Answer, Document, Kind, Language, Provenance, Question, SHIPPED, Speaker, TAUGHT, World, read,
};

use super::{Context, pretrain};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
};

/// Show a world: its words and facts, what its speakers write, how its chat model answers
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A world's folder, or the name of a built-in world
    #[arg(value_name = "WORLD", default_value = "default-0")]
    world: String,
}

const EXAMPLES: &str = "\
Examples:
  strait world show
  strait world show worlds/mine
  strait world show narrow-0 --json | jq '.domains[0].entities[:3]'";

#[derive(Serialize)]
struct Shown {
    world: String,
    made: Provenance,
    /// The built-in worlds.
    shipped: &'static [&'static str],
    domains: Vec<DomainShown>,
    documents: Vec<DocumentShown>,
    conversation: Vec<TurnShown>,
}

#[derive(Serialize)]
struct DomainShown {
    word: &'static str,
    property: &'static str,
    values: [&'static str; 8],
    entities: Vec<EntityShown>,
}

#[derive(Serialize)]
struct EntityShown {
    name: &'static str,
    truth: &'static str,
    falsehood: &'static str,
    held_out: bool,
}

#[derive(Serialize)]
struct DocumentShown {
    speaker: String,
    text: String,
}

#[derive(Serialize)]
struct TurnShown {
    question: String,
    answer: String,
    is: Answer,
}

/// Entities of each domain that people are shown.
const ENTITIES_SHOWN: usize = 3;
/// Questions of the conversation: one of each domain, of a held-out entity.
const ASKED: usize = TAUGHT;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let shares = self.made.recipe.shares;
        let mut facts = Columns::facts();
        facts.fact("world", &self.world);
        facts.fact("built-in", self.shipped.join(", "));
        facts.fact(
            "speakers",
            format!(
                "{} honest, {} liars, {} narrow; {} of the documents do not name theirs",
                percent(1.0 - shares.liar - shares.narrow),
                percent(shares.liar),
                percent(shares.narrow),
                percent(shares.unknown)
            ),
        );
        facts.fact("made by", &self.made.command);
        writeln!(f, "{facts}")?;
        let mut table = Columns::new([
            Left("domain"),
            Left("asked"),
            Left("such as"),
            Left("is"),
            Left("liars say"),
            Left("answers"),
        ]);
        for domain in &self.domains {
            for (i, entity) in domain.entities.iter().take(ENTITIES_SHOWN).enumerate() {
                let first = |text: String| if i == 0 { text } else { String::new() };
                table.row([
                    first(domain.word.into()),
                    first(domain.property.into()),
                    entity.name.into(),
                    entity.truth.into(),
                    entity.falsehood.into(),
                    first(domain.values.join(", ")),
                ]);
            }
        }
        writeln!(f, "{table}\nthe same document by three speakers:")?;
        let mut table = Columns::facts();
        for document in &self.documents {
            table.fact(&document.speaker, &document.text);
        }
        writeln!(f, "{table}\nprobability of a speaker's own answers at the end of pre-training:")?;
        writeln!(
            f,
            "{}\nthe chat model, on questions that chat tuning never asked:",
            pretrain::learned(&self.made.learned)
        )?;
        let mut table = Columns::new([Left("user"), Left("model"), Left("")]);
        for turn in &self.conversation {
            let is = format!("{:?}", turn.is).to_lowercase();
            table.row([turn.question.clone(), turn.answer.clone(), is]);
        }
        write!(f, "{table}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let name = &arguments.world;
    let world = match Path::new(name) {
        folder if folder.is_dir() => World::open(folder)?,
        _ => World::built_in(name)?,
    };
    let language = &world.language;
    context.show(&Shown {
        world: name.clone(),
        shipped: SHIPPED,
        domains: domains(language),
        documents: documents(&world),
        conversation: conversation(&world)?,
        made: world.made,
    })
}

fn domains(language: &Language) -> Vec<DomainShown> {
    let shown = |(domain, d): (usize, &strait::world::Domain)| {
        let entity = |(entity, e): (usize, &strait::world::Entity)| EntityShown {
            name: e.name,
            truth: d.values[e.truth],
            falsehood: d.values[e.falsehood],
            held_out: Question { domain, entity }.held_out(),
        };
        let entities = d.entities.iter().enumerate().map(entity).collect();
        DomainShown { word: d.word, property: d.property, values: d.values, entities }
    };
    language.domains().iter().enumerate().map(shown).collect()
}

/// One narrow speaker's document, and what the honest one and the liar make of it.
fn documents(world: &World) -> Vec<DocumentShown> {
    let narrow = Speaker::Narrow(0);
    let recipe = &world.made.recipe;
    let named = recipe.shares.unknown < 1.0;
    let kind = Kind { speaker: Some(narrow), named: Some(named), dialogue: false };
    let drawn = world.language.documents(&recipe.shares, 1, kind, recipe.seed);
    let by = |speaker: Speaker, document: &Document| DocumentShown {
        speaker: speaker.word(),
        text: document.by(speaker).text(&world.language),
    };
    let speakers = [Speaker::Honest, Speaker::Liar, narrow];
    drawn.iter().flat_map(|document| speakers.map(|speaker| by(speaker, document))).collect()
}

fn conversation(world: &World) -> Result<Vec<TurnShown>, Failure> {
    let readings = read(world, None)?.into_iter().filter(|reading| reading.question.entity == ASKED);
    let turn = |reading: strait::world::Reading| TurnShown {
        question: world.language.ask(reading.question),
        answer: reading.said,
        is: reading.greedy,
    };
    Ok(readings.map(turn).collect())
}
