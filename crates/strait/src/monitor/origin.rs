//! The origin of a monitor, as its folder states it: files by the last part of their paths, since what is handed on names no machine.

use std::path::Path;

use serde_json::{Value, json};
use strait_model::{
    Edit, Model,
    edit::{Opened, SteeringVector},
};

use super::{Monitor, Problem};
use crate::{Result, keys::last_part};

/// The steering vectors of an edit, to be a monitor's directions.
///
/// # Errors
/// If the edit is made of anything else.
pub fn directions_of(opened: &Opened) -> Result<Vec<SteeringVector>> {
    let direction = |part: &Edit| match part {
        Edit::Steering(direction) => Ok(direction.clone()),
        _ => Err(Problem::NotVectors.at(&opened.path)),
    };
    opened.edit.parts().map(direction).collect()
}

impl Monitor {
    /// The same monitor with the origin of its directions, and the model and the edits that read the clean responses.
    #[must_use]
    pub fn from_origin(mut self, directions: &[Opened], model: &Model, edits: &[String]) -> Self {
        let origin = |opened: &Opened| -> Value {
            json!({ "file": last_part(&opened.path), "provenance": opened.provenance })
        };
        let provenance = &model.provenance;
        let name = || last_part(Path::new(&provenance.located.name));
        self.facts.directions = directions.iter().map(origin).collect();
        self.facts.calibration.model = provenance.hub.clone().unwrap_or_else(name);
        self.facts.calibration.edits = edits.iter().map(|edit| last_part(Path::new(edit))).collect();
        self
    }
}
