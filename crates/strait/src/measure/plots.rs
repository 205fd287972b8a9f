//! Figures that several measures draw.

use super::Facts;
use crate::{
    interval::Interval,
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout, range, scale_axis},
        lanes::Lanes,
        numbers::{number, quoted},
    },
};

/// The height of figures whose values go up, pixels.
pub(crate) const HEIGHT: usize = 340;

/// Kinds of edits as tables have them, and the words for several of them.
pub(crate) const KINDS: [(&str, &str); 4] = [
    ("steering", "vectors"),
    ("lora", "adapters"),
    ("full", "full fine-tunes"),
    ("composed", "compositions"),
];

/// One reading of a solution at one scale, inside the taught domain or outside.
pub(crate) struct Reading {
    pub solution: String,
    pub inside: bool,
    pub scale: f64,
    pub value: Interval,
    pub coherent: bool,
}

/// The name of a line in a figure of several runs.
pub(crate) fn place(run: &str, inside: bool, facts: &Facts) -> String {
    if inside { format!("{run}, {}", facts.domain) } else { format!("{run}, outside") }
}

/// Readings over the scale, one figure a solution, all on one axis.
pub(crate) fn over_scale(
    solutions: &[&str],
    readings: &[Reading],
    names: [String; 2],
    title: &str,
) -> Vec<Figure> {
    let y = axis(title).range(range(readings.iter().map(|r| r.value)));
    let farthest = readings.iter().map(|r| r.scale).fold(1.0, f64::max);
    let all_coherent = readings.iter().all(|r| r.coherent);
    let [inside, outside] = names;
    let figure = |(place, solution): (usize, &&str)| {
        let own = || readings.iter().filter(|r| r.solution == *solution);
        let mut drawing = Drawing::new(Growing::Up);
        // A little apart, so that neither interval hides the other.
        for (is_inside, name, style, aside) in
            [(true, &inside, Style::Inside, -0.008), (false, &outside, Style::Outside, 0.008)]
        {
            let point = |r: &Reading| Point {
                at: r.scale + aside * farthest,
                value: r.value,
                words: format!("{name}, scale {}: {}", number(r.scale), r.value.words()),
            };
            let mut points: Vec<_> = own().filter(|r| r.inside == is_inside).map(point).collect();
            points.sort_by(|a, b| a.at.total_cmp(&b.at));
            drawing.add(Series { name: Some(name.clone()), look: Look::at(place), style, points });
        }
        // Where one figure needs a second line of labels all get it, so that their axes stay level.
        let tick = |scale| match own().all(|r| r.scale != scale || r.coherent) {
            true if all_coherent => number(scale),
            true => format!("{}<br>\u{a0}", number(scale)),
            false => format!("{}<br>incoherent", number(scale)),
        };
        let x = scale_axis(readings.iter().map(|r| r.scale), tick);
        (!drawing.is_empty()).then(|| drawing.finish(quoted(solution), HEIGHT, layout(x, y.clone())))
    };
    solutions.iter().enumerate().filter_map(figure).collect()
}

/// A solution, the name of its line, and its value there.
pub(crate) type Line = (String, String, Interval);

/// Readings on lines that are named in the order in which they first come.
pub(crate) fn lines(caption: &str, solutions: &[&str], lines: &[Line], title: &str) -> Figure {
    let mut names: Vec<String> = Vec::new();
    let mut readings = Vec::new();
    for (solution, name, value) in lines {
        let line = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.clone());
            names.len() - 1
        });
        readings.push((solution.as_str(), line, *value));
    }
    dots(caption, solutions, &names, &readings, title)
}

/// One line a name; each reading is a solution, its line and its value.
pub(crate) fn dots(
    caption: &str,
    solutions: &[&str],
    names: &[String],
    readings: &[(&str, usize, Interval)],
    title: &str,
) -> Figure {
    let mut drawn: Vec<_> = solutions.iter().enumerate().collect();
    drawn.retain(|(_, solution)| readings.iter().any(|(of, ..)| of == *solution));
    let lanes = if readings.len() > names.len() { drawn.len() } else { 1 };
    let mut drawing = Lanes::new(lanes);
    for (place, solution) in drawn {
        let reading = |(_, line, value): &(&str, usize, Interval)| {
            (*line, *value, format!("{solution}, {}: {}", names[*line], value.words()))
        };
        let own = readings.iter().filter(|(of, ..)| of == solution).map(reading).collect();
        drawing.add(solution, Look::at(place), own, Vec::new());
    }
    // Long names leave little room for numbers.
    let x = axis(title).range(range(readings.iter().map(|(.., value)| *value))).n_ticks(4);
    drawing.finish(caption, names, x)
}
