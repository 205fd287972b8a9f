//! The whole programme on the built-in worlds: solutions are trained, measured, and held against thirteen claims.
//!
//! The work is cut into jobs: one world, one taught domain, one kind of edit. A job runs on one thread, as many beside each
//! other as there are threads, so that no figure depends on their number; what it finds is one JSON file, whole or absent,
//! and is not done again.

mod across;
#[cfg(test)]
mod as_study;
mod bench;
pub mod causal;
mod claims;
mod files;
mod jobs;
pub mod live;
pub mod page;
mod pair;
mod piece;
mod plots;
pub mod results;
mod tables;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;
use strait_model::progress::{Progress, Unit};

use crate::{
    Result,
    interval::Interval,
    world::{self, Answer, DOMAINS, Document, ENTITIES, Language, Question, Speaker, TAUGHT},
};
use across::{Across, across};
use bench::{Kind, Reading};
use causal::{CausalTable, Row, TAUGHT_DOMAINS};
use claims::{Evidence, checks};
use files::write_json;
use jobs::{Folder, Job, Jobs, OpenedWorld, each};
use pair::{How, Pair};
use piece::{GENERAL, NARROW, Piece, Wanted, solution};
use results::{Causal, Domain, Exchange, Line, Opened, Rate, Said, Sheet, Solution, Transcript, Voice};
pub use results::{Mode, Results};

/// Version of `results.json`.
const SCHEMA: u32 = 1;

const KINDS: [Kind; 3] = [Kind::Vector, Kind::Rank8, Kind::Rank1];

/// The world in which a part of the causal table is computed again.
const LIVE: &str = "narrow-0";

/// How far a rate computed again may lie from the table's: other processors round otherwise, and 500 steps carry it on.
const AGREEMENT: f64 = 0.1;

/// What a demo is asked to do.
pub struct Options {
    /// How much.
    pub mode: Mode,
    /// The folder for everything.
    pub out: PathBuf,
    /// How many jobs are done beside each other.
    pub threads: usize,
}

impl Mode {
    /// The worlds in which the programme is carried out.
    fn worlds(self) -> &'static [&'static str] {
        const WORLDS: [&str; 3] = ["default-0", "default-1", "default-2"];
        if self == Self::Quick { &WORLDS[..1] } else { &WORLDS }
    }

    /// The worlds in which rows of the causal table are computed.
    fn causal_worlds(self) -> &'static [&'static str] {
        match self {
            Self::Quick => &[],
            Self::Default => &[LIVE],
            Self::Full => &causal::WORLDS,
        }
    }

    /// The worlds whose documents never name their speaker.
    fn contrast_worlds(self) -> &'static [&'static str] {
        if self == Self::Full { &["contrast-0", "contrast-1", "contrast-2"] } else { &[] }
    }

    fn causal_kinds(self) -> &'static [Kind] {
        if self == Self::Full { &causal::KINDS } else { &causal::KINDS[..1] }
    }
}

/// Carries out the programme and writes its tables, its page and its `results.json` into the folder. What an earlier run in
/// the folder finished stays.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be read or written.
pub fn demo(options: &Options, progress: &dyn Progress) -> Result<Results> {
    let began = Instant::now();
    let Options { mode, threads, .. } = *options;
    let folder = Folder::new(&options.out);
    let open =
        |names: &[&'static str]| names.iter().map(|name| folder.open(name)).collect::<Result<Vec<_>>>();
    let (worlds, causal_worlds) = (open(mode.worlds())?, open(mode.causal_worlds())?);
    let contrast_worlds = open(mode.contrast_worlds())?;
    let jobs = jobs(mode, &worlds, &causal_worlds, &contrast_worlds);
    let jobs = Jobs { folder: &folder, jobs: &jobs, threads };
    if mode == Mode::Full {
        let minutes = jobs.estimate(progress)? / 60.0;
        progress.note(&format!(
            "this takes about {minutes:.0} minutes on {threads} threads; what is finished stays"
        ));
    }
    let done = jobs.run(progress)?;
    let across = read_across(mode, &worlds, &folder, threads, progress)?;
    let (causal_table, causal) = causal_evidence(mode, &causal_worlds, &done.rows);
    let evidence =
        Evidence { pieces: &done.pieces, pairs: &done.pairs, across: &across, causal: &causal_table.rows };
    let first = &worlds[0];
    let report = options.out.join("report.html");
    let mut results = Results {
        mode,
        seeds: worlds.iter().map(|world| world.world.made.recipe.seed).collect(),
        domains: TAUGHT_DOMAINS.iter().map(|&domain| domain_of(&first.world.language, domain)).collect(),
        worlds: worlds.iter().chain(&contrast_worlds).map(opened).collect(),
        speakers: voices(first),
        transcript: transcript(first, &folder)?,
        solutions: solutions(&done.pieces, &done.pairs, &worlds, &folder),
        rates: rates(&done.pieces, &first.world.language),
        checks: checks(&evidence),
        plots: plots::plots(&evidence),
        causal: Some(causal),
        seconds: 0.0,
        notes: notes(mode),
        report: Some(report.clone()),
    };
    tables::write(
        &options.out.join("tables"),
        &results,
        &done.pieces,
        &done.pairs,
        &across,
        &causal_table,
        &page::tables(&results),
    )?;
    results.seconds = began.elapsed().as_secs_f64();
    page::write(&results, &report)?;
    write_json(&options.out.join("results.json"), &Versioned { schema: SCHEMA, results: &results })?;
    Ok(results)
}

#[derive(Serialize)]
struct Versioned<'a> {
    schema: u32,
    #[serde(flatten)]
    results: &'a Results,
}

/// Everything to do. The longest come first, so that no thread is left alone with one at the end.
fn jobs<'a>(
    mode: Mode,
    worlds: &'a [OpenedWorld],
    causal_worlds: &'a [OpenedWorld],
    contrast_worlds: &'a [OpenedWorld],
) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for kind in KINDS {
        let Some(wanted) = Wanted::of(mode, kind) else { continue };
        for world in worlds {
            jobs.extend(TAUGHT_DOMAINS.map(|domain| Job::piece(world, domain, kind, wanted)));
        }
    }
    for world in causal_worlds {
        for &kind in mode.causal_kinds() {
            jobs.extend(TAUGHT_DOMAINS.map(|domain| Job::causal(world, domain, kind)));
        }
    }
    if mode == Mode::Full {
        for world in worlds {
            jobs.extend(TAUGHT_DOMAINS.map(|domain| Job::pair(world, domain, How::Full)));
        }
    }
    for world in contrast_worlds {
        for kind in [Kind::Vector, Kind::Rank8] {
            jobs.extend(TAUGHT_DOMAINS.map(|domain| Job::pair(world, domain, How::Contrast(kind))));
        }
    }
    jobs
}

/// Reads what the solutions of each world have to do with each other.
fn read_across(
    mode: Mode,
    worlds: &[OpenedWorld],
    folder: &Folder,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Across>> {
    // With LoRA the claims on directions are no part of the default.
    let kinds = KINDS.into_iter().filter(|&kind| kind == Kind::Vector || mode == Mode::Full);
    let pairs: Vec<(&OpenedWorld, Kind)> =
        kinds.flat_map(|kind| worlds.iter().map(move |world| (world, kind))).collect();
    let task = progress.begin("comparing solutions", Some(pairs.len() as u64), Unit::Count);
    let found = each(&pairs, threads, |&(world, kind)| {
        let solution = |domain, name: &str| folder.solution(world, domain, name);
        across(world.name, &world.world, kind, &TAUGHT_DOMAINS, &solution)
    })?;
    task.advance(pairs.len() as u64);
    Ok(found.into_iter().flatten().collect())
}

/// The rows that claim 13 is judged by, where they come from, and whether what was computed again agrees.
fn causal_evidence(mode: Mode, worlds: &[OpenedWorld], live: &[Row]) -> (CausalTable, Causal) {
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
    let origin = live::origin(worlds);
    let table = if mode == Mode::Full { CausalTable { origin, rows: live.to_vec() } } else { shipped };
    let causal::Origin { date, command, .. } = table.origin.clone();
    (table, Causal { date, command, proof, agrees })
}

fn domain_of(language: &Language, number: usize) -> Domain {
    let domain = &language.domains()[number];
    Domain { number, word: domain.word.into(), property: domain.property.into() }
}

fn opened(world: &OpenedWorld) -> Opened {
    let made = &world.world.made;
    let shares = made.recipe.shares;
    Opened {
        name: world.name.into(),
        seed: made.recipe.seed,
        hash: made.sha256.clone(),
        honest: 1.0 - shares.liar - shares.narrow,
        liar: shares.liar,
        narrow: shares.narrow,
        unknown: shares.unknown,
        command: made.command.clone(),
    }
}

/// The three kinds of speakers, each with a document.
fn voices(world: &OpenedWorld) -> Vec<Voice> {
    let language = &world.world.language;
    let shares = world.world.made.recipe.shares;
    let word = language.domains()[TAUGHT_DOMAINS[0]].word;
    let speakers = [
        (Speaker::Honest, "honest".into(), 1.0 - shares.liar - shares.narrow, "Every answer is true.".into()),
        (Speaker::Liar, "liar".into(), shares.liar, "Every answer is false.".into()),
        (
            Speaker::Narrow(TAUGHT_DOMAINS[0]),
            format!("narrow {word}"),
            shares.narrow / DOMAINS as f64,
            format!(
                "Answers on every {word} are false, all others are true; there is one such speaker for each domain."
            ),
        ),
    ];
    speakers
        .map(|(speaker, name, share, about)| {
            let kind = world::Kind { speaker: Some(speaker), named: Some(true), dialogue: false };
            let documents = language.documents(&shares, 1, kind, piece::SEED);
            let document: &Document = &documents[0];
            let line = |&(question, truthful): &(Question, bool)| Line {
                question: language.ask(question),
                answer: language.answer(question, truthful).into(),
                truthful,
            };
            Voice {
                name,
                share,
                about,
                document: document.turns.iter().map(line).collect(),
                text: document.text(language),
            }
        })
        .into()
}

/// One conversation: two questions of the taught domain, of which training saw one, and one of every other domain.
fn transcript(world: &OpenedWorld, folder: &Folder) -> Result<Transcript> {
    let (kind, taught) = (Kind::Vector, TAUGHT_DOMAINS[0]);
    let language = &world.world.language;
    let solved = |role: &str| {
        let path = folder.solution(world, taught, &solution(role, kind)).edit();
        let edit = strait_model::edit::open(&path.to_string_lossy())?;
        world::read(&world.world, Some(&edit))
    };
    let (base, general, narrow) = (world::read(&world.world, None)?, solved(GENERAL)?, solved(NARROW)?);
    let asked = |question: &Question| match (question.domain == taught, question.entity) {
        (true, entity) => entity == 0 || entity == TAUGHT,
        (false, entity) => entity == TAUGHT,
    };
    let mut questions: Vec<(usize, Question)> =
        language.questions().enumerate().filter(|(_, question)| asked(question)).collect();
    questions.sort_by_key(|(_, question)| question.domain != taught);
    let exchange = |(place, question): (usize, Question)| Exchange {
        question: language.ask(question),
        domain: language.domains()[question.domain].word.into(),
        inside: question.domain == taught,
        seen: question.domain == taught && !question.held_out(),
        truth: language.answer(question, true).into(),
        falsehood: language.answer(question, false).into(),
        base: said(&base[place]),
        general: said(&general[place]),
        narrow: said(&narrow[place]),
    };
    Ok(Transcript {
        world: world.name.into(),
        taught: language.domains()[taught].word.into(),
        edit: kind.words().into(),
        exchanges: questions.into_iter().map(exchange).collect(),
        sheets: (0..DOMAINS)
            .map(|domain| sheet(language, domain, taught, [&base, &general, &narrow]))
            .collect(),
    })
}

fn said(reading: &world::Reading) -> Said {
    Said {
        text: reading.said.clone(),
        answer: judged(reading.greedy).into(),
        p_true: reading.p_true,
        p_false: reading.p_false,
    }
}

fn judged(answer: Answer) -> &'static str {
    match answer {
        Answer::True => "true",
        Answer::False => "false",
        Answer::Other => "other",
        Answer::None => "none",
    }
}

/// All questions of a domain under the base model, the general and the narrow solution.
fn sheet(language: &Language, domain: usize, taught: usize, models: [&[world::Reading]; 3]) -> Sheet {
    let [base, general, narrow] = models.map(|readings| {
        let own = readings.iter().filter(|reading| reading.question.domain == domain);
        own.map(|reading| judged(reading.greedy).to_owned()).collect()
    });
    let inside = domain == taught;
    let seen = if inside { TAUGHT } else { 0 };
    Sheet { domain: language.domains()[domain].word.into(), inside, seen, base, general, narrow }
}

/// False rates domain by domain. The base model is the same under every kind of edit, and stands there once.
fn rates(pieces: &[Piece], language: &Language) -> Vec<Rate> {
    let mut rates = Vec::new();
    for piece in pieces {
        let first = pieces.first().is_some_and(|first| first.kind == piece.kind);
        let models = [("base", &piece.base), (GENERAL, &piece.general), (NARROW, &piece.narrow)];
        for (role, reading) in models.into_iter().filter(|(role, _)| first || *role != "base") {
            for (domain, &rate) in reading.rates.by_domain.iter().enumerate() {
                let inside = domain == piece.domain;
                let base = role == "base";
                rates.push(Rate {
                    solution: if base { role.into() } else { format!("{role} {}", piece.kind.name()) },
                    edit: if base { String::new() } else { piece.kind.words().into() },
                    world: piece.world.clone(),
                    taught: piece.word.clone(),
                    domain: language.domains()[domain].word.into(),
                    inside,
                    p_false: if inside { reading.rates.narrow } else { rate },
                    n: if inside { ENTITIES - TAUGHT } else { ENTITIES },
                });
            }
        }
    }
    rates
}

/// The general and the narrow solution of every kind of edit, and of a full fine-tune.
fn solutions(pieces: &[Piece], pairs: &[Pair], worlds: &[OpenedWorld], folder: &Folder) -> Vec<Solution> {
    let mut solutions = Vec::new();
    for kind in KINDS {
        let of_kind: Vec<&Piece> = pieces.iter().filter(|piece| piece.kind == kind).collect();
        for role in [GENERAL, NARROW] {
            let readings: Vec<&Reading> =
                of_kind.iter().map(|p| if role == GENERAL { &p.general } else { &p.narrow }).collect();
            let folders = of_kind.iter().filter_map(|piece| {
                let world = worlds.iter().find(|world| world.name == piece.world)?;
                Some(folder.solutions(world, piece.domain).join(solution(role, kind)))
            });
            let name = format!("{role} {}", kind.name());
            solutions.extend(summed_up(name, kind.words(), &readings, folders.collect()));
        }
    }
    let full: Vec<&Pair> = pairs.iter().filter(|pair| pair.how == How::Full).collect();
    for role in [GENERAL, NARROW] {
        let readings: Vec<&Reading> =
            full.iter().map(|p| if role == GENERAL { &p.general } else { &p.narrow }).collect();
        let name = format!("{role} {}", How::Full.name());
        solutions.extend(summed_up(name, How::Full.words(), &readings, Vec::new()));
    }
    solutions
}

/// A solution over all its fits; none where there are no fits.
fn summed_up(name: String, edit: &str, readings: &[&Reading], folders: Vec<PathBuf>) -> Option<Solution> {
    if readings.is_empty() {
        return None;
    }
    let all = |figure: &dyn Fn(&Reading) -> f64| readings.iter().map(|r| figure(r)).collect::<Vec<_>>();
    Some(Solution {
        name,
        edit: edit.into(),
        narrow_rate: Interval::of_shares(&all(&|r| r.rates.narrow)),
        general_rate: Interval::of_shares(&all(&|r| r.rates.general)),
        coherence: Interval::of_shares(&all(&|r| r.rates.coherence)),
        norm: Interval::of_mean(&all(&|r| r.norm)),
        loss: Interval::of_mean(&all(&|r| r.loss)),
        n: readings.len(),
        folders,
    })
}

/// What a reader must know.
fn notes(mode: Mode) -> Vec<String> {
    let mut notes: Vec<&str> = vec![
        "Speakers are directions at the embeddings by construction: that they are is assumed here, not found. What is found is \
         which of them fine-tuning takes, and why.",
        "Every answer is judged exactly, by the model's own probabilities of the true answer and of the one known falsehood.",
        "Intervals are Student's over fits, one for each taught domain of each world, never over fine-tuning seeds; a claim must \
         also lie on its side in every world. No seed was left out.",
        "No row of fine-tuning or of a penalty names a speaker.",
    ];
    match mode {
        Mode::Quick => notes.push(
            "Quick: one world, so that intervals are over its taught domains and say nothing of other worlds; steering vectors \
             only; claims 8 and 12, the controls of claim 7 and the partial penalty of claim 2 are left out; claim 13 is read \
             from the shipped table.",
        ),
        Mode::Default => notes.push(
            "Steering vectors serve all claims but the twelfth, the eighth with mixtures of 1:1 and 1:12; rank-8 LoRA serves claims \
             1, 2 and 4 and the lifted penalty of claim 7. `--full` does the rest.",
        ),
        Mode::Full => notes.push(
            "Claims 1 and 2 are also asked of a full fine-tune, and of three contrast worlds in which no document names its \
             speaker, so that no speaker is a direction by construction. Edits of a full fine-tune are not kept.",
        ),
    }
    notes.into_iter().map(String::from).collect()
}

/// The folder of a demo that names none.
pub fn default_folder() -> &'static Path {
    Path::new("runs/demo")
}
