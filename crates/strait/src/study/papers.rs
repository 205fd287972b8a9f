//! The names of the papers' settings.

use serde::{Deserialize, Serialize};

/// Settings of the paper under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preset {
    /// The steering vector.
    #[serde(rename = "paper-steering")]
    PaperSteering,
    /// The rank-1 adapter on one down projection.
    #[serde(rename = "paper-rank1")]
    PaperRank1,
    /// The rank-32 adapter on one down projection.
    #[serde(rename = "paper-rank32")]
    PaperRank32,
}

impl Preset {
    /// All presets by name.
    pub const NAMES: [(&str, Self); 3] = [
        ("paper-steering", Self::PaperSteering),
        ("paper-rank1", Self::PaperRank1),
        ("paper-rank32", Self::PaperRank32),
    ];

    /// Its name in a study file.
    pub fn name(self) -> &'static str {
        match self {
            Self::PaperSteering => "paper-steering",
            Self::PaperRank1 => "paper-rank1",
            Self::PaperRank32 => "paper-rank32",
        }
    }
}
