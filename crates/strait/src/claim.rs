//! Claims: statements that figures bear out, contradict or leave open, and the rule that judges all of them.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;

/// One statement that the tables bear out, contradict, or leave open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// The statement, without its subject.
    pub claim: String,
    /// The section of the notes on the paper that it is from.
    pub section: String,
    /// The solution that it is about; none for a comparison.
    pub solution: Option<String>,
    /// The answer: true where it holds, false where it does not, none where that cannot be told.
    pub holds: Option<bool>,
    /// The figure that it rests on, NaN where there is none: a shift in nats a token; for a certificate and a comparison
    /// the share of the general shift in the narrow one.
    pub value: f64,
    /// Lower end of the value's 95 % interval.
    pub low: f64,
    /// Upper end of the value's 95 % interval.
    pub high: f64,
    /// The reason, with its numbers.
    pub words: String,
}

impl Claim {
    /// A comparison.
    pub fn new(
        claim: impl Into<String>,
        section: &str,
        holds: Option<bool>,
        figure: Interval,
        words: String,
    ) -> Self {
        let Interval { value, low, high } = figure;
        Self { claim: claim.into(), section: section.into(), solution: None, holds, value, low, high, words }
    }

    /// The same claim about a solution.
    #[must_use]
    pub fn of(mut self, solution: &str) -> Self {
        self.solution = Some(solution.into());
        self
    }

    /// The figure with its interval.
    pub fn figure(&self) -> Interval {
        Interval { value: self.value, low: self.low, high: self.high }
    }

    /// The statement with its subject, as people write it in a prediction.
    pub fn sentence(&self) -> String {
        sentence(self.solution.as_deref(), &self.claim)
    }
}

/// A statement with its subject, without the quotation marks around names.
pub fn sentence(solution: Option<&str>, claim: &str) -> String {
    let claim = claim.replace(['“', '”'], "");
    solution.map_or(claim.clone(), |name| format!("{name}: {claim}"))
}

/// A bound, and the side of it on which a figure is claimed to lie.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Above the bound.
    Above(f64),
    /// Below the bound.
    Below(f64),
}

impl Bound {
    /// The rule for one figure: it holds where the whole interval and the mean of every group (such as every world) lie on
    /// this side of the bound, does not hold where they all lie on the other, and cannot be told otherwise.
    pub fn judge(self, figure: Interval, groups: &[f64]) -> Option<bool> {
        let all = |is: &dyn Fn(f64) -> bool| [figure.low, figure.high].iter().chain(groups).all(|&x| is(x));
        let (Self::Above(bound) | Self::Below(bound)) = self;
        let above = match (all(&|x| x > bound), all(&|x| x < bound)) {
            (true, _) => true,
            (_, true) => false,
            _ => return None,
        };
        Some(above == matches!(self, Self::Above(_)))
    }

    /// The rule for figures at several points: it holds where it holds at all of them, and does not hold where at one it
    /// does not.
    pub fn judge_all(self, figures: &[Interval]) -> Option<bool> {
        let verdicts: Vec<_> = figures.iter().map(|&figure| self.judge(figure, &[])).collect();
        match verdicts.as_slice() {
            [] => None,
            all if all.contains(&Some(false)) => Some(false),
            all if all.contains(&None) => None,
            _ => Some(true),
        }
    }
}

/// A solution as claims see it, before or after its training.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// The kind of its edit, one word.
    pub kind: String,
    /// True for a control: its own effect is read, and it is compared with nothing.
    pub control: bool,
    /// True if it trains on rows of its own: the domain of the study is not its own, and no claim is made of it alone.
    pub own_rows: bool,
    /// True if a KL penalty holds it to base.
    pub penalised: bool,
    /// True if the weight of its penalty is searched for.
    pub searched: bool,
    /// True if it goes on from another solution, without that one's penalty.
    pub freed: bool,
    /// The name that it shares with those that differ from it in their seeds alone.
    pub variant: String,
    /// Its seed.
    pub seed: u64,
}

/// The pairs of solutions that claims compare: of every kind of edit the first without a KL penalty and the first with one;
/// where no kind has two such, the first two of all. Controls are compared with nothing, nor are those with rows of their own.
pub fn opposed(subjects: &[Subject]) -> Vec<[&Subject; 2]> {
    let subjects: Vec<&Subject> =
        subjects.iter().filter(|subject| !(subject.control || subject.own_rows)).collect();
    let mut kinds: Vec<&str> = Vec::new();
    for subject in &subjects {
        if !kinds.contains(&subject.kind.as_str()) {
            kinds.push(&subject.kind);
        }
    }
    let pair = |kind: &str| {
        let first = |penalised| subjects.iter().find(|s| s.kind == kind && s.penalised == penalised);
        Some([*first(false)?, *first(true)?])
    };
    let pairs: Vec<_> = kinds.into_iter().filter_map(pair).collect();
    match subjects[..] {
        [one, other, ..] if pairs.is_empty() => vec![[one, other]],
        _ => pairs,
    }
}

/// The solutions without a penalty that claims compare with others, each with its place.
pub(crate) fn plain(subjects: &[Subject]) -> impl Iterator<Item = (usize, &Subject)> {
    let opposed = opposed(subjects);
    let is_plain = move |subject: &&Subject| opposed.iter().any(|[plain, _]| plain.name == subject.name);
    subjects.iter().enumerate().filter(move |(_, subject)| is_plain(subject))
}

/// The number of seeds that two variants have in common; none for a variant and itself.
pub fn shared_seeds(subjects: &[Subject], [one, other]: [&Subject; 2]) -> usize {
    let seeds = |of: &Subject| -> Vec<u64> {
        subjects.iter().filter(|s| s.variant == of.variant).map(|s| s.seed).collect()
    };
    match one.variant == other.variant {
        true => 0,
        false => seeds(one).iter().filter(|seed| seeds(other).contains(seed)).count(),
    }
}

/// A claim's place among those of a report: claims of each solution together, then those of each pair, over single seeds
/// and over several, then the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// About the solution of this number.
    Solution(usize),
    /// About the pair of this number; whether over seeds.
    Pair(usize, bool),
    /// About a variant over its seeds.
    OverSeeds,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(low: f64, high: f64) -> Interval {
        Interval { value: (low + high) / 2.0, low, high }
    }

    #[test]
    fn a_figure_is_judged_by_its_interval_and_its_groups() {
        use Bound::{Above, Below};
        for (side, figure, groups, expected) in [
            (Above(0.5), figure(0.6, 0.9), &[0.7, 0.8][..], Some(true)),
            (Below(0.5), figure(0.6, 0.9), &[0.7, 0.8], Some(false)),
            (Above(0.5), figure(0.4, 0.9), &[], None),
            (Above(0.5), figure(0.6, 0.9), &[0.7, 0.45], None),
            (Below(0.5), figure(0.1, 0.2), &[], Some(true)),
            (Above(0.5), Interval::bare(0.9), &[], None),
        ] {
            assert_eq!(side.judge(figure, groups), expected, "{side:?} {figure:?} {groups:?}");
        }
    }

    #[test]
    fn several_points_agree_or_one_contradicts() {
        let (more, less, open) = (figure(0.1, 0.2), figure(-0.2, -0.1), figure(-0.1, 0.1));
        let judge = |figures: &[Interval]| Bound::Above(0.0).judge_all(figures);
        assert_eq!(judge(&[]), None);
        assert_eq!(judge(&[more, more]), Some(true));
        assert_eq!(judge(&[more, open]), None);
        assert_eq!(judge(&[more, open, less]), Some(false));
    }
}
