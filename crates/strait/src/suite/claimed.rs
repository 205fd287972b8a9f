//! A suite's own claims on its page: an overview, and each with its pictures and its parts.

use maud::{Markup, html};

use super::{
    Check, Claim, Plot,
    standing::{Standing, of_claim, verdict},
};
use crate::{
    Table,
    page::{
        figure_group,
        html::{marked, paragraph, sign, table},
        numbers::number,
    },
};

/// The rule of all parts.
const RULE: &str = "A part holds where its figure lies on the claimed side of its bound with the whole 95 % interval and in every \
                    group that must agree, does not hold where all of that lies on the other side, and else cannot be told.";

/// Parts whose figures the overview names.
const PARTS: usize = 3;

/// The overview, the table of all parts, and an article for each claim of which something was found.
pub(crate) fn claimed(claims: &[Claim], checks: &[Check], plots: &[Plot], parts: &Table) -> Markup {
    html! {
        (paragraph(RULE))
        table.overview {
            colgroup { col; col; col; }
            thead { tr { th scope="col" colspan="2" { "the claim" } th scope="col" { "what was found" } } }
            tbody { @for claim in claims { (overview(claim, checks)) } }
        }
        (table(parts, false))
        @for claim in claims {
            @if Standing::of(checks, claim.number) != Standing::LeftOut { (article(claim, checks, plots)) }
        }
    }
}

fn overview(Claim { number, title, .. }: &Claim, checks: &[Check]) -> Markup {
    let standing = Standing::of(checks, *number);
    let checks: Vec<_> = of_claim(checks, *number).collect();
    html! {
        tr {
            td { (number) }
            @if standing == Standing::LeftOut {
                th scope="row" { (title) }
                td { (standing.words()) }
            } @else {
                th scope="row" { a href={ "#claim-" (number) } { (title) } }
                td {
                    (marked(standing.holds(), &standing.words())) " "
                    small {
                        @for check in checks.iter().take(PARTS) { span { (sign(check.holds)) " " (figure(check)) } " " }
                        @if checks.len() > PARTS { "and " (checks.len() - PARTS) " more" }
                    }
                }
            }
        }
    }
}

/// One claim: how it is asked, its pictures, what came out, and the numbers of the pictures.
fn article(Claim { number, title, how, .. }: &Claim, checks: &[Check], plots: &[Plot]) -> Markup {
    let standing = Standing::of(checks, *number);
    let checks: Vec<_> = of_claim(checks, *number).collect();
    // What is to be said of several parts is said at the first.
    let is_new = |i: usize| checks[..i].iter().all(|before| before.reading != checks[i].reading);
    let plots = || plots.iter().filter(|plot| plot.number == *number);
    html! {
        article.claim id={ "claim-" (number) } aria-labelledby={ "claim-" (number) "-title" } {
            h3 id={ "claim-" (number) "-title" } { span.numeral { (number) } " " (title) }
            p.standing { (marked(standing.holds(), &standing.words())) }
            (paragraph(how))
            (figure_group(&plots().map(Plot::figure).collect::<Vec<_>>()))
            ul.parts { @for (i, check) in checks.iter().enumerate() { (part(check, is_new(i))) } }
            @for plot in plots() { (table(&plot.table(), false)) }
        }
    }
}

/// One check, with its reading or without.
fn part(check: &Check, read: bool) -> Markup {
    html! {
        li {
            div { (marked(check.holds, verdict(check.holds))) strong { (figure(check)) } }
            div {
                (paragraph(&check.claim))
                @if read { p.reading { (check.reading) } }
                p.soft { (basis(check)) }
            }
        }
    }
}

/// The figure of a check with its unit and interval.
fn figure(check: &Check) -> String {
    let words = check.figure.words();
    if check.unit.is_empty() { words } else { format!("{words} {}", check.unit) }
}

/// The grounds of a check: the number of figures, the mean of each group, and the section that it is from.
fn basis(check: &Check) -> String {
    let mut parts = vec![format!("n = {}", check.n)];
    if check.groups.means.len() > 1 {
        let means: Vec<_> = check.groups.means.iter().map(|value| number(*value)).collect();
        parts.push(format!("by {} {}", check.groups.hole, means.join(", ")));
    }
    match check.section.as_str() {
        "" => {}
        section if section.starts_with('§') => parts.push(format!("paper, {section}")),
        other => parts.push(other.into()),
    }
    parts.join(" · ")
}
