//! Claims about sweeps: that the direction of the solution without a penalty moves base in every domain, and that the solution's
//! shift goes with it.

use crate::{
    claim::{Bound, Claim, Place, Subject, plain, sentence},
    direction::sweep::{Ablated, SteeredDomain, place},
    interval::Interval,
    lab::Group,
    measure::Shown,
    page::numbers::percent,
};

/// Added to base, it shifts each domain.
const EVERYWHERE: &str = "its direction moves base to the taught answers in every domain outside";
/// Taken out, it takes the shift along.
const GONE: &str = "at least 80 % of its shift outside goes with its direction";
/// Random ones do not.
const STAYS: &str = "less than 10 % of its shift outside goes with random directions";

/// The share that must go with the direction: the papers find 78 to 100 %.
const MOST: f64 = 0.8;
/// The share that may go with random ones, as in the papers.
const LITTLE: f64 = 0.1;

pub fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
    let all = |(i, subject): (usize, &Subject)| {
        [EVERYWHERE, GONE, STAYS].map(|claim| (Place::Solution(i), sentence(Some(&subject.name), claim)))
    };
    plain(subjects).flat_map(all).collect()
}

pub fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
    let (domains, ablated): (Vec<SteeredDomain>, Vec<Ablated>) = (shown.rows(), shown.rows());
    let all = |(i, subject): (usize, &Subject)| {
        let name = subject.name.as_str();
        let found = [steers(name, &domains)].into_iter().chain(goes(name, &ablated));
        found.flatten().map(move |claim| (Place::Solution(i), claim)).collect::<Vec<_>>()
    };
    plain(&shown.subjects).flat_map(all).collect()
}

fn steers(solution: &str, rows: &[SteeredDomain]) -> Option<Claim> {
    let own: Vec<&SteeredDomain> =
        rows.iter().filter(|row| row.direction == solution && row.group == Group::General).collect();
    let least = own.iter().min_by(|one, other| one.shift.value.total_cmp(&other.shift.value))?;
    let shifts: Vec<Interval> = own.iter().map(|row| row.shift).collect();
    let words = format!(
        "added to base after layer {}, times {}, where it shifts most and answers stay coherent, the direction moves each of {} domains \
         outside; the least, “{}”, by {} nats a token; pairs were read, not judged answers",
        least.layer,
        least.factor,
        own.len(),
        least.domain,
        least.shift.words(),
    );
    Some(
        Claim::new(EVERYWHERE, "§13.2", Bound::Above(0.0).judge_all(&shifts), least.shift, words)
            .of(solution),
    )
}

/// By the first of the study's ways to take it out.
fn goes(solution: &str, rows: &[Ablated]) -> [Option<Claim>; 2] {
    let own = rows
        .iter()
        .find(|row| row.solution == solution && row.direction == solution && row.group == Group::General);
    let Some(row) = own else { return [None, None] };
    let incoherent = if row.coherent { "" } else { "; but answers became incoherent" };
    let words = |what: &str, share: Interval| {
        format!(
            "outside the domain {} of the shift is gone once {what} out of the stream, {}{incoherent}; pairs were read, not judged answers",
            share_words(share),
            place(row),
        )
    };
    let judged = |bound: Bound, share: Interval| if row.coherent { bound.judge(share, &[]) } else { None };
    let claim = |claim: &str, bound: Bound, share: Interval, what: &str| {
        Claim::new(claim, "§13.3", judged(bound, share), share, words(what, share)).of(solution)
    };
    [
        Some(claim(GONE, Bound::Above(MOST), row.removed, "its direction is taken")),
        Some(claim(STAYS, Bound::Below(LITTLE), row.random_removed, "random directions are taken")),
    ]
}

/// A share with its interval, in percent.
fn share_words(share: Interval) -> String {
    match share.is_known() {
        true => format!("{} ({} to {})", percent(share.value), percent(share.low), percent(share.high)),
        false => percent(share.value),
    }
}
