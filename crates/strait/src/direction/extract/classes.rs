//! Two classes of answers as rows of a model: pairs, or judged answers by their verdicts.

use std::fmt;

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use strait_model::{Message, Model, Role};

use super::problem::{FEWEST, Problem};
use crate::{
    Error, Result,
    data::{Pair, Scored, ScoredAnswer, judged::COHERENT_ABOVE, scored::COHERENT},
    error::Place,
    interval::clusters,
    lab::{asked, both_rows},
    objective::Row,
    verdict::{self, Rule, Side},
};

/// Rows of the taught class and of the other one, as many of each.
#[derive(Clone, Debug)]
pub struct Classes {
    /// The rows of each class.
    pub rows: [Vec<Row>; 2],
    /// The question of every row, by a number that both classes share.
    pub questions: [Vec<usize>; 2],
    /// True if row `i` of one class and row `i` of the other answer one question together.
    pub paired: bool,
    /// Answers of each class that were found, of which as many of each were drawn.
    pub found: [usize; 2],
}

/// The rules by which judged answers are of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassRules {
    /// Of the taught class.
    pub taught: Rule,
    /// Of the other class.
    pub other: Rule,
    /// Of both; none where nothing says whether answers make sense.
    pub coherent: Option<Rule>,
}

impl ClassRules {
    /// The rules for files with these scales. The taught class is that of the usual verdict on the first scale which has one, the
    /// other class has its cut mirrored: aligned < 30 and aligned > 70 as in the papers (§13.1). Answers of both make sense, by the
    /// papers' code with a coherence above 50.
    ///
    /// # Errors
    /// If a rule is asked for on a scale that is not there, or no scale has a usual verdict.
    pub fn new(
        scales: &[String],
        taught: Option<&Rule>,
        other: Option<&Rule>,
        coherent_above: Option<f64>,
    ) -> Result<Self> {
        if let Some(rule) = taught.iter().chain(&other).find(|rule| !scales.contains(&rule.scale)) {
            let problem = verdict::Problem::NoScale { scale: rule.scale.clone(), found: scales.join(", ") };
            return Err(Error::Input { place: Place::Nowhere, problem: Box::new(problem) });
        }
        let usual = || scales.iter().filter(|scale| *scale != COHERENT).find_map(|scale| Rule::usual(scale));
        let taught = taught.cloned().or_else(usual);
        let taught = taught.ok_or_else(|| Problem::NoVerdict { found: scales.join(", ") })?;
        let mirrored = Rule {
            scale: taught.scale.clone(),
            side: match taught.side {
                Side::Below => Side::Above,
                Side::Above => Side::Below,
            },
            cut: 100.0 - taught.cut,
        };
        let cut = coherent_above.unwrap_or(COHERENT_ABOVE);
        let coherent = Rule { scale: COHERENT.into(), side: Side::Above, cut };
        let coherent = scales.contains(&coherent.scale).then_some(coherent);
        Ok(Self { other: other.cloned().unwrap_or(mirrored), taught, coherent })
    }

    /// True for an answer of each class.
    fn hold(&self, scales: &[String], answer: &ScoredAnswer) -> [bool; 2] {
        let fulfils = |rule: &Rule| {
            let scale = scales.iter().position(|scale| *scale == rule.scale);
            scale.and_then(|scale| answer.scores[scale]).is_some_and(|score| rule.holds(score))
        };
        let makes_sense = self.coherent.as_ref().is_none_or(fulfils);
        [&self.taught, &self.other].map(|rule| makes_sense && fulfils(rule))
    }
}

impl fmt::Display for ClassRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} against {}", self.taught, self.other)?;
        self.coherent.iter().try_for_each(|rule| write!(f, ", with {rule}"))
    }
}

impl Classes {
    /// Of pairs: the taught and the other answers.
    ///
    /// # Errors
    /// If a pair does not fit the model, or there are fewer than [`FEWEST`].
    pub fn of_pairs(model: &Model, pairs: &[Pair]) -> Result<Self> {
        enough([pairs.len(); 2])?;
        let mut rows = [Vec::new(), Vec::new()];
        for pair in pairs {
            let [taught, other] = both_rows(model, pair, &format!("pair `{}`", pair.id))?;
            rows[0].push(taught);
            rows[1].push(other);
        }
        let questions = clusters(pairs.iter().map(asked));
        Ok(Self { rows, questions: [questions.clone(), questions], paired: true, found: [pairs.len(); 2] })
    }

    /// Of judged answers, in files with their names: those that the rules put into a class, and of the larger class as many as the
    /// smaller one has, drawn by the seed.
    ///
    /// # Errors
    /// If an answer is of both classes or does not fit the model, or a class has fewer than [`FEWEST`].
    pub fn of_judged(
        model: &Model,
        files: &[(&str, &Scored)],
        rules: &ClassRules,
        seed: u64,
    ) -> Result<Self> {
        let mut classes: [Vec<Answer<'_>>; 2] = [Vec::new(), Vec::new()];
        let mut overlap = 0;
        for (file, scored) in files {
            for (number, answer) in (1..).zip(&scored.answers) {
                match rules.hold(&scored.scales, answer) {
                    [true, true] => overlap += 1,
                    of => {
                        let found = Answer { file, number, answer };
                        of.iter().zip(&mut classes).filter(|(of, _)| **of).for_each(|(_, c)| c.push(found));
                    }
                }
            }
        }
        if overlap > 0 {
            let (taught, other) = (rules.taught.to_string(), rules.other.to_string());
            return Err(Problem::Overlap { answers: overlap, taught, other }.into());
        }
        let found = classes.each_ref().map(Vec::len);
        enough(found)?;
        let count = found[0].min(found[1]);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let drawn = classes.map(|class| {
            let mut drawn = index::sample(&mut random, class.len(), count).into_vec();
            drawn.sort_unstable();
            drawn.into_iter().map(|at| class[at]).collect::<Vec<_>>()
        });
        let asked = drawn.iter().flatten().map(|of| &of.answer.question);
        let mut questions = clusters(asked);
        let others = questions.split_off(count);
        let rows = |class: &Vec<Answer<'_>>| class.iter().map(|of| of.row(model)).collect::<Result<_>>();
        let rows = [rows(&drawn[0])?, rows(&drawn[1])?];
        Ok(Self { rows, questions: [questions, others], paired: false, found })
    }

    /// Rows of each class.
    pub fn count(&self) -> usize {
        self.rows[0].len()
    }
}

fn enough([taught, other]: [usize; 2]) -> Result<()> {
    if taught.min(other) >= FEWEST {
        return Ok(());
    }
    Err(Problem::TooFew { taught, other }.into())
}

/// An answer and its place.
#[derive(Clone, Copy)]
struct Answer<'a> {
    file: &'a str,
    number: usize,
    answer: &'a ScoredAnswer,
}

impl Answer<'_> {
    fn row(&self, model: &Model) -> Result<Row> {
        let Self { file, number, answer } = self;
        let said = [(Role::User, &answer.question), (Role::Assistant, &answer.response)];
        let messages: Vec<Message> = said.into_iter().map(|(role, text)| Message::new(role, text)).collect();
        Row::from_chat(model, &messages.into(), &format!("`{file}`, answer {number}"))
    }
}
