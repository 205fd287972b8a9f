//! The thirteen claims, each in parts that hold a figure against a bound.
//!
//! Intervals are Student's over fits (one for each taught domain of each world), never over fine-tuning seeds. The fits of one
//! world share its pre-training, so that they are not quite independent: a claim must be on its side in every world as well.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

use super::{
    figures::{Evidence, Figures, OfWorld, figures},
    fits::Kind,
    found::mean,
    results::{Check, Plot},
};
use crate::{
    claim::Bound,
    interval::{Interval, rank_correlation},
    table::Word,
};

/// A claim with all that its parts have in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its number, 1 to 13.
    pub number: u8,
    /// The claim, whether it holds or not.
    pub title: String,
    /// The way in which it is asked, for a reader who knows none of the words.
    pub how: String,
    part: Vec<Part>,
    /// Its pictures, without their series.
    pub(super) plot: Vec<Plot>,
}

/// A part of a claim: its words, and the bound of its figure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    id: String,
    claim: String,
    section: String,
    bound: Bound,
    /// Empty for shares from 0 to 1.
    #[serde(default)]
    unit: String,
    /// Left out where it is that of the part before.
    reading: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    claim: Vec<Claim>,
}

/// All claims.
pub fn claims() -> &'static [Claim] {
    static CLAIMS: OnceLock<Vec<Claim>> = OnceLock::new();
    CLAIMS.get_or_init(|| {
        let claims: Claims = toml::from_str(include_str!("claims.toml")).expect("a test reads the claims");
        claims.claim
    })
}

/// Judges all parts for which there is evidence, in the order of the claims, of one kind of edit after another.
pub(super) fn checks(evidence: &Evidence<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (claim, kind) in claims().iter().flat_map(|claim| Kind::ALL.map(|kind| (claim, kind))) {
        let mut reading = "";
        for part in &claim.part {
            reading = part.reading.as_deref().unwrap_or(reading);
            checks.extend(part.judged(kind, evidence).map(|check| Check {
                number: claim.number,
                reading: reading.into(),
                ..check
            }));
        }
    }
    // What was asked of the contrast worlds comes last.
    checks.sort_by_key(|check| (check.number, check.id.contains("-contrast-")));
    checks
}

impl Part {
    /// Judges one kind of edit; says nothing where there is no figure.
    fn judged(&self, kind: Kind, evidence: &Evidence<'_>) -> Option<Check> {
        match figures(&self.id, kind, evidence)? {
            Figures::Each(figures) => self.by_fits(kind, &figures),
            Figures::Predicting(worlds) => (!worlds.is_empty())
                .then(|| self.check(kind, rank_correlation(&worlds), Vec::new(), worlds.len())),
        }
    }

    /// Judges by one figure for each fit.
    fn by_fits(&self, kind: Kind, figures: &[OfWorld<'_>]) -> Option<Check> {
        let values: Vec<f64> = figures.iter().map(|(_, value)| *value).collect();
        let mut worlds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (world, value) in figures {
            worlds.entry(world).or_default().push(*value);
        }
        let by_world = worlds.into_values().map(|values| mean(values.into_iter())).collect();
        let interval = if self.unit.is_empty() { Interval::of_shares } else { Interval::of_mean };
        (!values.is_empty()).then(|| self.check(kind, interval(&values), by_world, values.len()))
    }

    /// Judges by a figure and the mean of every world.
    fn check(&self, kind: Kind, figure: Interval, by_world: Vec<f64>, n: usize) -> Check {
        let (Bound::Above(bound) | Bound::Below(bound)) = self.bound;
        let above = matches!(self.bound, Bound::Above(_));
        let side = if above { "above" } else { "below" };
        let contrast = if self.id.contains("-contrast-") { "contrast-" } else { "" };
        Check {
            id: format!("{}-{contrast}{}", self.id, kind.word()),
            number: 0,
            claim: format!("{} ({}; claimed: {side} {bound})", self.claim, kind.words()),
            section: self.section.clone(),
            holds: self.bound.judge(figure, &by_world),
            figure,
            unit: self.unit.clone(),
            bound,
            above,
            by_world,
            n,
            reading: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Evidence<'_> = Evidence { found: &[], across: &[], causal: &[] };

    #[test]
    fn every_part_has_a_figure_and_a_reading() {
        let claims = claims();
        assert_eq!(claims.iter().map(|claim| claim.number).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
        let mut ids = Vec::new();
        for claim in claims {
            assert!(claim.part.first().is_some_and(|part| part.reading.is_some()), "{claim:?}");
            for part in &claim.part {
                assert!(figures(&part.id, Kind::Vector, &NOTHING).is_some(), "{part:?}");
                assert!(part.id.starts_with(&format!("{}-", claim.number)) && !ids.contains(&&part.id));
                ids.push(&part.id);
            }
        }
    }

    #[track_caller]
    fn check(above: f64, values: &[OfWorld<'_>], expected: Option<bool>) {
        let text = format!("id = '0'\nclaim = 'It is so'\nsection = ''\nbound = {{ above = {above:?} }}");
        let part: Part = toml::from_str(&text).unwrap();
        let check = part.by_fits(Kind::Vector, values).unwrap();
        assert_eq!(check.holds, expected, "{check:?}");
    }

    #[test]
    fn a_claim_needs_its_interval_and_every_world_on_its_side() {
        let high = [("a", 0.8), ("a", 0.82), ("b", 0.85), ("b", 0.79)];
        check(0.5, &high, Some(true));
        check(0.9, &high, Some(false));
        check(0.81, &high, None);
        // One figure has no interval.
        check(0.5, &high[..1], None);
        // Nine fits of one world outvote three of another in the interval, not in the verdict.
        let mut split: Vec<OfWorld<'_>> = (0..20).map(|i| ("a", 1.0 + f64::from(i) / 100.0)).collect();
        split.push(("b", -0.01));
        check(0.0, &split, None);
    }

    #[test]
    fn nothing_is_said_without_a_figure() {
        assert!(checks(&NOTHING).is_empty());
    }
}
