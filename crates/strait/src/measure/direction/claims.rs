//! Claims about directions: that of the solution without a penalty steers, and is what its ablation takes away.

use super::{DirectionEffect, Source, Use};
use crate::{
    claim::{Bound, Claim, Place, Subject, plain, sentence},
    lab::Group,
    measure::Shown,
    page::numbers::percent,
};

/// Added to base, the direction does what the solution does.
const STEERS: &str =
    "its direction moves base to the taught answers outside the domain, more than a random one";
/// Taken out, it takes the solution's shift along.
const ABLATES: &str = "without its direction it shifts less outside the domain than without a random one";

pub fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
    let both = |(i, subject): (usize, &Subject)| {
        [STEERS, ABLATES].map(|claim| (Place::Solution(i), sentence(Some(&subject.name), claim)))
    };
    plain(subjects).flat_map(both).collect()
}

pub fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
    let rows: Vec<DirectionEffect> = shown.rows();
    let both = |(i, subject): (usize, &Subject)| {
        let found = [(STEERS, Use::Steering), (ABLATES, Use::Ablation)];
        found.map(|(claim, usage)| Some((Place::Solution(i), judged(claim, usage, &subject.name, &rows)?)))
    };
    plain(&shown.subjects).flat_map(both).flatten().collect()
}

/// By the direction of fine-tune less base after the first block that every solution changes, as long as it is found.
fn judged(claim: &str, usage: Use, solution: &str, rows: &[DirectionEffect]) -> Option<Claim> {
    let own = rows.iter().filter(|row| {
        row.solution == solution
            && row.direction == solution
            && row.source == Source::Shift
            && row.usage == usage
            && row.factor == 1.0
            && row.group == Group::General
    });
    let row = own.min_by_key(|row| row.layer)?;
    let (side, done) = match usage {
        Use::Steering => (Bound::Above(0.0), "added to base it shifts the pairs"),
        Use::Ablation => (Bound::Below(0.0), "with it taken out the solution shifts the pairs"),
    };
    let holds = if row.coherent { side.judge(row.beyond_random, &[]) } else { None };
    let incoherent = if row.coherent { "" } else { "; but answers became incoherent" };
    let words = format!(
        "the direction is fine-tune less base over prompts outside the domain, after layer {}; {done} outside by {} nats a \
         token, {} of the solution's own shift, and by {} more than a random direction of the same length{incoherent}; pairs \
         were read, not judged answers",
        row.layer,
        row.shift.words(),
        percent(row.share.value),
        row.beyond_random.words(),
    );
    Some(Claim::new(claim, "§13", holds, row.beyond_random, words).of(solution))
}
