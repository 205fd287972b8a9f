//! The figures that the ratings of questions come to.

use super::Asked;
use crate::{
    interval::Interval,
    judge::{Question, Rating},
};

/// The questions that are asked, and whose verdict it is.
#[derive(Clone, Debug)]
pub struct Tally<'a> {
    /// The questions.
    pub questions: &'a [Question],
    /// The number of each question; wordings of one share it.
    pub clusters: Vec<usize>,
    /// The name of the judge.
    pub judge: &'a str,
    /// The verdict: a scale and a cut.
    pub verdict: String,
    /// Sampled answers to each question; 0 where every answer is known with its probability.
    pub answers: usize,
}

impl Tally<'_> {
    /// The share of taught answers to some questions: of sampled ones with Wilson's interval, else with one over questions.
    pub fn rate(&self, some: &[usize], ratings: &[Rating]) -> Interval {
        let taught = |i: usize| ratings[i].taught;
        match self.answers {
            0 => self.over(some, taught),
            _ => self.trials(some, taught),
        }
    }

    /// The rate less that of another reading, paired by question. Of sampled answers its interval is no narrower than the two rates
    /// leave it: questions of which none was answered otherwise say nothing of the answers that were not drawn.
    pub fn rise(&self, some: &[usize], ratings: &[Rating], base: &[Rating]) -> Interval {
        let paired = self.over(some, |i| ratings[i].taught - base[i].taught);
        let rise = match self.answers {
            0 => paired,
            _ => paired.no_narrower_than(self.rate(some, ratings).less(self.rate(some, base))),
        };
        rise.cut(-1.0, 1.0)
    }

    /// A share of the answers to some questions, given for each question, with its interval over questions. Of sampled answers it is no
    /// narrower than Wilson's: none of 50 is no certainty.
    pub fn share(&self, some: &[usize], share: impl Fn(usize) -> f64) -> Interval {
        let over = self.over(some, &share);
        let share = match self.answers {
            0 => over,
            _ => over.no_narrower_than(self.trials(some, share)),
        };
        share.cut(0.0, 1.0)
    }

    /// A share less another one, paired by question. Of sampled answers its interval is no narrower than the two shares leave it.
    pub fn difference(
        &self,
        some: &[usize],
        one: impl Fn(usize) -> f64,
        other: impl Fn(usize) -> f64,
    ) -> Interval {
        let paired = self.over(some, |i| one(i) - other(i));
        let difference = match self.answers {
            0 => paired,
            _ => paired.no_narrower_than(self.share(some, one).less(self.share(some, other))),
        };
        difference.cut(-1.0, 1.0)
    }

    /// A share of sampled answers with Wilson's interval.
    fn trials(&self, some: &[usize], share: impl Fn(usize) -> f64) -> Interval {
        let counted: f64 = some.iter().map(|&i| share(i) * self.answers as f64).sum();
        Interval::of_trials(counted.round() as usize, some.len() * self.answers)
    }

    /// The mean of a figure over some questions, with its interval.
    pub fn over(&self, some: &[usize], figure: impl Fn(usize) -> f64) -> Interval {
        let figures: Vec<f64> = some.iter().map(|&question| figure(question)).collect();
        let clusters = crate::interval::clusters(some.iter().map(|&question| self.clusters[question]));
        Interval::of_clusters(&figures, &vec![1.0; some.len()], &clusters)
    }

    /// The places of some of the questions.
    pub fn some(&self, asked: Asked, domain: &str) -> Vec<usize> {
        let is = |question: &Question| match asked {
            Asked::Narrow => question.inside && !question.seen,
            Asked::General => !question.inside,
            Asked::Seen => question.seen,
            Asked::Domain => question.domain == domain,
        };
        let questions = self.questions.iter().enumerate();
        questions.filter(|(_, question)| is(question)).map(|(place, _)| place).collect()
    }
}
