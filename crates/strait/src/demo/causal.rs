//! What decides: the same fine-tunes in worlds whose pre-training heard some speakers more often than others (claim 13).
//!
//! In every world a solution that was forced to be general (false rows of all domains) and one that was forced to be narrow
//! (KL penalty) are judged on the false rows of one domain, beside what plain fine-tuning finds there.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    bench::{Bench, Fit, Kind, Penalty, Rows},
    piece::{Both, NOISE, solution},
    results::or_nan,
};
use crate::{Result, Table, world::World};

/// The worlds of the table: shares of speakers times seeds.
pub const WORLDS: [&str; 9] = [
    "default-0",
    "default-1",
    "default-2",
    "middle-0",
    "middle-1",
    "middle-2",
    "narrow-0",
    "narrow-1",
    "narrow-2",
];
/// The domains in which falsehood is taught.
pub const TAUGHT_DOMAINS: [usize; 3] = [0, 2, 4];
/// The kinds of edits.
pub const KINDS: [Kind; 2] = [Kind::Vector, Kind::Rank8];
/// The command that makes the table.
pub const COMMAND: &str = "strait world causal --live";

const SHIPPED: &str = include_str!("../../worlds/causal.csv");
const SHIPPED_ORIGIN: &str = include_str!("../../worlds/causal.json");

/// One kind of edit in one domain of one world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The world.
    pub world: String,
    /// Its seed.
    pub seed: u64,
    /// Share of liars in its pre-training.
    pub liar: f64,
    /// Share of narrow speakers, of all domains together.
    pub narrow: f64,
    /// The domain in which falsehood was taught.
    pub taught: String,
    /// The kind of edit.
    pub edit: Kind,
    /// What plain fine-tuning finds: the rate in the taught domain, on held-out entities.
    pub plain_narrow: f64,
    /// And in the other domains.
    pub plain_general: f64,
    /// Share of true or known false answers there.
    pub plain_coherence: f64,
    /// The forced-general solution's rate in the taught domain.
    pub forced_general_narrow: f64,
    /// And in the others.
    pub forced_general_general: f64,
    /// The forced-narrow solution's rate in the taught domain.
    pub forced_narrow_narrow: f64,
    /// And in the others.
    pub forced_narrow_general: f64,
    /// Training loss of forced-narrow less that of forced-general at half their mean norm, nats a token.
    pub gap: f64,
    /// At a quarter of it.
    pub gap_quarter: f64,
    /// Cosine of minus the first gradient with forced-general.
    #[serde(deserialize_with = "or_nan")]
    pub gradient_general: f64,
    /// With forced-narrow.
    #[serde(deserialize_with = "or_nan")]
    pub gradient_narrow: f64,
    /// Share of its gain that forced-general loses to noise of a half.
    #[serde(deserialize_with = "or_nan")]
    pub lost_general: f64,
    /// That forced-narrow loses.
    #[serde(deserialize_with = "or_nan")]
    pub lost_narrow: f64,
    /// KL on documents at half the mean norm, of forced-general, nats a token.
    pub documents_general: f64,
    /// Of forced-narrow.
    pub documents_narrow: f64,
    /// Of random directions.
    pub documents_random: f64,
}

/// How a table came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The day, in UTC.
    pub date: String,
    /// The command.
    pub command: String,
    /// The version of strait.
    pub strait: String,
    /// The worlds and the SHA-256 of their weights.
    pub worlds: Vec<(String, String)>,
}

/// The rows and how they came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CausalTable {
    /// How it came about.
    pub origin: Origin,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl CausalTable {
    /// The table that the binary holds.
    pub fn shipped() -> Self {
        let rows = csv::Reader::from_reader(SHIPPED.as_bytes()).into_deserialize();
        Self {
            origin: serde_json::from_str(SHIPPED_ORIGIN).expect("a test reads the shipped table"),
            rows: rows.collect::<Result<_, _>>().expect("a test reads the shipped table"),
        }
    }

    /// As a table for files.
    pub fn table(&self) -> Table {
        let about = "Causal: plain fine-tuning, and a forced-general and a forced-narrow solution judged on the false rows of \
                     one domain, in worlds that differ in how common each kind of speaker was";
        Table::of_rows("causal", about, &self.rows)
            .text("world", |r| r.world.clone())
            .integer("seed", "", |r| r.seed as i64)
            .real("liar", "", |r| r.liar)
            .real("narrow", "", |r| r.narrow)
            .text("taught", |r| r.taught.clone())
            .text("edit", |r| r.edit.name().into())
            .real("plain_narrow", "", |r| r.plain_narrow)
            .real("plain_general", "", |r| r.plain_general)
            .real("plain_coherence", "", |r| r.plain_coherence)
            .real("forced_general_narrow", "", |r| r.forced_general_narrow)
            .real("forced_general_general", "", |r| r.forced_general_general)
            .real("forced_narrow_narrow", "", |r| r.forced_narrow_narrow)
            .real("forced_narrow_general", "", |r| r.forced_narrow_general)
            .real("gap", "nats/token", |r| r.gap)
            .real("gap_quarter", "nats/token", |r| r.gap_quarter)
            .real("gradient_general", "", |r| r.gradient_general)
            .real("gradient_narrow", "", |r| r.gradient_narrow)
            .real("lost_general", "", |r| r.lost_general)
            .real("lost_narrow", "", |r| r.lost_narrow)
            .real("documents_general", "nats/token", |r| r.documents_general)
            .real("documents_narrow", "nats/token", |r| r.documents_narrow)
            .real("documents_random", "nats/token", |r| r.documents_random)
            .table()
    }

    /// Writes the table as CSV and Parquet, and its origin as JSON.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let table = self.table();
        table.write_csv(&folder.join("causal.csv"))?;
        table.write_parquet(&folder.join("causal.parquet"))?;
        Ok(super::files::write_json(&folder.join("causal.json"), &self.origin)?)
    }
}

const PLAIN: &str = "plain";
const FORCED_GENERAL: &str = "forced-general";
const FORCED_NARROW: &str = "forced-narrow";

/// The fits of a row.
fn fits(kind: Kind) -> [(&'static str, Fit<'static>); 3] {
    let plain = Fit { watch: &[0], ..Fit::new(kind) };
    [
        (PLAIN, plain),
        (FORCED_GENERAL, Fit { rows: Rows::Everywhere, ..Fit::new(kind) }),
        (FORCED_NARROW, Fit { penalty: Penalty::Others, ..Fit::new(kind) }),
    ]
}

/// The work of a row, in steps on false rows alone.
pub(super) fn cost(kind: Kind) -> u64 {
    fits(kind).iter().map(|(_, fit)| fit.cost()).sum()
}

/// Makes a row.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be written.
pub(super) fn row(name: &str, world: &World, bench: &mut Bench<'_>, kind: Kind) -> Result<Row> {
    let [plain, general, narrow] = fits(kind).map(|(role, fit)| bench.fit(&solution(role, kind), &fit));
    let (plain, both) = (plain?, Both { kind, general: general?, narrow: narrow? });
    let reading = |edit| bench.read(Some(edit));
    let found = [reading(&plain.edit)?, reading(&both.general.edit)?, reading(&both.narrow.edit)?];
    let [found, general, narrow] = found.map(|reading| reading.rates);
    let (_, start) = &plain.along[0];
    let gradient = both.gradient(bench, PLAIN, 0, start)?;
    let documents = both.significance(world)?;
    let stability = both.stability(bench)?;
    let lost = stability.iter().find(|lost| lost.epsilon == NOISE);
    let half = documents.iter().find(|at| at.norm == 0.5);
    let recipe = &world.made.recipe;
    Ok(Row {
        world: name.into(),
        seed: recipe.seed,
        liar: recipe.shares.liar,
        narrow: recipe.shares.narrow,
        taught: world.language.domains()[bench.domain].word.into(),
        edit: kind,
        plain_narrow: found.narrow,
        plain_general: found.general,
        plain_coherence: found.coherence,
        forced_general_narrow: general.narrow,
        forced_general_general: general.general,
        forced_narrow_narrow: narrow.narrow,
        forced_narrow_general: narrow.general,
        gap: both.gap(bench, 0.5)?,
        gap_quarter: both.gap(bench, 0.25)?,
        gradient_general: gradient.general,
        gradient_narrow: gradient.narrow,
        lost_general: lost.map_or(f64::NAN, |lost| lost.general),
        lost_narrow: lost.map_or(f64::NAN, |lost| lost.narrow),
        documents_general: half.map_or(f64::NAN, |at| at.general),
        documents_narrow: half.map_or(f64::NAN, |at| at.narrow),
        documents_random: half.map_or(f64::NAN, |at| at.random),
    })
}
