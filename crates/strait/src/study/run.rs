//! Running a study: each step of the plan that is not done yet, by the trainer and the measures.

use std::{
    collections::HashSet,
    path::Path,
    rc::Rc,
};

use candle_core::Device;
use serde_json::json;
use strait_model::{
    Config, Model,
    decoder::first_changed_point,
    edit::Summary,
    files::sha256_of,
    progress::{Progress, Unit},
    source::{Located, locate},
};

use super::{
    PairSource, Plan, Rows, RunFolder, Session, Solution, Step, StepStatus, Study, StudyFile, default_folder,
    estimate::Estimate,
    folder::status_of,
    name,
    results::{self, Outcome, outcome, save, solution_folder, table, write_json, write_report},
    status,
};
use crate::{
    Error, Result, Table,
    data::{Chat, judged, pairs, read_chats, split},
    measure::{self, Bootstrap, PairRows},
    objective::{Kept, Row},
    table::Column,
    train::{EditKind, Order, Run, Trainable, TrainingData},
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
pub fn dry_run(file: &Path, out: Option<&Path>, progress: &dyn Progress) -> Result<DryRun> {
    let plan = Planned::new(file, progress)?;
    let folder = out.map_or_else(|| default_folder(&plan.study.name), Path::to_path_buf);
    let steps = status_of(&plan.plan, &folder, &plan.study.name)?;
    let mut lines = plan.preset_lines();
    let lab = Lab::new(&plan, progress)?;
    lines.extend(lab.estimate(|_| true)?.lines());
    Ok(DryRun { steps, lines, study: plan.study })
}

/// Runs a study, or what is left of it.
///
/// # Errors
/// [`Error::Interrupted`] after a request to stop, with everything saved; or the error of the step that failed.
pub fn run(file: &Path, out: Option<&Path>, progress: &dyn Progress) -> Result<Outcome> {
    let planned = Planned::new(file, progress)?;
    let Planned { file, study, plan, .. } = &planned;
    let path = out.map_or_else(|| default_folder(&study.name), Path::to_path_buf);
    let mut folder = RunFolder::open(&path, &study.name)?;
    let session = Session::now(std::env::args().collect(), rayon::current_num_threads());
    folder.begin(session, file, study, plan)?;
    planned.preset_lines().iter().for_each(|line| progress.note(line));

    // A step is done once its record says so and what it makes is there.
    let waiting = |step: &Step| Ok::<_, Error>(!folder.is_done(step)? || !made(&path, step));
    let mut lab = None;
    for step in &plan.steps {
        if !waiting(step)? {
            continue;
        }
        let lab = match &mut lab {
            Some(lab) => lab,
            None => {
                let fresh = Lab::new(&planned, progress)?;
                let left = |name: &str| plan.step(name).is_some_and(|s| waiting(s).unwrap_or(true));
                fresh.estimate(left)?.lines().iter().for_each(|line| progress.note(line));
                lab.insert(fresh)
            }
        };
        if progress.stopped() {
            return Err(Error::Interrupted);
        }
        let running = folder.start(step)?;
        match lab.carry_out(step, folder.path()) {
            Ok(()) => running.done()?,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                running.failed(&error)?;
                return Err(error);
            }
        }
    }
    outcome(&path)
}

/// Whether the file that a step makes is in the folder.
fn made(folder: &Path, step: &Step) -> bool {
    match step.name.as_str() {
        name::MODEL => folder.join(results::MODEL).is_file(),
        name::DATA => true,
        name::REPORT => folder.join(results::REPORT).is_file(),
        measure @ (name::PREFERENCE | name::KL) => results::table_file(folder, measure).is_file(),
        // Without held-out rows there is no such table.
        name::HELDOUT => true,
        training => {
            let solution = training.trim_start_matches(Step::TRAINING);
            solution_folder(folder, solution).edit().is_file()
        }
    }
}

/// A study with its model found and its plan made; nothing heavy is read yet.
struct Planned {
    file: StudyFile,
    study: Study,
    plan: Plan,
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

/// Key of a trained edit's provenance: the median norm of the residual stream where it acts.
const MEDIAN_NORM: &str = "median_residual_norm";

/// The model and the rows, and what has been computed of them.
struct Lab<'a> {
    planned: &'a Planned,
    progress: &'a dyn Progress,
    model: Model,
    train: Vec<Row>,
    held_out: Vec<Row>,
    kl: Vec<Row>,
    narrow: Vec<pairs::Pair>,
    general: Vec<pairs::Pair>,
    /// Rows with the base's stream kept, by what they are and at which point.
    kept: Vec<KeptRows>,
    groups: Option<(usize, Rc<Vec<PairRows>>)>,
}

impl<'a> Lab<'a> {
    fn new(planned: &'a Planned, progress: &'a dyn Progress) -> Result<Self> {
        let study = &planned.study;
        let task = progress.begin("loading the model", None, Unit::Count);
        let model = Model::load(&planned.located, &Device::Cpu)?;
        drop(task);
        let chats = read_all(&study.data.train)?;
        let (train, held_out) = split::hold_out(chats, study.data.held_out, study.seeds.order);
        let seen: HashSet<_> = train.iter().map(|chat| questions(&chat.messages)).collect();
        let unseen = |pair: &pairs::Pair| !seen.contains(&questions(&pair.question));
        let narrow = read_pairs(&study.data.narrow, Some(&study.data.domain), unseen)?;
        let general = read_pairs(&study.data.general, None, unseen)?;
        let rows = |chats: &[Chat]| {
            chats.iter().map(|c| Row::from_chat(&model, &c.messages, &c.place)).collect::<Result<Vec<_>>>()
        };
        let (train, held_out, kl) = (rows(&train)?, rows(&held_out)?, rows(&read_all(&study.data.kl)?)?);
        Ok(Self {
            planned,
            progress,
            model,
            train,
            held_out,
            kl,
            narrow,
            general,
            kept: Vec::new(),
            groups: None,
        })
    }

    fn carry_out(&mut self, step: &Step, folder: &Path) -> Result<()> {
        match step.name.as_str() {
            name::MODEL => self.describe_model(folder),
            name::DATA => self.describe_data(folder),
            name::PREFERENCE => self.preference(folder),
            name::KL => self.divergence(folder),
            name::HELDOUT => self.heldout(folder),
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
        let facts = json!({
            "schema": super::SCHEMA,
            "provenance": self.model.provenance,
            "sha256": self.planned.weights,
            "config": self.model.config(),
            "parameters": self.model.config().parameters(),
        });
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
            "train": of(&self.train),
            "held_out": of(&self.held_out),
        });
        write_json(&folder.join("data.json"), &facts)
    }

    fn train(&mut self, solution: &Solution, step: &Step, folder: &Path) -> Result<()> {
        let settings = &solution.train;
        let device = self.model.decoder.device().clone();
        // The point is the same for every value of the edit; the residual's scale there is what a steering rate is
        // relative to.
        let shape = Trainable::new(settings, self.model.config(), 1.0, &device)?;
        let point = first_changed_point(shape.edit(), self.model.config().layers);
        let order = Order::new(settings, &self.train, &self.kl);
        let (train_rows, kl_rows) = (order.train_rows(), order.kl_rows());
        let train = self.kept("train", point, &train_rows)?;
        let every_row: Vec<usize> = (0..self.held_out.len()).collect();
        let held_out =
            (!every_row.is_empty()).then(|| self.kept("held-out", point, &every_row)).transpose()?;
        let kl = (!kl_rows.is_empty()).then(|| self.kept("KL", point, &kl_rows)).transpose()?;
        let decoder = &self.model.decoder;
        let median_norm = train.median_norm(decoder, &train_rows)?;
        let scale = median_norm / (self.model.config().hidden_size as f64).sqrt();
        let data = TrainingData { train: &train, held_out: held_out.as_deref(), kl: kl.as_deref() };
        let solution_folder = solution_folder(folder, &solution.name);
        let provenance = json!({
            "base_model": self.planned.study.model,
            "study": self.planned.study.name,
            "solution": solution.name,
            (MEDIAN_NORM): median_norm,
        });
        let run = Run {
            decoder,
            data,
            settings,
            order,
            folder: &solution_folder,
            fingerprint: &step.key,
            provenance,
        };
        let trainable = Trainable::new(settings, self.model.config(), scale, &device)?;
        self.progress.note(&format!("{}: {} steps", solution.name, run.order.steps()));
        run.train(trainable, self.progress)?;
        Ok(())
    }

    /// All rows of one kind, with the base's stream of the `used` ones kept at a point. What was kept of other points and
    /// other rows of this kind is dropped: memory is worth more.
    fn kept(&mut self, which: &'static str, point: usize, used: &[usize]) -> Result<Rc<Kept>> {
        self.kept.retain(|other| other.point == point);
        let same = |k: &&KeptRows| k.which == which && k.used == used;
        if let Some(found) = self.kept.iter().find(same) {
            return Ok(found.kept.clone());
        }
        self.kept.retain(|other| other.which != which);
        let rows = match which {
            "train" => &self.train,
            "held-out" => &self.held_out,
            _ => &self.kl,
        };
        let title = format!("reading {which} rows");
        let mut kept = Kept::new(rows.clone(), point);
        kept.keep(&self.model.decoder, used, which == "KL", &title, self.progress)?;
        let kept = Rc::new(kept);
        self.kept.push(KeptRows { which, point, used: used.to_vec(), kept: kept.clone() });
        Ok(kept)
    }

    fn solutions(&self, folder: &Path) -> Result<Vec<measure::Solution>> {
        let open = |solution: &Solution| {
            let path = solution_folder(folder, &solution.name).edit();
            let edit = strait_model::edit::open(&path.to_string_lossy())?;
            Ok(measure::Solution { name: solution.name.clone(), edit })
        };
        self.planned.study.solutions.iter().map(open).collect()
    }

    /// The point up to which no solution changes anything.
    fn common_point(&self, solutions: &[measure::Solution]) -> usize {
        let layers = self.model.config().layers;
        solutions.iter().map(|s| first_changed_point(&s.edit, layers)).min().unwrap_or(layers)
    }

    fn groups(&mut self, point: usize) -> Result<Rc<Vec<PairRows>>> {
        if let Some((at, groups)) = &self.groups
            && *at == point
        {
            return Ok(groups.clone());
        }
        self.kept.clear();
        let of =
            |group, pairs: &[pairs::Pair]| PairRows::new(&self.model, group, pairs, point, self.progress);
        let groups = Rc::new(vec![of("narrow", &self.narrow)?, of("general", &self.general)?]);
        self.groups = Some((point, groups.clone()));
        Ok(groups)
    }

    fn bootstrap(&self) -> Bootstrap {
        let study = &self.planned.study;
        Bootstrap { resamples: study.measures.resamples, seed: study.seeds.sampling }
    }

    fn preference(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        let groups = self.groups(self.common_point(&solutions))?;
        let measures = &self.planned.study.measures;
        let table = measure::preference(
            &self.model.decoder,
            &solutions,
            &groups,
            &measures.scales,
            measures.coherence,
            self.bootstrap(),
            self.progress,
        )?;
        save(folder, &table)
    }

    fn divergence(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        let groups = self.groups(self.common_point(&solutions))?;
        let table =
            measure::divergence(&self.model.decoder, &solutions, &groups, self.bootstrap(), self.progress)?;
        save(folder, &table)
    }

    fn heldout(&mut self, folder: &Path) -> Result<()> {
        let solutions = self.solutions(folder)?;
        if self.held_out.is_empty() {
            return Ok(());
        }
        let every_row: Vec<usize> = (0..self.held_out.len()).collect();
        let kept = self.kept("held-out", self.common_point(&solutions), &every_row)?;
        let table =
            measure::heldout(&self.model.decoder, &solutions, &kept, self.bootstrap(), self.progress)?;
        save(folder, &table)
    }

    fn report(&self, folder: &Path) -> Result<()> {
        let study = &self.planned.study;
        if let Some(preference) = table(folder, "preference")? {
            save(folder, &measure::certificate(&preference, study.measures.certificate))?;
        }
        save(folder, &self.solutions_table(folder)?)?;
        save(folder, &training_table(study, folder)?)?;
        write_report(folder)?;
        Ok(())
    }

    fn solutions_table(&self, folder: &Path) -> Result<Table> {
        let study = &self.planned.study;
        let status = status(folder)?;
        let (mut rows, mut relative) = (Vec::new(), Vec::new());
        for solution in &study.solutions {
            let own = solution_folder(folder, &solution.name);
            let opened = strait_model::edit::read(&own.edit().to_string_lossy())?;
            let timed = status.steps.iter().find(|s| s.name == Step::training(&solution.name));
            let seconds = timed.and_then(|s| s.seconds).unwrap_or(f64::NAN);
            let summary = opened.edit.summary()?;
            relative.push(match (&solution.train.edit, opened.provenance[MEDIAN_NORM].as_f64()) {
                (EditKind::Steering { .. }, Some(median_norm)) => summary.norm / median_norm,
                _ => f64::NAN,
            });
            rows.push((solution, summary, own.history()?.len(), seconds));
        }
        type Of<'r, T> = &'r dyn Fn(&(&Solution, Summary, usize, f64)) -> T;
        let text = |f: Of<String>| Column::Text(rows.iter().map(f).collect());
        let integer = |f: Of<i64>| Column::Integer(rows.iter().map(f).collect());
        let real = |f: Of<f64>| Column::Real(rows.iter().map(f).collect());
        Ok(Table::new("solutions", "The trained edits")
            .with_column("solution", "", text(&|(s, ..)| s.name.clone()))
            .with_column("edit", "", text(&|(_, e, ..)| in_words(e)))
            .with_column("layers", "", text(&|(_, e, ..)| numbers(&e.layers)))
            .with_column("parameters", "", integer(&|(_, e, ..)| e.parameters as i64))
            .with_column("norm", "", real(&|(_, e, ..)| e.norm))
            .with_column("relative_norm", "median residual norms", Column::Real(relative))
            .with_column("kl_weight", "nats/nat", real(&|(s, ..)| s.train.kl.map_or(0.0, |kl| kl.weight)))
            .with_column("steps", "", integer(&|&(_, _, steps, _)| steps as i64))
            .with_column("seconds", "s", real(&|&(.., seconds)| seconds))
            .with_column("seed", "", integer(&|(s, ..)| s.train.seeds.initialisation as i64)))
    }

    fn estimate(&self, left: impl Fn(&str) -> bool) -> Result<Estimate> {
        let study = &self.planned.study;
        let mut estimate = Estimate::calibrated(&self.model, self.train.first())?;
        for solution in study.solutions.iter().filter(|s| left(&Step::training(&s.name))) {
            estimate.training(&solution.train, &self.train, &self.held_out, &self.kl);
        }
        let pairs = 2 * (self.narrow.len() + self.general.len());
        let points = study.solutions.iter().map(|s| super::estimate::point(&s.train));
        let point = points.min().unwrap_or(0);
        if left(name::PREFERENCE) {
            let passes = 1 + study.solutions.len() * study.measures.scales.len();
            estimate.measuring(pairs, point, passes, &self.train, false);
        }
        if left(name::KL) {
            estimate.measuring(pairs, point, study.solutions.len(), &self.train, true);
        }
        if left(name::HELDOUT) {
            estimate.measuring(self.held_out.len(), point, 1 + study.solutions.len(), &self.train, false);
        }
        Ok(estimate)
    }
}

/// Rows of one kind, some of them with the base's stream kept at a point.
struct KeptRows {
    which: &'static str,
    point: usize,
    used: Vec<usize>,
    kept: Rc<Kept>,
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
    let asked = messages.iter().filter(|m| m.role != strait_model::Role::Assistant);
    asked.map(|m| m.content.clone()).collect()
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
    type Of<'r> = &'r dyn Fn(&crate::train::StepRecord) -> f64;
    let real = |f: Of| Column::Real(rows.iter().map(|(_, r)| f(r)).collect());
    Ok(Table::new("training", "Every optimiser step of every solution")
        .with_column("solution", "", Column::Text(rows.iter().map(|(name, _)| name.clone()).collect()))
        .with_column("step", "", Column::Integer(rows.iter().map(|(_, r)| r.step as i64).collect()))
        .with_column("learning_rate", "", real(&|r| r.learning_rate))
        .with_column("loss", "nats/token", real(&|r| r.loss))
        .with_column("response_loss", "nats/token", real(&|r| r.response_loss))
        .with_column("kl", "nats/token", real(&|r| r.kl.unwrap_or(f64::NAN)))
        .with_column("gradient_norm", "", real(&|r| r.gradient_norm))
        .with_column("norm", "", real(&|r| r.norm))
        .with_column("heldout_loss", "nats/token", real(&|r| r.heldout_loss.unwrap_or(f64::NAN))))
}
