//! The reading of answers under an edit, and the rows that it comes to.

use strait_model::{
    Decoder, Edit,
    progress::{Progress, Unit},
};

use super::{Asked, RateRow, RateStep};
use crate::{
    Result,
    interval::{Interval, mean},
    judge::{Judges, Question, Rating, Respondent},
    lab::{advance, row_losses},
    objective::Kept,
};

/// Reads a model's answers and has them judged.
pub struct Reader<'a> {
    decoder: &'a Decoder,
    respondent: &'a dyn Respondent,
    judges: Judges<'a>,
    train: &'a Kept,
    progress: &'a dyn Progress,
}

/// A training along which rates are read.
pub(super) struct Along<'a> {
    pub solution: &'a str,
    pub from: &'a str,
    pub scale: f64,
}

/// A model's ratings under one edit.
pub(super) struct Found {
    /// Of every question.
    ratings: Vec<Rating>,
    norm: f64,
    loss: f64,
}

impl<'a> Reader<'a> {
    /// A reader of what `respondent` gets and `judges` say, and of the loss on training rows.
    pub fn new(
        decoder: &'a Decoder,
        respondent: &'a dyn Respondent,
        judges: Judges<'a>,
        train: &'a Kept,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { decoder, respondent, judges, train, progress }
    }

    pub(super) fn read(&self, edit: Option<&Edit>) -> Result<Found> {
        let questions = self.respondent.questions();
        let task = self.progress.begin("rates", Some(questions.len() as u64), Unit::Count);
        let seen = |n| advance(self.progress, &*task, n);
        let answers = self.respondent.answers(self.decoder, edit, &seen)?;
        let ratings = questions.iter().zip(&answers);
        let ratings = ratings.map(|(question, answers)| Rating::of(self.judges, question, answers));
        let losses = row_losses(self.decoder, self.train, edit, &|_| Ok(()))?;
        let tokens: usize = losses.iter().map(|&(_, tokens)| tokens).sum();
        let loss = losses.iter().map(|&(loss, tokens)| loss * tokens as f64).sum::<f64>() / tokens as f64;
        Ok(Found { ratings: ratings.collect::<Result<_>>()?, norm: edit.map_or(Ok(0.0), Edit::norm)?, loss })
    }

    pub(super) fn rows(&self, solution: &str, scale: f64, found: &Found, base: &Found) -> Vec<RateRow> {
        let row = |(asked, domain): (Asked, &str)| {
            let some = self.some(asked, domain);
            let of = |figure: fn(&Rating) -> f64| mean(some.iter().map(|&i| figure(&found.ratings[i])));
            RateRow {
                solution: solution.into(),
                scale,
                asked,
                domain: domain.into(),
                questions: some.len(),
                rate: over(&some, |i| found.ratings[i].taught),
                rise: over(&some, |i| found.ratings[i].taught - base.ratings[i].taught),
                greedy: of(|rating| rating.greedy),
                coherent: of(|rating| rating.coherent),
                norm: found.norm,
                loss: found.loss,
                judge: self.judges.taught.name().into(),
            }
        };
        let mut domains: Vec<&str> = self.respondent.questions().iter().map(|q| q.domain.as_str()).collect();
        domains.dedup();
        let groups = [Asked::Narrow, Asked::General, Asked::Seen].map(|asked| (asked, ""));
        groups.into_iter().chain(domains.into_iter().map(|domain| (Asked::Domain, domain))).map(row).collect()
    }

    pub(super) fn step(&self, of: &Along<'_>, step: usize, found: &Found, start: &Found) -> RateStep {
        let general = self.some(Asked::General, "");
        RateStep {
            solution: of.solution.into(),
            from: of.from.into(),
            scale: of.scale,
            step,
            narrow: over(&self.some(Asked::Narrow, ""), |i| found.ratings[i].taught),
            general: over(&general, |i| found.ratings[i].taught),
            rise: over(&general, |i| found.ratings[i].taught - start.ratings[i].taught),
            coherent: mean(general.iter().map(|&i| found.ratings[i].coherent)),
            norm: found.norm,
            loss: found.loss,
            judge: self.judges.taught.name().into(),
        }
    }

    /// The places of some of the questions.
    fn some(&self, asked: Asked, domain: &str) -> Vec<usize> {
        let is = |question: &Question| match asked {
            Asked::Narrow => question.inside && !question.seen,
            Asked::General => !question.inside,
            Asked::Seen => question.seen,
            Asked::Domain => question.domain == domain,
        };
        let questions = self.respondent.questions().iter().enumerate();
        questions.filter(|(_, question)| is(question)).map(|(place, _)| place).collect()
    }
}

/// The mean of a figure over some questions, with its interval.
fn over(some: &[usize], figure: impl Fn(usize) -> f64) -> Interval {
    let figures: Vec<f64> = some.iter().map(|&question| figure(question)).collect();
    let places: Vec<usize> = (0..some.len()).collect();
    Interval::of_clusters(&figures, &vec![1.0; some.len()], &places)
}
