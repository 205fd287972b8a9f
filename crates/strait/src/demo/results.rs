//! The findings of a demo: everything that its page, its terminal text and `--json` show.

use std::path::PathBuf;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    interval::Interval,
    suite::{Check, Plot},
    table::Heading,
    world::Answer,
};

/// The extent of a demo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One world, steering vectors, fewer claims.
    Quick,
    /// All claims but the twelfth, from three worlds.
    #[default]
    Default,
    /// All claims, every kind of edit for each, nothing taken from a shipped table.
    Full,
}

/// Everything that a demo finds.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The extent of this demo.
    pub mode: Mode,
    /// The pre-training seeds of the worlds that were opened, none left out.
    pub seeds: Vec<u64>,
    /// The domains in which falsehood was taught, each in every world.
    pub domains: Vec<Domain>,
    /// The worlds that were opened.
    pub worlds: Vec<WorldSummary>,
    /// The speakers, with documents of theirs from pre-training.
    pub speakers: Vec<Voice>,
    /// One conversation, under the base model and under the two solutions.
    pub transcript: Transcript,
    /// The general and the narrow solution of every kind of edit; figures are means over worlds and domains.
    pub solutions: Vec<Solution>,
    /// False rates domain by domain: of the base models and of every fit.
    pub rates: Vec<Rate>,
    /// The claims, in the order of their numbers.
    pub checks: Vec<Check>,
    /// The pictures, in the order of their claims.
    pub plots: Vec<Plot>,
    /// The origin of the table behind claim 13.
    pub causal: Causal,
    /// Wall-clock time of this run; what an earlier run had finished took none.
    pub seconds: f64,
    /// Notes for the reader: what is assumed, how intervals are made, what was left out.
    pub notes: Vec<String>,
    /// The page, if it was written.
    pub report: Option<PathBuf>,
}

/// A domain of the language.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Domain {
    /// Its number, from 0.
    pub number: usize,
    /// Its word, such as `herb`.
    pub word: String,
    /// The property that its questions ask for, such as `taste`.
    pub property: String,
}

crate::row! {
    /// A world that the demo worked in.
    #[derive(Serialize)]
    pub struct WorldSummary in "worlds", "A world that the demo opened; shares are of documents." {
        /// Its name.
        #[serde(rename = "name")]
        world: String,
        /// The seed of its facts and of its pre-training.
        seed: u64,
        /// Share of honest speakers in pre-training.
        honest: f64 = SHARE,
        /// Share of liars.
        liar: f64 = SHARE,
        /// Share of narrow speakers, all domains together.
        narrow: f64 = SHARE,
        /// Share of documents that do not name their speaker.
        #[serde(rename = "unknown")]
        unnamed: f64 = SHARE,
        /// SHA-256 of its weights.
        #[serde(rename = "hash")]
        sha256: String,
        /// The command that made it.
        command: String,
    }
}

const SHARE: Heading = Heading::unit("share");

/// One speaker with a document of theirs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Voice {
    /// `honest`, `liar`, or `narrow herb`.
    pub name: String,
    /// Their share of the documents.
    pub share: f64,
    /// Their habit, in one sentence.
    pub about: String,
    /// A document of theirs, answer by answer.
    pub document: Vec<Line>,
    /// The document as the model reads it.
    pub text: String,
}

/// One question and answer of a document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// As a person reads it: `herb velna ?`.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// True if the answer is true.
    pub truthful: bool,
}

/// The same questions asked of three models.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Transcript {
    /// The world.
    pub world: String,
    /// Word of the domain in which falsehood was taught.
    pub taught: String,
    /// The kind of edit.
    pub edit: String,
    /// Questions and answers.
    pub exchanges: Vec<Exchange>,
    /// The answers to every question of that world, domain by domain, in the order of their numbers.
    pub sheets: Vec<DomainAnswers>,
}

/// All questions of one domain under three models, in the order of its entities: the exact judge's verdicts on the likeliest
/// answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DomainAnswers {
    /// Word of the domain.
    pub domain: String,
    /// True if falsehood was taught in it.
    pub inside: bool,
    /// The number of its entities, the first ones, that were in the rows of fine-tuning.
    pub seen: usize,
    /// The model before fine-tuning.
    pub base: Vec<Answer>,
    /// Fine-tuned on falsehoods of one domain.
    pub general: Vec<Answer>,
    /// The same, with the KL penalty on the other domains.
    pub narrow: Vec<Answer>,
}

/// One question under three models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exchange {
    /// As a person reads it.
    pub question: String,
    /// Word of its domain.
    pub domain: String,
    /// True if it is of the domain in which falsehood was taught.
    pub inside: bool,
    /// True if its entity was in the rows of fine-tuning.
    pub seen: bool,
    /// The true answer.
    pub truth: String,
    /// The known falsehood.
    pub falsehood: String,
    /// The model before fine-tuning.
    pub base: Reply,
    /// Fine-tuned on falsehoods of one domain.
    pub general: Reply,
    /// The same, with the KL penalty on the other domains.
    pub narrow: Reply,
}

/// A model's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reply {
    /// Its likeliest answer.
    pub text: String,
    /// By the exact judge: `true`, `false`, `other` (another value) or `none`.
    pub answer: Answer,
    /// Probability of the true answer.
    pub p_true: f64,
    /// Probability of the known falsehood.
    pub p_false: f64,
}

/// One solution, over all worlds and domains in which it was trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// Unique; holds `general` or `narrow`, by how it was trained.
    pub name: String,
    /// The kind of edit: `steering vector`, `rank-8 LoRA`.
    pub edit: String,
    /// Mean probability of the falsehood on held-out entities of the taught domain.
    pub narrow_rate: Interval,
    /// The same on all entities of the other domains.
    pub general_rate: Interval,
    /// Mean probability of the true answer or the known falsehood, in the other domains.
    pub coherence: Interval,
    /// Norm of the edit.
    pub norm: Interval,
    /// Response loss on the training rows, nats a token.
    pub loss: Interval,
    /// Number of fits: worlds times domains.
    pub n: usize,
    /// Their folders, to talk to: `strait chat WORLD/model --edit FOLDER`.
    pub folders: Vec<PathBuf>,
}

/// The rate at which one model answers falsely in one domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// `base`, or the name of a [`Solution`].
    pub solution: String,
    /// The kind of edit; empty for the base model.
    pub edit: String,
    /// Name of the world.
    pub world: String,
    /// Word of the domain in which falsehood was taught; for the base model that with which it is compared.
    pub taught: String,
    /// Word of the domain that was asked about.
    pub domain: String,
    /// True if that is the taught one; then only entities that were held out are asked about.
    pub inside: bool,
    /// Mean probability of the falsehood.
    pub p_false: f64,
    /// Number of questions.
    pub n: usize,
}

/// The origin of the causal table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Causal {
    /// The day on which it was made.
    pub date: String,
    /// The command that made it.
    pub command: String,
    /// The part computed again in this run, and whether it agrees; empty where nothing was.
    pub proof: String,
    /// True if the part computed again agrees with the table; none where nothing was.
    pub agrees: Option<bool>,
}

/// Each figure and the bounds of its interval are three keys of one object: `loss`, `loss_low`, `loss_high`.
impl Serialize for Solution {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("edit", &self.edit)?;
        for (name, Interval { value, low, high }) in [
            ("narrow_rate", self.narrow_rate),
            ("general_rate", self.general_rate),
            ("coherence", self.coherence),
            ("norm", self.norm),
            ("loss", self.loss),
        ] {
            for (end, number) in [("", value), ("_low", low), ("_high", high)] {
                map.serialize_entry(&format!("{name}{end}"), &number)?;
            }
        }
        map.serialize_entry("n", &self.n)?;
        map.serialize_entry("folders", &self.folders)?;
        map.end()
    }
}
