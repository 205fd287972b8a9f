//! The time of day, which stands in records and in `times.csv` alone.

use std::path::Path;

use super::{super::Plan, records::read_step};
use crate::{Result, Table};

const TIMES: &str = "times.csv";

/// Writes `times.csv`: when each step of a plan began and ended, and how long it took. No other result holds the time of
/// day, so that equal runs are equal files.
///
/// # Errors
/// If a record cannot be read or the file not be written.
pub(super) fn write_times(folder: &Path, plan: &Plan) -> Result<()> {
    let mut records = Vec::new();
    for step in &plan.steps {
        records.extend(read_step(folder, &step.name)?);
    }
    let times = Table::of_rows("times", "When each step was done, and how long it took", &records)
        .text("step", |r| r.name.clone())
        .text("started", |r| r.started.clone())
        .text("ended", |r| r.ended.clone().unwrap_or_default())
        .real("seconds", "s", |r| r.seconds.unwrap_or(f64::NAN))
        .table();
    times.write_csv(&folder.join(TIMES))
}
