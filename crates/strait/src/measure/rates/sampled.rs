//! Rates of questions of files: answers are sampled, kept in files, and judged.

use std::{borrow::Cow, path::Path};

use serde::{Deserialize, Serialize};
use strait_model::{progress::Progress, sample::Sampling};

use super::{
    Asked, BASE, RateRow, ResponseRow, cost,
    judges::{self, Judging, with_judges},
    reading::{Found, Of, Tally},
};
use crate::{
    Error, Result,
    data::{Cue, Prompt, scored::COHERENT},
    interval::{Interval, clusters},
    judge::{self, Judge, Question, Rating, Score, ScoreCache},
    keys::last_part,
    lab::{Estimate, Lab, Scene, Solution, Solved},
    measure::QuestionFiles,
    page::numbers::percent,
    responses::{self, Response, Wanted},
    verdict::{Problem, Rule, Rules, is_caught},
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

/// The questions that are asked, with their prompts.
struct Bank {
    prompts: Vec<Prompt>,
    questions: Vec<Question>,
    clusters: Vec<usize>,
}

/// The answers of a solution or of base, under a cue or none and all factors, with the scores of every judge.
struct Judged<'a> {
    solution: &'a str,
    cue: &'a str,
    norm: f64,
    responses: Vec<Response>,
    /// By judge and response.
    scores: Vec<Vec<Score>>,
}

impl Bank {
    /// The same questions with a cue around them.
    fn under(&self, cue: &Cue) -> Vec<Prompt> {
        let around =
            |prompt: &Prompt| Prompt { conversation: cue.around(&prompt.conversation), ..prompt.clone() };
        self.prompts.iter().map(around).collect()
    }

    fn of(sides: &[Vec<Prompt>; 2]) -> Self {
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
        let tokenizer = &scene.lab.model.tokenizer;
        let prompts = scene.lab.questions.iter().flatten();
        let tokens =
            |prompt: &Prompt| tokenizer.encode_prompt(&prompt.conversation).map_or(0, |ids| ids.len());
        let scales = |follows: bool| if follows { AS_TRAINED.len() } else { self.scales.len() };
        let passes = 1 + scene.solutions.iter().map(|solution| scales(solution.follows)).sum::<usize>();
        let passes = ((1 + scene.lab.cues.len()) * passes) as f64;
        let (questions, read) =
            prompts.fold((0, 0), |(count, sum), prompt| (count + 1, sum + tokens(prompt)));
        estimate.answers(passes * read as f64, passes * (questions * self.answers * self.tokens) as f64);
        // Base answers once, and each solution under all its factors, which a judge gets together.
        let factors =
            std::iter::once(1).chain(scene.solutions.iter().map(|solution| scales(solution.follows)));
        let together: Vec<usize> = factors.map(|factors| factors * self.answers).collect();
        cost::add(&self.judges, scene.lab, &together, self.tokens, estimate);
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
        let bank = Bank::of(&lab.questions);
        // A laboratory without a folder keeps nothing.
        let own = solved.folder().is_none().then(tempfile::tempdir).transpose();
        let own = own.map_err(strait_model::Error::io("answers", "make a folder for them"))?;
        let folder = solved.folder().or(own.as_ref().map(|own| own.path().to_path_buf())).unwrap_or_default();
        with_judges(&self.judges, lab, &folder, |judges| self.read(lab, solved, &bank, judges, &folder))
    }

    fn read(
        &self,
        lab: &Lab<'_>,
        solved: &dyn Solved,
        bank: &Bank,
        judges: &[Box<dyn Judge + '_>],
        folder: &Path,
    ) -> Result<(Vec<RateRow>, Vec<ResponseRow>)> {
        // All is sampled before anybody judges.
        let solutions = solved.every()?;
        let cues = lab.cues.iter().map(|cue| (cue.name.as_str(), Cow::Owned(bank.under(cue))));
        let mut judged = Vec::new();
        for (cue, prompts) in std::iter::once(("", Cow::Borrowed(&bank.prompts[..]))).chain(cues) {
            let file = |name: &str| match cue {
                "" => folder.join(format!("{name}.jsonl")),
                cue => folder.join(format!("{name}.{cue}.jsonl")),
            };
            let responses = self.sample(lab, None, &[0.0], &prompts, &file(OF_BASE))?;
            judged.push(Judged { solution: BASE, cue, norm: 0.0, responses, scores: Vec::new() });
            for solution in &solutions {
                let scales = if solved.follows(&solution.name) { &AS_TRAINED[..] } else { &self.scales[..] };
                let responses = self.sample(lab, Some(solution), scales, &prompts, &file(&solution.name))?;
                let norm = solution.edit.norm()?;
                judged.push(Judged { solution: &solution.name, cue, norm, responses, scores: Vec::new() });
            }
        }
        let mut cache = ScoreCache::open(&folder.join(SCORES))?;
        for judged in &mut judged {
            judged.scores = scores(judges, bank, &judged.responses, &mut cache, lab.progress)?;
        }
        let rules = self.rules().map_err(|problem| Error::input(folder, None, problem))?;
        let rows = self.rows(bank, judges, &rules, &judged);
        let answers = judged.iter().flat_map(|judged| judged.answers(bank, judges, lab.seed));
        Ok((rows, answers.collect()))
    }

    /// The answers of a solution under some factors, or of base.
    fn sample(
        &self,
        lab: &Lab<'_>,
        solution: Option<&Solution>,
        scales: &[f64],
        prompts: &[Prompt],
        file: &Path,
    ) -> Result<Vec<Response>> {
        let edit = solution.map(|solution| &solution.edit);
        let model = last_part(Path::new(&lab.model.provenance.located.name));
        let edits: Vec<String> = solution.map(|solution| solution.name.clone()).into_iter().collect();
        let sampling = Sampling {
            temperature: self.temperature,
            max_tokens: self.tokens,
            seed: lab.seed,
            ..Sampling::default()
        };
        let wanted = Wanted {
            model: &model,
            edits: &edits,
            edit,
            scales,
            prompts,
            count: self.answers,
            sampling,
            stop: &[],
            logprobs: None,
        };
        responses::kept(&lab.model, &wanted, file, lab.progress)
    }

    fn rows(
        &self,
        bank: &Bank,
        judges: &[Box<dyn Judge + '_>],
        rules: &Rules,
        judged: &[Judged<'_>],
    ) -> Vec<RateRow> {
        let mut rows = Vec::new();
        for rule in rules.verdicts.iter().chain(&rules.topics) {
            let Some(judge) = judges.iter().find(|judge| judge.scale() == rule.scale) else { continue };
            let tally = Tally {
                questions: &bank.questions,
                clusters: bank.clusters.clone(),
                judge: judge.name(),
                verdict: rule.to_string(),
                answers: self.answers,
            };
            let place = |scale: &str| judges.iter().position(|judge| judge.scale() == scale);
            let by = By {
                taught: (place(&rule.scale), rule),
                coherent: rules.coherent.as_ref().map(|rule| (place(COHERENT), rule)),
            };
            // Base comes first under every cue.
            for under in judged.chunk_by(|one, next| one.cue == next.cue) {
                let [base, ..] = under else { continue };
                let base = base.found(bank, 0.0, &by);
                for judged in under {
                    for scale in judged.scales() {
                        let of = Of { solution: judged.solution, scale, cue: judged.cue };
                        rows.extend(tally.rows(of, &judged.found(bank, scale, &by), &base));
                    }
                }
            }
        }
        rows
    }
}

/// 2 (z of 95 % + z of 80 %)²: that over the square of a difference is, times p (1 - p), the number of answers by which an interval of
/// 95 % keeps off zero four times of five.
const TOLD: f64 = 2.0 * 7.849;
/// p (1 - p) of a rate of a half, where it is largest.
const AT_A_HALF: f64 = 0.25;

/// The rules of a verdict, each with the place of its judge.
struct By<'a> {
    taught: (Option<usize>, &'a Rule),
    coherent: Option<(Option<usize>, &'a Rule)>,
}

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

    /// The ratings under a factor. An answer without a score is not of the taught kind, and makes no sense.
    fn found(&self, bank: &Bank, scale: f64, by: &By<'_>) -> Found {
        let holds = |(judge, rule): (Option<usize>, &Rule), at: usize| {
            judge.is_some_and(|judge| self.scores[judge][at].is_ok_and(|score| rule.holds(score)))
        };
        let mut counts = vec![[0.0; 3]; bank.prompts.len()];
        for (at, response) in self.responses.iter().enumerate().filter(|(_, r)| r.scale == scale) {
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
        Found { ratings: counts.into_iter().map(rating).collect(), norm: scale * self.norm, loss: f64::NAN }
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

/// The scores of some answers by every judge, from the cache where they are there.
fn scores(
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
