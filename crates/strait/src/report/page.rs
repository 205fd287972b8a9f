//! The page: verdict first, then a plot and a table for each measure, then where it all comes from.

use maud::{Markup, html};

use super::{Conclusion, Input, conclude, subjects::shown};
use crate::{
    Table,
    claim::Claim,
    measure::{Panel, Shown, list::ALL, records},
    page::{
        Page, Section, figure_group,
        heat::side_by_side,
        html::{answer, bullets, definitions, folded, marked, paragraph, table, verbatim},
        numbers::quoted,
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
        Section::new("verdict", "Verdict", verdict(&conclusion, |title| html! { h3 { (title) } })),
        Section::new("limits", "What limits it", bullets(&conclusion.limits)),
    ];
    let measured = ALL.iter().flat_map(|kind| (kind.panels)());
    let panels: Vec<Panel> = records::first().into_iter().chain(measured).chain(records::last()).collect();
    let shown = shown(&input.facts, &input.tables);
    sections.extend(panels.iter().filter_map(|panel| section(panel, &shown)));
    let is_known = |name: &str| panels.iter().any(|p| p.table == name.trim_end_matches(DIFFERENCE));
    let others: Vec<&Table> = input.tables.iter().filter(|t| !is_known(t.name())).collect();
    if !others.is_empty() {
        let body = html! { @for other in others { (table(other, true)) } };
        sections.push(Section::new("others", "Further tables", body));
    }
    sections.push(Section::new("provenance", "Where it comes from", provenance(input)));
    sections
}

/// A panel with its figures, its table and the table that compares; none where its table is missing.
fn section(panel: &Panel, shown: &Shown<'_>) -> Option<Section> {
    let own = shown.tables.iter().find(|table| table.name() == panel.table)?;
    let figures = (panel.draw)(shown);
    let maps = (panel.map)(shown);
    let is_drawn = !maps.is_empty() || figures.iter().any(|group| !group.is_empty());
    let compared = shown.tables.iter().filter(|t| t.name().strip_suffix(DIFFERENCE) == Some(panel.table));
    let body = html! {
        (paragraph(panel.reading))
        (paragraph(&(panel.say)(shown)))
        (side_by_side(&maps))
        @for group in &figures { (figure_group(group)) }
        @if panel.listed { (table(own, !is_drawn)) }
        @for compared in compared { (table(compared, false)) }
    };
    Some(Section::new(panel.table, panel.title, body))
}

/// The conclusion in words: the claims of each solution under its name, then the comparisons.
pub(super) fn verdict(conclusion: &Conclusion, heading: fn(&str) -> Markup) -> Markup {
    html! {
        p.headline { (conclusion.headline) }
        @for claims in conclusion.claims.chunk_by(|a, b| a.solution == b.solution) {
            (heading(&claims[0].solution.as_deref().map_or("Compared".into(), quoted)))
            ul.claims {
                @for Claim { holds, claim, words, .. } in claims {
                    li {
                        (marked(*holds, answer(*holds)))
                        span { strong { (claim) } ": " (words) "." }
                    }
                }
            }
        }
    }
}

fn provenance(input: &Input) -> Markup {
    let facts = [("Model", &input.model), ("Run", &input.provenance)];
    let lists = [
        ("Presets", &input.presets),
        ("What is asked", &input.scientific),
        ("What is held fixed", &input.facts.fixed),
    ];
    html! {
        @for (title, facts) in facts.into_iter().filter(|(_, facts)| !facts.is_empty()) {
            h3 { (title) } (definitions(facts))
        }
        @for (title, lines) in lists.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            h3 { (title) } (bullets(lines))
        }
        (folded("The study as resolved", &verbatim(&input.resolved_study), false))
    }
}
