//! Spearman's rank correlation.

use super::Interval;

/// With fewer pairs there is no error to be known.
const FEWEST: usize = 4;
/// Of the normal distribution.
const QUANTILE: f64 = 1.959_964;

/// Spearman's rank correlation of pairs, ties at their mean rank. Fewer than three pairs, or values that are all the same,
/// give no figure; fewer than four give no bounds.
///
/// The bounds are normal ones of Fisher's z, with the larger of two errors: Bonett and Wright's (2000), and that of leaving
/// out one pair after another, which knows of tails that hang together.
pub fn rank_correlation(pairs: &[(f64, f64)]) -> Interval {
    let value = spearman(pairs);
    if value.is_nan() || pairs.len() < FEWEST {
        return Interval::bare(value);
    }
    let n = pairs.len() as f64;
    let z = fisher(value, pairs.len());
    let known = ((1.0 + z.tanh().powi(2) / 2.0) / (n - 3.0)).sqrt();
    let reach = QUANTILE * known.max(left_out(pairs));
    // Ranks that agree in full may do so altogether.
    Interval {
        value,
        low: if value <= -1.0 { -1.0 } else { (z - reach).tanh() },
        high: if value >= 1.0 { 1.0 } else { (z + reach).tanh() },
    }
}

/// Fisher's z of a rank correlation; one of 1 is taken as half way from the next smaller one.
fn fisher(rho: f64, pairs: usize) -> f64 {
    let n = pairs as f64;
    let most = 1.0 - 6.0 / (n * (n * n - 1.0));
    rho.clamp(-most, most).atanh()
}

/// The error of z by the jackknife.
fn left_out(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let without = |out: usize| {
        let rest: Vec<_> =
            pairs.iter().enumerate().filter(|(i, _)| *i != out).map(|(_, pair)| *pair).collect();
        fisher(spearman(&rest), rest.len())
    };
    // Where leaving one out leaves nothing to rank, nothing is known of it.
    let all: Vec<f64> = (0..pairs.len()).map(without).filter(|z| !z.is_nan()).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    ((n - 1.0) / n * all.iter().map(|z| (z - mean).powi(2)).sum::<f64>()).sqrt()
}

fn spearman(pairs: &[(f64, f64)]) -> f64 {
    if pairs.len() < 3 || pairs.iter().any(|(x, y)| x.is_nan() || y.is_nan()) {
        return f64::NAN;
    }
    let (one, other): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (one, other) = (centred_ranks(&one), centred_ranks(&other));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let rho = dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt();
    rho.clamp(-1.0, 1.0)
}

/// The rank of every value, counted from the middle.
fn centred_ranks(values: &[f64]) -> Vec<f64> {
    let middle = (values.len() - 1) as f64 / 2.0;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = |x: &f64| {
        let below = sorted.partition_point(|y| y < x);
        let up_to = sorted.partition_point(|y| y <= x);
        (below + up_to - 1) as f64 / 2.0 - middle
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rank_correlations_of_known_pairs() {
        let check = |pairs: &[(f64, f64)], expected: f64| {
            let found = rank_correlation(pairs);
            assert!((found.value - expected).abs() < 1e-12, "{found:?}");
            assert_eq!(found.is_known(), pairs.len() >= FEWEST);
            assert!(!found.is_known() || found.low <= found.value && found.value <= found.high, "{found:?}");
        };
        check(&[(1.0, 2.0), (2.0, 4.0), (3.0, 80.0), (4.0, 81.0)], 1.0);
        check(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], -1.0);
        // Ties: ranks 0.5, 0.5, 2, 3 against 0, 1, 2, 3.
        check(&[(1.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)], 4.5 / (4.5f64 * 5.0).sqrt());
        assert!(rank_correlation(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]).value.is_nan());
        assert!(rank_correlation(&[(1.0, 1.0), (2.0, 2.0)]).value.is_nan());
        assert!(rank_correlation(&[]).value.is_nan());
    }

    #[test]
    fn bounds_are_those_of_bonett_and_wright() {
        let pairs: Vec<(f64, f64)> = (0..40).map(|i| (f64::from(i), f64::from((i * 7) % 40))).collect();
        let found = rank_correlation(&pairs);
        let z = found.value.atanh();
        let reach = QUANTILE * ((1.0 + found.value.powi(2) / 2.0) / 37.0).sqrt();
        assert!(found.low <= (z - reach).tanh() + 1e-12 && found.high >= (z + reach).tanh() - 1e-12);
        assert!(found.high - found.low < 1.5 * ((z + reach).tanh() - (z - reach).tanh()));
    }

    #[test]
    fn few_pairs_in_full_agreement_prove_little() {
        let agree =
            |n: i32| rank_correlation(&(0..n).map(|i| (f64::from(i), f64::from(i))).collect::<Vec<_>>());
        assert!(agree(4).low < 0.0 && agree(4).high == 1.0);
        assert!(agree(9).low > 0.5 && agree(30).low > agree(9).low);
    }

    proptest! {
        #[test]
        fn only_ranks_count_and_their_order_does_not(
            pairs in prop::collection::vec((-3.0..3.0f64, -3.0..3.0f64), 4..20), by in 0usize..20,
        ) {
            let found = rank_correlation(&pairs);
            prop_assume!(found.is_known());
            let bent: Vec<_> = pairs.iter().map(|(x, y)| (x.exp(), y.powi(3))).collect();
            let mut turned = bent.clone();
            turned.rotate_left(by % pairs.len());
            for other in [rank_correlation(&bent), rank_correlation(&turned)] {
                prop_assert!((other.low - found.low).abs() < 1e-9 && (other.high - found.high).abs() < 1e-9);
            }
            let against: Vec<_> = pairs.iter().map(|(x, y)| (*x, -y)).collect();
            let mirrored = rank_correlation(&against);
            prop_assert!((mirrored.low + found.high).abs() < 1e-9, "{mirrored:?} {found:?}");
        }
    }
}
