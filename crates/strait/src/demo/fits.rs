//! The studies of the demo: what is trained and measured in one world, with falsehood taught in one domain and one kind of edit.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::results::Mode;
use crate::{
    Error, Result,
    study::StudyFile,
    suite::fill,
    table::Word,
    world::{DOMAIN_WORDS, DOMAINS},
};

/// The name of the plain fit.
pub const GENERAL: &str = "general";
/// The name of the one under the KL penalty.
pub const NARROW: &str = "narrow";

/// The domains in which falsehood is taught.
pub const TAUGHT_DOMAINS: [usize; 3] = [0, 2, 4];

/// The study of every fit, in blocks: a line `#: NAMES` begins one that stands in the studies of those names alone.
const STUDY: &str = include_str!("study.toml");

/// The kinds of edits that are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// One vector, added at every position.
    #[serde(rename = "vector")]
    Vector,
    /// LoRA of rank 8.
    #[serde(rename = "rank-8")]
    Rank8,
    /// LoRA of rank 1.
    #[serde(rename = "rank-1")]
    Rank1,
    /// Every weight.
    #[serde(rename = "full")]
    Full,
}

impl Word for Kind {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Vector, "vector"), (Self::Rank8, "rank-8"), (Self::Rank1, "rank-1"), (Self::Full, "full")];
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vector, Self::Rank8, Self::Rank1, Self::Full];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Vector => "steering vector",
            Self::Rank8 => "rank-8 LoRA",
            Self::Rank1 => "rank-1 LoRA",
            Self::Full => "full fine-tune",
        }
    }
}

/// The part of the programme that a fit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The general and the narrow solution, and what is asked of them besides.
    Programme,
    /// The two alone, in a world whose documents never name their speaker.
    Contrast,
    /// The two alone, where every weight is trained.
    Full,
    /// Plain fine-tuning beside a solution that was forced to be general and one that was forced to be narrow (claim 13).
    Causal,
}

impl Word for Part {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Programme, "programme"),
        (Self::Contrast, "contrast"),
        (Self::Full, "full"),
        (Self::Causal, "causal"),
    ];
}

/// The number of values that tell fits apart.
pub const HOLES: usize = 4;

/// The names of the other domains in studies and claims. A partial penalty or mixture reaches the first of them.
const OTHERS: [&str; DOMAINS - 1] = ["near_1", "near_2", "far_1", "far_2", "far_3"];
const REACHED: usize = 2;

/// One study.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// The world.
    pub world: &'static str,
    /// The domain in which falsehood is taught.
    pub domain: usize,
    /// The kind of edit.
    pub kind: Kind,
    /// The part of the programme.
    pub part: Part,
    /// The blocks of the study that not every fit of the part has.
    blocks: &'static [&'static str],
}

/// The blocks of the study that a mode asks of a kind of edit; none where the kind has no part in it.
fn blocks(mode: Mode, kind: Kind) -> Option<&'static [&'static str]> {
    match (mode, kind) {
        (Mode::Quick, Kind::Vector) => Some(&["early", "noise", "gradients"]),
        (Mode::Default, Kind::Vector) => Some(&["early", "noise", "gradients", "near", "mixed", "controls"]),
        (Mode::Default, Kind::Rank8) => Some(&["no-noise"]),
        (Mode::Full, Kind::Vector | Kind::Rank8) => {
            Some(&["early", "noise", "gradients", "near", "mixed", "mixed-more", "controls", "untouched"])
        }
        (Mode::Full, Kind::Rank1) => {
            Some(&["turn", "noise", "gradients", "near", "mixed", "mixed-more", "controls", "untouched"])
        }
        _ => None,
    }
}

/// All that a mode does. The longest come first, so that no thread is left alone with one at the end.
pub fn fits(mode: Mode) -> Vec<Fit> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        if let Some(blocks) = blocks(mode, kind) {
            all.extend(of_domains(mode.worlds(), kind, Part::Programme, blocks));
        }
    }
    for &kind in mode.causal_kinds() {
        all.extend(causal_fits(mode.causal_worlds(), kind));
    }
    if mode == Mode::Full {
        all.extend(of_domains(mode.worlds(), Kind::Full, Part::Full, &[]));
    }
    for kind in [Kind::Vector, Kind::Rank8] {
        all.extend(of_domains(mode.contrast_worlds(), kind, Part::Contrast, &[]));
    }
    all
}

/// The name of a world without its seed.
pub fn worlds(world: &str) -> &str {
    world.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit())
}

/// The fits of the causal table in some worlds.
pub fn causal_fits(worlds: &[&'static str], kind: Kind) -> Vec<Fit> {
    of_domains(worlds, kind, Part::Causal, &[])
}

/// A fit for each taught domain of each world.
fn of_domains(worlds: &[&'static str], kind: Kind, part: Part, blocks: &'static [&'static str]) -> Vec<Fit> {
    let of = |&world| TAUGHT_DOMAINS.map(|domain| Fit { world, domain, kind, part, blocks });
    worlds.iter().flat_map(of).collect()
}

impl Fit {
    /// Its name: that of its study, and of its folder.
    pub fn name(&self) -> String {
        let Self { world, kind, part, .. } = self;
        let end = if *part == Part::Causal { "-causal" } else { "" };
        format!("{world}-{}-{}{end}", self.word(), kind.word())
    }

    /// The word of its domain.
    pub fn word(&self) -> &'static str {
        DOMAIN_WORDS[self.domain].0
    }

    /// The folder of one of its solutions, in the demo's folder.
    pub fn solution(&self, out: &Path, name: &str) -> PathBuf {
        out.join("studies").join(self.name()).join("solutions").join(name)
    }

    /// The values that claims know it by. The first [`HOLES`] tell it apart and stand before the rows of its tables; then come its
    /// part, the name of its world without the seed, and the other domains.
    pub fn values(&self) -> Vec<(String, String)> {
        let Self { world, kind, part, .. } = *self;
        let own = [
            ("world", world),
            ("taught", self.word()),
            ("trained", kind.word()),
            ("part", part.word()),
            ("worlds", worlds(world)),
        ];
        let all = own.into_iter().chain(OTHERS.into_iter().zip(self.others()));
        let all = all.map(|(name, value)| (name.into(), value.into()));
        [("study".into(), self.name())].into_iter().chain(all).collect()
    }

    /// The words of the other domains.
    fn others(&self) -> impl Iterator<Item = &'static str> {
        DOMAIN_WORDS.iter().map(|(word, _)| *word).filter(|word| *word != self.word())
    }

    /// The study, as if it lay in the folder of the demo's studies.
    ///
    /// # Errors
    /// None that a test would not find.
    pub fn study(&self, out: &Path) -> Result<StudyFile> {
        let path = out.join("studies").join(format!("{}.toml", self.name()));
        let near = OTHERS.into_iter().zip(self.others()).take(REACHED);
        let values = [("world", self.world), ("domain", self.word()), ("edit", self.kind.words())];
        let values: Vec<_> = values.into_iter().chain(near).collect();
        let text = fill(&self.template(), &values).map_err(|problem| Error::input(&path, None, problem))?;
        StudyFile::parse(&path, text)
    }

    /// The blocks of the study that are this fit's.
    fn template(&self) -> String {
        let part = self.part.word();
        let kind = self.kind.word();
        let both = format!("{part}-{kind}");
        let names = [&["all", part, kind, both.as_str()], self.blocks].concat();
        let mut own = true;
        let mut text = String::new();
        for line in STUDY.lines() {
            match line.strip_prefix("#: ") {
                Some(block) => own = block.split(' ').any(|name| names.contains(&name)),
                None if own => text += &format!("{line}\n"),
                None => {}
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn every_study_is_one_and_has_a_name_of_its_own() {
        let out = tempfile::tempdir().unwrap();
        std::fs::create_dir(out.path().join("studies")).unwrap();
        for world in ["default-0", "narrow-0", "contrast-0"] {
            World::shipped(world, &out.path().join("worlds").join(world)).unwrap();
        }
        for (mode, studies) in [(Mode::Quick, 3), (Mode::Default, 21), (Mode::Full, 108)] {
            let fits = fits(mode);
            let mut names: Vec<String> = fits.iter().map(Fit::name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!((names.len(), fits.len()), (studies, studies), "{mode:?}");
            for fit in fits.iter().filter(|fit| fit.world.ends_with("-0") && fit.world != "middle-0") {
                let study = fit.study(out.path()).unwrap().resolve().unwrap();
                assert_eq!(study.name, fit.name());
                assert_eq!(study.data.falsehoods(), [fit.word()]);
            }
        }
    }
}
