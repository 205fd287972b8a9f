//! The slope of a loss by finite differences, and how far it can be trusted.
//!
//! A difference of two f32 losses is wrong twice: by the curvature between them, which grows with the step, and by their
//! rounding, which a small step lets stand out. No one step serves all models: where gradients are small, rounding swallows
//! what a small step changes; where the loss is curved, a large step measures something else. So steps are halved until both
//! are small, and the verdict allows for what is left of them.

use crate::Result;

/// Share of the slope that a measured slope may be off, beyond what its own error allows.
pub(super) const TOLERANCE: f64 = 0.01;
/// A slope is known well enough where its error is estimated below this share of it.
const GOOD: f64 = 0.003;
/// A slope of which no more is known than this share says nothing.
const USELESS: f64 = 0.1;
/// The most times that the step is halved.
const HALVINGS: usize = 12;

/// A measured slope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope {
    pub(super) value: f64,
    /// The error that curvature and rounding may have made.
    pub(super) error: f64,
}

impl Slope {
    /// Measures the slope of `loss` at zero; `step` is where to begin. `rounding` is how far a loss may be off.
    pub(super) fn measure(
        mut loss: impl FnMut(f64) -> Result<f64>,
        mut step: f64,
        rounding: f64,
    ) -> Result<Self> {
        let mut central = |step: f64| -> Result<f64> { Ok((loss(step)? - loss(-step)?) / (2.0 * step)) };
        let mut coarse = central(step)?;
        let mut best: Option<Self> = None;
        for _ in 0..HALVINGS {
            step /= 2.0;
            let fine = central(step)?;
            // Without the part that grows with the square of the step.
            let value = (4.0 * fine - coarse) / 3.0;
            let found = Self { value, error: (value - fine).abs() + 2.0 * rounding / step };
            if best.is_none_or(|best| found.uncertainty() < best.uncertainty()) {
                best = Some(found);
            }
            if best.is_some_and(|best| best.uncertainty() <= GOOD) {
                break;
            }
            coarse = fine;
        }
        Ok(best.unwrap_or(Self { value: coarse, error: f64::INFINITY }))
    }

    /// The error relative to the slope.
    pub(super) fn uncertainty(self) -> f64 {
        let share = self.error / self.value.abs();
        if share.is_finite() { share } else { f64::INFINITY }
    }

    /// True if a gradient's slope is this one; `None` where too little is known of it.
    pub(super) fn agrees(self, slope: f64) -> Option<bool> {
        if !slope.is_finite() || !self.value.is_finite() {
            return Some(false);
        }
        if self.uncertainty() > USELESS {
            return None;
        }
        let allowed = TOLERANCE * self.value.abs().max(slope.abs()) + 2.0 * self.error;
        Some((self.value - slope).abs() <= allowed)
    }

    /// The difference relative to the larger of the two slopes.
    pub(super) fn difference(self, slope: f64) -> f64 {
        (self.value - slope).abs() / self.value.abs().max(slope.abs()).max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss by name, its slope at zero, and itself.
    type Loss = (&'static str, f64, fn(f64) -> f64);

    /// Losses of many shapes and sizes, rounded to f32.
    fn losses() -> Vec<Loss> {
        vec![
            ("straight", 0.3, |x| 7.0 + 0.3 * x),
            ("small", 1e-4, |x| 7.0 + 1e-4 * x),
            ("curved", 0.5, |x| 3.0 + 0.5 * x + 40.0 * x * x),
            ("bent", 0.02, |x| 5.0 + 0.02 * x.sin() + 0.3 * x.powi(3)),
            ("steep", 100.0, |x| 2.0 + (100.0 * x).tanh()),
        ]
    }

    fn measure(slope: f64, loss: fn(f64) -> f64) -> Slope {
        let rounded = |x: f64| Ok(f64::from(loss(x) as f32));
        Slope::measure(rounded, 0.004 / slope.abs(), 7.0 * f64::from(f32::EPSILON)).unwrap()
    }

    #[test]
    fn right_slopes_agree_and_wrong_ones_do_not() {
        for (name, slope, loss) in losses() {
            let found = measure(slope, loss);
            assert_eq!(found.agrees(slope), Some(true), "{name}: {found:?}");
            for wrong in [1.1, 0.9, 2.0, 0.5, 0.0, -1.0, f64::NAN, f64::INFINITY] {
                assert_eq!(found.agrees(wrong * slope), Some(false), "{name}, {wrong}: {found:?}");
            }
        }
    }

    #[test]
    fn what_rounding_hides_is_not_judged() {
        let flat = Slope::measure(|_| Ok(7.0), 1.0, 1e-6).unwrap();
        assert_eq!(flat.agrees(1e-9), None);
        let broken = Slope::measure(|_| Ok(f64::NAN), 1.0, 1e-6).unwrap();
        assert_eq!(broken.agrees(1.0), Some(false));
    }
}
