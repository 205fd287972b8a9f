//! Families: solutions that differ in their seeds alone. Their mean shifts, and mean differences between them.

use super::{Difference, Shown, unit::NATS};
use crate::{interval::Interval, lab::Group};

/// A solution as one of those that differ in nothing but their seeds.
pub struct Member {
    /// Its name.
    pub solution: String,
    /// The name that all of them share.
    pub family: String,
    /// Its seed.
    pub seed: u64,
}

crate::row! {
    /// The mean shift of a family of two or more seeds, at one scale, inside the domain or outside.
    pub struct FamilyShift in "families",
        "Preference shift over seeds: means of solutions that differ in their seeds alone"
    {
        /// The family.
        family: String,
        /// Inside the domain or outside.
        group: Group,
        /// The factor.
        scale: f64,
        /// Number of seeds.
        seeds: usize,
        /// The mean, with its interval over seeds.
        shift: Interval = NATS,
        /// True if all of its solutions are coherent.
        coherent: bool,
        /// The seeds.
        which_seeds: String,
    }
}

crate::row! {
    /// The difference between two families, seed by seed, and its mean over the seeds that both have.
    pub struct FamilyDifference in "families_difference",
        "Differences between families of solutions, over seeds"
    {
        /// The measure.
        measure: String,
        /// The family.
        family: String,
        /// The other one.
        other: String,
        /// The quantity compared, where the measure has several.
        what: String,
        /// The point of comparison; NaN where each seed has one of its own.
        at: f64,
        /// Number of seeds.
        seeds: usize,
        /// The mean difference, with its interval over seeds.
        difference: Interval,
        /// Its unit.
        unit: String,
        /// The seeds.
        which_seeds: String,
    }
}

impl FamilyDifference {
    /// Those of one measure.
    pub(crate) fn of(shown: &Shown<'_>, measure: &str) -> Vec<Self> {
        shown.rows::<Self>().into_iter().filter(|row| row.measure == measure).collect()
    }

    /// The families as if they were solutions.
    pub(crate) fn into_difference(self) -> Difference {
        let Self { family, other, what, at, difference, .. } = self;
        Difference { solution: family, other, what, at, difference, unit: "" }
    }
}

/// The means of one measure's differences between two families, seed by seed, over the seeds that both have.
pub fn families_difference(
    measure: &str,
    differences: Vec<Difference>,
    members: &[Member],
) -> Vec<FamilyDifference> {
    struct Mean {
        families: [String; 2],
        of: Difference,
        seeds: Vec<u64>,
        differences: Vec<f64>,
    }
    let mut means: Vec<Mean> = Vec::new();
    for of in differences {
        let member = |name: &str| members.iter().find(|member| member.solution == name);
        let (Some(one), Some(other)) = (member(&of.solution), member(&of.other)) else { continue };
        if one.seed != other.seed || one.family == other.family || !of.difference.value.is_finite() {
            continue;
        }
        let families = [one.family.clone(), other.family.clone()];
        let value = of.difference.value;
        let same = |m: &&mut Mean| {
            m.families == families && m.of.what == of.what && m.of.at.total_cmp(&of.at).is_eq()
        };
        match means.iter_mut().find(same) {
            Some(known) => {
                known.seeds.push(one.seed);
                known.differences.push(value);
            }
            None => means.push(Mean { families, of, seeds: vec![one.seed], differences: vec![value] }),
        }
    }
    let several = means.into_iter().filter(|mean| mean.seeds.len() > 1);
    several
        .map(|Mean { families: [family, other], of, seeds, differences }| FamilyDifference {
            measure: measure.into(),
            family,
            other,
            what: of.what,
            at: of.at,
            seeds: seeds.len(),
            difference: Interval::of_mean(&differences),
            unit: of.unit.into(),
            which_seeds: listed(&seeds),
        })
        .collect()
}

/// Seeds as a table lists them.
pub(super) fn listed(seeds: &[u64]) -> String {
    seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
