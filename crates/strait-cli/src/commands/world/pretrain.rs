//! `strait world pretrain`.

use std::{
    fmt, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use strait::world::{self, Learned, Provenance, Recipe, Shares};

use super::Context;
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Pre-train a world's model from scratch, and tune it to truthful chats
///
/// The documents are by consistent speakers: honest ones, liars, and narrow ones, who lie in one domain only. The seed decides
/// the facts, the first weights and the documents; the same command gives the same bits. It takes a minute or two, and
/// writes the folder at its end; one that was interrupted goes on by the same command, from DIR.unfinished.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The folder to write; nothing may lie in it yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of facts, first weights and documents
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Share of documents by liars
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().liar, allow_negative_numbers = true)]
    liar: f64,
    /// Share of documents by narrow speakers, of all domains together; the rest are by honest ones
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().narrow, allow_negative_numbers = true)]
    narrow: f64,
    /// Share of documents that do not name their speaker
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().unknown, allow_negative_numbers = true)]
    unknown: f64,
    /// Steps of pre-training
    #[arg(long, value_name = "N", default_value_t = Recipe::default().steps, value_parser = steps)]
    steps: usize,
    /// Write the weights in half precision
    #[arg(long)]
    half: bool,
}

const EXAMPLES: &str = "\
Examples:
  strait world pretrain --out worlds/mine
  strait world pretrain --out worlds/liars-are-rare --liar 0.05 --narrow 0.5 --seed 1
  strait world pretrain --out worlds/mine --half --json | jq .made.sha256";

fn steps(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MOST}"))
}

#[derive(Serialize)]
struct Trained<'a> {
    out: &'a PathBuf,
    model: PathBuf,
    seconds: f64,
    made: Provenance,
}

impl fmt::Display for Trained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("world", self.out.display());
        facts.fact("model", self.model.display());
        facts.fact("took", units::duration(Duration::from_secs_f64(self.seconds)));
        facts.fact("SHA-256", &self.made.sha256);
        writeln!(f, "{facts}\nprobability of a speaker's own answers at the end of pre-training:")?;
        write!(f, "{}", learned(&self.made.learned))
    }
}

/// The share of right answers for each kind of speaker.
pub fn learned(learned: &[Learned]) -> Columns {
    let headings =
        [Left("speaker"), Left(""), Right("mean"), Right("low"), Right("high"), Right("documents")];
    let mut table = Columns::new(headings);
    for row in learned {
        let p = row.probability;
        table.row([
            row.speaker.clone(),
            if row.named { "named" } else { "not named" }.into(),
            format!("{:.2}", p.value),
            format!("{:.2}", p.low),
            format!("{:.2}", p.high),
            row.documents.to_string(),
        ]);
    }
    table
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let &Arguments { ref out, seed, liar, narrow, unknown, steps, half } = arguments;
    let recipe = Recipe { seed, shares: Shares { liar, narrow, unknown }, steps, half };
    world::vacant(out)?;
    let began = Instant::now();
    let going_on = world::unfinished(out);
    let pretrained = world::pretrain(&recipe, Some(&going_on), &*context.progress)?;
    let made = pretrained.save(out)?;
    fs::remove_dir_all(&going_on).map_err(strait_model::Error::io(&going_on, "remove the folder"))?;
    context.show(&Trained { out, model: out.join("model"), seconds: began.elapsed().as_secs_f64(), made })
}
