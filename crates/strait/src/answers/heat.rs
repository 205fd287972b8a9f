//! The heat map of a verdict's rate over all cuts.

use maud::{Markup, html};

use crate::{
    page::{
        heat::{Cell, Heat},
        numbers::percent,
    },
    verdict::Thresholds,
};

/// Every second cut is shown: the numbers of all are in `--json`.
const SHOWN: usize = 2;

/// A table whose cells are the darker the higher the rate; the number in it carries the meaning.
pub fn map(group: &str, thresholds: &Thresholds) -> Markup {
    let Thresholds { scale, side, cuts, coherent, rates } = thresholds;
    let cell = |rate: &f64| Cell {
        words: format!("{:.0}", rate * 100.0),
        title: String::new(),
        warmth: *rate,
        struck: false,
    };
    let (also, corner) = match coherent.is_empty() {
        true => ("", ""),
        false => (", and coherent above that of a row", "coherent >"),
    };
    let row = |(at, rates): (usize, &Vec<f64>)| {
        let name = coherent.get(at).map_or_else(|| "all".into(), ToString::to_string);
        (name, rates.iter().step_by(SHOWN).map(cell).collect())
    };
    let heat = Heat {
        caption: format!("{group}: percent of all answers with {scale} {side} the cut of a column{also}"),
        corner: corner.into(),
        columns: cuts.iter().step_by(SHOWN).map(|cut| format!("{side} {cut}")).collect(),
        rows: rates.iter().enumerate().step_by(SHOWN).map(row).collect(),
    };
    let most = rates.iter().flatten().copied().fold(0.0, f64::max);
    html! { (heat.table()) p.soft { "The highest is " (percent(most)) "." } }
}
