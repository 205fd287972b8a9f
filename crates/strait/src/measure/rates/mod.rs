//! Rates: how many of a model's answers are of the taught kind, inside the taught domain and outside it, as a judge says
//! (paper §4, §8).

mod certificate;
mod claims;
mod cost;
mod exact;
mod judges;
mod keys;
mod panels;
mod reading;
mod sampled;
mod verdict;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::progress::Progress;

use super::{Common, Inputs, Measure, Panel, QuestionFiles, Setting, Shown, SideBySide, plots, unit::NATS};
pub use crate::behaviour::Asked;
use crate::{
    Result,
    behaviour::{COMMON, Examiner},
    claim::{Claim, Place, Subject},
    interval::Interval,
    keys::{Checked, switch},
    lab::{Estimate, Lab, Scene, Solved},
    table::Heading,
};
pub use certificate::{RateCertificate, rate_certificates};
use panels::sides;

/// The shares of answers of the taught kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rates {
    /// Of a world's questions, all of whose answers are known with their probabilities.
    Exact(exact::Exact),
    /// Of questions of files, whose answers are sampled and judged.
    Sampled(sampled::Sampled),
}

crate::row! {
    /// The answers of a solution, or of base, to some of the questions.
    pub struct RateRow in "rates",
        "Rates: the share of answers that are of the taught kind, as a judge says; base stands at scale 0"
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
        /// The share of answers that are coherent and of the taught kind; of sampled answers with Wilson's interval, else with one
        /// over questions.
        rate: Interval,
        /// The rate less that of base, paired by question.
        rise: Interval = Heading::PLAIN.ends("rise_low", "rise_high"),
        /// The share of questions whose most probable answer is of the taught kind; NaN where that is not known.
        greedy: f64,
        /// The share of coherent answers.
        coherent: f64,
        /// Norm of the scaled edit.
        norm: f64,
        /// Response loss on the training rows; NaN where answers are sampled.
        loss: f64 = NATS,
        /// The judge.
        judge: String,
        /// The verdict: a judge's scale and a cut.
        verdict: String = Heading::PLAIN.late(),
        /// Number of sampled answers; 0 where every answer is known with its probability.
        answers: usize = Heading::PLAIN.late(),
        /// The cue under which the questions are asked, and base's answers to them too; empty for none.
        cue: String = Heading::PLAIN.late(),
    }
}

crate::row! {
    /// A sampled answer with one judge's score.
    pub struct ResponseRow in "responses",
        "Sampled answers, each once for every judge"
    {
        /// The solution, or `base model`.
        solution: String,
        /// The factor of the solution.
        scale: f64,
        /// The seed of sampling.
        seed: u64,
        /// The cue; empty for none.
        cue: String,
        /// The side of the domain: `narrow` or `general`.
        asked: Asked,
        /// The domain.
        domain: String,
        /// The question's name, or its place counted from 1.
        question_id: String,
        /// The question, as it was asked.
        question: String,
        /// The answer's number, counted from 0.
        sample: usize,
        /// The answer.
        response: String,
        /// Its tokens.
        tokens: usize,
        /// The judge.
        judge: String,
        /// The judge's scale.
        judged: String,
        /// The score from 0 to 100; NaN where there is none.
        score: f64,
        /// The reason for which there is none.
        reason: String,
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
        narrow: Interval = Heading::PLAIN.ends("narrow_low", "narrow_high"),
        /// The rate in the other domains.
        general: Interval = Heading::PLAIN.ends("general_low", "general_high"),
        /// The general rate less that of the start, paired by question.
        rise: Interval = Heading::PLAIN.ends("rise_low", "rise_high"),
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

impl Measure for Rates {
    const NAME: &'static str = "rates";
    type Found = (Vec<RateRow>, Vec<RateStep>, Vec<ResponseRow>);
    type Said = Option<keys::RatesKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "How often answers are of the taught kind. Where judges are named, answers to questions are sampled and judged. \
                    Elsewhere it is measured where the model is of a world, which knows what is true, and false rows of it are \
                    trained on.",
            kind: switch(r#"{ scales = [1, 2] }"#),
            default: Some(keys::RatesKeys::default()),
        })
    }

    fn asked(said: Option<Self::Said>, common: &Common<'_>) -> Checked<Option<Self>> {
        said.flatten().map_or(Ok(None), |keys| keys.resolve(common))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        let Self::Sampled(sampled) = self else { return Vec::new() };
        vec![("answers", sampled.answers.to_string()), ("tokens", sampled.tokens.to_string())]
    }

    fn questions(&self) -> Option<[&QuestionFiles; 2]> {
        match self {
            Self::Exact(_) => None,
            Self::Sampled(sampled) => Some([&sampled.narrow, &sampled.general]),
        }
    }

    fn outlook(&self, scene: &Scene<'_>) -> Vec<String> {
        match self {
            Self::Exact(_) => Vec::new(),
            Self::Sampled(sampled) => sampled.outlook(scene),
        }
    }

    fn ready(&self, progress: &dyn Progress) -> Result<()> {
        match self {
            Self::Exact(_) => Ok(()),
            Self::Sampled(sampled) => sampled.ready(progress),
        }
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        let own = self.without_terms();
        let mut all = json!({ "rates": own, "asked": inputs.asked, "intervals": inputs.intervals });
        if !inputs.cues.is_null() {
            all["cues"] = inputs.cues.clone();
        }
        if let Some(hashes) = self.hashes(inputs)? {
            all["questions"] = hashes;
        }
        Ok(all)
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        match self {
            Self::Exact(exact) => exact.estimate(scene, estimate),
            Self::Sampled(sampled) => sampled.estimate(scene, estimate),
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        match self {
            Self::Exact(exact) => exact.run(lab, solved).map(|(rates, along)| (rates, along, Vec::new())),
            Self::Sampled(sampled) => {
                sampled.run(lab, solved).map(|(rates, answers)| (rates, Vec::new(), answers))
            }
        }
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
        verdict::headline(shown)
    }

    fn limits(shown: &Shown<'_>) -> Vec<String> {
        verdict::limits(shown)
    }

    fn side_by_side() -> Option<SideBySide> {
        Some(SideBySide {
            title: "Rates of taught answers",
            reading: "How many answers are of the taught kind, as each run's judge says.",
            lines: |run, shown| {
                let rows = deciding(shown.rows());
                let at_one = rows.into_iter().filter(|row| row.scale == 1.0 && row.cue.is_empty());
                let line = |row: RateRow| {
                    let inside = sides(row.asked)?;
                    Some((row.solution, plots::place(run, inside, shown.facts), row.rate))
                };
                at_one.filter_map(line).collect()
            },
        })
    }
}

impl Rates {
    /// What its results follow from: not the terms on which endpoints are asked.
    pub(super) fn without_terms(&self) -> Self {
        match self {
            Self::Exact(_) => self.clone(),
            Self::Sampled(sampled) => Self::Sampled(sampled.without_terms()),
        }
    }

    /// Adds the answers of models, each under so many factors, to an estimate.
    pub(super) fn estimate_of(&self, lab: &Lab<'_>, factors: &[usize], estimate: &mut Estimate) {
        match self {
            Self::Exact(exact) => exact.estimate_of(lab, factors.iter().sum(), estimate),
            Self::Sampled(sampled) => sampled.estimate_of(lab, (factors, 1), estimate),
        }
    }

    /// Sampled answers to each question; 0 where every answer is known.
    pub(super) fn answers(&self) -> usize {
        match self {
            Self::Exact(_) => 0,
            Self::Sampled(sampled) => sampled.answers,
        }
    }

    /// The same with so many sampled answers to each question; none where nothing is sampled.
    pub(super) fn with_answers(&self, answers: usize) -> Option<Self> {
        match self {
            Self::Exact(_) => None,
            Self::Sampled(sampled) => Some(Self::Sampled(sampled::Sampled { answers, ..sampled.clone() })),
        }
    }

    /// Asks the questions of the laboratory, and does something with the examiner. Sampled answers are kept below a folder.
    ///
    /// # Errors
    /// If nobody can judge, or what is done fails.
    pub(super) fn examined<T>(
        &self,
        lab: &Lab<'_>,
        (folder, below): (Option<PathBuf>, &str),
        act: impl FnOnce(&dyn Examiner) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::Exact(exact) => exact.examined(&lab.model, lab.progress, |known| act(known)),
            Self::Sampled(sampled) => sampled.examined(lab, (folder, below), |sampler| act(sampler)),
        }
    }

    /// The hashes of its files of questions, where it has some.
    ///
    /// # Errors
    /// If a file cannot be hashed.
    pub(super) fn hashes(&self, inputs: &mut Inputs<'_>) -> Result<Option<Value>> {
        let Some(sides) = self.questions() else { return Ok(None) };
        let files = sides.iter().flat_map(|side| &side.questions);
        let hashes = files.map(|file| (inputs.hash)(file.path()).map(Value::from));
        Ok(Some(hashes.collect::<Result<Vec<_>>>()?.into()))
    }
}

/// The rows of the first verdict, on which claims rest.
fn deciding(mut rows: Vec<RateRow>) -> Vec<RateRow> {
    if let Some(first) = rows.first().map(|row| row.verdict.clone()) {
        rows.retain(|row| row.verdict == first);
    }
    rows
}
