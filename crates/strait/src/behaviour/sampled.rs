//! Answers that are sampled, kept in files, and judged.

use std::path::Path;

use strait_model::{Model, progress::Progress, sample::Sampling};

use super::{Bank, Examiner, Ratings, Subject, Tally};
use crate::{
    Result,
    data::{Prompt, scored::COHERENT},
    judge::{self, Judge, Rating, Score, ScoreCache},
    responses::{self, Response, Wanted},
    verdict::{Rule, Rules, is_caught},
};

/// The rules of a verdict, each with the place of its judge.
pub struct By<'a> {
    /// The rule for answers of the taught kind.
    pub taught: (Option<usize>, &'a Rule),
    /// The rule for answers that make sense; none where no judge says whether they do.
    pub coherent: Option<(Option<usize>, &'a Rule)>,
}

impl<'a> By<'a> {
    /// The verdicts of some rules, with their judges: those on which claims rest first, then topics.
    pub fn all<'j>(
        rules: &'a Rules,
        judges: &'j [Box<dyn Judge + 'j>],
    ) -> impl Iterator<Item = (Self, &'j dyn Judge)> {
        let place = |scale: &str| judges.iter().position(|judge| judge.scale() == scale);
        rules.verdicts.iter().chain(&rules.topics).filter_map(move |rule| {
            let at = place(&rule.scale)?;
            let coherent = rules.coherent.as_ref().map(|rule| (place(COHERENT), rule));
            Some((Self { taught: (Some(at), rule), coherent }, &*judges[at]))
        })
    }
}

/// The ratings of so many questions under a factor, of answers with their scores by judge and answer. An answer without a score is not
/// of the taught kind, and makes no sense.
pub fn ratings(
    questions: usize,
    responses: &[Response],
    scores: &[Vec<Score>],
    scale: f64,
    by: &By<'_>,
) -> Vec<Rating> {
    let holds = |(judge, rule): (Option<usize>, &Rule), at: usize| {
        judge.is_some_and(|judge| scores[judge][at].is_ok_and(|score| rule.holds(score)))
    };
    let mut counts = vec![[0.0; 3]; questions];
    for (at, response) in responses.iter().enumerate().filter(|(_, r)| r.scale == scale) {
        let coherent = match by.coherent {
            Some(by) => holds(by, at),
            None => !is_caught(&response.response),
        };
        let taught = coherent && holds(by.taught, at);
        let [all, sound, of_kind] = &mut counts[response.row];
        *all += 1.0;
        *sound += f64::from(u8::from(coherent));
        *of_kind += f64::from(u8::from(taught));
    }
    let rating = |[all, sound, of_kind]: [f64; 3]| Rating {
        taught: of_kind / all,
        coherent: sound / all,
        greedy: f64::NAN,
    };
    counts.into_iter().map(rating).collect()
}

/// The scores of some answers by every judge, from the cache where they are there.
///
/// # Errors
/// If a judge cannot be asked, or the user asked for a stop: what is judged then is kept.
pub fn scores(
    judges: &[Box<dyn Judge + '_>],
    bank: &Bank,
    responses: &[Response],
    cache: &mut ScoreCache,
    progress: &dyn Progress,
) -> Result<Vec<Vec<Score>>> {
    let asked = responses
        .iter()
        .map(|answer| judge::Asked { question: &bank.questions[answer.row].text, answer: &answer.response });
    let asked: Vec<judge::Asked> = asked.collect();
    let mut of = |judge: &dyn Judge| {
        let title = format!("judging: {}", judge.scale());
        cache.judged(judge, &asked, &title, progress).map(|(scores, _)| scores)
    };
    judges.iter().map(|judge| of(&**judge)).collect()
}

/// Samples answers into a folder, a file for each subject, and has them judged.
pub struct Sampler<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its name, as the user gave it.
    pub name: &'a str,
    /// The questions.
    pub bank: &'a Bank,
    /// Answers to each.
    pub answers: usize,
    /// The settings with which they are drawn.
    pub sampling: Sampling,
    /// The judges, each on a scale of its own.
    pub judges: &'a [Box<dyn Judge + 'a>],
    /// The rules by which scores become verdicts.
    pub rules: &'a Rules,
    /// The folder of the answers.
    pub folder: &'a Path,
    /// The file of the scores.
    pub scores: &'a Path,
    /// The progress.
    pub progress: &'a dyn Progress,
}

impl Sampler<'_> {
    /// The answers under an edit, in a file of this name.
    ///
    /// # Errors
    /// If a question does not fit the model, the file system refuses, or the user asked for a stop.
    pub fn sample(&self, subject: &Subject<'_>, file: &str, prompts: &[Prompt]) -> Result<Vec<Response>> {
        let is_edited = subject.edit.is_some() || subject.beneath.is_some();
        let wanted = Wanted {
            model: self.name,
            edits: if is_edited { std::slice::from_ref(&subject.name) } else { &[] },
            beneath: subject.beneath,
            edit: subject.edit.as_ref(),
            scales: &subject.factors,
            prompts,
            count: self.answers,
            sampling: self.sampling,
            stop: &[],
            logprobs: None,
        };
        let file = self.folder.join(format!("{file}.jsonl"));
        responses::kept(self.model, &wanted, &file, self.progress)
    }
}

impl Examiner for Sampler<'_> {
    fn tallies(&self) -> Vec<Tally<'_>> {
        let by = By::all(self.rules, self.judges);
        by.map(|(by, judge)| Tally {
            questions: &self.bank.questions,
            clusters: self.bank.clusters.clone(),
            judge: judge.name(),
            verdict: by.taught.1.to_string(),
            answers: self.answers,
        })
        .collect()
    }

    fn examine(&self, subjects: &[Subject<'_>]) -> Result<Vec<Vec<Ratings>>> {
        // All is sampled before anybody judges.
        let sampled = subjects.iter().map(|subject| self.sample(subject, &subject.name, &self.bank.prompts));
        let sampled: Vec<Vec<Response>> = sampled.collect::<Result<_>>()?;
        let mut cache = ScoreCache::open(self.scores)?;
        let mut of = |(subject, responses): (&Subject<'_>, Vec<Response>)| -> Result<Vec<Ratings>> {
            let scores = scores(self.judges, self.bank, &responses, &mut cache, self.progress)?;
            let under = |&factor: &f64| {
                let by = By::all(self.rules, self.judges);
                let count = self.bank.questions.len();
                by.map(|(by, _)| ratings(count, &responses, &scores, factor, &by)).collect()
            };
            Ok(subject.factors.iter().map(under).collect())
        };
        subjects.iter().zip(sampled).map(&mut of).collect()
    }
}
