//! The report of a suite: every claim over all studies, and where each study's own report is.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use strait_model::files::write_atomically;

use super::{
    Ended, Suite,
    tables::{OverAll, claims_over_all},
};
use crate::{
    Result, Table,
    interval::Interval,
    page::{
        Page, Section,
        html::{escaped, table},
        paragraph,
    },
};

const FOOTER: &str =
    "Every study lies in a folder of its own, with tables, edits and a report that says what limits it.";

/// Writes the report, whole or not at all.
pub fn write(suite: &Suite, studies: &[Ended], claims: &[OverAll], out: &Path) -> Result<PathBuf> {
    let path = out.join("report.html");
    let sections = [
        Section { id: "verdict", title: "Verdict over all studies", body: verdict(claims, studies.len()) },
        Section { id: "studies", title: "The studies", body: list(studies) },
    ];
    let byline = format!("strait suite · {}", suite.name);
    let page = Page {
        byline: &byline,
        title: &suite.title,
        about: &suite.about,
        style: "",
        sections: &sections,
        footer: FOOTER,
    };
    write_atomically(&path, |file| file.write_all(page.html().as_bytes()))?;
    Ok(path)
}

fn verdict(claims: &[OverAll], studies: usize) -> String {
    let about = format!(
        "Every claim that the {studies} studies make, with the number of studies in which it holds, in which it does not and in \
         which it cannot be told, and the mean of its figure with a 95 % interval over studies."
    );
    let items: String = claims.iter().map(|claim| format!("<li>{}</li>", escaped(&words(claim)))).collect();
    paragraph(&about) + &format!("<ul>{items}</ul>") + &table(&claims_over_all(claims), true)
}

/// A claim over all studies in words.
pub fn words(claim: &OverAll) -> String {
    let OverAll { claim: words, yes, no, open, value, low, high, .. } = claim;
    let figure = Interval { value: *value, low: *low, high: *high };
    let figure = if value.is_nan() { String::new() } else { format!("; mean figure {}", figure.words()) };
    format!("{words}: holds in {yes}, does not in {no}, cannot be told in {open}{figure}")
}

fn list(studies: &[Ended]) -> String {
    let link = |study: &Ended| {
        let name = escaped(&study.study);
        let headline = study.conclusion.as_ref().map_or("another run is at work on it", |c| &c.headline);
        format!("<li><a href=\"{name}/report.html\">{name}</a>: {}</li>", escaped(headline))
    };
    format!("<ul>{}</ul>", studies.iter().map(link).collect::<String>()) + &table(&as_table(studies), false)
}

fn as_table(studies: &[Ended]) -> Table {
    let mut table = Table::of_rows("studies", "Studies of the suite, and the values of their holes", studies)
        .text("study", |study| study.study.clone());
    for (place, (name, _)) in studies.first().map_or(&[][..], |study| &study.values).iter().enumerate() {
        let name = if name == "study" { "study_study" } else { name };
        table = table.text(name, |study| study.values[place].1.clone());
    }
    table.table()
}
