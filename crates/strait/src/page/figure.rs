//! How figures are drawn: looks, series, axes, and the JSON that the plotting library takes.
//!
//! Text and grid get no colours here: the page's style sheet sets them, so that one figure serves light, dark and print.

use plotly::{
    Configuration, Layout, Plot, Scatter,
    common::{
        Anchor, DashType, ErrorData, ErrorType, Fill, Font, HoverInfo, Line, Marker, MarkerSymbol, Mode,
        Orientation, Title,
    },
    configuration::DisplayModeBar,
    layout::{
        Annotation, Axis, DragMode, HoverMode, Legend, Margin, Shape, ShapeLayer, ShapeLine, ShapeType,
    },
};

use super::{
    html::escaped,
    words::{shortened, wrapped},
};
use crate::interval::Interval;

/// One figure.
pub(crate) struct Figure {
    /// What it shows, for its caption.
    pub caption: String,
    /// Pixels.
    pub height: usize,
    /// `data`, `layout` and `config`, safe inside a script element.
    pub json: String,
}

/// How a solution looks in every figure.
pub(crate) struct Look {
    colour: &'static str,
    filled: MarkerSymbol,
    open: MarkerSymbol,
    dash: DashType,
}

/// Orange, of a general solution and of falsehood.
const FALSE: &str = "#d55e00";
/// Blue, of a narrow solution and of truth.
const TRUE: &str = "#0c7bc0";
/// What belongs to no solution.
const GREY: &str = "#83817a";

/// The looks of solutions in their order in the study: told apart by the colour-blind, in grey by marker and dash, and with
/// a contrast of 3 or more against the light page and the dark one.
const LOOKS: [Look; 5] = [
    Look::new(FALSE, MarkerSymbol::Circle, MarkerSymbol::CircleOpen, DashType::Solid),
    Look::new(TRUE, MarkerSymbol::Square, MarkerSymbol::SquareOpen, DashType::Dash),
    Look::new("#009e73", MarkerSymbol::Diamond, MarkerSymbol::DiamondOpen, DashType::Dot),
    Look::new("#c26a9d", MarkerSymbol::TriangleUp, MarkerSymbol::TriangleUpOpen, DashType::DashDot),
    Look::new(GREY, MarkerSymbol::Cross, MarkerSymbol::CrossOpen, DashType::LongDash),
];
/// The looks of series whose colour has a meaning, by that meaning and by the place among series of the same meaning.
const MEANINGS: [[Look; 3]; 3] = [
    [
        Look::new(FALSE, MarkerSymbol::Circle, MarkerSymbol::CircleOpen, DashType::Solid),
        Look::new(FALSE, MarkerSymbol::TriangleUp, MarkerSymbol::TriangleUpOpen, DashType::DashDot),
        Look::new(FALSE, MarkerSymbol::Pentagon, MarkerSymbol::PentagonOpen, DashType::Dot),
    ],
    [
        Look::new(TRUE, MarkerSymbol::Square, MarkerSymbol::SquareOpen, DashType::Dash),
        Look::new(TRUE, MarkerSymbol::TriangleDown, MarkerSymbol::TriangleDownOpen, DashType::LongDashDot),
        Look::new(TRUE, MarkerSymbol::Hexagram, MarkerSymbol::HexagramOpen, DashType::Dot),
    ],
    [
        Look::new(GREY, MarkerSymbol::Diamond, MarkerSymbol::DiamondOpen, DashType::Solid),
        Look::new(GREY, MarkerSymbol::Cross, MarkerSymbol::CrossOpen, DashType::LongDash),
        Look::new(GREY, MarkerSymbol::Star, MarkerSymbol::StarOpen, DashType::Dot),
    ],
];

/// The look of random directions.
const RANDOM: Look = Look::new(GREY, MarkerSymbol::Circle, MarkerSymbol::CircleOpen, DashType::Solid);

/// What a colour stands for where three suffice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Falsehood, and what spreads it.
    False,
    /// Truth, and what keeps it.
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

impl Look {
    const fn new(colour: &'static str, filled: MarkerSymbol, open: MarkerSymbol, dash: DashType) -> Self {
        Self { colour, filled, open, dash }
    }

    /// That of what belongs to no solution.
    pub const GREY: &'static Self = &LOOKS[LOOKS.len() - 1];

    /// That of the solution at a place in the study.
    pub fn at(place: usize) -> &'static Self {
        &LOOKS[place % LOOKS.len()]
    }

    /// That of the series at a place among those of its meaning.
    pub fn of(meaning: Meaning, place: usize) -> &'static Self {
        &MEANINGS[meaning as usize][place % MEANINGS[0].len()]
    }

    /// That of what was drawn at random.
    pub fn of_random() -> &'static Self {
        &RANDOM
    }
}

/// What a series is drawn with.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// Filled markers.
    Marks,
    /// Open markers.
    OpenMarks,
    /// Small markers, for what a mean is made of.
    Dots,
    /// The area that the points go round, without markers and words.
    Band,
    /// Crosses, for what does not count.
    Crosses,
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
    /// What the legend calls it, if it names it.
    pub name: Option<String>,
    pub look: &'static Look,
    pub style: Style,
    pub points: Vec<Point>,
}

/// A value at a place along the other axis.
pub(crate) struct Point {
    pub at: f64,
    pub value: Interval,
    /// What is shown at the pointer.
    pub words: String,
}

/// Which way values grow.
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

    /// The figure, with its axes and whatever else the layout has.
    pub fn finish(self, caption: impl Into<String>, height: usize, layout: Layout) -> Figure {
        let mut plot = Plot::new();
        for series in self.series {
            plot.add_trace(trace(series, self.growing));
        }
        plot.set_layout(layout);
        plot.set_configuration(
            Configuration::new().responsive(true).display_mode_bar(DisplayModeBar::False).show_tips(false),
        );
        // A script element ends at its end tag, wherever that stands.
        Figure { caption: caption.into(), height, json: plot.to_json().replace('<', "\\u003c") }
    }
}

fn trace(series: Series, growing: Growing) -> Box<Scatter<f64, f64>> {
    let Series { name, look, style, points } = series;
    let (mode, symbol, dash) = match style {
        Style::Marks => (Mode::Markers, look.filled.clone(), DashType::Solid),
        Style::Dots => (Mode::Markers, look.open.clone(), DashType::Solid),
        Style::OpenMarks => (Mode::Markers, look.open.clone(), DashType::Solid),
        Style::Band => (Mode::Lines, look.filled.clone(), DashType::Solid),
        Style::Crosses => (Mode::Markers, MarkerSymbol::X, DashType::Solid),
        Style::Line => (Mode::Lines, look.filled.clone(), look.dash.clone()),
        Style::MarkedLine => (Mode::LinesMarkers, look.filled.clone(), look.dash.clone()),
        Style::Inside => (Mode::LinesMarkers, look.filled.clone(), DashType::Solid),
        Style::Outside => (Mode::LinesMarkers, look.open.clone(), DashType::Dash),
    };
    let size = if matches!(style, Style::Dots) { 6 } else { 9 };
    let places = points.iter().map(|p| p.at).collect();
    let values = points.iter().map(|p| p.value.value).collect();
    let (x, y) = match growing {
        Growing::Up => (places, values),
        Growing::Right => (values, places),
    };
    let trace = Scatter::new(x, y)
        .show_legend(name.is_some())
        .name(name.map(|name| broken(&name, LEGEND, 2)).unwrap_or_default())
        .mode(mode)
        .hover_text_array(points.iter().map(|p| escaped(&p.words)).collect())
        .hover_info(HoverInfo::Text)
        .line(Line::new().color(look.colour).width(1.5).dash(dash))
        .marker(Marker::new().color(look.colour).size(size).symbol(symbol));
    if matches!(style, Style::Band) {
        // The last two digits are how little of the page it covers.
        return trace
            .fill(Fill::ToSelf)
            .fill_color(format!("{}30", look.colour))
            .line(Line::new().width(0.0))
            .hover_info(HoverInfo::Skip);
    }
    if points.iter().all(|p| p.value.low.is_nan()) {
        return trace;
    }
    let interval = ErrorData::new(ErrorType::Data)
        .symmetric(false)
        .array(points.iter().map(|p| p.value.high - p.value.value).collect())
        .array_minus(points.iter().map(|p| p.value.value - p.value.low).collect())
        .thickness(1.5)
        .width(4)
        .color(look.colour);
    match growing {
        Growing::Up => trace.error_y(interval),
        Growing::Right => trace.error_x(interval),
    }
}

/// A name as it may stand in a figure, whose texts know some HTML.
pub(crate) fn label(name: &str) -> String {
    escaped(&shortened(name, NAME))
}

/// Text as it may stand in a figure, in at most `most` lines of `columns` characters.
pub(crate) fn broken(text: &str, columns: usize, most: usize) -> String {
    let lines: Vec<_> = wrapped(text, columns, most).iter().map(|line| escaped(line)).collect();
    lines.join("<br>")
}

pub(crate) fn axis(title: &str) -> Axis {
    let title = Title::with_text(title).font(Font::new().size(TEXT));
    Axis::new().title(title).auto_margin(true).zero_line(true).fixed_range(true)
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

/// An axis of names, from the top down.
pub(crate) fn name_axis(names: &[String]) -> Axis {
    label_axis(names.iter().map(|name| label(name)).collect())
}

/// An axis of labels that may stand in a figure as they are, from the top down.
pub(crate) fn label_axis(labels: Vec<String>) -> Axis {
    axis("")
        .range(vec![labels.len() as f64 - 0.5, -0.5])
        .tick_values((0..labels.len()).map(|i| i as f64).collect())
        .tick_text(labels)
        .zero_line(false)
}

pub(crate) fn layout(x: Axis, y: Axis) -> Layout {
    const CLEAR: &str = "rgba(0,0,0,0)";
    let legend = Legend::new()
        .orientation(Orientation::Horizontal)
        .x(0.0)
        .x_anchor(Anchor::Left)
        .y(1.02)
        .y_anchor(Anchor::Bottom)
        .background_color(CLEAR);
    Layout::new()
        .x_axis(x)
        .y_axis(y)
        .legend(legend)
        .show_legend(true)
        .paper_background_color(CLEAR)
        .plot_background_color(CLEAR)
        .font(Font::new().family("system-ui, sans-serif").size(TEXT))
        .margin(Margin::new().left(16).right(16).top(16).bottom(16))
        .hover_mode(HoverMode::Closest)
        .drag_mode(DragMode::False)
}

/// A dashed line across the figure, with words at its left end.
pub(crate) fn with_limit(layout: Layout, at: f64, words: String) -> Layout {
    let line = Shape::new()
        .shape_type(ShapeType::Line)
        .x_ref("paper")
        .x0(0.0)
        .x1(1.0)
        .y0(at)
        .y1(at)
        .layer(ShapeLayer::Below)
        .line(ShapeLine::new().color(GREY).width(1.5).dash(DashType::Dash));
    let words = Annotation::new()
        .text(words)
        .show_arrow(false)
        .x_ref("paper")
        .x(0.0)
        .x_anchor(Anchor::Left)
        .y(at)
        .y_anchor(Anchor::Bottom);
    layout.shapes(vec![line]).annotations(vec![words])
}

/// Words in the corner at the top right and in that at the bottom left: what a high figure speaks for, and a low one.
pub(crate) fn with_sides(layout: Layout, high: &str, low: &str) -> Layout {
    let corner = |words: &str, x: f64, x_anchor: Anchor, y: f64, y_anchor: Anchor| {
        Annotation::new()
            .text(words)
            .show_arrow(false)
            .x_ref("paper")
            .y_ref("paper")
            .x(x)
            .x_anchor(x_anchor)
            .y(y)
            .y_anchor(y_anchor)
    };
    layout.annotations(vec![
        corner(high, 1.0, Anchor::Right, 1.0, Anchor::Top),
        corner(low, 0.0, Anchor::Left, 0.0, Anchor::Bottom),
    ])
}

/// A word above each of some places.
pub(crate) fn with_labels(layout: Layout, labels: impl Iterator<Item = (f64, f64, String)>) -> Layout {
    let label = |(x, y, words): (f64, f64, String)| {
        Annotation::new()
            .text(label(&words))
            .show_arrow(false)
            .x(x)
            .x_anchor(Anchor::Left)
            .y(y)
            .y_anchor(Anchor::Bottom)
    };
    layout.annotations(labels.filter(|(x, y, _)| x.is_finite() && y.is_finite()).map(label).collect())
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
