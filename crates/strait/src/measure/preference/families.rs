//! The mean shifts of solutions that differ in their seeds alone.

use super::Shift;
use crate::{
    interval::Interval,
    lab::Group,
    measure::{FamilyShift, Member, families::listed},
};

/// The mean shift of every family of two or more seeds, at every scale.
pub fn families(shifts: &[Shift], members: &[Member]) -> Vec<FamilyShift> {
    struct Reading<'a> {
        family: &'a str,
        group: Group,
        scale: f64,
        seeds: Vec<u64>,
        shifts: Vec<f64>,
        coherent: bool,
    }
    let mut readings: Vec<Reading<'_>> = Vec::new();
    for shift in shifts.iter().filter(|shift| shift.is_whole()) {
        let Some(Member { family, seed, .. }) = members.iter().find(|m| m.solution == shift.solution) else {
            continue;
        };
        let place = readings
            .iter()
            .position(|r| r.family == family && r.group == shift.group && r.scale == shift.scale);
        let place = place.unwrap_or_else(|| {
            let (seeds, shifts) = (Vec::new(), Vec::new());
            let Shift { group, scale, .. } = *shift;
            readings.push(Reading { family, group, scale, seeds, shifts, coherent: true });
            readings.len() - 1
        });
        let reading = &mut readings[place];
        reading.seeds.push(*seed);
        reading.shifts.push(shift.shift.value);
        reading.coherent &= shift.coherent;
    }
    let several = readings.iter().filter(|reading| reading.seeds.len() > 1);
    several
        .map(|reading| FamilyShift {
            family: reading.family.into(),
            group: reading.group,
            scale: reading.scale,
            seeds: reading.seeds.len(),
            shift: Interval::of_mean(&reading.shifts),
            coherent: reading.coherent,
            which_seeds: listed(&reading.seeds),
        })
        .collect()
}
