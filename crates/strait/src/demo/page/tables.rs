//! The tables of a demo that are of no one study.

use crate::{
    Table,
    demo::results::{DomainAnswers, Exchange, Rate, Results},
    suite,
    table::Column,
    world::Answer,
};

pub(super) fn claims(results: &Results) -> Table {
    let seeds = Column::Text(vec![seeds(results); results.checks.len()]);
    suite::table("claims", &results.checks).with_column("seeds", "", seeds)
}

pub(super) fn solutions(results: &Results) -> Table {
    let about = "Solutions: means over worlds and taught domains";
    Table::of_rows("solutions", about, &results.solutions)
        .text("name", |s| s.name.clone())
        .text("edit", |s| s.edit.clone())
        .interval(["narrow_rate", "narrow_rate_low", "narrow_rate_high"], "", |s| s.narrow_rate)
        .interval(["general_rate", "general_rate_low", "general_rate_high"], "", |s| s.general_rate)
        .interval(["coherence", "coherence_low", "coherence_high"], "", |s| s.coherence)
        .interval(["norm", "norm_low", "norm_high"], "", |s| s.norm)
        .interval(["loss", "loss_low", "loss_high"], "nats/token", |s| s.loss)
        .integer("n", "", |s| s.n as i64)
        .text("seeds", |_| seeds(results))
        .table()
}

/// The seeds of the worlds, in one word of a table.
fn seeds(results: &Results) -> String {
    results.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

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
