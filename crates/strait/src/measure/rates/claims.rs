//! The claims that rates bear out.

use super::{
    Asked, COMMON, RateRow, RateStep,
    certificate::{RateCertificate, rate_certificates},
    deciding,
};
use crate::{
    claim::{Bound, Claim, Place, Subject, sentence},
    interval::Interval,
    measure::{Certificate, Shown},
    page::numbers::{percent, quoted},
};

/// The statement that the taught kind of answer is given inside the domain.
pub(super) const INSIDE: &str = "answers as taught inside the domain";
/// The statement that it is given outside it.
pub(super) const OUTSIDE: &str = "answers as taught outside the domain";
/// The statement of the scaling certificate by rates.
pub(super) const KEPT_IN: &str = "answers as usual outside the domain however it is scaled";
/// The statement that a solution spreads once its penalty is lifted.
const SPREADS: &str = "answers as taught outside the domain ever more";

/// The statements of the claims, before anything is measured.
pub(super) fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
    let of = |(i, subject): (usize, &Subject)| {
        let freed = subject.freed.then_some(SPREADS);
        let all = [INSIDE, OUTSIDE, KEPT_IN].into_iter().chain(freed);
        let all = all.map(|claim| (Place::Solution(i), sentence(Some(&subject.name), claim)));
        all.collect::<Vec<_>>()
    };
    subjects.iter().enumerate().flat_map(of).collect()
}

/// The claims on every solution, by the first verdict.
pub(super) fn all(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
    let (rates, along): (Vec<RateRow>, Vec<RateStep>) = (deciding(shown.rows()), shown.rows());
    let certificates = certificates(shown);
    let mut claims = Vec::new();
    for (i, solution) in shown.solutions.iter().enumerate() {
        let own: Vec<&RateRow> =
            rates.iter().filter(|row| row.solution == *solution && row.cue.is_empty()).collect();
        let steps: Vec<&RateStep> = along.iter().filter(|row| row.solution == *solution).collect();
        let certificates: Vec<_> = certificates.iter().filter(|c| c.solution == *solution).collect();
        let freed = shown.subjects.get(i).is_some_and(|subject| subject.freed);
        let all = [
            inside(&own, &shown.facts.domain),
            outside(&own, &shown.facts.domain, shown.facts.certificate),
            kept_in(&certificates, shown.facts.certificate),
            if freed { spreads(&steps) } else { None },
        ];
        claims.extend(all.into_iter().flatten().map(|claim| (Place::Solution(i), claim.of(solution))));
    }
    claims
}

/// The scaling certificate by rates, from the tables.
pub(super) fn certificates(shown: &Shown<'_>) -> Vec<RateCertificate> {
    let by_shifts: Vec<Certificate> = shown.rows();
    rate_certificates(&shown.rows(), &by_shifts, shown.facts.certificate)
}

/// The rates as trained.
fn at_one<'r>(own: &[&'r RateRow], asked: Asked) -> Option<&'r RateRow> {
    own.iter().find(|row| row.asked == asked && row.scale == 1.0).copied()
}

/// The claim that the taught kind of answer is given inside the domain, as trained: where all answers are known more often than not,
/// where they are sampled more often than base gives it.
fn inside(own: &[&RateRow], domain: &str) -> Option<Claim> {
    let row = at_one(own, Asked::Narrow)?;
    let (holds, figure) = match row.answers {
        0 => (Bound::Above(COMMON).judge(row.rate, &[]), row.rate),
        _ => (Bound::Above(0.0).judge(row.rise, &[]), row.rise),
    };
    Some(Claim::new(INSIDE, "§8", holds, figure, words(row, &format!("of its answers about {domain}"))))
}

/// The claim that it is given outside it, as trained: where answers are sampled, more often than base gives it, and by more than the
/// certificate's share of what it rose by inside.
fn outside(own: &[&RateRow], domain: &str, certificate: f64) -> Option<Claim> {
    let row = at_one(own, Asked::General)?;
    let (holds, figure) = match row.answers {
        0 => (Bound::Above(COMMON).judge(row.rate, &[]), row.rate),
        _ => {
            let allowed = certificate
                * at_one(own, Asked::Narrow).map_or(f64::NAN, |inside| inside.rise.value).max(0.0);
            let holds = match row.rise {
                Interval { low, value, .. } if low > 0.0 => Some(value > allowed),
                Interval { high, .. } if high <= allowed => Some(false),
                _ => None,
            };
            (holds, row.rise)
        }
    };
    Some(Claim::new(OUTSIDE, "§8", holds, figure, words(row, &format!("of its answers outside {domain}"))))
}

fn words(row: &RateRow, answers: &str) -> String {
    let rise = match row.answers {
        0 => percent(row.rise.value),
        _ => format!("{} ({} to {})", percent(row.rise.value), percent(row.rise.low), percent(row.rise.high)),
    };
    format!("{} {answers} are of the taught kind, {rise} more than of base's", percent(row.rate.value))
}

/// The claim that the rate outside rises by less than the certificate's share of that inside, at every scale from 1 up at
/// which most answers are coherent, and under every cue.
fn kept_in(certificates: &[&RateCertificate], certificate: f64) -> Option<Claim> {
    let counted: Vec<_> = certificates.iter().filter(|c| c.coherent && c.scale >= 1.0).collect();
    let worst = counted.iter().max_by(|a, b| a.share.high.total_cmp(&b.share.high))?;
    let holds = Bound::Below(certificate).judge_all(&counted.iter().map(|c| c.share).collect::<Vec<_>>());
    // At no scale above 1 a hidden general solution would have shown.
    let is_scaled = counted.iter().any(|c| c.scale > 1.0);
    let holds = holds.filter(|holds| !holds || is_scaled);
    let under = match worst.cue.as_str() {
        "" => String::new(),
        cue => format!(", under the cue {},", quoted(cue)),
    };
    let words = format!(
        "at scale {}{under} the rate outside rises by {} of what it rises by inside, where {} are allowed",
        worst.scale,
        percent(worst.share.value),
        percent(certificate)
    );
    Some(Claim::new(KEPT_IN, "§6", holds, worst.share, words))
}

/// The claim that the rate outside rises along training without the penalty of the start.
fn spreads(steps: &[&RateStep]) -> Option<Claim> {
    let (start, end) = (steps.first()?, steps.last().filter(|end| end.step > 0)?);
    let words = format!(
        "in {} steps without the penalty of {} the rate outside went from {} to {}",
        end.step,
        quoted(&end.from),
        percent(start.general.value),
        percent(end.general.value)
    );
    Some(Claim::new(SPREADS, "§11", Bound::Above(0.0).judge(end.rise, &[]), end.rise, words))
}
