//! The meaning of a study file: presets applied, defaults filled in, paths found, keys weighed against each other.

mod cues;
mod data;
mod kl;
mod layered;
mod layers;
mod measures;
mod predictions;
mod solution;
mod solutions;
mod starts;

use std::path::Path;

use serde::{Deserialize, Serialize};
use strait_model::{Precision, files::read_regular, template::Date};

use super::{
    Prediction, Problem,
    file::{MAX_NAME, SeedKeys, StudyFile, is_name},
    problem::Checked,
};
use crate::{
    Result,
    keys::{self, At, Fault, Folder, Place, last_part},
    train::Seeds,
    world,
};

pub use cues::CueSource;
use data::Sources;
pub use data::{Data, PairSource, Rows};
pub use layers::Unplaced;
pub use measures::Measures;
pub use solution::{Mix, Solution, Without};

/// A study with nothing left to guess.
///
/// With [`Unplaced`] solutions it is what can be told from the file alone; [`Study::fix_layers`] makes the rest of it once
/// the model's depth is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study<S = Solution> {
    /// The study file.
    pub file: Place,
    /// Name of the study and of its folder: small letters, digits and hyphens.
    pub name: String,
    /// Title of the report.
    pub title: String,
    /// The question of the study, in words for the report.
    pub about: String,
    /// The model: a path, or a hub id or short name.
    pub model: Place,
    /// The day that the model's chat template is told, if it asks for it.
    #[serde(default)]
    pub date: Date,
    /// The precision of its matrix products.
    #[serde(default)]
    pub precision: Precision,
    /// Seeds.
    pub seeds: Seeds,
    /// Rows to train on and to measure with.
    pub data: Data,
    /// The cues that are put around questions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cues: Vec<CueSource>,
    /// The measures and their settings.
    pub measures: Measures,
    /// The edits to train.
    pub solutions: Vec<S>,
    /// The predictions of its author.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<Prediction>,
}

/// The longest resolved study, in bytes: it has all solutions of all sweeps.
const MAX_RESOLVED: u64 = 64 << 20;

impl Study {
    /// Reads a study that [`Study::to_toml`] wrote.
    ///
    /// # Errors
    /// If the file cannot be read or is no resolved study.
    pub fn read_resolved(path: &Path) -> Result<Self> {
        let text = String::from_utf8(read_regular(path, MAX_RESOLVED)?)
            .map_err(|e| Problem::NotUtf8 { byte: e.utf8_error().valid_up_to() + 1 }.at(path, None))?;
        toml::from_str(&text).map_err(|e| not_toml(e.message()).at(path, None))
    }

    /// The resolved study as TOML. It names environment variables that hold passwords, and no password; of paths it says
    /// what a [`Place`] does.
    ///
    /// # Errors
    /// None that a study made by [`StudyFile::resolve`] can have.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| not_toml(&e.to_string()).at(self.file.path(), None))
    }
}

impl<S> Study<S> {
    /// Every file of rows in `[data]`, in the order of the study.
    pub fn rows(&self) -> impl Iterator<Item = &Rows> {
        let Data { train, kl, narrow, general, .. } = &self.data;
        train.iter().chain(kl).chain(narrow.rows()).chain(general.rows())
    }
}

impl Study {
    /// The solutions that measures compare with each other.
    pub fn compared(&self) -> impl Iterator<Item = &Solution> + Clone {
        self.solutions.iter().filter(|solution| solution.compared())
    }

    /// The solutions that measures of directions hold against each other.
    pub fn beside(&self) -> impl Iterator<Item = &Solution> + Clone {
        self.solutions.iter().filter(|solution| solution.beside())
    }

    /// The sentences that its report may conclude with: what a prediction can be about.
    pub fn claims(&self) -> Vec<String> {
        predictions::claims(&self.solutions.iter().collect::<Vec<_>>(), &self.measures)
    }

    /// The solution of that name.
    pub fn solution(&self, name: &str) -> Option<&Solution> {
        self.solutions.iter().find(|solution| solution.name == name)
    }
}

fn not_toml(reason: &str) -> Problem {
    keys::Problem::NotToml { reason: reason.into() }.into()
}

impl StudyFile {
    /// The meaning of the file, but for layers that depend on the model.
    ///
    /// # Errors
    /// If keys contradict each other or lack one that they need, or files are not there.
    pub fn resolve(&self) -> Result<Study<Unplaced>> {
        let folder = Folder::of(&self.path)?;
        study(self, &folder).map_err(|Fault { line, problem }| problem.at(&self.path, line))
    }
}

fn study(file: &StudyFile, folder: &Folder) -> Checked<Study<Unplaced>> {
    let top = &file.top;
    if folder.path().to_str().is_none() {
        return Err(Problem::FolderNotUtf8.nowhere());
    }
    let name = match &top.name {
        Some(name) => name.value.clone(),
        None => name_of(&file.path).ok_or_else(|| Problem::NoName.nowhere())?,
    };
    let seeds = seeds(&top.seeds());
    let model = model(&top.model, folder)?;
    let sources = Sources { folder, world: world::of_model(&model) };
    let data = Data::resolve(&top.data, &sources)?;
    let cues = cues::cues(&top.cue(), &sources)?;
    let solutions = solutions::solutions(top, seeds, &sources)?;
    let measures = Measures::resolve(&top.measure(), &data, &sources)?;
    let known: Vec<&Solution> = solutions.iter().map(|unplaced| &unplaced.solution).collect();
    let claims = predictions::claims(&known, &measures);
    Ok(Study {
        predictions: predictions::predictions(&top.prediction(), &claims)?,
        file: own_file(&file.path, folder),
        title: top.title.as_ref().map_or_else(|| name.clone(), |title| title.value.clone()),
        about: top.about(),
        model,
        date: top.date(),
        precision: top.train().precision(),
        seeds,
        data,
        cues,
        measures,
        solutions,
        name,
    })
}

fn own_file(path: &Path, folder: &Folder) -> Place {
    Place::new(folder.path().join(path.file_name().unwrap_or_default()), &last_part(path))
}

/// A path where there is a file or folder of that name; else the name itself, unless it can only be a path.
fn model(written: &At<String>, folder: &Folder) -> keys::Checked<Place> {
    let path = folder.absolute(&written.value);
    let only_a_path = written.value.starts_with(['.', '/', '~']);
    match path.to_str() {
        Some(_) if path.exists() => Ok(Place::new(path, &written.value)),
        _ if only_a_path => Err(folder.missing("model", "file or folder", written)),
        _ => Ok(Place::named(&written.value)),
    }
}

fn seeds(keys: &SeedKeys) -> Seeds {
    Seeds { initialisation: keys.initialisation(), order: keys.order(), sampling: keys.sampling() }
}

/// A key without which another, on `line`, means nothing.
fn required<'a, T>(
    key: &'a Option<At<T>>,
    table: &str,
    name: &'static str,
    line: u64,
) -> keys::Checked<&'a At<T>> {
    let problem = keys::Problem::Missing { table: table.into(), key: name };
    key.as_ref().ok_or(Fault { line: Some(line), problem })
}

/// A study's name from its file's: small letters and digits, and a hyphen for what is between them.
fn name_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?.to_ascii_lowercase();
    let words: Vec<_> = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let name: String = words.join("-").chars().take(MAX_NAME).collect();
    is_name(&name).then_some(name)
}
