//! The solutions of a run, from its tables.

use crate::{
    Table,
    claim::Subject,
    measure::{
        DriftRow, Facts, Shown,
        frontier::Weight,
        records::{OWN_ROWS, Trained},
        rows,
    },
    page::words::distinct,
    table::{Column, Row},
};

/// The tables of a run with the facts of its study, as panels and claims read them.
pub(super) fn shown<'a>(facts: &'a Facts, tables: &'a [Table]) -> Shown<'a> {
    // The table of solutions has all of them and no others; measures may name base beside them.
    let listed = tables.iter().find(|table| table.name() == Trained::TABLE);
    let naming = listed.map_or(tables, std::slice::from_ref);
    let names = naming.iter().filter_map(|table| table.text("solution")).flatten();
    let solutions = distinct(names.map(String::as_str));
    let (drifts, weights) = (rows::<DriftRow>(tables), rows::<Weight>(tables));
    let trained = rows::<Trained>(tables);
    let with_own_rows: Vec<&str> = listed.map_or_else(Vec::new, |table| {
        let Some(Column::Truth(own)) = table.column(OWN_ROWS) else { return Vec::new() };
        let named = table.text("solution").into_iter().flatten().map(String::as_str).zip(own);
        named.filter(|(_, own)| **own == Some(true)).map(|(name, _)| name).collect()
    });
    let subject = |name: &&str| {
        let row = trained.iter().find(|row| row.solution == *name);
        Subject {
            name: name.to_string(),
            kind: row.map_or(String::new(), |row| row.kind.clone()),
            control: row.is_some_and(|row| row.control),
            own_rows: with_own_rows.contains(name),
            penalised: row.is_some_and(|row| row.kl_weight > 0.0),
            searched: weights.iter().any(|weight| weight.solution == *name),
            freed: drifts.iter().any(|drift| drift.solution == *name && drift.freed),
            variant: row.map_or_else(|| name.to_string(), |row| row.variant.clone()),
            seed: row.map_or(0, |row| row.seed),
        }
    };
    let subjects = solutions.iter().map(subject).collect();
    Shown { facts, tables, solutions, subjects }
}
