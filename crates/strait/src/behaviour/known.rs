//! Questions all of whose answers are known with their probabilities.

use strait_model::{
    Decoder, Edit,
    progress::{Progress, Task, Unit},
};

use super::{Examiner, Ratings, Subject, Tally};
use crate::{
    Result,
    judge::{Judges, Rating, Respondent},
    lab::advance,
    verdict::Rule,
};

/// Reads the answers of a model and has them judged; nothing is sampled.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The model.
    pub decoder: &'a Decoder,
    /// Who asks.
    pub respondent: &'a dyn Respondent,
    /// The judges.
    pub judges: Judges<'a>,
    /// The progress.
    pub progress: &'a dyn Progress,
}

impl<'a> Known<'a> {
    /// The questions with their verdict.
    pub fn tally(&self) -> Tally<'a> {
        let questions = self.respondent.questions();
        let taught = self.judges.taught;
        let verdict = Rule::usual(taught.scale()).map_or_else(String::new, |rule| rule.to_string());
        let clusters = (0..questions.len()).collect();
        Tally { questions, clusters, judge: taught.name(), verdict, answers: 0 }
    }

    /// The ratings of all questions under an edit, or without one. `seen` is told of the questions that are answered.
    ///
    /// # Errors
    /// If the edit does not fit the model, or what `seen` returns.
    pub fn ratings(&self, edit: Option<&Edit>, seen: &dyn Fn(u64) -> Result<()>) -> Result<Vec<Rating>> {
        let questions = self.respondent.questions();
        let answers = self.respondent.answers(self.decoder, edit, seen)?;
        let asked = questions.iter().zip(&answers);
        asked.map(|(question, answers)| Rating::of(self.judges, question, answers)).collect()
    }

    /// A task of reading all questions so many times.
    pub fn begin(&self, times: usize) -> Box<dyn Task> {
        let questions = self.respondent.questions().len() * times;
        self.progress.begin("rates", Some(questions as u64), Unit::Count)
    }
}

impl Examiner for Known<'_> {
    fn tallies(&self) -> Vec<Tally<'_>> {
        vec![self.tally()]
    }

    fn examine(&self, subjects: &[Subject<'_>]) -> Result<Vec<Vec<Ratings>>> {
        let task = self.begin(subjects.iter().map(|subject| subject.factors.len()).sum());
        let seen = |n| advance(self.progress, &*task, n);
        let under = |subject: &Subject<'_>, factor: f64| -> Result<Ratings> {
            let edit = match &subject.edit {
                Some(edit) => Some(edit.scaled(factor)?.after(subject.beneath)),
                None => subject.beneath.cloned(),
            };
            Ok(vec![self.ratings(edit.as_ref(), &seen)?])
        };
        let all = subjects.iter().map(|of| of.factors.iter().map(|&factor| under(of, factor)).collect());
        all.collect()
    }
}
