//! Tables over the studies of a suite.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::Ended;
use crate::{
    Result, Table,
    claim::{Claim, sentence},
    interval::Interval,
    study::tables_in,
    table::Column,
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
    /// In which it does not.
    pub no: usize,
    /// In which it cannot be told.
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

/// The tables of some run folders, one under another: each row begins with the values of its study.
///
/// # Errors
/// If a table cannot be read, or two of one name have different columns.
pub fn over_studies<'a>(
    studies: impl Iterator<Item = (&'a [(String, String)], &'a Path)>,
) -> Result<Vec<Table>> {
    let mut all: Vec<Table> = Vec::new();
    for (values, folder) in studies {
        for table in tables_in(folder)? {
            let mut with_values = Table::new(table.name(), table.about());
            // A column of the table may be called as a value is.
            let clashes = |name: &str| table.column(name).is_some();
            for (name, value) in values {
                let column = if clashes(name) { format!("study_{name}") } else { name.clone() };
                with_values =
                    with_values.with_column(column, "", Column::Text(vec![value.clone(); table.rows()]));
            }
            for (name, unit, column) in table.columns() {
                with_values = with_values.with_column(name, unit, column.clone());
            }
            match all.iter_mut().find(|known| known.name() == table.name()) {
                Some(known) => known.append(&with_values)?,
                None => all.push(with_values),
            }
        }
    }
    Ok(all)
}

/// Writes all tables into the suite's folder.
pub fn write(studies: &[Ended], out: &Path) -> Result<()> {
    let done = studies.iter().filter(|study| study.conclusion.is_some());
    let mut tables = over_studies(done.map(|study| (study.values.as_slice(), study.folder.as_path())))?;
    tables.push(claims_of_all(studies));
    tables.push(claims_over_all(&over_all(studies)));
    write_into(&out.join("tables"), &tables)
}

/// Writes tables that have rows into a folder, as CSV and Parquet.
pub fn write_into(folder: &Path, tables: &[Table]) -> Result<()> {
    for table in tables.iter().filter(|table| table.rows() > 0) {
        table.write_csv(&folder.join(format!("{}.csv", table.name())))?;
        table.write_parquet(&folder.join(format!("{}.parquet", table.name())))?;
    }
    Ok(())
}
