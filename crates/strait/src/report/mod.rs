//! What a study found, in words and figures: the conclusion, and one self-contained HTML page drawn from its tables.
//!
//! Nothing here reads a file, a clock or the network: the caller gives [`Input`] and writes what [`render`] returns.

mod compare;
mod conclusion;
pub(crate) mod figure;
pub(crate) mod html;
pub(crate) mod numbers;
pub(crate) mod page;
mod plots;
mod rows;

pub use compare::render_comparison;
pub use conclusion::{Claim, Conclusion, Expected, conclude, sentences, terminal_verdict};
pub use page::render;

use crate::Table;

/// What a conclusion must know of the study besides its tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The taught domain, as in "inside vehicles".
    pub domain: String,
    /// The taught kind of answer, as in "the technical answer".
    pub kind: String,
    /// Largest share of the narrow shift that the upper bound of the general shift of a certified narrow solution may
    /// reach: the study's `certificate`.
    pub certificate: f64,
    /// Nats a token by which the response loss may rise at a scale that counts as coherent: the study's `coherence`.
    pub coherence: f64,
    /// Parameters of the model, where known.
    pub parameters: Option<u64>,
    /// The format that the weights were dequantised from, such as "Q4_1", if they were.
    pub quantisation: Option<String>,
    /// The values that the study holds fixed, each a few words; they limit the conclusion.
    pub fixed: Vec<String>,
}

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
