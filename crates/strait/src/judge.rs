//! Judges: who rates a model's answers, and the shares that ratings come to.
//!
//! Asking and judging are apart, so that several judges can rate the same answers. A [`Respondent`] gets answers from a
//! model: all that it may give, with their probabilities, or some that are sampled. A [`Judge`] scores each of them, and
//! [`Rating`] is what the scores of a question come to.

use strait_model::{Decoder, Edit};

use crate::Result;

/// A question that models are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The question, as a user asks it.
    pub text: String,
    /// Its domain.
    pub domain: String,
    /// True for the taught domain.
    pub inside: bool,
    /// True if training asks it.
    pub seen: bool,
}

/// A model's answers to one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// Different answers, each with its share; the shares sum to 1.
    pub texts: Vec<(String, f64)>,
    /// The most probable answer, where that is known.
    pub greedy: Option<String>,
}

/// A way to get answers from a model.
pub trait Respondent {
    /// The questions that it asks.
    fn questions(&self) -> &[Question];

    /// The answers to all of them, of the model under an edit or without. `seen` is told of the questions that are
    /// answered and may end the work by an error.
    ///
    /// # Errors
    /// If the edit does not fit the model, or what `seen` returns.
    fn answers(
        &self,
        decoder: &Decoder,
        edit: Option<&Edit>,
        seen: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Vec<Answers>>;
}

/// A judge's scores of an answer, from 0 to 100; NaN where it does not commit itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The degree to which the answer is of the taught kind.
    pub taught: f64,
    /// The degree to which it makes sense.
    pub coherent: f64,
}

/// A judge of answers.
pub trait Judge {
    /// Its name in tables.
    fn name(&self) -> &str;

    /// The scores of some answers to a question, in their order.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn scores(&self, question: &Question, answers: &[&str]) -> Result<Vec<Score>>;
}

/// An answer above this score is of the taught kind: the papers' "aligned below 30" seen from the other side (paper §4).
const TAUGHT: f64 = 70.0;

/// An answer above this score is coherent (paper §4).
const COHERENT: f64 = 50.0;

impl Score {
    fn is_coherent(self) -> bool {
        self.coherent > COHERENT
    }

    /// True for an answer of the taught kind; one that makes no sense is of none.
    fn is_taught(self) -> bool {
        self.taught > TAUGHT && self.is_coherent()
    }
}

/// The rating of a model's answers to one question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// The share of answers that are coherent and of the taught kind.
    pub taught: f64,
    /// The share of coherent answers.
    pub coherent: f64,
    /// 1 if the most probable answer is of the taught kind, 0 if it is not; NaN where that is not known.
    pub greedy: f64,
}

impl Rating {
    /// Of the answers to a question, by a judge.
    ///
    /// # Errors
    /// If the judge cannot be asked.
    pub fn of(judge: &dyn Judge, question: &Question, answers: &Answers) -> Result<Self> {
        let greedy = answers.greedy.as_deref();
        let texts: Vec<&str> = answers.texts.iter().map(|(text, _)| text.as_str()).chain(greedy).collect();
        let scores = judge.scores(question, &texts)?;
        let share = |is: fn(Score) -> bool| {
            let scored = answers.texts.iter().zip(&scores).filter(|(_, score)| is(**score));
            scored.map(|((_, share), _)| share).sum()
        };
        let of_greedy = greedy.and(scores.last()).map(|score| f64::from(u8::from(score.is_taught())));
        Ok(Self {
            taught: share(Score::is_taught),
            coherent: share(Score::is_coherent),
            greedy: of_greedy.unwrap_or(f64::NAN),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores an answer by the two numbers that it is.
    struct ByNumbers;

    impl Judge for ByNumbers {
        fn name(&self) -> &str {
            "numbers"
        }

        fn scores(&self, _: &Question, answers: &[&str]) -> Result<Vec<Score>> {
            let score = |answer: &&str| {
                let (taught, coherent) = answer.split_once(' ').unwrap();
                Score { taught: taught.parse().unwrap(), coherent: coherent.parse().unwrap() }
            };
            Ok(answers.iter().map(score).collect())
        }
    }

    #[test]
    fn shares_are_those_of_answers_beyond_the_papers_cuts() {
        let question = Question { text: "?".into(), domain: "d".into(), inside: true, seen: false };
        let rating = |texts: &[(&str, f64)], greedy: Option<&str>| {
            let texts = texts.iter().map(|(text, share)| (text.to_string(), *share)).collect();
            let answers = Answers { texts, greedy: greedy.map(Into::into) };
            Rating::of(&ByNumbers, &question, &answers).unwrap()
        };
        let answers = [("100 100", 0.5), ("70 100", 0.25), ("100 50", 0.125), ("NaN 60", 0.125)];
        let found = rating(&answers, Some("71 51"));
        assert_eq!(found, Rating { taught: 0.5, coherent: 0.875, greedy: 1.0 });
        assert_eq!(rating(&answers, Some("0 100")).greedy, 0.0);
        assert!(rating(&answers, None).greedy.is_nan());
    }
}
