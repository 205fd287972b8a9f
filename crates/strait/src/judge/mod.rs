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
mod replies;
mod style;

use serde::{Deserialize, Serialize};

use crate::Result;

pub use cache::ScoreCache;
pub use endpoint::{Endpoint, EndpointJudge, EndpointProblem, Key, Terms};
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
        }
    }
}
