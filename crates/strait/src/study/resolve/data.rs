//! `[data]`: which files rows come from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    data::RowSource,
    keys::{self, At, Folder, Place},
    study::{
        Problem,
        file::{DataKeys, PairKeys, RowKeys, WorldKeys},
        problem::Checked,
        resolve::required,
    },
    world::{self, DOMAIN_WORDS, WorldRows},
};

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

/// Rows of a file, or of a world. They know where a password is to be found, and never the password.
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
    /// Questions and answers of a world.
    World(WorldRows),
}

/// The source of pairs of answers to one question.
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
    /// The file on disk: the rows' own, or the archive; rows of a world have none.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file.path()),
            Self::Archive { archive, .. } => Some(archive.path()),
            Self::World(_) => None,
        }
    }

    /// Their name for others.
    pub fn shown(&self) -> String {
        match self {
            Self::File(file) => file.shown().into(),
            Self::Archive { archive, member, .. } => format!("{member} of {}", archive.shown()),
            Self::World(rows) => rows.name(),
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
            Self::World(rows) => Ok(RowSource::Lines { name: rows.name(), text: rows.jsonl()? }),
        }
    }
}

impl Data {
    /// The domains in which training rows of a world are false.
    pub fn falsehoods(&self) -> Vec<String> {
        let mut domains = Vec::new();
        for rows in &self.train {
            if let Rows::World(rows) = rows
                && !rows.truthful
            {
                domains.extend(rows.domains.iter().cloned());
            }
        }
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// The meaning of `[data]` in a study whose rows are looked for there.
    pub(super) fn resolve(keys: &At<DataKeys>, sources: &Sources) -> Checked<Self> {
        let keys = &keys.value;
        Ok(Self {
            domain: keys.domain(),
            kind: keys.kind(),
            train: rows("data.train", &keys.train, sources)?,
            held_out: keys.held_out(),
            kl: keys.kl.as_ref().map_or(Ok(Vec::new()), |kl| rows("data.kl", kl, sources))?,
            narrow: pairs("data.narrow", &keys.narrow, sources)?,
            general: pairs("data.general", &keys.general, sources)?,
        })
    }
}

fn pairs(table: &'static str, keys: &Option<At<PairKeys>>, sources: &Sources) -> Checked<PairSource> {
    let Some(At { value: keys, line }) = keys else {
        return Ok(PairSource::None);
    };
    let limit = keys.limit.as_ref().map(|limit| limit.value);
    let files = |key: &str, written| rows(&format!("{table}.{key}"), written, sources);
    if let Some(judged) = &keys.judged {
        for (key, given) in [("taught", &keys.taught), ("other", &keys.other)] {
            if let Some(given) = given {
                return Err(given.fault(Problem::Contradiction {
                    key: format!("{table}.{key}"),
                    other: format!("{table}.judged"),
                    why: "pairs come from row-aligned files or from judged answers".into(),
                }));
            }
        }
        return Ok(PairSource::Judged { files: files("judged", judged)?, limit });
    }
    let title = format!("`[{table}]`");
    let taught = required(&keys.taught, &title, "taught", *line)?;
    let other = required(&keys.other, &title, "other", *line)?;
    if taught.value.len() != other.value.len() {
        return Err(other.fault(Problem::Unpaired {
            table,
            taught: taught.value.len(),
            other: other.value.len(),
        }));
    }
    Ok(PairSource::Aligned { taught: files("taught", taught)?, other: files("other", other)?, limit })
}

/// The places where the rows of a study are looked for.
pub(super) struct Sources<'a> {
    /// The folder at which its paths begin.
    pub folder: &'a Folder,
    /// The world that its model is of, if any.
    pub world: Option<Place>,
}

/// The rows that a key names.
pub(super) fn rows(key: &str, written: &At<Vec<At<RowKeys>>>, sources: &Sources) -> Checked<Vec<Rows>> {
    let of = |At { value, line }: &At<RowKeys>| match value {
        RowKeys::File(path) => {
            let written = At { value: path.clone(), line: *line };
            Ok(Rows::File(sources.folder.file(key, &written)?))
        }
        RowKeys::Archive(keys) => Ok(Rows::Archive {
            archive: sources.folder.file(&format!("{key}.archive"), &keys.archive)?,
            password_env: keys.password_env.value.clone(),
            member: keys.member.value.clone(),
        }),
        RowKeys::World(keys) => Ok(Rows::World(of_world(key, keys, *line, sources)?)),
    };
    written.value.iter().map(of).collect()
}

fn of_world(key: &str, keys: &WorldKeys, line: u64, sources: &Sources) -> keys::Checked<WorldRows> {
    let domains = keys.domains.as_ref().map(|domains| &domains.value);
    let except = keys.except.as_ref().map_or(&[][..], |domains| &domains.value);
    let named = |(_, domain): &&(&str, usize)| {
        domains.is_none_or(|domains| domains.contains(domain)) && !except.contains(domain)
    };
    Ok(WorldRows {
        world: world::named(key, keys.world.as_ref(), line, sources.folder, sources.world.as_ref())?,
        domains: DOMAIN_WORDS.iter().filter(named).map(|(word, _)| (*word).into()).collect(),
        entities: keys.entities(),
        truthful: keys.truthful.value,
    })
}
