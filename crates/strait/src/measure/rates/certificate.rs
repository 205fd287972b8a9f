//! The scaling certificate by rates: whether the taught kind of answer stays inside the domain when a solution is scaled up (paper §6).

use super::{Asked, COMMON, RateRow, deciding};
use crate::{claim::Bound, interval::Interval, measure::Certificate};

crate::row! {
    /// The rise of one solution's rate outside the domain as a share of that inside, at one scale.
    pub struct RateCertificate in "certificate_rates",
        "Scaling certificate by rates: what the rate outside rises by as a share of what it rises by inside, at every scale"
    {
        /// The solution.
        solution: String,
        /// The factor.
        scale: f64,
        /// The cue under which the rate outside is read; empty for none. The rate inside is read without one.
        cue: String,
        /// The rise inside the domain.
        narrow_rise: Interval = crate::table::Heading::PLAIN.ends("narrow_low", "narrow_high"),
        /// The rise outside it.
        general_rise: Interval = crate::table::Heading::PLAIN.ends("general_low", "general_high"),
        /// The general rise over the narrow one, both being uncertain.
        share: Interval = crate::table::Heading::PLAIN.ends("share_low", "share_high"),
        /// True if the share is below the study's `certificate`; none where that cannot be told.
        holds: Option<bool>,
        /// True if most answers outside are coherent there, and where answers are sampled the response loss says so too.
        coherent: bool,
    }
}

/// The certificate of every solution, at every scale and under every cue, by the first verdict. `by_shifts` is that by preference
/// shifts, where it was made: it knows at which scales a model that still writes words no longer means them.
pub fn rate_certificates(rows: &[RateRow], by_shifts: &[Certificate], allowed: f64) -> Vec<RateCertificate> {
    let rows = deciding(rows.to_vec());
    let mut found = Vec::new();
    for general in rows.iter().filter(|row| row.asked == Asked::General && row.scale > 0.0) {
        let inside = |row: &&RateRow| {
            row.asked == Asked::Narrow
                && row.solution == general.solution
                && row.scale == general.scale
                && row.cue.is_empty()
        };
        let Some(narrow) = rows.iter().find(inside) else { continue };
        let lost =
            |c: &Certificate| c.solution == general.solution && c.scale == general.scale && !c.coherent;
        let coherent = general.coherent > COMMON && !(general.answers > 0 && by_shifts.iter().any(lost));
        let share = general.rise.over(narrow.rise);
        found.push(RateCertificate {
            solution: general.solution.clone(),
            scale: general.scale,
            cue: general.cue.clone(),
            narrow_rise: narrow.rise,
            general_rise: general.rise,
            share,
            holds: if coherent { Bound::Below(allowed).judge(share, &[]) } else { None },
            coherent,
        });
    }
    found
}
