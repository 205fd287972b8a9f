//! The content of a report: the tables of a run and the facts of its study.

use crate::{
    Table,
    claim::{Subject, opposed},
    page::{Groups, heat::Heat},
    table::Row,
};

/// The facts of a study that its conclusion needs besides the tables.
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

/// A run's facts and tables, as panels and claims read them.
pub struct Shown<'a> {
    /// The study's facts.
    pub facts: &'a Facts,
    /// The run's tables.
    pub tables: &'a [Table],
    /// The names of all solutions. One keeps its place, and so its colour, whatever was measured.
    pub solutions: Vec<&'a str>,
    /// The solutions as claims see them.
    pub subjects: Vec<Subject>,
}

impl Shown<'_> {
    /// The rows of the table that has them; none where that was not measured.
    pub fn rows<R: Row>(&self) -> Vec<R> {
        rows(self.tables)
    }

    /// True if the solutions' own answers were judged: the verdict then rests on these.
    pub fn is_judged(&self) -> bool {
        self.tables.iter().any(|table| table.name() == "rates" && table.rows() > 0)
    }

    /// True if claims are made of a solution alone: it trains on the rows of the study, whose domain is then its own.
    pub fn is_of_study(&self, solution: &str) -> bool {
        !self.subjects.iter().any(|subject| subject.name == solution && subject.own_rows)
    }

    /// The pairs of solutions that claims compare.
    pub fn opposed(&self) -> Vec<[&Subject; 2]> {
        opposed(&self.subjects)
    }

    /// The name that a solution shares with those that differ from it in their seeds alone.
    pub fn variant_of(&self, solution: &str) -> Option<&str> {
        self.subjects.iter().find(|s| s.name == solution).map(|s| s.variant.as_str())
    }
}

/// The rows of the table that has them; none where there is none. Reports are drawn of tables that were checked before.
pub fn rows<R: Row>(tables: &[Table]) -> Vec<R> {
    let table = tables.iter().find(|table| table.name() == R::TABLE);
    table.and_then(|table| table.read().ok()).unwrap_or_default()
}

/// A part of a report, drawn from one table. The table of that name with `_difference` behind it stands below it.
#[derive(Clone, Copy)]
pub struct Panel {
    /// The table's name.
    pub table: &'static str,
    /// The heading.
    pub title: &'static str,
    /// A guide to reading it, a few sentences.
    pub reading: &'static str,
    /// True if the page lists the table's rows; a table that is too long for it stands in its files alone.
    pub listed: bool,
    /// The words by which a report without it says that it lacks it; none where it may be missing.
    pub missing: Option<&'static str>,
    /// A sentence from the rows themselves; may be empty.
    pub(crate) say: fn(&Shown<'_>) -> String,
    /// Its figures.
    pub(crate) draw: fn(&Shown<'_>) -> Groups,
    /// Its heat maps.
    pub(crate) map: fn(&Shown<'_>) -> Vec<Heat>,
}

impl Panel {
    /// A panel that shows its table and nothing else.
    pub const fn table(table: &'static str, title: &'static str, reading: &'static str) -> Self {
        Self {
            table,
            title,
            reading,
            listed: true,
            missing: None,
            say: |_| String::new(),
            draw: |_| Vec::new(),
            map: |_| Vec::new(),
        }
    }

    /// With figures.
    #[must_use]
    pub(crate) const fn drawn(self, draw: fn(&Shown<'_>) -> Groups) -> Self {
        Self { draw, ..self }
    }

    /// With heat maps.
    #[must_use]
    pub(crate) const fn mapped(self, map: fn(&Shown<'_>) -> Vec<Heat>) -> Self {
        Self { map, ..self }
    }

    /// Without the rows of its table.
    #[must_use]
    pub const fn unlisted(self) -> Self {
        Self { listed: false, ..self }
    }

    /// With the words for its absence.
    #[must_use]
    pub const fn missed(self, words: &'static str) -> Self {
        Self { missing: Some(words), ..self }
    }
}
