//! What stays over seeds: mean shifts of solutions that differ in their seeds alone, and mean differences between them.

use super::preference::ALL;
use crate::{Table, interval::Interval};

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
        Interval::of_mean(&self.shifts)
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

/// From the tables of a study: the differences between two families, seed by seed, and their means with intervals over the
/// seeds that both have.
///
/// Of efficiency, stability and significance it takes the tables of paired differences; of the preference the difference of
/// the shares that the shift outside has in the shift inside (`outside/inside`); of drift the rise of the shift outside
/// above that of the start (`rise`).
pub fn families_difference(tables: &[Table], members: &[Member]) -> Table {
    let mut means = Means { members, found: Vec::new() };
    let table = |name: &str| tables.iter().find(|table| table.name() == name);
    for (measure, at, what, unit) in PAIRED {
        if let Some(table) = table(&format!("{measure}_difference")) {
            means.add_paired(table, measure, at, what, unit);
        }
    }
    table("preference").and_then(|table| means.add_shares(table));
    table("drift").and_then(|table| means.add_rises(table));
    means.found.retain(|mean| mean.seeds.len() > 1);
    Table::of_rows(
        "families_difference",
        "Differences between families of solutions, over seeds",
        &means.found,
    )
    .text("measure", |m| m.measure.into())
    .text("family", |m| m.family.clone())
    .text("other", |m| m.other.clone())
    .text("what", |m| m.what.clone())
    .real("at", "", |m| m.at)
    .integer("seeds", "", |m| m.seeds.len() as i64)
    .interval(["difference", "low", "high"], "", |m| Interval::of_mean(&m.differences))
    .text("unit", |m| m.unit.into())
    .text("which_seeds", |m| m.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
    .table()
}

/// Measures with a table of paired differences: the columns of its points and of what is compared, and its unit.
const PAIRED: [(&str, &str, Option<&str>, &str); 3] = [
    ("efficiency", "norm", Some("kind"), "nats/token"),
    ("stability", "epsilon", Some("part"), "share of the gain"),
    ("significance", "relative_norm", None, "nats/token"),
];

/// The kind of efficiency whose norms differ from seed to seed.
const OPTIMUM: &str = "optimum";

/// One figure of two families.
struct Mean {
    measure: &'static str,
    family: String,
    other: String,
    what: String,
    /// NaN where each seed has a point of its own.
    at: f64,
    unit: &'static str,
    seeds: Vec<u64>,
    differences: Vec<f64>,
}

struct Means<'a> {
    members: &'a [Member],
    found: Vec<Mean>,
}

impl Means<'_> {
    /// Takes the difference of two solutions, if they are of two families and one seed.
    fn add(&mut self, [one, other]: [&str; 2], fresh: Mean) {
        let member = |name: &str| self.members.iter().find(|member| member.solution == name);
        let (Some(one), Some(other)) = (member(one), member(other)) else { return };
        if one.seed != other.seed || one.family == other.family || !fresh.differences[0].is_finite() {
            return;
        }
        let fresh =
            Mean { family: one.family.clone(), other: other.family.clone(), seeds: vec![one.seed], ..fresh };
        let same = |m: &&mut Mean| {
            (m.measure, &m.family, &m.other, &m.what)
                == (fresh.measure, &fresh.family, &fresh.other, &fresh.what)
                && m.at.total_cmp(&fresh.at).is_eq()
        };
        match self.found.iter_mut().find(same) {
            Some(known) => {
                known.seeds.extend(fresh.seeds);
                known.differences.extend(fresh.differences);
            }
            None => self.found.push(fresh),
        }
    }

    fn add_paired(
        &mut self,
        table: &Table,
        measure: &'static str,
        at: &str,
        what: Option<&str>,
        unit: &'static str,
    ) -> Option<()> {
        let (solution, other) = (table.text("solution")?, table.text("other")?);
        let (at, difference) = (table.real(at)?, table.real("difference")?);
        let what = match what {
            Some(column) => Some(table.text(column)?),
            None => None,
        };
        for row in 0..table.rows() {
            let what = what.map_or_else(String::new, |what| what[row].clone());
            let at = if what == OPTIMUM { f64::NAN } else { at[row] };
            let fresh = Mean::of(measure, what, at, unit, difference[row]);
            self.add([&solution[row], &other[row]], fresh);
        }
        Some(())
    }

    fn add_shares(&mut self, preference: &Table) -> Option<()> {
        let text = |name| preference.text(name);
        let (solution, group, domain) = (text("solution")?, text("group")?, text("domain")?);
        let (scale, shift) = (preference.real("scale")?, preference.real("shift")?);
        let coherent = preference.truth("coherent")?;
        let shift_of = |name: &str, side: &str, at: f64| {
            let row = (0..preference.rows()).find(|&row| {
                solution[row] == name && group[row] == side && domain[row] == ALL && scale[row] == at
            })?;
            (coherent[row] == Some(true)).then_some(shift[row])
        };
        let mut scales: Vec<f64> = Vec::new();
        scale.iter().for_each(|&at| {
            if !scales.contains(&at) {
                scales.push(at)
            }
        });
        let members = self.members;
        for &at in &scales {
            // A share of a shift that is not above zero says nothing.
            let share = |member: &Member| {
                let inside = shift_of(&member.solution, "narrow", at).filter(|&inside| inside > 0.0)?;
                Some(shift_of(&member.solution, "general", at)? / inside)
            };
            for (place, one) in members.iter().enumerate() {
                for other in &members[place + 1..] {
                    if let Some((one_share, other_share)) = share(one).zip(share(other)) {
                        let difference = one_share - other_share;
                        let fresh = Mean::of("preference", "outside/inside".into(), at, "share", difference);
                        self.add([&one.solution, &other.solution], fresh);
                    }
                }
            }
        }
        Some(())
    }

    fn add_rises(&mut self, drift: &Table) -> Option<()> {
        let (solution, from) = (drift.text("solution")?, drift.text("from")?);
        let (step, rise) = (drift.integer("step")?, drift.real("rise")?);
        for row in (0..drift.rows()).filter(|&row| step[row] > 0) {
            let fresh = Mean::of("drift", "rise".into(), step[row] as f64, "nats/token", rise[row]);
            self.add([&solution[row], &from[row]], fresh);
        }
        Some(())
    }
}

impl Mean {
    /// One seed's difference, of solutions yet to be named.
    fn of(measure: &'static str, what: String, at: f64, unit: &'static str, difference: f64) -> Self {
        let (family, other) = (String::new(), String::new());
        Self { measure, family, other, what, at, unit, seeds: Vec::new(), differences: vec![difference] }
    }
}
