//! An edit to train, with nothing left to guess.

use serde::{Deserialize, Serialize};
use strait_model::{Edit, edit};

use super::Rows;
use crate::{
    Result,
    claim::Subject,
    keys::Place,
    study::{Point, Preset, Search},
    train::{Settings, ablations},
};

/// An edit to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// Its name: small letters, digits and hyphens.
    pub name: String,
    /// The preset that filled in what the study left out.
    pub preset: Option<Preset>,
    /// Its place in a sweep, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
    /// The solution whose trained edit its training starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The number of training rows that it uses, the first ones in its seed's order; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// True if it is read alone, and compared with no other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control: bool,
    /// The rows that it trains on, where they are not those of the study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_rows: Option<Vec<Rows>>,
    /// The system prompt before its training rows alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Other rows among its training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// The directions that are projected out behind its edit, while it trains and for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<Without>,
    /// True if its learning rate is in units of the vector's own numbers; else it is relative to the residual stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absolute_rate: bool,
    /// The rows on which its KL penalty holds, where they are not those of the study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_rows: Option<Vec<Rows>>,
    /// The search for its KL weight; its settings then hold a weight in the middle of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// The settings of its training.
    pub train: Settings,
}

/// Rows of other domains, trained on among those of the taught one (paper §9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// The rows.
    pub rows: Vec<Rows>,
    /// The number of them that come with each training row.
    pub ratio: f64,
    /// True if a pass takes every one of them, and the training rows as often as the ratio asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub every: bool,
}

/// A file of directions, or one of its layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Without {
    /// The file, an edit.
    pub file: Place,
    /// The one layer of it that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<i32>,
}

impl Without {
    /// The ablations that it stands for in a model of so many layers.
    ///
    /// # Errors
    /// If the file is no edit, or holds others than directions.
    pub fn ablations(&self, layers: usize) -> Result<Vec<Edit>> {
        let path = self.file.path().to_string_lossy();
        let directions = match self.layer {
            Some(layer) => edit::open(&format!("{path}@{layer}"))?,
            None => edit::open(&path)?,
        };
        ablations(&directions, layers)
    }

    /// Its name for others.
    pub fn shown(&self) -> String {
        match self.layer {
            Some(layer) => format!("{}@{layer}", self.file.shown()),
            None => self.file.shown().into(),
        }
    }
}

impl Solution {
    /// True if measures compare it with others: it starts from nothing, is no control, and trains on the rows of the study.
    pub fn compared(&self) -> bool {
        self.beside() && self.own_rows.is_none()
    }

    /// True if measures of directions hold it against others: the same, whatever it trains on.
    pub fn beside(&self) -> bool {
        self.from.is_none() && !self.control
    }

    /// The solution as claims see it; `start` is the one that it goes on from.
    pub fn subject(&self, start: Option<&Self>) -> Subject {
        let penalised = |solution: &Self| solution.train.kl.is_some();
        Subject {
            name: self.name.clone(),
            kind: self.train.edit.kind().into(),
            control: self.control,
            own_rows: self.own_rows.is_some(),
            penalised: penalised(self),
            searched: self.search.is_some(),
            freed: !penalised(self) && start.is_some_and(penalised),
            variant: self.variant(),
            seed: self.train.seeds.initialisation,
        }
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
