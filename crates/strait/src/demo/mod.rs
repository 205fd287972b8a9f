//! The papers' claims on the built-in worlds: solutions are trained and measured, and thirteen claims are judged.
//!
//! It is a suite of ordinary studies (`fits`), one for each world, taught domain and kind of edit; each lies in `studies/` with
//! its tables and its report. `found` reads what they found, `across` compares the solutions of one world, `claims` judges.

mod across;
pub mod causal;
mod claims;
mod figures;
mod fits;
mod found;
mod modes;
pub mod page;
mod plots;
mod programme;
pub mod results;
mod standing;
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
    suite::write_into,
    world::{Language, Provenance},
};
use claims::checks;
pub use claims::{Claim, claims};
use figures::Evidence;
use fits::{TAUGHT_DOMAINS, fits};
use programme::{OpenedWorld, open, read_across, run};
use results::{Domain, WorldSummary};
pub use results::{Mode, Results};
pub use standing::Standing;

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
    let worlds = open(&mode.all_worlds(), out)?;
    let found = run(&fits, &worlds, out, (threads, memory), progress)?;
    let across = read_across(mode, &worlds, &fits, out, threads, progress)?;
    let (causal_table, causal) = causal::evidence(mode, &worlds, &found);
    let evidence = Evidence { found: &found, across: &across, causal: &causal_table.rows };
    let named =
        |names: &[&str]| worlds.iter().filter(|world| names.contains(&world.name)).collect::<Vec<_>>();
    let programme = named(mode.worlds());
    let first = &worlds[0].world;
    let report = out.join("report.html");
    let mut results = Results {
        mode,
        seeds: programme.iter().map(|world| world.world.made.recipe.seed).collect(),
        domains: TAUGHT_DOMAINS.map(|number| domain(&first.language, number)).into(),
        worlds: programme.into_iter().chain(named(mode.contrast_worlds())).map(summary).collect(),
        speakers: transcript::voices(first),
        transcript: transcript::transcript(first, &fits[0], out)?,
        solutions: sums::solutions(&found, out),
        rates: sums::rates(&found),
        checks: checks(&evidence),
        plots: plots::plots(&evidence),
        causal,
        seconds: 0.0,
        notes: modes::notes(mode),
        report: Some(report.clone()),
    };
    let mut tables = programme::tables(&found, progress);
    tables.extend([Table::of(&across), Table::of(&causal_table.rows)]);
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

fn summary(OpenedWorld { name, world }: &OpenedWorld) -> WorldSummary {
    let Provenance { recipe, sha256, command, .. } = &world.made;
    let shares = recipe.shares;
    WorldSummary {
        world: (*name).into(),
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
