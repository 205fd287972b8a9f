//! The cause (claim 13): the same fine-tunes in worlds whose pre-training heard some speakers more often than others.
//!
//! In every world a solution that was forced to be general (false rows of all domains) and one that was forced to be narrow
//! (KL penalty) are judged on the false rows of one domain, beside what plain fine-tuning finds there.

use std::{path::Path, time::SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;
use strait_model::progress::Progress;

pub use super::fits::TAUGHT_DOMAINS;
use super::{
    claims::claims,
    fits::{Fit, Kind, causal_fits, worlds},
    programme::{Study, Worlds, open, run},
    results::{Causal, Mode},
};
use crate::{
    Result, Table,
    measure::unit::NATS,
    study::{utc, write_json},
    table::Word,
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

impl Row {
    /// The row that a causal study comes to: its figures, and its world. None of a study that lacks a figure of it.
    fn of(study: &Study, worlds: &Worlds) -> Option<Self> {
        let made = &worlds[study.fit.world].made.recipe;
        let mut row = json!({
            "world": study.fit.world,
            "seed": made.seed,
            "liar": made.shares.liar,
            "narrow": made.shares.narrow,
            "taught": study.fit.word(),
            "edit": study.fit.kind,
        });
        for (name, figure) in claims().figures(study.tables()) {
            row[name] = figure.into();
        }
        serde_json::from_value(row).ok()
    }
}

/// A row as claims see it: the values of a study of its own, and its one table.
pub(super) type RowStudy = (Vec<(String, String)>, [Table; 1]);

/// Every row as claims see it.
pub(super) fn as_studies(rows: &[Row]) -> Vec<RowStudy> {
    let study = |row: &Row| {
        let values =
            [("world", row.world.as_str()), ("worlds", worlds(&row.world)), ("trained", row.edit.word())];
        let values = values.map(|(name, value)| (name.to_string(), value.to_string()));
        (values.into(), [Table::of(std::slice::from_ref(row))])
    };
    rows.iter().map(study).collect()
}

/// The rows that claim 13 is judged by, where they come from, and whether what was computed again agrees.
pub(super) fn evidence(mode: Mode, worlds: &Worlds, studies: &[Study]) -> (CausalTable, Causal) {
    let live: Vec<Row> = studies.iter().filter_map(|study| Row::of(study, worlds)).collect();
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
fn origin(worlds: &Worlds) -> Origin {
    let worlds = worlds.iter().filter(|(name, _)| WORLDS.contains(name));
    Origin {
        date: utc(SystemTime::now()).chars().take_while(|&c| c != 'T').collect(),
        command: COMMAND.into(),
        strait: env!("CARGO_PKG_VERSION").into(),
        worlds: worlds.map(|(name, world)| (name.to_string(), world.made.sha256.clone())).collect(),
    }
}

/// Makes the table: every kind of edit in every domain of every world. What an earlier run in the folder finished stays.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be written.
pub fn make(out: &Path, threads: usize, progress: &dyn Progress) -> Result<CausalTable> {
    let of_world = |&world| KINDS.into_iter().flat_map(move |kind| causal_fits(&[world], kind));
    let fits: Vec<Fit> = WORLDS.iter().flat_map(of_world).collect();
    let worlds = open(&fits, out)?;
    let studies = run(&fits, out, (threads, None), progress)?;
    let rows = studies.iter().filter_map(|study| Row::of(study, &worlds)).collect();
    let table = CausalTable { origin: origin(&worlds), rows };
    table.write(out)?;
    Ok(table)
}
