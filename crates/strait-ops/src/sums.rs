//! Sums over many numbers, in f64.
//!
//! They are taken over pieces beside each other and added up in their order, so that they do not depend on the number of threads.

use rayon::prelude::*;

use super::vectors::{fetch_ahead, vectorised};

/// Numbers of a piece.
pub const PIECE: usize = 1 << 16;

/// Sums that a piece keeps beside each other: one alone would wait for itself at every number.
const LANES: usize = 16;

/// The inner product of two vectors; of what the longer one has more is not read.
pub fn dot(one: &[f32], two: &[f32]) -> f64 {
    sum(one, two, |a, b| f64::from(a) * f64::from(b))
}

/// The squared length of what one vector differs by from another, a difference being rounded to f32.
pub fn squared_distance(one: &[f32], two: &[f32]) -> f64 {
    sum(one, two, |a, b| f64::from(a - b).powi(2))
}

fn sum(one: &[f32], two: &[f32], term: impl Fn(f32, f32) -> f64 + Copy + Sync) -> f64 {
    let pieces = one.par_chunks(PIECE).zip(two.par_chunks(PIECE));
    let of_pieces = pieces.map(|(one, two)| vectorised!(sum_of_piece(one, two, term)));
    of_pieces.collect::<Vec<_>>().into_iter().sum()
}

#[inline(always)]
fn sum_of_piece(one: &[f32], two: &[f32], term: impl Fn(f32, f32) -> f64) -> f64 {
    let length = one.len().min(two.len());
    let (ones, rest_of_one) = one[..length].as_chunks::<LANES>();
    let (twos, rest_of_two) = two[..length].as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (one, two) in ones.iter().zip(twos) {
        fetch_ahead(one);
        fetch_ahead(two);
        for lane in 0..LANES {
            sums[lane] += term(one[lane], two[lane]);
        }
    }
    let rest = rest_of_one.iter().zip(rest_of_two).map(|(&a, &b)| term(a, b));
    sums.into_iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_one_number_after_the_other(
            pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..3 * LANES),
            repeats in 1_usize..4_000,
        ) {
            let (one, two): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let (one, two) = (one.repeat(repeats), two.repeat(repeats));
            let expected: f64 = one.iter().zip(&two).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let room = 1e-12 * (1.0 + one.len() as f64);
            prop_assert!((dot(&one, &two) - expected).abs() < room);
            let differences: Vec<f32> = one.iter().zip(&two).map(|(a, b)| a - b).collect();
            prop_assert_eq!(squared_distance(&one, &two), dot(&differences, &differences));
        }
    }
}
