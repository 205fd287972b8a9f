//! The problems of a study file.

use std::path::Path;

use super::numbers::shown;
use crate::{
    error::{self, Error},
    keys,
    lab::LimitProblem,
};

/// A problem of a study file. Keys are named with their tables, as in `train.kl.weight`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // Form: what the file says.
    /// A file that no study needs to be.
    #[error("the file is longer than {limit} bytes, which no study is")]
    TooLong {
        /// The bound, in bytes.
        limit: u64,
    },
    /// Bytes that are no text.
    #[error("byte {byte} is not UTF-8")]
    NotUtf8 {
        /// The byte within the file, counted from 1.
        byte: usize,
    },
    /// Keys that are not as they were declared, or that name files that are not there.
    #[error(transparent)]
    Keys(#[from] keys::Problem),

    // Meaning: what the keys say together.
    /// A study in which nothing is trained.
    #[error("the study has no `[[solution]]`")]
    NoSolution,
    /// Two keys of which only one can be meant.
    #[error("`{key}` and `{other}` contradict each other: {why}")]
    Contradiction {
        /// The key, with its value where that matters.
        key: String,
        /// The other key, with its value where that matters.
        other: String,
        /// The reason why they cannot both hold.
        why: String,
    },
    /// A precision of one solution.
    #[error("a solution has no `precision` of its own: the model is read once, for all solutions")]
    PrecisionOfOne,
    /// Two solutions of one name.
    #[error("the solution on line {first} is called `{name}` too")]
    SameName {
        /// The name.
        name: String,
        /// The line where it was given first.
        first: u64,
    },
    /// A prediction of something that the report will not say.
    #[error("no report of this study says `{claim}`")]
    UnknownClaim {
        /// The claim that was predicted.
        claim: String,
        /// The claims that it can make.
        known: Vec<String>,
    },
    /// A penalty without rows.
    #[error("solution `{solution}` has a KL penalty, but `[data]` names no `kl` rows for it")]
    NoKlRows {
        /// The solution.
        solution: String,
    },
    /// A penalty without a weight.
    #[error("solution `{solution}` has a KL penalty, but neither the file nor a preset gives its weight")]
    NoKlWeight {
        /// The solution.
        solution: String,
    },
    /// A search for a weight with nothing to judge the weights by.
    #[error(
        "solution `{solution}` searches for its KL weight, but `[data]` names no pairs inside and outside the domain \
         to judge weights by"
    )]
    NoSearchPairs {
        /// The solution.
        solution: String,
    },
    /// A start that is not there.
    #[error("solution `{solution}` starts from `{from}`, which is no solution of this study")]
    UnknownStart {
        /// The solution.
        solution: String,
        /// The name of its start.
        from: String,
        /// The solutions that there are.
        known: Vec<String>,
    },
    /// A start that is none or several of a sweep's solutions.
    #[error("solution `{solution}` starts from `{from}`, {}", unclear(fitting, points))]
    UnclearStart {
        /// The solution.
        solution: String,
        /// The name of its start.
        from: String,
        /// The solutions of that family that agree with it in seed and other axes.
        fitting: Vec<String>,
        /// All of that family.
        points: Vec<String>,
    },
    /// Solutions that start from each other.
    #[error("{}: none of them can be trained first", circle(solutions))]
    Circle {
        /// The solutions, each starting from the next, the last from the first.
        solutions: Vec<String>,
    },
    /// A start with another kind of edit.
    #[error("solution `{solution}` trains {own}, but `{from}`, which it starts from, is {other}")]
    OtherEdit {
        /// The solution.
        solution: String,
        /// The name of its start.
        from: String,
        /// Its edit, in words.
        own: String,
        /// That of the other, in words.
        other: String,
    },
    /// A sweep that no machine would finish.
    #[error("solution `{solution}` sweeps {points} points, and at most {most} are allowed")]
    LargeGrid {
        /// The solution.
        solution: String,
        /// Points of its grid.
        points: usize,
        /// The bound.
        most: usize,
    },
    /// More solutions than anybody compares.
    #[error("the study has {solutions} solutions or more, and at most {most} are allowed")]
    TooManySolutions {
        /// Solutions so far.
        solutions: usize,
        /// The bound.
        most: usize,
    },
    /// A sweep without points.
    #[error("`when` and `skip` leave no point of the sweep of `{solution}`")]
    EmptyGrid {
        /// The solution.
        solution: String,
    },
    /// Two lists of files that should go together.
    #[error("`{table}.taught` names {taught} files, `{table}.other` {other}")]
    Unpaired {
        /// The table of both.
        table: &'static str,
        /// Files of taught answers.
        taught: usize,
        /// Files of other answers.
        other: usize,
    },
    /// A study in a folder whose name cannot be written down.
    #[error("the study's folder has a name that is not UTF-8, which the record of a run cannot hold")]
    FolderNotUtf8,
    /// A stem of which no name can be made.
    #[error("the file's name gives no name for the study")]
    NoName,

    // Met when the study runs.
    /// Trainings that no machine would finish.
    #[error(
        "with solution `{solution}` the study's trainings take {} rows in all, and at most {} are allowed",
        shown(*rows), shown(*most)
    )]
    LongTraining {
        /// The solution that goes beyond the bound.
        solution: String,
        /// Rows that batches take, each as often as it is taken.
        rows: f64,
        /// The bound.
        most: f64,
    },
    /// More than the machine, its owner's patience or the given memory holds.
    #[error(transparent)]
    Limit(#[from] LimitProblem),
    /// A step that the plan names and nothing carries out.
    #[error("no step is called `{name}`")]
    UnknownStep {
        /// The name.
        name: String,
    },
    /// Nothing is left to measure on that no solution is trained on.
    #[error("solutions of the study are trained on all {read} {what}: nothing is left to measure")]
    AllTrainedOn {
        /// Their kind, such as "narrow pairs".
        what: String,
        /// Their number.
        read: usize,
        /// The table in which the study names them.
        table: String,
    },
    /// Training that ends early by pairs that there are not.
    #[error(
        "`stop` needs pairs outside the domain, of four questions at least: it watches those of every fourth"
    )]
    NothingWatched,
    /// A password that is not in the environment.
    #[error("its password is looked for in the environment variable `{variable}`, which is {state}")]
    NoPassword {
        /// The variable.
        variable: String,
        /// "not set" or "not UTF-8".
        state: &'static str,
    },
}

/// A problem of a study, and its line.
pub(super) type Fault = keys::Fault<Problem>;

/// The result of a check of a study.
pub(super) type Checked<T> = keys::Checked<T, Problem>;

impl From<keys::Fault> for Fault {
    fn from(keys::Fault { line, problem }: keys::Fault) -> Self {
        Self { line, problem: problem.into() }
    }
}

impl Problem {
    /// A fault without a line.
    pub(super) fn nowhere(self) -> Fault {
        Fault { line: None, problem: self }
    }

    /// The crate's error for this problem in a file, at a line where it has one.
    pub(super) fn at(self, path: &Path, line: Option<u64>) -> Error {
        Error::input(path, line, self)
    }
}

/// The advice to a study's author on a key.
fn hint(problem: &keys::Problem) -> String {
    match problem {
        keys::Problem::NotToml { .. } => {
            "text stands in quotation marks, lists in brackets; `strait init` writes a study to start from"
                .into()
        }
        keys::Problem::Missing { key: "data", .. } => {
            "add a table `[data]` that names the rows to `train` on".into()
        }
        keys::Problem::NoFile { .. } => "paths start at the folder of the study file".into(),
        other => other.hint().unwrap_or_else(|| {
            "`strait init` writes a study in which every key stands with its usual value".into()
        }),
    }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The reason why a start is none or several of a family's solutions.
fn unclear(fitting: &[String], points: &[String]) -> String {
    match fitting {
        [] => format!("none of whose points has the same values: they are {}", list(points)),
        several => format!("{} points of which could be meant: {}", several.len(), list(several)),
    }
}

/// "`a` starts from `b`, which starts from `a`".
fn circle(solutions: &[String]) -> String {
    let Some((first, rest)) = solutions.split_first() else { return String::new() };
    let mut words = format!("`{first}` starts from ");
    for next in rest {
        words += &format!("`{next}`, which starts from ");
    }
    words + &format!("`{first}`")
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::TooLong { .. } | Self::NotUtf8 { .. } => "check that this is the file you meant".into(),
            Self::Keys(problem) => hint(problem),
            Self::NoSolution => {
                "add a `[[solution]]` with a `name`; what it does not say it takes from `[train]`".into()
            }
            Self::Contradiction { .. } => "remove one of the two".into(),
            Self::PrecisionOfOne => "say it in `[train]`".into(),
            Self::SameName { .. } => "give each solution a name of its own".into(),
            Self::UnknownClaim { known, .. } => format!("it can say: {}", list(known)),
            Self::NoKlRows { .. } => "add `kl = [\"rows.jsonl\"]` to `[data]`, or take the penalty away".into(),
            Self::NoKlWeight { .. } => {
                "give `kl = { weight = 3.0 }`; with the papers' presets, `kl = true` takes their weight".into()
            }
            Self::NoSearchPairs { .. } => {
                "add `[data.narrow]` and `[data.general]`, or give the weight as a number".into()
            }
            Self::UnknownStart { known, .. } => format!("the solutions are {}", list(known)),
            Self::UnclearStart { .. } => {
                "sweep both over the same values, or name one of these solutions in `from`".into()
            }
            Self::Circle { .. } => "take `from` away from one of them".into(),
            Self::OtherEdit { .. } => {
                "give both the same `edit`, `layer`, `projections`, `rank`, `alpha` and `rslora`".into()
            }
            Self::TooManySolutions { .. } | Self::LargeGrid { .. } => "sweep fewer values, or make several studies of it".into(),
            Self::EmptyGrid { .. } => "name values in `when` that occur together, or take `skip` away".into(),
            Self::Unpaired { .. } => {
                "the first file of one list goes with the first of the other, row by row, and so on".into()
            }
            Self::FolderNotUtf8 => "move the study into a folder with a plain name".into(),
            Self::NoName => "add `name`, made of small letters, digits and hyphens".into(),
            Self::LongTraining { .. } | Self::Limit(LimitProblem::Time { .. }) => {
                "train fewer solutions for fewer `steps` or `epochs`, or in smaller batches (`batch_size`, `accumulation`); \
                 measure fewer `rows`, `seeds` and `norms`"
                    .into()
            }
            Self::Limit(LimitProblem::Memory { .. }) => {
                "take a smaller model, `rank` or `batch_size`, shorter rows, or a machine with more memory".into()
            }
            Self::Limit(LimitProblem::Given { needed, .. }) => format!(
                "give it `--memory {}MiB` or more, which changes no result; a smaller `batch_size`, or a smaller model, needs \
                 less and does",
                (needed * 1024.0).ceil()
            ),
            Self::UnknownStep { .. } => "run the study into another folder with `--out`".into(),
            Self::AllTrainedOn { table, .. } => {
                format!("name others in `{table}`, whose questions no training, KL or mixed-in row asks, or take it out")
            }
            Self::NothingWatched => "name more pairs in `[data.general]`, or leave `stop` out".into(),
            Self::NoPassword { variable, .. } => {
                format!("set it for the command: `{variable}=... strait run ...`; the password is never written down")
            }
        }
    }
}
