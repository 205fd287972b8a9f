//! Preference shift: how much likelier the taught kind of answer became than the other (design §4).

mod certificate;
mod claims;
mod cued;
mod families;
mod panels;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Decoder,
    decoder::first_changed_point,
    progress::{Progress, Unit},
};

pub use certificate::{Certificate, certificate};
pub(crate) use claims::{CERTIFIED, GENERAL, LEARNED};
pub use cued::CuedShift;
pub use families::families;

use super::{
    Common, Difference, Facts, Inputs, Measure, Panel, Shown, SideBySide, Solution, shown::rows, unit::NATS,
};
use crate::{
    Result, Table,
    claim::{Claim, Place, Subject},
    interval::{Interval, clusters},
    keys::Checked,
    lab::{Estimate, Group, Lab, PairReading, PairRows, Scene, Solved, advance, point},
    table::Heading,
};

/// The change of preference, at several scales.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preference {
    /// Factors by which solutions are scaled; 1 is the solution as trained.
    pub scales: Vec<f64>,
    /// Nats a token that the mean response loss of the pairs may rise by for a scale to count as coherent.
    pub coherence: f64,
}

crate::row! {
    /// The change, from base to edited, of the mean log probability a token of the taught kind of answer less that of the
    /// other: of one solution at one scale, in one domain or all, inside the taught domain or outside.
    pub struct Shift in "preference",
        "Preference shift: how much likelier the taught kind of answer became than the other kind"
    {
        /// The solution.
        solution: String,
        /// The side of the domain of the pairs.
        group: Group,
        /// Their domain, or `ALL`.
        domain: String,
        /// The factor.
        scale: f64,
        /// Number of pairs.
        pairs: usize,
        /// Number of questions that they answer.
        questions: usize,
        /// The shift.
        shift: Interval = NATS,
        /// The rise of the mean loss of both answers.
        loss_rise: f64 = NATS,
        /// True if that rise is within the study's `coherence`.
        coherent: bool,
        /// The seed of sampling.
        seed: u64,
        /// Mean tokens of the taught answers.
        taught_tokens: f64 = Heading::unit("tokens").late(),
        /// Mean tokens of the other answers.
        other_tokens: f64 = Heading::unit("tokens").late(),
        /// The shift over as many first tokens of both answers, which length cannot make.
        equal_shift: Interval = NATS.ends("equal_low", "equal_high").late(),
    }
}

/// The domain that stands for all of them together.
pub const ALL: &str = "all";

impl Shift {
    /// True for a shift over all domains of its group.
    pub fn is_whole(&self) -> bool {
        self.domain == ALL
    }

    /// True for a shift inside the taught domain.
    pub fn is_inside(&self) -> bool {
        self.group == Group::Narrow
    }
}

impl Measure for Preference {
    const NAME: &'static str = "preference";
    type Found = (Vec<Shift>, Vec<CuedShift>);
    type Said = ();

    fn asked(_: Option<()>, common: &Common<'_>) -> Checked<Option<Self>> {
        Ok(Some(Self { scales: common.scales.to_vec(), coherence: common.coherence }))
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        let mut all = json!({
            "pairs": inputs.pairs,
            "domain": inputs.domain,
            "scales": self.scales,
            "coherence": self.coherence,
            "intervals": inputs.intervals,
        });
        if !inputs.cues.is_null() {
            all["cues"] = inputs.cues.clone();
        }
        Ok(all)
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        for pairs in &scene.lab.pairs {
            let rows = pairs.kept.rows();
            estimate.keeping_once(pairs.group as usize, rows, scene.common_point(), true);
            for solution in &scene.solutions {
                estimate.losses(rows, point(solution.settings), self.scales.len());
            }
        }
        for pairs in scene.lab.cued.iter().flatten() {
            let rows = pairs.kept.rows();
            estimate.keeping(rows, scene.common_point(), true);
            for solution in &scene.solutions {
                estimate.losses(rows, point(solution.settings), self.scales.len());
            }
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let solutions = solved.every()?;
        let shifts = self.read(&lab.model.decoder, &solutions, &mut lab.pairs, lab.seed, lab.progress)?;
        Ok((shifts, self.cued(lab, &solutions)?))
    }

    fn panels() -> Vec<Panel> {
        panels::all()
    }

    fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
        claims::statements(subjects)
    }

    fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
        claims::all(shown)
    }

    fn headline(shown: &Shown<'_>) -> String {
        claims::headline(shown)
    }

    fn limits(shown: &Shown<'_>) -> Vec<String> {
        claims::limits(shown)
    }

    fn differences(tables: &[Table]) -> Vec<Difference> {
        claims::differences(&rows(tables))
    }

    fn side_by_side() -> Option<SideBySide> {
        Some(panels::side_by_side())
    }
}

impl Preference {
    /// The shifts of every solution, at every scale, in the domain and outside it. Beside them the mean lengths of both kinds
    /// of answers.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn read(
        &self,
        decoder: &Decoder,
        solutions: &[Solution],
        groups: &mut [PairRows],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<Shift>> {
        let mut rows = Vec::new();
        let passes = 1 + solutions.len() * self.scales.len();
        let total = groups.iter().map(|g| 2 * g.len() * passes).sum::<usize>();
        let task = progress.begin("preference", Some(total as u64), Unit::Count);
        let seen = |n: u64| advance(progress, &*task, n);
        for group in groups.iter_mut().filter(|g| !g.is_empty()) {
            let (mut base, mut kept_at) = (Vec::new(), None);
            for solution in solutions {
                let point = first_changed_point(&solution.edit, decoder.config().layers);
                if kept_at.replace(point) != Some(point) {
                    group.keep(decoder, point, progress)?;
                }
                if base.is_empty() {
                    base = group.readings(decoder, None, &seen)?;
                }
                for &scale in &self.scales {
                    let edited = group.readings(decoder, Some(&solution.edit.scaled(scale)?), &seen)?;
                    let change = |of: fn(&PairReading) -> f64| -> Vec<f64> {
                        edited.iter().zip(&base).map(|(e, b)| of(e) - of(b)).collect()
                    };
                    let (shifts, rises) = (change(|r| r.preference), change(|r| r.loss));
                    let equal_shifts = change(|r| r.equal_preference);
                    for domain in domains(group) {
                        let inside = |i: &usize| domain == ALL || group.domains[*i] == domain;
                        let picked: Vec<usize> = (0..group.len()).filter(inside).collect();
                        let of = |values: &[f64]| picked.iter().map(|&i| values[i]).collect::<Vec<_>>();
                        let questions = clusters(picked.iter().map(|&i| group.questions[i]));
                        let ones = vec![1.0; picked.len()];
                        let over_questions =
                            |values: &[f64]| Interval::of_clusters(&of(values), &ones, &questions);
                        let tokens = |answer: usize| {
                            let lengths: Vec<f64> =
                                group.lengths().map(|tokens| tokens[answer] as f64).collect();
                            of(&lengths).iter().sum::<f64>() / picked.len() as f64
                        };
                        let loss_rise = of(&rises).iter().sum::<f64>() / picked.len() as f64;
                        rows.push(Shift {
                            solution: solution.name.clone(),
                            group: group.group,
                            domain,
                            scale,
                            pairs: picked.len(),
                            questions: questions.iter().max().map_or(0, |last| last + 1),
                            shift: over_questions(&shifts),
                            loss_rise,
                            coherent: loss_rise <= self.coherence,
                            seed,
                            taught_tokens: tokens(0),
                            other_tokens: tokens(1),
                            equal_shift: over_questions(&equal_shifts),
                        });
                    }
                }
            }
        }
        Ok(rows)
    }
}

/// "all", then each domain where there are several.
fn domains(group: &PairRows) -> Vec<String> {
    let mut named: Vec<String> = group.domains.clone();
    named.sort();
    named.dedup();
    let several = named.len() > 1;
    std::iter::once(ALL.to_string()).chain(named.into_iter().filter(|_| several)).collect()
}
