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
    table::Heading,
};

crate::row! {
    /// One claim over all studies.
    #[derive(Serialize)]
    pub struct OverAll in "claims_over_studies",
        "Claims over all studies: in how many each holds, and the mean of its figure with an interval over studies"
    {
        /// The claim, with the solution that it is about.
        claim: String,
        /// The section of the notes on the paper that it is from.
        section: String,
        /// The number of studies in which it holds.
        yes: usize = STUDIES,
        /// The number in which it does not.
        no: usize = STUDIES,
        /// The number in which it cannot be told.
        open: usize = STUDIES,
        /// Mean of its figure over the studies, with its interval over them.
        #[serde(flatten)]
        value: Interval,
    }
}

const STUDIES: Heading = Heading::unit("studies");

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
        let (yes, no, open) = (count(Some(true)), count(Some(false)), count(None));
        let value = Interval::of_mean(&figures);
        OverAll { section: claims[0].section.clone(), claim: words, yes, no, open, value }
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
        .interval(["value", "low", "high"], "", |(_, claim)| claim.figure())
        .table()
}

/// Writes the joined tables of all studies, those of their claims and the suite's own into the suite's folder.
pub fn write(
    studies: &[Ended],
    claims: &[OverAll],
    own: impl Iterator<Item = Table>,
    out: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let mut tables = over_studies(studies.iter().filter_map(Ended::tables), progress);
    tables.extend([claims_of_all(studies), Table::of(claims)].into_iter().chain(own));
    write_into(out, &tables)
}
