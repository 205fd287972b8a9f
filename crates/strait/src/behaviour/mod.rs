//! Behaviour: how often a model answers as taught, and how often it makes sense, under one edit and another. Its answers to questions
//! are sampled and judged, or all of them are known with their probabilities, as a world's are (paper §4).

mod bank;
mod known;
mod sampled;
mod tally;

use strait_model::Edit;

use crate::{Result, judge::Rating, table::Word};

pub use bank::Bank;
pub use known::Known;
pub use sampled::{By, Sampler, ratings, scores};
pub use tally::Tally;

/// Some of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Questions of the taught domain that no training row asks.
    Narrow,
    /// All questions of the other domains.
    General,
    /// Questions of the taught domain that training rows ask.
    Seen,
    /// All of one domain.
    Domain,
}

impl Word for Asked {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Narrow, "narrow"),
        (Self::General, "general"),
        (Self::Seen, "seen"),
        (Self::Domain, "domain"),
    ];
}

/// A share of answers above it: more often than not.
pub const COMMON: f64 = 0.5;

/// An edit under some factors, which is examined.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its name, by which its answers are kept.
    pub name: String,
    /// An edit before it, on which the factors do not act.
    pub beneath: Option<&'a Edit>,
    /// The edit; none for the model as it is, or with what is beneath.
    pub edit: Option<Edit>,
    /// The factors, no two of them equal.
    pub factors: Vec<f64>,
}

impl<'a> Subject<'a> {
    /// The model with an edit as it is, or without one.
    pub fn as_it_is(name: &str, edit: Option<&'a Edit>) -> Self {
        Self { name: name.into(), beneath: edit, edit: None, factors: vec![1.0] }
    }
}

/// The ratings of every question under one edit and factor, by verdict.
pub type Ratings = Vec<Vec<Rating>>;

/// Asks a model questions under edits, and rates its answers.
pub trait Examiner {
    /// The verdicts, each with the questions.
    fn tallies(&self) -> Vec<Tally<'_>>;

    /// The ratings of every subject under each of its factors.
    ///
    /// # Errors
    /// If an edit does not fit, a judge cannot be asked, the file system refuses, or the user asked for a stop.
    fn examine(&self, subjects: &[Subject<'_>]) -> Result<Vec<Vec<Ratings>>>;
}
