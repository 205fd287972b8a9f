//! Figures: looks, series, axes, and the JSON that the plotting library takes.
//!
//! Text and grid get no colours here: the page's style sheet sets them, so that one figure serves light, dark and print.

use maud::html;
use serde_json::{Value, json};

use super::words::{shortened, wrapped};
use crate::interval::Interval;

/// The plotting library, plotly.js, as it stands in a page's script.
pub(crate) const LIBRARY: &str = include_str!("plotly/plotly-basic.min.js");

/// One figure.
pub(crate) struct Figure {
    /// Its caption.
    pub caption: String,
    /// Pixels.
    pub height: usize,
    /// `data`, `layout` and `config`, safe inside a script element.
    pub json: String,
}

/// The look of a solution, the same in every figure.
pub(crate) struct Look {
    colour: &'static str,
    symbol: &'static str,
    dash: &'static str,
}

/// Orange, of a general solution and of falsehood.
const FALSE: &str = "#d55e00";
/// Blue, of a narrow solution and of truth.
const TRUE: &str = "#0c7bc0";
/// Grey, of everything that belongs to no solution.
const GREY: &str = "#83817a";

/// The looks of solutions in their order in the study: told apart by the colour-blind, in grey by marker and dash, and with
/// a contrast of 3 or more against the light page and the dark one.
const LOOKS: [Look; 5] = [
    Look::new(FALSE, "circle", "solid"),
    Look::new(TRUE, "square", "dash"),
    Look::new("#009e73", "diamond", "dot"),
    Look::new("#c26a9d", "triangle-up", "dashdot"),
    Look::new(GREY, "cross", "longdash"),
];
/// The looks of series whose colour has a meaning, by that meaning and by the place among series of the same meaning.
const MEANINGS: [[Look; 3]; 3] = [
    [
        Look::new(FALSE, "circle", "solid"),
        Look::new(FALSE, "triangle-up", "dashdot"),
        Look::new(FALSE, "pentagon", "dot"),
    ],
    [
        Look::new(TRUE, "square", "dash"),
        Look::new(TRUE, "triangle-down", "longdashdot"),
        Look::new(TRUE, "hexagram", "dot"),
    ],
    [
        Look::new(GREY, "diamond", "solid"),
        Look::new(GREY, "cross", "longdash"),
        Look::new(GREY, "star", "dot"),
    ],
];

/// The look of random directions.
const RANDOM: Look = Look::new(GREY, "circle", "solid");

/// The meaning of a colour where three suffice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Falsehood, and solutions that spread it.
    False,
    /// Truth, and solutions that keep it.
    True,
    /// Neither.
    Neutral,
}

/// Characters of a name that a figure shows.
const NAME: usize = 20;
/// Characters of a line of a legend.
const LEGEND: usize = 34;
/// The size of all text, pixels.
const TEXT: usize = 13;
/// Pixels left of a plot, room for the numbers of an axis and its title. A margin as wide as the numbers would go round in a circle:
/// it changes the plot's width, that the lines of the legend, these the plot's height, and that the numbers.
const LEFT: usize = 64;

impl Look {
    const fn new(colour: &'static str, symbol: &'static str, dash: &'static str) -> Self {
        Self { colour, symbol, dash }
    }

    fn open_symbol(&self) -> String {
        format!("{}-open", self.symbol)
    }

    /// The look of everything that belongs to no solution.
    pub const GREY: &'static Self = &LOOKS[LOOKS.len() - 1];

    /// The look of the solution at a place in the study.
    pub fn at(place: usize) -> &'static Self {
        &LOOKS[place % LOOKS.len()]
    }

    /// The look of the series at a place among those of its meaning.
    pub fn of(meaning: Meaning, place: usize) -> &'static Self {
        &MEANINGS[meaning as usize][place % MEANINGS[0].len()]
    }

    /// The look of random directions.
    pub fn of_random() -> &'static Self {
        &RANDOM
    }
}

/// The marks and lines of a series.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// Filled markers.
    Marks,
    /// Open markers.
    OpenMarks,
    /// Small markers, for the values that a mean is made of.
    Dots,
    /// The area that the points go round, without markers and words.
    Band,
    /// Crosses, for values that do not count.
    Crosses,
    /// Large rings, for marks that move.
    Rings,
    /// The look's own line.
    Line,
    /// The look's own line with filled markers.
    MarkedLine,
    /// A solid line with filled markers: inside the taught domain.
    Inside,
    /// A dashed line with open markers: outside the taught domain.
    Outside,
}

/// Points drawn alike.
pub(crate) struct Series {
    /// Its name in the legend, if it has one.
    pub name: Option<String>,
    pub look: &'static Look,
    pub style: Style,
    pub points: Vec<Point>,
}

/// A value at a place along the other axis.
pub(crate) struct Point {
    pub at: f64,
    pub value: Interval,
    /// The words that are shown at the pointer.
    pub words: String,
}

/// The direction in which values grow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growing {
    Up,
    Right,
}

/// A figure in the making.
pub(crate) struct Drawing {
    growing: Growing,
    series: Vec<Series>,
}

impl Drawing {
    pub fn new(growing: Growing) -> Self {
        Self { growing, series: Vec::new() }
    }

    /// Adds a series, unless it has no points.
    pub fn add(&mut self, series: Series) {
        if !series.points.is_empty() {
            self.series.push(series);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The number of series so far, which is the place of the next one.
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// The figure, with its layout.
    pub fn finish(self, caption: impl Into<String>, height: usize, layout: Layout) -> Figure {
        let data: Vec<_> = self.series.into_iter().map(|series| trace(series, self.growing)).collect();
        let config = json!({ "responsive": true, "displayModeBar": false, "showTips": false });
        let plot = json!({ "data": data, "layout": layout.0, "config": config });
        // A script element ends at its end tag, wherever that stands.
        Figure { caption: caption.into(), height, json: plot.to_string().replace('<', "\\u003c") }
    }
}

fn trace(series: Series, growing: Growing) -> Value {
    let Series { name, look, style, points } = series;
    let (mode, symbol, dash) = match style {
        Style::Marks => ("markers", look.symbol.to_owned(), "solid"),
        Style::Dots | Style::OpenMarks => ("markers", look.open_symbol(), "solid"),
        Style::Band => ("lines", look.symbol.to_owned(), "solid"),
        Style::Crosses => ("markers", "x".to_owned(), "solid"),
        Style::Rings => ("markers", "circle-open".to_owned(), "solid"),
        Style::Line => ("lines", look.symbol.to_owned(), look.dash),
        Style::MarkedLine => ("lines+markers", look.symbol.to_owned(), look.dash),
        Style::Inside => ("lines+markers", look.symbol.to_owned(), "solid"),
        Style::Outside => ("lines+markers", look.open_symbol(), "dash"),
    };
    let size = match style {
        Style::Dots => 6,
        Style::Rings => 17,
        _ => 9,
    };
    let of_points = |value: fn(&Point) -> f64| points.iter().map(value).collect::<Vec<f64>>();
    let (at, values, error) = match growing {
        Growing::Up => ("x", "y", "error_y"),
        Growing::Right => ("y", "x", "error_x"),
    };
    let mut trace = json!({
        "type": "scatter",
        "mode": mode,
        "name": name.as_ref().map(|name| broken(name, LEGEND, 2)).unwrap_or_default(),
        "showlegend": name.is_some(),
        at: of_points(|p| p.at),
        values: of_points(|p| p.value.value),
        "hovertext": points.iter().map(|p| escaped(&p.words)).collect::<Vec<_>>(),
        "hoverinfo": "text",
        "line": { "color": look.colour, "width": 1.5, "dash": dash },
        "marker": { "color": look.colour, "size": size, "symbol": symbol },
    });
    if matches!(style, Style::Band) {
        trace["fill"] = json!("toself");
        // The last two digits are how little of the page it covers.
        trace["fillcolor"] = json!(format!("{}30", look.colour));
        trace["line"] = json!({ "width": 0 });
        trace["hoverinfo"] = json!("skip");
    } else if points.iter().any(|p| !p.value.low.is_nan()) {
        trace[error] = json!({
            "type": "data",
            "symmetric": false,
            "array": of_points(|p| p.value.high - p.value.value),
            "arrayminus": of_points(|p| p.value.value - p.value.low),
            "color": look.colour,
            "thickness": 1.5,
            "width": 4,
        });
    }
    trace
}

/// Text as it may stand in a figure, whose texts know some HTML.
pub(super) fn escaped(text: &str) -> String {
    html! { (text) }.into_string()
}

/// A name as it may stand in a figure.
fn label(name: &str) -> String {
    escaped(&shortened(name, NAME))
}

/// Text as it may stand in a figure, in at most `most` lines of `columns` characters.
pub(crate) fn broken(text: &str, columns: usize, most: usize) -> String {
    let lines: Vec<_> = wrapped(text, columns, most).iter().map(|line| escaped(line)).collect();
    lines.join("<br>")
}

/// An axis as the library takes it.
#[derive(Clone)]
pub(crate) struct Axis(Value);

impl Axis {
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0[key] = value.into();
        self
    }

    pub fn range(self, ends: Vec<f64>) -> Self {
        self.with("range", ends)
    }

    /// Ticks at these values alone.
    pub fn tick_values(self, values: Vec<f64>) -> Self {
        self.with("tickvals", values)
    }

    /// The words at its ticks, in the order of [`tick_values`](Self::tick_values).
    pub fn tick_text(self, words: Vec<String>) -> Self {
        self.with("ticktext", words)
    }

    /// At most so many ticks.
    pub fn n_ticks(self, most: usize) -> Self {
        self.with("nticks", most)
    }

    /// With a line of its own at zero, or without.
    pub fn zero_line(self, shown: bool) -> Self {
        self.with("zeroline", shown)
    }
}

pub(crate) fn axis(title: &str) -> Axis {
    Axis(json!({
        "title": { "text": title, "font": { "size": TEXT } },
        "automargin": true,
        "zeroline": true,
        "fixedrange": true,
    }))
}

/// An axis of scales, a tick for each; `words` names one.
pub(crate) fn scale_axis(scales: impl Iterator<Item = f64>, words: impl Fn(f64) -> String) -> Axis {
    let mut scales: Vec<_> = scales.collect();
    scales.sort_by(f64::total_cmp);
    scales.dedup();
    let farthest = scales.last().copied().unwrap_or(1.0);
    axis("scale of the solution")
        .range(vec![0.0, farthest * 1.1])
        .tick_text(scales.iter().map(|&scale| words(scale)).collect())
        .tick_values(scales)
}

/// An axis of labels that may stand in a figure as they are, from the top down.
pub(crate) fn label_axis(labels: Vec<String>) -> Axis {
    axis("")
        .range(vec![labels.len() as f64 - 0.5, -0.5])
        .tick_values((0..labels.len()).map(|i| i as f64).collect())
        .tick_text(labels)
        .zero_line(false)
}

/// All of a figure but its series, as the library takes it.
pub(crate) struct Layout(Value);

impl Layout {
    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }
}

pub(crate) fn layout(x: Axis, y: Axis) -> Layout {
    const CLEAR: &str = "rgba(0,0,0,0)";
    Layout(json!({
        "xaxis": x.0,
        "yaxis": y.0,
        "showlegend": true,
        "legend": {
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "bgcolor": CLEAR,
        },
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": { "family": "system-ui, sans-serif", "size": TEXT },
        "margin": { "l": LEFT, "r": 16, "t": 16, "b": 16 },
        "hovermode": "closest",
        "dragmode": false,
    }))
}

/// A dashed line across the figure, with words at its left end.
pub(crate) fn with_limit(layout: Layout, at: f64, words: String) -> Layout {
    let line = json!({
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at, "layer": "below",
        "line": { "color": GREY, "width": 1.5, "dash": "dash" },
    });
    let words = json!({
        "text": words, "showarrow": false,
        "xref": "paper", "x": 0, "xanchor": "left", "y": at, "yanchor": "bottom",
    });
    layout.with("shapes", json!([line])).with("annotations", json!([words]))
}

/// Words in the corner at the top right and in that at the bottom left: the meaning of a high figure and of a low one.
pub(crate) fn with_sides(layout: Layout, high: &str, low: &str) -> Layout {
    let high = json!({
        "text": high, "showarrow": false, "xref": "paper", "yref": "paper",
        "x": 1, "xanchor": "right", "y": 1, "yanchor": "top",
    });
    let low = json!({
        "text": low, "showarrow": false, "xref": "paper", "yref": "paper",
        "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom",
    });
    layout.with("annotations", json!([high, low]))
}

/// A word above each of some places.
pub(crate) fn with_labels(layout: Layout, labels: impl Iterator<Item = (f64, f64, String)>) -> Layout {
    let label = |(x, y, words): (f64, f64, String)| {
        json!({
            "text": label(&words), "showarrow": false, "x": x, "xanchor": "left", "y": y, "yanchor": "bottom",
        })
    };
    let labels = labels.filter(|(x, y, _)| x.is_finite() && y.is_finite()).map(label);
    layout.with("annotations", labels.collect())
}

/// From the lowest to the highest end of all intervals, zero within, with a little room.
pub(crate) fn range(estimates: impl Iterator<Item = Interval>) -> Vec<f64> {
    let (mut low, mut high) = (0.0_f64, 0.0_f64);
    for end in estimates.flat_map(|e| [e.value, e.low, e.high]).filter(|end| end.is_finite()) {
        (low, high) = (low.min(end), high.max(end));
    }
    let room = if high > low { 0.06 * (high - low) } else { 1.0 };
    vec![low - room, high + room]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_end_the_script_or_mark_up_a_legend() {
        let mut drawing = Drawing::new(Growing::Up);
        let points = vec![Point { at: 1.0, value: Interval::NONE, words: "</script><b>".into() }];
        drawing.add(Series {
            name: Some("</script><a>".into()),
            look: Look::at(7),
            style: Style::Line,
            points,
        });
        let json = drawing.finish("", 1, layout(axis("x"), axis("y"))).json;
        assert!(!json.contains('<'), "{json}");
        assert!(json.contains("&lt;/script&gt;&lt;a&gt;"), "{json}");
    }

    #[test]
    fn a_range_holds_zero_and_all_finite_ends() {
        let estimate = |value, low, high| Interval { value, low, high };
        let ends = range([estimate(2.0, 1.0, 3.0), estimate(5.0, f64::NAN, f64::INFINITY)].into_iter());
        assert!(ends[0] < 0.0 && ends[1] > 5.0 && ends[1] < 6.0, "{ends:?}");
        assert_eq!(range(std::iter::empty()), [-1.0, 1.0]);
    }
}
