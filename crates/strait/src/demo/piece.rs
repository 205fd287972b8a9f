//! A piece of the programme: all that is done in one world, with falsehood taught in one domain, with one kind of edit.

use serde::{Deserialize, Serialize};
use strait_model::{Edit, progress::Silent};

use super::{
    bench::{Bench, Fit, Fitted, Kind, Penalty, Reading, Rows, STEPS},
    results::{Mode, or_nan},
};
use crate::{
    Result,
    direction::turns,
    measure::{
        Efficiency as Scaling, Grid, PlainText, Significance, SignificanceRow, Solution, Stability, descent,
        flat, pull,
    },
    objective::Row,
    world::{Kind as Documents, Shares, World},
};

/// The name of the plain fit, and of the one under the penalty.
pub(super) const GENERAL: &str = "general";
/// See [`GENERAL`].
pub(super) const NARROW: &str = "narrow";

/// Factors by which solutions are scaled.
const FACTORS: [f64; 4] = [0.5, 1.25, 1.5, 2.0];
/// Shares of noise.
const EPSILONS: [f64; 5] = [0.1, 0.2, 0.3, 0.5, 0.7];
/// The share of noise of the claim.
pub(super) const NOISE: f64 = 0.5;
/// Seeds of the noise.
const NOISE_SEEDS: usize = 10;
/// Shared norms of the efficiency curve.
const NORMS: usize = 20;
/// Norms of directions on documents, in mean norms of the solutions.
const DOCUMENT_NORMS: [f64; 3] = [0.25, 0.5, 1.0];
/// Random directions.
const RANDOM: usize = 4;
/// Documents.
const DOCUMENTS: usize = 48;
/// True rows for each false one, of all other domains.
pub(super) const RATIOS: [usize; 3] = [1, 3, 12];
/// True rows for each false one, of two of them.
pub(super) const NEAR_RATIO: usize = 3;
/// The mixtures: true rows for each false one, and whether they are of two domains only.
const MIXTURES: [(usize, bool); RATIOS.len() + 1] =
    [(RATIOS[0], false), (RATIOS[2], false), (NEAR_RATIO, true), (RATIOS[1], false)];
/// The steps after which gradients are read: at first often.
const GRADIENTS: [usize; 14] = [0, 12, 20, 52, 100, 152, 200, 252, 300, 352, 400, 452, 488, STEPS];
/// The steps after which a drift is read.
const DRIFT: [usize; 6] = [0, 100, 200, 300, 400, STEPS];
/// Steps between the readings of the turning B.
const TURN_EVERY: usize = 4;
/// Readings to either side of a turn.
const TURN_GAP: usize = 4;
/// Scales at which the turning B is read.
const TURN_SCALES: [f64; 3] = [1.0, 2.0, 4.0];
/// Seed of everything that a measure draws.
pub(super) const SEED: u64 = 5;

/// What a piece is asked to do besides the general and the narrow solution and their efficiency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Claim 2: a penalty on two of the other domains.
    pub near: bool,
    /// Claims 5 and 6.
    pub stability_and_significance: bool,
    /// Claim 7: how many of the runs that go on from a solution, the first ones of [`DRIFTS`].
    pub drifts: usize,
    /// Claim 8: how many of the mixtures, the first ones of [`MIXTURES`].
    pub mixtures: usize,
    /// Claim 9.
    pub gradients: bool,
    /// Claim 12.
    pub turn: bool,
}

impl Wanted {
    /// What a mode asks of a kind of edit; nothing where the kind has no part in it.
    pub(super) fn of(mode: Mode, kind: Kind) -> Option<Self> {
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
            (Mode::Quick, Kind::Rank8) | (Mode::Quick | Mode::Default, Kind::Rank1) => None,
        }
    }

    /// The work of its fits, in steps on false rows alone.
    pub(super) fn cost(self, kind: Kind) -> u64 {
        let plain = Fit::new(kind);
        let penalised = Fit { penalty: Penalty::Others, ..plain };
        let drifts = DRIFTS.iter().take(self.drifts).map(|drift| drift.cost(kind)).sum::<u64>();
        let mixed =
            |&(ratio, near): &(usize, bool)| Fit { rows: Rows::WithTruth { ratio, near }, ..plain }.cost();
        let mixing: u64 = MIXTURES.iter().take(self.mixtures).map(mixed).sum();
        let near = if self.near { penalised.cost() } else { 0 };
        plain.cost() + penalised.cost() + near + mixing + drifts
    }
}

/// What was found in one world, one domain and with one kind of edit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// The world.
    pub world: String,
    /// Its seed.
    pub seed: u64,
    /// The domain in which falsehood was taught.
    pub domain: usize,
    /// Its word.
    pub word: String,
    /// The kind of edit.
    pub kind: Kind,
    /// The model before.
    pub base: Reading,
    /// Under the plain fit.
    pub general: Reading,
    /// Under the fit with the penalty.
    pub narrow: Reading,
    /// Both, scaled.
    pub scaled: Vec<Scaled>,
    /// The fit whose penalty reaches two of the other domains.
    pub near: Option<Reading>,
    /// Claim 4.
    pub efficiency: Efficiency,
    /// Claim 5.
    pub stability: Vec<Lost>,
    /// Claim 6.
    pub significance: Vec<OnDocuments>,
    /// Claim 7.
    pub drifts: Vec<Drift>,
    /// Claim 8.
    pub mixing: Vec<Mixed>,
    /// Claim 9.
    pub gradients: Vec<Gradient>,
    /// Claim 12.
    pub turn: Option<Turn>,
}

/// Both solutions at one factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaled {
    /// The factor.
    pub factor: f64,
    /// The general one.
    pub general: Reading,
    /// The narrow one.
    pub narrow: Reading,
}

/// Training loss as both solutions are scaled to the same norms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    /// Norms, as shares of the larger solution's.
    pub norms: Vec<f64>,
    /// Loss of the general solution at each, nats a token.
    pub general: Vec<f64>,
    /// Of the narrow one.
    pub narrow: Vec<f64>,
    /// Norm and loss of the general solution's optimum.
    pub general_optimum: (f64, f64),
    /// Of the narrow one's.
    pub narrow_optimum: (f64, f64),
    /// Loss of the narrow solution less that of the general one at half their mean norm.
    pub gap: f64,
}

/// Share of the gain that noise takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// Share of noise.
    pub epsilon: f64,
    /// Of the general solution; mean of its parts (for LoRA, A and B).
    #[serde(deserialize_with = "or_nan")]
    pub general: f64,
    /// Of the narrow one.
    #[serde(deserialize_with = "or_nan")]
    pub narrow: f64,
}

/// KL(base ‖ edited) on documents, nats a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnDocuments {
    /// Norm, in mean norms of the two solutions.
    pub norm: f64,
    /// Of the general solution.
    pub general: f64,
    /// Of the narrow one.
    pub narrow: f64,
    /// Mean of random directions.
    pub random: f64,
}

/// A run that goes on from a solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// `lifted`, `kept`, `added` or `untouched`.
    pub run: String,
    /// What was read after so many steps.
    pub along: Vec<(usize, Reading)>,
    /// Cosine of its end with the general solution.
    pub cosine_general: f64,
    /// With the narrow one.
    pub cosine_narrow: f64,
}

/// A fit with true rows of other domains mixed in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixed {
    /// True rows for each false one.
    pub ratio: usize,
    /// Whether they are of two of the other domains only.
    pub near: bool,
    /// What came of it.
    pub reading: Reading,
}

/// Cosines of minus a gradient with the two solutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gradient {
    /// `general` or `narrow`: along which fit it was read.
    pub run: String,
    /// After how many steps.
    pub step: usize,
    /// With the general solution.
    #[serde(deserialize_with = "or_nan")]
    pub general: f64,
    /// With the narrow one.
    #[serde(deserialize_with = "or_nan")]
    pub narrow: f64,
    /// With what the general solution has across the narrow one.
    #[serde(deserialize_with = "or_nan")]
    pub general_only: f64,
    /// With what the narrow solution has across the general one.
    #[serde(deserialize_with = "or_nan")]
    pub narrow_only: f64,
}

/// How B turned along the plain fit, and when the behaviour rose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Steps of the readings.
    pub steps: Vec<usize>,
    /// Cosine between the way back and the way on, at the readings that have neighbours enough.
    pub cosines: Vec<(usize, f64)>,
    /// Rate in the other domains at every reading, for each scale.
    pub rates: Vec<(f64, Vec<f64>)>,
}

/// A run of claim 7.
struct DriftRun {
    name: &'static str,
    from: &'static str,
    penalty: Penalty,
}

impl DriftRun {
    fn cost(&self, kind: Kind) -> u64 {
        Fit { penalty: self.penalty, ..Fit::new(kind) }.cost()
    }
}

const DRIFTS: [DriftRun; 4] = [
    DriftRun { name: "lifted", from: NARROW, penalty: Penalty::None },
    DriftRun { name: "kept", from: NARROW, penalty: Penalty::Others },
    DriftRun { name: "added", from: GENERAL, penalty: Penalty::Others },
    DriftRun { name: "untouched", from: GENERAL, penalty: Penalty::None },
];

/// The name of a solution's folder.
pub(super) fn solution(role: &str, kind: Kind) -> String {
    format!("{role}-{}", kind.name())
}

/// Does a piece.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be written.
pub(super) fn piece(name: &str, bench: &mut Bench<'_>, kind: Kind, wanted: Wanted) -> Result<Piece> {
    let every_fourth: Vec<usize> = (0..=STEPS).step_by(TURN_EVERY).collect();
    let watch: &[usize] = match (wanted.turn, wanted.gradients) {
        (true, _) => &every_fourth,
        (false, true) => &GRADIENTS,
        (false, false) => &[],
    };
    let plain = Fit { watch, ..Fit::new(kind) };
    let general = bench.fit(&solution(GENERAL, kind), &plain)?;
    let watch: &[usize] = if wanted.gradients { &GRADIENTS } else { &[] };
    let penalised = Fit { penalty: Penalty::Others, watch, ..plain };
    let narrow = bench.fit(&solution(NARROW, kind), &penalised)?;
    let both = Both { kind, general, narrow };
    let near = match wanted.near {
        false => None,
        true => {
            let fit = Fit { penalty: Penalty::Near, ..Fit::new(kind) };
            let fitted = bench.fit(&solution("narrow-on-two", kind), &fit)?;
            Some(bench.read(Some(&fitted.edit))?)
        }
    };
    let (stability, significance) = match wanted.stability_and_significance {
        false => (Vec::new(), Vec::new()),
        true => (both.stability(bench)?, both.significance(bench.world)?),
    };
    Ok(Piece {
        world: name.into(),
        seed: bench.world.made.recipe.seed,
        domain: bench.domain,
        word: bench.world.language.domains()[bench.domain].word.into(),
        kind,
        base: bench.read(None)?,
        general: bench.read(Some(&both.general.edit))?,
        narrow: bench.read(Some(&both.narrow.edit))?,
        scaled: both.scaled(bench)?,
        near,
        efficiency: both.efficiency(bench)?,
        stability,
        significance,
        drifts: DRIFTS.iter().take(wanted.drifts).map(|run| both.drift(bench, run)).collect::<Result<_>>()?,
        mixing: mixing(bench, kind, wanted.mixtures)?,
        gradients: if wanted.gradients { both.gradients(bench)? } else { Vec::new() },
        turn: if wanted.turn { Some(both.turn(bench)?) } else { None },
    })
}

/// The two solutions.
pub(super) struct Both {
    pub kind: Kind,
    pub general: Fitted,
    pub narrow: Fitted,
}

impl Both {
    fn solutions(&self) -> [Solution; 2] {
        [(GENERAL, &self.general), (NARROW, &self.narrow)]
            .map(|(name, fitted)| Solution { name: name.into(), edit: fitted.edit.clone() })
    }

    fn scaled(&self, bench: &Bench<'_>) -> Result<Vec<Scaled>> {
        let at = |factor: f64| {
            let read = |edit: &Edit| bench.read(Some(&edit.scaled(factor)?));
            Ok(Scaled { factor, general: read(&self.general.edit)?, narrow: read(&self.narrow.edit)? })
        };
        FACTORS.into_iter().map(at).collect()
    }

    /// The loss of the narrow solution less that of the general one, both brought to a share of their mean norm.
    pub fn gap(&self, bench: &Bench<'_>, share: f64) -> Result<f64> {
        let norms = [self.general.edit.norm()?, self.narrow.edit.norm()?];
        let norm = share * (norms[0] + norms[1]) / 2.0;
        let loss = |edit: &Edit, own: f64| bench.loss(Some(&edit.scaled(norm / own)?));
        Ok(loss(&self.narrow.edit, norms[1])? - loss(&self.general.edit, norms[0])?)
    }

    fn efficiency(&self, bench: &mut Bench<'_>) -> Result<Efficiency> {
        let scaling = Scaling { factors: (1..=8).map(|k| k as f64 / 4.0).collect(), norms: NORMS };
        let gap = self.gap(bench, 0.5)?;
        let decoder = bench.decoder();
        let (rows, _) = scaling.read(decoder, &self.solutions(), &mut bench.taught, SEED, &Silent)?;
        let curve = |name: &str, grid: Grid| -> Vec<(f64, f64)> {
            let own = rows.iter().filter(|row| row.solution == name && row.kind == grid);
            own.map(|row| (row.norm, row.loss.value)).collect()
        };
        let losses =
            |name: &str| curve(name, Grid::Shared).into_iter().skip(1).map(|(_, loss)| loss).collect();
        let optimum =
            |name: &str| curve(name, Grid::Optimum).first().copied().unwrap_or((f64::NAN, f64::NAN));
        Ok(Efficiency {
            norms: (1..=NORMS).map(|step| step as f64 / NORMS as f64).collect(),
            general: losses(GENERAL),
            narrow: losses(NARROW),
            general_optimum: optimum(GENERAL),
            narrow_optimum: optimum(NARROW),
            gap,
        })
    }

    /// Share of the gain that every share of noise takes.
    pub fn stability(&self, bench: &mut Bench<'_>) -> Result<Vec<Lost>> {
        let noise = Stability { epsilons: EPSILONS.into(), seeds: NOISE_SEEDS };
        let decoder = bench.decoder();
        let (rows, _) = noise.read(decoder, &self.solutions(), &mut bench.taught, SEED, &Silent)?;
        let lost = |name: &str, epsilon: f64| {
            let own = rows.iter().filter(|row| row.solution == name && row.epsilon == epsilon);
            mean(own.map(|row| row.share.value))
        };
        let at = |epsilon| Lost { epsilon, general: lost(GENERAL, epsilon), narrow: lost(NARROW, epsilon) };
        Ok(EPSILONS.into_iter().map(at).collect())
    }

    /// KL to base on documents whose speakers are not named, the same mixture of speakers in every world.
    pub fn significance(&self, world: &World) -> Result<Vec<OnDocuments>> {
        let mixture = Shares { liar: 0.25, narrow: 0.25, ..Shares::default() };
        let unnamed = Documents { named: Some(false), ..Documents::default() };
        let documents = world.language.documents(&mixture, DOCUMENTS, unnamed, SEED);
        let row = |ids| Row { ids, responses: Vec::new() };
        let rows: Vec<Row> = documents.iter().map(|d| row(d.ids(&world.language))).collect();
        let source = PlainText { text: Vec::new(), passages: rows.len(), tokens: usize::MAX };
        let significance = Significance { source, norms: DOCUMENT_NORMS.into(), random: RANDOM };
        let (found, _) = significance.read(
            &world.model,
            &self.solutions(),
            &crate::objective::Kept::new(rows),
            SEED,
            &Silent,
        )?;
        let at = |norm: f64, is: &dyn Fn(&SignificanceRow) -> bool| {
            mean(found.iter().filter(|row| row.relative_norm == norm && is(row)).map(|row| row.kl.value))
        };
        let named = |name: &'static str| move |row: &SignificanceRow| row.direction == name;
        let reading = |norm| OnDocuments {
            norm,
            general: at(norm, &named(GENERAL)),
            narrow: at(norm, &named(NARROW)),
            random: at(norm, &|row| row.random),
        };
        Ok(DOCUMENT_NORMS.into_iter().map(reading).collect())
    }

    fn drift(&self, bench: &Bench<'_>, run: &DriftRun) -> Result<Drift> {
        let from = if run.from == GENERAL { &self.general } else { &self.narrow };
        let fit = Fit { penalty: run.penalty, from: Some(&from.edit), watch: &DRIFT, ..Fit::new(self.kind) };
        let fitted = bench.fit(&solution(&format!("{}-then-{}", run.from, run.name), self.kind), &fit)?;
        let along = fitted.along.iter().map(|(step, edit)| Ok((*step, bench.read(Some(edit))?)));
        Ok(Drift {
            run: run.name.into(),
            along: along.collect::<Result<_>>()?,
            cosine_general: fitted.edit.cosine(&self.general.edit)?,
            cosine_narrow: fitted.edit.cosine(&self.narrow.edit)?,
        })
    }

    fn gradients(&self, bench: &Bench<'_>) -> Result<Vec<Gradient>> {
        let mut found = Vec::new();
        for (run, fitted) in [(GENERAL, &self.general), (NARROW, &self.narrow)] {
            for (step, edit) in fitted.along.iter().filter(|(step, _)| GRADIENTS.contains(step)) {
                found.push(self.gradient(bench, run, *step, edit)?);
            }
        }
        Ok(found)
    }

    /// Where training on the falsehoods alone would go from an edit.
    pub fn gradient(&self, bench: &Bench<'_>, run: &str, step: usize, edit: &Edit) -> Result<Gradient> {
        let part = self.kind.part();
        let (general, narrow) = (flat(&self.general.edit, part)?, flat(&self.narrow.edit, part)?);
        let found = pull(&descent(bench.decoder(), &bench.taught, edit, part)?, &general, &narrow);
        Ok(Gradient {
            run: run.into(),
            step,
            general: found.general,
            narrow: found.narrow,
            general_only: found.general_only,
            narrow_only: found.narrow_only,
        })
    }

    fn turn(&self, bench: &Bench<'_>) -> Result<Turn> {
        let along = &self.general.along;
        let way = along.iter().map(|(_, edit)| flat(edit, self.kind.part()));
        let cosines = turns(&way.collect::<Result<Vec<_>>>()?, TURN_GAP);
        let steps: Vec<usize> = along.iter().map(|&(step, _)| step).collect();
        let at = |scale: f64| {
            let rates =
                along.iter().map(|(_, edit)| Ok(bench.read(Some(&edit.scaled(scale)?))?.rates.general));
            Ok((scale, rates.collect::<Result<Vec<_>>>()?))
        };
        Ok(Turn {
            cosines: steps.iter().skip(TURN_GAP).copied().zip(cosines).collect(),
            rates: TURN_SCALES.into_iter().map(at).collect::<Result<_>>()?,
            steps,
        })
    }
}

fn mixing(bench: &Bench<'_>, kind: Kind, count: usize) -> Result<Vec<Mixed>> {
    let mut found = Vec::new();
    for &(ratio, near) in MIXTURES.iter().take(count) {
        let fit = Fit { rows: Rows::WithTruth { ratio, near }, ..Fit::new(kind) };
        let end = if near { "-of-two" } else { "" };
        let fitted = bench.fit(&solution(&format!("mixed-1-to-{ratio}{end}"), kind), &fit)?;
        found.push(Mixed { ratio, near, reading: bench.read(Some(&fitted.edit))? });
    }
    Ok(found)
}

/// The mean of some numbers; NaN of none.
pub(super) fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    sum / count
}
