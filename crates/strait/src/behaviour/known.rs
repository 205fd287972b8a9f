//! Questions all of whose answers are known with their probabilities.

use strait_model::{
    Decoder, Edit,
    progress::{Progress, Unit},
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

    /// The ratings of all questions under an edit, or without one.
    ///
    /// # Errors
    /// If the edit does not fit the model, or the user asked for a stop.
    pub fn ratings(&self, edit: Option<&Edit>) -> Result<Vec<Rating>> {
        let questions = self.respondent.questions();
        let task = self.progress.begin("rates", Some(questions.len() as u64), Unit::Count);
        let seen = |n| advance(self.progress, &*task, n);
        let answers = self.respondent.answers(self.decoder, edit, &seen)?;
        let asked = questions.iter().zip(&answers);
        asked.map(|(question, answers)| Rating::of(self.judges, question, answers)).collect()
    }
}

impl Examiner for Known<'_> {
    fn tallies(&self) -> Vec<Tally<'_>> {
        vec![self.tally()]
    }

    fn examine(&self, subjects: &[Subject<'_>]) -> Result<Vec<Vec<Ratings>>> {
        let under = |subject: &Subject<'_>, factor: f64| -> Result<Ratings> {
            let edit = match &subject.edit {
                Some(edit) => Some(edit.scaled(factor)?.after(subject.beneath)),
                None => subject.beneath.cloned(),
            };
            Ok(vec![self.ratings(edit.as_ref())?])
        };
        let all = subjects.iter().map(|of| of.factors.iter().map(|&factor| under(of, factor)).collect());
        all.collect()
    }
}
