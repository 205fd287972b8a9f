//! The cause (claim 13): the same fine-tunes in worlds whose pre-training heard some speakers more often than others.
//!
//! In every world a solution that was forced to be general (false rows of all domains) and one that was forced to be narrow
//! (KL penalty) are judged on the false rows of one domain, beside what plain fine-tuning finds there.

use std::{collections::BTreeMap, path::Path, time::SystemTime};

use serde::{Deserialize, Serialize};
use strait_model::progress::Progress;

pub use super::fits::TAUGHT_DOMAINS;
use super::{
    fits::{FORCED_GENERAL, FORCED_NARROW, Kind, PLAIN, causal_fits},
    found::{Direction, Found, NOISE, mean},
    programme::{OpenedWorld, open, run},
    results::{Causal, Mode},
};
use crate::{
    Result, Table,
    measure::{Asked, unit::NATS},
    study::{utc, write_json},
    world::SHIPPED,
};

/// The worlds of the table, shares of speakers times seeds: all but the contrast worlds.
pub const WORLDS: &[&str] = SHIPPED.split_at(9).0;
/// The kinds of edits.
pub const KINDS: [Kind; 2] = [Kind::Vector, Kind::Rank8];
/// The command that makes the table.
pub const COMMAND: &str = "strait world causal --live";

/// The most that a rate computed again may differ from the table's: other processors round otherwise, and 500 steps carry it on.
const AGREEMENT: f64 = 0.1;

const TABLE: &str = include_str!("../../worlds/causal.csv");
const ORIGIN: &str = include_str!("../../worlds/causal.json");

crate::row! {
    /// One kind of edit in one domain of one world.
    #[derive(Serialize, Deserialize)]
    pub struct Row in "causal",
        "Causal: plain fine-tuning, and a forced-general and a forced-narrow solution judged on the false rows of one domain, \
         in worlds that differ in how common each kind of speaker was"
    {
        /// The world.
        world: String,
        /// Its seed.
        seed: u64,
        /// Share of liars in its pre-training.
        liar: f64,
        /// Share of narrow speakers, of all domains together.
        narrow: f64,
        /// The domain in which falsehood was taught.
        taught: String,
        /// The kind of edit.
        edit: Kind,
        /// Rate of plain fine-tuning in the taught domain, on held-out entities.
        plain_narrow: f64,
        /// And in the other domains.
        plain_general: f64,
        /// Share of true or known false answers there.
        plain_coherence: f64,
        /// The forced-general solution's rate in the taught domain.
        forced_general_narrow: f64,
        /// And in the others.
        forced_general_general: f64,
        /// The forced-narrow solution's rate in the taught domain.
        forced_narrow_narrow: f64,
        /// And in the others.
        forced_narrow_general: f64,
        /// Training loss of forced-narrow less that of forced-general at half their mean norm.
        gap: f64 = NATS,
        /// At a quarter of it.
        gap_quarter: f64 = NATS,
        /// Cosine of minus the first gradient with forced-general.
        gradient_general: f64,
        /// With forced-narrow.
        gradient_narrow: f64,
        /// Share of its gain that forced-general loses to noise of a half.
        lost_general: f64,
        /// The share that forced-narrow loses.
        lost_narrow: f64,
        /// KL on documents at half the mean norm, of forced-general.
        documents_general: f64 = NATS,
        /// Of forced-narrow.
        documents_narrow: f64 = NATS,
        /// Of random directions.
        documents_random: f64 = NATS,
    }
}

/// The origin of a table: the runs and settings that made it.
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
    /// Its origin.
    pub origin: Origin,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl CausalTable {
    /// The table that the binary holds.
    pub fn shipped() -> Self {
        let rows = csv::Reader::from_reader(TABLE.as_bytes()).into_deserialize();
        Self {
            origin: serde_json::from_str(ORIGIN).expect("a test reads the shipped table"),
            rows: rows.collect::<Result<_, _>>().expect("a test reads the shipped table"),
        }
    }

    /// Writes the table as CSV and Parquet, and its origin as JSON.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let table = Table::of(&self.rows);
        table.write_csv(&folder.join("causal.csv"))?;
        table.write_parquet(&folder.join("causal.parquet"))?;
        write_json(folder, "causal.json", &self.origin)
    }
}

/// A figure and the rate in the other domains after plain fine-tuning, the mean of every world.
pub(super) fn means_of_worlds<'a>(
    rows: impl Iterator<Item = &'a Row>,
    of: impl Fn(&Row) -> f64,
) -> Vec<(f64, f64)> {
    let mut worlds: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        worlds.entry(&row.world).or_default().push(row);
    }
    let of_world = |rows: Vec<&Row>| {
        (mean(rows.iter().map(|row| of(row))), mean(rows.iter().map(|row| row.plain_general)))
    };
    worlds.into_values().map(of_world).collect()
}

impl Row {
    /// The cosine of the first gradient with the forced-general solution less that with the forced-narrow one.
    pub(super) fn gradient(&self) -> f64 {
        self.gradient_general - self.gradient_narrow
    }

    /// The share of its gain that forced-narrow loses to noise less that of forced-general.
    pub(super) fn lost(&self) -> f64 {
        self.lost_narrow - self.lost_general
    }

    /// Log ratio of KL on documents, forced-general to forced-narrow.
    pub(super) fn documents(&self) -> f64 {
        (self.documents_general / self.documents_narrow).ln()
    }

    /// The row that a causal study comes to; none of a study that lacks a figure of it.
    pub(super) fn of(found: &Found) -> Option<Self> {
        let forced = [FORCED_GENERAL, FORCED_NARROW];
        let first = found.first_gradient(FORCED_GENERAL)?;
        Some(Self {
            world: found.fit.world.into(),
            seed: found.seed,
            liar: found.liar,
            narrow: found.narrow,
            taught: found.fit.word().into(),
            edit: found.fit.kind,
            plain_narrow: found.inside(PLAIN)?,
            plain_general: found.general(PLAIN)?,
            plain_coherence: found.row(PLAIN, 1.0, Asked::General)?.coherent,
            forced_general_narrow: found.inside(FORCED_GENERAL)?,
            forced_general_general: found.general(FORCED_GENERAL)?,
            forced_narrow_narrow: found.inside(FORCED_NARROW)?,
            forced_narrow_general: found.general(FORCED_NARROW)?,
            gap: found.gap(forced, 1)?,
            gap_quarter: found.gap(forced, 0)?,
            gradient_general: first.cosine_general,
            gradient_narrow: first.cosine_narrow,
            lost_general: found.lost(FORCED_GENERAL, NOISE)?,
            lost_narrow: found.lost(FORCED_NARROW, NOISE)?,
            documents_general: found.on_documents(Direction::Of(FORCED_GENERAL), 0.5)?,
            documents_narrow: found.on_documents(Direction::Of(FORCED_NARROW), 0.5)?,
            documents_random: found.on_documents(Direction::Random, 0.5)?,
        })
    }
}

/// The rows that claim 13 is judged by, where they come from, and whether what was computed again agrees.
pub(super) fn evidence(mode: Mode, worlds: &[OpenedWorld], found: &[Found]) -> (CausalTable, Causal) {
    let live: Vec<Row> = found.iter().filter_map(Row::of).collect();
    let shipped = CausalTable::shipped();
    let same = |row: &&Row, live: &Row| {
        (&row.world, &row.taught, row.edit) == (&live.world, &live.taught, live.edit)
    };
    let apart = |live: &Row| {
        let row = shipped.rows.iter().find(|row| same(row, live))?;
        Some((row.plain_general - live.plain_general).abs())
    };
    let apart: Vec<f64> = live.iter().filter_map(apart).collect();
    let most = apart.iter().copied().fold(0.0, f64::max);
    let agrees = (!apart.is_empty()).then_some(most <= AGREEMENT);
    let proof = match agrees {
        None => String::new(),
        Some(agrees) => format!(
            "computed again: {} of the table's {} rows; the rate in other domains after plain fine-tuning differs by {most:.3} \
             at most, which {} the bound of {AGREEMENT}",
            apart.len(),
            shipped.rows.len(),
            if agrees { "is within" } else { "is beyond" }
        ),
    };
    let table = if mode == Mode::Full { CausalTable { origin: origin(worlds), rows: live } } else { shipped };
    let Origin { date, command, .. } = table.origin.clone();
    (table, Causal { date, command, proof, agrees })
}

/// The origin of a table that is made now.
fn origin(worlds: &[OpenedWorld]) -> Origin {
    let worlds = worlds.iter().filter(|world| WORLDS.contains(&world.name));
    Origin {
        date: utc(SystemTime::now()).chars().take_while(|&c| c != 'T').collect(),
        command: COMMAND.into(),
        strait: env!("CARGO_PKG_VERSION").into(),
        worlds: worlds.map(|w| (w.name.into(), w.world.made.sha256.clone())).collect(),
    }
}

/// Makes the table: every kind of edit in every domain of every world. What an earlier run in the folder finished stays.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be written.
pub fn make(out: &Path, threads: usize, progress: &dyn Progress) -> Result<CausalTable> {
    let worlds = open(WORLDS, out)?;
    let fits =
        WORLDS.iter().flat_map(|&world| KINDS.into_iter().flat_map(move |kind| causal_fits(&[world], kind)));
    let found = run(&fits.collect::<Vec<_>>(), &worlds, out, (threads, None), progress)?;
    let rows = found.iter().filter_map(Row::of).collect();
    let table = CausalTable { origin: origin(&worlds), rows };
    table.write(out)?;
    Ok(table)
}
