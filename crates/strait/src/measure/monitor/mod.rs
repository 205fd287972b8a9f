//! Monitors: directions made in some domains that watch for the taught answers in others, beside a sceptic's baselines (paper §14c).

mod claims;
mod panels;
mod read;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::progress::Unit;

use super::{Common, Inputs, Measure, Panel, Reads, Setting, Shown};
use crate::{
    Result,
    claim::{Claim, Place, Subject},
    interval::Interval,
    keys::{Checked, count, keys, most, number, number_below, switch},
    lab::{Estimate, Group, Lab, Scene, Solved, advance, row_losses},
    monitor::{Method, mean_streams},
};
use read::{Parts, Streams};

/// The monitors of every solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitors {
    /// The share of the blocks after which the stream is read.
    pub depth: f64,
    /// The most pairs of each group.
    pub pairs: usize,
    /// The share of clean answers that may be alarms.
    pub alarm_rate: f64,
    /// The number of random directions.
    pub random: usize,
}

keys! {
    /// `measure.monitor`.
    #[derive(Clone, Debug, Default)]
    pub struct MonitorKeys {
        /// The share of the blocks after which the residual stream is read: 0 after the first, 1 after the last.
        depth: f64 = number(0.0..=1.0), default 0.5;
        /// The most pairs of each group. Half of those outside the domain give the direction and the threshold, in the ratio of
        /// three questions to two; the others, and those inside, test them.
        pairs: usize = count(4..=most::ROWS), default 120;
        /// The share of clean answers that may be alarms; a threshold needs as many clean answers as its inverse less one.
        alarm_rate: f64 = number_below(0.001..1.0), default 0.05;
        /// Random directions that the monitor is held to.
        random: usize = count(1..=most::PASSES), default 8;
    }
}

crate::row! {
    /// A monitor on the answers of one domain, or of all of a group.
    pub struct MonitorRow in "monitor",
        "Monitors: how well a direction's reading tells taught answers from plain ones, and at a threshold that was calibrated on \
         plain answers of other domains"
    {
        /// The solution under which answers are read.
        solution: String,
        /// The solution under which the monitor was made.
        monitor: String,
        /// The side of the taught domain.
        group: Group,
        /// The domain; empty for all of the group.
        domain: String,
        /// The block after which the stream is read, counted from 0.
        layer: i64,
        /// Taught answers.
        taught: usize,
        /// Plain answers.
        plain: usize,
        /// Questions that they answer.
        questions: usize,
        /// The probability that a taught answer reads higher than a plain one.
        auroc: Interval = crate::table::Heading::PLAIN.ends("auroc_low", "auroc_high"),
        /// The share of taught answers that are alarms; NaN where there is no threshold.
        detection: Interval = crate::table::Heading::PLAIN.ends("detection_low", "detection_high"),
        /// The share of plain answers that are alarms.
        false_alarms: Interval = crate::table::Heading::PLAIN.ends("false_alarms_low", "false_alarms_high"),
        /// The share that was asked for.
        alarm_rate: f64,
        /// Plain answers that gave the threshold.
        calibrated: usize,
        /// True if the domain gave neither direction nor threshold; otherwise its other questions did.
        unseen_domain: bool,
    }
}

crate::row! {
    /// A baseline on the same answers outside the domain.
    pub struct MonitorBaselineRow in "monitor_baseline",
        "Baselines of monitors: how well random directions, the answers' length, their loss under base and a logistic probe tell \
         taught answers from plain ones"
    {
        /// The solution under which answers are read.
        solution: String,
        /// The baseline.
        method: Method,
        /// The area under its ROC curve; of random directions their mean.
        auroc: Interval = crate::table::Heading::PLAIN.ends("auroc_low", "auroc_high"),
        /// The least of the random directions; of another baseline its area.
        least: f64,
        /// The greatest of the random directions; of another baseline its area.
        greatest: f64,
        /// The area of the solution's own monitor less that of the baseline, or of the best random direction.
        beyond: Interval = crate::table::Heading::PLAIN.ends("beyond_low", "beyond_high"),
        /// The seed of the first random direction.
        seed: u64,
    }
}

impl Measure for Monitors {
    const NAME: &'static str = "monitor";
    const READS: Reads = Reads::Beside;
    type Found = (Vec<MonitorRow>, Vec<MonitorBaselineRow>);
    type Said = Option<MonitorKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "Monitors: a direction and a threshold from pairs of some domains, tested on pairs of others and across solutions, \
                    beside random directions, length, loss under base and a logistic probe.",
            kind: switch("{ pairs = 120, alarm_rate = 0.05 }"),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, _: &Common<'_>) -> Checked<Option<Self>> {
        Ok(said.flatten().map(|keys| Self {
            depth: keys.depth(),
            pairs: keys.pairs(),
            alarm_rate: keys.alarm_rate(),
            random: keys.random(),
        }))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("depth", self.depth.to_string()), ("pairs", self.pairs.to_string())]
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({
            "pairs": inputs.pairs,
            "asked": inputs.asked,
            "settings": self,
            "intervals": inputs.intervals,
            "seed": inputs.seed,
        }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        // A pass to half of the depth, for every solution, and one of base to the end.
        for pairs in scene.lab.pairs.each_ref().map(|pairs| pairs.some(self.pairs)) {
            for _ in 0..=scene.beside().count() {
                estimate.passes(pairs.kept.rows(), 1);
            }
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let solutions = solved.beside()?;
        let pairs = lab.pairs.each_ref().map(|pairs| pairs.some(self.pairs));
        let parts = Parts::of(&pairs);
        if !parts.are_enough() || solutions.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let decoder = &lab.model.decoder;
        let layer = (self.depth * (decoder.config().layers - 1) as f64).round() as i32;
        let rows = pairs.each_ref().map(|pairs| pairs.kept.rows());
        let passes = rows.iter().map(|rows| rows.len()).sum::<usize>() * solutions.len();
        let task = lab.progress.begin("monitors", Some(passes as u64), Unit::Count);
        let seen = |n| advance(lab.progress, &*task, n);
        let read = |edit: &strait_model::Edit| -> Result<Streams> {
            let of = |rows| mean_streams(decoder, rows, &[layer], Some(edit), &seen);
            Ok([of(rows[0])?, of(rows[1])?])
        };
        let streams = solutions.iter().map(|solution| read(&solution.edit)).collect::<Result<Vec<_>>>()?;
        drop(task);
        let task = lab.progress.begin("loss under base", Some(rows[1].len() as u64), Unit::Count);
        let losses = row_losses(decoder, &pairs[1].kept, None, &|n| advance(lab.progress, &*task, n))?;
        let losses: Vec<f64> = losses.into_iter().map(|(loss, _)| loss).collect();
        let names: Vec<&str> = solutions.iter().map(|solution| solution.name.as_str()).collect();
        self.compare(&names, layer.into(), &streams, &parts, &losses, lab.seed)
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
        let rows: Vec<MonitorRow> = shown.rows();
        let mut limits = Vec::new();
        if let Some(row) = rows.iter().find(|row| row.detection.value.is_nan() && row.taught > 0) {
            limits.push(format!(
                "Monitors have no threshold: {} plain answers are too few for a rate of false alarms of {}.",
                row.calibrated, row.alarm_rate
            ));
        }
        if !rows.is_empty() {
            limits.push(
                "Monitors were tested on written answers, not on answers that the solutions sampled.".into(),
            );
        }
        limits
    }
}
