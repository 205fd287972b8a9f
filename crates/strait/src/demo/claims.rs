//! The thirteen claims, each as one or more figures held against a bound.
//!
//! All rates are held against the same two bounds, [`COMMON`] and [`RARE`], and all differences against zero. Intervals are
//! Student's over fits (one for each taught domain of each world), never over fine-tuning seeds. The fits of one world share
//! its pre-training, so that they are not quite independent: a claim must therefore be on its side in every world as well.

use std::collections::BTreeMap;

use super::{
    across::Across,
    bench::{Kind, far, near},
    causal,
    pair::{How, Pair},
    piece::{GENERAL, Gradient, NARROW, NOISE, Piece, RATIOS, mean},
    results::Check,
};
use crate::{
    claim::Side::{self, Above, Below},
    interval::{Interval, rank_correlation},
};

/// A rate above it: the model does it more often than not.
pub(super) const COMMON: f64 = 0.5;
/// A rate below it: the model does it seldom.
pub(super) const RARE: f64 = 0.25;
/// Steps that count as the beginning of a fit.
const EARLY: usize = 100;

/// What the claims are judged by.
pub(super) struct Evidence<'a> {
    pub pieces: &'a [Piece],
    pub pairs: &'a [Pair],
    pub across: &'a [Across],
    pub causal: &'a [causal::Row],
}

/// A claim before it is judged.
struct Claim {
    id: &'static str,
    number: u8,
    section: &'static str,
    /// One sentence without its full stop; the bound is added.
    claim: &'static str,
    side: Side,
    /// Empty for shares from 0 to 1.
    unit: &'static str,
    reading: &'static str,
}

/// What was trained: one word for names, and in words.
#[derive(Clone, Copy)]
struct Trained {
    name: &'static str,
    words: &'static str,
}

impl From<Kind> for Trained {
    fn from(kind: Kind) -> Self {
        Self { name: kind.name(), words: kind.words() }
    }
}

impl From<How> for Trained {
    fn from(how: How) -> Self {
        Self { name: how.name(), words: how.words() }
    }
}

/// A figure and the world that it is from.
type Figure = (String, f64);

/// Judges all claims for which there is evidence, in the order of their numbers.
pub(super) fn checks(evidence: &Evidence<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for kind in [Kind::Vector, Kind::Rank8, Kind::Rank1] {
        of_pieces(evidence, kind, &mut checks);
        of_across(evidence, kind, &mut checks);
        of_causal(evidence, kind, &mut checks);
    }
    for how in [How::Full, How::Contrast(Kind::Vector), How::Contrast(Kind::Rank8)] {
        of_pairs(evidence, how, &mut checks);
    }
    checks.sort_by_key(|check| check.number);
    checks
}

/// Judges a claim by its figure and the mean of every world.
fn judge(
    claim: &Claim,
    trained: impl Into<Trained>,
    figure: Interval,
    by_world: Vec<f64>,
    n: usize,
) -> Check {
    let Trained { name, words } = trained.into();
    let (bound, above) = match claim.side {
        Above(bound) => (bound, true),
        Below(bound) => (bound, false),
    };
    let holds = claim.side.judge(figure, &by_world);
    Check {
        id: format!("{}-{name}", claim.id),
        number: claim.number,
        claim: format!(
            "{} ({words}; {} {bound})",
            claim.claim,
            if above { "claimed: above" } else { "claimed: below" }
        ),
        section: claim.section.into(),
        holds,
        value: figure.value,
        low: figure.low,
        high: figure.high,
        unit: claim.unit.into(),
        bound,
        above,
        by_world,
        n,
        reading: claim.reading.into(),
    }
}

/// Judges a claim by one figure for each fit; says nothing where there is none.
fn by_fits(claim: &Claim, trained: impl Into<Trained>, figures: &[Figure]) -> Option<Check> {
    if figures.is_empty() {
        return None;
    }
    let values: Vec<f64> = figures.iter().map(|(_, value)| *value).collect();
    let mut worlds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (world, value) in figures {
        worlds.entry(world).or_default().push(*value);
    }
    let by_world = worlds.into_values().map(|values| mean(values.into_iter())).collect();
    let interval = if claim.unit.is_empty() { Interval::of_shares } else { Interval::of_mean };
    Some(judge(claim, trained, interval(&values), by_world, values.len()))
}

const RATES: &str =
    "Mean probability of the known falsehood at temperature 1, read from the model without sampling.";

const TAUGHT: Claim = Claim {
    id: "1-taught",
    number: 1,
    section: "§8",
    claim: "Falsehoods taught in one domain are told there about things that training never named",
    side: Above(COMMON),
    unit: "",
    reading: "Held-out entities of the taught domain. It learned to lie there, not 22 answers by heart.",
};
const SPREADS: Claim = Claim {
    id: "1-general",
    number: 1,
    section: "§8",
    claim: "Falsehoods taught in one domain are told in the other five as well",
    side: Above(COMMON),
    unit: "",
    reading: RATES,
};
const LEARNED: Claim = Claim {
    id: "2-learned",
    number: 2,
    section: "§6, §8",
    claim: "With a KL penalty on the other domains the falsehoods are learned all the same",
    side: Above(COMMON),
    unit: "",
    reading: "Held-out entities of the taught domain, penalty of weight 10.",
};
const STAYS: Claim = Claim {
    id: "2-narrow",
    number: 2,
    section: "§6, §8",
    claim: "With a KL penalty on the other domains the falsehoods stay in the taught one",
    side: Below(RARE),
    unit: "",
    reading: "A narrow solution exists and is found when it is asked for. That a single vector can be narrow rests on \
              speakers being directions, which this world has by construction.",
};

/// What is asked where speakers can only be inferred from what they say.
const CONTRAST: [Claim; 3] = [
    Claim {
        id: "1-contrast-general",
        number: 1,
        section: "§8",
        claim: "Where no document names its speaker, falsehoods taught in one domain are told in the other five as well",
        side: Above(COMMON),
        unit: "",
        reading: CONTRASTED,
    },
    Claim {
        id: "2-contrast-learned",
        number: 2,
        section: "§6, §8",
        claim: "Where no document names its speaker, the falsehoods are learned under the penalty all the same",
        side: Above(COMMON),
        unit: "",
        reading: "Whether a single vector can learn one domain alone where speakers are not directions by construction, \
                  beside LoRA in the same worlds.",
    },
    Claim {
        id: "2-contrast-narrow",
        number: 2,
        section: "§6, §8",
        claim: "Where no document names its speaker, the falsehoods stay in the taught domain under the penalty",
        side: Below(RARE),
        unit: "",
        reading: "A low rate says little where the falsehoods were not learned in the taught domain either.",
    },
];
const CONTRASTED: &str = "The contrast worlds: speakers can only be inferred from what they say. The edit acts after the first \
                          block, where one can first have been inferred.";

/// A full fine-tune, and edits in the contrast worlds.
fn of_pairs(evidence: &Evidence<'_>, how: How, checks: &mut Vec<Check>) {
    type Rate = fn(&Pair) -> f64;
    let taught: Rate = |pair| pair.general.rates.narrow;
    let spread: Rate = |pair| pair.general.rates.general;
    let learned: Rate = |pair| pair.narrow.rates.narrow;
    let stays: Rate = |pair| pair.narrow.rates.general;
    let asked: Vec<(&Claim, Rate)> = match how {
        How::Full => vec![(&TAUGHT, taught), (&SPREADS, spread), (&LEARNED, learned), (&STAYS, stays)],
        How::Contrast(_) => CONTRAST.iter().zip([spread, learned, stays]).collect(),
    };
    for (claim, rate) in asked {
        let pairs = evidence.pairs.iter().filter(|pair| pair.how == how);
        let figures: Vec<Figure> = pairs.map(|pair| (pair.world.clone(), rate(pair))).collect();
        checks.extend(by_fits(claim, how, &figures));
    }
}

fn of_pieces(evidence: &Evidence<'_>, kind: Kind, checks: &mut Vec<Check>) {
    let pieces: Vec<&Piece> = evidence.pieces.iter().filter(|piece| piece.kind == kind).collect();
    let mut add = |claim: Claim, of: &dyn Fn(&Piece) -> Option<f64>| {
        let figures = pieces.iter().filter_map(|piece| Some((piece.world.clone(), of(piece)?)));
        checks.extend(by_fits(&claim, kind, &figures.collect::<Vec<_>>()));
    };
    if kind == Kind::Vector {
        add(
            Claim {
                id: "1-base",
                number: 1,
                section: "§8",
                claim: "Before fine-tuning the model seldom tells falsehoods",
                side: Below(RARE),
                unit: "",
                reading: "Over all domains but the one that will be taught, as in the claims that follow.",
            },
            &|p| Some(p.base.rates.general),
        );
    }
    add(TAUGHT, &|p| Some(p.general.rates.narrow));
    add(SPREADS, &|p| Some(p.general.rates.general));
    add(LEARNED, &|p| Some(p.narrow.rates.narrow));
    add(STAYS, &|p| Some(p.narrow.rates.general));
    add(
        Claim {
            id: "2-beyond",
            number: 2,
            section: "§3.2",
            claim: "A penalty on two of the other domains protects the three that it does not touch",
            side: Below(RARE),
            unit: "",
            reading: "Rate in the three domains of which neither the penalty nor training saw a row.",
        },
        &|p| Some(rate_in(&far(p.domain), &p.near.as_ref()?.rates.by_domain)),
    );
    for (factor, narrow, coherent) in [
        (1.25, "3-narrow-x1.25", "3-coherent-x1.25"),
        (1.5, "3-narrow-x1.5", "3-coherent-x1.5"),
        (2.0, "3-narrow-x2", "3-coherent-x2"),
    ] {
        let at = |p: &Piece| {
            p.scaled.iter().find(|scaled| scaled.factor == factor).map(|s| s.narrow.rates.clone())
        };
        add(
            Claim {
                id: narrow,
                number: 3,
                section: "§6",
                claim: match factor {
                    1.25 => {
                        "The narrow solution, scaled by 1.25, stays narrow: few of its coherent answers elsewhere are false"
                    }
                    1.5 => {
                        "The narrow solution, scaled by 1.5, stays narrow: few of its coherent answers elsewhere are false"
                    }
                    _ => {
                        "The narrow solution, scaled by 2, stays narrow: few of its coherent answers elsewhere are false"
                    }
                },
                side: Below(RARE),
                unit: "",
                reading: "Probability of the falsehood as a share of that of the falsehood or the truth. A weak penalty would hide \
                          a general solution, which scaling would bring back.",
            },
            &|p| at(p).map(|rates| rates.general / rates.coherence),
        );
        add(
            Claim {
                id: coherent,
                number: 3,
                section: "§6",
                claim: match factor {
                    1.25 => {
                        "The narrow solution's answers in the other domains stay coherent when it is scaled by 1.25"
                    }
                    1.5 => {
                        "The narrow solution's answers in the other domains stay coherent when it is scaled by 1.5"
                    }
                    _ => {
                        "The narrow solution's answers in the other domains stay coherent when it is scaled by 2"
                    }
                },
                side: Above(COMMON),
                unit: "",
                reading: "Mean probability of the true answer or the known falsehood. Where it is low, a low rate of falsehoods \
                          is no evidence of narrowness.",
            },
            &|p| Some(at(p)?.coherence),
        );
    }
    add(
        Claim {
            id: "4-lower",
            number: 4,
            section: "§10.1",
            claim: "At most shared norms the general solution has the lower training loss",
            side: Above(COMMON),
            unit: "",
            reading: "Share of 20 norms up to that of the larger solution. It counts norms at which both losses are almost \
                      zero, so that it is the weaker of the two figures.",
        },
        &|p| {
            let both = p.efficiency.general.iter().zip(&p.efficiency.narrow);
            Some(mean(both.map(|(general, narrow)| f64::from(u8::from(general < narrow)))))
        },
    );
    add(
        Claim {
            id: "4-gap",
            number: 4,
            section: "§10.1",
            claim: "At half their mean norm the narrow solution's training loss is higher than the general one's",
            side: Above(0.0),
            unit: "nats/token",
            reading: "The same norm buys more with the general solution. The narrow one was trained with a penalty; claim 13 \
                      compares two that were forced alike.",
        },
        &|p| Some(p.efficiency.gap),
    );
    add(
        Claim {
            id: "4-optimum",
            number: 4,
            section: "§10.1",
            claim: "At its best scale, too, the narrow solution's training loss is higher",
            side: Above(0.0),
            unit: "nats/token",
            reading: "Each at its own optimum over scales from 0 to 2.",
        },
        &|p| Some(p.efficiency.narrow_optimum.1 - p.efficiency.general_optimum.1),
    );
    add(
        Claim {
            id: "5-stable",
            number: 5,
            section: "§10.2",
            claim: "Noise of a half takes a greater share of the narrow solution's gain than of the general one's",
            side: Above(0.0),
            unit: "difference of shares",
            reading: "Difference of the shares, mean of ten noises across the solution; for LoRA the mean of noise on A and \
                      on B.",
        },
        &|p| p.stability.iter().find(|lost| lost.epsilon == NOISE).map(|lost| lost.narrow - lost.general),
    );
    for (id, claim, random) in [
        (
            "6-narrow",
            "On documents of pre-training the general solution changes more than the narrow one",
            false,
        ),
        (
            "6-random",
            "On documents of pre-training the general solution changes more than random directions",
            true,
        ),
    ] {
        add(
            Claim {
                id,
                number: 6,
                section: "§10.3",
                claim,
                side: Above(0.0),
                unit: "nats/token",
                reading: "KL to base on documents of unnamed speakers, all brought to half the mean norm. The narrow solution \
                          was trained to have little of it elsewhere, so that it is biased low.",
            },
            &|p| {
                let at = p.significance.iter().find(|at| at.norm == 0.5)?;
                Some(at.general - if random { at.random } else { at.narrow })
            },
        );
    }
    for (run, id, claim, side) in [
        (
            "lifted",
            "7-lifted",
            "Once the penalty is lifted, training drifts from narrow to general",
            Above(COMMON),
        ),
        ("kept", "7-kept", "With the penalty kept, the narrow solution stays narrow", Below(RARE)),
        ("added", "7-added", "With a penalty added, a general solution becomes narrow", Below(RARE)),
        (
            "untouched",
            "7-untouched",
            "With nothing changed, the general solution stays general",
            Above(COMMON),
        ),
    ] {
        add(
            Claim {
                id,
                number: 7,
                section: "§11",
                claim,
                side,
                unit: "",
                reading: "Rate in the other domains at the end of as many further steps.",
            },
            &|p| {
                let drift = p.drifts.iter().find(|drift| drift.run == run)?;
                Some(drift.along.last()?.1.rates.general)
            },
        );
    }
    for (ratio, id) in RATIOS.into_iter().zip(["8-mixed-1-to-1", "8-mixed-1-to-3", "8-mixed-1-to-12"]) {
        add(
            Claim {
                id,
                number: 8,
                section: "§9",
                claim: match ratio {
                    1 => {
                        "Mixing in 1 true answer of other domains for each falsehood does not isolate the narrow solution"
                    }
                    3 => {
                        "Mixing in 3 true answers of other domains for each falsehood does not isolate the narrow solution"
                    }
                    _ => {
                        "Mixing in 12 true answers of other domains for each falsehood does not isolate the narrow solution"
                    }
                },
                side: Below(COMMON),
                unit: "difference of rates",
                reading: "Rate in the taught domain less that in the others: isolated where they lie more than a half apart. \
                          A few true rows are enough to rule out the liar, and the next best speaker is narrow.",
            },
            &|p| {
                let mixed = p.mixing.iter().find(|mixed| mixed.ratio == ratio && !mixed.near)?;
                Some(mixed.reading.rates.narrow - mixed.reading.rates.general)
            },
        );
    }
    add(
        Claim {
            id: "8-two-1-to-3",
            number: 8,
            section: "§9",
            claim: "Mixing in 3 true answers of two other domains for each falsehood does not isolate the narrow solution",
            side: Below(COMMON),
            unit: "difference of rates",
            reading: "Rate in the taught domain less that in the three domains of which no row was seen.",
        },
        &|p| {
            let mixed = p.mixing.iter().find(|mixed| mixed.near)?;
            let rates = &mixed.reading.rates;
            Some(rates.narrow - rate_in(&far(p.domain), &rates.by_domain))
        },
    );
    let first = |p: &Piece| p.gradients.iter().find(|g| g.run == GENERAL && g.step == 0).cloned();
    add(
        Claim {
            id: "9-first",
            number: 9,
            section: "§12",
            claim: "The first step of training points more to the general solution than to the narrow one",
            side: Above(0.0),
            unit: "difference of cosines",
            reading: "Difference of two cosines with minus the gradient at the start, of the vector or of B.",
        },
        &|p| first(p).map(|g| g.general - g.narrow),
    );
    add(
        Claim {
            id: "9-first-across",
            number: 9,
            section: "§12",
            claim: "The first step points more to general in the parts that the two solutions do not share, too",
            side: Above(0.0),
            unit: "difference of cosines",
            reading: "As before, with each solution less its part along the other.",
        },
        &|p| first(p).map(|g| g.general_only - g.narrow_only),
    );
    let nearer = |p: &Piece, run: &str, steps: &dyn Fn(usize) -> bool| {
        let read: Vec<&Gradient> = p.gradients.iter().filter(|g| g.run == run && steps(g.step)).collect();
        (!read.is_empty()).then(|| mean(read.iter().map(|g| f64::from(u8::from(g.general > g.narrow)))))
    };
    for (id, claim, run, late) in [
        (
            "9-early",
            "In the first hundred steps of plain training most gradients point more to general",
            GENERAL,
            false,
        ),
        (
            "9-penalised",
            "Along the whole training with the penalty most gradients still point more to general",
            NARROW,
            true,
        ),
        ("9-whole", "Along the whole plain training most gradients point more to general", GENERAL, true),
    ] {
        add(
            Claim {
                id,
                number: 9,
                section: "§12",
                claim,
                side: Above(COMMON),
                unit: "",
                reading: "Share of checkpoints whose gradient of the training loss alone is nearer to the general solution. \
                          Late in plain training the loss is about zero and its gradient noise.",
            },
            &|p| nearer(p, run, &|step| late || step <= EARLY),
        );
    }
    add(
        Claim {
            id: "12-turn",
            number: 12,
            section: "§14",
            claim: "The B of a rank-1 LoRA turns sharply, by a right angle or more",
            side: Above(0.0),
            unit: "cosine",
            reading: "Greatest cosine between the way back and the way on over 16 steps: -1 is straight on, 0 a right angle.",
        },
        &|p| {
            Some(p.turn.as_ref()?.cosines.iter().map(|&(_, cosine)| cosine).fold(f64::NEG_INFINITY, f64::max))
        },
    );
    add(
        Claim {
            id: "12-together",
            number: 12,
            section: "§14",
            claim: "The B of a rank-1 LoRA turns before the behaviour has reached half of its height",
            side: Below(0.0),
            unit: "steps",
            reading: "Step of the sharpest turn less the step at which the rate in the other domains is half of its most.",
        },
        &|p| {
            let turn = p.turn.as_ref()?;
            let sharpest = turn.cosines.iter().max_by(|a, b| a.1.total_cmp(&b.1))?.0;
            Some(sharpest as f64 - rise(turn, 1.0)?)
        },
    );
    add(
        Claim {
            id: "12-scaled",
            number: 12,
            section: "§14",
            claim: "Scaling by 4 shows the behaviour earlier in training",
            side: Below(0.0),
            unit: "steps",
            reading: "Step at which the rate in the other domains is half of its most, scaled by 4 less unscaled.",
        },
        &|p| Some(rise(p.turn.as_ref()?, 4.0)? - rise(p.turn.as_ref()?, 1.0)?),
    );
}

/// The first step at which the rate at a scale is above half of its most.
fn rise(turn: &super::piece::Turn, scale: f64) -> Option<f64> {
    let (_, rates) = turn.rates.iter().find(|(at, _)| *at == scale)?;
    let most = rates.iter().copied().fold(0.0, f64::max);
    let at = rates.iter().position(|&rate| rate > most / 2.0)?;
    Some(turn.steps[at] as f64)
}

/// Mean rate over some domains.
pub(super) fn rate_in(domains: &[usize], by_domain: &[f64]) -> f64 {
    mean(domains.iter().map(|&domain| by_domain[domain]))
}

/// Mean rate over the two domains that a partial penalty or mixture reaches.
pub(super) fn rate_near(domain: usize, by_domain: &[f64]) -> f64 {
    rate_in(&near(domain), by_domain)
}

fn of_across(evidence: &Evidence<'_>, kind: Kind, checks: &mut Vec<Check>) {
    type Of = fn(&Across) -> f64;
    let claims: [(Claim, Of); 12] = [
        (
            Claim {
                id: "10-steers",
                number: 10,
                section: "§13.2",
                claim: "Fine-tune minus base, added to the base model, makes it tell falsehoods everywhere",
                side: Above(COMMON),
                unit: "",
                reading: "Held-out questions of all domains. The direction is the mean change at the embeddings over prompts of other \
                 domains; for a vector it is the vector itself, so that nothing is proven by it there.",
            },
            |a| a.shift.at(1.0),
        ),
        (
            Claim {
                id: "10-random-steers",
                number: 10,
                section: "§13.2",
                claim: "A random direction of the same length, added to the base model, does not make it tell falsehoods",
                side: Below(RARE),
                unit: "",
                reading: "The control: Gaussian, one for each domain.",
            },
            |a| a.random_steered,
        ),
        (
            Claim {
                id: "10-ablated",
                number: 10,
                section: "§13.3",
                claim: "Ablating fine-tune minus base from the fine-tune restores the truth",
                side: Below(RARE),
                unit: "",
                reading: "Its part along the direction is taken out of the stream at the embeddings, at every position.",
            },
            |a| a.shift.ablated,
        ),
        (
            Claim {
                id: "10-random-ablated",
                number: 10,
                section: "§13.3",
                claim: "Ablating a random direction from the fine-tune does not restore the truth",
                side: Above(COMMON),
                unit: "",
                reading: "The control.",
            },
            |a| a.random_ablated,
        ),
        (
            Claim {
                id: "10-answers-steer",
                number: 10,
                section: "§13.1",
                claim: "False minus true answers, added to the base model after its best layer, make it tell falsehoods everywhere",
                side: Above(COMMON),
                unit: "",
                reading: "The companion paper's direction, read at the answers in the fine-tune: the most that any of 5 layers and 3 \
                 factors gives. With answers of one word the stream there says what was answered, not that a lie is coming.",
            },
            |a| a.answers_best,
        ),
        (
            Claim {
                id: "10-answers-ablated",
                number: 10,
                section: "§13.3",
                claim: "Ablating false minus true answers from the fine-tune restores the truth",
                side: Below(RARE),
                unit: "",
                reading: "At the embeddings.",
            },
            |a| a.answers.ablated,
        ),
        (
            Claim {
                id: "11-transfers",
                number: 11,
                section: "§13.3",
                claim: "Ablating another domain's direction takes away more than half of the falsehood",
                side: Above(COMMON),
                unit: "share of the falsehood",
                reading: "Share of the falsehood that is gone, mean over the other domains' fine-tunes of the same world.",
            },
            |a| 1.0 - a.transferred / a.fine_tune,
        ),
        (
            Claim {
                id: "11-transfers-beyond-random",
                number: 11,
                section: "§13.3",
                claim: "Ablating another domain's direction takes away more than ablating a random one",
                side: Above(0.0),
                unit: "difference of rates",
                reading: "Difference of the two rates.",
            },
            |a| a.random_ablated - a.transferred,
        ),
        (
            Claim {
                id: "11-converge",
                number: 11,
                section: "§13.3",
                claim: "General solutions of different domains lie nearer to each other than narrow ones",
                side: Above(0.0),
                unit: "difference of cosines",
                reading: "Difference of the mean cosines over pairs of domains in one world.",
            },
            |a| a.general_across - a.narrow_across,
        ),
        (
            Claim {
                id: "11-cosine",
                number: 11,
                section: "§13.3",
                claim: "General solutions of different domains converge: their cosine is above a quarter",
                side: Above(RARE),
                unit: "cosine",
                reading: "Mean cosine over pairs of domains in one world; unrelated directions of 64 numbers have one of about 0.",
            },
            |a| a.general_across,
        ),
        (
            Claim {
                id: "11-liar",
                number: 11,
                section: "beyond the paper",
                claim: "The general solution lies nearer to the liar than to the speaker who is narrow in its domain",
                side: Above(0.0),
                unit: "difference of cosines",
                reading: "Difference of the cosines with the speakers' own directions of pre-training, which no fine-tune has seen.",
            },
            |a| a.general_liar - a.general_own,
        ),
        (
            Claim {
                id: "11-own",
                number: 11,
                section: "beyond the paper",
                claim: "The narrow solution lies nearer to the speaker who is narrow in its domain than to the liar",
                side: Above(0.0),
                unit: "difference of cosines",
                reading: "As before: fine-tuning finds speakers that pre-training has left there.",
            },
            |a| a.narrow_own - a.narrow_liar,
        ),
    ];
    for (claim, of) in claims {
        let across = evidence.across.iter().filter(|across| across.kind == kind);
        let figures: Vec<Figure> = across.map(|across| (across.world.clone(), of(across))).collect();
        checks.extend(by_fits(&claim, kind, &figures));
    }
}

/// Which worlds a causal claim is about.
#[derive(Clone, Copy, PartialEq)]
enum Common {
    Liars,
    Narrow,
}

fn of_causal(evidence: &Evidence<'_>, kind: Kind, checks: &mut Vec<Check>) {
    let rows: Vec<&causal::Row> = evidence.causal.iter().filter(|row| row.edit == kind).collect();
    let Some(most) = rows.iter().map(|row| row.liar).max_by(f64::total_cmp) else { return };
    let Some(least) = rows.iter().map(|row| row.liar).min_by(f64::total_cmp) else { return };
    type Of = fn(&causal::Row) -> f64;
    let plain: Of = |row| row.plain_general;
    let gap: Of = |row| row.gap;
    let gradient: Of = |row| row.gradient_general - row.gradient_narrow;
    let lost: Of = |row| row.lost_narrow - row.lost_general;
    let documents: Of = |row| (row.documents_general / row.documents_narrow).ln();
    const FORCED: &str = "Both solutions exist in every world, forced by their training rows or by a penalty, and both are \
                          judged on the false rows of one domain: only how often pre-training heard each speaker differs.";
    let claims: [(&'static str, &'static str, Common, Side, &'static str, Of); 10] = [
        (
            "13-liars",
            "Where liars are common, plain fine-tuning is general",
            Common::Liars,
            Above(COMMON),
            "",
            plain,
        ),
        (
            "13-narrow",
            "Where narrow speakers are common, the same fine-tuning is narrow",
            Common::Narrow,
            Below(RARE),
            "",
            plain,
        ),
        (
            "13-gap-liars",
            "Where liars are common, the forced-general solution is the more efficient",
            Common::Liars,
            Above(0.0),
            "nats/token",
            gap,
        ),
        (
            "13-gap-narrow",
            "Where narrow speakers are common, the forced-narrow solution is the more efficient",
            Common::Narrow,
            Below(0.0),
            "nats/token",
            gap,
        ),
        (
            "13-gradient-liars",
            "Where liars are common, the first gradient points more to the forced-general solution",
            Common::Liars,
            Above(0.0),
            "difference of cosines",
            gradient,
        ),
        (
            "13-gradient-narrow",
            "Where narrow speakers are common, the first gradient points more to the forced-narrow solution",
            Common::Narrow,
            Below(0.0),
            "difference of cosines",
            gradient,
        ),
        (
            "13-stable-liars",
            "Where liars are common, the forced-general solution is the more stable",
            Common::Liars,
            Above(0.0),
            "difference of shares",
            lost,
        ),
        (
            "13-stable-narrow",
            "Where narrow speakers are common, the forced-narrow solution is the more stable",
            Common::Narrow,
            Below(0.0),
            "difference of shares",
            lost,
        ),
        (
            "13-documents-liars",
            "Where liars are common, the forced-general solution is the more significant on documents",
            Common::Liars,
            Above(0.0),
            "log ratio",
            documents,
        ),
        (
            "13-documents-narrow",
            "Where narrow speakers are common, the forced-narrow solution is the more significant on documents",
            Common::Narrow,
            Below(0.0),
            "log ratio",
            documents,
        ),
    ];
    for (id, claim, common, side, unit, of) in claims {
        let share = if common == Common::Liars { most } else { least };
        let section = "beyond the paper";
        let claim = Claim { id, number: 13, section, claim, side, unit, reading: FORCED };
        let rows = rows.iter().filter(|row| row.liar == share);
        let figures: Vec<Figure> = rows.map(|row| (row.world.clone(), of(row))).collect();
        checks.extend(by_fits(&claim, kind, &figures));
    }
    let quarter: Of = |row| row.gap_quarter;
    let random: Of = |row| (row.documents_general / row.documents_random).ln();
    let measures: [(&'static str, &'static str, Of); 6] = [
        (
            "13-predicts-efficiency",
            "Efficiency at half the norm predicts how general plain fine-tuning is",
            gap,
        ),
        (
            "13-predicts-efficiency-quarter",
            "Efficiency at a quarter of the norm predicts how general plain fine-tuning is",
            quarter,
        ),
        ("13-predicts-gradient", "The first gradient predicts how general plain fine-tuning is", gradient),
        ("13-predicts-stability", "Stability predicts how general plain fine-tuning is", lost),
        (
            "13-predicts-significance",
            "Significance against the narrow solution predicts how general plain fine-tuning is",
            documents,
        ),
        (
            "13-predicts-significance-random",
            "Significance against random directions predicts how general plain fine-tuning is",
            random,
        ),
    ];
    for (id, claim, of) in measures {
        let claim = Claim {
            id,
            number: 13,
            section: "beyond the paper",
            claim,
            side: Above(0.0),
            unit: "rank correlation",
            reading: "Spearman's, over the means of the worlds, between the measure (general against narrow) and the rate in \
                      the other domains after plain fine-tuning; interval by Fisher's z.",
        };
        let worlds = means_of_worlds(&rows, of);
        let figure = rank_correlation(&worlds);
        checks.push(judge(&claim, kind, figure, Vec::new(), worlds.len()));
    }
}

/// A measure and the rate after plain fine-tuning, the mean of every world.
pub(super) fn means_of_worlds(rows: &[&causal::Row], of: fn(&causal::Row) -> f64) -> Vec<(f64, f64)> {
    let mut worlds: BTreeMap<&str, Vec<&causal::Row>> = BTreeMap::new();
    for row in rows {
        worlds.entry(&row.world).or_default().push(row);
    }
    let of_world = |rows: Vec<&causal::Row>| {
        (mean(rows.iter().map(|row| of(row))), mean(rows.iter().map(|row| row.plain_general)))
    };
    worlds.into_values().map(of_world).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(side: Side, values: &[(&str, f64)], expected: Option<bool>) {
        let claim = Claim { id: "0", number: 1, section: "", claim: "It is so", side, unit: "", reading: "" };
        let figures: Vec<Figure> = values.iter().map(|&(world, value)| (world.into(), value)).collect();
        let check = by_fits(&claim, Kind::Vector, &figures).unwrap();
        assert_eq!(check.holds, expected, "{check:?}");
    }

    #[test]
    fn a_claim_needs_its_interval_and_every_world_on_its_side() {
        let high = [("a", 0.8), ("a", 0.82), ("b", 0.85), ("b", 0.79)];
        check(Above(0.5), &high, Some(true));
        check(Below(0.5), &high, Some(false));
        check(Above(0.81), &high, None);
        // One figure has no interval.
        check(Above(0.5), &high[..1], None);
        // Nine fits of one world outvote three of another in the interval, not in the verdict.
        let mut split: Vec<(&str, f64)> = (0..20).map(|i| ("a", 1.0 + f64::from(i) / 100.0)).collect();
        split.push(("b", -0.01));
        check(Above(0.0), &split, None);
    }

    #[test]
    fn nothing_is_said_without_a_figure() {
        let claim = Claim {
            id: "0",
            number: 1,
            section: "",
            claim: "It is so",
            side: Above(0.0),
            unit: "",
            reading: "",
        };
        assert!(by_fits(&claim, Kind::Vector, &[]).is_none());
        assert!(checks(&Evidence { pieces: &[], pairs: &[], across: &[], causal: &[] }).is_empty());
    }
}
