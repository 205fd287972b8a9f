//! Measures: each is one file that says its settings, its rows, how they are read, how a report shows them and what they
//! claim. The list of all stands in [`list`] and nowhere else. Measures read no files and print nothing.

mod convergence;
mod difference;
mod direction;
mod divergence;
mod drift;
mod efficiency;
mod families;
pub mod frontier;
mod gradient;
mod heldout;
pub mod list;
mod monitor;
pub mod norm;
mod opposites;
mod paired;
mod part;
mod plots;
mod preference;
mod rates;
pub mod records;
mod scalars;
mod shown;
mod significance;
mod stability;
mod sweep;
mod trajectory;
mod turn;
pub(crate) mod unit;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use strait_model::progress::Progress;

pub use convergence::{Convergence, ConvergenceRow, RankRow};
pub use difference::Difference;
pub use direction::{DirectionCosine, DirectionEffect, DirectionRow, Directions, Source, Use};
pub use divergence::{Divergence, KlRow, Text};
pub use drift::{CHECKPOINTS, Drift, DriftRow};
pub use efficiency::{Efficiency, EfficiencyDifference, EfficiencyRow, Grid, efficiency_of};
pub use families::{FamilyDifference, FamilyShift, Member, families_difference};
pub use gradient::{Gradient, GradientDifference, GradientRow, Pull, descent, pull};
pub use heldout::{HeldOut, HeldOutRow};
pub use monitor::{MonitorBaselineRow, MonitorRow, Monitors};
pub use paired::Comparison;
pub use part::{Part, flat, kind};
pub(crate) use preference::{CERTIFIED, GENERAL, LEARNED};
pub use preference::{Certificate, CuedShift, Preference, Shift, certificate, families};
pub use rates::{Asked, RateCertificate, RateRow, RateStep, Rates, ResponseRow, rate_certificates};
pub use scalars::{Contrast, LoraScalars, ScalarProbeRow, ScalarRemovedRow, ScalarRow};
pub(crate) use shown::rows;
pub use shown::{Facts, Panel, Shown};
pub use significance::{
    BEGINNING, CONTINUATION, Significance, SignificanceDifference, SignificanceRow, continuations,
    random_like,
};
pub use stability::{Stability, StabilityDifference, StabilityRow, noise_across, perturbed, stability_of};
pub use sweep::{DirectionSweep, JudgedSweep};
pub use trajectory::{BehaviourRow, ComponentRow, Trajectories, TrajectoryRow};
pub use turn::{Turn, TurnRow};

pub use crate::lab::{LossesOf, PairRows, Solution, Trajectory, row_losses};
use crate::{
    Result, Table,
    claim::{Claim, Place, Subject},
    keys::{self, Checked},
    lab::{Estimate, Lab, Scene, Solved},
    table::Row,
    world::WorldText,
};

/// A measure. The value holds its settings.
///
/// A new one is a file with its settings, its rows (declared by [`row!`](crate::row)) and this trait, and a line in
/// [`list`].
pub trait Measure:
    Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static
{
    /// Its name: of its step, of its first table, and of its keys in `[measure]`.
    const NAME: &'static str;
    /// The solutions that it reads.
    const READS: Reads = Reads::Every;
    /// The claim that compares two solutions by it; none where it makes none.
    const COMPARISON: Option<&'static Comparison> = None;

    /// The rows that it finds.
    type Found: Tables;
    /// The value behind its name in `[measure]`, as read; `()` where a study says nothing of it.
    type Said: Clone + Send + Sync + 'static;

    /// The key of its name in `[measure]`; none where a study says nothing of it.
    fn key() -> Option<Setting<Self::Said>> {
        None
    }

    /// Its settings, where it is asked for.
    ///
    /// # Errors
    /// If what the study says of it cannot be.
    fn asked(said: Option<Self::Said>, common: &Common<'_>) -> Checked<Option<Self>>;

    /// True if it reads the training rows that `measure.rows` chooses.
    const MEASURED_ROWS: bool = false;

    /// Its settings that limit what it shows, by their keys below its own.
    fn fixed(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The measure whose step it comes after, since both use what that one keeps.
    fn after(&self) -> Option<&'static str> {
        None
    }

    /// The plain text that it reads.
    fn text(&self) -> Option<&PlainText> {
        None
    }

    /// The questions that it asks inside the domain, and outside it.
    fn questions(&self) -> Option<[&QuestionFiles; 2]> {
        None
    }

    /// Lines that a plan says of it besides its time.
    fn outlook(&self, _: &Scene<'_>) -> Vec<String> {
        Vec::new()
    }

    /// True if a study has something for it to read.
    fn applies(&self, _: &Inputs<'_>) -> bool {
        true
    }

    /// All that its result follows from besides the solutions; its step's key is a hash of it.
    ///
    /// # Errors
    /// If a file that it reads cannot be hashed.
    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value>;

    /// Refuses what it could not be done with, before a run begins: a model that cannot be found, a key that is not there.
    ///
    /// # Errors
    /// The first of these.
    fn ready(&self, _: &dyn Progress) -> Result<()> {
        Ok(())
    }

    /// Adds its time and memory to an estimate.
    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate);

    /// Reads the solutions.
    ///
    /// # Errors
    /// If a reading is no number, the user asked for a stop, or a tensor operation fails.
    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found>;

    /// Its parts of a report, each drawn from one table.
    fn panels() -> Vec<Panel>;

    /// The statements that its claims may make, before anything is measured; what a prediction can be about.
    fn statements(_: &[Subject]) -> Vec<(Place, String)> {
        Vec::new()
    }

    /// Those of its statements that it does not make with these settings.
    fn unsaid(&self) -> &'static [&'static str] {
        &[]
    }

    /// Its claims besides the comparison.
    fn claims(_: &Shown<'_>) -> Vec<(Place, Claim)> {
        Vec::new()
    }

    /// The outcome in a sentence or two, for the top of a report; empty where another measure says it better.
    fn headline(_: &Shown<'_>) -> String {
        String::new()
    }

    /// The limits of its claims, a sentence or two each.
    fn limits(_: &Shown<'_>) -> Vec<String> {
        Vec::new()
    }

    /// The differences between solutions that means over seeds are made of.
    fn differences(_: &[Table]) -> Vec<Difference> {
        Vec::new()
    }

    /// Its part of a page that shows several runs beside each other.
    fn side_by_side() -> Option<SideBySide> {
        None
    }
}

/// The solutions that a measure reads, and which its step therefore needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All of them.
    Every,
    /// Those that start from nothing, are no controls, and train on the rows of the study.
    Compared,
    /// The same, whatever they train on.
    Beside,
}

/// A study as the keys of its measures see it: values, and files by their SHA-256.
pub struct Inputs<'a> {
    /// The pairs of both groups.
    pub pairs: &'a Value,
    /// The rows that solutions are trained on, by what is then left out of the measures.
    pub asked: &'a Value,
    /// The cues that are put around questions; null for none.
    pub cues: &'a Value,
    /// The taught domain.
    pub domain: &'a str,
    /// The method of intervals.
    pub intervals: &'a Value,
    /// Training rows that efficiency and stability read.
    pub rows: usize,
    /// The seed of all that measures draw.
    pub seed: u64,
    /// The names of the controls.
    pub controls: &'a [&'a str],
    /// True if a solution starts from another one.
    pub follows: bool,
    /// SHA-256 of a file.
    pub hash: &'a mut dyn FnMut(&std::path::Path) -> Result<String>,
}

/// A key in `[measure]`: its meaning, the values that may stand behind it, and what leaving it out means.
pub struct Setting<T> {
    /// The meaning, a sentence or several.
    pub about: &'static str,
    /// The values that may stand there.
    pub kind: keys::Kind<T>,
    /// The value that it has where it is left out.
    pub default: T,
}

/// The keys of `[measure]` that hold for all measures.
#[derive(Clone, Copy)]
pub struct Common<'a> {
    /// Factors by which solutions are scaled for the certificate.
    pub scales: &'a [f64],
    /// Nats a token that the mean response loss may rise by for a scale to count as coherent.
    pub coherence: f64,
    /// The folder at which the study's paths begin.
    pub folder: &'a keys::Folder,
    /// The world that the model is of, if any.
    pub world: Option<&'a keys::Place>,
    /// The domains in which training rows of a world are false.
    pub falsehoods: &'a [String],
    /// The measures before this one that are asked for, with their settings.
    pub earlier: &'a [list::AnyMeasure],
}

/// The reason for which 1 is among factors.
pub(crate) const AS_TRAINED: &str = "it is the solution as trained";

/// Plain text, and how much of it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlainText {
    /// Its sources.
    pub text: Vec<TextSource>,
    /// The number of passages.
    pub passages: usize,
    /// The most tokens of a passage.
    pub tokens: usize,
}

/// A source of plain text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TextSource {
    /// A file.
    File(keys::Place),
    /// Documents of a world, as many as passages are read.
    World(WorldText),
}

/// Files of questions, and how many of them are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuestionFiles {
    /// The files.
    pub questions: Vec<keys::Place>,
    /// The most questions that are asked, evenly of all files; all where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The number by which estimates know the rows that efficiency and stability share; pairs have those of their groups.
const MEASURED: usize = 2;

/// The rows of one or several tables.
pub trait Tables {
    /// The tables' names.
    const NAMES: &'static [&'static str];

    /// The rows as tables.
    fn tables(&self) -> Vec<Table>;

    /// Reads a table that has one of these names.
    ///
    /// # Errors
    /// If it is no table of such rows.
    fn check(table: &Table) -> Result<()>;
}

impl<R: Row> Tables for Vec<R> {
    const NAMES: &'static [&'static str] = &[R::TABLE];

    fn tables(&self) -> Vec<Table> {
        vec![Table::of(self)]
    }

    fn check(table: &Table) -> Result<()> {
        table.read::<R>().map(drop)
    }
}

/// Several kinds of rows beside each other.
macro_rules! tables {
    ($($row:ident $at:tt),+) => {
        impl<$($row: Row),+> Tables for ($(Vec<$row>,)+) {
            const NAMES: &'static [&'static str] = &[$($row::TABLE),+];

            fn tables(&self) -> Vec<Table> {
                vec![$(Table::of(&self.$at)),+]
            }

            fn check(table: &Table) -> Result<()> {
                match table.name() {
                    $(name if name == $row::TABLE => table.read::<$row>().map(drop),)+
                    _ => Ok(()),
                }
            }
        }
    };
}

tables!(R 0, S 1);
tables!(R 0, S 1, T 2);
tables!(R 0, S 1, T 2, U 3, V 4);

/// A measure's part of a page that shows several runs beside each other.
pub struct SideBySide {
    /// The section's title.
    pub title: &'static str,
    /// A guide to reading it.
    pub reading: &'static str,
    /// The lines of one run, which has this name: solution, line and value.
    pub(crate) lines: fn(&str, &Shown<'_>) -> Vec<plots::Line>,
}

pub(crate) use plots::lines;
