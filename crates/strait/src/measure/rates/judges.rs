//! The judges of a study, opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use strait_model::{Model, Precision};

use crate::{
    Error, Result,
    data::JudgePrompt,
    endpoint::{Client, Key, Terms},
    judge::{Endpoint, Judge, LocalModel, Problem, Reading, Style},
    keys::Place,
    lab::{self, Lab},
    world::locate,
};

/// The judge that needs no model.
pub(super) const STYLE: &str = "style";

/// A judge of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Judging {
    /// The judge that needs no model: `style`.
    Named(String),
    /// A model.
    Model(Box<ModelJudge>),
}

/// A model that judges on one scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelJudge {
    /// The scale.
    pub scale: String,
    /// The prompt, with slots for the question and the answer.
    pub prompt: String,
    /// The model, or its name at the endpoint.
    pub model: Place,
    /// The address of an endpoint that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The environment variable that holds the endpoint's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// True if the number that is printed is the score.
    pub printed: bool,
    /// The probability that numbers must have together.
    pub mass: f64,
    /// Requests at a time.
    pub concurrency: usize,
}

impl Judging {
    /// The name of its scale.
    pub fn scale(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Model(judge) => &judge.scale,
        }
    }

    fn model(&self) -> Option<&ModelJudge> {
        match self {
            Self::Named(_) => None,
            Self::Model(judge) => Some(judge),
        }
    }
}

/// Opens judges, each model once, and does something with them.
///
/// # Errors
/// If a model cannot be found or cannot judge, the key of an endpoint is not there, or what is done fails.
pub(super) fn with_judges<T>(
    judges: &[Judging],
    lab: &Lab<'_>,
    act: impl FnOnce(&[Box<dyn Judge + '_>]) -> Result<T>,
) -> Result<T> {
    let loaded = || judges.iter().filter_map(Judging::model).filter(|judge| judge.endpoint.is_none());
    let mut models: Vec<(&Path, Arc<Model>)> = Vec::new();
    for judge in loaded() {
        if !models.iter().any(|(path, _)| *path == judge.model.path()) {
            models.push((judge.model.path(), open(&judge.model, lab)?));
        }
    }
    let mut local = Vec::new();
    for judge in loaded() {
        let Some((_, model)) = models.iter().find(|(path, _)| *path == judge.model.path()) else { continue };
        local.push((&judge.scale, LocalModel::new(model, judge.model.shown(), judge.mass)?));
    }
    let mut endpoints = Vec::new();
    for judge in judges.iter().filter_map(Judging::model) {
        let Some(address) = &judge.endpoint else { continue };
        let terms = Terms { concurrency: judge.concurrency, ..Terms::new(address, judge.model.shown()) };
        let reading = if judge.printed { Reading::Printed } else { Reading::Weighted(judge.mass) };
        let endpoint = Endpoint::new(Client::new(terms, key(judge)?)?, reading, lab.progress);
        endpoints.push((&judge.scale, endpoint));
    }
    let open = |judging: &Judging| -> Result<Box<dyn Judge + '_>> {
        let Some(judge) = judging.model() else {
            let (judge, known) = (judging.scale().to_string(), format!("`{STYLE}`"));
            return match judging.scale() {
                STYLE => Ok(Box::new(Style)),
                _ => Err(Problem::NoJudge { judge, known }.into()),
            };
        };
        let prompt = JudgePrompt { scale: judge.scale.clone(), text: judge.prompt.clone() };
        if let Some((_, endpoint)) = endpoints.iter().find(|(scale, _)| **scale == judge.scale) {
            let only = endpoint.judges(&prompt).into_iter().next();
            let only =
                only.ok_or_else(|| Problem::NoJudge { judge: judge.scale.clone(), known: String::new() })?;
            return Ok(Box::new(only));
        }
        match local.iter().find(|(scale, _)| **scale == judge.scale) {
            Some((_, model)) => Ok(Box::new(model.judge(prompt))),
            None => Err(Problem::NoModel { judge: judge.scale.clone() }.into()),
        }
    };
    let judges: Vec<Box<dyn Judge + '_>> = judges.iter().map(open).collect::<Result<_>>()?;
    act(&judges)
}

/// The study's own model, where the judge is the same, or another one.
fn open(place: &Place, lab: &Lab<'_>) -> Result<Arc<Model>> {
    let located = locate(&place.path().to_string_lossy(), lab.progress)?;
    let own: &PathBuf = &lab.model.provenance.located.path;
    if located.path == *own {
        return Ok(Arc::clone(&lab.model));
    }
    let device = lab.model.decoder.device();
    lab::load(&located, device, Precision::default(), lab.progress).map(Arc::new)
}

/// The key of an endpoint, which is read from the environment now.
fn key(judge: &ModelJudge) -> Result<Option<Key>> {
    let Some(variable) = &judge.key_env else { return Ok(None) };
    let key =
        std::env::var(variable).map_err(|_| Error::from(Problem::NoKey { variable: variable.clone() }))?;
    Ok(Some(Key::new(&key)?))
}
