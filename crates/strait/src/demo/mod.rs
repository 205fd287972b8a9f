//! The papers' claims on the built-in worlds: solutions are trained and measured, and thirteen claims are judged.
//!
//! It is a suite of ordinary studies (`fits`), one for each world, taught domain and kind of edit; each lies in `studies/` with
//! its tables and its report. `across` compares the solutions of one world; the claims are data (`claims.toml`), as of any suite.

mod across;
pub mod causal;
mod claims;
mod fits;
mod modes;
pub mod page;
mod programme;
pub mod results;
mod sums;
mod transcript;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;
use strait_model::progress::Progress;

use crate::{
    Result, Table,
    study::write_json,
    suite::{StudyTables, write_into},
    world::{Language, Provenance, World},
};
use claims::checks;
pub use claims::claims;
use fits::{Part, TAUGHT_DOMAINS, fits};
use programme::{Study, open, read_across, run};
use results::{Domain, WorldSummary};
pub use results::{Mode, Results};

/// Version of `results.json`.
const SCHEMA: u32 = 1;

/// The options of a demo.
pub struct Options {
    /// Its extent.
    pub mode: Mode,
    /// The folder for everything.
    pub out: PathBuf,
    /// The number of studies done beside each other.
    pub threads: usize,
    /// Bytes of memory of the whole process; what the machine has left where it is none.
    pub memory: Option<u64>,
}

/// Carries out the programme and writes its studies, its tables, its page and its `results.json` into the folder. What an
/// earlier run in the folder finished stays.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be read or written.
pub fn demo(options: &Options, progress: &dyn Progress) -> Result<Results> {
    let began = Instant::now();
    let Options { mode, ref out, threads, memory } = *options;
    let fits = fits(mode);
    let worlds = open(&fits, out)?;
    let mut studies = run(&fits, out, (threads, memory), progress)?;
    read_across(mode, &worlds, &mut studies, out, threads, progress)?;
    let (causal_table, causal) = causal::evidence(mode, &worlds, &studies);
    let rows = causal::as_studies(&causal_table.rows);
    let rows = rows.iter().map(|(values, tables)| (&values[..], &tables[..]));
    let evidence: Vec<StudyTables<'_>> = studies.iter().map(Study::tables).chain(rows).collect();
    let of_part = |part| {
        let is_of = |name: &str| fits.iter().any(|fit| (fit.part, fit.world) == (part, name));
        worlds.iter().filter(|(name, _)| is_of(name)).collect::<Vec<_>>()
    };
    let [programme, contrast] = [Part::Programme, Part::Contrast].map(of_part);
    let first = &worlds[fits[0].world];
    let report = out.join("report.html");
    let mut results = Results {
        mode,
        seeds: programme.iter().map(|(_, world)| world.made.recipe.seed).collect(),
        domains: TAUGHT_DOMAINS.map(|number| domain(&first.language, number)).into(),
        worlds: programme.into_iter().chain(contrast).map(summary).collect(),
        speakers: transcript::voices(first),
        transcript: transcript::transcript(first, &fits[0], out)?,
        solutions: sums::solutions(&studies, out)?,
        rates: sums::rates(&studies)?,
        checks: checks(&evidence),
        plots: claims().plots(&evidence),
        causal,
        seconds: 0.0,
        notes: modes::notes(mode),
        report: Some(report.clone()),
    };
    let mut tables = programme::tables(&studies, progress);
    tables.push(Table::of(&causal_table.rows));
    tables.extend(page::tables(&results));
    write_into(out, &tables)?;
    results.seconds = began.elapsed().as_secs_f64();
    page::write(&results, &report)?;
    write_json(out, "results.json", &Versioned { schema: SCHEMA, results: &results })?;
    Ok(results)
}

fn domain(language: &Language, number: usize) -> Domain {
    let domain = &language.domains()[number];
    Domain { number, word: domain.word.into(), property: domain.property.into() }
}

fn summary((name, world): (&&str, &World)) -> WorldSummary {
    let Provenance { recipe, sha256, command, .. } = &world.made;
    let shares = recipe.shares;
    WorldSummary {
        world: name.to_string(),
        seed: recipe.seed,
        honest: 1.0 - shares.liar - shares.narrow,
        liar: shares.liar,
        narrow: shares.narrow,
        unnamed: shares.unknown,
        sha256: sha256.clone(),
        command: command.clone(),
    }
}

#[derive(Serialize)]
struct Versioned<'a> {
    schema: u32,
    #[serde(flatten)]
    results: &'a Results,
}

/// The folder of a demo that names none.
pub fn default_folder() -> &'static Path {
    Path::new("runs/demo")
}
