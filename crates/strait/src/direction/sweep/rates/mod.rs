//! Sweeps as judged answers: the rates of taught and of coherent answers as directions are added to a model, and taken out of one.

mod remove;
mod steer;

use super::mean_of;
use crate::{
    behaviour::{Asked, Examiner, Tally},
    interval::{Interval, mean},
    judge::Rating,
    lab::Group,
};

/// Who examines the models of a sweep.
#[derive(Clone, Copy)]
pub struct Examined<'a> {
    /// The examiner.
    pub by: &'a dyn Examiner,
    /// The number of random directions beside each direction whose answers are examined too.
    pub random: usize,
}

/// The name of base's answers.
const OF_BASE: &str = "base";

/// The questions of one side of the domain, by one verdict, and the ratings of the model without a direction or with all of them.
struct Read<'a> {
    tally: &'a Tally<'a>,
    group: Group,
    some: Vec<usize>,
    before: &'a [Rating],
}

/// The figures of a model that is held against another one.
struct Figures {
    rate: Interval,
    rise: Interval,
    random: Interval,
    beyond_random: Interval,
    coherent: Interval,
    coherent_random: f64,
    randoms: usize,
}

impl<'a> Read<'a> {
    /// None where no question is of that side.
    fn of(tally: &'a Tally<'a>, group: Group, before: &'a [Rating]) -> Option<Self> {
        let asked = match group {
            Group::Narrow => Asked::Narrow,
            Group::General => Asked::General,
        };
        let some = tally.some(asked, "");
        (!some.is_empty()).then_some(Self { tally, group, some, before })
    }

    /// The share of taught answers, with its interval over questions.
    fn taught(&self, ratings: &[Rating]) -> Interval {
        self.tally.share(&self.some, |i| ratings[i].taught)
    }

    /// That share less another model's.
    fn risen(&self, ratings: &[Rating], base: &[Rating]) -> Interval {
        self.tally.difference(&self.some, |i| ratings[i].taught, |i| base[i].taught)
    }

    /// The share of coherent answers.
    fn coherent(&self, ratings: &[Rating]) -> f64 {
        mean(self.some.iter().map(|&i| ratings[i].coherent))
    }

    fn figures(&self, own: &[Rating], randoms: &[&[Rating]]) -> Figures {
        let [taught, coherent] =
            [|rating: &Rating| rating.taught, |rating: &Rating| rating.coherent].map(|of| {
                randoms.iter().map(|ratings| ratings.iter().map(of).collect()).collect::<Vec<Vec<_>>>()
            });
        let (random, beyond_random) = match mean_of(&taught) {
            none if none.is_empty() => (Interval::NONE, Interval::NONE),
            taught_by_question => {
                let of_question = |i: usize| taught_by_question[i];
                let each = taught.iter().map(|of| mean(self.some.iter().map(|&i| of[i])));
                let over_randoms = Interval::of_mean(&each.collect::<Vec<_>>());
                let random =
                    self.tally.share(&self.some, of_question).no_narrower_than(over_randoms).cut(0.0, 1.0);
                (random, self.tally.difference(&self.some, |i| own[i].taught, of_question))
            }
        };
        let coherent_by_question = mean_of(&coherent);
        Figures {
            rate: self.taught(own),
            rise: self.risen(own, self.before),
            random,
            beyond_random,
            coherent: self.tally.share(&self.some, |i| own[i].coherent),
            coherent_random: mean(self.some.iter().filter_map(|&i| coherent_by_question.get(i).copied())),
            randoms: randoms.len(),
        }
    }
}
