//! The minimum of a penalised logistic loss, by accelerated proximal gradients (FISTA; Beck and Teboulle, 2009), begun anew where the
//! momentum points uphill (O'Donoghue and Candès, 2015).

use super::{Penalty, Problem};

/// Steps are over once the gradient's generalised length is this share of what it was at zero.
const SETTLED: f64 = 1e-9;
/// A length at zero below this share of what all losses could pull is taken for that: where the minimum is at zero, nothing is left but
/// rounding.
const LEAST: f64 = 1e-4;
const MOST_STEPS: usize = 200_000;

/// The weights and the intercept that minimise C times the sum of the rows' losses plus the penalty.
pub(super) fn minimise(
    rows: &[Vec<f64>],
    positive: &[bool],
    penalty: Penalty,
    c: f64,
) -> Result<(Vec<f64>, f64), Problem> {
    let width = rows[0].len();
    // The losses' curvature is at most a quarter of C times the largest eigenvalue of the rows' products.
    let step = 1.0 / (0.25 * c * largest_eigenvalue(rows) + if penalty == Penalty::L2 { 1.0 } else { 0.0 });
    // The last number is the intercept.
    let mut at = vec![0.0; width + 1];
    let mut ahead = at.clone();
    let mut momentum: f64 = 1.0;
    let least = LEAST * step * c * rows.len() as f64;
    let mut first = None;
    for _ in 0..MOST_STEPS {
        let gradient = gradient(rows, positive, penalty, c, &ahead);
        let mut next: Vec<f64> = ahead.iter().zip(&gradient).map(|(x, g)| x - step * g).collect();
        if penalty == Penalty::L1 {
            next[..width].iter_mut().for_each(|x| *x = x.signum() * (x.abs() - step).max(0.0));
        }
        let moved: Vec<f64> = next.iter().zip(&at).map(|(new, old)| new - old).collect();
        let slide: Vec<f64> = ahead.iter().zip(&next).map(|(from, to)| from - to).collect();
        let length = dot(&slide, &slide).sqrt();
        let first = *first.get_or_insert(length);
        if length <= SETTLED * first.max(least) {
            let intercept = next[width];
            next.truncate(width);
            return Ok((next, intercept));
        }
        let uphill = dot(&slide, &moved) > 0.0;
        let later = if uphill { 1.0 } else { (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0 };
        let share = if uphill { 0.0 } else { (momentum - 1.0) / later };
        ahead = next.iter().zip(&moved).map(|(x, by)| x + share * by).collect();
        (at, momentum) = (next, later);
    }
    Err(Problem::NotSettled { steps: MOST_STEPS })
}

/// The gradient of the losses, and of an L2 penalty.
fn gradient(rows: &[Vec<f64>], positive: &[bool], penalty: Penalty, c: f64, at: &[f64]) -> Vec<f64> {
    let width = at.len() - 1;
    let mut sum = vec![0.0; at.len()];
    for (row, is) in rows.iter().zip(positive) {
        let odds = at[width] + dot(row, &at[..width]);
        let error = c * (1.0 / (1.0 + (-odds).exp()) - f64::from(u8::from(*is)));
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += error * x);
        sum[width] += error;
    }
    if penalty == Penalty::L2 {
        sum[..width].iter_mut().zip(at).for_each(|(sum, x)| *sum += x);
    }
    sum
}

/// A bound from above, close, on the largest eigenvalue of the products of all rows, each with a 1 behind it, with one another.
fn largest_eigenvalue(rows: &[Vec<f64>]) -> f64 {
    let times = |vector: &[f64]| {
        let width = vector.len() - 1;
        let mut sum = vec![0.0; vector.len()];
        for row in rows {
            let along = vector[width] + dot(row, &vector[..width]);
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += along * x);
            sum[width] += along;
        }
        sum
    };
    // No eigenvalue is above the trace, which the power method need not come near to.
    let trace: f64 = rows.iter().map(|row| 1.0 + dot(row, row)).sum();
    let mut vector: Vec<f64> = (0..=rows[0].len()).map(|i| 1.0 + 0.1 * (i as f64).sin()).collect();
    let mut value = 0.0;
    for _ in 0..50 {
        let next = times(&vector);
        let length = dot(&next, &next).sqrt();
        value = length / dot(&vector, &vector).sqrt();
        vector = next.iter().map(|x| x / length.max(f64::MIN_POSITIVE)).collect();
    }
    (1.1 * value).min(trace).max(f64::MIN_POSITIVE)
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}
