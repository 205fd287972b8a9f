//! Claims about monitors: they tell taught answers from plain ones in domains that they were not made of, and better than baselines.

use super::{MonitorBaselineRow, MonitorRow};
use crate::{
    claim::{Bound, Claim, Place, Subject, sentence},
    interval::Interval,
    lab::Group,
    measure::Shown,
    page::numbers::number,
    table::Word,
};

/// The area that a monitor is to lie above.
const AREA: f64 = 0.9;

const TELLS: &str =
    "a monitor made in some domains tells taught answers from plain ones elsewhere (AUROC > 0.9)";
const BEATS: &str =
    "its monitor tells them better than random directions, length, loss under base and a logistic probe";

/// The solutions that claims are made of, by their places.
fn watched(subjects: &[Subject]) -> impl Iterator<Item = (usize, &Subject)> {
    subjects.iter().enumerate().filter(|(_, subject)| !subject.control)
}

pub fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
    let both = |(i, subject): (usize, &Subject)| {
        [TELLS, BEATS].map(|claim| (Place::Solution(i), sentence(Some(&subject.name), claim)))
    };
    watched(subjects).flat_map(both).collect()
}

pub fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
    let (rows, baselines): (Vec<MonitorRow>, Vec<MonitorBaselineRow>) = (shown.rows(), shown.rows());
    let both = |(i, subject): (usize, &Subject)| {
        [tells(&subject.name, &rows), beats(&subject.name, &baselines)]
            .map(|claim| Some((Place::Solution(i), claim?.of(&subject.name))))
    };
    watched(&shown.subjects).flat_map(both).flatten().collect()
}

fn tells(solution: &str, rows: &[MonitorRow]) -> Option<Claim> {
    let own = |row: &&MonitorRow| {
        row.solution == solution
            && row.monitor == solution
            && row.group == Group::General
            && row.domain.is_empty()
    };
    let row = rows.iter().find(own)?;
    let from = if row.unseen_domain { "of other domains" } else { "of other questions of the same domain" };
    let words = format!(
        "the reading after block {} of {} taught and {} plain answers {from} than those that gave the direction: AUROC {}; {} of the \
         taught answers are alarms, and {} of the plain ones, at a threshold set for {} on {} plain answers",
        row.layer,
        row.taught,
        row.plain,
        row.auroc.words(),
        row.detection.words(),
        row.false_alarms.words(),
        number(row.alarm_rate),
        row.calibrated,
    );
    Some(Claim::new(TELLS, "§14c", Bound::Above(AREA).judge(row.auroc, &[]), row.auroc, words))
}

fn beats(solution: &str, baselines: &[MonitorBaselineRow]) -> Option<Claim> {
    let own: Vec<_> = baselines.iter().filter(|row| row.solution == solution).collect();
    let beyond: Vec<Interval> = own.iter().map(|row| row.beyond).collect();
    let nearest = beyond.iter().copied().min_by(|one, other| one.value.total_cmp(&other.value))?;
    let each = |row: &&MonitorBaselineRow| {
        let range = match row.least == row.greatest {
            true => String::new(),
            false => format!(" (from {} to {})", number(row.least), number(row.greatest)),
        };
        format!("{} {}{range}", row.method.word(), number(row.auroc.value))
    };
    let words = format!(
        "AUROC of the baselines on the same answers: {}; the monitor's less that of the best is {}",
        own.iter().map(each).collect::<Vec<_>>().join(", "),
        nearest.words(),
    );
    Some(Claim::new(BEATS, "§14c", Bound::Above(0.0).judge_all(&beyond), nearest, words))
}
