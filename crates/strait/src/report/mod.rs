//! What a study found, in words and figures: the conclusion, and one self-contained HTML page drawn from its tables.
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
    /// What the study asks, in the user's words; may be empty.
    pub about: String,
    /// What the conclusion rests on besides the tables.
    pub facts: Facts,
    /// What is known of the model: name and value.
    pub model: Vec<(String, String)>,
    /// Where the results come from: versions, seeds, hashes.
    pub provenance: Vec<(String, String)>,
    /// What each preset became, a line each.
    pub presets: Vec<String>,
    /// The values that the study asks about.
    pub scientific: Vec<String>,
    /// What the measures returned. Those that the report knows by name are drawn; all are shown.
    pub tables: Vec<Table>,
    /// The study as resolved, as it was saved.
    pub resolved_study: String,
}
