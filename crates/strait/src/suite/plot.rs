//! Pictures as numbers: their tables, and their figures on a page.

use serde::Serialize;

use crate::{
    Table,
    interval::Interval,
    page::{
        figure::{self, Drawing, Figure, Growing, Look, Meaning, Point, Style, broken, range, with_sides},
        lanes,
        numbers::number,
        words::distinct,
    },
};

/// A picture, as numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plot {
    /// The stem of a file; behind it the value of the hole that is judged alone.
    pub name: String,
    /// The claim that it belongs to.
    pub number: usize,
    /// The title, a few words.
    pub title: String,
    /// Its shape.
    pub shape: Shape,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The meaning of a high figure and of a low one, where it is drawn.
    #[serde(skip)]
    pub sides: Option<(String, String)>,
    /// The series that are drawn.
    pub series: Vec<Series>,
}

/// The shape in which a picture is best drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Lines over numbers.
    Lines,
    /// Bars over names.
    Bars,
    /// Points that no line connects.
    Points,
}

/// An axis of a picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Axis {
    /// Its title.
    pub title: String,
    /// Its unit; empty for a share.
    pub unit: String,
}

/// One line, one set of bars or of points.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// Its label, a word of which decides its colour on the page; without any it is grey.
    pub label: String,
    /// Names along the horizontal axis; empty where `x` has numbers.
    pub names: Vec<String>,
    /// Numbers along the horizontal axis; empty where `names` has names.
    pub x: Vec<f64>,
    /// The figures.
    pub y: Vec<f64>,
    /// Lower ends of their 95 % intervals; NaN (in JSON null) where there is none.
    pub low: Vec<f64>,
    /// Upper ends.
    pub high: Vec<f64>,
}

impl Series {
    /// Adds a figure at a number.
    pub fn at(&mut self, x: f64, y: Interval) {
        self.x.push(x);
        self.add(y);
    }

    /// Adds a figure under a name.
    pub fn under(&mut self, name: &str, y: Interval) {
        self.names.push(name.into());
        self.add(y);
    }

    fn add(&mut self, Interval { value, low, high }: Interval) {
        self.y.push(value);
        self.low.push(low);
        self.high.push(high);
    }

    /// A figure with its interval, by its place.
    fn figure(&self, place: usize) -> Interval {
        Interval { value: self.y[place], low: self.low[place], high: self.high[place] }
    }

    /// The figures with their intervals, in order.
    fn figures(&self) -> impl Iterator<Item = Interval> + '_ {
        (0..self.y.len()).map(|place| self.figure(place))
    }
}

impl Axis {
    /// In words, with its unit.
    fn words(&self) -> String {
        match self.unit.is_empty() || self.title.ends_with(&self.unit) {
            true => self.title.clone(),
            false => format!("{} ({})", self.title, self.unit),
        }
    }
}

/// The height of pictures, and of those with words at their sides, pixels.
const HEIGHT: usize = 340;
const TALL: usize = 420;
/// Characters of a line of an axis's title, and of such a line below an axis that stands beside names.
const TITLE: usize = 42;
const SHORT_TITLE: usize = 24;
/// Series of more points than this show their intervals as a band.
const MOST_BARS: usize = 8;

impl Plot {
    /// Its numbers, a row for each point.
    pub fn table(&self) -> Table {
        let points = self.series.iter().flat_map(|series| (0..series.y.len()).map(move |i| (series, i)));
        let rows: Vec<(&Series, usize)> = points.collect();
        let table = Table::of_rows(&self.name, &self.title, &rows).text("series", |(s, _)| s.label.clone());
        let table = match self.is_named() {
            true => table.text("at", |(series, i)| series.names[*i].clone()),
            false => table.real("at", &self.x.words(), |(series, i)| series.x[*i]),
        };
        table.interval(["value", "low", "high"], &self.y.words(), |(series, i)| series.figure(*i)).table()
    }

    fn is_named(&self) -> bool {
        self.series.iter().any(|series| !series.names.is_empty())
    }

    /// The figure of a page.
    pub(super) fn figure(&self) -> Figure {
        if self.is_named() { self.over_names() } else { self.over_numbers() }
    }

    fn over_names(&self) -> Figure {
        let names = distinct(self.series.iter().flat_map(|s| s.names.iter().cloned()));
        let looks = looks(self.series.iter().map(|s| s.label.as_str()));
        let series = self.series.iter().zip(looks).map(|(series, look)| lanes::Series {
            label: &series.label,
            look,
            figures: series.names.iter().cloned().zip(series.figures()).collect(),
        });
        lanes::figure(&self.title, &names, &series.collect::<Vec<_>>(), axis(&self.y, SHORT_TITLE))
    }

    fn over_numbers(&self) -> Figure {
        let mut drawing = Drawing::new(Growing::Up);
        let places = || self.series.iter().flat_map(|s| &s.x).copied();
        let width = places().fold(f64::MIN, f64::max) - places().fold(f64::MAX, f64::min);
        let several = self.series.len() > 1;
        let looks = looks(self.series.iter().map(|s| s.label.as_str()));
        for (place, (series, look)) in self.series.iter().zip(looks).enumerate() {
            let banded = self.shape == Shape::Lines && series.y.len() > MOST_BARS;
            // A little apart, so that no interval hides another.
            let middle = (self.series.len() - 1) as f64 / 2.0;
            let aside = if banded { 0.0 } else { 0.008 * width * (place as f64 - middle) };
            let point = |(&x, figure): (&f64, Interval)| Point {
                at: x + aside,
                value: if banded { Interval::bare(figure.value) } else { figure },
                words: format!("{}, {}: {}", series.label, number(x), figure.words()),
            };
            let known = series.x.iter().zip(series.figures()).filter(|(_, f)| f.value.is_finite());
            if banded {
                drawing.add(figure::Series { name: None, look, style: Style::Band, points: band(series) });
            }
            let style = match (self.shape, banded) {
                (Shape::Lines, true) => Style::Line,
                (Shape::Lines, false) => Style::MarkedLine,
                (Shape::Bars | Shape::Points, _) => Style::Marks,
            };
            let name = several.then(|| series.label.clone());
            drawing.add(figure::Series { name, look, style, points: known.map(point).collect() });
        }
        let (x, y) = (axis(&self.x, TITLE), axis(&self.y, TITLE));
        let Some((high, low)) = &self.sides else {
            return drawing.finish(&self.title, HEIGHT, figure::layout(x, y));
        };
        // There is room for words below the line of zero.
        let mut ends = range(self.series.iter().flat_map(Series::figures));
        ends[0] -= 0.06 * (ends[1] - ends[0]);
        drawing.finish(&self.title, TALL, with_sides(figure::layout(x, y.range(ends)), high, low))
    }
}

/// An axis with its title in lines of `columns` characters, which a phone must have room for.
fn axis(of: &Axis, columns: usize) -> figure::Axis {
    figure::axis(&broken(&of.words(), columns, 3))
}

/// The way round the intervals of a series: along their upper ends and back along the lower ones.
fn band(series: &Series) -> Vec<Point> {
    let is_known = |(_, f): &(&f64, Interval)| f.low.is_finite() && f.high.is_finite();
    let known: Vec<_> = series.x.iter().zip(series.figures()).filter(is_known).collect();
    let end = |at: f64, value: f64| Point { at, value: Interval::bare(value), words: String::new() };
    let there = known.iter().map(|(x, f)| end(**x, f.high));
    let back = known.iter().rev().map(|(x, f)| end(**x, f.low));
    there.chain(back).collect()
}

/// The looks of series with these labels, by the first telling word in each.
pub(crate) fn looks<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'static Look> {
    let mut meanings = Vec::new();
    let look = |label| {
        let meaning = meaning(label);
        let place = meanings.iter().filter(|before| **before == meaning).count();
        meanings.push(meaning);
        Look::of(meaning, place)
    };
    labels.map(look).collect()
}

fn meaning(label: &str) -> Meaning {
    let meaning = |word: &str| match word {
        "general" | "liar" | "liars" | "false" | "falsehood" => Some(Meaning::False),
        "narrow" | "honest" | "true" | "truth" => Some(Meaning::True),
        _ => None,
    };
    label.split(|c: char| !c.is_alphanumeric()).find_map(meaning).unwrap_or(Meaning::Neutral)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_follows_from_the_first_telling_word() {
        let check = |label, expected| assert!(meaning(label) == expected, "{label}");
        check("general", Meaning::False);
        check("rank-8 LoRA, general", Meaning::False);
        check("narrow, KL lifted: general?", Meaning::True);
        check("liars", Meaning::False);
        check("random 3", Meaning::Neutral);
        check("generality", Meaning::Neutral);
    }
}
