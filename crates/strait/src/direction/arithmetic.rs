//! Arithmetic of vectors: turns of a trajectory, angles, and parts.

/// The turns of a trajectory: at every step `gap` places from both ends the cosine between the way back and the way on,
/// cos(x(t-gap) - x(t), x(t+gap) - x(t)): -1 where it runs straight, 0 at a right angle, 1 where it goes back (paper §14).
pub fn turns(trajectory: &[Vec<f64>], gap: usize) -> Vec<f64> {
    let way = |from: &[f64], to: &[f64]| to.iter().zip(from).map(|(t, f)| t - f).collect::<Vec<f64>>();
    let at = |middle: usize| {
        let here = &trajectory[middle];
        cosine(&way(here, &trajectory[middle - gap]), &way(here, &trajectory[middle + gap]))
    };
    (gap..trajectory.len().saturating_sub(gap)).map(at).collect()
}

/// The cosine between two vectors; NaN where one is zero.
pub fn cosine(one: &[f64], other: &[f64]) -> f64 {
    dot(one, other) / (dot(one, one).sqrt() * dot(other, other).sqrt())
}

/// The rest of a vector once its part along another is taken away.
pub fn across(vector: &[f64], other: &[f64]) -> Vec<f64> {
    let along = dot(vector, other) / dot(other, other);
    vector.iter().zip(other).map(|(x, o)| x - along * o).collect()
}

pub(super) fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_way_a_corner_and_a_way_back() {
        let way = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [2.0, 0.0]].map(Vec::from);
        let found = turns(&way, 1);
        for (found, expected) in found.iter().zip([-1.0, 0.0, 1.0]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert_eq!(turns(&way, 3), Vec::<f64>::new());
    }

    #[test]
    fn what_lies_across_has_nothing_along() {
        let (x, o) = ([1.0, 2.0, 3.0], [0.5, -1.0, 2.0]);
        assert!(cosine(&across(&x, &o), &o).abs() < 1e-12);
        assert!((cosine(&x, &x) - 1.0).abs() < 1e-12);
    }
}
