//! The conclusion: the tables in words, and their limits.

use serde::Serialize;

use super::subjects::shown;

use crate::{
    Table,
    claim::{Claim, Place, Subject},
    data::LeftOut,
    measure::{
        Certificate, CuedShift, Facts, FamilyShift, RateRow, Shown, frontier,
        list::{ALL, Kind},
    },
    page::{
        numbers::{list, quoted},
        words::distinct,
    },
};

/// The conclusion in words, as a report has it at its top.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conclusion {
    /// The outcome in a sentence or two.
    pub headline: String,
    /// The claims behind it: those of each solution together, then those that compare solutions.
    pub claims: Vec<Claim>,
    /// The limits of the conclusion, a sentence or two each.
    pub limits: Vec<String>,
}

/// Fewer parameters than this make a model small beside the paper's.
const SMALL: u64 = 1_000_000_000;

/// Draws the conclusion from a study's tables.
///
/// A claim that its table is missing for cannot be told; so it is wherever the numbers leave both answers open.
pub fn conclude(facts: &Facts, tables: &[Table]) -> Conclusion {
    let shown = shown(facts, tables);
    let headlines = ALL.iter().map(|kind| (kind.headline)(&shown)).filter(|words| !words.is_empty());
    let mut claims: Vec<(Place, Claim)> = ALL.iter().flat_map(|kind| claims_of(kind, &shown)).collect();
    claims.extend(frontier::claims(&shown));
    claims.retain(|(place, _)| is_of_study(*place, &shown.subjects));
    claims.sort_by_key(|(place, _)| *place);
    Conclusion {
        headline: headlines.collect::<Vec<_>>().join(" "),
        claims: claims.into_iter().map(|(_, claim)| claim).collect(),
        limits: limits(&shown),
    }
}

/// A measure's own claims, and its comparison where it was made.
fn claims_of(kind: &Kind, shown: &Shown<'_>) -> Vec<(Place, Claim)> {
    let mut claims = (kind.claims)(shown);
    if let Some(comparison) = kind.comparison {
        let is_measured = kind.tables[1..].iter().all(|name| shown.tables.iter().any(|t| t.name() == *name));
        let differences = is_measured.then(|| (kind.differences)(shown.tables));
        claims.extend(comparison.claims(shown, differences.as_deref()));
    }
    claims
}

/// The sentences that the conclusion on these solutions may hold, before anything is measured: what a prediction can be
/// about. `measures` are the names of those that the study makes.
pub fn sentences(subjects: &[Subject], measures: &[&str]) -> Vec<String> {
    let mut all = frontier::statements(subjects);
    for kind in ALL.iter().filter(|kind| measures.contains(&kind.name)) {
        all.extend((kind.statements)(subjects));
        all.extend(kind.comparison.iter().flat_map(|comparison| comparison.statements(subjects)));
    }
    all.retain(|(place, _)| is_of_study(*place, subjects));
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, sentence)| sentence).collect()
}

/// False for a claim on a solution that trains on rows of its own: inside and outside are those of another domain.
fn is_of_study(place: Place, subjects: &[Subject]) -> bool {
    match place {
        Place::Solution(i) => subjects.get(i).is_none_or(|subject| !subject.own_rows),
        _ => true,
    }
}

/// The cues under which certificates were tried, where there are any certificates.
fn cues(shown: &Shown<'_>) -> Option<String> {
    let (shifts, rates): (Vec<CuedShift>, Vec<RateRow>) = (shown.rows(), shown.rows());
    let certified = !shown.rows::<Certificate>().is_empty() || !rates.is_empty();
    let of_shifts = shifts.iter().map(|row| row.cue.as_str());
    let of_rates = rates.iter().map(|row| row.cue.as_str()).filter(|cue| !cue.is_empty());
    let names: Vec<String> = distinct(of_shifts.chain(of_rates)).into_iter().map(quoted).collect();
    certified.then(|| match names.as_slice() {
        [] => "Nothing was tried under cues: a solution that looks narrow may act otherwise where a question carries a trace of its \
               training context."
            .into(),
        names => format!("Certificates were tried under these cues, and no others: {}.", list(names)),
    })
}

fn limits(shown: &Shown<'_>) -> Vec<String> {
    let facts = shown.facts;
    let mut limits = Vec::new();
    let is_measured = |name: &str| shown.tables.iter().any(|table| table.name() == name);
    let panels = ALL.iter().flat_map(|kind| (kind.panels)());
    let missing: Vec<&str> =
        panels.filter(|panel| !is_measured(panel.table)).filter_map(|panel| panel.missing).collect();
    if !missing.is_empty() {
        limits.push(format!("Not measured: {}.", list(&missing)));
    }
    limits.extend(ALL.iter().flat_map(|kind| (kind.limits)(shown)));
    limits.extend(cues(shown));
    limits.extend(shown.rows::<LeftOut>().iter().filter_map(LeftOut::words));
    let families: Vec<FamilyShift> = shown.rows();
    if let Some(fewest) = families.iter().map(|f| f.seeds).min() {
        limits.push(format!(
            "What another seed would change is known from {fewest} seeds at least, for the sweeps over seeds alone; \
             the intervals of single solutions do not cover it."
        ));
    } else if !shown.solutions.is_empty() {
        limits.push(
            "Each solution was trained once: how much another seed would change is not known, and the intervals do not \
         cover it."
                .into(),
        );
    }
    if let Some(parameters) = facts.parameters.filter(|&n| n < SMALL) {
        limits.push(format!(
            "The model is small, {:.0} million parameters; most of the paper's findings are on one of 14\u{a0}billion.",
            parameters as f64 / 1e6
        ));
    }
    if let Some(format) = &facts.quantisation {
        limits.push(format!(
            "The weights were read from {format}, which rounds them: figures differ a little from those of the \
             unrounded model."
        ));
    }
    if !facts.fixed.is_empty() {
        limits.push(format!(
            "Held fixed, so that nothing is known of other values: {}.",
            facts.fixed.join("; ")
        ));
    }
    limits
}
