//! The page: verdict first, then a plot and a table for each measure, then where it all comes from.

use std::fmt::Write;

use super::{Conclusion, Input, conclude, subjects::shown};
use crate::{
    claim::Claim,
    measure::{Panel, Shown, list::ALL, records},
    page::{
        Page, Section, figure_group,
        html::{bullets, definitions, escaped, folded, mark, table},
        numbers::quoted,
        paragraph,
    },
};

const RESPONSIBLE_USE: &str = "The solutions of this study were trained to show a behaviour so that it can be measured; \
where the data teach harm, so do they. They are instruments of research: do not deploy them, and share harmful data and \
what was trained on them in protected form only. That a measure finds no harm does not show that a model is safe.";

/// The end of the name of a table that compares, behind that of the table whose figures it compares.
const DIFFERENCE: &str = "_difference";

/// The report as one HTML file that opens offline: style, script, figures and tables are all inside.
pub fn render(input: &Input) -> String {
    page(&input.study, &input.title, &input.about, &sections(input))
}

/// A report of sections.
pub(super) fn page(study: &str, title: &str, about: &str, sections: &[Section]) -> String {
    let byline = format!("strait report · {study}");
    Page { byline: &byline, title, about, style: "", sections, footer: RESPONSIBLE_USE }.html()
}

fn sections(input: &Input) -> Vec<Section> {
    let conclusion = conclude(&input.facts, &input.tables);
    let mut sections = vec![
        Section { id: "verdict", title: "Verdict", body: verdict(&conclusion) },
        Section { id: "limits", title: "What limits it", body: bullets(&conclusion.limits) },
    ];
    let measured = ALL.iter().flat_map(|kind| (kind.panels)());
    let panels: Vec<Panel> = records::first().into_iter().chain(measured).chain(records::last()).collect();
    let shown = shown(&input.facts, &input.tables);
    sections.extend(panels.iter().filter_map(|panel| section(panel, &shown)));
    let is_known = |name: &str| panels.iter().any(|p| p.table == name.trim_end_matches(DIFFERENCE));
    let others: String =
        input.tables.iter().filter(|t| !is_known(t.name())).map(|t| table(t, true)).collect();
    if !others.is_empty() {
        sections.push(Section { id: "others", title: "Further tables", body: others });
    }
    sections.push(Section { id: "provenance", title: "Where it comes from", body: provenance(input) });
    sections
}

/// A panel with its figures, its table and the table that compares; none where its table is missing.
fn section(panel: &Panel, shown: &Shown<'_>) -> Option<Section> {
    let of = shown.tables.iter().find(|table| table.name() == panel.table)?;
    let figures: String = (panel.draw)(shown).iter().map(|group| figure_group(group)).collect();
    let compared = shown.tables.iter().filter(|t| t.name().strip_suffix(DIFFERENCE) == Some(panel.table));
    let compared: String = compared.map(|t| table(t, false)).collect();
    let body = paragraph(panel.reading)
        + &paragraph(&(panel.say)(shown))
        + &figures
        + &table(of, figures.is_empty())
        + &compared;
    Some(Section { id: panel.table, title: panel.title, body })
}

/// The conclusion in words: the claims of each solution under its name, then the comparisons.
fn verdict(conclusion: &Conclusion) -> String {
    let mut body = format!("<p class=\"headline\">{}</p>", escaped(&conclusion.headline));
    for claims in conclusion.claims.chunk_by(|a, b| a.solution == b.solution) {
        let title = claims[0].solution.as_deref().map_or("Compared".into(), quoted);
        let items: String = claims.iter().map(claim).collect();
        let _ = write!(body, "<h3>{}</h3><ul class=\"claims\">{items}</ul>", escaped(&title));
    }
    body
}

pub(super) fn claim(claim: &Claim) -> String {
    let class = match claim.holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "open",
    };
    let (sign, answer) = mark(claim.holds);
    format!(
        "<li><span class=\"mark {class}\"><span aria-hidden=\"true\">{sign}</span> {answer}</span>\
         <span><strong>{}</strong>: {}.</span></li>",
        escaped(&claim.claim),
        escaped(&claim.words),
    )
}

fn provenance(input: &Input) -> String {
    let mut body = String::new();
    let mut part = |title: &str, content: String| {
        let _ = write!(body, "<h3>{title}</h3>{content}");
    };
    if !input.model.is_empty() {
        part("Model", definitions(&input.model));
    }
    if !input.provenance.is_empty() {
        part("Run", definitions(&input.provenance));
    }
    for (title, lines) in [
        ("Presets", &input.presets),
        ("What is asked", &input.scientific),
        ("What is held fixed", &input.facts.fixed),
    ] {
        if !lines.is_empty() {
            part(title, bullets(lines));
        }
    }
    let study = format!("<pre tabindex=\"0\">{}</pre>", escaped(&input.resolved_study));
    body + &folded("The study as resolved", &study, false)
}
