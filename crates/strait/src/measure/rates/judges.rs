//! The judges of a study, opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use strait_model::{Model, Precision, progress::Progress};

use crate::{
    Error, Result,
    data::JudgePrompt,
    endpoint::{Budget, Client, Key, Ledger, Owned, Price, Spent, Terms},
    judge::{Endpoint, Judge, LocalModel, Problem, Reading, Style},
    keys::Place,
    lab::{self, Lab},
    world::locate,
};

/// The judge that needs no model.
pub(super) const STYLE: &str = "style";

/// The file of what endpoints were paid for.
const SPENT: &str = "spent.jsonl";

/// A judge of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Judging {
    /// The judge that needs no model: `style`.
    Named(String),
    /// A model.
    Model(Box<ModelJudge>),
}

/// A model that judges by one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelJudge {
    /// The scale; of an endpoint that replies in JSON several, with commas between them.
    pub scale: String,
    /// The prompt, with slots for the question and the answer.
    pub prompt: String,
    /// The model, or its name at the endpoint.
    pub model: Place,
    /// The address of an endpoint that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// True if the number that is printed is the score.
    pub printed: bool,
    /// The probability that numbers must have together.
    pub mass: f64,
    /// The terms on which the endpoint is asked, from which no score follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<JudgeTerms>,
}

/// The terms on which a judge's endpoint is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeTerms {
    /// The environment variable that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Requests at a time.
    pub concurrency: usize,
    /// Seconds that one request may take.
    pub timeout: usize,
    /// The most that the judge may use in all runs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The price of tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

impl Judging {
    /// The names of its scales.
    pub fn scales(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::Named(name) => name.split(','),
            Self::Model(judge) => judge.scale.split(','),
        }
    }

    /// The model that judges, where one does.
    pub(super) fn model(&self) -> Option<&ModelJudge> {
        match self {
            Self::Named(_) => None,
            Self::Model(judge) => Some(judge),
        }
    }

    /// What its scores follow from.
    pub(super) fn without_terms(&self) -> Self {
        match self {
            Self::Named(_) => self.clone(),
            Self::Model(judge) => Self::Model(Box::new(ModelJudge { terms: None, ..(**judge).clone() })),
        }
    }
}

impl ModelJudge {
    /// True for a model that is loaded.
    pub(super) fn is_local(&self) -> bool {
        self.endpoint.is_none()
    }

    /// The prompt with its scales.
    pub(super) fn prompt(&self) -> JudgePrompt {
        JudgePrompt { scale: self.scale.clone(), text: self.prompt.clone() }
    }

    /// The client of its endpoint, where it has one, with the account that it goes on from.
    fn client(&self, ledger: Option<&Arc<Ledger>>) -> Result<Option<Arc<Client>>> {
        let (Some(address), Some(terms)) = (&self.endpoint, &self.terms) else { return Ok(None) };
        let JudgeTerms { key_env, concurrency, timeout, budget, price } = terms;
        let terms = Terms {
            concurrency: *concurrency,
            patience: Duration::from_secs(*timeout as u64),
            budget: *budget,
            price: *price,
            ..Terms::new(address, self.model.shown())
        };
        let key = key_env.as_deref().map(key).transpose()?;
        let owned = |ledger: &Arc<Ledger>| -> Owned {
            ledger.of(&format!("{address} {} {}", self.model.shown(), self.scale))
        };
        Client::going_on(terms, key, ledger.map(owned)).map(Some)
    }
}

/// Refuses judges that could not be asked: a model that cannot be found, a key that is not there, an address that is none.
///
/// # Errors
/// The first of them.
pub(super) fn ready(judges: &[Judging], progress: &dyn Progress) -> Result<()> {
    judges.iter().filter_map(Judging::model).try_for_each(|judge| match judge.is_local() {
        true => locate(&judge.model.path().to_string_lossy(), progress).map(drop),
        false => judge.client(None).map(drop),
    })
}

/// Opens judges, each model once, and does something with them. What endpoints are paid for is kept in `folder`, and said.
///
/// # Errors
/// If a model cannot be found or cannot judge, the key of an endpoint is not there, or what is done fails.
pub(super) fn with_judges<T>(
    judges: &[Judging],
    lab: &Lab<'_>,
    folder: &Path,
    act: impl FnOnce(&[Box<dyn Judge + '_>]) -> Result<T>,
) -> Result<T> {
    let loaded = || judges.iter().filter_map(Judging::model).filter(|judge| judge.is_local());
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
    let asked = || judges.iter().filter_map(Judging::model).filter(|judge| !judge.is_local());
    let ledger = asked().next().map(|_| Ledger::open(&folder.join(SPENT))).transpose()?;
    let (mut endpoints, mut clients) = (Vec::new(), Vec::new());
    for judge in asked() {
        let Some(client) = judge.client(ledger.as_ref())? else { continue };
        let reading = if judge.printed { Reading::Printed } else { Reading::Weighted(judge.mass) };
        clients.push((&judge.scale, Arc::clone(&client)));
        endpoints.push((&judge.scale, Endpoint::new(client, reading, lab.progress)));
    }
    let open = |judging: &Judging| -> Result<Vec<Box<dyn Judge + '_>>> {
        let Some(judge) = judging.model() else {
            let judge: String = judging.scales().collect();
            return match judge.as_str() {
                STYLE => Ok(vec![Box::new(Style)]),
                _ => Err(Problem::NoJudge { judge, known: format!("`{STYLE}`") }.into()),
            };
        };
        if let Some((_, endpoint)) = endpoints.iter().find(|(scale, _)| **scale == judge.scale) {
            let judges = endpoint.judges(&judge.prompt()).into_iter();
            return Ok(judges.map(|judge| Box::new(judge) as Box<dyn Judge>).collect());
        }
        match local.iter().find(|(scale, _)| **scale == judge.scale) {
            Some((_, model)) => Ok(vec![Box::new(model.judge(judge.prompt()))]),
            None => Err(Problem::NoModel { judge: judge.scale.clone() }.into()),
        }
    };
    let judges: Vec<Vec<Box<dyn Judge + '_>>> = judges.iter().map(open).collect::<Result<_>>()?;
    let judges: Vec<Box<dyn Judge + '_>> = judges.into_iter().flatten().collect();
    let found = act(&judges);
    for (scale, client) in clients {
        let spent = client.spent();
        if spent.requests > 0 {
            lab.progress.note(&paid(scale, &spent));
        }
    }
    found
}

/// The account of a judge in words.
fn paid(scale: &str, spent: &Spent) -> String {
    let cost = spent.cost.map_or_else(String::new, |cost| format!(", cost {cost:.4}"));
    let uncounted = match spent.uncounted {
        0 => String::new(),
        some => format!(", of {some} requests the most that they can have used"),
    };
    format!("judge `{scale}`: {} requests, {} tokens{uncounted}{cost} in all", spent.requests, spent.tokens())
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
fn key(variable: &str) -> Result<Key> {
    let key = std::env::var(variable).ok().filter(|key| !key.trim().is_empty());
    let key = key.ok_or_else(|| Error::from(Problem::NoKey { variable: variable.into() }))?;
    Ok(Key::new(&key)?)
}
