//! Student's distribution.

use std::f64::consts::FRAC_PI_2;

/// The size that Student's t, of any number of degrees of freedom from 1 up, stays below with this probability.
///
/// With t = √ν tan θ the density is that of cos(θ)^(ν - 1), which is summed up to the end of its reach.
pub fn student(probability: f64, degrees: f64) -> f64 {
    const PARTS: usize = 800;
    // Twelve deviations hold all that there is.
    let step = FRAC_PI_2.min(12.0 / degrees.sqrt()) / PARTS as f64;
    let density = |i: usize| (i as f64 * step).cos().max(0.0).powf(degrees - 1.0);
    let mut sums = [0.0; PARTS + 1];
    let mut before = density(0);
    for i in 1..=PARTS {
        let here = density(i);
        sums[i] = sums[i - 1] + (before + here) / 2.0;
        before = here;
    }
    let wanted = probability * sums[PARTS];
    let above = sums.partition_point(|&sum| sum < wanted).clamp(1, PARTS);
    let part = (wanted - sums[above - 1]) / (sums[above] - sums[above - 1]);
    degrees.sqrt() * (((above - 1) as f64 + part) * step).tan()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (probability, degrees, expected) in [
            (0.95, 1.0, 12.706),
            (0.95, 2.0, 4.303),
            (0.95, 4.0, 2.776),
            (0.95, 10.0, 2.228),
            (0.95, 60.0, 2.000),
            (0.95, 1e6, 1.960),
            (0.98, 2.0, 6.965),
            (0.99, 3.0, 5.841),
            (0.99, 1000.0, 2.581),
        ] {
            let found = student(probability, degrees);
            assert!((found / expected - 1.0).abs() < 1e-3, "{probability} {degrees}: {found}");
        }
    }

    #[test]
    fn degrees_need_not_be_whole() {
        let (less, more) = (student(0.95, 2.0), student(0.95, 3.0));
        let between = student(0.95, 2.5);
        // From an integral of the density by another rule.
        assert!((between - 3.5747).abs() < 2e-3 && more < between && between < less, "{between}");
    }
}
