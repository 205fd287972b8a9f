//! The heat map of a verdict's rate over all cuts.

use maud::{Markup, html};

use crate::{
    page::{html::scrolled, numbers::percent},
    verdict::Thresholds,
};

/// Every second cut is shown: the numbers of all are in `--json`.
const SHOWN: usize = 2;

/// A table whose cells are the darker the higher the rate; the number in it carries the meaning.
pub fn map(group: &str, thresholds: &Thresholds) -> Markup {
    let Thresholds { scale, side, cuts, coherent, rates } = thresholds;
    let cell = |rate: f64| {
        html! { td.number style={ "--heat:" (format!("{:.0}", rate * 100.0)) "%" } { (format!("{:.0}", rate * 100.0)) } }
    };
    let table = html! {
        table.heat {
            caption { (group) ": percent of all answers with " (scale) " " (side) " the cut of a column"
                @if !coherent.is_empty() { ", and coherent above that of a row" } }
            thead { tr {
                th scope="col" { @if !coherent.is_empty() { "coherent >" } }
                @for cut in cuts.iter().step_by(SHOWN) { th.number scope="col" { (side) " " (cut) } }
            } }
            tbody { @for (at, row) in rates.iter().enumerate().step_by(SHOWN) { tr {
                th.number scope="row" { @if let Some(above) = coherent.get(at) { (above) } @else { "all" } }
                @for rate in row.iter().step_by(SHOWN) { (cell(*rate)) }
            } } }
        }
    };
    let most = rates.iter().flatten().copied().fold(0.0, f64::max);
    html! { (scrolled(&format!("{group}, {scale}"), &table)) p.soft { "The highest is " (percent(most)) "." } }
}
