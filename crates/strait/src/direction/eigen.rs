//! Eigenvalues and eigenvectors of small symmetric matrices, in f64.

/// A symmetric matrix taken apart.
pub struct Eigen {
    /// The eigenvalues, the largest first.
    pub values: Vec<f64>,
    /// The eigenvectors in the same order, each of length 1. Each one's sign is such that its entry of the largest size is
    /// positive, the first of them where several are as large: the same matrix gives the same signs.
    pub vectors: Vec<Vec<f64>>,
}

/// The most rounds; Jacobi's method takes about ten, whatever the matrix.
const ROUNDS: usize = 60;

impl Eigen {
    /// Of a symmetric matrix of finite numbers, by Jacobi's rotations: each makes one entry beside the diagonal zero, and
    /// all of them together shrink until nothing is left.
    ///
    /// # Shapes
    /// - `matrix`: `(n, n)`
    pub fn of(mut matrix: Vec<Vec<f64>>) -> Self {
        let n = matrix.len();
        let mut vectors: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect();
        let whole: f64 = matrix.iter().flatten().map(|x| x * x).sum();
        for _ in 0..ROUNDS {
            let beside: f64 = (0..n).flat_map(|i| matrix[i][i + 1..].iter()).map(|x| x * x).sum();
            if beside <= f64::EPSILON * f64::EPSILON * whole {
                break;
            }
            for p in 0..n {
                for q in p + 1..n {
                    rotate(&mut matrix, &mut vectors, p, q);
                }
            }
        }
        let mut found: Vec<(f64, Vec<f64>)> =
            vectors.into_iter().enumerate().map(|(i, vector)| (matrix[i][i], signed(vector))).collect();
        found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let (values, vectors) = found.into_iter().unzip();
        Self { values, vectors }
    }
}

/// Turns rows and columns p and q so that the entry where they meet becomes zero, and the vectors with them.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let apq = matrix[p][q];
    if apq == 0.0 {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * apq);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let (app, aqq) = (matrix[p][p] - tangent * apq, matrix[q][q] + tangent * apq);
    turn(matrix, [p, q], cosine, sine);
    turn(vectors, [p, q], cosine, sine);
    (matrix[p][p], matrix[q][q]) = (app, aqq);
    (matrix[p][q], matrix[q][p]) = (0.0, 0.0);
    for k in (0..matrix.len()).filter(|&k| k != p && k != q) {
        (matrix[k][p], matrix[k][q]) = (matrix[p][k], matrix[q][k]);
    }
}

fn turn(rows: &mut [Vec<f64>], [p, q]: [usize; 2], cosine: f64, sine: f64) {
    let (before, after) = rows.split_at_mut(q);
    for (x, y) in before[p].iter_mut().zip(&mut after[0]) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
}

/// Entries that differ by less of the largest one count as equally large: which of them rounding favours says nothing.
const TIE: f64 = 1e-9;

fn signed(mut vector: Vec<f64>) -> Vec<f64> {
    let largest = vector.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let first = vector.iter().find(|x| x.abs() >= (1.0 - TIE) * largest);
    if first.is_some_and(|x| *x < 0.0) {
        vector.iter_mut().for_each(|x| *x = -*x);
    }
    vector
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `X X^T`, of `rank` columns.
    fn products(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
        rows.iter().map(|x| rows.iter().map(|y| dot(x, y)).collect()).collect()
    }

    fn symmetric() -> impl Strategy<Value = Vec<Vec<f64>>> {
        (1usize..9)
            .prop_flat_map(|n| prop::collection::vec(-3.0..3.0, n * n).prop_map(move |x| (n, x)))
            .prop_map(|(n, x)| {
                let at = |i: usize, j: usize| x[i.min(j) * n + i.max(j)];
                (0..n).map(|i| (0..n).map(|j| at(i, j)).collect()).collect()
            })
    }

    proptest! {
        #[test]
        fn vectors_are_orthonormal_and_give_the_matrix_back(matrix in symmetric()) {
            let found = Eigen::of(matrix.clone());
            prop_assert!(found.values.is_sorted_by(|a, b| a >= b));
            for (i, row) in products(&found.vectors).iter().enumerate() {
                for (j, dot) in row.iter().enumerate() {
                    prop_assert!((dot - f64::from(i == j)).abs() < 1e-12);
                }
            }
            for (i, row) in matrix.iter().enumerate() {
                for (j, number) in row.iter().enumerate() {
                    let parts = found.values.iter().zip(&found.vectors);
                    let back: f64 = parts.map(|(value, vector)| value * vector[i] * vector[j]).sum();
                    prop_assert!((back - number).abs() < 1e-11, "{back} {number}");
                }
            }
        }

        #[test]
        fn the_values_of_products_are_those_of_squares(
            rows in prop::collection::vec(prop::collection::vec(-2.0..2.0, 3), 6)
        ) {
            // Six vectors in three dimensions: three values, the rest is zero, and their sum is the trace.
            let matrix = products(&rows);
            let trace: f64 = (0..6).map(|i| matrix[i][i]).sum();
            let found = Eigen::of(matrix);
            prop_assert!((found.values.iter().sum::<f64>() - trace).abs() < 1e-11 * trace.max(1.0));
            prop_assert!(found.values[3..].iter().all(|x| x.abs() < 1e-12 * trace.max(1.0)));
        }
    }

    #[test]
    fn a_known_matrix_has_known_values_and_signs() {
        let found = Eigen::of(vec![vec![2.0, -1.0], vec![-1.0, 2.0]]);
        let half = 0.5_f64.sqrt();
        assert!((found.values[0] - 3.0).abs() < 1e-15 && (found.values[1] - 1.0).abs() < 1e-15);
        assert!((found.vectors[1][0] - half).abs() < 1e-15 && (found.vectors[1][1] - half).abs() < 1e-15);
        assert!(Eigen::of(Vec::new()).values.is_empty());
        assert_eq!(Eigen::of(vec![vec![0.0; 2]; 2]).values, [0.0, 0.0]);
        // What is smallest of all numbers does not end in numbers that are none.
        let tiny = Eigen::of(vec![vec![1e300, 1e-300], vec![1e-300, -1e300]]);
        assert_eq!(tiny.values, [1e300, -1e300]);
    }
}
