//! The study: one file that names model, data, solutions and measures; the plan of steps; the folder of results.
//!
//! A study is read in two steps: [`StudyFile`] is what the file says, [`Study`] what it means. Both are kept with the run.

mod axis;
mod crew;
mod file;
mod folder;
mod layout;
mod made;
mod numbers;
mod papers;
mod plan;
mod planned;
mod prediction;
mod preset;
mod problem;
mod provenance;
mod records;
mod resolve;
mod results;
mod rows;
mod run;
mod search;
mod sweep;
mod trained;
mod training;
mod values;
mod worker;

pub use crate::{keys::Place, lab::Limits};
pub use axis::Axis;
pub use file::StudyFile;
pub(crate) use file::{name, text_of};
pub use folder::{
    Problem as FolderProblem, Recorded, Run, RunFolder, RunningStep, Session, State, Status, StepRecord,
    StepStatus, default_folder, status, status_of,
};
pub(crate) use folder::{is_run, utc, write_json};
pub use papers::Preset;
pub use plan::{Plan, RESULTS_VERSION, Step};
pub(crate) use planned::Planned;
pub use prediction::{Prediction, Seal};
pub use problem::Problem;
pub use resolve::{Data, Measures, Mix, PairSource, Rows, Solution, Study, Unplaced, Without};
pub(crate) use results::report_input;
pub use results::{Outcome, write_comparison, write_report};
pub use run::{DryRun, dry_run, run};
pub(crate) use run::{complete, outlook, seconds_left};
pub use search::{Search, Tried};
pub use sweep::{MAX_POINTS, Point};
pub use values::{Fixed, Scientific, Values};

/// Version of the files of a run folder and of what `status` prints.
pub const SCHEMA: u32 = 1;

/// A complete study with every key, its usual value and the reason for it: what `strait init` writes.
pub const EXAMPLE: &str = include_str!("example.toml");
