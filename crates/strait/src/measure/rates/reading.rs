//! The rows that a model's ratings come to.

use super::{RateRow, RateStep};
use crate::{
    behaviour::{Asked, Tally},
    interval::mean,
    judge::Rating,
};

/// A model's ratings under one edit.
pub(super) struct Found {
    /// Of every question.
    pub ratings: Vec<Rating>,
    pub norm: f64,
    /// The response loss on the training rows; NaN where it was not read.
    pub loss: f64,
}

/// The subject of a reading: a solution or base, under a factor and a cue.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub solution: &'a str,
    pub scale: f64,
    pub cue: &'a str,
}

/// A training along which rates are read.
pub(super) struct Along<'a> {
    pub solution: &'a str,
    pub from: &'a str,
    pub scale: f64,
}

impl Tally<'_> {
    /// The rates of all groups of questions. `base` is read under the same cue.
    pub(super) fn rows(&self, of: Of<'_>, found: &Found, base: &Found) -> Vec<RateRow> {
        let mut domains: Vec<&str> = Vec::new();
        for question in self.questions {
            if !domains.contains(&question.domain.as_str()) {
                domains.push(&question.domain);
            }
        }
        let groups = [Asked::Narrow, Asked::General, Asked::Seen].map(|asked| (asked, ""));
        let groups = groups.into_iter().chain(domains.into_iter().map(|domain| (Asked::Domain, domain)));
        let some = groups.map(|(asked, domain)| (asked, domain, self.some(asked, domain)));
        let row = |(asked, domain, some): (Asked, &str, Vec<usize>)| {
            let of_all = |figure: fn(&Rating) -> f64| mean(some.iter().map(|&i| figure(&found.ratings[i])));
            RateRow {
                solution: of.solution.into(),
                scale: of.scale,
                asked,
                domain: domain.into(),
                questions: some.len(),
                rate: self.rate(&some, &found.ratings),
                rise: self.rise(&some, &found.ratings, &base.ratings),
                greedy: of_all(|rating| rating.greedy),
                coherent: of_all(|rating| rating.coherent),
                norm: found.norm,
                loss: found.loss,
                judge: self.judge.into(),
                verdict: self.verdict.clone(),
                answers: some.len() * self.answers,
                cue: of.cue.into(),
            }
        };
        some.filter(|(.., some)| !some.is_empty()).map(row).collect()
    }

    /// The rates at a checkpoint.
    pub(super) fn step(&self, of: &Along<'_>, step: usize, found: &Found, start: &Found) -> RateStep {
        let general = self.some(Asked::General, "");
        RateStep {
            solution: of.solution.into(),
            from: of.from.into(),
            scale: of.scale,
            step,
            narrow: self.rate(&self.some(Asked::Narrow, ""), &found.ratings),
            general: self.rate(&general, &found.ratings),
            rise: self.rise(&general, &found.ratings, &start.ratings),
            coherent: mean(general.iter().map(|&i| found.ratings[i].coherent)),
            norm: found.norm,
            loss: found.loss,
            judge: self.judge.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{interval::Interval, judge::Question};

    fn questions(count: usize) -> Vec<Question> {
        let question = |i: usize| Question {
            text: i.to_string(),
            domain: if i < 4 { "in" } else { "out" }.into(),
            inside: i < 4,
            seen: false,
        };
        (0..count).map(question).collect()
    }

    fn found(taught: Vec<f64>) -> Found {
        let rating = |taught| Rating { taught, coherent: 1.0, greedy: f64::NAN };
        Found { ratings: taught.into_iter().map(rating).collect(), norm: 1.0, loss: f64::NAN }
    }

    fn tally(questions: &[Question], answers: usize) -> Tally<'_> {
        let clusters = (0..questions.len()).collect();
        Tally { questions, clusters, judge: "j", verdict: "v > 50".into(), answers }
    }

    #[test]
    fn a_rise_ends_where_rates_do() {
        let asked = questions(4);
        let (base, edited) = (found(vec![0.0, 0.0, 0.5, 0.0]), found(vec![1.0, 1.0, 1.0, 0.5]));
        let rise = tally(&asked, 2).rise(&[0, 1, 2, 3], &edited.ratings, &base.ratings);
        assert!(rise.value == 0.75 && rise.low > 0.0 && rise.high == 1.0, "{rise:?}");
    }

    #[test]
    fn sampled_answers_are_counted_and_leave_room_for_others() {
        let asked = questions(24);
        let (base, edited) =
            (found(vec![0.0; 24]), found([vec![0.5, 1.0, 1.0, 0.75], vec![0.0; 20]].concat()));
        let of = Of { solution: "s", scale: 2.0, cue: "c" };
        let rows = tally(&asked, 4).rows(of, &edited, &base);
        let groups: Vec<_> = rows.iter().map(|row| (row.asked, row.domain.as_str(), row.answers)).collect();
        let expected = [
            (Asked::Narrow, "", 16),
            (Asked::General, "", 80),
            (Asked::Domain, "in", 16),
            (Asked::Domain, "out", 80),
        ];
        assert_eq!(groups, expected);
        assert_eq!(rows[0].rate, Interval::of_trials(13, 16));
        assert!(rows[0].rise.low > 0.0 && (rows[0].rise.value - 13.0 / 16.0).abs() < 1e-12);
        // None of 80 before and after: the answers that were not drawn may differ.
        assert!(rows[1].rise.value == 0.0 && rows[1].rise.high > 0.04, "{:?}", rows[1].rise);
        // Where every answer is known, they do not.
        assert!(!tally(&asked, 0).rows(of, &edited, &base)[1].rise.is_known());
    }

    #[test]
    fn shares_over_questions_are_no_narrower_than_answers_leave_them() {
        let asked = questions(24);
        let (tally, some) = (tally(&asked, 4), (0..24).collect::<Vec<_>>());
        // Half of the questions are always answered so: the answers are no 96 draws.
        let parted = tally.share(&some, |i| f64::from(u8::from(i % 2 == 0)));
        let trials = Interval::of_trials(48, 96);
        assert!(parted.value == 0.5 && parted.low < trials.low - 0.05 && parted.high > trials.high + 0.05);
        assert_eq!(tally.share(&some, |_| 0.0), Interval::of_trials(0, 96));
        assert_eq!(tally.share(&some, |_| 1.0).high, 1.0);
        let apart = tally.difference(&some, |_| 0.0, |_| 0.0);
        assert!(apart.low < 0.0 && apart.value == 0.0 && apart.high > 0.0, "{apart:?}");
        // Where every answer is known, equal questions say nothing of others.
        assert!(!self::tally(&asked, 0).share(&some, |_| 0.0).is_known());
    }

    /// The share of repetitions in which the intervals of a rate and of a rise hold the truth: 28 questions, 4 answers each, of which
    /// every question has its own probability.
    fn coverage(base: f64, edited: f64) -> [f64; 2] {
        const REPETITIONS: usize = 500;
        let (asked, mut random) = (questions(28), ChaCha8Rng::seed_from_u64(7));
        let (tally, mut held) = (tally(&asked, 4), [0, 0]);
        let some: Vec<usize> = (0..asked.len()).collect();
        for _ in 0..REPETITIONS {
            let mut draw = |p: f64| {
                let mut share =
                    |own: f64| (0..4).filter(|_| random.random::<f64>() < own).count() as f64 / 4.0;
                found((0..asked.len()).map(|i| share((p * (0.8 + 0.4 * i as f64 / 27.0)).min(1.0))).collect())
            };
            let (before, after) = (draw(base), draw(edited));
            let (rate, rise) =
                (tally.rate(&some, &after.ratings), tally.rise(&some, &after.ratings, &before.ratings));
            held[0] += usize::from(rate.low <= edited && edited <= rate.high);
            held[1] += usize::from(rise.low <= edited - base && edited - base <= rise.high);
        }
        held.map(|held| held as f64 / REPETITIONS as f64)
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        for (base, edited) in [(0.02, 0.5), (0.1, 0.2), (0.3, 0.7), (0.5, 0.5)] {
            let found = coverage(base, edited);
            assert!(found.iter().all(|share| (0.93..=0.99).contains(share)), "{base} {edited}: {found:?}");
        }
    }
}
