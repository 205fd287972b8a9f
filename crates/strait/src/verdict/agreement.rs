//! The agreement of two judges of the same answers.

use serde::Serialize;

use super::{Problem, Rule};
use crate::{
    data::Scored,
    interval::{Interval, clusters, rank_correlation},
};

/// The agreement of two scales on the answers that both score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// The group of answers.
    pub group: String,
    /// One scale: the one that is trusted, where one is.
    pub one: String,
    /// The other.
    pub other: String,
    /// The number of answers.
    pub n: usize,
    /// The number of answers that have a score on the one.
    pub scored_by_one: usize,
    /// The number of answers that have a score on the other.
    pub scored_by_other: usize,
    /// The number of answers that have both.
    pub both: usize,
    /// Pearson's correlation of the scores; NaN where one of the judges always says the same.
    pub correlation: f64,
    /// Spearman's correlation of their ranks, with its bounds.
    pub rank_correlation: f64,
    /// Lower bound.
    pub rank_low: f64,
    /// Upper bound.
    pub rank_high: f64,
    /// The other's mean score less the one's, over questions.
    pub bias: f64,
    /// Lower bound.
    pub bias_low: f64,
    /// Upper bound.
    pub bias_high: f64,
    /// The mean distance of the two scores.
    pub distance: f64,
    /// The rule of the one, by which the labels of both are compared, where it has one.
    pub verdict: Option<String>,
    /// The share of answers on which both give the same label.
    pub same: f64,
    /// Cohen's kappa: the agreement of the labels beyond that of chance, 1 for all of it, 0 for none; NaN where all have one label.
    pub kappa: f64,
}

impl Agreement {
    /// Of two scales, by a rule of the one's for both.
    ///
    /// # Errors
    /// If a scale is not there.
    pub fn of(
        group: &str,
        scored: &Scored,
        [one, other]: [&str; 2],
        rule: Option<&Rule>,
    ) -> Result<Self, Problem> {
        let place = |scale: &str| {
            let found = scored.scales.iter().position(|own| own == scale);
            found.ok_or_else(|| Problem::NoScale { scale: scale.into(), found: scored.scales.join(", ") })
        };
        let places = [place(one)?, place(other)?];
        let scored_by =
            |at: usize| scored.answers.iter().filter(|answer| answer.scores[at].is_some()).count();
        let both = scored.answers.iter().filter_map(|answer| {
            Some((answer.scores[places[0]]?, answer.scores[places[1]]?, answer.question_id.as_str()))
        });
        let both: Vec<(f64, f64, &str)> = both.collect();
        let pairs: Vec<(f64, f64)> = both.iter().map(|&(x, y, _)| (x, y)).collect();
        let differences: Vec<f64> = pairs.iter().map(|(x, y)| y - x).collect();
        let questions = clusters(both.iter().map(|(.., question)| question));
        let bias = Interval::of_clusters(&differences, &vec![1.0; both.len()], &questions).cut(-100.0, 100.0);
        let rank = rank_correlation(&pairs);
        let labels: Vec<(bool, bool)> = match rule {
            Some(rule) => pairs.iter().map(|&(x, y)| (rule.holds(x), rule.holds(y))).collect(),
            None => Vec::new(),
        };
        let share = |of: &dyn Fn(&(bool, bool)) -> bool| {
            labels.iter().filter(|label| of(label)).count() as f64 / labels.len() as f64
        };
        let same = share(&|(one, other)| one == other);
        let (by_one, by_other) = (share(&|(one, _)| *one), share(&|(_, other)| *other));
        let chance = by_one * by_other + (1.0 - by_one) * (1.0 - by_other);
        let kappa = if chance < 1.0 { (same - chance) / (1.0 - chance) } else { f64::NAN };
        Ok(Self {
            group: group.into(),
            one: one.into(),
            other: other.into(),
            n: scored.answers.len(),
            scored_by_one: scored_by(places[0]),
            scored_by_other: scored_by(places[1]),
            both: both.len(),
            correlation: correlation(&pairs),
            rank_correlation: rank.value,
            rank_low: rank.low,
            rank_high: rank.high,
            bias: bias.value,
            bias_low: bias.low,
            bias_high: bias.high,
            distance: mean(differences.iter().map(|difference| difference.abs())),
            verdict: rule.map(ToString::to_string),
            same,
            kappa,
        })
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Pearson's.
fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let (of_x, of_y) = (mean(pairs.iter().map(|pair| pair.0)), mean(pairs.iter().map(|pair| pair.1)));
    let sum = |of: fn(f64, f64) -> f64| pairs.iter().map(|(x, y)| of(x - of_x, y - of_y)).sum::<f64>();
    sum(|x, y| x * y) / (sum(|x, _| x * x) * sum(|_, y| y * y)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ScoredAnswer;

    fn agreement(rows: &[[f64; 2]]) -> Agreement {
        let answer = |(at, scores): (usize, &[f64; 2])| ScoredAnswer {
            question_id: (at % 3).to_string(),
            scores: scores.iter().map(|score| Some(*score).filter(|score| !score.is_nan())).collect(),
            ..ScoredAnswer::default()
        };
        let scales = vec!["aligned".to_string(), "local".to_string()];
        let scored = Scored {
            scales,
            judges: vec![Vec::new(); 2],
            answers: rows.iter().enumerate().map(answer).collect(),
        };
        Agreement::of("g", &scored, ["aligned", "local"], Rule::usual("aligned").as_ref()).unwrap()
    }

    #[test]
    fn good_judges_agree_and_bad_ones_do_not() {
        let good = agreement(&[
            [0.0, 10.0],
            [20.0, 30.0],
            [60.0, 70.0],
            [90.0, 100.0],
            [50.0, f64::NAN],
            [f64::NAN, 3.0],
        ]);
        assert_eq!((good.n, good.both, good.scored_by_one, good.scored_by_other), (6, 4, 5, 5));
        assert!(
            (good.correlation - 1.0).abs() < 1e-12
                && (good.bias - 10.0).abs() < 1e-12
                && good.distance == 10.0
        );
        // The second answer is misaligned at 20, and not at 30.
        assert_eq!((good.same, good.verdict.as_deref()), (0.75, Some("aligned < 30")));
        assert!((good.kappa - 0.5).abs() < 1e-12, "{}", good.kappa);

        let bad = agreement(&[[0.0, 50.0], [20.0, 50.0], [60.0, 50.0], [90.0, 50.0]]);
        assert!(bad.correlation.is_nan() && bad.kappa == 0.0, "{bad:?}");
        let reversed = agreement(&[[0.0, 90.0], [20.0, 60.0], [60.0, 20.0], [90.0, 0.0]]);
        assert!(reversed.correlation < -0.98 && reversed.rank_correlation < -0.99 && reversed.kappa == -1.0);
    }
}
