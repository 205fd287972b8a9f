//! Trajectories: how several adapters turn together along training, and in how many dimensions a change lies (paper §14).

use super::{dot, eigen::Eigen, pca::products};

/// The composition score of every step but the last with the last one: ‖AᵀB‖_F / (‖A‖_F ‖B‖_F), 1 where both have all in one
/// direction, as one adapter alone always has, 0 where they have none in common. A is the stack of the adapters' Bs at a step, a B (or a column of it, of
/// higher rank) a row; B is the stack at the last step; of both the mean over all steps is taken away, row by row. The papers'
/// code has it so. NaN where a stack has no length.
///
/// # Shapes
/// - `stacks`: `(steps, rows, d)`
pub fn compositions(stacks: &[Vec<Vec<f64>>]) -> Vec<f64> {
    let Some((last, earlier)) = stacks.split_last() else { return Vec::new() };
    let mean: Vec<Vec<f64>> = (0..last.len())
        .map(|row| {
            let mut sum = vec![0.0; last[row].len()];
            for stack in stacks {
                sum.iter_mut().zip(&stack[row]).for_each(|(sum, x)| *sum += x / stacks.len() as f64);
            }
            sum
        })
        .collect();
    let less_mean = |stack: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let row =
            |(row, mean): (&Vec<f64>, &Vec<f64>)| row.iter().zip(mean).map(|(x, mean)| x - mean).collect();
        stack.iter().zip(&mean).map(row).collect()
    };
    let last = less_mean(last);
    earlier.iter().map(|stack| composition(&less_mean(stack), &last)).collect()
}

/// ‖AᵀB‖_F / (‖A‖_F ‖B‖_F) of two stacks of as many rows, without the product of d by d: its squared norm is the inner product
/// of A Aᵀ and B Bᵀ.
fn composition(one: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    let (one, other) = (products(one), products(other));
    let trace = |of: &[Vec<f64>]| (0..of.len()).map(|i| of[i][i]).sum::<f64>();
    let inner: f64 = one.iter().zip(&other).map(|(x, y)| dot(x, y)).sum();
    (inner.max(0.0) / (trace(&one) * trace(&other))).sqrt()
}

/// The effective rank of a matrix by its rows: e to the entropy of its singular values, which are taken as shares of their
/// sum. From 1, where all rows lie along one direction, to their number; NaN of rows without length.
///
/// # Shapes
/// - `rows`: `(n, d)`
pub fn effective_rank(rows: &[Vec<f64>]) -> f64 {
    let squares = Eigen::of(products(rows)).values;
    // A square below this is rounding of the largest one.
    let floor = squares.first().copied().unwrap_or(0.0) * f64::EPSILON * rows.len() as f64;
    let singular: Vec<f64> = squares.into_iter().filter(|square| *square > floor).map(f64::sqrt).collect();
    let sum: f64 = singular.iter().sum();
    let entropy: f64 = singular.iter().map(|value| value / sum).map(|share| -share * share.ln()).sum();
    if sum > 0.0 { entropy.exp() } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn ranks_are_numbers_of_directions() {
        let rows = |rows: &[[f64; 3]]| rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>();
        near(effective_rank(&rows(&[[1.0, 2.0, 3.0], [-2.0, -4.0, -6.0], [0.5, 1.0, 1.5]])), 1.0);
        near(effective_rank(&rows(&[[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]])), 3.0);
        // Singular values 3 and 1: shares of 3/4 and 1/4.
        let entropy = -(0.75_f64 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        near(effective_rank(&rows(&[[0.0, 3.0, 0.0], [1.0, 0.0, 0.0]])), entropy.exp());
        assert!(effective_rank(&rows(&[[0.0; 3]; 2])).is_nan() && effective_rank(&[]).is_nan());
    }

    #[test]
    fn one_adapter_always_composes_with_itself_and_two_that_swap_do_not() {
        let one = |x: f64, y: f64| vec![vec![x, y]];
        let found = compositions(&[one(0.0, 0.0), one(2.0, 1.0), one(4.0, 5.0)]);
        found.iter().for_each(|score| near(*score, 1.0));
        // Rows without a mean over the steps, of which the first changes alone, and then the second.
        let both = |x: f64, y: f64| vec![vec![x, 0.0], vec![0.0, y]];
        near(compositions(&[both(1.0, 0.0), both(-1.0, 2.0), both(0.0, -2.0)])[0], 0.0);
        assert!(compositions(&[]).is_empty() && compositions(&[one(1.0, 2.0)]).is_empty());
    }

    proptest! {
        #[test]
        fn a_score_is_that_of_the_written_out_product(x in prop::collection::vec(-2.0..2.0, 18)) {
            // Three adapters of three numbers, twice.
            let stack = |at: usize| -> Vec<Vec<f64>> {
                (0..3).map(|row| x[9 * at + 3 * row..9 * at + 3 * row + 3].to_vec()).collect()
            };
            let (one, other) = (stack(0), stack(1));
            let mut square = 0.0;
            for (i, j) in (0..9).map(|at| (at / 3, at % 3)) {
                let entry: f64 = one.iter().zip(&other).map(|(one, other)| one[i] * other[j]).sum();
                square += entry * entry;
            }
            let length = |of: &[Vec<f64>]| of.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
            let expected = square.sqrt() / (length(&one) * length(&other));
            let found = composition(&one, &other);
            prop_assert!((found - expected).abs() < 1e-9 && (0.0..=1.0 + 1e-12).contains(&found));
        }
    }
}
