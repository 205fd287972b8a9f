//! The files of a run folder besides the steps' records.

use std::path::{Path, PathBuf};

use super::Step;
use crate::{
    data::LeftOut,
    measure::{
        Certificate, FamilyDifference, FamilyShift, RateCertificate,
        frontier::Weight,
        list::Kind,
        records::{self, Trained, TrainingStep},
    },
    table::Row,
    train::SolutionFolder,
};

/// The report.
pub const REPORT: &str = "report.html";
/// The page that shows runs side by side.
pub const COMPARISON: &str = "comparison.html";
/// The facts of the model: provenance, hashes, config.
pub const MODEL: &str = "model.json";
/// The facts of the rows: their number, and their tokens.
pub const DATA: &str = "data.json";
/// The folder of the tables.
pub const TABLES: &str = "tables";
/// The folder of the solutions' folders.
pub const SOLUTIONS: &str = "solutions";
/// The folder of sampled answers and their scores, which a measure that was stopped goes on with. What is made of them stands in
/// tables.
pub const ANSWERS: &str = "answers";
/// The kinds of file that tables are written as.
pub const TABLE_KINDS: [&str; 2] = ["csv", "parquet"];

/// The tables that the report's step makes of the others.
pub const OF_REPORT: [&str; 9] = [
    records::PREDICTIONS,
    Trained::TABLE,
    LeftOut::TABLE,
    FamilyShift::TABLE,
    FamilyDifference::TABLE,
    Certificate::TABLE,
    RateCertificate::TABLE,
    Weight::TABLE,
    TrainingStep::TABLE,
];

/// The tables that a step makes, where it has something to say.
pub fn tables_of(step: &str) -> &'static [&'static str] {
    match Kind::named(step) {
        Some(kind) => kind.tables,
        None if step == Step::REPORT => &OF_REPORT,
        None => &[],
    }
}

/// The folder that a solution's training writes into.
pub fn solution_folder(folder: &Path, solution: &str) -> SolutionFolder {
    SolutionFolder::new(folder.join(SOLUTIONS).join(solution))
}

/// The Parquet file of a table.
pub fn table_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(TABLES).join(format!("{name}.parquet"))
}
