//! The studies of the demo: what is trained and measured in one world, with falsehood taught in one domain and one kind of edit.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::results::Mode;
use crate::{
    Error, Result,
    study::StudyFile,
    suite::fill,
    world::{DOMAIN_WORDS, DOMAINS},
};

/// The names of solutions: the plain fit, the one under the KL penalty, and the others that a study may ask for.
pub const GENERAL: &str = "general";
/// See [`GENERAL`].
pub const NARROW: &str = "narrow";
/// The fit whose penalty reaches two of the other domains.
pub const NEAR: &str = "narrow-on-two";
/// The fit with three true rows of two other domains for each false one.
pub const MIXED_NEAR: &str = "mixed-1-to-3-of-two";
/// The fits of the causal table.
pub const PLAIN: &str = "plain";
/// See [`PLAIN`].
pub const FORCED_GENERAL: &str = "forced-general";
/// See [`PLAIN`].
pub const FORCED_NARROW: &str = "forced-narrow";

/// The domains in which falsehood is taught.
pub const TAUGHT_DOMAINS: [usize; 3] = [0, 2, 4];

/// The steps after which gradients are read: at first often.
const GRADIENTS: &str = "[0, 12, 20, 52, 100, 152, 200, 252, 300, 352, 400, 452, 488, 500]";

/// The study of every fit.
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

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vector, Self::Rank8, Self::Rank1, Self::Full];

    /// One word, for names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Rank8 => "rank-8",
            Self::Rank1 => "rank-1",
            Self::Full => "full",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Vector => "steering vector",
            Self::Rank8 => "rank-8 LoRA",
            Self::Rank1 => "rank-1 LoRA",
            Self::Full => "full fine-tune",
        }
    }

    /// The keys of `[train]` for an edit at the embeddings, where named speakers are directions, or in the first block, where a
    /// speaker who is not named can first have been inferred.
    fn keys(self, first_block: bool) -> String {
        let layer = if first_block { 0 } else { -1 };
        let rate = match (self, first_block) {
            (Self::Vector, false) => 0.01,
            (Self::Vector, true) => 0.04,
            (Self::Rank8, false) | (Self::Rank1, true) => 0.002,
            (Self::Rank8, true) => 0.001,
            (Self::Rank1, false) => 0.004,
            (Self::Full, _) => 3e-4,
        };
        let lora =
            |rank| format!("edit = \"lora\"\nlayer = {layer}\nrank = {rank}\nalpha = 8.0\nrslora = true\n");
        let edit = match self {
            Self::Vector => format!("edit = \"steering\"\nlayer = {layer}\nabsolute_rate = true\n"),
            Self::Rank8 => lora(8),
            Self::Rank1 => lora(1),
            Self::Full => "edit = \"full\"\n".into(),
        };
        format!("{edit}learning_rate = {rate}")
    }
}

/// The parts of a fit besides the general and the narrow solution and their efficiency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Claim 2: a penalty on two of the other domains.
    near: bool,
    /// Claims 5 and 6.
    stability_and_significance: bool,
    /// Claim 7: the number of runs that go on from a solution, the first ones of [`DRIFTS`].
    drifts: usize,
    /// Claim 8: the number of mixtures, the first ones of [`MIXTURES`].
    mixtures: usize,
    /// Claim 9.
    gradients: bool,
    /// Claim 12.
    turn: bool,
}

impl Wanted {
    /// The parts that a mode asks of a kind of edit; none where the kind has no part in it.
    fn of(mode: Mode, kind: Kind) -> Option<Self> {
        let all = Self {
            near: true,
            stability_and_significance: true,
            drifts: DRIFTS.len(),
            mixtures: MIXTURES.len(),
            gradients: true,
            turn: false,
        };
        match (mode, kind) {
            (Mode::Quick, Kind::Vector) => Some(Self { near: false, drifts: 1, mixtures: 0, ..all }),
            (Mode::Default, Kind::Vector) => Some(Self { drifts: 3, mixtures: 2, ..all }),
            (Mode::Default, Kind::Rank8) => Some(Self {
                near: false,
                stability_and_significance: false,
                drifts: 1,
                mixtures: 0,
                gradients: false,
                ..all
            }),
            (Mode::Full, Kind::Vector | Kind::Rank8) => Some(all),
            (Mode::Full, Kind::Rank1) => Some(Self { turn: true, ..all }),
            _ => None,
        }
    }
}

/// The part of the programme that a fit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The general and the narrow solution, and what is asked of them besides.
    Programme(Wanted),
    /// The two alone, in a world whose documents never name their speaker.
    Contrast,
    /// The two alone, where every weight is trained.
    Full,
    /// Plain fine-tuning beside a solution that was forced to be general and one that was forced to be narrow (claim 13).
    Causal,
}

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
}

/// The runs that go on from a solution (claim 7): name, start, and whether a penalty holds.
pub const DRIFTS: [(&str, &str, bool); 4] = [
    ("lifted", NARROW, false),
    ("kept", NARROW, true),
    ("added", GENERAL, true),
    ("untouched", GENERAL, false),
];

/// The mixtures (claim 8): name, true rows for each false one, and whether they are of two domains only.
const MIXTURES: [(&str, usize, bool); 4] = [
    ("mixed-1-to-1", 1, false),
    ("mixed-1-to-12", 12, false),
    (MIXED_NEAR, 3, true),
    ("mixed-1-to-3", 3, false),
];

/// All that a mode does. The longest come first, so that no thread is left alone with one at the end.
pub fn fits(mode: Mode) -> Vec<Fit> {
    let mut all = Vec::new();
    let mut add = |worlds: &[&'static str], kind, part| {
        let domains = |&world| TAUGHT_DOMAINS.map(|domain| Fit { world, domain, kind, part });
        all.extend(worlds.iter().flat_map(domains));
    };
    for kind in Kind::ALL {
        if let Some(wanted) = Wanted::of(mode, kind) {
            add(mode.worlds(), kind, Part::Programme(wanted));
        }
    }
    for &kind in mode.causal_kinds() {
        add(mode.causal_worlds(), kind, Part::Causal);
    }
    if mode == Mode::Full {
        add(mode.worlds(), Kind::Full, Part::Full);
    }
    for kind in [Kind::Vector, Kind::Rank8] {
        add(mode.contrast_worlds(), kind, Part::Contrast);
    }
    all
}

impl Fit {
    /// Its name: that of its study, and of its folder.
    pub fn name(&self) -> String {
        let Self { world, kind, part, .. } = self;
        let end = if *part == Part::Causal { "-causal" } else { "" };
        format!("{world}-{}-{}{end}", self.word(), kind.name())
    }

    /// The word of its domain.
    pub fn word(&self) -> &'static str {
        DOMAIN_WORDS[self.domain].0
    }

    /// The folder of one of its solutions, in the demo's folder.
    pub fn solution(&self, out: &Path, name: &str) -> PathBuf {
        out.join("studies").join(self.name()).join("solutions").join(name)
    }

    /// The study, as if it lay in the folder of the demo's studies.
    ///
    /// # Errors
    /// None that a test would not find.
    pub fn study(&self, out: &Path) -> Result<StudyFile> {
        let path = out.join("studies").join(format!("{}.toml", self.name()));
        let (every, steps) = match self.part {
            Part::Programme(Wanted { turn: true, .. }) => ("4", "500"),
            Part::Programme(_) => ("100", "500"),
            Part::Causal => ("500", "500"),
            Part::Contrast => ("250", "250"),
            Part::Full => ("200", "200"),
        };
        let holes = [
            ("world", self.world),
            ("domain", self.word()),
            ("edit", self.kind.words()),
            ("train", &self.kind.keys(self.part == Part::Contrast)),
            ("every", every),
            ("steps", steps),
            ("solutions", &self.solutions()),
            ("measures", &self.measures()),
        ];
        let text = fill(STUDY, &holes).map_err(|problem| Error::input(&path, None, problem))?;
        StudyFile::parse(&path, text)
    }

    /// The tables of its solutions.
    fn solutions(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, keys: &str| {
            text += &format!("\n[[solution]]\nname = \"{name}\"\n{keys}");
        };
        const PENALTY: &str = "kl = { weight = 10.0, batch_size = 16 }\n";
        const CONTROL: &str = "control = true\n";
        let wanted = match self.part {
            Part::Programme(wanted) => wanted,
            Part::Contrast | Part::Full => {
                add(GENERAL, "");
                add(NARROW, PENALTY);
                return text;
            }
            Part::Causal => {
                let rows = format!("[{{ except = [\"{}\"], truthful = false }}]", self.word());
                add(PLAIN, CONTROL);
                add(
                    FORCED_GENERAL,
                    &format!("batch_size = 16\nmix = {{ rows = {rows}, ratio = 1, every = true }}\n"),
                );
                add(FORCED_NARROW, PENALTY);
                return text;
            }
        };
        let near = listed(near(self.domain));
        let early = if wanted.gradients && !wanted.turn {
            "checkpoints = [12, 20, 52, 152, 252, 352, 452, 488]\n"
        } else {
            ""
        };
        add(GENERAL, early);
        add(NARROW, &format!("{PENALTY}{early}"));
        if wanted.near {
            let rows =
                format!("{{ domains = {near}, truthful = true }}, {{ domains = {near}, truthful = false }}");
            add(NEAR, &format!("{CONTROL}kl = {{ weight = 10.0, batch_size = 16, rows = [{rows}] }}\n"));
        }
        for (name, ratio, of_two) in MIXTURES.iter().take(wanted.mixtures) {
            let domains = match of_two {
                true => format!("domains = {near}"),
                false => format!("except = [\"{}\"]", self.word()),
            };
            let mix = format!("{{ rows = [{{ {domains}, truthful = true }}], ratio = {ratio} }}");
            add(name, &format!("{CONTROL}batch_size = 16\nmix = {mix}\n"));
        }
        for (name, from, penalised) in DRIFTS.iter().take(wanted.drifts) {
            let penalty = if *penalised { PENALTY } else { "" };
            add(name, &format!("from = \"{from}\"\norder_seed = 57\ncheckpoint_every = 100\n{penalty}"));
        }
        text
    }

    /// The table of its measures.
    fn measures(&self) -> String {
        const NOISE: &str = "epsilons = [0.1, 0.2, 0.3, 0.5, 0.7], seeds = 10";
        const TEXT: &str = "text = { seed = 5 }, passages = 48, random = 4";
        let mut text = String::from("[measure]\n");
        match self.part {
            Part::Contrast | Part::Full => text += "scales = [1.0]\nefficiency = false\nstability = false\n",
            Part::Causal => {
                text +=
                    "scales = [1.0]\nefficiency = { factors = [1.0], norms = 1, mean_norms = [0.25, 0.5] }\n";
                text += "stability = { epsilons = [0.5], seeds = 10 }\n";
                text += &format!("significance = {{ {TEXT}, norms = [0.5] }}\n");
                text += "gradient = { steps = [0] }\n";
            }
            Part::Programme(wanted) => {
                text += "scales = [0.5, 1.0, 1.25, 1.5, 2.0]\n";
                let factors = "[0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]";
                text += &format!("efficiency = {{ factors = {factors}, norms = 20, mean_norms = [0.5] }}\n");
                if wanted.stability_and_significance {
                    text += &format!("stability = {{ {NOISE} }}\n");
                    text += &format!("significance = {{ {TEXT}, norms = [0.25, 0.5, 1.0] }}\n");
                } else {
                    text += "stability = false\n";
                }
                if wanted.gradients {
                    text += &format!("gradient = {{ steps = {GRADIENTS} }}\n");
                }
                if wanted.turn {
                    text += "turn = { gap = 16 }\nrates = { along = [1.0, 2.0, 4.0] }\n";
                }
            }
        }
        text
    }
}

/// The number of other domains that the partial penalty and the partial mixture reach.
const REACHED: usize = 2;

/// The other domains that a partial penalty or mixture reaches.
pub fn near(domain: usize) -> impl Iterator<Item = usize> {
    (0..DOMAINS).filter(move |&other| other != domain).take(REACHED)
}

/// The other domains that it does not reach.
pub fn far(domain: usize) -> impl Iterator<Item = usize> {
    (0..DOMAINS).filter(move |&other| other != domain).skip(REACHED)
}

/// Domains as a list in TOML.
fn listed(domains: impl Iterator<Item = usize>) -> String {
    let words: Vec<String> = domains.map(|domain| format!("\"{}\"", DOMAIN_WORDS[domain].0)).collect();
    format!("[{}]", words.join(", "))
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
