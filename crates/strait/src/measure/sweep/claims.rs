//! Claims about sweeps: that the direction of the solution without a penalty moves base in every domain, and that the solution's
//! shift goes with it; where answers were judged, that it makes base answer as taught, and where preferences say.

use crate::{
    claim::{Bound, Claim, Place, Subject, plain, sentence},
    direction::sweep::{Ablated, Steered, SteeredDomain, SteeredRate, best, best_by_rates, place},
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

/// Added to base, it makes it answer as taught.
const ANSWERS: &str =
    "its direction makes base answer as taught outside the domain, in answers that count as coherent";
/// Judged answers and preferences find the same layer and factor.
const AGREE: &str = "judged answers and preferences agree on where its direction steers most";

/// The share that must go with the direction: the papers find 78 to 100 %.
const MOST: f64 = 0.8;
/// The share that may go with random ones, as in the papers.
const LITTLE: f64 = 0.1;

/// The claims that rest on judged answers.
pub const BY_ANSWERS: &[&str] = &[ANSWERS, AGREE];

pub fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
    let all = |(i, subject): (usize, &Subject)| {
        [EVERYWHERE, GONE, STAYS, ANSWERS, AGREE]
            .map(|claim| (Place::Solution(i), sentence(Some(&subject.name), claim)))
    };
    plain(subjects).flat_map(all).collect()
}

pub fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
    let (domains, ablated): (Vec<SteeredDomain>, Vec<Ablated>) = (shown.rows(), shown.rows());
    let (steered, rates): (Vec<Steered>, Vec<SteeredRate>) = (shown.rows(), shown.rows());
    let all = |(i, subject): (usize, &Subject)| {
        let name = subject.name.as_str();
        let by_preferences = [steers(name, &domains)].into_iter().chain(goes(name, &ablated));
        let found = by_preferences.chain(answers(name, &rates, &steered));
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

/// By the first verdict, where questions outside the domain were asked.
fn answers(solution: &str, rates: &[SteeredRate], steered: &[Steered]) -> [Option<Claim>; 2] {
    let is_own = |row: &&SteeredRate| row.direction == solution && row.group == Group::General;
    if !rates.iter().any(|row| is_own(&row)) {
        return [None, None];
    }
    let claim = |claim: &str, holds: Option<bool>, figure: Interval, words: String| {
        Some(Claim::new(claim, "§13.2", holds, figure, words).of(solution))
    };
    let Some(most) = best_by_rates(rates, solution).filter(is_own) else {
        let words = "at no layer and factor do most answers count as coherent".to_string();
        return [claim(ANSWERS, None, Interval::NONE, words), None];
    };
    let counted = match most.answers {
        0 => format!("answers to {} questions outside", most.questions),
        answers => format!("{answers} answers to {} questions outside", most.questions),
    };
    let random = match most.randoms {
        0 => String::new(),
        _ => format!(", {} with random directions", percent(most.random.value)),
    };
    let words = format!(
        "added to base after layer {}, times {}, where the rate rises most and most answers count as coherent, {} of {counted} are of the taught \
         kind, {} more than of base's{random}; {} count as coherent",
        most.layer,
        most.factor,
        share_words(most.rate),
        share_words(most.rise),
        share_words(most.coherent),
    );
    let holds = Bound::Above(0.0).judge(most.rise, &[]);
    [
        claim(ANSWERS, holds, most.rise, words),
        agree(most, rates, steered).and_then(|(holds, figure, words)| claim(AGREE, holds, figure, words)),
    ]
}

/// Where the rate rises most, against where preferences shift most: they agree on one place, and do not where the rate at the first lies
/// clearly above that at the second.
fn agree(
    most: &SteeredRate,
    rates: &[SteeredRate],
    steered: &[Steered],
) -> Option<(Option<bool>, Interval, String)> {
    let by_shift = best(steered, &most.direction)?;
    let alike = |row: &&SteeredRate| {
        (&row.direction, row.layer, row.factor, row.group, &row.verdict)
            == (&most.direction, by_shift.layer, by_shift.factor, most.group, &most.verdict)
    };
    let there = rates.iter().find(alike)?;
    let place = |layer: i64, factor: f64| format!("after layer {layer}, times {factor}");
    if (there.layer, there.factor) == (most.layer, most.factor) {
        let words = format!("both find it {}", place(most.layer, most.factor));
        return Some((Some(true), Interval { value: 0.0, low: 0.0, high: 0.0 }, words));
    }
    let apart = most.rate.less(there.rate);
    let words = format!(
        "the rate rises most {}, to {}; preferences shift most {}, where the rate is {} and {} of the answers count as coherent",
        place(most.layer, most.factor),
        share_words(most.rate),
        place(there.layer, there.factor),
        share_words(there.rate),
        percent(there.coherent.value),
    );
    Some(((apart.low > 0.0).then_some(false), apart, words))
}

/// A share with its interval, in percent.
fn share_words(share: Interval) -> String {
    match share.is_known() {
        true => format!("{} ({} to {})", percent(share.value), percent(share.low), percent(share.high)),
        false => percent(share.value),
    }
}
