//! Rates of questions of files: answers are sampled, kept in files, and judged.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use strait_model::{Edit, progress::Progress, sample::Sampling};

use super::{
    Asked, BASE, RateRow, ResponseRow, cost,
    judges::{self, Judging, with_judges},
    reading::{Found, Of},
};
use crate::{
    Error, Result,
    behaviour::{Bank, By, Examiner, Sampler, Subject, ratings, scores},
    data::Prompt,
    interval::Interval,
    judge::{Judge, Score, ScoreCache},
    keys::last_part,
    lab::{Estimate, Lab, Scene, Solved},
    measure::QuestionFiles,
    page::numbers::percent,
    responses::Response,
    verdict::{Problem, Rule, Rules},
};

/// The sampling and judging of answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Questions inside the domain.
    pub narrow: QuestionFiles,
    /// Questions outside it.
    pub general: QuestionFiles,
    /// The judges, each on a scale of its own.
    pub judges: Vec<Judging>,
    /// Answers to each question.
    pub answers: usize,
    /// The most tokens of an answer.
    pub tokens: usize,
    /// The temperature at which they are drawn.
    pub temperature: f64,
    /// Verdicts in place of the usual ones.
    #[serde(default)]
    pub verdicts: Vec<String>,
    /// The score of coherence above which an answer makes sense.
    pub coherent: f64,
    /// Factors of the solutions.
    pub scales: Vec<f64>,
}

/// The factor of a solution that goes on from another one: what is asked of it is where its training went.
const AS_TRAINED: [f64; 1] = [1.0];

/// The file of the scores.
const SCORES: &str = "scores.jsonl";

/// The file of base's answers: no solution's name has an underscore.
const OF_BASE: &str = "_base";

/// The answers of a solution or of base, under a cue or none and all factors, with the scores of every judge.
struct Judged<'a> {
    solution: &'a str,
    cue: &'a str,
    norm: f64,
    responses: Vec<Response>,
    /// By judge and response.
    scores: Vec<Vec<Score>>,
}

impl Sampled {
    /// The rules by which scores become verdicts.
    ///
    /// # Errors
    /// If a verdict is asked for on a scale that no judge has.
    pub fn rules(&self) -> Result<Rules, Problem> {
        let scales: Vec<String> = self.judges.iter().flat_map(Judging::scales).map(str::to_string).collect();
        let asked: Vec<Rule> = self.verdicts.iter().filter_map(|rule| rule.parse().ok()).collect();
        Rules::new(&scales, &asked, Some(self.coherent))
    }

    /// What its results follow from: not the terms on which endpoints are asked.
    pub(super) fn without_terms(&self) -> Self {
        Self { judges: self.judges.iter().map(Judging::without_terms).collect(), ..self.clone() }
    }

    /// Refuses judges that could not be asked.
    pub(super) fn ready(&self, progress: &dyn Progress) -> Result<()> {
        judges::ready(&self.judges, progress)
    }

    pub(super) fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        // Base answers once, and each solution under all its factors, which a judge gets together.
        let scales = |follows: bool| if follows { AS_TRAINED.len() } else { self.scales.len() };
        let solutions = scene.solutions.iter().map(|solution| scales(solution.follows));
        let factors: Vec<usize> = std::iter::once(1).chain(solutions).collect();
        self.estimate_of(scene.lab, (&factors, 1 + scene.lab.cues.len()), estimate);
    }

    /// Adds the answers of models to all questions, each under so many factors, all of it so many times.
    pub(super) fn estimate_of(
        &self,
        lab: &Lab<'_>,
        (factors, times): (&[usize], usize),
        estimate: &mut Estimate,
    ) {
        let tokenizer = &lab.model.tokenizer;
        let tokens =
            |prompt: &Prompt| tokenizer.encode_prompt(&prompt.conversation).map_or(0, |ids| ids.len());
        let passes = (times * factors.iter().sum::<usize>()) as f64;
        let prompts = lab.questions.iter().flatten();
        let (questions, read) =
            prompts.fold((0, 0), |(count, sum), prompt| (count + 1, sum + tokens(prompt)));
        estimate.answers(passes * read as f64, passes * (questions * self.answers * self.tokens) as f64);
        let together: Vec<usize> = factors.iter().map(|factors| factors * self.answers).collect();
        cost::add(&self.judges, lab, (&together, times), self.tokens, estimate);
    }

    /// The differences that so many answers can tell.
    pub(super) fn outlook(&self, scene: &Scene<'_>) -> Vec<String> {
        let [inside, outside] = scene.lab.questions.each_ref().map(Vec::len);
        let answers = (inside.min(outside) * self.answers).max(1);
        let none = Interval::of_trials(0, answers).high;
        let apart = |points: f64| (TOLD * AT_A_HALF / (points * points)).ceil();
        let mut lines = vec![format!(
            "rates: {inside} questions inside and {outside} outside, {} answers to each; of {answers} answers, none is a rate of at \
             most {}, and two rates near a half are told apart four times of five where they lie {} apart. A difference of \
             {} takes {} answers on either side, one of {} takes {}, one of {} takes {}; answers to one question are alike, so \
             that more questions tell more than more answers.",
            self.answers,
            percent(none),
            percent((TOLD * AT_A_HALF / answers as f64).sqrt().min(1.0)),
            percent(0.1),
            apart(0.1),
            percent(0.2),
            apart(0.2),
            percent(0.4),
            apart(0.4),
        )];
        lines.extend(cost::not_counted(&self.judges, scene.lab));
        lines
    }

    pub(super) fn run(
        &self,
        lab: &mut Lab<'_>,
        solved: &dyn Solved,
    ) -> Result<(Vec<RateRow>, Vec<ResponseRow>)> {
        self.examined(lab, (solved.folder(), ""), |sampler| self.read(lab, solved, sampler))
    }

    /// Opens the judges, and does something with the examiner, who keeps scores in a folder, and answers below it; one without a folder
    /// keeps nothing.
    ///
    /// # Errors
    /// If a judge cannot be asked, or what is done fails.
    pub(super) fn examined<T>(
        &self,
        lab: &Lab<'_>,
        (folder, below): (Option<PathBuf>, &str),
        act: impl FnOnce(&Sampler<'_>) -> Result<T>,
    ) -> Result<T> {
        let bank = Bank::of(&lab.questions);
        let own = folder.is_none().then(tempfile::tempdir).transpose();
        let own = own.map_err(strait_model::Error::io("answers", "make a folder for them"))?;
        let folder = folder.or(own.as_ref().map(|own| own.path().to_path_buf())).unwrap_or_default();
        let rules = self.rules().map_err(|problem| Error::input(&folder, None, problem))?;
        let name = last_part(Path::new(&lab.model.provenance.located.name));
        let sampling = Sampling {
            temperature: self.temperature,
            max_tokens: self.tokens,
            seed: lab.seed,
            ..Sampling::default()
        };
        with_judges(&self.judges, lab, &folder, |judges| {
            act(&Sampler {
                model: &lab.model,
                name: &name,
                bank: &bank,
                answers: self.answers,
                sampling,
                judges,
                rules: &rules,
                folder: &folder.join(below),
                scores: &folder.join(SCORES),
                progress: lab.progress,
            })
        })
    }

    fn read(
        &self,
        lab: &Lab<'_>,
        solved: &dyn Solved,
        sampler: &Sampler<'_>,
    ) -> Result<(Vec<RateRow>, Vec<ResponseRow>)> {
        let Sampler { bank, judges, .. } = *sampler;
        // All is sampled before anybody judges.
        let solutions = solved.every()?;
        let cues = lab.cues.iter().map(|cue| (cue.name.as_str(), Cow::Owned(bank.under(cue))));
        let mut judged = Vec::new();
        for (cue, prompts) in std::iter::once(("", Cow::Borrowed(&bank.prompts[..]))).chain(cues) {
            let sample = |name: &str, edit: Option<&Edit>, factors: &[f64]| {
                let (name, edit) = (name.to_string(), edit.cloned());
                let file = if cue.is_empty() { name.clone() } else { format!("{name}.{cue}") };
                let subject = Subject { name, beneath: None, edit, factors: factors.to_vec() };
                sampler.sample(&subject, &file, &prompts)
            };
            let responses = sample(OF_BASE, None, &[0.0])?;
            judged.push(Judged { solution: BASE, cue, norm: 0.0, responses, scores: Vec::new() });
            for solution in &solutions {
                let scales = if solved.follows(&solution.name) { &AS_TRAINED[..] } else { &self.scales[..] };
                let responses = sample(&solution.name, Some(&solution.edit), scales)?;
                let norm = solution.edit.norm()?;
                judged.push(Judged { solution: &solution.name, cue, norm, responses, scores: Vec::new() });
            }
        }
        let mut cache = ScoreCache::open(sampler.scores)?;
        for judged in &mut judged {
            judged.scores = scores(judges, bank, &judged.responses, &mut cache, lab.progress)?;
        }
        let rows = rows(sampler, &judged);
        let answers = judged.iter().flat_map(|judged| judged.answers(bank, judges, lab.seed));
        Ok((rows, answers.collect()))
    }
}

fn rows(sampler: &Sampler<'_>, judged: &[Judged<'_>]) -> Vec<RateRow> {
    let mut rows = Vec::new();
    for (by, tally) in By::all(sampler.rules, sampler.judges).map(|(by, _)| by).zip(sampler.tallies()) {
        // Base comes first under every cue.
        for under in judged.chunk_by(|one, next| one.cue == next.cue) {
            let [base, ..] = under else { continue };
            let base = base.found(sampler.bank, 0.0, &by);
            for judged in under {
                for scale in judged.scales() {
                    let of = Of { solution: judged.solution, scale, cue: judged.cue };
                    rows.extend(tally.rows(of, &judged.found(sampler.bank, scale, &by), &base));
                }
            }
        }
    }
    rows
}

/// 2 (z of 95 % + z of 80 %)²: that over the square of a difference is, times p (1 - p), the number of answers by which an interval of
/// 95 % keeps off zero four times of five.
const TOLD: f64 = 2.0 * 7.849;
/// p (1 - p) of a rate of a half, where it is largest.
const AT_A_HALF: f64 = 0.25;

impl Judged<'_> {
    /// The factors, in the order of the answers.
    fn scales(&self) -> Vec<f64> {
        let mut scales = Vec::new();
        for response in &self.responses {
            if !scales.contains(&response.scale) {
                scales.push(response.scale);
            }
        }
        scales
    }

    /// The ratings under a factor.
    fn found(&self, bank: &Bank, scale: f64, by: &By<'_>) -> Found {
        let ratings = ratings(bank.questions.len(), &self.responses, &self.scores, scale, by);
        Found { ratings, norm: scale * self.norm, loss: f64::NAN }
    }

    /// The answers as rows, one for each judge.
    fn answers<'j>(&self, bank: &Bank, judges: &'j [Box<dyn Judge + 'j>], seed: u64) -> Vec<ResponseRow> {
        let row = |(at, response): (usize, &Response), (judge, scores): (&dyn Judge, &Vec<Score>)| {
            let question = &bank.questions[response.row];
            ResponseRow {
                solution: self.solution.into(),
                scale: response.scale,
                seed,
                cue: self.cue.into(),
                asked: if question.inside { Asked::Narrow } else { Asked::General },
                domain: question.domain.clone(),
                question_id: response.question_id.clone(),
                question: response.question.clone(),
                sample: response.sample,
                response: response.response.clone(),
                tokens: response.tokens,
                judge: judge.name().into(),
                judged: judge.scale().into(),
                score: scores[at].unwrap_or(f64::NAN),
                reason: scores[at].err().map_or(Cow::Borrowed(""), |reason| reason.name().into()).into(),
            }
        };
        let answers = self.responses.iter().enumerate();
        let judged = || judges.iter().map(|judge| &**judge).zip(&self.scores);
        answers.flat_map(|answer| judged().map(move |judge| row(answer, judge))).collect()
    }
}
