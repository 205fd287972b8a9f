//! Predictions, sealed before the first step.

use std::{path::Path, time::SystemTime};

use super::{
    super::{Plan, Seal, Study},
    Problem,
    clock::utc,
    records::{read_json, read_step, write_json},
};
use crate::Result;

const PREDICTIONS: &str = "predictions.json";

/// Seals the study's predictions where no step has been begun; later it only looks whether they are still the same.
pub(super) fn seal(folder: &Path, study: &Study, plan: &Plan) -> Result<()> {
    let sealed = sealed(folder)?.map_or_else(Vec::new, |seal| seal.predictions);
    if sealed == study.predictions {
        return Ok(());
    }
    for step in &plan.steps {
        if read_step(folder, &step.name)?.is_some() {
            return Err(Problem::Predictions.at(folder));
        }
    }
    write_json(folder, PREDICTIONS, &Seal::new(utc(SystemTime::now()), &study.predictions))
}

/// The predictions that were sealed in a run folder.
pub fn sealed(folder: &Path) -> Result<Option<Seal>> {
    read_json(folder, PREDICTIONS)
}
