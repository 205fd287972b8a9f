//! Running a study: each step of the plan that is not done yet, by the trainer and the measures.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use candle_core::Device;
use serde_json::json;
use strait_model::{
    Config, Edit, Model,
    decoder::first_changed_point,
    edit::{self, Summary},
    files::sha256_of,
    model::Provenance,
    progress::{Progress, Unit},
    source::{Located, Road, locate},
};

use super::{
    Axis, PairSource, Plan, Problem, Rows, RunFolder, Session, Significance, Solution, Step, StepStatus,
    Study, StudyFile,
    crew::{Beside, carry_out},
    default_folder,
    estimate::{Estimate, duration, point},
    folder::{sealed, status_of},
    name,
    place::last_part,
    results::{
        self, Outcome, conclusion, draw_report, outcome, remove_table, save, solution_folder, table,
        write_json,
    },
    training::{CHECKPOINTS, KL_WEIGHT, Mixture},
};
use crate::{
    Error, Result, Table,
    data::{
        Chat, LeftOut, Notices, Passage, TrainedOn, choose, judged, pairs, questions, read_chats_noting,
        read_passages, split,
    },
    measure::{self, Member, PairRows, SignificanceSettings},
    objective::{Kept, Row},
    train::{EditKind, Settings},
};

/// What a run will do.
pub struct DryRun {
    /// The study as resolved.
    pub study: Study,
    /// Its steps, with where they stand in the run folder.
    pub steps: Vec<StepStatus>,
    /// What presets became, and the estimate of time and memory, in words.
    pub lines: Vec<String>,
}

/// What a study would do, without doing it.
///
/// # Errors
/// If the study, its data or its model cannot be read.
pub fn dry_run(file: &Path, out: Option<&Path>, device: &Device, progress: &dyn Progress) -> Result<DryRun> {
    let plan = Planned::new(file, progress)?;
    let folder = out.map_or_else(|| default_folder(&plan.study.name), Path::to_path_buf);
    let steps = status_of(&plan.plan, &folder, &plan.study.name)?;
    let mut lines = plan.preset_lines();
    let lab = Lab::new(&plan, device, progress)?;
    lines.extend(lab.said.iter().cloned());
    lines.extend(lab.solution_lines()?);
    lines.push(
        "the report will say of each of these whether it holds ([[prediction]] takes them as claims):".into(),
    );
    lines.extend(plan.study.claims().into_iter().map(|claim| format!("  {claim}")));
    lines.push(plan.estimated(&lab.estimate(|_| true)?, 1)?);
    Ok(DryRun { steps, lines, study: plan.study })
}

/// Runs a study, or what is left of it: so many steps beside each other, or, where `jobs` is none, as many as threads and
/// memory allow. Results do not depend on it.
///
/// # Errors
/// [`Error::Interrupted`] after a request to stop, with everything saved; or the error of the step that failed.
pub fn run(
    file: &Path,
    out: Option<&Path>,
    device: &Device,
    jobs: Option<NonZeroUsize>,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let planned = Planned::new(file, progress)?;
    let Planned { file, study, plan, .. } = &planned;
    let path = out.map_or_else(|| default_folder(&study.name), Path::to_path_buf);
    let mut folder = RunFolder::open(&path, &study.name)?;
    let session = Session::now(command_line(), rayon::current_num_threads(), device);
    folder.begin(session, file, study, plan)?;
    planned.preset_lines().iter().for_each(|line| progress.note(line));

    // What was damaged is made again; where it has become something else, so is what rests on it.
    for _ in 0..=plan.steps.len() {
        let left = folder.left(plan)?;
        for (step, damage) in &left {
            if let Some(damage) = damage {
                progress.note(&format!("{}: {damage}; the step is done again", step.name));
            }
        }
        let left: Vec<&Step> = left.into_iter().map(|(step, _)| step).collect();
        if left.is_empty() {
            break;
        }
        carry_out_all(left, &planned, &folder, device, jobs, progress)?;
    }
    folder.write_times(plan)?;
    outcome(&path)
}

fn carry_out_all(
    left: Vec<&Step>,
    planned: &Planned,
    folder: &RunFolder,
    device: &Device,
    jobs: Option<NonZeroUsize>,
    progress: &dyn Progress,
) -> Result<()> {
    let lab = Lab::new(planned, device, progress)?;
    lab.said.iter().for_each(|line| progress.note(line));
    let estimate = lab.estimate(|name| left.iter().any(|step| step.name == name))?;
    let jobs = jobs.map_or_else(|| estimate.jobs(), NonZeroUsize::get).min(left.len());
    progress.note(&planned.estimated(&estimate, jobs)?);
    match jobs {
        1 => one_by_one(left, lab, folder),
        _ => beside_each_other(left, lab, folder, jobs),
    }
}

fn one_by_one(steps: Vec<&Step>, mut lab: Lab, folder: &RunFolder) -> Result<()> {
    steps.into_iter().try_for_each(|step| recorded(step, &mut lab, folder))
}

/// Does steps by `jobs` workers, each with rows and threads of its own.
fn beside_each_other(steps: Vec<&Step>, lab: Lab, folder: &RunFolder, jobs: usize) -> Result<()> {
    let halted = AtomicBool::new(false);
    let voices: Vec<_> = (0..jobs).map(|_| Beside::new(lab.progress, &halted)).collect();
    let threads = (rayon::current_num_threads() / jobs).max(1);
    let mut workers = Vec::with_capacity(jobs);
    for voice in &voices {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Error::Threads { reason: e.to_string() })?;
        workers.push((pool, voice, lab.beside(voice)));
    }
    carry_out(steps, workers, |(pool, voice, lab), step| {
        voice.turn_to(&step.name);
        let result = pool.install(|| recorded(step, lab, folder));
        if result.is_err() {
            halted.store(true, Ordering::Relaxed);
        }
        result
    })
}

/// Does a step and keeps record of it.
fn recorded(step: &Step, lab: &mut Lab, folder: &RunFolder) -> Result<()> {
    if lab.progress.stopped() {
        return Err(Error::Interrupted);
    }
    let running = folder.start(step)?;
    let result = lab.carry_out(step, folder.path());
    match &result {
        Ok(()) => running.done()?,
        Err(Error::Interrupted) => {}
        Err(error) => running.failed(error)?,
    }
    result
}

/// A study with its model found and its plan made; nothing heavy is read yet.
pub(super) struct Planned {
    file: StudyFile,
    pub study: Study,
    pub plan: Plan,
    located: Located,
    config: Config,
    /// The weights, held open: those that are hashed are those that are computed with.
    weights: strait_model::Weights,
    /// Name and SHA-256 of their files.
    hashes: Vec<(String, String)>,
}

impl Planned {
    fn new(path: &Path, progress: &dyn Progress) -> Result<Self> {
        let file = StudyFile::read(path)?;
        let study = file.resolve()?;
        let located = locate(&study.model.path().to_string_lossy(), progress)?;
        let weights = strait_model::Weights::open(&located.path)?;
        weights.fit()?;
        let config = weights.config().clone();
        let study = study.fix_layers(config.layers)?;
        let hashes = weights.hashes(progress)?;
        let plan = Plan::of(&study, &hashes, |path| Ok(sha256_of(path, |_| ())?))?;
        Ok(Self { file, study, plan, located, config, weights, hashes })
    }

    /// What an estimate says; an error where it is beyond all bounds.
    fn estimated(&self, estimate: &Estimate, jobs: usize) -> Result<String> {
        estimate.line(jobs).map_err(|problem| problem.at(&self.file.path, None))
    }

    fn preset_lines(&self) -> Vec<String> {
        results::preset_lines(&self.study, self.config.layers)
    }
}

/// Key of a trained edit's provenance: the median norm of the residual stream where it acts.
pub(super) const MEDIAN_NORM: &str = "median_residual_norm";

/// The model and the rows, and what has been computed of them.
pub(super) struct Lab<'a> {
    pub planned: &'a Planned,
    pub progress: &'a dyn Progress,
    pub model: Arc<Model>,
    pub train: Kept,
    /// The training rows with others behind them, for the solutions that mix.
    pub mixtures: Vec<Mixture>,
    pub held_out: Kept,
    pub kl: Kept,
    /// Pairs inside the domain, and outside it.
    pub pairs: [PairRows; 2],
    /// Those training rows that efficiency and stability read.
    pub measured: Kept,
    /// Pre-training text.
    pub passages: Vec<Row>,
    /// Those held-out rows that measures read, where others of them are trained on as KL rows or mixed-in rows.
    unseen: Option<Kept>,
    /// Different questions of the training rows and of the held-out rows.
    questions: [usize; 2],
    /// What is left out of the measures, since solutions are trained on it.
    left_out: Vec<LeftOut>,
    /// What readers of the rows did not use.
    notices: Notices,
    /// What the user should know of the rows.
    said: Vec<String>,
}

impl<'a> Lab<'a> {
    fn new(planned: &'a Planned, device: &Device, progress: &'a dyn Progress) -> Result<Self> {
        let study = &planned.study;
        let task = progress.begin("loading the model", None, Unit::Count);
        let mut model = Model::of_weights(&planned.located, &planned.weights, device)?;
        model.tokenizer.set_date(study.date);
        let model = Arc::new(model);
        drop(task);
        let mut notices = Notices::default();
        let chats = read_all(&study.data.train, &mut notices)?;
        let asked = questions::groups(&chats);
        let (train, held_out) = split::hold_out(chats, &asked, study.data.held_out, study.seeds.order);
        let kl = read_all(&study.data.kl, &mut notices)?;
        let mut mixed: Vec<(&[Rows], Vec<Chat>)> = Vec::new();
        for mix in study.solutions.iter().filter_map(|s| s.mix.as_ref()) {
            if mixed.iter().all(|(files, _)| *files != mix.rows) {
                mixed.push((&mix.rows, read_all(&mix.rows, &mut notices)?));
            }
        }

        // One set of pairs for all solutions, so that what is compared is read on the same.
        let is_penalised = study.solutions.iter().any(|s| s.train.kl.is_some());
        let trained_on = TrainedOn::new(
            &train,
            if is_penalised { &kl } else { &[] },
            &mixed.iter().flat_map(|(_, rows)| rows.iter().cloned()).collect::<Vec<_>>(),
        );
        let mut left_out = ["narrow pairs", "general pairs", "held-out rows", "passages"].map(LeftOut::of);
        let [of_narrow, of_general, of_held_out, of_passages] = &mut left_out;
        let narrow =
            read_pairs(&study.data.narrow, Some(&study.data.domain), &trained_on, of_narrow, &mut notices)?;
        let general = read_pairs(&study.data.general, None, &trained_on, of_general, &mut notices)?;
        let unseen = trained_on.sift_rows(held_out.clone(), of_held_out);
        let significance = study.measures.significance.as_ref();
        let passages = read_text(significance, study.seeds.sampling, &trained_on, of_passages)?;
        for (counts, table) in [
            (&left_out[0], "[data.narrow]"),
            (&left_out[1], "[data.general]"),
            (&left_out[3], "measure.significance"),
        ] {
            if counts.read > 0 && counts.left_out == counts.read {
                let (what, read) = (counts.what, counts.read);
                return Err(Problem::AllTrainedOn { what, read, table }.at(study.file.path(), None));
            }
        }
        let left_out: Vec<LeftOut> = left_out.into_iter().filter(|counts| counts.read > 0).collect();
        let mut said = questions::in_words(&LeftOut::table(&left_out));
        said.extend(notices.lines());
        let count = |chats: &[Chat]| questions::groups(chats).into_iter().max().map_or(0, |last| last + 1);
        let questions = [count(&train), count(&held_out)];
        if questions.iter().sum::<usize>() < train.len() + held_out.len() && study.data.held_out > 0.0 {
            said.push(format!(
                "rows of the same question stay on one side: {} of {} rows are held out, which are {} of {} questions",
                held_out.len(),
                train.len() + held_out.len(),
                questions[1],
                questions.iter().sum::<usize>()
            ));
        }

        let rows = |chats: &[Chat]| Row::from_chats(&model, chats, progress);
        let is_narrowed = unseen.len() < held_out.len();
        let train = rows(&train)?;
        let mut mixtures: Vec<Mixture> = Vec::new();
        for (files, others) in mixed {
            let kept = Kept::new(train.iter().cloned().chain(rows(&others)?).collect());
            mixtures.push(Mixture { files: files.to_vec(), kept });
        }
        let tokenised = |passage: Passage| {
            Row::of_text(&model, &passage.text, significance.map_or(0, |significance| significance.tokens))
        };
        let (measures, sampling) = (&study.measures, study.seeds.sampling);
        let lab = Self {
            measured: Kept::new(choose(train.clone(), measures.rows, sampling)),
            passages: passages.into_iter().map(tokenised).collect::<Result<_>>()?,
            train: Kept::new(train),
            mixtures,
            held_out: Kept::new(rows(&held_out)?),
            unseen: if is_narrowed { Some(Kept::new(rows(&unseen)?)) } else { None },
            kl: Kept::new(rows(&kl)?),
            pairs: [PairRows::new(&model, "narrow", &narrow)?, PairRows::new(&model, "general", &general)?],
            questions,
            left_out,
            notices,
            said,
            planned,
            progress,
            model,
        };
        lab.refuse_endless_training()?;
        Ok(lab)
    }

    /// The same model and rows for another worker, with nothing kept of them.
    fn beside<'b>(&self, progress: &'b dyn Progress) -> Lab<'b>
    where
        'a: 'b,
    {
        let fresh = |kept: &Kept| Kept::new(kept.rows().to_vec());
        let mixture = |m: &Mixture| Mixture { files: m.files.clone(), kept: fresh(&m.kept) };
        Lab {
            planned: self.planned,
            progress,
            model: Arc::clone(&self.model),
            train: fresh(&self.train),
            mixtures: self.mixtures.iter().map(mixture).collect(),
            held_out: fresh(&self.held_out),
            kl: fresh(&self.kl),
            pairs: [self.pairs[0].some(usize::MAX), self.pairs[1].some(usize::MAX)],
            measured: fresh(&self.measured),
            passages: self.passages.clone(),
            unseen: self.unseen.as_ref().map(fresh),
            questions: self.questions,
            left_out: self.left_out.clone(),
            notices: self.notices.clone(),
            said: Vec::new(),
        }
    }

    /// The held-out rows that measures read.
    pub(super) fn unseen(&mut self) -> &mut Kept {
        self.unseen.as_mut().unwrap_or(&mut self.held_out)
    }

    fn carry_out(&mut self, step: &Step, folder: &Path) -> Result<()> {
        match step.name.as_str() {
            name::MODEL => self.describe_model(folder),
            name::DATA => self.describe_data(folder),
            name::PREFERENCE => self.preference(folder),
            name::KL => self.divergence(folder),
            name::HELDOUT => self.heldout(folder),
            name::EFFICIENCY => self.efficiency(folder),
            name::STABILITY => self.stability(folder),
            name::SIGNIFICANCE => self.significance(folder),
            name::DRIFT => self.drift(folder),
            name::REPORT => self.report(folder),
            _ => {
                let study = &self.planned.study;
                let trained = |s: &&Solution| Step::training(&s.name) == step.name;
                let Some(solution) = study.solutions.iter().find(trained) else { return Ok(()) };
                self.train(solution, step, folder)
            }
        }
    }

    fn describe_model(&self, folder: &Path) -> Result<()> {
        let Provenance { located, format, quantised, files, hub } = &self.model.provenance;
        // What is told to others says which model it was, by name and hash, and nothing of where it lies here or whether it
        // had to be fetched.
        let road = match (located.road, &located.revision) {
            (Road::Cache, Some(revision)) if revision.contains("==") => Road::Package,
            (Road::Cache, _) => Road::Hub,
            (road, _) => road,
        };
        let mut facts = json!({
            "schema": super::SCHEMA,
            "provenance": {
                "name": self.planned.study.model.shown(),
                "path": last_part(&located.path),
                "road": road,
                "revision": located.revision,
                "format": format,
                "quantised": quantised,
                "hub": hub,
                "files": files.iter().map(|file| last_part(file)).collect::<Vec<_>>(),
            },
            "sha256": self.planned.hashes,
            "config": self.model.config(),
            "parameters": self.model.config().parameters(),
        });
        if let Some(date) = self.model.tokenizer.date() {
            facts["date"] = json!(date);
        }
        write_json(&folder.join(results::MODEL), &facts)
    }

    fn describe_data(&self, folder: &Path) -> Result<()> {
        let of = |rows: &[Row], questions: usize| {
            json!({
                "rows": rows.len(),
                "questions": questions,
                "tokens": rows.iter().map(|r| r.ids.len()).sum::<usize>(),
                "response_tokens": rows.iter().map(Row::response_tokens).sum::<usize>(),
            })
        };
        let mut facts = json!({
            "schema": super::SCHEMA,
            "train": of(self.train.rows(), self.questions[0]),
            "held_out": of(self.held_out.rows(), self.questions[1]),
        });
        if !self.notices.is_empty() {
            facts["notices"] = json!(self.notices);
        }
        write_json(&folder.join(results::DATA), &facts)
    }

    /// Reads an edit, onto the model's device.
    pub(super) fn open(&self, path: &Path) -> Result<Edit> {
        Ok(edit::open(&path.to_string_lossy())?.to_device(self.model.decoder.device())?)
    }

    pub(super) fn solutions(&self, folder: &Path) -> Result<Vec<measure::Solution>> {
        let open = |solution: &Solution| {
            let edit = self.open(&solution_folder(folder, &solution.name).edit())?;
            Ok(measure::Solution { name: solution.name.clone(), edit })
        };
        self.planned.study.solutions.iter().map(open).collect()
    }

    /// The solutions that measures compare.
    fn compared(&self, folder: &Path) -> Result<Vec<measure::Solution>> {
        let is_compared = |name: &str| self.planned.study.compared().any(|solution| solution.name == name);
        Ok(self.solutions(folder)?.into_iter().filter(|s| is_compared(&s.name)).collect())
    }

    /// The point up to which none of some edits changes anything.
    pub(super) fn common_point<'b>(&self, edits: impl Iterator<Item = &'b Edit>) -> usize {
        let layers = self.model.config().layers;
        edits.map(|edit| first_changed_point(edit, layers)).min().unwrap_or(layers)
    }

    /// Gives back what training kept.
    pub(super) fn forget_training(&mut self) {
        let mixed = self.mixtures.iter_mut().map(|mixture| &mut mixture.kept);
        [&mut self.train, &mut self.kl].into_iter().chain(mixed).for_each(Kept::forget);
    }

    /// The seed of all that measures draw.
    pub(super) fn sampling(&self) -> u64 {
        self.planned.study.seeds.sampling
    }

    fn preference(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        self.forget_training();
        let (measures, seed) = (&self.planned.study.measures, self.sampling());
        let table = measure::preference(
            &self.model.decoder,
            &solutions,
            &mut self.pairs,
            &measures.scales,
            measures.coherence,
            seed,
            self.progress,
        )?;
        save(folder, &table)
    }

    fn divergence(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        self.forget_training();
        let (decoder, seed) = (&self.model.decoder, self.sampling());
        let table = measure::divergence(decoder, &solutions, &mut self.pairs, seed, self.progress)?;
        save(folder, &table)
    }

    fn heldout(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        let point = self.common_point(solutions.iter().map(|s| &s.edit));
        let (model, seed, progress) = (Arc::clone(&self.model), self.sampling(), self.progress);
        let held_out = self.unseen();
        let rows = held_out.every_row();
        held_out.keep(&model.decoder, &rows, point, false, "reading held-out rows", progress)?;
        let table = measure::heldout(&model.decoder, &solutions, held_out, seed, progress)?;
        save(folder, &table)
    }

    /// Gives back what steps before have kept, but for the rows that efficiency and stability share.
    fn forget_all(&mut self) {
        let pairs = self.pairs.iter_mut().map(|pairs| &mut pairs.kept);
        let rows = [&mut self.train, &mut self.held_out, &mut self.kl].into_iter().chain(&mut self.unseen);
        pairs.chain(rows).for_each(Kept::forget);
    }

    fn efficiency(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.compared(folder)?;
        let seed = self.sampling();
        self.forget_all();
        let Some(settings) = &self.planned.study.measures.efficiency else { return Ok(()) };
        let (decoder, rows) = (&self.model.decoder, &mut self.measured);
        let tables = measure::efficiency(decoder, &solutions, rows, settings, seed, self.progress)?;
        tables.iter().try_for_each(|table| save(folder, table))
    }

    fn stability(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.compared(folder)?;
        let first_seed = self.planned.study.seeds.sampling;
        self.forget_all();
        let Some(settings) = &self.planned.study.measures.stability else { return Ok(()) };
        let (decoder, rows) = (&self.model.decoder, &mut self.measured);
        let tables = measure::stability(decoder, &solutions, rows, settings, first_seed, self.progress)?;
        tables.iter().try_for_each(|table| save(folder, table))
    }

    fn significance(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.compared(folder)?;
        let seed = self.sampling();
        self.forget_all();
        self.measured.forget();
        let Some(Significance { directions, .. }) = &self.planned.study.measures.significance else {
            return Ok(());
        };
        let (model, passages) = (&self.model, &self.passages);
        let tables = measure::significance(model, &solutions, passages, directions, seed, self.progress)?;
        tables.iter().try_for_each(|table| save(folder, table))
    }

    fn report(&self, folder: &Path) -> Result<()> {
        let study = &self.planned.study;
        if let Some(preference) = table(folder, "preference")? {
            save(folder, &measure::certificate(&preference, study.measures.certificate))?;
            save_rows(folder, &measure::families(&preference, &members(study)))?;
        }
        let read = [
            "preference",
            name::DRIFT,
            "efficiency_difference",
            "stability_difference",
            "significance_difference",
        ];
        let mut measured = Vec::new();
        for name in read {
            measured.extend(table(folder, name)?);
        }
        save_rows(folder, &measure::families_difference(&measured, &members(study)))?;
        save_rows(folder, &frontiers(study, folder)?)?;
        if study.solutions.iter().all(|s| s.from.is_none()) {
            remove_table(folder, name::DRIFT)?;
        }
        save(folder, &LeftOut::table(&self.left_out))?;
        save(folder, &self.solutions_table(folder)?)?;
        save(folder, &training_table(study, folder)?)?;
        if let Some(seal) = sealed(folder)? {
            let claims = conclusion(folder)?.claims;
            save(folder, &seal.table(&claims))?;
        }
        draw_report(folder)
    }

    fn solutions_table(&self, folder: &Path) -> Result<Table> {
        let study = &self.planned.study;
        let mut rows = Vec::new();
        for solution in &study.solutions {
            let own = solution_folder(folder, &solution.name);
            let opened = edit::read(&own.edit().to_string_lossy())?;
            let summary = opened.edit.summary()?;
            rows.push(TrainedRow {
                solution,
                relative_norm: match (&solution.train.edit, opened.provenance[MEDIAN_NORM].as_f64()) {
                    (EditKind::Steering { .. }, Some(median_norm)) => summary.norm / median_norm,
                    _ => f64::NAN,
                },
                kl_weight: match &solution.search {
                    Some(_) => opened.provenance[KL_WEIGHT].as_f64().unwrap_or(0.0),
                    None => solution.train.kl.map_or(0.0, |kl| kl.weight),
                },
                summary,
                steps: own.history()?.len(),
            });
        }
        let mut table = Table::of_rows("solutions", "The trained edits", &rows)
            .text("solution", |r| r.solution.name.clone())
            .text("kind", |r| r.solution.train.edit.kind().into())
            .text("edit", |r| in_words(&r.summary))
            .text("layers", |r| numbers(&r.summary.layers))
            .integer("parameters", "", |r| r.summary.parameters as i64)
            .real("norm", "", |r| r.summary.norm)
            .real("relative_norm", "median residual norms", |r| r.relative_norm)
            .real("kl_weight", "nats/nat", |r| r.kl_weight)
            .integer("steps", "", |r| r.steps as i64)
            .integer("seed", "", |r| r.solution.train.seeds.initialisation as i64)
            .text("family", |r| r.solution.family().into())
            .text("variant", |r| r.solution.variant())
            .truth("control", |r| Some(r.solution.control));
        // Weight, steps and seed have columns of their own, whether they are swept or not.
        for axis in [Axis::Layer, Axis::Rank, Axis::LearningRate, Axis::Rows, Axis::Ratio] {
            let varies = |s: &Solution| s.point.as_ref().is_some_and(|p| p.axes.contains_key(&axis));
            if study.solutions.iter().any(varies) {
                table = table.real(axis.key(), "", |r| axis.of(r.solution).unwrap_or(f64::NAN));
            }
        }
        Ok(table.table())
    }

    /// What each solution is trained with, one line each, with the time that it takes.
    fn solution_lines(&self) -> Result<Vec<String>> {
        let mut estimate = Estimate::calibrated(&self.model, self.train.rows())?;
        let line = |solution: &Solution| {
            let mut parts: Vec<String> = solution.point.iter().map(|point| point.words()).collect();
            parts.extend(solution.from.as_ref().map(|from| format!("from {from}")));
            let steps = self.steps(solution);
            parts.push(match &solution.search {
                Some(search) => format!("{steps} steps for each of up to {} KL weights", search.tries),
                None => format!("{steps} steps"),
            });
            let seconds = self.add_training(&mut estimate, solution);
            format!("{}: {}, {}", solution.name, parts.join(", "), duration(seconds))
        };
        Ok(self.planned.study.solutions.iter().map(line).collect())
    }

    /// Adds what training a solution takes; returns the seconds.
    fn add_training(&self, estimate: &mut Estimate, solution: &Solution) -> f64 {
        let rows = [self.rows_of(solution), self.held_out.rows(), self.kl.rows()];
        let mut once = || {
            let (order, times) = self.outline(solution);
            estimate.training(&solution.train, &order, times, rows)
        };
        let Some(search) = &solution.search else { return once() };
        let tries = search.tries + usize::from(search.unpenalised.is_none());
        let mut seconds: f64 = (0..tries).map(|_| once()).sum();
        let point = point(&solution.train);
        for pairs in &self.pairs {
            let rows = pairs.kept.rows();
            for _ in 0..=search.tries {
                seconds += estimate.keeping(rows, point);
                seconds += estimate.losses(rows, point, 1 + self.planned.study.measures.scales.len());
            }
        }
        seconds
    }

    fn estimate(&self, left: impl Fn(&str) -> bool) -> Result<Estimate> {
        let study = &self.planned.study;
        let mut estimate = Estimate::calibrated(&self.model, self.train.rows())?;
        for solution in study.solutions.iter().filter(|s| left(&Step::training(&s.name))) {
            self.add_training(&mut estimate, solution);
        }
        let measures = &study.measures;
        let common = study.solutions.iter().map(|s| point(&s.train)).min().unwrap_or(0);
        for rows in self.pairs.iter().map(|pairs| pairs.kept.rows()) {
            if left(name::PREFERENCE) || left(name::KL) {
                estimate.keeping(rows, common);
            }
            for point in study.solutions.iter().map(|s| point(&s.train)) {
                if left(name::PREFERENCE) {
                    estimate.losses(rows, point, measures.scales.len());
                }
                if left(name::KL) {
                    estimate.divergences(rows, point, 1);
                }
            }
        }
        if left(name::HELDOUT) {
            estimate.losses(self.held_out.rows(), common, 1 + study.solutions.len());
        }
        let compared: Vec<&Settings> = study.compared().map(|s| &s.train).collect();
        let measured = self.measured.rows();
        if left(name::EFFICIENCY) || left(name::STABILITY) {
            estimate.keeping(measured, common);
        }
        for settings in &compared {
            if let Some(efficiency) = measures.efficiency.as_ref().filter(|_| left(name::EFFICIENCY)) {
                estimate.losses(measured, point(settings), efficiency.passes());
            }
            if let Some(stability) = measures.stability.as_ref().filter(|_| left(name::STABILITY)) {
                estimate.losses(measured, point(settings), stability.passes(parts(&settings.edit)));
            }
        }
        if let Some(significance) = measures.significance.as_ref().filter(|_| left(name::SIGNIFICANCE)) {
            let SignificanceSettings { norms, random } = &significance.directions;
            let (vectors, adapters): (Vec<&Settings>, Vec<_>) =
                compared.iter().partition(|s| matches!(s.edit, EditKind::Steering { .. }));
            let passes = |alike: &[&Settings]| (alike.len() + random) * norms.len();
            let lowest = |alike: &[&Settings]| alike.iter().map(|s| point(s)).min();
            if let Some(point) = lowest(&vectors) {
                estimate.keeping(&self.passages, point);
                estimate.divergences(&self.passages, point, passes(&vectors));
            }
            if let Some(point) = lowest(&adapters) {
                estimate.continuations(&self.passages, point, passes(&adapters));
            }
        }
        if left(name::DRIFT) {
            let few =
                self.pairs.each_ref().map(|pairs| pairs.some(measures.drift_pairs.unwrap_or(usize::MAX)));
            few.iter().for_each(|pairs| _ = estimate.keeping(pairs.kept.rows(), common));
            for solution in study.solutions.iter().filter(|s| s.from.is_some()) {
                let checkpoints = self.steps(solution) / solution.train.checkpoint_every;
                let (point, passes) = (point(&solution.train), 1 + checkpoints.clamp(1, CHECKPOINTS));
                estimate.losses(self.held_out.rows(), point, passes);
                few.iter().for_each(|pairs| _ = estimate.losses(pairs.kept.rows(), point, passes));
            }
        }
        Ok(estimate)
    }
}

/// The command that runs, as text.
fn command_line() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// How many parts of an edit of that kind noise is put on, one by one.
fn parts(edit: &EditKind) -> usize {
    match edit {
        EditKind::Steering { .. } | EditKind::Full => 1,
        EditKind::Lora { .. } => 2,
    }
}

/// The most passages of one file among which a study chooses.
const MOST_PASSAGES: usize = 20_000;

/// The passages that significance reads: chosen by the seed among those of all files that nothing is trained on.
fn read_text(
    significance: Option<&Significance>,
    seed: u64,
    trained_on: &TrainedOn,
    left_out: &mut LeftOut,
) -> Result<Vec<Passage>> {
    let Some(significance) = significance else { return Ok(Vec::new()) };
    let mut passages = Vec::new();
    for file in &significance.text {
        passages.extend(read_passages(file.path(), MOST_PASSAGES)?);
    }
    Ok(choose(trained_on.sift_passages(passages, left_out), significance.passages, seed))
}

fn read_all(rows: &[Rows], notices: &mut Notices) -> Result<Vec<Chat>> {
    let mut chats = Vec::new();
    for rows in rows {
        chats.extend(read_chats_noting(&rows.source()?, notices)?);
    }
    Ok(chats)
}

/// The pairs of a source that no solution is trained on. A limit is shared evenly by the source's files, so that every
/// domain keeps its part.
fn read_pairs(
    source: &PairSource,
    domain: Option<&str>,
    trained_on: &TrainedOn,
    left_out: &mut LeftOut,
    notices: &mut Notices,
) -> Result<Vec<pairs::Pair>> {
    let mut all = Vec::new();
    match source {
        PairSource::None => {}
        PairSource::Aligned { taught, other, limit } => {
            let a_file = limit.map_or(usize::MAX, |limit| limit.div_ceil(taught.len().max(1)));
            for (taught, other) in taught.iter().zip(other) {
                let found = pairs::read_pairs_noting(&taught.source()?, &other.source()?, domain, notices)?;
                all.extend(trained_on.sift_pairs(found, left_out).into_iter().take(a_file));
            }
            all.truncate(limit.unwrap_or(usize::MAX));
        }
        PairSource::Judged { files, limit } => {
            let mut answers = Vec::new();
            for file in files {
                answers.extend(judged::read_judged(&file.source()?)?);
            }
            let found = judged::general_pairs(&answers, limit.unwrap_or(usize::MAX));
            all = trained_on.sift_pairs(found, left_out);
        }
    }
    Ok(all)
}

/// A row of the table of solutions.
struct TrainedRow<'a> {
    solution: &'a Solution,
    summary: Summary,
    relative_norm: f64,
    kl_weight: f64,
    steps: usize,
}

/// The solutions that differ from each other in their seeds alone.
fn members(study: &Study) -> Vec<Member> {
    let member = |s: &Solution| Member {
        solution: s.name.clone(),
        family: s.variant(),
        seed: s.train.seeds.initialisation,
    };
    study.solutions.iter().map(member).collect()
}

/// The tables of all searches in one.
fn frontiers(study: &Study, folder: &Path) -> Result<Table> {
    let mut all: Option<Table> = None;
    for solution in study.solutions.iter().filter(|s| s.search.is_some()) {
        let own = Table::read_parquet(&solution_folder(folder, &solution.name).frontier())?;
        match &mut all {
            Some(all) => all.append(&own)?,
            None => all = Some(own),
        }
    }
    Ok(all.unwrap_or_else(|| Table::new("frontier", "")))
}

/// Saves a table that has rows; one that has none is taken away, lest an older one be shown.
fn save_rows(folder: &Path, table: &Table) -> Result<()> {
    if table.rows() > 0 { save(folder, table) } else { remove_table(folder, table.name()) }
}

fn in_words(edit: &Summary) -> String {
    match &edit.lora {
        Some(lora) => format!("LoRA, rank {}, scale {}", lora.rank, lora.scale),
        None => "steering vector".into(),
    }
}

fn numbers(layers: &[i32]) -> String {
    layers.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

/// Every step of every solution, as their metrics have them.
fn training_table(study: &Study, folder: &Path) -> Result<Table> {
    let mut rows = Vec::new();
    for solution in &study.solutions {
        let history = solution_folder(folder, &solution.name).history()?;
        rows.extend(history.into_iter().map(|record| (solution.name.clone(), record)));
    }
    Ok(Table::of_rows("training", "Every optimiser step of every solution", &rows)
        .text("solution", |(name, _)| name.clone())
        .integer("step", "", |(_, r)| r.step as i64)
        .real("learning_rate", "", |(_, r)| r.learning_rate)
        .real("loss", "nats/token", |(_, r)| r.loss)
        .real("response_loss", "nats/token", |(_, r)| r.response_loss)
        .real("kl", "nats/token", |(_, r)| r.kl.unwrap_or(f64::NAN))
        .real("gradient_norm", "", |(_, r)| r.gradient_norm)
        .real("norm", "", |(_, r)| r.norm)
        .real("heldout_loss", "nats/token", |(_, r)| r.heldout_loss.unwrap_or(f64::NAN))
        .table())
}
