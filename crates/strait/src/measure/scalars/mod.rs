//! Scalars: the inside of LoRA solutions. Which adapters tell taught answers from other ones, inside the domain and outside, which
//! tell the domain, and what the taught answers lose without each (paper §13.6).

mod panels;
mod read;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Edit,
    edit::{Adapter, Site},
};

use super::{Common, Inputs, Measure, Panel, Setting, unit::NATS};
use crate::{
    Result,
    interval::Interval,
    keys::{Checked, count, keys, most, positive, switch},
    lab::{Estimate, Group, Lab, PairRows, Planned, Scene, Solved},
    probe::Repeats,
    scalars::Settings,
    table::{Heading, Word},
    train::EditKind,
};
use read::taught;

/// The scalars of LoRA solutions on pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraScalars {
    /// The most pairs of each group.
    pub pairs: usize,
    /// The share of response tokens that count, the most significant ones; 1 for all.
    pub significant: f64,
    /// The weight of the probes' losses against their L1 penalty.
    pub c: f64,
    /// Divisions of the answers into those that probes learn from and those that they are tested on.
    pub repeats: usize,
}

keys! {
    /// `measure.scalars`.
    #[derive(Clone, Debug, Default)]
    pub struct ScalarKeys {
        /// The most pairs of each group.
        pairs: usize = count(2..=most::ROWS), default 40;
        /// The share of response tokens that count: those on whose embeddings KL(base ‖ edited) of the answers hangs most. 1 counts all,
        /// and saves a pass back.
        significant: f64 = positive(1.0), default 1.0;
        /// The weight of the tokens' losses against the L1 penalty, as scikit-learn's C: smaller uses fewer adapters.
        c: f64 = positive(most::FACTOR), default Settings::default().c;
        /// Divisions of the questions into those that probes learn from and those that they are tested on.
        repeats: usize = count(1..=most::PASSES), default Repeats::default().count;
    }
}

/// The two kinds of answers whose tokens are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contrast {
    /// Inside the domain, taught answers and other ones.
    Narrow,
    /// Outside it, taught answers and other ones.
    General,
    /// Answers inside the domain and answers outside, taught and other ones alike.
    Topic,
}

impl Word for Contrast {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Narrow, "narrow"), (Self::General, "general"), (Self::Topic, "topic")];
}

crate::row! {
    /// A scalar of one solution in two kinds of answers.
    pub struct ScalarRow in "scalars",
        "Scalars of adapters: A x at the tokens of two kinds of answers, and its weight in L1 probes that tell them apart. They are taught \
         and other answers inside the domain (narrow) or outside (general), or all answers inside and outside (topic)"
    {
        /// The solution.
        solution: String,
        /// The kinds of answers.
        contrast: Contrast,
        /// The scalar: the module of its adapter, with its number in the rank behind it where that is above 1.
        scalar: String,
        /// Its mean over the tokens of the first kind: of taught answers, or of those inside the domain.
        mean: f64,
        /// Its mean over those of the second kind.
        other_mean: f64,
        /// Its deviation over the tokens of both.
        deviation: f64,
        /// The probability that it is larger at a token of the first kind than at one of the second; the interval is over questions.
        auroc: Interval = Heading::PLAIN.ends("auroc_low", "auroc_high"),
        /// The mean over divisions of the log-odds of the first kind that it gives for each deviation; NaN without probes.
        weight: f64,
        /// The deviation of that over divisions.
        weight_deviation: f64,
        /// The share of probes that give it a weight.
        used: f64,
        /// Number of pairs.
        pairs: usize,
        /// Tokens of both kinds that count.
        tokens: usize,
    }
}

crate::row! {
    /// A figure of how well the probes on a solution's scalars tell tokens apart that they did not learn from.
    pub struct ScalarProbeRow in "scalars_probe",
        "Probes on scalars: how well all scalars of a solution together tell the tokens of two kinds of answers apart, to questions \
         that were not learnt from"
    {
        /// The solution.
        solution: String,
        /// The kinds of answers.
        contrast: Contrast,
        /// accuracy, precision, recall, f1 or auroc.
        figure: String,
        /// Its mean over the divisions in which it has a meaning.
        mean: f64,
        /// Its deviation over them. They share questions, so that this is no error of the mean.
        deviation: f64,
        /// Those divisions.
        divisions: usize,
        /// The weight of the losses against the penalty.
        c: f64,
        /// Tokens of the first kind that count.
        tokens: usize,
        /// Tokens of the second kind that count.
        other_tokens: usize,
        /// The seed of the divisions.
        seed: u64,
    }
}

crate::row! {
    /// The rise of the taught answers' loss without adapters.
    pub struct ScalarRemovedRow in "scalars_removed",
        "Adapters left out: by how much the response loss of taught answers rises with the scalars of an adapter at zero"
    {
        /// The solution.
        solution: String,
        /// The side of the domain of the answers.
        group: Group,
        /// The adapters: a module, or all.
        adapters: String,
        /// The rise; its interval is over questions.
        removed: Interval = NATS.ends("removed_low", "removed_high"),
        /// The response loss under the whole solution.
        loss: f64 = NATS,
        /// Number of answers.
        answers: usize,
    }
}

/// The most scalars of a solution that is read: a table of more says nothing of any of them.
const MOST: usize = 256;

impl Measure for LoraScalars {
    const NAME: &'static str = "scalars";
    type Found = (Vec<ScalarRow>, Vec<ScalarProbeRow>, Vec<ScalarRemovedRow>);
    type Said = Option<ScalarKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "Inside LoRA solutions: which adapters' scalars A x tell taught answers from other ones, which tell the domain, and what \
                    the taught answers lose without each adapter, a pass over them.",
            kind: switch("{ pairs = 40, significant = 0.25 }"),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, _: &Common<'_>) -> Checked<Option<Self>> {
        Ok(said.flatten().map(|keys| Self {
            pairs: keys.pairs(),
            significant: keys.significant(),
            c: keys.c(),
            repeats: keys.repeats(),
        }))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("pairs", self.pairs.to_string()), ("significant", self.significant.to_string())]
    }

    fn outlook(&self, scene: &Scene<'_>) -> Vec<String> {
        let left_out: Vec<&str> =
            scene.solutions.iter().filter(|solution| adapters(solution).is_none()).map(|s| s.name).collect();
        let reason = format!("no LoRA of at most {MOST} scalars a token");
        match left_out.len() {
            0 => Vec::new(),
            all if all == scene.solutions.len() => {
                vec![format!("scalars: no solution is read, since there is {reason}")]
            }
            _ => vec![format!("scalars: not read, since they are {reason}: {}", left_out.join(", "))],
        }
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({
            "pairs": inputs.pairs,
            "settings": self,
            "intervals": inputs.intervals,
            "seed": inputs.seed,
        }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        for pairs in self.few(&scene.lab.pairs) {
            let (rows, taught) = (pairs.kept.rows(), taught(&pairs));
            for solution in &scene.solutions {
                let Some(adapters) = adapters(solution) else { continue };
                estimate.passes(rows, 1);
                if self.counts_some() {
                    estimate.passes(rows, 2);
                    estimate.gradients(rows, solution.settings, 0, 1);
                }
                // As it is, its scalars, without all adapters, and without each.
                estimate.passes(&taught, 3 + adapters);
            }
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let mut solutions = solved.every()?;
        solutions.retain(|solution| is_read(&solution.edit));
        self.read(&lab.model.decoder, &solutions, &lab.pairs, lab.seed, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        panels::panels()
    }
}

impl LoraScalars {
    fn few(&self, pairs: &[PairRows; 2]) -> [PairRows; 2] {
        pairs.each_ref().map(|pairs| pairs.some(self.pairs))
    }

    /// True if it asks which tokens are significant.
    fn counts_some(&self) -> bool {
        self.significant < 1.0
    }
}

/// The number of adapters of a solution that is yet to be trained; none where it is not read.
fn adapters(solution: &Planned<'_>) -> Option<usize> {
    let EditKind::Lora { layers, projections, rank, .. } = &solution.settings.edit else { return None };
    let adapters = layers.iter().flat_map(|&layer| Site::of_layer(layer, projections)).count();
    (adapters * rank <= MOST).then_some(adapters)
}

/// True for an edit with adapters, none of them on the head, of few enough scalars.
fn is_read(edit: &Edit) -> bool {
    let adapters: Vec<&Adapter> = edit.adapters().map(|(adapter, _)| adapter).collect();
    let scalars: usize = adapters.iter().map(|adapter| adapter.a.dims()[0]).sum();
    (1..=MOST).contains(&scalars) && adapters.iter().all(|adapter| adapter.site != Site::Head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_commands_defaults_and_bounds() {
        let keys = ScalarKeys::default();
        assert_eq!((keys.c(), keys.repeats(), keys.significant()), (0.01, 100, 1.0));
    }
}
