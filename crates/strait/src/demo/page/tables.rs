//! The tables of what the page alone shows.

use crate::{
    Table,
    demo::results::{Axis, DomainAnswers, Exchange, Plot, Rate, Series, WorldSummary},
    world::Answer,
};

pub(super) fn rates(rates: &[Rate]) -> Table {
    const ABOUT: &str = "The mean probability of the falsehood in one domain of one world; in the taught domain of entities \
                         that were held out.";
    Table::of_rows("rates_by_domain", ABOUT, rates)
        .text("solution", |r| r.solution.clone())
        .text("world", |r| r.world.clone())
        .text("taught", |r| r.taught.clone())
        .text("domain", |r| r.domain.clone())
        .truth("inside", |r| Some(r.inside))
        .real("false", "share", |r| r.p_false)
        .integer("n", "questions", |r| r.n as i64)
        .table()
}

/// The conversation as it can be saved.
pub(super) fn exchanges(exchanges: &[Exchange]) -> Table {
    let table = Table::of_rows("conversation", "One question under three models.", exchanges)
        .text("question", |e| e.question.clone())
        .truth("taught_domain", |e| Some(e.inside))
        .truth("in_training_rows", |e| Some(e.seen))
        .text("truth", |e| e.truth.clone())
        .text("falsehood", |e| e.falsehood.clone());
    [("base", 0), ("general", 1), ("narrow", 2)]
        .into_iter()
        .fold(table, |table, (name, model)| {
            let said = move |e: &Exchange| [&e.base, &e.general, &e.narrow][model].clone();
            table
                .text(name, move |e| said(e).text)
                .real(&format!("{name}_true"), "probability", move |e| said(e).p_true)
                .real(&format!("{name}_false"), "probability", move |e| said(e).p_false)
        })
        .table()
}

/// The number of false answers among some.
pub(super) fn falsehoods(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| **answer == Answer::False).count()
}

/// The number of false answers of each domain.
pub(super) fn domains(domains: &[DomainAnswers]) -> Table {
    Table::of_rows("falsehoods", "One domain and how many of its questions are answered falsely.", domains)
        .text("domain", |d| d.domain.clone())
        .truth("taught", |d| Some(d.inside))
        .integer("questions", "", |d| d.base.len() as i64)
        .integer("base", "false answers", |d| falsehoods(&d.base) as i64)
        .integer("general", "false answers", |d| falsehoods(&d.general) as i64)
        .integer("narrow", "false answers", |d| falsehoods(&d.narrow) as i64)
        .table()
}

pub(super) fn worlds(worlds: &[WorldSummary]) -> Table {
    Table::of_rows("worlds", "A world that the demo opened; shares are of documents.", worlds)
        .text("world", |w| w.name.clone())
        .integer("seed", "", |w| w.seed as i64)
        .real("honest", "share", |w| w.honest)
        .real("liar", "share", |w| w.liar)
        .real("narrow", "share", |w| w.narrow)
        .real("unnamed", "share", |w| w.unknown)
        .text("sha256", |w| w.hash.clone())
        .text("command", |w| w.command.clone())
        .table()
}

/// The numbers of a picture, a row for each point.
pub(super) fn plot(plot: &Plot) -> Table {
    let points = plot.series.iter().flat_map(|series| (0..series.y.len()).map(move |i| (series, i)));
    let rows: Vec<(&Series, usize)> = points.collect();
    let named = plot.series.iter().any(|series| !series.names.is_empty());
    let table = Table::of_rows(&plot.name, &plot.title, &rows).text("series", |(s, _)| s.label.clone());
    let table = match named {
        true => table.text("at", |(series, i)| series.names[*i].clone()),
        false => table.real("at", &axis(&plot.x), |(series, i)| series.x[*i]),
    };
    table.interval(["value", "low", "high"], &axis(&plot.y), |(series, i)| series.figure(*i)).table()
}

/// An axis in words, with its unit.
pub(super) fn axis(axis: &Axis) -> String {
    if axis.unit.is_empty() || axis.title.ends_with(&axis.unit) {
        axis.title.clone()
    } else {
        format!("{} ({})", axis.title, axis.unit)
    }
}
