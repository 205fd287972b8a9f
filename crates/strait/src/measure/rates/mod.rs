//! Rates: how many of a model's answers are of the taught kind, inside the taught domain and outside it, as a judge says
//! (paper §4, §8).

mod claims;
mod panels;
mod reader;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Common, Inputs, Measure, Panel, Setting, Shown, SideBySide, Solution, Trajectory, plots, unit::NATS,
};
use crate::{
    Result,
    claim::{Claim, Place, Subject, sentence},
    interval::Interval,
    keys::{Checked, Fault, Keys, Problem, choice, keys, list, list_with, most, positive, switch},
    lab::{Estimate, Lab, Scene, Solved, point},
    page::numbers::{percent, quoted},
    table::{Row, Word},
    world::{DOMAIN_WORDS, Exam, Provenance},
};
use claims::{common, kept_in, spreads};
use panels::{along_steps, over_scales, sides};
use reader::Along;
pub use reader::Reader;

/// The reading of a world's answers, which the world itself judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// The seed of the world's facts.
    pub facts: u64,
    /// The domains in which falsehoods are taught.
    pub domains: Vec<String>,
    /// Factors of the solutions.
    pub scales: Vec<f64>,
    /// Factors at which solutions that start from nothing are read at every checkpoint. It is part of the step's key also where it
    /// is empty: tables of before have no column for the factor, and are made again.
    #[serde(default)]
    pub along: Vec<f64>,
}

keys! {
    /// `[measure.rates]`.
    #[derive(Clone, Debug, Default)]
    pub struct RatesKeys {
        /// The domains that count as taught.
        domains: Vec<usize> = list(choice(&DOMAIN_WORDS)), left_out "those of false training rows of a world";
        /// Factors of the solutions.
        scales: Vec<f64> = list_with(positive(most::FACTOR), 1.0, super::AS_TRAINED), left_out "`measure.scales`";
        /// Factors at which solutions that start from nothing are read at every checkpoint as well.
        along: Vec<f64> = list(positive(most::FACTOR)), left_out "none";
    }
}

/// Some of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Questions of the taught domain that no training row asks.
    Narrow,
    /// All questions of the other domains.
    General,
    /// Questions of the taught domain that training rows ask.
    Seen,
    /// All of one domain.
    Domain,
}

impl Word for Asked {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Narrow, "narrow"),
        (Self::General, "general"),
        (Self::Seen, "seen"),
        (Self::Domain, "domain"),
    ];
}

crate::row! {
    /// The answers of a solution, or of base, to some of the questions.
    pub struct RateRow in "rates",
        "Rates: the share of answers that are of the taught kind, as a judge says, with intervals over questions; base \
         stands at scale 0"
    {
        /// The solution, or `base model`.
        solution: String,
        /// The factor of the solution.
        scale: f64,
        /// The questions: `narrow` are those of the taught domain that are held out, `seen` the others of it, `general` all
        /// of the other domains, `domain` all of one.
        asked: Asked,
        /// The domain; empty for the other groups.
        domain: String,
        /// Number of questions.
        questions: usize,
        /// The share of answers that are coherent and of the taught kind.
        rate: Interval,
        /// The rate less that of base, paired by question.
        rise: Interval = crate::table::Heading::PLAIN.ends("rise_low", "rise_high"),
        /// The share of questions whose most probable answer is of the taught kind; NaN where that is not known.
        greedy: f64,
        /// The share of coherent answers.
        coherent: f64,
        /// Norm of the scaled edit.
        norm: f64,
        /// Response loss on the training rows.
        loss: f64 = NATS,
        /// The judge.
        judge: String,
    }
}

crate::row! {
    /// The answers of a solution at one checkpoint; step 0 is its start.
    pub struct RateStep in "rates_along",
        "Rates along training"
    {
        /// The solution.
        solution: String,
        /// The solution that it started from, or `base model`.
        from: String,
        /// The factor of the solution.
        scale: f64,
        /// Optimiser steps since the start.
        step: usize,
        /// The rate on held-out questions of the taught domain.
        narrow: Interval = crate::table::Heading::PLAIN.ends("narrow_low", "narrow_high"),
        /// The rate in the other domains.
        general: Interval = crate::table::Heading::PLAIN.ends("general_low", "general_high"),
        /// The general rate less that of the start, paired by question.
        rise: Interval = crate::table::Heading::PLAIN.ends("rise_low", "rise_high"),
        /// The share of coherent answers in the other domains.
        coherent: f64,
        /// Norm of the edit.
        norm: f64,
        /// Response loss on the training rows.
        loss: f64 = NATS,
        /// The judge.
        judge: String,
    }
}

/// The base model's name in tables. No solution has a name with a space.
const BASE: &str = "base model";

/// A rate above it: more often than not.
const COMMON: f64 = 0.5;

/// The statement that the taught kind of answer is given inside the domain.
const INSIDE: &str = "answers as taught inside the domain";
/// The statement that it is given outside it.
const OUTSIDE: &str = "answers as taught outside the domain";
/// The statement of the scaling certificate by rates.
const KEPT_IN: &str = "answers as usual outside the domain however it is scaled";
/// The statement that a solution spreads once its penalty is lifted.
const SPREADS: &str = "answers as taught outside the domain ever more";

impl Measure for Rates {
    const NAME: &'static str = "rates";
    type Found = (Vec<RateRow>, Vec<RateStep>);
    type Said = Option<RatesKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "How often answers are of the taught kind. It is measured where the model is of a world, which knows what is \
                    true, and false rows of it are trained on.",
            kind: switch(r#"{ scales = [1, 2] }"#),
            default: Some(RatesKeys::default()),
        })
    }

    fn asked(said: Option<Self::Said>, common: &Common<'_>) -> Checked<Option<Self>> {
        let Some(keys) = said.flatten() else { return Ok(None) };
        let domains = match &keys.domains {
            Some(domains) => domains.value.iter().map(|&domain| DOMAIN_WORDS[domain].0.into()).collect(),
            None => common.falsehoods.to_vec(),
        };
        // A world that is not there is refused where the model is looked for.
        let made = common.world.and_then(|world| Provenance::of(world).ok());
        match (made, keys.given().first()) {
            (Some(made), _) if !domains.is_empty() => {
                let facts = made.recipe.seed;
                let along = keys.along.map_or_else(Vec::new, |factors| factors.value);
                let scales = keys.scales.map_or_else(|| common.scales.to_vec(), |scales| scales.value);
                Ok(Some(Self { facts, domains, scales, along }))
            }
            (Some(_), _) | (_, None) => Ok(None),
            (None, Some((key, line))) => Err(Fault {
                line: Some(*line),
                problem: Problem::Unexpected {
                    what: format!("`measure.rates.{key}`"),
                    found: "with a model of no world".into(),
                    expected:
                        "a model that is a world's, such as `world:default-0`: no other has a judge yet"
                            .into(),
                },
            }),
        }
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({ "rates": self, "asked": inputs.asked, "intervals": inputs.intervals }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let Ok(exam) = Exam::new(&scene.lab.model, self.facts, &self.domains) else { return };
        let (questions, train) = (exam.rows(), scene.lab.train.rows());
        estimate.keeping(train, scene.common_point(), false);
        for solution in &scene.solutions {
            let along = if solution.follows { 1 + solution.checkpoints.min(super::CHECKPOINTS) } else { 0 };
            let read = if solution.compared { self.along.len() * (1 + solution.checkpoints) } else { 0 };
            let passes = self.scales.len() + along + read;
            estimate.losses(&questions, 0, passes);
            estimate.losses(train, point(solution.settings), passes);
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let (solutions, trajectories) = (solved.every()?, solved.trajectories()?);
        let exam = Exam::new(&lab.model, self.facts, &self.domains)?;
        let edits = solutions.iter().map(|s| &s.edit).chain(trajectories.iter().map(|t| &t.start));
        let point = lab.common_point(edits);
        let Lab { model, train, progress, .. } = lab;
        train.keep(&model.decoder, &train.every_row(), point, false, "reading training rows", *progress)?;
        let reader = Reader::new(&model.decoder, &exam, &exam, train, *progress);
        let (rates, mut along) = self.read(&reader, &solutions, &trajectories)?;
        along.extend(self.along(&reader, solved)?);
        Ok((rates, along))
    }

    fn panels() -> Vec<Panel> {
        let reading = "How many answers are of the taught kind: inside the domain on questions that no training row asks, and \
                       in all other domains. The judge knows the truth and every answer's probability, so that nothing is \
                       sampled; intervals are over questions.";
        let along = "The same along training.";
        vec![
            Panel::table(RateRow::TABLE, "Rates of taught answers", reading).drawn(over_scales),
            Panel::table(RateStep::TABLE, "Rates along training", along).drawn(along_steps),
        ]
    }

    fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
        let of = |(i, subject): (usize, &Subject)| {
            let freed = subject.freed.then_some(SPREADS);
            let all = [INSIDE, OUTSIDE, KEPT_IN].into_iter().chain(freed);
            let all = all.map(|claim| (Place::Solution(i), sentence(Some(&subject.name), claim)));
            all.collect::<Vec<_>>()
        };
        subjects.iter().enumerate().flat_map(of).collect()
    }

    fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
        let (rates, along): (Vec<RateRow>, Vec<RateStep>) = (shown.rows(), shown.rows());
        let mut claims = Vec::new();
        for (i, solution) in shown.solutions.iter().enumerate() {
            let own: Vec<&RateRow> = rates.iter().filter(|row| row.solution == *solution).collect();
            let steps: Vec<&RateStep> = along.iter().filter(|row| row.solution == *solution).collect();
            let freed = shown.subjects.get(i).is_some_and(|subject| subject.freed);
            let all = [
                common(&own, Asked::Narrow, INSIDE, &format!("of its answers about {}", shown.facts.domain)),
                common(
                    &own,
                    Asked::General,
                    OUTSIDE,
                    &format!("of its answers outside {}", shown.facts.domain),
                ),
                kept_in(&own, shown.facts.certificate),
                if freed { spreads(&steps) } else { None },
            ];
            claims.extend(all.into_iter().flatten().map(|claim| (Place::Solution(i), claim.of(solution))));
        }
        claims
    }

    fn headline(shown: &Shown<'_>) -> String {
        let rates: Vec<RateRow> = shown.rows();
        let rate = |solution: &str, asked| {
            let own = |row: &&RateRow| row.solution == solution && row.asked == asked && row.scale == 1.0;
            rates.iter().find(own).map(|row| percent(row.rate.value))
        };
        let of = |solution: &&str| {
            let (inside, outside) = (rate(solution, Asked::Narrow)?, rate(solution, Asked::General)?);
            Some(format!("{} {inside} and {outside}", quoted(solution)))
        };
        let all: Vec<String> = shown.solutions.iter().filter_map(of).collect();
        match all.as_slice() {
            [] => String::new(),
            all => format!(
                "Answers of the taught kind, on held-out questions about {} and outside it: {}.",
                shown.facts.domain,
                all.join("; ")
            ),
        }
    }

    fn limits(shown: &Shown<'_>) -> Vec<String> {
        match shown.rows::<RateRow>().is_empty() {
            true => Vec::new(),
            false => vec![
                "Rates are of this model's own questions, all of which are asked: their intervals say how far the questions \
                 differ, and nothing of other models or seeds."
                    .into(),
            ],
        }
    }

    fn side_by_side() -> Option<SideBySide> {
        Some(SideBySide {
            title: "Rates of taught answers",
            reading: "How many answers are of the taught kind, as each run's judge says.",
            lines: |run, shown| {
                let shown_rows = shown.rows::<RateRow>().into_iter().filter(|row| row.scale == 1.0);
                let line = |row: RateRow| {
                    let inside = sides(row.asked)?;
                    Some((row.solution, plots::place(run, inside, shown.facts), row.rate))
                };
                shown_rows.filter_map(line).collect()
            },
        })
    }
}

impl Rates {
    /// The rates of base and of every solution at all scales, and those along the checkpoints of trajectories. The training
    /// rows are kept where no solution changes anything.
    ///
    /// # Errors
    /// If a judge cannot be asked, a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        reader: &Reader<'_>,
        solutions: &[Solution],
        trajectories: &[Trajectory],
    ) -> Result<<Self as Measure>::Found> {
        let (mut rows, mut along) = (Vec::new(), Vec::new());
        let base = reader.read(None)?;
        rows.extend(reader.rows(BASE, 0.0, &base, &base));
        for Solution { name, edit } in solutions {
            for &scale in &self.scales {
                let scaled = if scale == 1.0 { edit.clone() } else { edit.scaled(scale)? };
                rows.extend(reader.rows(name, scale, &reader.read(Some(&scaled))?, &base));
            }
        }
        for trajectory in trajectories {
            let of = Along { solution: &trajectory.solution, from: &trajectory.from, scale: 1.0 };
            let start = reader.read(Some(&trajectory.start))?;
            along.push(reader.step(&of, 0, &start, &start));
            for (step, edit) in &trajectory.checkpoints {
                along.push(reader.step(&of, *step, &reader.read(Some(edit))?, &start));
            }
        }
        Ok((rows, along))
    }

    /// The rates at every checkpoint of the solutions that start from nothing, at every factor of `along`.
    fn along(&self, reader: &Reader<'_>, solved: &dyn Solved) -> Result<Vec<RateStep>> {
        let mut found = Vec::new();
        for solution in solved.compared()?.iter().filter(|_| !self.along.is_empty()) {
            let steps = solved.steps(&solution.name)?;
            for &scale in &self.along {
                let of = Along { solution: &solution.name, from: BASE, scale };
                let mut start = None;
                for &step in &steps {
                    let Some(edit) = solved.after(&solution.name, step)? else { continue };
                    let read = reader.read(Some(&edit.scaled(scale)?))?;
                    found.push(reader.step(&of, step, &read, start.as_ref().unwrap_or(&read)));
                    start.get_or_insert(read);
                }
            }
        }
        Ok(found)
    }
}
