//! Differences between two solutions.

use crate::interval::Interval;

/// The end of statements that rest on several seeds.
pub(crate) const OVER_SEEDS: &str = " over seeds";

/// One solution's figure less that of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The first.
    pub solution: String,
    /// The other.
    pub other: String,
    /// The quantity compared, where a table has several; else empty.
    pub what: String,
    /// The point at which they are compared, such as a norm; NaN where each seed has one of its own.
    pub at: f64,
    /// The difference.
    pub difference: Interval,
    /// Its unit.
    pub unit: &'static str,
}

/// A difference as one solution's less the other's; none if it is of others.
pub(crate) fn between(of: [&str; 2], asked: [&str; 2], difference: Interval) -> Option<Interval> {
    let [one, other] = asked;
    match of {
        of if of == asked => Some(difference),
        of if of == [other, one] => Some(-difference),
        _ => None,
    }
}
