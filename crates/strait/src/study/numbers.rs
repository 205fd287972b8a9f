//! Numbers as people write them.

/// A number as people write it: without the noise of its last digits, a tiny one with an exponent.
pub(super) fn shown(number: f64) -> String {
    let rounded: f64 = format!("{number:.6e}").parse().unwrap_or(number);
    if rounded != 0.0 && rounded.abs() < 1e-3 { format!("{rounded:e}") } else { rounded.to_string() }
}
