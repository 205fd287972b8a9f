//! What a study file means: presets applied, defaults filled in, paths found, keys weighed against each other.

use std::{
    iter,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use strait_model::{Error as FileError, edit::Projection, files::read_regular, template::Date};

use super::{
    Place, Point, Prediction, Preset, Problem, Search,
    file::{
        At, Checked, DataKeys, EditName, EfficiencyKeys, Fault, KlKeys, MAX_NAME, MeasureKeys, MixKeys,
        PairKeys, PredictionKeys, RowKeys, SeedKeys, Several, SignificanceKeys, StabilityKeys, StudyFile,
        TrainKeys, WeightKeys, entry_of, is_name,
    },
    name,
    place::last_part,
    sweep,
};
use crate::{
    Result,
    data::RowSource,
    measure::{EfficiencySettings, SignificanceSettings, StabilitySettings},
    report::{Expected, sentences},
    train::{EditKind, Kl, Length, Schedule, Seeds, Settings},
};

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
    /// What the study is about, in words for the report.
    pub about: String,
    /// The model: a path, or a hub id or short name.
    pub model: Place,
    /// The day that the model's chat template is told, if it asks for it.
    #[serde(default)]
    pub date: Date,
    /// Seeds.
    pub seeds: Seeds,
    /// Rows to train on and to measure with.
    pub data: Data,
    /// What is measured, and how.
    pub measures: Measures,
    /// The edits to train.
    pub solutions: Vec<S>,
    /// What its author expects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<Prediction>,
}

/// The rows of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Name of the taught domain, such as "vehicles".
    pub domain: String,
    /// The taught kind of answer, such as "technical".
    pub kind: String,
    /// Rows to train on.
    pub train: Vec<Rows>,
    /// Share of the training rows kept out of training, from 0 to 0.9.
    pub held_out: f64,
    /// Rows on which a KL penalty holds; empty if no solution has one.
    pub kl: Vec<Rows>,
    /// Pairs of answers in the taught domain.
    pub narrow: PairSource,
    /// Pairs of answers outside it.
    pub general: PairSource,
}

/// A file of rows. It knows where a password is to be found, and never the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rows {
    /// A file.
    File(Place),
    /// A member of an easy-dataset-share archive.
    Archive {
        /// The archive.
        archive: Place,
        /// The environment variable that holds its password.
        password_env: String,
        /// The member's name.
        member: String,
    },
}

/// Where pairs of answers to one question come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PairSource {
    /// From nowhere.
    #[default]
    None,
    /// From row-aligned files, the first of one list with the first of the other.
    Aligned {
        /// Answers of the taught kind.
        taught: Vec<Rows>,
        /// Answers of the other kind.
        other: Vec<Rows>,
        /// The most pairs taken.
        limit: Option<usize>,
    },
    /// From answers that were judged.
    Judged {
        /// CSV files with scores.
        files: Vec<Rows>,
        /// The most pairs taken of one question.
        limit: Option<usize>,
    },
}

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Factors by which solutions are scaled for the certificate; 1 is among them.
    pub scales: Vec<f64>,
    /// The largest general shift of a narrow solution, as a share of its narrow shift.
    pub certificate: f64,
    /// Nats per token that the mean response loss may rise by for a scale to count as coherent.
    pub coherence: f64,
    /// The most pairs of each group that are read at every checkpoint of a drift; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_pairs: Option<usize>,
    /// Training rows that efficiency and stability read.
    #[serde(default)]
    pub rows: usize,
    /// The scaling of solutions; none where it is not measured.
    #[serde(default)]
    pub efficiency: Option<EfficiencySettings>,
    /// The noise on solutions; none where it is not measured.
    #[serde(default)]
    pub stability: Option<StabilitySettings>,
    /// The reading of pre-training text; none where it is not measured.
    #[serde(default)]
    pub significance: Option<Significance>,
}

/// Pre-training text, and the directions that are read on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Significance {
    /// Files of passages.
    pub text: Vec<Place>,
    /// Passages that are read.
    pub passages: usize,
    /// The most tokens of a passage that are read.
    pub tokens: usize,
    /// The directions.
    #[serde(flatten)]
    pub directions: SignificanceSettings,
}

/// An edit to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// Its name: small letters, digits and hyphens.
    pub name: String,
    /// The preset that filled in what the study left out.
    pub preset: Option<Preset>,
    /// Where it stands in a sweep, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
    /// The solution whose trained edit its training starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How many training rows it uses, the first ones in its seed's order; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// Whether it is there for what it does alone: efficiency, stability and significance do not compare it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control: bool,
    /// Other rows among its training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// The search for its KL weight; its settings then hold a weight in the middle of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// How it is trained.
    pub train: Settings,
}

/// Rows of other domains, trained on among those of the taught one (paper §9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// The rows.
    pub rows: Vec<Rows>,
    /// How many of them come with each training row.
    pub ratio: f64,
}

impl Solution {
    /// Whether efficiency, stability and significance compare it: it starts from nothing, and is no control.
    pub fn compared(&self) -> bool {
        self.from.is_none() && !self.control
    }

    /// The name that the study gives it, or its whole sweep.
    pub fn family(&self) -> &str {
        self.point.as_ref().map_or(&self.name, |point| &point.family)
    }

    /// Its name without its seed.
    pub fn variant(&self) -> String {
        self.point.as_ref().map_or_else(|| self.name.clone(), Point::variant)
    }
}

/// An edit to train, on layers that may yet depend on the model's depth.
#[derive(Clone, Debug)]
pub struct Unplaced {
    /// All but the layers, which are placeholders.
    solution: Solution,
    /// The layers that the study names; none for the one at half the depth.
    layers: Option<Layers>,
    /// What it starts from, as written.
    from: Option<At<String>>,
}

/// Layers, and how errors name one of them.
#[derive(Clone, Debug)]
struct Layers {
    what: String,
    indices: Vec<At<i32>>,
}

impl Unplaced {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.solution.name
    }
}

/// What a solution takes where neither it nor `[train]` says anything.
pub(super) struct Defaults {
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub rank: usize,
    pub alpha: f64,
    pub projections: Vec<Projection>,
    pub schedule: Schedule,
    pub warmup: usize,
    pub batch_size: usize,
    pub accumulation: usize,
    pub length: Length,
    pub checkpoint_every: usize,
    pub kl_batch_size: usize,
}

impl Defaults {
    /// Without a preset: one pass in batches of four, which small models on small machines bear.
    fn of(edit: EditName) -> Self {
        Self {
            learning_rate: match edit {
                EditName::Steering => 0.01,
                EditName::Lora | EditName::Full => 2e-5,
            },
            weight_decay: 0.0,
            rank: 1,
            alpha: 256.0,
            projections: vec![Projection::Down],
            schedule: Schedule::Linear,
            warmup: 5,
            batch_size: 4,
            accumulation: 1,
            length: Length::Epochs(1.0),
            checkpoint_every: 10,
            kl_batch_size: 4,
        }
    }
}

/// The longest resolved study, in bytes: it has all solutions of all sweeps.
const MAX_RESOLVED: u64 = 64 << 20;

/// The most solutions of a study, those of all its sweeps together.
const MAX_SOLUTIONS: usize = 1000;

/// AdamW's betas and epsilon, in the papers and everywhere else.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

impl Study {
    /// Reads a study that [`Study::to_toml`] wrote.
    ///
    /// # Errors
    /// If the file cannot be read or is no resolved study.
    pub fn read_resolved(path: &Path) -> Result<Self> {
        let text = String::from_utf8(read_regular(path, MAX_RESOLVED)?)
            .map_err(|e| Problem::NotUtf8 { byte: e.utf8_error().valid_up_to() + 1 }.at(path, None))?;
        toml::from_str(&text).map_err(|e| Problem::NotToml { reason: e.message().to_string() }.at(path, None))
    }

    /// The resolved study as TOML. It names environment variables that hold passwords, and no password; of paths it says
    /// what a [`Place`] does.
    ///
    /// # Errors
    /// None that a study made by [`StudyFile::resolve`] can have.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|e| Problem::NotToml { reason: e.to_string() }.at(self.file.path(), None))
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
    /// The solutions that efficiency, stability and significance compare.
    pub fn compared(&self) -> impl Iterator<Item = &Solution> + Clone {
        self.solutions.iter().filter(|solution| solution.compared())
    }

    /// The sentences that its report may conclude with: what a prediction can be about.
    pub fn claims(&self) -> Vec<String> {
        claims(&self.solutions.iter().collect::<Vec<_>>(), &self.measures)
    }

    /// The solution of that name.
    pub fn solution(&self, name: &str) -> Option<&Solution> {
        self.solutions.iter().find(|solution| solution.name == name)
    }
}

impl PairSource {
    /// Its files.
    pub fn rows(&self) -> impl Iterator<Item = &Rows> {
        let (first, second): (&[Rows], &[Rows]) = match self {
            Self::None => (&[], &[]),
            Self::Aligned { taught, other, .. } => (taught, other),
            Self::Judged { files, .. } => (files, &[]),
        };
        first.iter().chain(second)
    }
}

impl Rows {
    /// The file on disk: the rows' own, or the archive.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(file) => file.path(),
            Self::Archive { archive, .. } => archive.path(),
        }
    }

    /// The rows with their password, which is read from the environment now.
    ///
    /// # Errors
    /// If the variable is not set.
    pub fn source(&self) -> Result<RowSource> {
        match self {
            Self::File(file) => Ok(RowSource::File(file.path().into())),
            Self::Archive { archive, password_env, member } => {
                let archive = archive.path();
                let missing = |state| {
                    let variable = password_env.clone();
                    Problem::NoPassword { variable, state }.at(archive, None)
                };
                let password = std::env::var(password_env).map_err(|error| match error {
                    std::env::VarError::NotPresent => missing("not set"),
                    std::env::VarError::NotUnicode(_) => missing("not UTF-8"),
                })?;
                Ok(RowSource::Archive { archive: archive.into(), password, member: member.clone() })
            }
        }
    }
}

impl StudyFile {
    /// What the file means, but for layers that depend on the model.
    ///
    /// # Errors
    /// If keys are missing or contradict each other, or files are not there.
    pub fn resolve(&self) -> Result<Study<Unplaced>> {
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = parent.canonicalize().map_err(FileError::io(parent, "find the folder of the study"))?;
        Resolver { file: self, folder }.study().map_err(|fault| fault.problem.at(&self.path, fault.line))
    }
}

struct Resolver<'a> {
    file: &'a StudyFile,
    /// The file's folder, absolute and free of links.
    folder: PathBuf,
}

impl Resolver<'_> {
    fn study(&self) -> Checked<Study<Unplaced>> {
        let top = &self.file.top;
        if self.folder.to_str().is_none() {
            return Err(Problem::FolderNotUtf8.nowhere());
        }
        let name = match &top.name {
            Some(name) => name.value.clone(),
            None => name_of(&self.file.path).ok_or_else(|| Problem::NoName.nowhere())?,
        };
        let model = required(&top.model, TOP, "model", None)?;
        let data = required(&top.data, TOP, "data", None)?;
        let seeds = seeds(&top.seeds);
        let (solutions, measures) = (self.solutions(seeds)?, self.measures(&top.measure)?);
        let known: Vec<&Solution> = solutions.iter().map(|unplaced| &unplaced.solution).collect();
        Ok(Study {
            predictions: predictions(&top.predictions, &claims(&known, &measures))?,
            file: self.own_file(),
            title: value(&top.title).unwrap_or_else(|| name.clone()),
            about: value(&top.about).unwrap_or_default(),
            model: self.model(model)?,
            date: value(&top.date).unwrap_or_default(),
            seeds,
            data: self.data(data)?,
            measures,
            solutions,
            name,
        })
    }

    fn own_file(&self) -> Place {
        let name = last_part(&self.file.path);
        Place::new(self.folder.join(self.file.path.file_name().unwrap_or_default()), &name)
    }

    /// A path where there is a file or folder of that name; else the name itself, unless it can only be a path.
    fn model(&self, written: &At<String>) -> Checked<Place> {
        let path = self.absolute(&written.value);
        let only_a_path = written.value.starts_with(['.', '/', '~']);
        match path.to_str() {
            Some(_) if path.exists() => Ok(Place::new(path, &written.value)),
            _ if only_a_path => Err(no_file("model", "file or folder", written, path)),
            _ => Ok(Place::named(&written.value)),
        }
    }

    fn data(&self, At { value: keys, line }: &At<DataKeys>) -> Checked<Data> {
        Ok(Data {
            domain: value(&keys.domain).unwrap_or_else(|| "the training domain".into()),
            kind: value(&keys.kind).unwrap_or_else(|| "taught".into()),
            train: self.rows("data.train", required(&keys.train, "`[data]`", "train", Some(*line))?)?,
            held_out: value(&keys.held_out).unwrap_or(0.1),
            kl: keys.kl.as_ref().map_or(Ok(Vec::new()), |rows| self.rows("data.kl", rows))?,
            narrow: self.pairs("data.narrow", "`[data.narrow]`", &keys.narrow)?,
            general: self.pairs("data.general", "`[data.general]`", &keys.general)?,
        })
    }

    fn pairs(
        &self,
        table: &'static str,
        shown: &'static str,
        keys: &Option<At<PairKeys>>,
    ) -> Checked<PairSource> {
        let Some(At { value: keys, line }) = keys else {
            return Ok(PairSource::None);
        };
        let limit = value(&keys.limit);
        let rows = |key: &str, rows| self.rows(&format!("{table}.{key}"), rows);
        if let Some(judged) = &keys.judged {
            for (key, given) in [("taught", &keys.taught), ("other", &keys.other)] {
                if let Some(given) = given {
                    return Err(given.fault(Problem::Contradiction {
                        key: format!("{table}.{key}"),
                        other: format!("{table}.judged"),
                        why: "pairs come from row-aligned files or from judged answers",
                    }));
                }
            }
            return Ok(PairSource::Judged { files: rows("judged", judged)?, limit });
        }
        let taught = required(&keys.taught, shown, "taught", Some(*line))?;
        let other = required(&keys.other, shown, "other", Some(*line))?;
        if taught.value.len() != other.value.len() {
            return Err(other.fault(Problem::Unpaired {
                table,
                taught: taught.value.len(),
                other: other.value.len(),
            }));
        }
        Ok(PairSource::Aligned { taught: rows("taught", taught)?, other: rows("other", other)?, limit })
    }

    fn rows(&self, key: &str, rows: &At<Vec<At<RowKeys>>>) -> Checked<Vec<Rows>> {
        let rows = rows.value.iter().map(|row| match &row.value {
            RowKeys::File(path) => {
                let written = At { value: path.clone(), line: row.line };
                Ok(Rows::File(self.existing(key, &written)?))
            }
            RowKeys::Archive { archive, password_env, member } => {
                let archive = required(archive, ARCHIVE, "archive", Some(row.line))?;
                Ok(Rows::Archive {
                    archive: self.existing(&format!("{key}.archive"), archive)?,
                    password_env: required(password_env, ARCHIVE, "password_env", Some(row.line))?
                        .value
                        .clone(),
                    member: required(member, ARCHIVE, "member", Some(row.line))?.value.clone(),
                })
            }
        });
        rows.collect()
    }

    fn measures(&self, keys: &MeasureKeys) -> Checked<Measures> {
        Ok(Measures {
            scales: with_one("measure.scales", &keys.scales, &[1.0, 2.0, 4.0])?,
            certificate: certificate(keys),
            coherence: value(&keys.coherence).unwrap_or(1.0),
            drift_pairs: keys.drift.as_ref().and_then(|drift| value(&drift.value.pairs)),
            rows: value(&keys.rows).unwrap_or(100),
            efficiency: match value(&keys.efficiency) {
                Some(off) if !off.on => None,
                keys => Some(efficiency(&keys.unwrap_or_default())?),
            },
            stability: match value(&keys.stability) {
                Some(off) if !off.on => None,
                keys => Some(stability(&keys.unwrap_or_default())),
            },
            significance: match &keys.significance {
                Some(keys) if keys.value.on => Some(self.significance(keys)?),
                _ => None,
            },
        })
    }

    fn significance(&self, At { value: keys, line }: &At<SignificanceKeys>) -> Checked<Significance> {
        let text = required(&keys.text, "`[measure.significance]`", "text", Some(*line))?;
        let existing = |path| self.existing("measure.significance.text", path);
        Ok(Significance {
            text: text.value.iter().map(existing).collect::<Checked<_>>()?,
            passages: value(&keys.passages).unwrap_or(100),
            tokens: value(&keys.tokens).unwrap_or(512),
            directions: SignificanceSettings {
                norms: values(&keys.norms).unwrap_or_else(|| vec![0.25, 0.5, 1.0, 1.5, 2.0]),
                random: value(&keys.random).unwrap_or(5),
            },
        })
    }

    fn existing(&self, key: &str, written: &At<String>) -> Checked<Place> {
        let path = self.absolute(&written.value);
        match path.is_file() {
            true => Ok(Place::new(path, &written.value)),
            false => Err(no_file(key, "file", written, path)),
        }
    }

    /// A path from the study's folder. Leading `..` are resolved, which is safe as the folder is free of links; later ones
    /// stay, for what precedes them may be a link.
    fn absolute(&self, written: &str) -> PathBuf {
        let mut path = self.folder.clone();
        let mut leading = true;
        for component in Path::new(written).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir if leading => _ = path.pop(),
                other => {
                    leading = false;
                    path.push(other);
                }
            }
        }
        path
    }

    fn solutions(&self, seeds: Seeds) -> Checked<Vec<Unplaced>> {
        let top = &self.file.top;
        if top.solutions.is_empty() {
            return Err(Problem::NoSolution.nowhere());
        }
        one_length(&top.train, "train")?;
        let mut families: Vec<At<String>> = Vec::new();
        let mut names: Vec<At<String>> = Vec::new();
        let mut solutions = Vec::new();
        for At { value: keys, line } in &top.solutions {
            let family = required(&keys.name, "`[[solution]]`", "name", Some(*line))?;
            different(family, &families)?;
            families.push(family.clone());
            let layered = Layered { own: &keys.train, shared: &top.train };
            one_length(layered.own, "solution")?;
            let (_, edit) = layered.preset_and_edit()?;
            for (point, own) in sweep::grid(family, keys, &top.train, edit)? {
                let name = point.as_ref().map_or_else(|| family.value.clone(), Point::name);
                let name = At { value: name, line: family.line };
                if !is_name(&name.value) {
                    return Err(name.fault(Problem::Unexpected {
                        what: "the name of a point of this sweep".into(),
                        found: format!("`{}`", name.value),
                        expected: format!("{MAX_NAME} characters at most: give the solution a shorter name"),
                    }));
                }
                different(&name, &names)?;
                let mut unplaced = self.solution(&name.value, &own, seeds)?;
                names.push(name);
                if names.len() > MAX_SOLUTIONS {
                    let problem = Problem::TooManySolutions { solutions: names.len(), most: MAX_SOLUTIONS };
                    return Err(family.fault(problem));
                }
                unplaced.solution.point = point;
                unplaced.solution.control = value(&keys.control).unwrap_or(false);
                unplaced.from = keys.from.clone();
                solutions.push(unplaced);
            }
        }
        find_starts(&mut solutions)?;
        if !solutions.iter().any(|s| s.solution.compared())
            && let Some(first) = top.solutions.iter().find_map(|keys| keys.value.control.as_ref())
        {
            return Err(first.fault(Problem::Unexpected {
                what: "`control`".into(),
                found: "true for every solution".into(),
                expected: "one solution at least that is none, to be compared".into(),
            }));
        }
        // A solution may set the shared keys of LoRA aside by being a steering vector, but not all of them.
        let has = |edit: fn(&EditKind) -> bool| solutions.iter().any(|s| edit(&s.solution.train.edit));
        if !has(|edit| matches!(edit, EditKind::Lora { .. })) {
            let steers = has(|edit| matches!(edit, EditKind::Steering { .. }));
            no_lora_keys(&top.train, "train", if steers { EditName::Steering } else { EditName::Full })?;
        }
        Ok(solutions)
    }

    fn solution(&self, name: &str, keys: &TrainKeys, seeds: Seeds) -> Checked<Unplaced> {
        let layered = Layered { own: keys, shared: &self.file.top.train };
        let (preset, edit) = layered.preset_and_edit()?;
        if edit != EditName::Lora {
            no_lora_keys(layered.own, "solution", edit)?;
        }
        let kl = self.kl(name, &layered, preset)?;
        let defaults = preset.map_or_else(|| Defaults::of(edit), |p| p.defaults(kl.is_some()));
        let layers = layered.layers(edit)?;
        let or = |given: Option<f64>, default| given.unwrap_or(default);
        let count = |given: Option<usize>, default| given.unwrap_or(default);
        let train = Settings {
            edit: match edit {
                EditName::Steering => EditKind::Steering { layer: 0 },
                EditName::Full => EditKind::Full,
                EditName::Lora => EditKind::Lora {
                    layers: Vec::new(),
                    projections: layered
                        .get(|t| &t.projections)
                        .map_or(defaults.projections, |list| list.into_iter().map(|p| p.value).collect()),
                    rank: count(layered.first(|t| &t.rank), defaults.rank),
                    alpha: or(layered.get(|t| &t.alpha), defaults.alpha),
                    rslora: layered.get(|t| &t.rslora).unwrap_or(false),
                },
            },
            learning_rate: or(layered.first(|t| &t.learning_rate), defaults.learning_rate),
            weight_decay: or(layered.get(|t| &t.weight_decay), defaults.weight_decay),
            betas: layered.get(|t| &t.betas).unwrap_or(BETAS),
            epsilon: or(layered.get(|t| &t.epsilon), EPSILON),
            schedule: layered.get(|t| &t.schedule).unwrap_or(defaults.schedule),
            warmup: count(layered.get(|t| &t.warmup), defaults.warmup),
            batch_size: count(layered.get(|t| &t.batch_size), defaults.batch_size),
            accumulation: count(layered.get(|t| &t.accumulation), defaults.accumulation),
            clip: layered.get(|t| &t.clip),
            length: layered.length().unwrap_or(defaults.length),
            checkpoint_every: count(layered.get(|t| &t.checkpoint_every), defaults.checkpoint_every),
            kl: kl.as_ref().map(|kl| Kl {
                weight: kl.weight,
                batch_size: kl.batch_size.unwrap_or(defaults.kl_batch_size),
            }),
            seeds: match layered.first(|t| &t.seeds) {
                Some(seed) => Seeds { initialisation: seed as u64, order: seed as u64, ..seeds },
                None => seeds,
            },
        };
        let solution = Solution {
            name: name.into(),
            preset,
            point: None,
            from: None,
            rows: layered.first(|t| &t.rows),
            mix: self.mix(&layered)?,
            control: false,
            search: kl.and_then(|kl| kl.search),
            train,
        };
        Ok(Unplaced { solution, layers, from: None })
    }

    /// The rows that are mixed in, where any are.
    fn mix(&self, layered: &Layered) -> Checked<Option<Mix>> {
        let Some(key) = layered.own.mix.as_ref().or(layered.shared.mix.as_ref()).filter(|key| key.value.on)
        else {
            return Ok(None);
        };
        let mix = |table: &TrainKeys| table.mix.clone().map(|at| at.value).unwrap_or_default();
        let (own, shared): (MixKeys, MixKeys) = (mix(layered.own), mix(layered.shared));
        let rows = own.rows.or(shared.rows);
        let rows = required(&rows, "`mix`", "rows", Some(key.line))?;
        let ratio = own.ratio.or(shared.ratio);
        let ratio = required(&ratio, "`mix`", "ratio", Some(key.line))?;
        let ratio = ratio.value.first().map_or(1.0, |at| at.value);
        Ok(Some(Mix { rows: self.rows("mix.rows", rows)?, ratio }))
    }

    /// The penalty; none without one or with a weight of 0.
    fn kl(&self, solution: &str, layered: &Layered, preset: Option<Preset>) -> Checked<Option<Penalty>> {
        let Some(key) = layered.own.kl.as_ref().or(layered.shared.kl.as_ref()) else {
            return Ok(None);
        };
        if !key.value.on {
            return Ok(None);
        }
        let kl = |table: &TrainKeys| table.kl.clone().map(|at| at.value).unwrap_or_default();
        let (own, shared) = (kl(layered.own), kl(layered.shared));
        let weight = own.weight.clone().or_else(|| shared.weight.clone());
        let search = match &weight {
            Some(At { value: WeightKeys::Auto, .. }) => Some(self.search(solution, key, &own, &shared)?),
            _ => no_search_keys(&own).map(|()| None)?,
        };
        let given = weight.and_then(|weight| match weight.value {
            WeightKeys::Given(weights) => weights.first().map(|at| at.value),
            WeightKeys::Auto => None,
        });
        let middle = search.as_ref().map(|search| (search.from * search.to).sqrt());
        let weight = middle.or(given).or(preset.map(Preset::kl_weight));
        let weight = weight.ok_or_else(|| key.fault(Problem::NoKlWeight { solution: solution.into() }))?;
        if weight == 0.0 {
            return Ok(None);
        }
        if self.file.top.data.as_ref().is_none_or(|data| data.value.kl.is_none()) {
            return Err(key.fault(Problem::NoKlRows { solution: solution.into() }));
        }
        let batch_size = value(&own.batch_size).or(value(&shared.batch_size));
        Ok(Some(Penalty { weight, batch_size, search }))
    }

    fn search(&self, solution: &str, key: &At<KlKeys>, own: &KlKeys, shared: &KlKeys) -> Checked<Search> {
        let top = &self.file.top;
        let pairs = top.data.as_ref().is_some_and(|d| d.value.narrow.is_some() && d.value.general.is_some());
        if !pairs {
            return Err(key.fault(Problem::NoSearchPairs { solution: solution.into() }));
        }
        let from = own.from.as_ref().or(shared.from.as_ref());
        let to = own.to.as_ref().or(shared.to.as_ref());
        let (least, most) = (from.map_or(0.1, |at| at.value), to.map_or(100.0, |at| at.value));
        if least >= most {
            let line = from.or(to).map_or(key.line, |at| at.line);
            return Err(Fault {
                line: Some(line),
                problem: Problem::Unexpected {
                    what: "`kl.from`".into(),
                    found: least.to_string(),
                    expected: format!("a weight below `kl.to`, which is {most}"),
                },
            });
        }
        let either = |own: &Option<At<f64>>, shared: &Option<At<f64>>| value(own).or(value(shared));
        Ok(Search {
            bound: either(&own.bound, &shared.bound).unwrap_or(certificate(&top.measure)),
            keep: either(&own.keep, &shared.keep).unwrap_or(0.5),
            from: least,
            to: most,
            tries: value(&own.tries).or(value(&shared.tries)).unwrap_or(6),
            unpenalised: None,
        })
    }
}

/// A KL penalty as a study says it.
struct Penalty {
    weight: f64,
    /// Rows in a micro-batch, where the study says.
    batch_size: Option<usize>,
    search: Option<Search>,
}

const TOP: &str = "the study";
const ARCHIVE: &str = "the archive's table";

/// The keys of a solution over those of `[train]`.
struct Layered<'a> {
    own: &'a TrainKeys,
    shared: &'a TrainKeys,
}

impl Layered<'_> {
    /// The solution's value, else the shared one.
    fn get<T: Clone>(&self, key: impl Fn(&TrainKeys) -> &Option<At<T>>) -> Option<T> {
        value(key(self.own)).or_else(|| value(key(self.shared)))
    }

    /// The first of the solution's values, else of the shared ones.
    fn first<T: Clone>(&self, key: impl Fn(&TrainKeys) -> &Several<T>) -> Option<T> {
        self.get(key)?.into_iter().next().map(|at| at.value)
    }

    fn preset_and_edit(&self) -> Checked<(Option<Preset>, EditName)> {
        let preset = self.own.preset.as_ref().or(self.shared.preset.as_ref());
        let edit = self.own.edit.as_ref().or(self.shared.edit.as_ref());
        match (preset, edit) {
            (Some(preset), Some(edit)) if preset.value.edit() != edit.value => {
                Err(edit.fault(Problem::Contradiction {
                    key: format!("edit = \"{}\"", edit_name(edit.value)),
                    other: format!("preset = \"{}\"", preset.value.name()),
                    why: "the preset trains another kind of edit",
                }))
            }
            (Some(preset), _) => Ok((Some(preset.value), preset.value.edit())),
            (None, edit) => Ok((None, edit.map_or(EditName::Steering, |edit| edit.value))),
        }
    }

    /// Epochs or steps of the solution, else the shared ones.
    fn length(&self) -> Option<Length> {
        let of = |table: &TrainKeys| {
            let epochs = value(&table.epochs).map(Length::Epochs);
            epochs.or_else(|| Some(Length::Steps(table.steps.as_ref()?.value.first()?.value)))
        };
        of(self.own).or_else(|| of(self.shared))
    }

    fn layers(&self, edit: EditName) -> Checked<Option<Layers>> {
        for (table, name) in [(self.own, "solution"), (self.shared, "train")] {
            let layers = match (&table.layer, &table.layers) {
                (Some(layer), Some(_)) => {
                    return Err(layer.fault(Problem::Contradiction {
                        key: format!("{name}.layer"),
                        other: format!("{name}.layers"),
                        why: "`layer` is the short form for one layer",
                    }));
                }
                (Some(layer), None) => Layers {
                    what: format!("`{name}.layer`"),
                    indices: layer.value.iter().take(1).cloned().collect(),
                },
                (None, Some(layers)) if edit == EditName::Lora => {
                    Layers { what: entry_of(&format!("{name}.layers")), indices: layers.value.clone() }
                }
                _ => continue,
            };
            return Ok(Some(layers));
        }
        Ok(None)
    }
}

impl Study<Unplaced> {
    /// The study on a model of `depth` blocks: solutions that name no layer act at half the depth.
    ///
    /// # Errors
    /// If a solution names a layer that the model does not have.
    pub fn fix_layers(self, depth: usize) -> Result<Study> {
        let Self { file, name, title, about, model, date, seeds, data, measures, solutions, predictions } =
            self;
        let solutions =
            fix_all(solutions, depth).map_err(|fault| fault.problem.at(file.path(), fault.line))?;
        Ok(Study { file, name, title, about, model, date, seeds, data, measures, solutions, predictions })
    }
}

fn fix_all(unplaced: Vec<Unplaced>, depth: usize) -> Checked<Vec<Solution>> {
    let written: Vec<_> = unplaced.iter().map(|s| s.from.clone()).collect();
    let mut solutions =
        unplaced.into_iter().map(|s| s.fix_layers(depth)).collect::<Checked<Vec<Solution>>>()?;
    for (solution, written) in solutions.iter().zip(&written) {
        let start = solutions.iter().find(|other| Some(&other.name) == solution.from.as_ref());
        if let (Some(start), Some(written)) = (start, written)
            && start.train.edit != solution.train.edit
        {
            return Err(written.fault(Problem::OtherEdit {
                solution: solution.name.clone(),
                from: start.name.clone(),
                own: solution.train.edit.words(),
                other: start.train.edit.words(),
            }));
        }
    }
    let unpenalised: Vec<_> = solutions.iter().map(|s| unpenalised(s, &solutions)).collect();
    for (solution, other) in solutions.iter_mut().zip(unpenalised) {
        if let Some(search) = &mut solution.search {
            search.unpenalised = other;
        }
    }
    Ok(solutions)
}

/// The solution that is another one but for its penalty.
fn unpenalised(solution: &Solution, solutions: &[Solution]) -> Option<String> {
    let train = Settings { kl: None, ..solution.train.clone() };
    let same = |other: &&Solution| {
        other.train == train
            && other.from == solution.from
            && other.rows == solution.rows
            && other.mix == solution.mix
    };
    solutions.iter().find(same).map(|other| other.name.clone())
}

/// Finds the solution that each one starts from, and refuses circles.
fn find_starts(solutions: &mut [Unplaced]) -> Checked<()> {
    let all = || solutions.iter().map(|s| (s.solution.name.as_str(), s.solution.point.as_ref()));
    let mut found = Vec::new();
    for Unplaced { solution, from, .. } in solutions.iter() {
        let Some(from) = from else {
            found.push(None);
            continue;
        };
        let own = |names: Vec<&str>| names.into_iter().map(str::to_string).collect::<Vec<_>>();
        found.push(match sweep::meant(&from.value, solution.point.as_ref(), all()).as_slice() {
            [one] => Some(one.to_string()),
            fitting => {
                let points = own(sweep::meant(&from.value, None, all()));
                let (solution, written) = (solution.name.clone(), from.value.clone());
                return Err(from.fault(match points.is_empty() {
                    true => Problem::UnknownStart {
                        solution,
                        from: written,
                        known: all().map(|(name, _)| name.to_string()).collect(),
                    },
                    false => Problem::UnclearStart {
                        solution,
                        from: written,
                        fitting: own(fitting.to_vec()),
                        points,
                    },
                }));
            }
        });
    }
    for (unplaced, found) in solutions.iter_mut().zip(found) {
        unplaced.solution.from = found;
    }
    for Unplaced { solution, from, .. } in solutions.iter() {
        let before = |name: &String| {
            let start = solutions.iter().find(|other| other.solution.name == *name)?;
            start.solution.from.clone()
        };
        // As many steps back as there are solutions reach the start of every chain.
        let chain = iter::successors(solution.from.clone(), before).take(solutions.len());
        let mut circle: Vec<String> = iter::once(solution.name.clone()).chain(chain).collect();
        if let Some(back) = (1..circle.len()).find(|&i| circle[i] == solution.name) {
            circle.truncate(back);
            let line = from.as_ref().map(|from| from.line);
            return Err(Fault { line, problem: Problem::Circle { solutions: circle } });
        }
    }
    Ok(())
}

impl Unplaced {
    fn fix_layers(self, depth: usize) -> Checked<Solution> {
        let indices = match self.layers {
            None => vec![i32::try_from(depth / 2).unwrap_or(i32::MAX)],
            Some(Layers { what, indices }) => {
                // -1, the embeddings, is there in every model.
                let beyond = |layer: &&At<i32>| usize::try_from(layer.value).is_ok_and(|l| l >= depth);
                if let Some(layer) = indices.iter().find(beyond) {
                    return Err(layer.fault(Problem::Unexpected {
                        what,
                        found: layer.value.to_string(),
                        expected: format!(
                            "a layer below {depth}: the model has {depth} blocks, counted from 0"
                        ),
                    }));
                }
                indices.into_iter().map(|layer| layer.value).collect()
            }
        };
        let mut solution = self.solution;
        match &mut solution.train.edit {
            EditKind::Steering { layer } => *layer = indices.first().copied().unwrap_or_default(),
            EditKind::Lora { layers, .. } => *layers = indices,
            EditKind::Full => {}
        }
        Ok(solution)
    }
}

fn seeds(keys: &SeedKeys) -> Seeds {
    Seeds {
        initialisation: value(&keys.initialisation).unwrap_or(0),
        order: value(&keys.order).unwrap_or(0),
        sampling: value(&keys.sampling).unwrap_or(0),
    }
}

/// The paper's factors (paper §10.1) where the study gives none.
fn efficiency(keys: &EfficiencyKeys) -> Checked<EfficiencySettings> {
    let usual: Vec<f64> = (0..=8).map(|quarters| f64::from(quarters) / 4.0).collect();
    let factors = with_one("measure.efficiency.factors", &keys.factors, &usual)?;
    Ok(EfficiencySettings { factors, norms: value(&keys.norms).unwrap_or(8) })
}

/// About half of the paper's shares of noise (paper §10.2) where the study gives none: each costs a pass a seed.
fn stability(keys: &StabilityKeys) -> StabilitySettings {
    let usual = || vec![0.05, 0.1, 0.2, 0.4, 0.7, 1.0];
    StabilitySettings {
        epsilons: values(&keys.epsilons).unwrap_or_else(usual),
        seeds: value(&keys.seeds).unwrap_or(10),
    }
}

/// A list of factors, or the usual ones; a list without 1 is refused.
fn with_one(key: &str, list: &Option<At<Vec<At<f64>>>>, usual: &[f64]) -> Checked<Vec<f64>> {
    let Some(written) = list else { return Ok(usual.to_vec()) };
    let factors = values(list).unwrap_or_default();
    if factors.contains(&1.0) {
        return Ok(factors);
    }
    let name = key.rsplit('.').next().unwrap_or(key);
    Err(written.fault(Problem::Unexpected {
        what: format!("`{key}`"),
        found: "without 1".into(),
        expected: format!("1 among the {name}: it is the solution as trained"),
    }))
}

/// The sentences that the report on these solutions may conclude with.
fn claims(solutions: &[&Solution], measures: &Measures) -> Vec<String> {
    let penalised = |name: &String| solutions.iter().any(|s| s.name == *name && s.train.kl.is_some());
    let expected: Vec<Expected<'_>> = solutions
        .iter()
        .map(|solution| Expected {
            name: &solution.name,
            penalised: solution.train.kl.is_some(),
            searched: solution.search.is_some(),
            freed: solution.train.kl.is_none() && solution.from.as_ref().is_some_and(penalised),
            control: solution.control,
            kind: solution.train.edit.kind(),
            variant: (solution.variant(), solution.train.seeds.initialisation),
        })
        .collect();
    let measured = [
        (name::EFFICIENCY, measures.efficiency.is_some()),
        (name::STABILITY, measures.stability.is_some()),
        (name::SIGNIFICANCE, measures.significance.is_some()),
    ];
    let measured: Vec<_> = measured.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    sentences(&expected, &measured)
}

fn predictions(written: &[At<PredictionKeys>], known: &[String]) -> Checked<Vec<Prediction>> {
    let mut predictions: Vec<Prediction> = Vec::new();
    for At { value: keys, line } in written {
        let claim = required(&keys.claim, "`[[prediction]]`", "claim", Some(*line))?;
        let probability = required(&keys.probability, "`[[prediction]]`", "probability", Some(*line))?.value;
        // People may quote names as the report does.
        let sentence = claim.value.replace(['“', '”'], "");
        if !known.contains(&sentence) {
            return Err(claim.fault(Problem::UnknownClaim { claim: sentence, known: known.to_vec() }));
        }
        if predictions.iter().any(|p| p.claim == sentence) {
            return Err(
                claim.fault(Problem::Repeated { key: "prediction".into(), value: format!("`{sentence}`") })
            );
        }
        predictions.push(Prediction { claim: sentence, probability });
    }
    Ok(predictions)
}

fn certificate(keys: &MeasureKeys) -> f64 {
    value(&keys.certificate).unwrap_or(0.25)
}

/// Refuses a name that was given before.
fn different(name: &At<String>, names: &[At<String>]) -> Checked<()> {
    match names.iter().find(|other| other.value == name.value) {
        Some(first) => Err(name.fault(Problem::SameName { name: name.value.clone(), first: first.line })),
        None => Ok(()),
    }
}

/// Refuses the keys of a search where a weight is given.
fn no_search_keys(keys: &KlKeys) -> Checked<()> {
    let lines = [
        ("bound", keys.bound.as_ref().map(|at| at.line)),
        ("keep", keys.keep.as_ref().map(|at| at.line)),
        ("from", keys.from.as_ref().map(|at| at.line)),
        ("to", keys.to.as_ref().map(|at| at.line)),
        ("tries", keys.tries.as_ref().map(|at| at.line)),
    ];
    match lines.into_iter().find_map(|(key, line)| Some((key, line?))) {
        None => Ok(()),
        Some((key, line)) => Err(Fault {
            line: Some(line),
            problem: Problem::Contradiction {
                key: format!("kl.{key}"),
                other: "kl.weight".into(),
                why: "only `weight = \"auto\"` searches",
            },
        }),
    }
}

/// Refuses epochs and steps in one table.
fn one_length(keys: &TrainKeys, table: &str) -> Checked<()> {
    match (&keys.epochs, &keys.steps) {
        (Some(_), Some(steps)) => Err(steps.fault(Problem::Contradiction {
            key: format!("{table}.steps"),
            other: format!("{table}.epochs"),
            why: "training has one length",
        })),
        _ => Ok(()),
    }
}

/// Refuses the keys of LoRA where another edit is trained, and a layer where all are.
fn no_lora_keys(keys: &TrainKeys, table: &str, edit: EditName) -> Checked<()> {
    let layer = keys.layer.as_ref().filter(|_| edit == EditName::Full);
    let lines = [
        ("layer", layer.map(|at| at.line)),
        ("layers", keys.layers.as_ref().map(|at| at.line)),
        ("projections", keys.projections.as_ref().map(|at| at.line)),
        ("rank", keys.rank.as_ref().map(|at| at.line)),
        ("alpha", keys.alpha.as_ref().map(|at| at.line)),
        ("rslora", keys.rslora.as_ref().map(|at| at.line)),
    ];
    match lines.into_iter().find_map(|(key, line)| Some((key, line?))) {
        None => Ok(()),
        Some((key, line)) => Err(Fault {
            line: Some(line),
            problem: Problem::Contradiction {
                key: format!("{table}.{key}"),
                other: format!("edit = \"{}\"", edit_name(edit)),
                why: match key {
                    "layer" => "a full fine-tune changes every weight",
                    _ => "only `edit = \"lora\"` has it",
                },
            },
        }),
    }
}

fn edit_name(edit: EditName) -> &'static str {
    match edit {
        EditName::Steering => "steering",
        EditName::Lora => "lora",
        EditName::Full => "full",
    }
}

fn required<'a, T>(
    key: &'a Option<At<T>>,
    table: &'static str,
    name: &'static str,
    line: Option<u64>,
) -> Checked<&'a At<T>> {
    key.as_ref().ok_or(Fault { line, problem: Problem::Missing { table, key: name } })
}

fn value<T: Clone>(key: &Option<At<T>>) -> Option<T> {
    key.as_ref().map(|at| at.value.clone())
}

fn values<T: Clone>(list: &Option<At<Vec<At<T>>>>) -> Option<Vec<T>> {
    list.as_ref().map(|list| list.value.iter().map(|entry| entry.value.clone()).collect())
}

fn no_file(key: &str, kind: &'static str, written: &At<String>, looked: PathBuf) -> Fault {
    written.fault(Problem::NoFile { key: key.into(), kind, written: written.value.clone(), looked })
}

/// A study's name from its file's: small letters and digits, and a hyphen for what is between them.
fn name_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?.to_ascii_lowercase();
    let words: Vec<_> = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let name: String = words.join("-").chars().take(MAX_NAME).collect();
    is_name(&name).then_some(name)
}
