//! Trajectories: the checkpoints of all solutions in one plane, how they grow and turn, and what they do when they are scaled
//! up, along training (paper §7.2, §14).

mod behaviour;
mod panels;
mod paths;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Common, Inputs, Measure, Panel, Setting, unit::NATS};
use crate::{
    Result,
    interval::Interval,
    keys::{Checked, count, flag, keys, list, most, positive, switch},
    lab::{Estimate, Lab, PairRows, Scene, Solved, point},
};

/// The checkpoints of solutions side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectories {
    /// The most checkpoints of a solution that are read, besides its beginning.
    pub checkpoints: usize,
    /// True if coordinates are divided by their standard deviation before components are found.
    pub standardise: bool,
    /// Factors by which checkpoints are scaled.
    pub scales: Vec<f64>,
    /// The most pairs of each group that are read at every checkpoint and scale; 0 for none.
    pub pairs: usize,
    /// Nats a token that the mean response loss of the pairs may rise by for a reading to count as coherent.
    pub coherence: f64,
}

keys! {
    /// `measure.trajectory`.
    #[derive(Clone, Debug, Default)]
    pub struct TrajectoryKeys {
        /// The most checkpoints of a solution that are read, besides its beginning.
        checkpoints: usize = count(1..=most::PASSES), default 6;
        /// Divide each coordinate by its standard deviation before components are found, so that all weigh the same.
        standardise: bool = flag(), default false;
        /// Factors by which each checkpoint is scaled; each costs a pass over the pairs a checkpoint.
        scales: Vec<f64> = list(positive(most::FACTOR)), default vec![1.0, 5.0, 10.0, 20.0];
        /// The most pairs of each group read at every checkpoint and scale; 0 for none.
        pairs: usize = count(0..=most::ROWS), default 16;
    }
}

crate::row! {
    /// A solution at one checkpoint, among the checkpoints of all solutions of its space.
    pub struct TrajectoryRow in "trajectory",
        "Trajectories: the checkpoints of all solutions that lie in one space, along the components in which they differ most"
    {
        /// The solution.
        solution: String,
        /// The solution that it started from; empty where it started from nothing.
        from: String,
        /// The space, counted from 1: solutions whose edits have the same tensors lie in one.
        space: usize,
        /// Optimiser steps; 0 is before the first.
        step: usize,
        /// The norm of the edit.
        norm: f64,
        /// Cosine with the trained solution without a penalty; NaN where there is none in its space.
        cosine_general: f64,
        /// Cosine with the trained solution with one.
        cosine_narrow: f64,
        /// The place along the first component.
        first: f64,
        /// The place along the second one.
        second: f64,
        /// The place along the third one.
        third: f64,
        /// The composition score of its Bs with those of the last checkpoint, where it has several of rank 1.
        composition: f64,
    }
}

crate::row! {
    /// The share of what varies between checkpoints that one component has.
    pub struct ComponentRow in "trajectory_component",
        "Components of trajectories: the share of all variance between the checkpoints of one space along each"
    {
        /// The space, counted from 1.
        space: usize,
        /// The component, counted from 1.
        component: usize,
        /// Its share.
        explained: f64,
        /// True if coordinates were divided by their standard deviation.
        standardised: bool,
        /// Number of checkpoints.
        checkpoints: usize,
    }
}

crate::row! {
    /// The preference shift of one checkpoint at one scale.
    pub struct BehaviourRow in "trajectory_shift",
        "Behaviour along training: the preference shift of checkpoints, scaled by factors"
    {
        /// The solution.
        solution: String,
        /// Optimiser steps.
        step: usize,
        /// The factor.
        scale: f64,
        /// The shift inside the domain.
        narrow_shift: Interval = NATS.ends("narrow_low", "narrow_high"),
        /// The shift outside it.
        general_shift: Interval = NATS.ends("general_low", "general_high"),
        /// By how much the mean response loss of both groups lies above base's, the larger of the two.
        loss_rise: f64 = NATS,
        /// True if that is no more than the study's `coherence`.
        coherent: bool,
        /// Number of pairs inside the domain.
        narrow_pairs: usize,
        /// Number of pairs outside it.
        general_pairs: usize,
        /// The seed of sampling.
        seed: u64,
    }
}

impl Measure for Trajectories {
    const NAME: &'static str = "trajectory";
    type Found = (Vec<TrajectoryRow>, Vec<ComponentRow>, Vec<BehaviourRow>);
    type Said = Option<TrajectoryKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "The checkpoints of all solutions in one plane, and the preference shift of each when it is scaled up.",
            kind: switch("{ checkpoints = 6, pairs = 16 }"),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, common: &Common<'_>) -> Checked<Option<Self>> {
        Ok(said.flatten().map(|keys| Self {
            checkpoints: keys.checkpoints(),
            standardise: keys.standardise(),
            scales: keys.scales(),
            pairs: keys.pairs(),
            coherence: common.coherence,
        }))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("checkpoints", self.checkpoints.to_string()), ("pairs", self.pairs.to_string())]
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({
            "pairs": inputs.pairs,
            "asked": inputs.asked,
            "domain": inputs.domain,
            "settings": self,
            "intervals": inputs.intervals,
            "controls": inputs.controls,
            "seed": inputs.seed,
        }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let few = self.few(&scene.lab.pairs);
        few.iter().for_each(|pairs| _ = estimate.keeping(pairs.kept.rows(), scene.common_point(), true));
        for solution in &scene.solutions {
            let checkpoints = 1 + solution.checkpoints.min(self.checkpoints);
            let passes = checkpoints * self.scales.len();
            few.iter()
                .for_each(|pairs| _ = estimate.losses(pairs.kept.rows(), point(solution.settings), passes));
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let paths = self.paths(solved, lab.progress)?;
        let (rows, components) = self.places(&paths, &solved.beside()?, &solved.subjects())?;
        let shifts = self.behaviour(&lab.model.decoder, &paths, &lab.pairs, lab.seed, lab.progress)?;
        Ok((rows, components, shifts))
    }

    fn panels() -> Vec<Panel> {
        panels::panels()
    }
}

impl Trajectories {
    fn few(&self, pairs: &[PairRows; 2]) -> [PairRows; 2] {
        pairs.each_ref().map(|pairs| pairs.some(self.pairs))
    }
}
