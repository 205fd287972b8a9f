//! The steps of a study, what each needs, and a key that changes when, and only when, its result may.
//!
//! A step may read nothing but what its inputs name and what the steps that it needs have made; its key is the SHA-256 of
//! both. A file counts by its contents: one that was moved or touched changes no key.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use strait_model::{Precision, files::hex, template::Date};

use super::{PairSource, Rows, Solution, Study};
use crate::{
    Result,
    lab::point,
    measure::{Inputs, Reads},
};

/// Raised when this program's results change for equal inputs, so that older ones are made again.
pub const RESULTS_VERSION: u32 = 8;

/// A step of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Names of the steps that come before it.
    pub needs: Vec<String>,
    /// All that it reads from the study, files by their SHA-256.
    pub inputs: Value,
    /// SHA-256 of its inputs, the keys of the steps it needs, and [`RESULTS_VERSION`].
    pub key: String,
}

/// The steps of a study, each after those it needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Step {
    /// Finding and reading the model.
    pub const MODEL: &str = "model";
    /// Reading the training rows and holding some of them out.
    pub const DATA: &str = "data";
    /// The report.
    pub const REPORT: &str = "report";
    /// The prefix of the names of steps that train.
    pub const TRAINING: &str = "train-";

    /// Name of the step that trains a solution.
    pub fn training(solution: &str) -> String {
        format!("{}{solution}", Self::TRAINING)
    }
}

impl Plan {
    /// The plan of a study on a model whose weight files have the given names and SHA-256. `sha256` reads a file of rows;
    /// it is asked once for each.
    ///
    /// # Errors
    /// If `sha256` fails.
    pub fn of(
        study: &Study,
        model: &[(String, String)],
        sha256: impl FnMut(&Path) -> Result<String>,
    ) -> Result<Self> {
        let mut hashes = Hashes { known: BTreeMap::new(), sha256 };
        let Study { data, date, measures, precision, seeds, solutions, .. } = study;
        let mut pairs = json!({
            "narrow": hashes.of_pairs(&data.narrow)?,
            "general": hashes.of_pairs(&data.general)?,
        });
        // Some of them are kept for trainings that end early.
        let watches = solutions.iter().any(|s| s.train.stop.is_some());
        if watches {
            pairs["watched"] = true.into();
        }
        let kl_rows = hashes.of_all(&data.kl)?;
        // Pairs and passages that solutions of the study are trained on are left out, for all of them alike.
        let mut asked = json!({ "train": hashes.of_all(&data.train)? });
        let penalised = || solutions.iter().filter(|s| s.train.kl.is_some());
        if penalised().any(|s| s.kl_rows.is_none()) {
            asked["kl"] = kl_rows.clone();
        }
        let mut held = BTreeSet::new();
        for rows in penalised().filter_map(|s| s.kl_rows.as_ref()) {
            held.insert(hashes.of_all(rows)?.to_string());
        }
        if !held.is_empty() {
            asked["own_kl"] = json!(held);
        }
        let mut mixed = BTreeSet::new();
        for mix in solutions.iter().filter_map(|s| s.mix.as_ref()) {
            mixed.insert(hashes.of_all(&mix.rows)?.to_string());
        }
        if !mixed.is_empty() {
            asked["mix"] = json!(mixed);
        }
        let mut own = BTreeSet::new();
        for rows in solutions.iter().filter_map(|s| s.own_rows.as_ref()) {
            own.insert(hashes.of_all(rows)?.to_string());
        }
        if !own.is_empty() {
            asked["own_train"] = json!(own);
        }
        let mut cues = Vec::new();
        for cue in &study.cues {
            // Cues are plain texts and lists: they have no value that JSON lacks.
            let said = serde_json::to_value(cue).unwrap_or_default();
            cues.push(json!({ "cue": said, "rows": hashes.of_all(cue.rows())? }));
        }
        let cues = if cues.is_empty() { Value::Null } else { cues.into() };
        let mut plan = Self { steps: Vec::new() };

        // Runs from before days and precisions could be told keep their steps.
        let mut inputs = json!({ "files": model });
        if *date != Date::default() {
            inputs["date"] = json!(date);
        }
        if *precision != Precision::default() {
            inputs["precision"] = json!(precision);
        }
        plan.push(Step::MODEL, &[], inputs);
        plan.push(
            Step::DATA,
            &[],
            json!({
                "train": hashes.of_all(&data.train)?,
                "held_out": data.held_out,
                "order": seeds.order,
            }),
        );
        let trained: Vec<String> = solutions.iter().map(|s| Step::training(&s.name)).collect();
        let intervals = json!({ "by": "student, stretched", "sampling": seeds.sampling });
        for solution in in_order(solutions) {
            let own_kl = solution.kl_rows.as_ref().map(|rows| hashes.of_all(rows)).transpose()?;
            let mut inputs = training_inputs(solution, own_kl.as_ref().unwrap_or(&kl_rows));
            if let Some(system) = &solution.system {
                inputs["system"] = system.as_str().into();
            }
            if let Some(rows) = &solution.own_rows {
                inputs["own_rows"] = hashes.of_all(rows)?;
            }
            if let Some(mix) = &solution.mix {
                inputs["mix"] = json!({ "rows": hashes.of_all(&mix.rows)?, "ratio": mix.ratio });
                if mix.every {
                    inputs["mix"]["every"] = true.into();
                }
            }
            if let Some(without) = &solution.without {
                inputs["without"] =
                    json!({ "sha256": hashes.of_file(without.file.path())?, "layer": without.layer });
            }
            if solution.train.stop.is_some() {
                inputs["watched"] = json!({ "pairs": pairs["general"], "asked": asked });
            }
            if let Some(search) = &solution.search {
                inputs["search"] = json!({
                    "search": search,
                    "pairs": pairs,
                    "asked": asked,
                    "domain": data.domain,
                    "scales": measures.scales,
                    "coherence": measures.coherence,
                    "intervals": intervals,
                });
            }
            let before: Vec<String> = starts(solution).map(|name| Step::training(name)).collect();
            let mut needs = vec![Step::MODEL, Step::DATA];
            needs.extend(before.iter().map(String::as_str));
            plan.push(&Step::training(&solution.name), &needs, inputs);
        }
        let trained: Vec<&str> = trained.iter().map(String::as_str).collect();
        let controls: Vec<&str> = solutions.iter().filter(|s| s.control).map(|s| s.name.as_str()).collect();
        let those = |are: fn(&Solution) -> bool| -> Vec<&str> {
            trained.iter().zip(solutions).filter(|(_, s)| are(s)).map(|(name, _)| *name).collect()
        };
        let (compared, beside) = (those(Solution::compared), those(Solution::beside));
        let mut inputs = Inputs {
            pairs: &pairs,
            asked: &asked,
            cues: &cues,
            domain: &data.domain,
            intervals: &intervals,
            rows: measures.rows,
            seed: seeds.sampling,
            controls: &controls,
            follows: solutions.iter().any(|s| s.from.is_some()),
            hash: &mut |path| hashes.of_file(path),
        };
        let mut measured = Vec::new();
        for measure in &measures.asked.0 {
            if !measure.applies(&inputs) {
                continue;
            }
            let own = measure.inputs(&mut inputs)?;
            let needs = match measure.reads() {
                Reads::Every => &trained,
                Reads::Compared => &compared,
                Reads::Beside => &beside,
            };
            let after = measure.after().filter(|earlier| measured.contains(earlier));
            let needs: Vec<&str> = needs.iter().copied().chain(after).collect();
            plan.push(measure.name(), &needs, own);
            measured.push(measure.name());
        }
        let reported = [&[Step::MODEL, Step::DATA], &trained[..], &measured[..]];
        let mut shown = json!({
            "name": study.name,
            "title": study.title,
            "about": study.about,
            "model": study.model.shown(),
            "domain": data.domain,
            "kind": data.kind,
            // The verdict is drawn from the table of preferences.
            "certificate": measures.certificate,
            "presets": solutions.iter().map(|s| s.preset).collect::<Vec<_>>(),
        });
        if !controls.is_empty() {
            shown["controls"] = json!(controls);
        }
        if !study.predictions.is_empty() {
            shown["predictions"] = json!(study.predictions);
        }
        plan.push(Step::REPORT, &reported.concat(), shown);
        Ok(plan)
    }

    /// The step of that name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// A key for one weight that a search tries: it changes with what training reads, and not with how weights are judged.
    pub fn key_of_try(&self, step: &Step, solution: &Solution, weight: f64) -> String {
        let mut inputs = step.inputs.clone();
        if let Some(inputs) = inputs.as_object_mut() {
            inputs.remove("search");
        }
        inputs["settings"]["kl"]["weight"] = weight.into();
        let start = solution.from.as_deref().map(Step::training);
        let needs = [Step::MODEL, Step::DATA].into_iter().chain(start.as_deref());
        let needed: Vec<_> = needs.map(|need| self.step(need).map(|step| &step.key)).collect();
        let all = json!({ "version": RESULTS_VERSION, "inputs": inputs, "needs": needed });
        hex(&Sha256::digest(all.to_string()))
    }

    fn push(&mut self, name: &str, needs: &[&str], inputs: Value) {
        let needed: Vec<_> = needs.iter().map(|need| (need, self.step(need).map(|step| &step.key))).collect();
        let all = json!({ "version": RESULTS_VERSION, "step": name, "inputs": inputs, "needs": needed });
        let key = hex(&Sha256::digest(all.to_string()));
        let needs = needs.iter().map(|need| need.to_string()).collect();
        self.steps.push(Step { name: name.into(), needs, inputs, key });
    }
}

/// The solutions that one needs to be trained before it.
fn starts(solution: &Solution) -> impl Iterator<Item = &String> {
    let unpenalised = solution.search.as_ref().and_then(|search| search.unpenalised.as_ref());
    solution.from.iter().chain(unpenalised)
}

/// Solutions in the order of their training: after those that they need, and those of one layer together, so that what
/// was computed of the rows below it serves them all.
fn in_order(solutions: &[Solution]) -> Vec<&Solution> {
    let mut waiting: Vec<&Solution> = solutions.iter().collect();
    waiting.sort_by_key(|solution| point(&solution.train));
    let mut ordered: Vec<&Solution> = Vec::new();
    while !waiting.is_empty() {
        let ready = |s: &&Solution| starts(s).all(|name| ordered.iter().any(|o| o.name == *name));
        // What starts from a circle would never be ready; resolving refuses those.
        let next = waiting.iter().position(ready).unwrap_or(0);
        ordered.push(waiting.remove(next));
    }
    ordered
}

/// The inputs of a training: its settings, but for the seed of what is sampled afterwards, and the rows of its penalty.
fn training_inputs(solution: &Solution, kl_rows: &Value) -> Value {
    // Settings are plain numbers, words and lists: they have no value that JSON lacks.
    let mut settings = serde_json::to_value(&solution.train).unwrap_or_default();
    if let Some(seeds) = settings.get_mut("seeds").and_then(Value::as_object_mut) {
        seeds.remove("sampling");
    }
    let mut inputs = json!({ "settings": settings });
    if solution.train.kl.is_some() {
        inputs["kl_rows"] = kl_rows.clone();
    }
    if let Some(rows) = solution.rows {
        inputs["rows"] = rows.into();
    }
    if solution.absolute_rate {
        inputs["absolute_rate"] = true.into();
    }
    inputs
}

/// SHA-256 of files, each read once.
struct Hashes<F> {
    known: BTreeMap<PathBuf, String>,
    sha256: F,
}

impl<F: FnMut(&Path) -> Result<String>> Hashes<F> {
    fn of_file(&mut self, path: &Path) -> Result<String> {
        if let Some(known) = self.known.get(path) {
            return Ok(known.clone());
        }
        let fresh = (self.sha256)(path)?;
        self.known.insert(path.into(), fresh.clone());
        Ok(fresh)
    }

    fn of(&mut self, rows: &Rows) -> Result<Value> {
        Ok(match rows {
            Rows::File(file) => json!({ "sha256": self.of_file(file.path())? }),
            Rows::Archive { archive, member, .. } => {
                json!({ "sha256": self.of_file(archive.path())?, "member": member })
            }
            Rows::World(rows) => json!({ "world": rows.inputs()? }),
        })
    }

    fn of_all(&mut self, rows: &[Rows]) -> Result<Value> {
        rows.iter().map(|rows| self.of(rows)).collect()
    }

    fn of_pairs(&mut self, pairs: &PairSource) -> Result<Value> {
        Ok(match pairs {
            PairSource::None => Value::Null,
            PairSource::Aligned { taught, other, limit } => json!({
                "taught": self.of_all(taught)?,
                "other": self.of_all(other)?,
                "limit": limit,
            }),
            PairSource::Judged { files, limit } => json!({ "judged": self.of_all(files)?, "limit": limit }),
        })
    }
}
