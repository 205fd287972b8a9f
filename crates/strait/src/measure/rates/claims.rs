//! The claims that rates bear out.

use super::{Asked, COMMON, KEPT_IN, RateRow, RateStep, SPREADS};
use crate::{
    claim::{Bound, Claim},
    page::numbers::{percent, quoted},
};

/// The claim that the taught kind of answer is more common than not, as trained.
pub fn common(own: &[&RateRow], asked: Asked, statement: &str, answers: &str) -> Option<Claim> {
    let row = own.iter().find(|row| row.asked == asked && row.scale == 1.0)?;
    let words = format!(
        "{} {answers} are of the taught kind, {} more than of base's",
        percent(row.rate.value),
        percent(row.rise.value)
    );
    Some(Claim::new(statement, "§8", Bound::Above(COMMON).judge(row.rate, &[]), row.rate, words))
}

/// The claim that the rate outside rises by less than the certificate's share of that inside, at every scale from 1 up at
/// which most answers are coherent.
pub fn kept_in(own: &[&RateRow], certificate: f64) -> Option<Claim> {
    let at = |asked| own.iter().filter(move |row| row.asked == asked && row.scale >= 1.0);
    let mut shares = Vec::new();
    for outside in at(Asked::General).filter(|row| row.coherent > COMMON) {
        let inside = at(Asked::Narrow).find(|row| row.scale == outside.scale)?;
        shares.push((outside.scale, outside.rise.over(inside.rise)));
    }
    let (scale, worst) = shares.iter().max_by(|a, b| a.1.high.total_cmp(&b.1.high))?;
    let holds =
        Bound::Below(certificate).judge_all(&shares.iter().map(|(_, share)| *share).collect::<Vec<_>>());
    let words = format!(
        "at scale {scale} the rate outside rises by {} of what it rises by inside, where {} are allowed",
        percent(worst.value),
        percent(certificate)
    );
    Some(Claim::new(KEPT_IN, "§6", holds, *worst, words))
}

/// The claim that the rate outside rises along training without the penalty of the start.
pub fn spreads(steps: &[&RateStep]) -> Option<Claim> {
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
