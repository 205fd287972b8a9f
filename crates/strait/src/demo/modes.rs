//! The extent of a demo in each mode, and the notes that its reader needs.

use super::{causal, fits::Kind, results::Mode};

/// The world in which a part of the causal table is computed again.
const LIVE: &str = "narrow-0";

impl Mode {
    /// All worlds that it needs, the first of them those of the programme.
    pub(super) fn all_worlds(self) -> Vec<&'static str> {
        let mut worlds = self.worlds().to_vec();
        for world in self.causal_worlds().iter().chain(self.contrast_worlds()) {
            if !worlds.contains(world) {
                worlds.push(world);
            }
        }
        worlds
    }

    /// The worlds in which the programme is carried out.
    pub(super) fn worlds(self) -> &'static [&'static str] {
        const WORLDS: [&str; 3] = ["default-0", "default-1", "default-2"];
        if self == Self::Quick { &WORLDS[..1] } else { &WORLDS }
    }

    /// The worlds in which rows of the causal table are computed.
    pub(super) fn causal_worlds(self) -> &'static [&'static str] {
        match self {
            Self::Quick => &[],
            Self::Default => &[LIVE],
            Self::Full => causal::WORLDS,
        }
    }

    /// The worlds whose documents never name their speaker.
    pub(super) fn contrast_worlds(self) -> &'static [&'static str] {
        if self == Self::Full { &["contrast-0", "contrast-1", "contrast-2"] } else { &[] }
    }

    pub(super) fn causal_kinds(self) -> &'static [Kind] {
        if self == Self::Full { &causal::KINDS } else { &causal::KINDS[..1] }
    }
}

/// The notes that a reader needs.
pub(super) fn notes(mode: Mode) -> Vec<String> {
    let mut notes: Vec<&str> = vec![
        "Speakers are directions at the embeddings by construction: that they are is assumed here, not found. What is found is \
         which of them fine-tuning takes, and why.",
        "Every answer is judged exactly, by the model's own probabilities of the true answer and of the one known falsehood.",
        "Intervals are Student's over fits, one for each taught domain of each world, never over fine-tuning seeds; a claim must \
         also lie on its side in every world. No seed was left out.",
        "No row of fine-tuning or of a penalty names a speaker.",
    ];
    match mode {
        Mode::Quick => notes.push(
            "Quick: one world, so that intervals are over its taught domains and say nothing of other worlds; steering vectors \
             only; claims 8 and 12, the controls of claim 7 and the partial penalty of claim 2 are left out; claim 13 is read \
             from the shipped table.",
        ),
        Mode::Default => notes.push(
            "Steering vectors serve all claims but the twelfth, the eighth with mixtures of 1:1 and 1:12; rank-8 LoRA serves claims \
             1, 2 and 4 and the lifted penalty of claim 7. `--full` does the rest.",
        ),
        Mode::Full => notes.push(
            "Claims 1 and 2 are also asked of a full fine-tune, and of three contrast worlds in which no document names its \
             speaker, so that no speaker is a direction by construction. Edits of a full fine-tune are not kept.",
        ),
    }
    notes.into_iter().map(String::from).collect()
}
