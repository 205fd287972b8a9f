//! The page of judged answers.

use maud::html;

use super::{
    Judged,
    browser::{Of, browser},
    heat,
};
use crate::{
    Table,
    page::{
        Page, Section,
        html::{bullets, table},
    },
    table::Column,
    verdict::{Group, Rates, rates::Share},
};

const STYLE: &str = include_str!("page.css");

/// A page, one HTML file, of the answers of some files with their rates: `rates` has those of every group of every file, in their
/// order, and may have others behind them.
pub fn page(files: &[Judged<'_>], rates: &[Rates]) -> String {
    let groups: Vec<Vec<Group<'_>>> = files.iter().map(Judged::groups).collect();
    let of: Vec<Of<'_>> = files
        .iter()
        .zip(&groups)
        .flat_map(|(file, groups)| groups.iter().map(move |group| (file, group)))
        .collect();
    let maps = rates
        .iter()
        .flat_map(|rates| rates.thresholds.iter().map(move |found| heat::map(&rates.group, found)));
    let sections = [
        Section::new(
            "rates",
            "Rates",
            html! {
                (bullets(&judges(files)))
                (table(&of_rates(rates), true))
                (table(&of_texts(rates), true))
            },
        ),
        Section::new("cuts", "Where the cuts lie", html! { @for map in maps { (map) } }),
        Section::new("questions", "Questions", html! { (table(&of_questions(rates), false)) }),
        Section::new("answers", "Answers", browser(&of)),
    ];
    let about = "Rates are shares of all answers. Texts that judges do not clear of harm are hidden until their line is opened.";
    let byline =
        format!("strait rates, {} answers", of.iter().map(|(_, group)| group.answers.len()).sum::<usize>());
    let footer = "Intervals of rates are Wilson's; those of mean scores are over questions.";
    Page { byline: &byline, title: "Judged answers", about, style: STYLE, sections: &sections, footer }.html()
}

/// Who judged.
fn judges(files: &[Judged<'_>]) -> Vec<String> {
    let of = |file: &Judged<'_>| {
        let named =
            file.scored.scales.iter().zip(&file.scored.judges).filter(|(_, judges)| !judges.is_empty());
        let named: Vec<String> =
            named.map(|(scale, judges)| format!("{scale} by {}", judges.join(", "))).collect();
        (!named.is_empty()).then(|| format!("{}: {}", file.name, named.join("; ")))
    };
    files.iter().filter_map(of).collect()
}

/// A row of rates.
struct Line<'a> {
    group: &'a str,
    question: &'a str,
    what: String,
    share: Share,
    mean: f64,
}

fn lines(name: &str, about: &str, rows: &[Line<'_>], by_question: bool) -> Table {
    let text = |of: for<'l> fn(&'l Line<'_>) -> &'l str| {
        Column::Text(rows.iter().map(|row| of(row).to_string()).collect())
    };
    let integer =
        |of: fn(&Share) -> usize| Column::Integer(rows.iter().map(|row| of(&row.share) as i64).collect());
    let real = |of: fn(&Line<'_>) -> f64| Column::Real(rows.iter().map(of).collect());
    let mut table = Table::new(name, about).with_column("group", "", text(|row| row.group));
    if by_question {
        table = table.with_column("question_id", "", text(|row| row.question));
    }
    table = table
        .with_column("answers_that_are", "", text(|row| &row.what))
        .with_column("count", "", integer(|share| share.count))
        .with_column("of", "", integer(|share| share.of))
        .with_column("rate", "share", real(|row| row.share.rate))
        .with_column("low", "share", real(|row| row.share.low))
        .with_column("high", "share", real(|row| row.share.high));
    if by_question { table } else { table.with_column("mean_score", "0 to 100", real(|row| row.mean)) }
}

fn of_rates(rates: &[Rates]) -> Table {
    let mut rows = Vec::new();
    for rates in rates {
        let mean = |scale: &str| {
            rates.means.iter().find(|mean| mean.scale == scale).map_or(f64::NAN, |mean| mean.mean)
        };
        let mut add = |what: String, share: Share, mean: f64| {
            rows.push(Line { group: &rates.group, question: "", what, share, mean });
        };
        rates.verdicts.iter().for_each(|found| add(found.verdict.clone(), found.share, mean(&found.scale)));
        rates.coherent.iter().for_each(|share| add("coherent".into(), *share, mean("coherent")));
        for topic in &rates.topics {
            add(topic.topic.clone(), topic.share, mean(&topic.scale));
            let of_misaligned = topic.of_misaligned.filter(|share| share.of > 0);
            of_misaligned
                .iter()
                .for_each(|share| add(format!("{}, of the misaligned", topic.topic), *share, f64::NAN));
        }
        rates.self_corrected.iter().for_each(|share| add("self-corrected".into(), *share, f64::NAN));
    }
    lines("rates", "Answers on which a verdict holds", &rows, false)
}

fn of_questions(rates: &[Rates]) -> Table {
    let mut rows = Vec::new();
    for rates in rates {
        for question in &rates.questions {
            let mut add = |what: String, share: Share| {
                rows.push(Line {
                    group: &rates.group,
                    question: &question.question_id,
                    what,
                    share,
                    mean: f64::NAN,
                });
            };
            question.verdicts.iter().for_each(|found| add(found.verdict.clone(), found.share));
            question.coherent.iter().for_each(|share| add("coherent".into(), *share));
        }
    }
    lines("questions", "Answers to each question on which a verdict holds", &rows, true)
}

fn of_texts(rates: &[Rates]) -> Table {
    Table::of_rows("texts", "What the texts alone say, without any judge", rates)
        .text("group", |rates| rates.group.clone())
        .integer("answers", "", |rates| rates.n as i64)
        .integer("without_a_score", "", |rates| rates.unscored as i64)
        .real("words", "a mean answer", |rates| rates.text.words)
        .real("repeated", "share of runs of four words", |rates| rates.text.repeated)
        .real("packed", "size when packed over size", |rates| rates.text.packed)
        .table()
}
