//! The report of a suite: every claim over all studies, and where each study's own report is.

use std::path::{Path, PathBuf};

use maud::{Markup, html};
use strait_model::files;

use super::{Check, Ended, Plot, Suite, claimed, tables::OverAll};
use crate::{
    Result, Table,
    page::{
        Page, Section,
        html::{paragraph, table},
    },
    report::{Input, side_by_side},
};

const FOOTER: &str =
    "Every study lies in a folder of its own, with tables, edits and a report that says what limits it.";

/// The most studies that are drawn side by side.
const MOST: usize = 24;

const STYLE: &str = include_str!("claims.css");

/// Writes the report, whole or not at all. Of the suite's own claims it takes the parts, the pictures and the table.
pub fn write(
    suite: &Suite,
    studies: &[Ended],
    claims: &[OverAll],
    (checks, plots, parts): (&[Check], &[Plot], &Table),
    out: &Path,
) -> Result<PathBuf> {
    let path = out.join("report.html");
    let own = || Section::new("claims", "The claims", claimed(&suite.claims.claims, checks, plots, parts));
    let mut sections: Vec<Section> = (!checks.is_empty()).then(own).into_iter().collect();
    sections.extend([
        Section::new("verdict", "Verdict over all studies", verdict(claims, studies.len())),
        Section::new("studies", "The studies", list(studies)),
    ]);
    // More would be seen on no screen; the tables have all.
    if studies.len() <= MOST {
        let done = studies.iter().filter_map(|study| Some((study.study.clone(), study.input.as_ref()?)));
        let (names, inputs): (Vec<String>, Vec<&Input>) = done.unzip();
        sections.extend(side_by_side(&names, &inputs));
    }
    let byline = format!("strait suite · {}", suite.name);
    let (title, about) = (&suite.title, &suite.about);
    let page = Page { byline: &byline, title, about, style: STYLE, sections: &sections, footer: FOOTER };
    files::write(&path, page.html())?;
    Ok(path)
}

fn verdict(claims: &[OverAll], studies: usize) -> Markup {
    let about = format!(
        "Every claim that the {studies} studies make, with the number of studies in which it holds, in which it does not and in \
         which it cannot be told, and the mean of its figure with a 95 % interval over studies."
    );
    html! {
        (paragraph(&about))
        ul { @for claim in claims { li { strong { (claim.claim) } ": " (outcome(claim)) } } }
        (table(&Table::of(claims), false))
    }
}

/// A claim's outcome over all studies.
fn outcome(OverAll { yes, no, open, value, .. }: &OverAll) -> String {
    let figure =
        if value.value.is_nan() { String::new() } else { format!("; mean figure {}", value.words()) };
    format!("holds in {yes}, does not in {no}, cannot be told in {open}{figure}")
}

fn list(studies: &[Ended]) -> Markup {
    let headline = |study: &Ended| {
        study.conclusion.as_ref().map_or("another run is at work on it".into(), |c| c.headline.clone())
    };
    html! {
        ul {
            @for study in studies {
                li { a href={ (study.study) "/report.html" } { (study.study) } ": " (headline(study)) }
            }
        }
        (table(&as_table(studies), false))
    }
}

fn as_table(studies: &[Ended]) -> Table {
    let about = "Studies of the suite, and the values of their holes";
    let mut table = Table::of_rows("studies", about, studies).text("study", |study| study.study.clone());
    let names = studies.first().map_or(&[][..], |study| &study.values);
    for (place, (name, _)) in names.iter().enumerate() {
        let name = if name == "study" { "study_study" } else { name };
        table = table.text(name, move |study| study.values[place].1.clone());
    }
    table.table()
}
