//! KL to the base model: how much an edit changes at all, in the domain and outside it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Decoder,
    decoder::first_changed_point,
    progress::{Progress, Unit},
};

use super::{Common, Inputs, Measure, Panel, Shown, SideBySide, Solution, plots, unit::NATS};
use crate::{
    Result,
    interval::{Interval, clusters},
    keys::Checked,
    lab::{Estimate, Group, Lab, PairRows, Scene, Solved, advance, finite, mean, point},
    page::numbers::number,
    table::{Row, Word},
};

/// The KL to the base model on the pairs' conversations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Divergence {}

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Inside the taught domain.
    InDomain,
    /// Outside it.
    General,
}

impl Word for Text {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::InDomain, "in-domain"), (Self::General, "general")];
}

crate::row! {
    /// A solution's mean KL(base ‖ edited) a token on one kind of text.
    pub struct KlRow in "kl",
        "KL(base ‖ edited): how far the edited model's next-token distribution is from the base model's"
    {
        /// The solution.
        solution: String,
        /// Text inside the domain or outside.
        text: Text,
        /// The factor of the solution.
        scale: f64,
        /// Number of conversations.
        rows: usize,
        /// Their tokens.
        tokens: usize,
        /// The mean, with its interval over questions.
        kl: Interval = NATS,
        /// The seed of sampling.
        seed: u64,
    }
}

impl KlRow {
    fn is_inside(&self) -> bool {
        self.text == Text::InDomain
    }
}

impl Measure for Divergence {
    const NAME: &'static str = "kl";
    type Found = Vec<KlRow>;
    type Said = ();

    fn asked(_: Option<()>, _: &Common<'_>) -> Checked<Option<Self>> {
        Ok(Some(Self {}))
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({ "pairs": inputs.pairs, "intervals": inputs.intervals }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        for pairs in &scene.lab.pairs {
            let rows = pairs.kept.rows();
            estimate.keeping_once(pairs.group as usize, rows, scene.common_point(), true);
            for solution in &scene.solutions {
                estimate.divergences(rows, point(solution.settings), 1);
            }
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Vec<KlRow>> {
        let solutions = solved.every()?;
        self.read(&lab.model.decoder, &solutions, &mut lab.pairs, lab.seed, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "How far a solution's next-token distribution lies from that of base, whatever the direction. A narrow \
                       solution changes text inside the domain and leaves other text alone.";
        vec![Panel::table(KlRow::TABLE, "Divergence from base", reading).drawn(draw).missed("KL to base")]
    }

    fn side_by_side() -> Option<SideBySide> {
        Some(SideBySide {
            title: "Divergence from base",
            reading: "How far each run's solutions lie from their own base model, in the domain and on general text.",
            lines: |run, shown| {
                let at_one = shown.rows::<KlRow>().into_iter().filter(|row| row.scale == 1.0);
                let line = |row: KlRow| {
                    let place = plots::place(run, row.is_inside(), shown.facts);
                    (row.solution, place, row.kl)
                };
                at_one.map(line).collect()
            },
        })
    }
}

/// KL over the scale, one figure a solution, all on one axis; where it was measured at one scale only, one figure of all
/// solutions.
fn draw(shown: &Shown<'_>) -> crate::page::Groups {
    let rows: Vec<KlRow> = shown.rows();
    let names = [format!("inside {}", shown.facts.domain), "general text".into()];
    let one_scale = rows.first().filter(|first| rows.iter().all(|row| row.scale == first.scale));
    if let Some(first) = one_scale {
        let caption = format!("KL(base ‖ edited) at scale {}", number(first.scale));
        let values: Vec<_> =
            rows.iter().map(|row| (row.solution.as_str(), usize::from(!row.is_inside()), row.kl)).collect();
        return vec![vec![plots::dots(&caption, &shown.solutions, &names, &values, "nats a token")]];
    }
    let reading = |row: &KlRow| plots::Reading {
        solution: row.solution.clone(),
        inside: row.is_inside(),
        scale: row.scale,
        value: row.kl,
        coherent: true,
    };
    let readings: Vec<_> = rows.iter().map(reading).collect();
    vec![plots::over_scale(&shown.solutions, &readings, names, "KL(base ‖ edited) (nats a token)")]
}

impl Divergence {
    /// Mean KL(base ‖ edited) in nats a token over all tokens of the pairs' conversations, at scale 1.
    ///
    /// # Errors
    /// If a reading is no number or a tensor operation fails.
    pub fn read(
        &self,
        decoder: &Decoder,
        solutions: &[Solution],
        groups: &mut [PairRows],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<KlRow>> {
        let total = groups.iter().map(|g| g.kept.rows().len() * solutions.len()).sum::<usize>();
        let task = progress.begin("KL to base", Some(total as u64), Unit::Count);
        let mut found = Vec::new();
        for group in groups.iter_mut().filter(|g| !g.is_empty()) {
            let mut kept_at = None;
            for solution in solutions {
                let point = first_changed_point(&solution.edit, decoder.config().layers);
                if kept_at.replace(point) != Some(point) {
                    group.keep(decoder, point, progress)?;
                }
                let (mut means, mut weights) = (Vec::new(), Vec::new());
                for batch in group.kept.batches_by_tokens() {
                    let kl = group.kept.kl(decoder, &batch, &solution.edit)?;
                    let mut rest = kl.as_slice();
                    for &row in &batch {
                        let (own, later) = rest.split_at(group.kept.rows()[row].ids.len());
                        means.push(finite("KL to the base model", row, true, mean(own))?);
                        weights.push(own.len() as f64);
                        rest = later;
                    }
                    advance(progress, &*task, batch.len() as u64)?;
                }
                let questions = clusters((0..means.len()).map(|row| group.question_of_row(row)));
                found.push(KlRow {
                    solution: solution.name.clone(),
                    text: if group.group == Group::Narrow { Text::InDomain } else { Text::General },
                    scale: 1.0,
                    rows: means.len(),
                    tokens: weights.iter().sum::<f64>() as usize,
                    kl: Interval::of_clusters(&means, &weights, &questions),
                    seed,
                });
            }
        }
        Ok(found)
    }
}
