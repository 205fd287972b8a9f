//! Response loss on rows that training did not see.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Decoder,
    progress::{Progress, Unit},
};

use super::{Common, Inputs, Measure, Panel, Shift, Shown, SideBySide, Solution, plots, unit::NATS};
use crate::{
    Result,
    interval::Interval,
    keys::Checked,
    lab::{Estimate, Lab, Scene, Solved, advance, row_losses},
    objective::Kept,
    page::numbers::quoted,
    table::Row,
};

/// The loss on held-out rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {}

crate::row! {
    /// A solution's mean response loss on held-out rows.
    pub struct HeldOutRow in "heldout",
        "Response loss on rows of the taught domain that training did not see"
    {
        /// The solution.
        solution: String,
        /// Number of rows.
        rows: usize,
        /// Their response tokens.
        tokens: usize,
        /// The base model's loss.
        base_loss: f64 = NATS,
        /// The solution's loss.
        loss: f64 = NATS,
        /// The loss less that of base, with its interval over questions.
        difference: Interval = NATS,
        /// The seed of sampling.
        seed: u64,
    }
}

impl Measure for HeldOut {
    const NAME: &'static str = "heldout";
    type Found = Vec<HeldOutRow>;
    type Said = ();

    fn asked(_: Option<()>, _: &Common<'_>) -> Checked<Option<Self>> {
        Ok(Some(Self {}))
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({ "intervals": inputs.intervals }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        estimate.holding(scene.lab.held_out.rows(), false);
        estimate.losses(scene.lab.held_out.rows(), scene.common_point(), 1 + scene.solutions.len());
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Vec<HeldOutRow>> {
        let solutions = solved.every()?;
        let point = lab.common_point(solutions.iter().map(|s| &s.edit));
        let (model, seed, progress) = (std::sync::Arc::clone(&lab.model), lab.seed, lab.progress);
        let rows = lab.unseen();
        rows.keep(&model.decoder, &rows.every_row(), point, false, "reading held-out rows", progress)?;
        self.read(&model.decoder, &solutions, rows, seed, progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "Response loss on rows of the training data that no training saw. Below zero the solution predicts \
                       them better than base does.";
        let draw = |shown: &Shown<'_>| {
            let rows: Vec<HeldOutRow> = shown.rows();
            let line = |row: HeldOutRow| (row.solution.clone(), row.solution, row.difference);
            let lines: Vec<_> = rows.into_iter().map(line).collect();
            vec![vec![plots::lines(
                "Held-out loss less that of base",
                &shown.solutions,
                &lines,
                "nats a response token",
            )]]
        };
        vec![
            Panel::table(HeldOutRow::TABLE, "Held-out loss", reading).drawn(draw).missed("the held-out loss"),
        ]
    }

    /// The outcome by the loss alone, where there are no pairs to read the preference from.
    fn headline(shown: &Shown<'_>) -> String {
        if !shown.rows::<Shift>().is_empty() {
            return String::new();
        }
        let sentence = |row: &HeldOutRow| {
            let loss = row.difference.words();
            format!(
                "The held-out loss of {} differs from base's by {loss} nats a token.",
                quoted(&row.solution)
            )
        };
        shown.rows().iter().map(sentence).collect::<Vec<_>>().join(" ")
    }

    fn side_by_side() -> Option<SideBySide> {
        Some(SideBySide {
            title: "Held-out loss",
            reading: "Response loss on held-out rows less that of base.",
            lines: |run, shown| {
                let line = |row: HeldOutRow| (row.solution, run.to_string(), row.difference);
                shown.rows().into_iter().map(line).collect()
            },
        })
    }
}

impl HeldOut {
    /// The losses of solutions on rows whose stream is kept where no solution changes anything.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn read(
        &self,
        decoder: &Decoder,
        solutions: &[Solution],
        rows: &Kept,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<HeldOutRow>> {
        let passes = 1 + solutions.len();
        let task = progress.begin("held-out loss", Some((rows.rows().len() * passes) as u64), Unit::Count);
        let seen = |n| advance(progress, &*task, n);
        let base = row_losses(decoder, rows, None, &seen)?;
        let weights: Vec<f64> = base.iter().map(|&(_, tokens)| tokens as f64).collect();
        let questions = rows.questions();
        let mean = |losses: &[f64]| Interval::of_clusters(losses, &weights, &questions);
        let base_loss = mean(&base.iter().map(|&(loss, _)| loss).collect::<Vec<_>>()).value;
        let mut found = Vec::new();
        // Without rows there is nothing to say of any solution.
        for solution in solutions.iter().filter(|_| !base.is_empty()) {
            let edited = row_losses(decoder, rows, Some(&solution.edit), &seen)?;
            let changes: Vec<f64> = edited.iter().zip(&base).map(|(e, b)| e.0 - b.0).collect();
            found.push(HeldOutRow {
                solution: solution.name.clone(),
                rows: base.len(),
                tokens: weights.iter().sum::<f64>() as usize,
                base_loss,
                loss: mean(&edited.iter().map(|&(loss, _)| loss).collect::<Vec<_>>()).value,
                difference: mean(&changes),
                seed,
            });
        }
        Ok(found)
    }
}
