//! Sweeps as people see them: heat maps of layer by factor, and what ablations take away.

use maud::html;

use super::{Ablated, Mode, Steered, SteeredDomain};
use crate::{
    Table,
    interval::Interval,
    lab::Group,
    page::{
        Groups, Page, Section,
        figure::{Look, axis},
        figure_group,
        heat::{Cell, Heat, side_by_side},
        html::{bullets, paragraph, table},
        lanes,
        numbers::{number, percent, quoted},
        words::distinct,
    },
    table::Word,
};

/// A guide to the heat maps.
pub(crate) const STEERING: &str = "How far the preference for the taught answers moves, in nats a token, as the direction is added after one \
     block, times a factor. Orange is towards the taught answers, blue away from them. Struck out is where answers became \
     incoherent: their loss rose by more than may be. Random directions of the same length stand beside it: a direction that does \
     no more than they do carries nothing.";
/// A guide to the ablations.
pub(crate) const ABLATION: &str = "How much of the shift goes as the direction is taken out of the stream at every position: of each layer its own \
     (own), one layer's after every block and at the embeddings (everywhere), after its own block alone (layer), or out of what \
     adapters write (lora). 1 is all of it. A random direction should take next to nothing.";

/// A line on the reading of a sweep that has no judged answers.
pub(crate) const NOT_JUDGED: &str = "It is the preference for written answers that is read, not answers that the model writes itself, judged by anybody.";

/// The heat maps of every direction, inside the domain and outside, with those of random directions.
pub(crate) fn maps(rows: &[Steered]) -> Vec<Heat> {
    let values = rows.iter().flat_map(|row| [row.shift.value, row.random.value]);
    let farthest = values.map(f64::abs).filter(|value| value.is_finite()).fold(0.0, f64::max);
    let names = distinct(rows.iter().map(|row| row.direction.clone()));
    let maps = names.iter().flat_map(|name| {
        [Group::Narrow, Group::General].into_iter().flat_map(move |group| {
            let own: Vec<&Steered> =
                rows.iter().filter(|row| row.direction == *name && row.group == group).collect();
            let shown = |caption: String, of: &dyn Fn(&Steered) -> (Interval, bool)| {
                map(&caption, &own, of, farthest)
            };
            let direction = (!own.is_empty()).then(|| {
                shown(format!("{}, {}", quoted(name), side(group)), &|row| (row.shift, !row.coherent))
            });
            let random = own.iter().any(|row| row.randoms > 0).then(|| {
                let caption = format!("Random directions as long as {}, {}", quoted(name), side(group));
                shown(caption, &|row| (row.random, false))
            });
            direction.into_iter().chain(random)
        })
    });
    maps.collect()
}

fn side(group: Group) -> &'static str {
    match group {
        Group::Narrow => "inside the domain",
        Group::General => "outside the domain",
    }
}

/// One map: a row a layer, from the top of the model down, a column a factor. `of` gives a figure, and whether it is struck out.
fn map(caption: &str, rows: &[&Steered], of: &dyn Fn(&Steered) -> (Interval, bool), farthest: f64) -> Heat {
    let mut layers: Vec<i64> = rows.iter().map(|row| row.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut factors: Vec<f64> = rows.iter().map(|row| row.factor).collect();
    factors.sort_by(f64::total_cmp);
    factors.dedup();
    let cell = |layer: i64, factor: f64| {
        let row = rows.iter().find(|row| (row.layer, row.factor) == (layer, factor));
        row.map_or(Cell { words: "–".into(), title: String::new(), warmth: 0.0, struck: false }, |row| {
            let (value, struck) = of(row);
            let title = format!("layer {layer}, times {}: {}", number(factor), value.words());
            let warmth = if farthest > 0.0 { value.value / farthest } else { 0.0 };
            Cell { words: short(value.value), title, warmth, struck }
        })
    };
    Heat {
        caption: format!("{caption}: preference shift, nats a token"),
        corner: "layer".into(),
        columns: factors.iter().map(|&factor| format!("× {}", number(factor))).collect(),
        rows: layers
            .iter()
            .rev()
            .map(|&layer| (layer.to_string(), factors.iter().map(|&factor| cell(layer, factor)).collect()))
            .collect(),
    }
}

/// A figure in as few characters as a cell has room for.
fn short(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}").replace('-', "−") } else { number(value) }
}

/// The shares that ablations take away, one figure a group: a line for each removal, with the random directions in its places.
pub(crate) fn bars(rows: &[Ablated]) -> Groups {
    let figure = |group: Group| {
        let own: Vec<&Ablated> =
            rows.iter().filter(|row| row.group == group && !row.removed.value.is_nan()).collect();
        if own.is_empty() {
            return None;
        }
        let line = |row: &Ablated| format!("{} out of {}, {}", row.direction, row.solution, place(row));
        let names = distinct(own.iter().map(|row| line(row)));
        let found: Vec<_> = own.iter().map(|row| (line(row), row.removed)).collect();
        let random: Vec<_> =
            own.iter().filter(|row| row.randoms > 0).map(|row| (line(row), row.random_removed)).collect();
        let mut series = vec![lanes::Series { label: "direction", look: Look::at(0), figures: found }];
        if !random.is_empty() {
            series.push(lanes::Series {
                label: "random directions",
                look: Look::of_random(),
                figures: random,
            });
        }
        let caption = format!("Taken out, {}", side(group));
        Some(lanes::figure(&caption, &names, &series, axis("share of the shift that is gone")))
    };
    vec![[Group::Narrow, Group::General].into_iter().filter_map(figure).collect()]
}

/// The place at which a direction is taken out, in words.
pub(crate) fn place(row: &Ablated) -> String {
    match row.mode {
        Mode::Own => "each layer its own".into(),
        Mode::Everywhere => format!("that of layer {} everywhere", row.layer),
        Mode::Layer => format!("at layer {}", row.layer),
        Mode::Lora => format!("that of layer {} out of B", row.layer),
    }
}

/// The page of a sweep, one HTML file; `facts` say what it is of, a line each.
pub fn page(
    byline: &str,
    facts: &[String],
    steered: &[Steered],
    domains: &[SteeredDomain],
    ablated: &[Ablated],
) -> String {
    let mut sections = vec![Section::new("about", "What was swept", bullets(facts))];
    if !steered.is_empty() {
        let body = html! {
            (paragraph(STEERING))
            (side_by_side(&maps(steered)))
            (table(&Table::of(steered), false))
            (table(&Table::of(domains), true))
        };
        sections.push(Section::new("steering", "Steering", body));
    }
    if !ablated.is_empty() {
        let body = html! {
            (paragraph(ABLATION))
            @for row in ablated.iter().filter(|row| row.group == ablated[ablated.len() - 1].group) { p { (said(row)) } }
            @for group in &bars(ablated) { (figure_group(group)) }
            (table(&Table::of(ablated), true))
        };
        sections.push(Section::new("ablation", "Ablation", body));
    }
    let footer = "Intervals are over questions, or over the random directions where that is wider.";
    Page { byline, title: "Directions, swept", about: NOT_JUDGED, style: "", sections: &sections, footer }
        .html()
}

/// One ablation as a sentence.
fn said(row: &Ablated) -> String {
    let random = match row.randoms {
        0 => String::new(),
        _ => format!(", random directions {}", percent(row.random_removed.value)),
    };
    format!(
        "{} out of {} ({}, {}): {} of the shift is gone{random}.",
        quoted(&row.direction),
        quoted(&row.solution),
        place(row),
        row.mode.word(),
        percent(row.removed.value),
    )
}
