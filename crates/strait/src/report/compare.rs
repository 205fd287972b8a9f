//! Several runs side by side on one page: their verdicts, the settings in which they differ, and each measure of all of them.

use maud::{Markup, html};

use super::{
    Input, conclude,
    page::{page, verdict},
    subjects::shown,
};
use crate::{
    Table,
    measure::{
        self, SideBySide,
        list::{ALL, Kind},
        records::TrainingStep,
    },
    page::{
        Section,
        figure::Figure,
        figure_group,
        html::{paragraph, scrolled, table},
        words::distinct,
    },
    table::Row,
};

/// One HTML file that shows runs side by side; `names` tells them apart and is as long as `runs`.
pub fn render_comparison(names: &[String], runs: &[Input]) -> String {
    let runs: Vec<Run<'_>> = names.iter().zip(runs).map(|(name, input)| Run { name, input }).collect();
    let mut sections = vec![
        Section::new("verdict", "Verdicts", verdicts(&runs)),
        Section::new("differences", "What the studies differ in", differences(&runs)),
    ];
    sections.extend(measured(&runs));
    let others = other_tables(&runs);
    if !others.is_empty() {
        let body = html! { @for other in &others { (table(other, false)) } };
        sections.push(Section::new("others", "Further tables", body));
    }
    let about =
        "Runs side by side. Each verdict is that of the run's own report; nothing here was measured anew.";
    page(&names.join(", "), "Runs compared", about, &sections)
}

/// The measures of runs side by side, a section each.
pub(crate) fn side_by_side(names: &[String], runs: &[&Input]) -> Vec<Section> {
    let runs: Vec<Run<'_>> = names.iter().zip(runs).map(|(name, input)| Run { name, input }).collect();
    measured(&runs)
}

fn measured(runs: &[Run<'_>]) -> Vec<Section> {
    let section = |(kind, side): (&Kind, SideBySide)| {
        let joined = joined(runs, kind.name)?;
        let figure = figure(runs, &side);
        let body = html! {
            (paragraph(side.reading))
            (figure_group(figure.as_slice()))
            (table(&joined, figure.is_none()))
        };
        Some(Section::new(kind.name, side.title, body))
    };
    compared().filter_map(section).collect()
}

/// The measures that such a page draws.
fn compared() -> impl Iterator<Item = (&'static Kind, SideBySide)> {
    ALL.iter().filter_map(|kind| Some((kind, (kind.side_by_side)()?)))
}

/// A run under the name that tells it apart.
struct Run<'a> {
    name: &'a str,
    input: &'a Input,
}

fn verdicts(runs: &[Run<'_>]) -> Markup {
    html! {
        div.figures {
            @for run in runs {
                div {
                    h3 { (run.name) }
                    p.soft { (run.input.title) }
                    (verdict(&conclude(&run.input.facts, &run.input.tables), |title| html! { h4 { (title) } }))
                }
            }
        }
    }
}

/// The lines of the resolved studies and models that are not the same in all runs.
fn differences(runs: &[Run<'_>]) -> Markup {
    let values: Vec<Vec<(String, String)>> = runs.iter().map(|run| settings(run.input)).collect();
    let keys = distinct(values.iter().flatten().map(|(key, _)| key.as_str()));
    let of = |run: &[(String, String)], key: &str| {
        run.iter().find(|(other, _)| other == key).map_or_else(|| "–".to_string(), |(_, value)| value.clone())
    };
    let rows = keys.into_iter().map(|key| (key, values.iter().map(|run| of(run, key)).collect::<Vec<_>>()));
    let differing: Vec<_> = rows.filter(|(_, found)| found.iter().any(|value| *value != found[0])).collect();
    if differing.is_empty() {
        return paragraph("In nothing: model, data and settings are the same.");
    }
    let shown = html! {
        table {
            thead { tr { th scope="col" { "setting" } @for run in runs { th scope="col" { (run.name) } } } }
            tbody {
                @for (key, found) in differing {
                    tr { th scope="row" { (key) } @for value in found { td { (value) } } }
                }
            }
        }
    };
    scrolled("What the studies differ in", &shown)
}

/// The settings of a run's study and the facts of its model, name and value.
fn settings(input: &Input) -> Vec<(String, String)> {
    let split = |line: &String, at: &str| {
        let (key, value) = line.split_once(at)?;
        Some((key.to_string(), value.to_string()))
    };
    let model = input.model.iter().map(|(name, value)| (format!("model: {name}"), value.clone()));
    let fixed = input.facts.fixed.iter().filter_map(|line| split(line, " = "));
    let scientific = input.scientific.iter().filter_map(|line| split(line, ": "));
    model.chain(fixed).chain(scientific).collect()
}

/// The rows of one table in all runs that have it with columns that fit those of the first, behind a column `run`.
fn joined(runs: &[Run<'_>], name: &str) -> Option<Table> {
    let mut joined: Option<Table> = None;
    for run in runs {
        let Some(own) = run.input.tables.iter().find(|t| t.name() == name) else { continue };
        let marked = own.behind(&[("run".into(), run.name.into())]);
        match &mut joined {
            // Two versions of strait may write a column differently; each run's own report has the table.
            Some(joined) => _ = joined.append(&marked),
            None => joined = Some(marked),
        }
    }
    joined
}

/// One figure a measure: a line for each run and reading, the solutions side by side on it.
fn figure(runs: &[Run<'_>], side: &SideBySide) -> Option<Figure> {
    let shown: Vec<_> = runs.iter().map(|run| shown(&run.input.facts, &run.input.tables)).collect();
    let solutions = distinct(shown.iter().flat_map(|shown| shown.solutions.iter().copied()));
    let lines = runs.iter().zip(&shown).flat_map(|(run, shown)| (side.lines)(run.name, shown));
    let lines: Vec<_> = lines.collect();
    let draw = || measure::lines("Bars are 95 % intervals", &solutions, &lines, "nats a token");
    (!lines.is_empty()).then(draw)
}

/// The tables that are not drawn, but for that of training steps, which is long and in each run's own report.
fn other_tables(runs: &[Run<'_>]) -> Vec<Table> {
    let hidden = |name: &str| name == TrainingStep::TABLE || compared().any(|(kind, _)| kind.name == name);
    let names = runs.iter().flat_map(|run| &run.input.tables).map(Table::name);
    let names = distinct(names.filter(|name| !hidden(name)));
    names.into_iter().filter_map(|name| joined(runs, name)).collect()
}
