//! The general and the narrow solution and nothing else, where no more is asked of them: a full fine-tune, and edits in the
//! worlds whose speakers can only be inferred from what they say.

use serde::{Deserialize, Serialize};

use super::{
    bench::{Bench, Fit, Kind, Penalty, Place, Reading},
    piece::{GENERAL, NARROW, solution},
};
use crate::{
    Result,
    train::{EditKind, Settings},
};

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Every weight, in a world whose speakers are named.
    Full,
    /// An edit, in a world whose speakers are never named.
    Contrast(Kind),
}

impl How {
    /// One word, for names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Contrast(Kind::Vector) => "contrast-vector",
            Self::Contrast(Kind::Rank8) => "contrast-rank-8",
            Self::Contrast(Kind::Rank1) => "contrast-rank-1",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Full => "full fine-tune",
            Self::Contrast(kind) => kind.words(),
        }
    }

    fn fits(self) -> [Fit<'static>; 2] {
        let plain = match self {
            // The work of a step on every weight is about that of a step on LoRA.
            Self::Full => Fit { steps: FULL_STEPS, ..Fit::new(Kind::Rank8) },
            Self::Contrast(kind) => Fit { place: Place::FirstBlock, steps: CONTRAST_STEPS, ..Fit::new(kind) },
        };
        [plain, Fit { penalty: Penalty::Others, ..plain }]
    }

    /// The work of its fits, in steps on false rows alone.
    pub(super) fn cost(self) -> u64 {
        self.fits().iter().map(Fit::cost).sum()
    }
}

/// Steps of a full fine-tune.
const FULL_STEPS: usize = 200;
/// Its learning rate.
const FULL_RATE: f64 = 3e-4;
/// Steps of an edit after the first block.
const CONTRAST_STEPS: usize = 250;

/// What was found in one world and one domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The world.
    pub world: String,
    /// The word of the domain in which falsehood was taught.
    pub word: String,
    /// What was trained.
    pub how: How,
    /// The model before.
    pub base: Reading,
    /// After the plain fit.
    pub general: Reading,
    /// After the fit with the penalty.
    pub narrow: Reading,
}

/// Trains and reads a pair.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be read or written.
pub(super) fn pair(name: &str, bench: &Bench<'_>, how: How) -> Result<Pair> {
    let [plain, penalised] = how.fits();
    let solve = |role: &str, fit: &Fit<'_>| match how {
        How::Full => fine_tune(bench, fit),
        How::Contrast(kind) => {
            let fitted = bench.fit(&solution(role, kind), fit)?;
            bench.read(Some(&fitted.edit))
        }
    };
    Ok(Pair {
        world: name.into(),
        word: bench.world.language.domains()[bench.domain].word.into(),
        how,
        base: bench.read(None)?,
        general: solve(GENERAL, &plain)?,
        narrow: solve(NARROW, &penalised)?,
    })
}

/// Trains every weight of the world's model, and reads the outcome.
fn fine_tune(bench: &Bench<'_>, fit: &Fit<'_>) -> Result<Reading> {
    let settings = Settings { edit: EditKind::Full, learning_rate: FULL_RATE, ..fit.settings() };
    bench.read(Some(&bench.train(fit, &settings)?.edit))
}

#[cfg(test)]
mod tests {
    use strait_model::progress::Silent;

    use super::*;
    use crate::world::World;

    fn on_a_bench(test: impl FnOnce(&Bench<'_>)) {
        let folder = tempfile::tempdir().unwrap();
        let world = World::shipped("default-0", &folder.path().join("world")).unwrap();
        let work = super::super::bench::Work::new(&Silent, Box::new(Silent));
        test(&Bench::new(&world, 0, folder.path().into(), &work).unwrap());
    }

    #[test]
    fn a_full_fine_tune_learns_what_it_is_taught() {
        on_a_bench(|bench| {
            let [plain, penalised] = How::Full.fits().map(|fit| Fit { steps: 40, ..fit });
            let before = bench.read(None).unwrap();
            let general = fine_tune(bench, &plain).unwrap();
            let narrow = fine_tune(bench, &penalised).unwrap();
            assert!(general.loss < before.loss / 4.0 && general.norm > 0.0, "{general:?}");
            assert!(general.rates.narrow > 0.5, "{general:?}");
            assert!(narrow.rates.general < general.rates.general, "{narrow:?} {general:?}");
        });
    }
}
