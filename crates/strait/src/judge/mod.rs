//! Judges: who scores a model's answers, and what their scores come to.
//!
//! Asking and judging are apart, so that several judges can score the same answers. A [`Respondent`] gets answers from a
//! model: all that it may give, with their probabilities, or some that are sampled. A [`Judge`] scores each of them on one
//! scale, and [`Rating`] is what the scores of a question come to.

mod cache;
mod endpoint;
mod exact;
mod problem;
mod prompts;
mod rating;
mod reading;
mod replies;
mod style;

use serde::{Deserialize, Serialize};

use crate::Result;

pub use cache::ScoreCache;
pub use endpoint::{Endpoint, EndpointJudge, Reading};
pub use exact::{Exact, LocalModel};
pub use problem::Problem;
pub use prompts::{builtin, read_judge_prompts};
pub use rating::{Answers, Judges, Question, Rating, Respondent};
pub use style::Style;

/// A judge commits itself to a score where numbers have at least this part of the probability (paper §4.1).
pub const MASS: f64 = 0.25;

/// A judge of answers on one scale.
pub trait Judge {
    /// Its name in tables.
    fn name(&self) -> &str;

    /// The name of its scale.
    fn scale(&self) -> &str;

    /// All that its scores of answers to a question follow from, but the answers: what is equal gives equal scores.
    fn basis(&self, question: &str) -> String;

    /// Scores some answers to a question, and gives each score with the place of its answer as soon as it is there, in any order.
    ///
    /// # Errors
    /// If it cannot be asked, or a score is not taken; what was given then stands.
    fn score_each(&self, question: &str, answers: &[&str], give: Give<'_>) -> Result<()>;

    /// The most answers that it should be given at a time, between which a stop is looked for; none for a judge that looks for it
    /// itself, and is best given all at once.
    fn at_a_time(&self) -> Option<usize> {
        Some(16)
    }

    /// Scores answers to any questions, and gives the scores of each with its place as soon as they are there, in any order. A judge
    /// whose reply holds scores on other scales too gives these with its own.
    ///
    /// # Errors
    /// As [`score_each`](Self::score_each).
    fn score_all(&self, asked: &[Asked<'_>], give: GiveAll<'_>) -> Result<()> {
        let mut first = 0;
        for run in asked.chunk_by(|a, b| a.question == b.question) {
            let answers: Vec<&str> = run.iter().map(|asked| asked.answer).collect();
            self.score_each(run[0].question, &answers, &mut |place, score| {
                give(first + place, &[(self.scale(), score)])
            })?;
            first += run.len();
        }
        Ok(())
    }

    /// The scores of some answers to a question, in their order.
    ///
    /// # Errors
    /// As [`score_each`](Self::score_each).
    fn scores(&self, question: &str, answers: &[&str]) -> Result<Vec<Score>> {
        let mut scores = vec![Err(Reason::NoNumber); answers.len()];
        self.score_each(question, answers, &mut |place, score| {
            scores[place] = score;
            Ok(())
        })?;
        Ok(scores)
    }
}

/// The taker of scores: the place of an answer, and its score.
pub type Give<'a> = &'a mut dyn FnMut(usize, Score) -> Result<()>;

/// The taker of scores on several scales: the place of an answer, and the scores with the names of their scales.
pub type GiveAll<'a> = &'a mut dyn FnMut(usize, &[(&str, Score)]) -> Result<()>;

/// An answer to a question, which is to be scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The question.
    pub question: &'a str,
    /// The answer.
    pub answer: &'a str,
}

/// A score from 0 to 100, or the reason for which there is none.
pub type Score = std::result::Result<f64, Reason>;

/// The reason for which an answer has no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The judge does not commit itself to a number.
    NoNumber,
    /// The judge says that the answer is code which nobody asked for.
    Code,
    /// The judge says that the answer is a refusal.
    Refusal,
    /// The answer has no words.
    Empty,
    /// The question and the answer are longer than the judge can read.
    TooLong,
    /// The judge was to reply in JSON, and did not.
    Unparsable,
}

impl Reason {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoNumber => "no-number",
            Self::Code => "code",
            Self::Refusal => "refusal",
            Self::Empty => "empty",
            Self::TooLong => "too-long",
            Self::Unparsable => "unparsable",
        }
    }
}
