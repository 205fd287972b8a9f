//! Directions: mean differences in the residual stream, what they steer, and what is left once they are ablated (paper §13).

mod claims;
mod effects;
pub(super) mod extract;
mod panels;

use extract::Read;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Model,
    progress::{Progress, Unit},
};

use super::{Common, Inputs, Measure, Panel, Reads, Setting, Shown, unit::NATS};
use crate::{
    Result,
    claim::{Claim, Place, Subject},
    interval::Interval,
    keys::{Checked, count, keys, list_with, most, positive, switch},
    lab::{Estimate, Group, Lab, PairRows, Scene, Solution, Solved, advance, point},
    table::{Heading, Word},
};

/// Mean differences, steering and ablation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Directions {
    /// The number of layers.
    pub layers: usize,
    /// The most pairs of each group.
    pub pairs: usize,
    /// Factors by which directions are added to the base model; 1 is among them.
    pub factors: Vec<f64>,
    /// Nats a token that the mean response loss of the pairs may rise by for an effect to count as coherent.
    pub coherence: f64,
}

keys! {
    /// `measure.direction`.
    #[derive(Clone, Debug, Default)]
    pub struct DirectionKeys {
        /// Layers whose directions are read, evenly apart: the first that every solution changes, and later ones up to the last.
        layers: usize = count(1..=most::PASSES), default 2;
        /// The most pairs of each group that effects are read on; as many others outside the domain give the directions.
        pairs: usize = count(2..=most::ROWS), default 16;
        /// Factors by which a direction is added to the base model.
        factors: Vec<f64> = list_with(positive(most::FACTOR), 1.0, "it is the direction as found"), default vec![1.0, 2.0];
    }
}

/// The difference of which a direction is the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The fine-tune less base, over prompts outside the domain.
    Shift,
    /// The taught answers less the other ones, in the fine-tune, outside the domain.
    Answers,
}

impl Word for Source {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Shift, "shift"), (Self::Answers, "answers")];
}

/// The use that is made of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is added to the base model.
    Steering,
    /// It is taken out of a fine-tune.
    Ablation,
}

impl Word for Use {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Steering, "steering"), (Self::Ablation, "ablation")];
}

crate::row! {
    /// A direction of one solution after one block.
    pub struct DirectionRow in "direction",
        "Directions: mean differences in the residual stream, of the fine-tune and base over prompts outside the domain \
         (shift), and of taught and other answers there (answers)"
    {
        /// The solution.
        solution: String,
        /// The difference.
        source: Source,
        /// The block after which it is read, counted from 0; -1 is the embeddings.
        layer: i64,
        /// Its length.
        norm: f64,
        /// Cosine with the solution's own vector, or with B where it has one adapter that writes into the stream, of rank 1;
        /// NaN for others.
        cosine_solution: f64,
        /// Number of pairs that it is read on.
        pairs: usize,
        /// Number of questions that they answer.
        questions: usize,
        /// The mean cosine of the directions of two random halves of the pairs; its interval is over questions.
        reliability: Interval = Heading::PLAIN.ends("reliability_low", "reliability_high").late(),
        /// The share of random swaps within pairs under which the two means lie as far apart.
        p: f64 = Heading::PLAIN.late(),
    }
}

crate::row! {
    /// The cosine of two directions that differ in solution, layer or source alone.
    pub struct DirectionCosine in "direction_cosine",
        "Directions compared: cosines of directions that differ in their solution, their layer or their source alone"
    {
        /// The solution of the first.
        solution: String,
        /// Its source.
        source: Source,
        /// Its layer.
        layer: i64,
        /// The solution of the second.
        other: String,
        /// Its source.
        other_source: Source,
        /// Its layer.
        other_layer: i64,
        /// The cosine.
        cosine: f64,
    }
}

crate::row! {
    /// The preference shift that a direction gives to the base model, or leaves to a fine-tune.
    pub struct DirectionEffect in "direction_effect",
        "Steering and ablation: preference shift of the base model with a direction added, and of a solution with one \
         taken out, beside random directions of the same length"
    {
        /// The solution: whose direction is added, or from which one is taken out.
        solution: String,
        /// The solution whose direction it is, or `random`.
        direction: String,
        /// Its source; of a random direction that whose length it has.
        source: Source,
        /// Its layer.
        layer: i64,
        /// The use of the direction.
        usage: Use,
        /// The factor by which it is added; 1 where it is taken out.
        factor: f64,
        /// The side of the domain of the pairs.
        group: Group,
        /// The shift from base.
        shift: Interval = NATS,
        /// The shift as a share of the solution's own.
        share: Interval = Heading::PLAIN.ends("share_low", "share_high"),
        /// The shift less that with a random direction of the same length in its place; NaN for that one itself.
        beyond_random: Interval = NATS.ends("beyond_low", "beyond_high"),
        /// By how much the mean response loss of the pairs lies above base's.
        loss_rise: f64 = NATS,
        /// True if that is no more than the study's `coherence`.
        coherent: bool,
        /// Number of pairs.
        pairs: usize,
        /// The seed of the random directions.
        seed: u64,
    }
}

/// The name of random directions; no solution can have one with blanks.
const RANDOM: &str = "random direction";

impl Measure for Directions {
    const NAME: &'static str = "direction";
    const READS: Reads = Reads::Beside;
    type Found = (Vec<DirectionRow>, Vec<DirectionCosine>, Vec<DirectionEffect>);
    type Said = Option<DirectionKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "Mean-difference directions of the solutions: their angles, and what they do when they are added to the base \
                    model or taken out of a fine-tune, each way a pass over the pairs.",
            kind: switch("{ layers = 2, pairs = 16 }"),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, common: &Common<'_>) -> Checked<Option<Self>> {
        Ok(said.flatten().map(|keys| Self {
            layers: keys.layers(),
            pairs: keys.pairs(),
            factors: keys.factors(),
            coherence: common.coherence,
        }))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("layers", self.layers.to_string()), ("pairs", self.pairs.to_string())]
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({
            "pairs": inputs.pairs,
            "asked": inputs.asked,
            "domain": inputs.domain,
            "settings": self,
            "intervals": inputs.intervals,
            "seed": inputs.seed,
        }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let settings = scene.beside();
        let depth = scene.lab.model.config().layers;
        let first = settings.clone().map(|settings| point(settings).saturating_sub(1)).max().unwrap_or(0);
        let (solutions, layers) = (settings.count(), self.layers.min(depth - first.min(depth - 1)));
        let Read { from, on } = Read::of(&scene.lab.pairs, self.pairs);
        let point = scene.common_point();
        // Prompts under the fine-tune and under base; both answers under the fine-tune.
        let prompts = from.prompts();
        for _ in 0..solutions {
            estimate.passes(&prompts, 2);
            estimate.passes(from.kept.rows(), 1);
        }
        for pairs in on {
            estimate.keeping(pairs.kept.rows(), point, true);
            estimate.losses(
                pairs.kept.rows(),
                point,
                self.passes(solutions, Source::WORDS.len() * layers * solutions),
            );
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let solutions = solved.beside()?;
        self.read(&lab.model, &solutions, &lab.pairs, lab.seed, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        panels::panels()
    }

    fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
        claims::statements(subjects)
    }

    fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
        claims::claims(shown)
    }

    fn limits(shown: &Shown<'_>) -> Vec<String> {
        match shown.rows::<DirectionEffect>().is_empty() {
            true => Vec::new(),
            false => vec![
                "What directions do is read by the preference shift of pairs, not by answers that were judged: a preference for \
                 written answers may move without the answers that the model itself would write."
                    .into(),
            ],
        }
    }
}

impl Directions {
    /// Readings of all pairs: base, every solution, and for each direction its uses and those of a random one, and the
    /// ablations from the other solutions.
    fn passes(&self, solutions: usize, directions: usize) -> usize {
        1 + solutions + directions * (2 * (self.factors.len() + 1) + solutions.saturating_sub(1))
    }

    /// The directions of every solution, the angles between them, and their effects on the pairs: added to the base model, and
    /// taken out of their own solution and of each other one.
    ///
    /// # Errors
    /// If a reading is no number, a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        model: &Model,
        solutions: &[Solution],
        pairs: &[PairRows; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<<Self as Measure>::Found> {
        let Read { from, on } = Read::of(pairs, self.pairs);
        let layers = extract::layers(model.config().layers, solutions, self.layers);
        if from.is_empty() || layers.is_empty() {
            return Ok((Vec::new(), Vec::new(), Vec::new()));
        }
        let task = progress.begin("directions", Some(solutions.len() as u64), Unit::Count);
        let mut directions = Vec::new();
        for solution in solutions {
            directions.extend(extract::directions(&model.decoder, solution, &layers, &from, seed, progress)?);
            advance(progress, &*task, 1)?;
        }
        drop(task);
        let questions = from.questions.iter().max().map_or(0, |last| last + 1);
        let row = |found: &extract::Direction<'_>| {
            Ok(DirectionRow {
                solution: found.solution.name.clone(),
                source: found.source,
                layer: found.vector.layer.into(),
                norm: found.vector.norm()?,
                cosine_solution: found.with_its_solution()?,
                pairs: from.len(),
                questions,
                reliability: found.reliability,
                p: found.p,
            })
        };
        let rows = directions.iter().map(row).collect::<Result<_>>()?;
        let cosines = extract::cosines(&directions)?;
        Ok((rows, cosines, self.effects(model, solutions, &directions, on, seed, progress)?))
    }
}
