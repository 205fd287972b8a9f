//! `[measure]`: what is measured, and how.

use serde::{Deserialize, Serialize};

use super::{Data, data::Sources};
use crate::{
    measure::{Common, list::Chosen},
    study::{file::MeasureKeys, problem::Checked},
};

/// The measures of a study and their settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Factors by which solutions are scaled for the certificate; 1 is among them.
    pub scales: Vec<f64>,
    /// The largest general shift of a narrow solution, as a share of its narrow shift.
    pub certificate: f64,
    /// Nats per token that the mean response loss may rise by for a scale to count as coherent.
    pub coherence: f64,
    /// Training rows that efficiency, stability and gradient read.
    #[serde(default)]
    pub rows: usize,
    /// The measures with their settings.
    #[serde(flatten)]
    pub asked: Chosen,
}

impl Measures {
    /// The meaning of `[measure]` in a study of these rows.
    pub(super) fn resolve(keys: &MeasureKeys, data: &Data, sources: &Sources) -> Checked<Self> {
        let (scales, coherence) = (keys.scales(), keys.coherence());
        let common = Common {
            scales: &scales,
            coherence,
            folder: sources.folder,
            world: sources.world.as_ref(),
            falsehoods: &data.falsehoods(),
            earlier: &[],
        };
        let asked = keys.asked.resolve(&common)?;
        Ok(Self { scales, certificate: keys.certificate(), coherence, rows: keys.rows(), asked })
    }
}
