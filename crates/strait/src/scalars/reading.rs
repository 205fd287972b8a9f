//! Scalars of rows, one pass a row.

use std::collections::HashSet;

use candle_core::{DType, Tensor};
use strait_model::{
    Decoder, Edit,
    progress::{Progress, Unit},
};

use super::Problem;
use crate::{
    Result,
    lab::{advance, finite},
    objective::{Row, batches, packed, response_places},
};

/// The scalars of the response tokens of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalars {
    /// The name of each: the module of its adapter, with a number behind it where the rank is above 1.
    pub names: Vec<String>,
    /// Of each row its response tokens, of each token all scalars.
    pub rows: Vec<Vec<Vec<f64>>>,
}

/// Reads A x of every adapter of an edit at every response token, the scale left out. Rows are read under the whole edit.
///
/// # Errors
/// If the edit has no adapters or one on the head, a row has no response, a scalar is no number, or the user asked for a stop.
pub fn read(decoder: &Decoder, rows: &[Row], edit: &Edit, progress: &dyn Progress) -> Result<Scalars> {
    check_responses(rows)?;
    let task = progress.begin("reading scalars", Some(rows.len() as u64), Unit::Count);
    let edit = edit.detached();
    let mut found = Vec::with_capacity(rows.len());
    for batch in batches(rows, &(0..rows.len()).collect::<Vec<_>>()) {
        let packed = packed(rows, &batch);
        let scalars = decoder.scalars(&packed, &edit)?;
        let scalars: Vec<Vec<f32>> = Tensor::cat(&scalars, 1)?.to_dtype(DType::F32)?.to_vec2()?;
        for (&row, places) in batch.iter().zip(response_places(rows, &batch, &packed)) {
            let token = |place: usize| scalars[place].iter().map(|&x| finite("scalar", row, true, x.into()));
            let tokens = places.into_iter().map(|place| token(place).collect::<Result<Vec<f64>>>());
            found.push(tokens.collect::<Result<_>>()?);
        }
        advance(progress, &*task, batch.len() as u64)?;
    }
    Ok(Scalars { names: names(&edit)?, rows: found })
}

/// Refuses rows without a response.
pub(super) fn check_responses(rows: &[Row]) -> Result<(), Problem> {
    match rows.iter().position(|row| row.response_tokens() == 0) {
        Some(row) => Err(Problem::NoResponse { row }),
        None => Ok(()),
    }
}

/// The module of every adapter; where two are on one module, with the number of the adapter before it.
pub(super) fn modules(edit: &Edit) -> Vec<String> {
    let modules: Vec<String> = edit.adapters().map(|(adapter, _)| adapter.site.module()).collect();
    match modules.iter().collect::<HashSet<_>>().len() == modules.len() {
        true => modules,
        false => modules.iter().enumerate().map(|(at, module)| format!("{at}.{module}")).collect(),
    }
}

/// The name of every scalar.
fn names(edit: &Edit) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for ((adapter, _), module) in edit.adapters().zip(modules(edit)) {
        match adapter.a.dim(0)? {
            1 => names.push(module),
            rank => names.extend((0..rank).map(|k| format!("{module}.{k}"))),
        }
    }
    Ok(names)
}
