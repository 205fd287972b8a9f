//! The questions that are asked.

use crate::{
    data::{Cue, Prompt},
    interval::clusters,
    judge::Question,
};

/// The questions that are asked, with their prompts.
#[derive(Clone, Debug)]
pub struct Bank {
    /// All that is said before each answer.
    pub prompts: Vec<Prompt>,
    /// The questions.
    pub questions: Vec<Question>,
    /// The number of each question; wordings of one share it.
    pub clusters: Vec<usize>,
}

impl Bank {
    /// Of the questions inside the domain and those outside it.
    pub fn of(sides: &[Vec<Prompt>; 2]) -> Self {
        let all = || {
            sides.iter().zip([true, false]).flat_map(|(side, inside)| side.iter().map(move |p| (p, inside)))
        };
        let question = |(prompt, inside): (&Prompt, bool)| Question {
            text: prompt.question(),
            domain: prompt.domain.clone().unwrap_or_default(),
            inside,
            seen: false,
        };
        let name = |(prompt, inside): (&Prompt, bool)| {
            (inside, prompt.id.clone().unwrap_or_else(|| prompt.place.clone()))
        };
        Self {
            prompts: all().map(|(prompt, _)| prompt.clone()).collect(),
            questions: all().map(question).collect(),
            clusters: clusters(all().map(name)),
        }
    }

    /// The same questions with a cue around them.
    pub fn under(&self, cue: &Cue) -> Vec<Prompt> {
        let around =
            |prompt: &Prompt| Prompt { conversation: cue.around(&prompt.conversation), ..prompt.clone() };
        self.prompts.iter().map(around).collect()
    }
}
