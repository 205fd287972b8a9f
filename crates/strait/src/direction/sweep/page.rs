//! Sweeps as people see them: heat maps of layer by factor, and what ablations take away.

use maud::html;

use super::{Ablated, AblatedRate, Mode, Steered, SteeredDomain, SteeredRate};
use crate::{
    Table,
    behaviour::COMMON,
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

/// A guide to the heat maps of judged answers.
pub(crate) const STEERING_RATES: &str = "The same, read by answers that the model writes itself and a judge scores: how many are of the taught kind, and how many \
     make sense. Orange is more than without the direction, blue is less. Struck out is where at most half of them make sense: what \
     makes no sense is of no kind. Intervals are over questions, and no narrower than the number of answers leaves them.";
/// A guide to the ablations by judged answers.
pub(crate) const ABLATION_RATES: &str = "The same, read by answers that the solution writes itself and a judge scores: the rate of taught answers without the direction, \
     beside that of the solution as it is, of base, and with random directions taken out.";

/// A line on the reading of a sweep that has no judged answers.
pub(crate) const NOT_JUDGED: &str = "It is the preference for written answers that is read, not answers that the model writes itself, judged by anybody.";

/// The same of a sweep that has them.
const JUDGED: &str = "It is read twice: by the preference for written answers, and by answers that the model writes itself, which are worth what \
     their judge is worth.";

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
                let cell = |row: &&Steered| {
                    let (value, struck) = of(row);
                    let warmth = if farthest > 0.0 { value.value / farthest } else { 0.0 };
                    Read {
                        layer: row.layer,
                        factor: row.factor,
                        value,
                        words: short(value.value),
                        warmth,
                        struck,
                    }
                };
                map(
                    format!("{caption}: preference shift, nats a token"),
                    &own.iter().map(cell).collect::<Vec<_>>(),
                )
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

/// The heat maps of judged answers of every direction: taught answers, those with random directions, and coherent answers.
pub(crate) fn rate_maps(rows: &[SteeredRate]) -> Vec<Heat> {
    let names = distinct(rows.iter().map(|row| row.direction.clone()));
    let verdicts = distinct(rows.iter().map(|row| row.verdict.clone()));
    let mut maps = Vec::new();
    for (name, verdict) in names.iter().flat_map(|name| verdicts.iter().map(move |verdict| (name, verdict))) {
        for group in [Group::Narrow, Group::General] {
            let own: Vec<&SteeredRate> = rows
                .iter()
                .filter(|row| row.direction == *name && row.verdict == *verdict && row.group == group)
                .collect();
            if own.is_empty() {
                continue;
            }
            // A share, and how far it lies from that without the direction.
            type Of = fn(&SteeredRate) -> (Interval, f64);
            let shown = |caption: String, of: Of, strikes: bool| {
                let cell = |row: &&SteeredRate| {
                    let (value, change) = of(row);
                    let struck = strikes && row.coherent.value <= COMMON;
                    let words = percent(value.value);
                    Read { layer: row.layer, factor: row.factor, value, words, warmth: change, struck }
                };
                map(caption, &own.iter().map(cell).collect::<Vec<_>>())
            };
            let said = format!("{}, {}", quoted(name), side(group));
            let kind = format!("answers of the taught kind ({verdict})");
            maps.push(shown(format!("{said}: {kind}"), |row| (row.rate, row.rise.value), true));
            if own.iter().any(|row| row.randoms > 0) {
                let caption = format!("Random directions as long as {said}: {kind}");
                maps.push(shown(caption, |row| (row.random, row.random.value - row.before.value), false));
            }
            let caption = format!("{said}: answers that make sense");
            maps.push(shown(caption, |row| (row.coherent, row.coherent.value - row.coherent_before), false));
        }
    }
    maps
}

/// What is read at one layer by one factor.
struct Read {
    layer: i64,
    factor: f64,
    value: Interval,
    words: String,
    warmth: f64,
    struck: bool,
}

/// One map: a row a layer, from the top of the model down, a column a factor.
fn map(caption: String, read: &[Read]) -> Heat {
    let mut layers: Vec<i64> = read.iter().map(|read| read.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut factors: Vec<f64> = read.iter().map(|read| read.factor).collect();
    factors.sort_by(f64::total_cmp);
    factors.dedup();
    let cell = |layer: i64, factor: f64| {
        let found = read.iter().find(|read| (read.layer, read.factor) == (layer, factor));
        found.map_or(Cell { words: "–".into(), title: String::new(), warmth: 0.0, struck: false }, |read| {
            let title = format!("layer {layer}, times {}: {}", number(factor), read.value.words());
            Cell { words: read.words.clone(), title, warmth: read.warmth, struck: read.struck }
        })
    };
    Heat {
        caption,
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

/// The rates of taught answers after ablations, one figure a group, with those before, of base and of random directions.
pub(crate) fn rate_bars(rows: &[AblatedRate]) -> Groups {
    let first = rows.first().map_or("", |row| row.verdict.as_str());
    let figure = |group: Group| {
        let own: Vec<&AblatedRate> =
            rows.iter().filter(|row| row.group == group && row.verdict == first).collect();
        if own.is_empty() {
            return None;
        }
        let line = |row: &AblatedRate| {
            let at = place_of(row.mode, row.layer);
            format!("{} out of {}, {at}", row.direction, row.solution)
        };
        let names = distinct(own.iter().map(|row| line(row)));
        let series = |label, look, of: fn(&AblatedRate) -> Interval| {
            let figures = own.iter().map(|row| (line(row), of(row))).collect();
            lanes::Series { label, look, figures }
        };
        let mut all = vec![
            series("direction taken out", Look::at(0), |row| row.rate),
            series("as it is", Look::at(1), |row| row.before),
            series("base", Look::at(2), |row| row.base),
        ];
        if own.iter().any(|row| row.randoms > 0) {
            all.push(series("random directions taken out", Look::of_random(), |row| row.random));
        }
        let caption = format!("Taken out, {}: answers of the taught kind ({first})", side(group));
        Some(lanes::figure(&caption, &names, &all, axis("share of answers")))
    };
    vec![[Group::Narrow, Group::General].into_iter().filter_map(figure).collect()]
}

/// The place at which a direction is taken out, in words.
pub(crate) fn place(row: &Ablated) -> String {
    place_of(row.mode, row.layer)
}

fn place_of(mode: Mode, layer: f64) -> String {
    match mode {
        Mode::Own => "each layer its own".into(),
        Mode::Everywhere => format!("that of layer {layer} everywhere"),
        Mode::Layer => format!("at layer {layer}"),
        Mode::Lora => format!("that of layer {layer} out of B"),
    }
}

/// The rows of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// Steering, by preference shifts.
    pub steered: Vec<Steered>,
    /// The same, domain by domain.
    pub domains: Vec<SteeredDomain>,
    /// Ablation, by preference shifts.
    pub ablated: Vec<Ablated>,
    /// Steering, by judged answers.
    pub steered_rates: Vec<SteeredRate>,
    /// Ablation, by judged answers.
    pub ablated_rates: Vec<AblatedRate>,
}

impl Swept {
    /// The tables that have rows.
    pub fn tables(&self) -> Vec<Table> {
        let all = [
            Table::of(&self.steered),
            Table::of(&self.domains),
            Table::of(&self.ablated),
            Table::of(&self.steered_rates),
            Table::of(&self.ablated_rates),
        ];
        all.into_iter().filter(|table| table.rows() > 0).collect()
    }

    fn is_judged(&self) -> bool {
        !(self.steered_rates.is_empty() && self.ablated_rates.is_empty())
    }
}

/// The page of a sweep, one HTML file; `facts` say what it is of, a line each.
pub fn page(byline: &str, facts: &[String], swept: &Swept) -> String {
    let Swept { steered, domains, ablated, steered_rates, ablated_rates } = swept;
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
    if !steered_rates.is_empty() {
        let body = html! {
            (paragraph(STEERING_RATES))
            (side_by_side(&rate_maps(steered_rates)))
            (table(&Table::of(steered_rates), true))
        };
        sections.push(Section::new("steering-rates", "Steering by judged answers", body));
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
    if !ablated_rates.is_empty() {
        let body = html! {
            (paragraph(ABLATION_RATES))
            @for group in &rate_bars(ablated_rates) { (figure_group(group)) }
            (table(&Table::of(ablated_rates), true))
        };
        sections.push(Section::new("ablation-rates", "Ablation by judged answers", body));
    }
    let about = if swept.is_judged() { JUDGED } else { NOT_JUDGED };
    let footer = "Intervals are over questions, or over the random directions where that is wider.";
    Page { byline, title: "Directions, swept", about, style: "", sections: &sections, footer }.html()
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
