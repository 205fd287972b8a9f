//! Scalars in a report.

use super::{Contrast, ScalarProbeRow, ScalarRemovedRow, ScalarRow};
use crate::{
    lab::Group,
    measure::{Panel, Shown, plots},
    page::{
        Groups,
        numbers::{list, quoted},
        words::distinct,
    },
    table::Row,
};

/// The most lines of a figure.
const LINES: usize = 30;

pub fn panels() -> Vec<Panel> {
    let scalars = "A scalar is A x of an adapter: how strongly it answers to a token. AUROC is the probability that it is larger at a \
                   token of a taught answer than at one of another, inside the domain and outside, or, for the topic, at a token of an \
                   answer inside than at one outside. At 0.5 it tells nothing; below, its sign is turned. A scalar that tells the taught \
                   answers outside too goes with the behaviour, one that tells the topic alone with that. That answers differ in a \
                   scalar does not say that its adapter makes the difference.";
    let probes = "How well all scalars of a solution together tell the tokens apart, on questions that the probes did not learn from. \
                  Half of the tested tokens are of each kind, so that 0.5 is chance.";
    let removed = "What the taught answers lose without an adapter: the rise of their loss with its scalars at zero, all others as they \
                   are. Adapters can stand in for each other, so that the rises of single ones need not add up to that of all.";
    vec![
        Panel { say, ..Panel::table(ScalarRow::TABLE, "Scalars of adapters", scalars).drawn(areas) },
        Panel::table(ScalarProbeRow::TABLE, "Probes on scalars", probes),
        Panel::table(ScalarRemovedRow::TABLE, "Adapters left out", removed).drawn(rises),
    ]
}

/// A module as figures have room for it.
fn short(module: &str) -> String {
    module.replace("model.layers.", "")
}

/// The scalars that are drawn, in their order: where there are many, those that tell most of anything.
fn drawn(rows: &[ScalarRow]) -> Vec<String> {
    let all = distinct(rows.iter().map(|row| row.scalar.clone()));
    let tells = |scalar: &String| {
        let own = rows.iter().filter(|row| row.scalar == *scalar);
        own.map(|row| (row.auroc.value - 0.5).abs()).fold(0.0, f64::max)
    };
    let mut most: Vec<(String, f64)> = all.iter().map(|scalar| (scalar.clone(), tells(scalar))).collect();
    most.sort_by(|one, other| other.1.total_cmp(&one.1));
    most.truncate(LINES);
    all.into_iter().filter(|scalar| most.iter().any(|(kept, _)| kept == scalar)).collect()
}

/// The number of scalars that are drawn, where it is not all, and what probes cannot say.
fn say(shown: &Shown<'_>) -> String {
    let rows: Vec<ScalarRow> = shown.rows();
    let all = distinct(rows.iter().map(|row| row.scalar.as_str())).len();
    let mut said = unused(&rows, &shown.rows());
    if all > LINES {
        said.insert(
            0,
            format!("Of {all} scalars those {LINES} are drawn that tell most; the table has all."),
        );
    }
    said.join(" ")
}

/// The solutions and contrasts of which nothing is known by probes, or in which these use no scalar.
fn unused(rows: &[ScalarRow], probes: &[ScalarProbeRow]) -> Vec<String> {
    let contrasts = distinct(rows.iter().map(|row| (row.solution.as_str(), row.contrast)));
    let that_are = |is: &dyn Fn(&[&ScalarRow]) -> bool| -> Vec<String> {
        let own = |of: &&(&str, Contrast)| {
            let own = rows.iter().filter(|row| (row.solution.as_str(), row.contrast) == **of);
            is(&own.collect::<Vec<_>>())
        };
        let name = |(solution, contrast): &(&str, Contrast)| match contrast {
            Contrast::Narrow => format!("{} inside", quoted(solution)),
            Contrast::General => format!("{} outside", quoted(solution)),
            Contrast::Topic => format!("the topic in {}", quoted(solution)),
        };
        contrasts.iter().filter(own).map(name).collect()
    };
    let without = that_are(&|rows| rows.iter().all(|row| row.used.is_nan()));
    let idle = that_are(&|rows| rows.iter().all(|row| row.used == 0.0));
    let mut said = Vec::new();
    if !without.is_empty() {
        said.push(format!("There are too few questions or tokens for probes of {}.", list(&without)));
    }
    if let (false, Some(row)) = (idle.is_empty(), probes.first()) {
        said.push(format!(
            "At C = {} no probe gives any scalar of {} a weight: there are too few tokens for so small a C.",
            row.c,
            list(&idle)
        ));
    }
    said
}

/// A figure for each caption that has readings: a solution, a module and its figure.
fn figures<const N: usize>(
    shown: &Shown<'_>,
    names: &[String],
    title: &str,
    captioned: [(String, Vec<plots::Line>); N],
) -> Groups {
    let names: Vec<String> = names.iter().map(|name| short(name)).collect();
    let figure = |(caption, readings): (String, Vec<plots::Line>)| {
        let known = readings.into_iter().map(|(solution, module, value)| (solution, short(&module), value));
        let lines: Vec<plots::Line> = known.filter(|(_, name, _)| names.contains(name)).collect();
        (!lines.is_empty()).then(|| plots::on_lines(&caption, &shown.solutions, &names, &lines, title))
    };
    vec![captioned.into_iter().filter_map(figure).collect()]
}

fn inside(shown: &Shown<'_>) -> String {
    format!("Inside {}", shown.facts.domain)
}

fn areas(shown: &Shown<'_>) -> Groups {
    let rows: Vec<ScalarRow> = shown.rows();
    let of = |contrast: Contrast| {
        let own = rows.iter().filter(|row| row.contrast == contrast);
        own.map(|row| (row.solution.clone(), row.scalar.clone(), row.auroc)).collect()
    };
    let captioned = [
        (inside(shown), of(Contrast::Narrow)),
        ("Outside".into(), of(Contrast::General)),
        ("The topic: inside against outside".into(), of(Contrast::Topic)),
    ];
    figures(shown, &drawn(&rows), "AUROC", captioned)
}

fn rises(shown: &Shown<'_>) -> Groups {
    let rows: Vec<ScalarRemovedRow> = shown.rows();
    let mut names = distinct(rows.iter().map(|row| row.adapters.clone()));
    names.truncate(LINES);
    let of = |group: Group| {
        let own = rows.iter().filter(|row| row.group == group);
        own.map(|row| (row.solution.clone(), row.adapters.clone(), row.removed)).collect()
    };
    let captioned = [(inside(shown), of(Group::Narrow)), ("Outside".into(), of(Group::General))];
    figures(shown, &names, "rise of the loss, nats a token", captioned)
}
