//! Principal components of a few long vectors, such as the checkpoints of solutions, by their inner products (paper §7.2).

use super::{dot, eigen::Eigen};

/// Vectors in the plane, or the space, in which they differ most.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// The share of all variance along each component, the largest first.
    pub explained: Vec<f64>,
    /// The place of each vector along each component: its distance from the mean there. A component's sign is such that its
    /// score of the largest size is positive.
    pub scores: Vec<Vec<f64>>,
}

/// The share of the squared lengths below which what varies is rounding.
const ROUNDING: f64 = 1e-13;

impl Pca {
    /// Of vectors of one length; none where they are all alike, so that nothing varies. At most one component fewer than
    /// there are vectors is found.
    ///
    /// # Shapes
    /// - `rows`: `(n, d)`
    /// - scores: `(n, components)`
    pub fn of(rows: &[Vec<f64>], components: usize) -> Option<Self> {
        let centred = centred(rows);
        Self::of_centred(products(&centred), components, 0.0)
    }

    /// Of the inner products of vectors, for vectors that are too long to be written out; as [`Pca::of`].
    ///
    /// # Shapes
    /// - `products`: `(n, n)`
    pub fn of_products(products: &[Vec<f64>], components: usize) -> Option<Self> {
        let n = products.len() as f64;
        let means: Vec<f64> = products.iter().map(|row| row.iter().sum::<f64>() / n).collect();
        let mean = means.iter().sum::<f64>() / n;
        let whole: f64 = (0..products.len()).map(|i| products[i][i]).sum();
        let of_row = |(row, of_row): (&Vec<f64>, &f64)| {
            row.iter().zip(&means).map(|(x, of_column)| x - of_row - of_column + mean).collect()
        };
        let centred = products.iter().zip(&means).map(of_row).collect();
        Self::of_centred(centred, components, ROUNDING * whole)
    }

    fn of_centred(products: Vec<Vec<f64>>, components: usize, floor: f64) -> Option<Self> {
        let n = products.len();
        let whole: f64 = (0..n).map(|i| products[i][i]).sum();
        if whole <= floor {
            return None;
        }
        let Eigen { values, vectors } = Eigen::of(products);
        let count = components.min(n.saturating_sub(1));
        // Rounding can leave what is zero below it.
        let values: Vec<f64> = values.into_iter().take(count).map(|value| value.max(0.0)).collect();
        let score =
            |i: usize| values.iter().zip(&vectors).map(|(value, vector)| value.sqrt() * vector[i]).collect();
        Some(Self {
            scores: (0..n).map(score).collect(),
            explained: values.iter().map(|value| value / whole).collect(),
        })
    }
}

/// The vectors less their mean, each coordinate divided by its standard deviation over all of them (that of a population, as
/// scikit-learn's `StandardScaler` has it). A coordinate that is the same in all of them becomes zero.
pub fn standardised(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = rows.len() as f64;
    let mut centred = centred(rows);
    let width = rows.first().map_or(0, Vec::len);
    for j in 0..width {
        let mean = rows.iter().map(|row| row[j]).sum::<f64>() / n;
        let variance = centred.iter().map(|row| row[j] * row[j]).sum::<f64>() / n;
        // Up to here a variance is that of rounding: scikit-learn has the same bound.
        let rounding = n * f64::EPSILON * variance + (n * mean * f64::EPSILON).powi(2);
        let factor = if variance <= rounding { 0.0 } else { 1.0 / variance.sqrt() };
        centred.iter_mut().for_each(|row| row[j] *= factor);
    }
    centred
}

/// The vectors less their mean.
fn centred(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let width = rows.first().map_or(0, Vec::len);
    let mut mean = vec![0.0; width];
    for row in rows {
        mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / rows.len() as f64);
    }
    rows.iter().map(|row| row.iter().zip(&mean).map(|(x, mean)| x - mean).collect()).collect()
}

/// The inner products of every two vectors.
pub(super) fn products(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    use rayon::prelude::*;

    let half: Vec<Vec<f64>> = rows
        .par_iter()
        .enumerate()
        .map(|(i, row)| rows[..=i].iter().map(|other| dot(row, other)).collect())
        .collect();
    let at = |i: usize, j: usize| half[i.max(j)][i.min(j)];
    (0..rows.len()).map(|i| (0..rows.len()).map(|j| at(i, j)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: &[f64], expected: &[f64], within: f64) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < within, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_line_has_one_component_and_a_cross_has_two() {
        let line: Vec<Vec<f64>> = (0..4).map(|i| vec![f64::from(i), 2.0 * f64::from(i), 7.0]).collect();
        let found = Pca::of(&line, 2).unwrap();
        close(&found.explained, &[1.0, 0.0], 1e-12);
        let step = 5.0_f64.sqrt();
        let scores: Vec<f64> = found.scores.iter().map(|score| score[0]).collect();
        // The first of both ends, which lie equally far from the mean, is the positive one.
        close(&scores, &[1.5 * step, 0.5 * step, -0.5 * step, -1.5 * step], 1e-12);
        let cross = [[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]].map(Vec::from);
        close(&Pca::of(&cross, 5).unwrap().explained, &[0.9, 0.1, 0.0], 1e-12);
        assert_eq!(Pca::of(&[vec![1.0, 2.0], vec![1.0, 2.0]], 2), None);
        assert_eq!(Pca::of_products(&products(&[vec![1.0, 0.1], vec![1.0, 0.1]]), 2), None);
        assert_eq!(Pca::of(&[], 2), None);
    }

    #[test]
    fn standardised_coordinates_are_scikit_learns() {
        // StandardScaler().fit_transform([[1, 5, .1], [2, 5, .1], [6, 5, .1]]): constant columns are zero.
        let found = standardised(&[vec![1.0, 5.0, 0.1], vec![2.0, 5.0, 0.1], vec![6.0, 5.0, 0.1]]);
        close(
            &found.concat(),
            &[-0.9258200997725514, 0.0, 0.0, -0.4629100498862757, 0.0, 0.0, 1.3887301496588271, 0.0, 0.0],
            1e-12,
        );
    }

    proptest! {
        #[test]
        fn products_suffice_and_scores_keep_distances(
            rows in prop::collection::vec(prop::collection::vec(-2.0..2.0, 4), 2..8)
        ) {
            let Some(found) = Pca::of(&rows, 7) else { return Ok(()) };
            let by_products = Pca::of_products(&products(&rows), 7).unwrap();
            for (one, other) in found.explained.iter().zip(&by_products.explained) {
                prop_assert!((one - other).abs() < 1e-9);
            }
            prop_assert!(found.explained.is_sorted_by(|a, b| a >= b));
            prop_assert!((found.explained.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let apart = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            for (x, sx) in rows.iter().zip(&found.scores) {
                for (y, sy) in rows.iter().zip(&found.scores) {
                    prop_assert!((apart(x, y) - apart(sx, sy)).abs() < 1e-6);
                }
            }
        }
    }
}
