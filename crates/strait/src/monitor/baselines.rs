//! A sceptic's baselines: what tells responses of the behaviour from clean ones without the direction.

use serde::{Serialize, Serializer};

use super::Labels;
use crate::{
    interval::{Interval, auroc},
    table::Word,
};

/// A way to tell responses of the behaviour from clean ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Random directions in the place of the monitor's.
    Random,
    /// The number of response tokens.
    Length,
    /// The response loss under the base model.
    Loss,
    /// A logistic probe of the mean residual stream over the response.
    Probe,
}

impl Word for Method {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Random, "random direction"),
        (Self::Length, "response length"),
        (Self::Loss, "loss under base"),
        (Self::Probe, "logistic probe"),
    ];
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// How well a baseline does on the same responses, over questions. All but the probe, which learns its own, take the sign with
/// which they do better on these responses, so that they are rather too good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// The way.
    pub method: Method,
    /// The area under its ROC curve; of several random directions their mean.
    pub auroc: Interval,
    /// The least of several random directions; otherwise the area.
    pub least: f64,
    /// The greatest of several random directions; otherwise the area.
    pub greatest: f64,
    /// The monitor's area less this one, or less that of the best of several random directions.
    pub beyond: Interval,
}

impl Labels {
    /// A baseline's scores of the responses, beside the monitor's readings.
    pub fn baseline(&self, method: Method, readings: &[f64], scores: &[f64]) -> Baseline {
        let scores = match method {
            Method::Probe => scores.to_vec(),
            _ => self.better_way(scores),
        };
        let auroc = Interval::of_auroc(&scores, &self.behaviour, &self.questions);
        Baseline {
            method,
            auroc,
            least: auroc.value,
            greatest: auroc.value,
            beyond: Interval::of_auroc_difference(readings, &scores, &self.behaviour, &self.questions),
        }
    }

    /// Several random directions' scores, of which there is one at least.
    pub fn random_baseline(&self, readings: &[f64], each: &[Vec<f64>]) -> Baseline {
        let all: Vec<Baseline> =
            each.iter().map(|scores| self.baseline(Method::Random, readings, scores)).collect();
        let areas: Vec<f64> = all.iter().map(|one| one.auroc.value).collect();
        let best = all.iter().max_by(|one, other| one.auroc.value.total_cmp(&other.auroc.value));
        Baseline {
            method: Method::Random,
            auroc: Interval::of_mean(&areas),
            least: areas.iter().copied().fold(f64::NAN, f64::min),
            greatest: areas.iter().copied().fold(f64::NAN, f64::max),
            beyond: best.map_or(Interval::NONE, |best| best.beyond),
        }
    }

    /// The scores with the sign by which they do better.
    fn better_way(&self, scores: &[f64]) -> Vec<f64> {
        let sign = if auroc(scores, &self.behaviour) < 0.5 { -1.0 } else { 1.0 };
        scores.iter().map(|score| sign * score).collect()
    }
}
