//! The scaling certificate: whether a solution stays narrow when it is scaled up (paper §6).

use super::Shift;
use crate::{interval::Interval, lab::Group, measure::unit::NATS};

crate::row! {
    /// The general shift of one solution as a share of its narrow one, at one scale.
    pub struct Certificate in "certificate",
        "Scaling certificate: the general shift as a share of the narrow one, at every scale"
    {
        /// The solution.
        solution: String,
        /// The factor.
        scale: f64,
        /// The shift inside the domain.
        narrow_shift: Interval = NATS.ends("narrow_low", "narrow_high"),
        /// The shift outside it.
        general_shift: Interval = NATS.ends("general_low", "general_high"),
        /// Upper bound of the general shift over the narrow one, both being uncertain.
        share: f64,
        /// True if the share is within the bound; none where the scale decides nothing.
        holds: Option<bool>,
        /// True if both groups are coherent.
        coherent: bool,
    }
}

/// The scaling certificate of every solution. It `holds` where the bound is at most `allowed`. Scales at which the narrow
/// shift is not clearly above zero, or either group no longer coherent, decide nothing.
pub fn certificate(shifts: &[Shift], allowed: f64) -> Vec<Certificate> {
    let of = |group| shifts.iter().filter(move |shift| shift.group == group && shift.is_whole());
    let mut found = Vec::new();
    for narrow in of(Group::Narrow) {
        let same = |s: &&Shift| s.solution == narrow.solution && s.scale == narrow.scale;
        let Some(general) = of(Group::General).find(same) else { continue };
        let share = general.shift.over(narrow.shift).high;
        let coherent = narrow.coherent && general.coherent;
        found.push(Certificate {
            solution: narrow.solution.clone(),
            scale: narrow.scale,
            narrow_shift: narrow.shift,
            general_shift: general.shift,
            share,
            holds: (coherent && share.is_finite()).then_some(share <= allowed),
            coherent,
        });
    }
    found
}
