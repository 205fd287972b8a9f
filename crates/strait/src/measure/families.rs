//! Preference shifts over seeds: how far training again from another seed moves them.

use super::preference::ALL;
use crate::{
    Table,
    interval::{Interval, student_mean},
};

/// A solution as one of those that differ in nothing but their seeds.
pub struct Member {
    /// Its name.
    pub solution: String,
    /// What all of them are called together.
    pub family: String,
    /// Its seed.
    pub seed: u64,
}

/// From a table of preferences: mean shift of every family of two or more seeds, at every scale, in the domain and outside
/// it, with its interval over seeds.
pub fn families(preference: &Table, members: &[Member]) -> Table {
    let rows = readings(preference, members).unwrap_or_default();
    let about = "Preference shift over seeds: means of solutions that differ in their seeds alone";
    Table::of_rows("families", about, &rows)
        .text("family", |r| r.family.clone())
        .text("group", |r| r.group.clone())
        .real("scale", "", |r| r.scale)
        .integer("seeds", "", |r| r.seeds.len() as i64)
        .interval(["shift", "low", "high"], "nats/token", |r| r.shift())
        .truth("coherent", |r| Some(r.coherent))
        .text("which_seeds", |r| r.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
        .table()
}

/// One family at one scale.
struct Reading {
    family: String,
    group: String,
    scale: f64,
    seeds: Vec<u64>,
    shifts: Vec<f64>,
    /// Whether all of its solutions are.
    coherent: bool,
}

impl Reading {
    fn shift(&self) -> Interval {
        student_mean(&self.shifts)
    }
}

fn readings(preference: &Table, members: &[Member]) -> Option<Vec<Reading>> {
    let text = |name| preference.text(name);
    let (solution, group, domain) = (text("solution")?, text("group")?, text("domain")?);
    let (scale, shift) = (preference.real("scale")?, preference.real("shift")?);
    let coherent = preference.truth("coherent")?;
    let mut readings: Vec<Reading> = Vec::new();
    for row in (0..preference.rows()).filter(|&row| domain[row] == ALL) {
        let Some(member) = members.iter().find(|m| m.solution == solution[row]) else { continue };
        let same =
            |r: &&mut Reading| r.family == member.family && r.group == group[row] && r.scale == scale[row];
        match readings.iter_mut().find(same) {
            Some(known) => {
                known.seeds.push(member.seed);
                known.shifts.push(shift[row]);
                known.coherent &= coherent[row] == Some(true);
            }
            None => readings.push(Reading {
                family: member.family.clone(),
                group: group[row].clone(),
                scale: scale[row],
                seeds: vec![member.seed],
                shifts: vec![shift[row]],
                coherent: coherent[row] == Some(true),
            }),
        }
    }
    readings.retain(|reading| reading.seeds.len() > 1);
    Some(readings)
}
