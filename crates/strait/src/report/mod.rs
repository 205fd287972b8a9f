//! Reports of studies: the conclusion in words, and one self-contained HTML page drawn from the tables.
//!
//! Nothing here reads a file, a clock or the network: the caller gives [`Input`] and writes what [`render`] returns.

mod compare;
mod conclusion;
mod page;
mod subjects;
mod terminal;

pub use compare::render_comparison;
pub use conclusion::{Conclusion, conclude, sentences};
pub use page::render;
pub use terminal::terminal_verdict;

use crate::Table;
pub use crate::{
    claim::{Claim, Subject},
    measure::Facts,
};

/// All that a report shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The study's name.
    pub study: String,
    /// Title of the page.
    pub title: String,
    /// The study's question, in the user's words; may be empty.
    pub about: String,
    /// The facts that the conclusion rests on besides the tables.
    pub facts: Facts,
    /// The model's facts, name and value.
    pub model: Vec<(String, String)>,
    /// The origin of the results, name and value: versions, seeds, hashes.
    pub provenance: Vec<(String, String)>,
    /// The values that each preset gave, a line a preset.
    pub presets: Vec<String>,
    /// The values that the study asks about.
    pub scientific: Vec<String>,
    /// The tables of the measures. Those that a panel knows by name are drawn; all are shown.
    pub tables: Vec<Table>,
    /// The study as resolved, as it was saved.
    pub resolved_study: String,
}
