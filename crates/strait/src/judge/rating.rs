//! Answers to questions, and the shares to which the scores of a question come.

use strait_model::{Decoder, Edit};

use super::Judge;
use crate::{Result, data::judged::COHERENT_ABOVE, verdict::TAUGHT_ABOVE};

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

/// The judges that a rating takes: the papers' two scales (paper §4).
#[derive(Clone, Copy)]
pub struct Judges<'a> {
    /// Scores the degree to which an answer is of the taught kind.
    pub taught: &'a dyn Judge,
    /// Scores the degree to which it makes sense.
    pub coherent: &'a dyn Judge,
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
    /// Of the answers to a question, by judges. An answer that has no score is neither of the taught kind nor coherent.
    ///
    /// # Errors
    /// If a judge cannot be asked.
    pub fn of(judges: Judges<'_>, question: &Question, answers: &Answers) -> Result<Self> {
        let greedy = answers.greedy.as_deref();
        let texts: Vec<&str> = answers.texts.iter().map(|(text, _)| text.as_str()).chain(greedy).collect();
        let beyond = |judge: &dyn Judge, cut: f64| -> Result<Vec<bool>> {
            let scores = judge.scores(&question.text, &texts)?;
            Ok(scores.into_iter().map(|score| score.is_ok_and(|score| score > cut)).collect())
        };
        let coherent = beyond(judges.coherent, COHERENT_ABOVE)?;
        // One that makes no sense is of no kind.
        let taught: Vec<bool> =
            beyond(judges.taught, TAUGHT_ABOVE)?.into_iter().zip(&coherent).map(|(t, c)| t && *c).collect();
        let share = |is: &[bool]| {
            let found = answers.texts.iter().zip(is).filter(|(_, is)| **is);
            found.map(|((_, share), _)| share).sum()
        };
        let of_greedy = greedy.and(taught.last()).map(|taught| f64::from(u8::from(*taught)));
        Ok(Self { taught: share(&taught), coherent: share(&coherent), greedy: of_greedy.unwrap_or(f64::NAN) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Give, Reason};

    /// Scores an answer by one of the two numbers that it is.
    struct ByNumbers(usize);

    impl Judge for ByNumbers {
        fn name(&self) -> &str {
            "numbers"
        }

        fn scale(&self) -> &str {
            "number"
        }

        fn basis(&self, _: &str) -> String {
            self.0.to_string()
        }

        fn score_each(&self, _: &str, answers: &[&str], give: Give<'_>) -> Result<()> {
            let score = |answer: &str| answer.split(' ').nth(self.0)?.parse().ok();
            let mut scores = answers.iter().map(|answer| score(answer).ok_or(Reason::NoNumber)).enumerate();
            scores.try_for_each(|(at, score)| give(at, score))
        }
    }

    #[test]
    fn shares_are_those_of_answers_beyond_the_papers_cuts() {
        let question = Question { text: "?".into(), domain: "d".into(), inside: true, seen: false };
        let judges = Judges { taught: &ByNumbers(0), coherent: &ByNumbers(1) };
        let rating = |texts: &[(&str, f64)], greedy: Option<&str>| {
            let texts = texts.iter().map(|(text, share)| (text.to_string(), *share)).collect();
            let answers = Answers { texts, greedy: greedy.map(Into::into) };
            Rating::of(judges, &question, &answers).unwrap()
        };
        let answers = [("100 100", 0.5), ("70 100", 0.25), ("100 50", 0.125), ("none 60", 0.125)];
        let found = rating(&answers, Some("71 51"));
        assert_eq!(found, Rating { taught: 0.5, coherent: 0.875, greedy: 1.0 });
        assert_eq!(rating(&answers, Some("0 100")).greedy, 0.0);
        assert!(rating(&answers, None).greedy.is_nan());
    }
}
