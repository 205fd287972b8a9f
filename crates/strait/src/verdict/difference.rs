//! Differences between the rates of groups.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rates::{QuestionRates, Rates, VerdictRate};
use crate::interval::Interval;

/// The difference of a verdict's rate from that of the first group, over the questions that both answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The group.
    pub group: String,
    /// The first group.
    pub from: String,
    /// The rule.
    pub verdict: String,
    /// The number of questions that both answer.
    pub questions: usize,
    /// The mean over these of the difference of the rates.
    pub difference: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// Compares the verdicts of all groups with those of the first.
pub fn differences(rates: &[Rates]) -> Vec<Difference> {
    let Some((first, others)) = rates.split_first() else { return Vec::new() };
    let of = |rates: &Rates, verdict: &str| -> BTreeMap<String, f64> {
        let rate = |question: &QuestionRates| {
            let found = question.verdicts.iter().find(|rate| rate.verdict == verdict)?;
            Some((question.question_id.clone(), found.share.rate))
        };
        rates.questions.iter().filter_map(rate).collect()
    };
    let mut found = Vec::new();
    for group in others {
        for VerdictRate { verdict, .. } in &group.verdicts {
            let (before, now) = (of(first, verdict), of(group, verdict));
            let both: Vec<f64> = now.iter().filter_map(|(id, now)| Some(now - before.get(id)?)).collect();
            if both.is_empty() {
                continue;
            }
            let Interval { value: difference, low, high } = Interval::of_mean(&both).cut(-1.0, 1.0);
            found.push(Difference {
                group: group.group.clone(),
                from: first.group.clone(),
                verdict: verdict.clone(),
                questions: both.len(),
                difference,
                low,
                high,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::rates::tests::{rates, scored};

    #[test]
    fn differences_are_over_common_questions() {
        let (bad, good) = ([0.0, 99.0, 0.0, 0.0], [99.0, 99.0, 0.0, 0.0]);
        let first = scored(&[("a", bad), ("a", good), ("b", good), ("c", good), ("x", bad)]);
        let second = scored(&[("c", bad), ("a", bad), ("b", good), ("y", bad)]);
        let found = differences(&[rates("first", &first), rates("second", &second)]);
        assert_eq!(found.len(), 1);
        let Difference { group, from, questions, difference, low, high, .. } = &found[0];
        assert_eq!((group.as_str(), from.as_str(), *questions, *difference), ("second", "first", 3, 0.5));
        assert!(*low < 0.5 && *high > 0.5, "{low} {high}");
    }
}
