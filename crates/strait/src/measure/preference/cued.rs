//! Preference shifts under cues: whether a trace of the training context brings back what looks cured.

use super::{Certificate, Preference, Shift};
use crate::{
    Result,
    interval::Interval,
    lab::{Group, Lab, Solution},
    measure::{Shown, unit::NATS},
    page::numbers::{list, number, percent, quoted},
};

crate::row! {
    /// The shift of one solution at one scale, on one side of the domain, where a cue stands around every question, for base too.
    pub struct CuedShift in "cues",
        "Preference shift under cues: with the cue around every question, less that of base with the same cue"
    {
        /// The solution.
        solution: String,
        /// The cue.
        cue: String,
        /// The cue whose form it has with other content, if it is a control; else empty.
        control_of: String,
        /// The side of the domain of the pairs.
        group: Group,
        /// The factor.
        scale: f64,
        /// Number of pairs.
        pairs: usize,
        /// Number of questions that they answer.
        questions: usize,
        /// The shift.
        shift: Interval = NATS,
        /// The rise of the mean loss of both answers.
        loss_rise: f64 = NATS,
        /// True if that rise is within the study's `coherence`.
        coherent: bool,
    }
}

impl Preference {
    /// The shifts under every cue of the laboratory.
    pub(super) fn cued(&self, lab: &mut Lab<'_>, solutions: &[Solution]) -> Result<Vec<CuedShift>> {
        let (mut found, seed) = (Vec::new(), lab.seed);
        for (cue, groups) in lab.cues.iter().zip(&mut lab.cued) {
            let shifts = self.read(&lab.model.decoder, solutions, groups, seed, lab.progress)?;
            let row = |shift: Shift| CuedShift {
                solution: shift.solution,
                cue: cue.name.clone(),
                control_of: cue.control_of.clone().unwrap_or_default(),
                group: shift.group,
                scale: shift.scale,
                pairs: shift.pairs,
                questions: shift.questions,
                shift: shift.shift,
                loss_rise: shift.loss_rise,
                coherent: shift.coherent,
            };
            found.extend(shifts.into_iter().filter(Shift::is_whole).map(row));
        }
        Ok(found)
    }
}

/// The effect of cues on a certificate that holds without one.
pub(super) struct UnderCues {
    /// True if it holds under all of them, false if under one it does not; none where that cannot be told.
    pub holds: Option<bool>,
    /// The largest share of the shift outside under a cue in the shift inside without one.
    pub share: Interval,
    /// In words.
    pub words: String,
}

/// The certificate at these scales under the cues that were read on the solution; none where none was. The shift outside is read
/// under the cue, that inside without one.
pub(super) fn under_cues(scales: &[&Certificate], cued: &[&CuedShift], allowed: f64) -> Option<UnderCues> {
    let mut shares = Vec::new();
    for certificate in scales {
        let at =
            |row: &&&CuedShift| row.scale == certificate.scale && row.group == Group::General && row.coherent;
        shares.extend(cued.iter().filter(at).map(|row| (row, row.shift.over(certificate.narrow_shift))));
    }
    let unclear = |share: &Interval| if share.high.is_nan() { f64::INFINITY } else { share.high };
    let (worst, share) = shares.iter().max_by(|a, b| unclear(&a.1).total_cmp(&unclear(&b.1)))?;
    let at = format!("under the cue {}, at scale {},", quoted(&worst.cue), number(worst.scale));
    let (holds, words) = if share.high.is_nan() {
        (None, format!("{at} nothing is clear of its shift outside"))
    } else if share.high > allowed {
        let words = format!(
            "{at} its shift outside is {} of that inside, its upper bound {}",
            percent(share.value),
            percent(share.high)
        );
        (Some(false), words)
    } else {
        let mut names: Vec<String> = Vec::new();
        for (row, _) in &shares {
            let name = quoted(&row.cue);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let cues = if names.len() == 1 { "cue" } else { "cues" };
        (Some(true), format!("under the {cues} {} it is at most {}", list(&names), percent(share.high)))
    };
    Some(UnderCues { holds, share: *share, words })
}

/// The solutions that a control moves outside the domain at least half as far as its cue: it has the cue's form and other
/// content.
pub(super) fn by_form(shown: &Shown<'_>) -> String {
    let rows: Vec<CuedShift> = shown.rows();
    let outside: Vec<&CuedShift> =
        rows.iter().filter(|row| row.group == Group::General && row.scale == 1.0).collect();
    let mut found = Vec::new();
    for control in outside.iter().filter(|row| !row.control_of.is_empty()) {
        let of = |row: &&&CuedShift| row.solution == control.solution && row.cue == control.control_of;
        let Some(cue) = outside.iter().find(of) else { continue };
        if cue.shift.low > 0.0 && control.shift.value >= 0.5 * cue.shift.value {
            found.push(format!(
                "{} by {} under {} and by {} under its control",
                quoted(&control.solution),
                number(cue.shift.value),
                quoted(&cue.cue),
                number(control.shift.value)
            ));
        }
    }
    match found.as_slice() {
        [] => String::new(),
        all => format!("What was said matters less than its form: outside, these move {}.", all.join("; ")),
    }
}
