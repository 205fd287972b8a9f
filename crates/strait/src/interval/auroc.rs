//! The area under the ROC curve: how well scores tell two kinds of rows apart.

use super::{FEWEST, Interval};

/// The area under the ROC curve: the probability that a row of the one kind scores higher than one of the other, where equal scores
/// count half. NaN where a kind has no rows.
pub fn auroc(scores: &[f64], positive: &[bool]) -> f64 {
    Placements::of(scores, positive).area
}

/// The share of a question that an area must be away from 0 and 1 for its log-odds to be of use.
const EDGE: f64 = 0.1;

impl Interval {
    /// The area under the ROC curve of scores, where `positive[i]` says the kind of row `i` and `clusters[i]` its question.
    ///
    /// Student's interval over questions on the log-odds of the area, which is linearised as DeLong (1988) and Obuchowski (1997) do,
    /// and no narrower than Newcombe's (2006), which needs no misplaced row to have a width. Where rows are never misplaced, or
    /// always, or hardly ever, that one holds alone, with questions in the place of rows: log-odds of next to nothing have no bounds.
    pub fn of_auroc(scores: &[f64], positive: &[bool], clusters: &[usize]) -> Self {
        let placements = Placements::of(scores, positive);
        let area = placements.area;
        let questions = |kind: bool| {
            let mut of_kind: Vec<_> =
                clusters.iter().zip(positive).filter(|(_, is)| **is == kind).map(|(at, _)| *at).collect();
            of_kind.sort_unstable();
            of_kind.dedup();
            of_kind.len()
        };
        let influences = placements.by_cluster(clusters);
        if area.is_nan() || influences.len() < FEWEST {
            return Self::bare(area);
        }
        let edge = EDGE / influences.len() as f64;
        if area <= edge || area >= 1.0 - edge {
            return newcombe(area, questions(true), questions(false));
        }
        let (odds, slope) = ((area / (1.0 - area)).ln(), influences.len() as f64 / (area * (1.0 - area)));
        let linear = Self::of_mean(&influences.iter().map(|part| odds + slope * part).collect::<Vec<_>>());
        let back = |odds: f64| 1.0 / (1.0 + (-odds).exp());
        let rows = positive.iter().filter(|is| **is).count();
        Self { value: area, low: back(linear.low), high: back(linear.high) }.no_narrower_than(newcombe(
            area,
            rows,
            positive.len() - rows,
        ))
    }

    /// The area under the ROC curve of some scores less that of others of the same rows, over questions.
    pub fn of_auroc_difference(
        scores: &[f64],
        others: &[f64],
        positive: &[bool],
        clusters: &[usize],
    ) -> Self {
        let (one, other) = (Placements::of(scores, positive), Placements::of(others, positive));
        let value = one.area - other.area;
        let parts = one.by_cluster(clusters).into_iter().zip(other.by_cluster(clusters)).collect::<Vec<_>>();
        let n = parts.len() as f64;
        let Self { low, high, .. } =
            Self::of_mean(&parts.iter().map(|(one, other)| value + n * (one - other)).collect::<Vec<_>>());
        Self { value, low, high }
    }
}

/// The place of every row among those of the other kind.
struct Placements {
    /// The area under the curve.
    area: f64,
    /// What each row adds to the area beyond its mean: its share of well-placed rows of the other kind less the area, over the
    /// number of its own kind.
    parts: Vec<f64>,
}

impl Placements {
    fn of(scores: &[f64], positive: &[bool]) -> Self {
        let sorted = |kind: bool| {
            let of_kind = scores.iter().zip(positive).filter(|(_, is)| **is == kind);
            let mut sorted: Vec<f64> = of_kind.map(|(score, _)| *score).collect();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        let kinds = [sorted(false), sorted(true)];
        let share = |(score, is): (&f64, &bool)| {
            let others = &kinds[usize::from(!is)];
            let below = others.partition_point(|other| other < score);
            let equal = others.partition_point(|other| other <= score) - below;
            let higher = (below as f64 + 0.5 * equal as f64) / others.len() as f64;
            if *is { higher } else { 1.0 - higher }
        };
        let shares: Vec<f64> = scores.iter().zip(positive).map(share).collect();
        let of_positive = shares.iter().zip(positive).filter(|(_, is)| **is).map(|(share, _)| share);
        let area = of_positive.sum::<f64>() / kinds[1].len() as f64;
        let part = |(share, is): (&f64, &bool)| (share - area) / kinds[usize::from(*is)].len() as f64;
        Self { area, parts: shares.iter().zip(positive).map(part).collect() }
    }

    /// The sums of the parts of every cluster.
    fn by_cluster(&self, clusters: &[usize]) -> Vec<f64> {
        let mut sums = vec![None; clusters.iter().max().map_or(0, |last| last + 1)];
        for (part, &cluster) in self.parts.iter().zip(clusters) {
            *sums[cluster].get_or_insert(0.0) += part;
        }
        sums.into_iter().flatten().collect()
    }
}

/// Newcombe's interval (2006, method 5): the areas from which this one lies no further than Hanley and McNeil's variance at that
/// area would draw it.
fn newcombe(area: f64, positive: usize, negative: usize) -> Interval {
    /// Of the normal distribution, 95 % lie within as many deviations of its mean.
    const Z: f64 = 1.959_963_984_540_054;
    let (m, n) = (positive as f64, negative as f64);
    let more = (m + n) / 2.0 - 1.0;
    let beyond = |at: f64| {
        let variance = at * (1.0 - at) / (m * n) * (1.0 + more * ((1.0 - at) / (2.0 - at) + at / (1.0 + at)));
        (area - at).powi(2) - Z * Z * variance
    };
    // The area itself lies inside; 0 and 1 have no variance, and lie outside or are the area.
    let bound = |mut outside: f64| {
        let mut inside = area;
        for _ in 0..60 {
            let middle = (inside + outside) / 2.0;
            if beyond(middle) > 0.0 { outside = middle } else { inside = middle }
        }
        (inside + outside) / 2.0
    };
    let side = |end: f64| if area == end { end } else { bound(end) };
    Interval { value: area, low: side(0.0), high: side(1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::interval::clusters;

    #[test]
    fn one_misplaced_pair_of_many_leaves_bounds() {
        let scores: Vec<f64> = (0..200).map(|i| if i == 99 { 100.5 } else { f64::from(i) }).collect();
        let kinds: Vec<bool> = (0..200).map(|i| i >= 100).collect();
        let found = Interval::of_auroc(&scores, &kinds, &clusters((0..200).map(|i| i % 100)));
        assert!(found.value > 0.9998 && found.value < 1.0 && found.low > 0.95, "{found:?}");
    }

    #[test]
    fn equal_scores_count_half() {
        let kinds = [false, false, true, true];
        for (scores, expected) in
            [([1.0, 2.0, 3.0, 4.0], 1.0), ([1.0, 1.0, 1.0, 1.0], 0.5), ([1.0, 3.0, 2.0, 3.0], 0.625)]
        {
            assert_eq!(auroc(&scores, &kinds), expected);
        }
        assert!(auroc(&[1.0, 2.0], &[true, true]).is_nan() && auroc(&[], &[]).is_nan());
    }

    #[test]
    fn without_a_misplaced_row_there_is_newcombes_interval() {
        // His table: an area of 1 from 10 and 10 rows.
        let scores: Vec<f64> = (0..20).map(f64::from).collect();
        let kinds: Vec<bool> = (0..20).map(|i| i >= 10).collect();
        let found = Interval::of_auroc(&scores, &kinds, &clusters(0..20));
        assert!(found.high == 1.0 && (0.75..0.9).contains(&found.low), "{found:?}");
        let wrong =
            Interval::of_auroc(&scores.iter().map(|s| -s).collect::<Vec<_>>(), &kinds, &clusters(0..20));
        assert!((wrong.high - (1.0 - found.low)).abs() < 1e-9 && wrong.low == 0.0);
        // Questions count, not rows.
        let few = Interval::of_auroc(&scores, &kinds, &clusters((0..20).map(|i| i % 4)));
        assert!(few.low < found.low, "{few:?}");
        assert!(!Interval::of_auroc(&scores, &kinds, &clusters((0..20).map(|i| i % 2))).is_known());
    }

    #[test]
    fn the_same_scores_differ_by_nothing() {
        let scores = [0.1, 0.4, 0.35, 0.8];
        let found =
            Interval::of_auroc_difference(&scores, &scores, &[false, false, true, true], &clusters(0..4));
        assert_eq!(found.value, 0.0);
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_well_placed_pairs(
            rows in prop::collection::vec((0..8i32, any::<bool>(), 0..9usize), 2..40),
        ) {
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
            let kinds: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let (mut sum, mut pairs) = (0.0, 0.0);
            for (x, _) in scores.iter().zip(&kinds).filter(|(_, is)| **is) {
                for (y, _) in scores.iter().zip(&kinds).filter(|(_, is)| !**is) {
                    sum += if x > y { 1.0 } else if x == y { 0.5 } else { 0.0 };
                    pairs += 1.0;
                }
            }
            let found = auroc(&scores, &kinds);
            prop_assert!(found.is_nan() == (pairs == 0.0));
            prop_assume!(pairs > 0.0);
            prop_assert!((found - sum / pairs).abs() < 1e-9);

            // Swapped kinds mirror the area and its interval; what keeps the order keeps both.
            let questions = clusters(rows.iter().map(|row| row.2));
            let own = Interval::of_auroc(&scores, &kinds, &questions);
            let swapped: Vec<bool> = kinds.iter().map(|is| !is).collect();
            let mirrored = Interval::of_auroc(&scores, &swapped, &questions);
            prop_assert!((mirrored.value + own.value - 1.0).abs() < 1e-9);
            let bent: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
            prop_assert_eq!(Interval::of_auroc(&bent, &kinds, &questions).value, own.value);
            if own.is_known() {
                prop_assert!(0.0 <= own.low && own.low <= own.value && own.value <= own.high && own.high <= 1.0);
                prop_assert!((mirrored.low + own.high - 1.0).abs() < 1e-6, "{:?} {:?}", own, mirrored);
            }
        }
    }
}
