//! Sweeps by judged answers: the settings, the cost, and the reading.

use serde::{Deserialize, Serialize};

use super::{DirectionSweep, SweepKeys};
use crate::{
    Result,
    direction::sweep::{AblatedRate, Examined, Of, Removal, Set, SteeredRate, Sweep},
    keys::{Checked, Fault, Keys, Problem},
    lab::{Estimate, Group, Lab, Solved},
    measure::{Common, rates::Rates},
    page::numbers::quoted,
};

/// The folder of the answers below that of all answers.
const FOLDER: &str = "sweep";

/// Answers that are read beside preferences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedSweep {
    /// Random directions beside each direction whose answers are read too.
    pub random: usize,
    /// The questions and their judges, with the number of answers.
    pub by: Rates,
}

impl JudgedSweep {
    /// The answers that keys ask for, by the questions and judges of `measure.rates`.
    pub(super) fn asked(keys: &SweepKeys, common: &Common<'_>) -> Checked<Option<Self>> {
        let unexpected = |line, key: &str, found: &str, expected: &str| {
            let what = format!("`measure.sweep.{key}`");
            let problem = Problem::Unexpected { what, found: found.into(), expected: expected.into() };
            Err(Fault { line: Some(line), problem })
        };
        if !keys.rates() {
            let given = keys.given();
            return match given.iter().find(|(key, _)| ["answers", "random_rates"].contains(key)) {
                Some((key, line)) => {
                    unexpected(*line, key, "there where no rates are read", "`rates = true` beside it")
                }
                None => Ok(None),
            };
        }
        let line = keys.rates.as_ref().map_or(0, |rates| rates.line);
        let rates = common.earlier.iter().find_map(|measure| measure.get::<Rates>());
        let Some(rates) = rates else {
            let expected = "`judges` and questions in `[measure.rates]`, which it takes, or a model that is a world's and false rows of it";
            return unexpected(line, "rates", "true where nobody judges", expected);
        };
        let by = match &keys.answers {
            None => rates.clone(),
            Some(answers) => match rates.with_answers(answers.value) {
                Some(rates) => rates,
                None => {
                    let found = "there where all answers of a world are known";
                    return unexpected(answers.line, "answers", found, "no such key");
                }
            },
        };
        Ok(Some(Self { random: keys.random_rates(), by }))
    }

    /// The models whose answers are read: each under so many factors.
    fn models(&self, sweep: &DirectionSweep, solutions: usize) -> Vec<usize> {
        let steered = solutions * sweep.layers * (1 + self.random);
        let ablated = solutions + solutions * solutions * sweep.modes.len() * (1 + self.random);
        [vec![1], vec![sweep.factors.len(); steered], vec![1; ablated]].concat()
    }

    pub(super) fn estimate(
        &self,
        sweep: &DirectionSweep,
        lab: &Lab<'_>,
        solutions: usize,
        estimate: &mut Estimate,
    ) {
        self.by.estimate_of(lab, &self.models(sweep, solutions), estimate);
    }

    /// The number of answers, in a line.
    pub(super) fn outlook(&self, sweep: &DirectionSweep, lab: &Lab<'_>, solutions: usize) -> String {
        let models: usize = self.models(sweep, solutions).iter().sum();
        let questions: usize = lab.questions.iter().map(Vec::len).sum();
        match self.by.answers() {
            0 => format!("sweep: the world's questions are read under {models} edits"),
            answers => format!(
                "sweep: at most {} answers are sampled and judged: {answers} to each of {questions} questions under {models} edits",
                models * questions * answers
            ),
        }
    }

    /// The rates of answers as directions are added to base, and taken out of solutions.
    pub(super) fn read(
        &self,
        lab: &Lab<'_>,
        solved: &dyn Solved,
        sweep: &Sweep,
        sets: &[Set],
        taken: &[(Of<'_>, &Removal)],
    ) -> Result<(Vec<SteeredRate>, Vec<AblatedRate>)> {
        self.by.examined(lab, (solved.folder(), FOLDER), |examiner| {
            let examined = Examined { by: examiner, random: self.random };
            let steered = sweep.steer_rates(None, sets, &examined)?;
            let ablated = match taken {
                [] => Vec::new(),
                taken => sweep.remove_rates(&lab.model, taken, &examined)?,
            };
            Ok((steered, ablated))
        })
    }
}

/// The limit of what rates of a sweep say.
pub(super) fn limit(rows: &[SteeredRate]) -> Option<String> {
    let first = rows.first()?;
    if first.answers == 0 {
        return Some("Rates of a sweep are of the world's own questions, all of which are asked.".into());
    }
    let of = |group| {
        let own = rows.iter().find(|row| row.group == group);
        own.map_or((0, 0), |row| (row.questions, row.answers))
    };
    let ((inside, inside_answers), (outside, outside_answers)) = (of(Group::Narrow), of(Group::General));
    Some(format!(
        "Rates of a sweep are of {inside_answers} sampled answers to {inside} questions inside the domain and {outside_answers} to \
         {outside} outside under each edit, by the verdict {} of the judge {}, and worth what the judge is worth. The largest of so many \
         was chosen by the same answers, so that it is a little too large.",
        quoted(&first.verdict),
        quoted(&first.judge)
    ))
}
