//! Every claim over the studies of a suite, and the suite's tables.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;
use strait_model::progress::Progress;

use super::{
    Ended,
    joined::{over_studies, write_into},
};
use crate::{
    Result, Table,
    claim::{Claim, sentence},
    interval::Interval,
};

/// One claim over all studies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverAll {
    /// The claim, with the solution that it is about.
    pub claim: String,
    /// The section of the notes on the paper that it is from.
    pub section: String,
    /// The number of studies in which it holds.
    pub yes: usize,
    /// The number in which it does not.
    pub no: usize,
    /// The number in which it cannot be told.
    pub open: usize,
    /// Mean of its figure over the studies.
    pub value: f64,
    /// Lower end of the mean's 95 % interval over studies.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Every claim over the studies that make it, in the order in which they first make it.
pub fn over_all(studies: &[Ended]) -> Vec<OverAll> {
    let mut order: Vec<String> = Vec::new();
    let mut all: BTreeMap<String, Vec<&Claim>> = BTreeMap::new();
    for claim in studies.iter().flat_map(claims) {
        let words = sentence(claim.solution.as_deref(), &claim.claim);
        if !all.contains_key(&words) {
            order.push(words.clone());
        }
        all.entry(words).or_default().push(claim);
    }
    let over = |words: String| {
        let claims = &all[&words];
        let count = |holds| claims.iter().filter(|claim| claim.holds == holds).count();
        let figures: Vec<f64> = claims.iter().map(|claim| claim.value).filter(|x| x.is_finite()).collect();
        let Interval { value, low, high } = Interval::of_mean(&figures);
        let (yes, no, open) = (count(Some(true)), count(Some(false)), count(None));
        OverAll { section: claims[0].section.clone(), claim: words, yes, no, open, value, low, high }
    };
    order.into_iter().map(over).collect()
}

fn claims(study: &Ended) -> impl Iterator<Item = &Claim> {
    study.conclusion.iter().flat_map(|conclusion| &conclusion.claims)
}

/// The claims of all studies, one row each.
fn claims_of_all(studies: &[Ended]) -> Table {
    let rows: Vec<(&Ended, &Claim)> =
        studies.iter().flat_map(|study| claims(study).map(move |claim| (study, claim))).collect();
    let about = "Claims of every study, with the figures that they rest on";
    Table::of_rows("claims", about, &rows)
        .text("study", |(study, _)| study.study.clone())
        .text("claim", |(_, claim)| sentence(claim.solution.as_deref(), &claim.claim))
        .text("section", |(_, claim)| claim.section.clone())
        .truth("holds", |(_, claim)| claim.holds)
        .interval(["value", "low", "high"], "", |(_, claim)| Interval {
            value: claim.value,
            low: claim.low,
            high: claim.high,
        })
        .table()
}

/// The claims over all studies.
pub fn claims_over_all(claims: &[OverAll]) -> Table {
    let about = "Claims over all studies: in how many each holds, and the mean of its figure with an interval over studies";
    Table::of_rows("claims_over_studies", about, claims)
        .text("claim", |c| c.claim.clone())
        .text("section", |c| c.section.clone())
        .integer("yes", "studies", |c| c.yes as i64)
        .integer("no", "studies", |c| c.no as i64)
        .integer("open", "studies", |c| c.open as i64)
        .interval(["value", "low", "high"], "", |c| Interval { value: c.value, low: c.low, high: c.high })
        .table()
}

/// Writes the joined tables of all studies and those of the claims into the suite's folder.
pub fn write(studies: &[Ended], claims: &[OverAll], out: &Path, progress: &dyn Progress) -> Result<()> {
    let done = studies.iter().filter_map(|study| {
        let input = study.input.as_ref()?;
        Some((study.values.as_slice(), input.tables.as_slice()))
    });
    let mut tables = over_studies(done, progress);
    tables.extend([claims_of_all(studies), claims_over_all(claims)]);
    write_into(out, &tables)
}
