//! `[measure]`: what is measured, and how.

use serde::{Deserialize, Serialize};

use crate::{
    keys::Folder,
    measure::{EfficiencySettings, SignificanceSettings, StabilitySettings},
    place::Place,
    study::{
        file::{MeasureKeys, SignificanceKeys},
        problem::Checked,
    },
};

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Factors by which solutions are scaled for the certificate; 1 is among them.
    pub scales: Vec<f64>,
    /// The largest general shift of a narrow solution, as a share of its narrow shift.
    pub certificate: f64,
    /// Nats per token that the mean response loss may rise by for a scale to count as coherent.
    pub coherence: f64,
    /// The most pairs of each group that are read at every checkpoint of a drift; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_pairs: Option<usize>,
    /// Training rows that efficiency and stability read.
    #[serde(default)]
    pub rows: usize,
    /// The scaling of solutions; none where it is not measured.
    #[serde(default)]
    pub efficiency: Option<EfficiencySettings>,
    /// The noise on solutions; none where it is not measured.
    #[serde(default)]
    pub stability: Option<StabilitySettings>,
    /// The reading of pre-training text; none where it is not measured.
    #[serde(default)]
    pub significance: Option<Significance>,
}

/// Pre-training text, and the directions that are read on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Significance {
    /// Files of passages.
    pub text: Vec<Place>,
    /// Passages that are read.
    pub passages: usize,
    /// The most tokens of a passage that are read.
    pub tokens: usize,
    /// The directions.
    #[serde(flatten)]
    pub directions: SignificanceSettings,
}

impl Measures {
    /// What `[measure]` means in a study of this folder.
    pub(super) fn resolve(keys: &MeasureKeys, folder: &Folder) -> Checked<Self> {
        Ok(Self {
            scales: keys.scales(),
            certificate: keys.certificate(),
            coherence: keys.coherence(),
            drift_pairs: keys.drift().pairs.map(|pairs| pairs.value),
            rows: keys.rows(),
            efficiency: keys.efficiency().map(|keys| keys.settings()),
            stability: keys.stability().map(|keys| keys.settings()),
            significance: keys.significance().map(|keys| significance(&keys, folder)).transpose()?,
        })
    }
}

fn significance(keys: &SignificanceKeys, folder: &Folder) -> Checked<Significance> {
    let text = keys.text.value.iter().map(|path| folder.file("measure.significance.text", path));
    Ok(Significance {
        text: text.collect::<Result<_, _>>()?,
        passages: keys.passages(),
        tokens: keys.tokens(),
        directions: keys.directions(),
    })
}
