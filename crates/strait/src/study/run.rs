//! Running a study: each step of the plan that is not done yet, by the trainer and the measures.

use std::{
    collections::HashSet,
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
    progress::{Progress, Unit},
    source::{Located, locate},
};

use super::{
    Axis, PairSource, Plan, Rows, RunFolder, Session, Significance, Solution, Step, StepStatus, Study,
    StudyFile,
    crew::{Beside, carry_out},
    default_folder,
    estimate::{Estimate, duration, point},
    folder::{sealed, status_of},
    name,
    results::{self, Outcome, outcome, remove_table, save, solution_folder, table, write_json, write_report},
    status,
    training::{CHECKPOINTS, KL_WEIGHT, Mixture},
};
use crate::{
    Error, Result, Table,
    data::{Chat, Passage, choose, judged, pairs, read_chats, read_passages, split},
    measure::{self, Bootstrap, Member, PairRows, SignificanceSettings},
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
    lines.extend(lab.solution_lines()?);
    lines.push(
        "the report will say of each of these whether it holds ([[prediction]] takes them as claims):".into(),
    );
    lines.extend(plan.study.claims().into_iter().map(|claim| format!("  {claim}")));
    lines.extend(lab.estimate(|_| true)?.lines(1));
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
    let session = Session::now(std::env::args().collect(), rayon::current_num_threads(), device);
    folder.begin(session, file, study, plan)?;
    planned.preset_lines().iter().for_each(|line| progress.note(line));

    let mut left = Vec::new();
    for step in &plan.steps {
        // A step is done once its record says so and what it makes is there.
        if !(folder.is_done(step)? && made(&path, step)) {
            left.push(step);
        }
    }
    if !left.is_empty() {
        let lab = Lab::new(&planned, device, progress)?;
        let estimate = lab.estimate(|name| left.iter().any(|step| step.name == name))?;
        let jobs = jobs.map_or_else(|| estimate.jobs(), NonZeroUsize::get).min(left.len());
        estimate.lines(jobs).iter().for_each(|line| progress.note(line));
        match jobs {
            1 => one_by_one(left, lab, &folder)?,
            _ => beside_each_other(left, lab, &folder, jobs)?,
        }
    }
    outcome(&path)
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

/// Whether the file that a step makes is in the folder.
fn made(folder: &Path, step: &Step) -> bool {
    match step.name.as_str() {
        name::MODEL => folder.join(results::MODEL).is_file(),
        name::DATA => folder.join(DATA).is_file(),
        name::REPORT => folder.join(results::REPORT).is_file(),
        measure @ (name::PREFERENCE | name::KL | name::HELDOUT | name::DRIFT) => {
            results::table_file(folder, measure).is_file()
        }
        measure @ (name::EFFICIENCY | name::STABILITY | name::SIGNIFICANCE) => {
            let tables = [measure.to_string(), format!("{measure}_difference")];
            tables.iter().all(|table| results::table_file(folder, table).is_file())
        }
        training => {
            let solution = training.trim_start_matches(Step::TRAINING);
            solution_folder(folder, solution).edit().is_file()
        }
    }
}

/// A study with its model found and its plan made; nothing heavy is read yet.
pub(super) struct Planned {
    file: StudyFile,
    pub study: Study,
    pub plan: Plan,
    located: Located,
    config: Config,
    /// Name and SHA-256 of the weight files.
    weights: Vec<(String, String)>,
}

impl Planned {
    fn new(path: &Path, progress: &dyn Progress) -> Result<Self> {
        let file = StudyFile::read(path)?;
        let study = file.resolve()?;
        let located = locate(&study.model, progress)?;
        let weights = strait_model::Weights::open(&located.path)?;
        let config = weights.config().clone();
        let study = study.fix_layers(config.layers)?;
        let weights = strait_model::model::hashes(&weights.all_files(), progress)?;
        let plan = Plan::of(&study, &weights, |path| Ok(sha256_of(path, |_| ())?))?;
        Ok(Self { file, study, plan, located, config, weights })
    }

    fn preset_lines(&self) -> Vec<String> {
        results::preset_lines(&self.study, self.config.layers)
    }
}

/// What is known of the rows: how many, and their tokens.
const DATA: &str = "data.json";

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
}

impl<'a> Lab<'a> {
    fn new(planned: &'a Planned, device: &Device, progress: &'a dyn Progress) -> Result<Self> {
        let study = &planned.study;
        let task = progress.begin("loading the model", None, Unit::Count);
        let mut model = Model::load(&planned.located, device)?;
        model.tokenizer.set_date(study.date);
        let model = Arc::new(model);
        drop(task);
        let chats = read_all(&study.data.train)?;
        let (train, held_out) = split::hold_out(chats, study.data.held_out, study.seeds.order);
        let seen: HashSet<_> = train.iter().map(|chat| questions(&chat.conversation.messages)).collect();
        let unseen = |pair: &pairs::Pair| !seen.contains(&questions(&pair.question.messages));
        let narrow = read_pairs(&study.data.narrow, Some(&study.data.domain), unseen)?;
        let general = read_pairs(&study.data.general, None, unseen)?;
        let rows = |chats: &[Chat]| {
            let rows = chats.iter().map(|c| Row::from_chat(&model, &c.conversation, &c.place));
            rows.collect::<Result<Vec<Row>>>()
        };
        let train = rows(&train)?;
        let mut mixtures: Vec<Mixture> = Vec::new();
        for mix in study.solutions.iter().filter_map(|s| s.mix.as_ref()) {
            if mixtures.iter().all(|known| known.files != mix.rows) {
                let others = rows(&read_all(&mix.rows)?)?;
                let kept = Kept::new(train.iter().cloned().chain(others).collect());
                mixtures.push(Mixture { files: mix.rows.clone(), kept });
            }
        }
        let (measures, sampling) = (&study.measures, study.seeds.sampling);
        Ok(Self {
            measured: Kept::new(choose(train.clone(), measures.rows, sampling)),
            passages: read_text(&model, measures.significance.as_ref(), sampling)?,
            train: Kept::new(train),
            mixtures,
            held_out: Kept::new(rows(&held_out)?),
            kl: Kept::new(rows(&read_all(&study.data.kl)?)?),
            pairs: [PairRows::new(&model, "narrow", &narrow)?, PairRows::new(&model, "general", &general)?],
            planned,
            progress,
            model,
        })
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
        }
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
        let mut facts = json!({
            "schema": super::SCHEMA,
            "provenance": self.model.provenance,
            "sha256": self.planned.weights,
            "config": self.model.config(),
            "parameters": self.model.config().parameters(),
        });
        if let Some(date) = self.model.tokenizer.date() {
            facts["date"] = json!(date);
        }
        write_json(&folder.join(results::MODEL), &facts)
    }

    fn describe_data(&self, folder: &Path) -> Result<()> {
        let of = |rows: &[Row]| {
            json!({
                "rows": rows.len(),
                "tokens": rows.iter().map(|r| r.ids.len()).sum::<usize>(),
                "response_tokens": rows.iter().map(Row::response_tokens).sum::<usize>(),
            })
        };
        let facts = json!({
            "schema": super::SCHEMA,
            "train": of(self.train.rows()),
            "held_out": of(self.held_out.rows()),
        });
        write_json(&folder.join(DATA), &facts)
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

    pub(super) fn bootstrap(&self) -> Bootstrap {
        let study = &self.planned.study;
        Bootstrap { resamples: study.measures.resamples, seed: study.seeds.sampling }
    }

    fn preference(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        self.forget_training();
        let (measures, bootstrap) = (&self.planned.study.measures, self.bootstrap());
        let table = measure::preference(
            &self.model.decoder,
            &solutions,
            &mut self.pairs,
            &measures.scales,
            measures.coherence,
            bootstrap,
            self.progress,
        )?;
        save(folder, &table)
    }

    fn divergence(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        self.forget_training();
        let (decoder, bootstrap) = (&self.model.decoder, self.bootstrap());
        let table = measure::divergence(decoder, &solutions, &mut self.pairs, bootstrap, self.progress)?;
        save(folder, &table)
    }

    fn heldout(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        let (decoder, rows) = (&self.model.decoder, self.held_out.every_row());
        let point = self.common_point(solutions.iter().map(|s| &s.edit));
        self.held_out.keep(decoder, &rows, point, false, "reading held-out rows", self.progress)?;
        let table = measure::heldout(decoder, &solutions, &self.held_out, self.bootstrap(), self.progress)?;
        save(folder, &table)
    }

    /// Gives back what steps before have kept, but for the rows that efficiency and stability share.
    fn forget_all(&mut self) {
        let pairs = self.pairs.iter_mut().map(|pairs| &mut pairs.kept);
        pairs.chain([&mut self.train, &mut self.held_out, &mut self.kl]).for_each(Kept::forget);
    }

    fn efficiency(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.compared(folder)?;
        let bootstrap = self.bootstrap();
        self.forget_all();
        let Some(settings) = &self.planned.study.measures.efficiency else { return Ok(()) };
        let (decoder, rows) = (&self.model.decoder, &mut self.measured);
        let tables = measure::efficiency(decoder, &solutions, rows, settings, bootstrap, self.progress)?;
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
        let bootstrap = self.bootstrap();
        self.forget_all();
        self.measured.forget();
        let Some(Significance { directions, .. }) = &self.planned.study.measures.significance else {
            return Ok(());
        };
        let (model, passages) = (&self.model, &self.passages);
        let tables =
            measure::significance(model, &solutions, passages, directions, bootstrap, self.progress)?;
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
        save(folder, &self.solutions_table(folder)?)?;
        save(folder, &training_table(study, folder)?)?;
        if let Some(seal) = sealed(folder)? {
            let claims = outcome(folder)?.conclusion.claims;
            save(folder, &seal.table(&claims))?;
        }
        write_report(folder)?;
        Ok(())
    }

    fn solutions_table(&self, folder: &Path) -> Result<Table> {
        let study = &self.planned.study;
        let status = status(folder)?;
        let mut rows = Vec::new();
        for solution in &study.solutions {
            let own = solution_folder(folder, &solution.name);
            let opened = edit::read(&own.edit().to_string_lossy())?;
            let timed = status.steps.iter().find(|s| s.name == Step::training(&solution.name));
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
                seconds: timed.and_then(|s| s.seconds).unwrap_or(f64::NAN),
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
            .real("seconds", "s", |r| r.seconds)
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
            let steps = self.order(solution, &solution.train).steps();
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
            let order = self.order(solution, &solution.train);
            estimate.training(&solution.train, &order, rows)
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
                let checkpoints =
                    self.order(solution, &solution.train).steps() / solution.train.checkpoint_every;
                let (point, passes) = (point(&solution.train), 1 + checkpoints.clamp(1, CHECKPOINTS));
                estimate.losses(self.held_out.rows(), point, passes);
                few.iter().for_each(|pairs| _ = estimate.losses(pairs.kept.rows(), point, passes));
            }
        }
        Ok(estimate)
    }
}

/// How many parts of an edit of that kind noise is put on, one by one.
fn parts(edit: &EditKind) -> usize {
    match edit {
        EditKind::Steering { .. } => 1,
        EditKind::Lora { .. } => 2,
    }
}

/// The most passages of one file among which a study chooses.
const MOST_PASSAGES: usize = 20_000;

/// The passages that significance reads, tokenised: chosen by the seed among those of all files.
fn read_text(model: &Model, significance: Option<&Significance>, seed: u64) -> Result<Vec<Row>> {
    let Some(significance) = significance else { return Ok(Vec::new()) };
    let mut passages = Vec::new();
    for path in &significance.text {
        passages.extend(read_passages(path, MOST_PASSAGES)?);
    }
    let row = |passage: Passage| Row::of_text(model, &passage.text, significance.tokens);
    choose(passages, significance.passages, seed).into_iter().map(row).collect()
}

fn read_all(rows: &[Rows]) -> Result<Vec<Chat>> {
    let mut chats = Vec::new();
    for rows in rows {
        chats.extend(read_chats(&rows.source()?)?);
    }
    Ok(chats)
}

/// What a conversation asks, without its answers. Pairs whose question is trained on measure memory, and are left out.
fn questions(messages: &[strait_model::Message]) -> Vec<String> {
    messages.iter().filter(|m| !m.is_answer()).map(|m| m.text().into_owned()).collect()
}

/// The pairs of a source that `wanted` takes. A limit is shared evenly by the source's files, so that every domain keeps
/// its part.
fn read_pairs(
    source: &PairSource,
    domain: Option<&str>,
    wanted: impl Fn(&pairs::Pair) -> bool,
) -> Result<Vec<pairs::Pair>> {
    let mut all = Vec::new();
    match source {
        PairSource::None => {}
        PairSource::Aligned { taught, other, limit } => {
            let a_file = limit.map_or(usize::MAX, |limit| limit.div_ceil(taught.len().max(1)));
            for (taught, other) in taught.iter().zip(other) {
                let found = pairs::read_pairs(&taught.source()?, &other.source()?, domain)?;
                all.extend(found.into_iter().filter(&wanted).take(a_file));
            }
            all.truncate(limit.unwrap_or(usize::MAX));
        }
        PairSource::Judged { files, limit } => {
            let mut answers = Vec::new();
            for file in files {
                answers.extend(judged::read_judged(&file.source()?)?);
            }
            let found = judged::general_pairs(&answers, limit.unwrap_or(usize::MAX));
            all.extend(found.into_iter().filter(&wanted));
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
    seconds: f64,
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
