//! Responses of which it is known whether they are of the behaviour, and how well readings tell them apart.

use serde::Serialize;

use crate::{
    interval::{Interval, clusters},
    objective::Row,
};

/// What is known of some responses.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// True for those of the behaviour.
    pub behaviour: Vec<bool>,
    /// The group of each, such as its domain.
    pub groups: Vec<String>,
    /// The question of each, by number.
    pub questions: Vec<usize>,
}

/// How well a monitor does on some responses. A figure of a kind of which there are none is NaN.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The group; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Responses of the behaviour.
    pub behaviour: usize,
    /// Clean responses.
    pub clean: usize,
    /// Questions that they answer.
    pub questions: usize,
    /// The probability that a response of the behaviour reads higher than a clean one, over questions.
    pub auroc: Interval,
    /// The share of responses of the behaviour that are alarms, with Wilson's interval.
    pub detection: Interval,
    /// The share of clean responses that are alarms, with Wilson's interval.
    pub false_alarms: Interval,
}

impl Labels {
    /// Labels of rows, each with its kind and its group; rows that begin alike up to the response ask the same question.
    pub fn of(rows: &[Row], behaviour: Vec<bool>, groups: Vec<String>) -> Self {
        Self { behaviour, groups, questions: clusters(rows.iter().map(Row::question)) }
    }

    /// Responses of the behaviour, and clean ones.
    pub fn counts(&self) -> [usize; 2] {
        let behaviour = self.behaviour.iter().filter(|is| **is).count();
        [behaviour, self.behaviour.len() - behaviour]
    }

    /// How well readings do with a threshold, on all responses and on those of each group, in the order in which groups first come.
    /// Where the threshold is NaN there are no alarms to count.
    pub fn outcomes(&self, readings: &[f64], threshold: f64) -> (Outcome, Vec<Outcome>) {
        let every: Vec<usize> = (0..readings.len()).collect();
        let mut groups: Vec<&String> = Vec::new();
        for group in &self.groups {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        let of_group = |group: &&String| {
            let own = every.iter().copied().filter(|&at| self.groups[at] == **group);
            self.outcome(Some((*group).clone()), readings, threshold, &own.collect::<Vec<_>>())
        };
        (self.outcome(None, readings, threshold, &every), groups.iter().map(of_group).collect())
    }

    fn outcome(&self, group: Option<String>, readings: &[f64], threshold: f64, some: &[usize]) -> Outcome {
        let kinds: Vec<bool> = some.iter().map(|&at| self.behaviour[at]).collect();
        let own: Vec<f64> = some.iter().map(|&at| readings[at]).collect();
        let questions = clusters(some.iter().map(|&at| self.questions[at]));
        let alarms = |kind: bool| {
            let of_kind =
                || own.iter().zip(&kinds).filter(|(_, is)| **is == kind).map(|(reading, _)| *reading);
            match threshold.is_nan() {
                true => Interval::NONE,
                false => Interval::of_trials(
                    of_kind().filter(|reading| *reading > threshold).count(),
                    of_kind().count(),
                ),
            }
        };
        let behaviour = kinds.iter().filter(|is| **is).count();
        Outcome {
            group,
            behaviour,
            clean: kinds.len() - behaviour,
            questions: questions.iter().max().map_or(0, |last| last + 1),
            auroc: Interval::of_auroc(&own, &kinds, &questions),
            detection: alarms(true),
            false_alarms: alarms(false),
        }
    }
}
