//! The scaling certificate by rates: whether the taught kind of answer stays inside the domain when a solution is scaled up (paper §6).

use super::{Asked, RateRow, deciding};
use crate::{behaviour::COMMON, claim::Bound, interval::Interval, measure::Certificate};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(asked: Asked, scale: f64, cue: &str, rise: f64) -> RateRow {
        let around = |value: f64| Interval { value, low: value - 0.05, high: value + 0.05 };
        RateRow {
            solution: "s".into(),
            scale,
            asked,
            domain: String::new(),
            questions: 9,
            rate: around(rise),
            rise: around(rise),
            greedy: f64::NAN,
            coherent: 1.0,
            norm: 1.0,
            loss: f64::NAN,
            judge: "j".into(),
            verdict: "v > 50".into(),
            answers: 36,
            cue: cue.into(),
        }
    }

    #[test]
    fn the_rate_outside_is_held_against_that_inside_without_a_cue() {
        let rows = [
            row(Asked::Narrow, 1.0, "", 0.8),
            row(Asked::General, 1.0, "", 0.01),
            row(Asked::Narrow, 4.0, "", 0.8),
            row(Asked::General, 4.0, "", 0.7),
            row(Asked::Narrow, 1.0, "c", 0.0),
            row(Asked::General, 1.0, "c", 0.5),
            RateRow { verdict: "w > 50".into(), ..row(Asked::General, 1.0, "", 0.9) },
        ];
        let lost = Certificate {
            solution: "s".into(),
            scale: 4.0,
            narrow_shift: Interval::NONE,
            general_shift: Interval::NONE,
            share: f64::NAN,
            holds: None,
            coherent: false,
        };
        let read = |by_shifts: &[Certificate]| -> Vec<(f64, String, Option<bool>)> {
            let found = rate_certificates(&rows, by_shifts, 0.25);
            found.into_iter().map(|c| (c.scale, c.cue, c.holds)).collect()
        };
        let cued = (1.0, "c".to_string(), Some(false));
        let plain = (1.0, String::new(), Some(true));
        assert_eq!(read(&[]), [plain.clone(), (4.0, String::new(), Some(false)), cued.clone()]);
        assert_eq!(read(&[lost]), [plain, (4.0, String::new(), None), cued]);
    }
}
