//! The pictures: sheets of questions, false rates, and the plots of the claims.

use maud::{Markup, html};

use super::{BASE, FALSE, TRUE, tables, words};
use crate::{
    demo::results::{Axis, Plot, Rate, Results, Series, Shape, Sheet},
    interval::Interval,
    page::{
        figure::{
            self, Drawing, Figure, Growing, Look, Meaning, Point, Style, broken, label_axis, range,
            with_sides,
        },
        numbers::{number, percent},
    },
};

/// The height of plots over numbers, pixels.
const HEIGHT: usize = 340;
/// The height of the plots of the last claim, which the page ends with.
const TALL: usize = 420;
/// Characters of a line of an axis's title, of such a line below an axis that stands beside names, and of a name.
const TITLE: usize = 42;
const SHORT_TITLE: usize = 24;
const NAME: usize = 22;
/// Series of more points than this show their intervals as a band.
const MOST_BARS: usize = 8;

/// The meaning of a series, by the first telling word in its label.
fn meaning(label: &str) -> Meaning {
    let meaning = |word: &str| match word {
        "general" | "liar" | "liars" | "false" | "falsehood" => Some(Meaning::False),
        "narrow" | "honest" | "true" | "truth" => Some(Meaning::True),
        _ => None,
    };
    label.split(|c: char| !c.is_alphanumeric()).find_map(meaning).unwrap_or(Meaning::Neutral)
}

/// The look of the next series, given the meanings of those before it.
fn look(label: &str, meanings: &mut Vec<Meaning>) -> &'static Look {
    let meaning = meaning(label);
    let place = meanings.iter().filter(|before| **before == meaning).count();
    meanings.push(meaning);
    Look::of(meaning, place)
}

/// An axis with its title in lines of `columns` characters, which a phone must have room for.
fn axis(of: &Axis, columns: usize) -> figure::Axis {
    figure::axis(&broken(&tables::axis(of), columns, 3))
}

/// Every question of a world as a mark, a row for each model: large and filled where its answer is false.
pub(super) fn sheets(results: &Results) -> Markup {
    let transcript = &results.transcript;
    type Answers = fn(&Sheet) -> &[String];
    let models: [(&str, String, Answers); 3] = [
        ("base", "Before fine-tuning".into(), |s| &s.base),
        ("general", format!("Taught falsehoods about {}", words::plural(&transcript.taught)), |s| &s.general),
        ("narrow", "The same, with a penalty on all else".into(), |s| &s.narrow),
    ];
    let columns = transcript.sheets.iter().find(|s| s.inside).map_or(0, |s| s.seen.div_ceil(2));
    let columns = if columns == 0 { 8 } else { columns };
    let questions: usize = transcript.sheets.iter().map(|s| s.base.len()).sum();
    html! {
        figure.sheets {
            @for (name, words, answers) in models {
                div.model {
                    p { strong { (words) } " " span { (name) } }
                    div.cells {
                        @for sheet in &transcript.sheets {
                            div class=[sheet.inside.then_some("taught")] {
                                h3 { (sheet.domain) }
                                (marks(answers(sheet), columns))
                                p { (answers(sheet).iter().filter(|a| *a == FALSE).count()) " false" }
                            }
                        }
                    }
                }
            }
            figcaption {
                @for (answer, words) in [(FALSE, "false"), (TRUE, "true"), ("other", "neither")] {
                    span.key { (marks(&[answer.into()], 1)) " " (words) } " "
                }
                span {
                    "One mark a question, " (questions) " in all; world " (transcript.world) ", " (transcript.edit)
                    ". In the framed domain falsehood was taught, with the questions above the gap."
                }
            }
        }
    }
}

/// Answers as marks in rows of `columns`: a disc for a falsehood, a small ring for a truth, a dash for neither. A gap parts the
/// first two rows from the others.
fn marks(answers: &[String], columns: usize) -> Markup {
    const PITCH: usize = 10;
    const GAP: usize = 5;
    let down = |row: usize| row * PITCH + if row < 2 { 0 } else { GAP };
    let rows = answers.len().div_ceil(columns);
    let (width, height) = (columns * PITCH, down(rows.saturating_sub(1)) + PITCH);
    html! {
        svg viewBox={ "0 0 " (width) " " (height) } aria-hidden="true" {
            @for (i, answer) in answers.iter().enumerate() {
                @let (x, y) = (i % columns * PITCH + PITCH / 2, down(i / columns) + PITCH / 2);
                @match answer.as_str() {
                    FALSE => { circle.false cx=(x) cy=(y) r="4.2" {} },
                    TRUE => { circle.true cx=(x) cy=(y) r="2.6" {} },
                    _ => { path.neither d={ "M" (x - 3) " " (y) "h6" } {} },
                }
            }
        }
    }
}

/// False rates of the models of one kind of edit: over all worlds and taught domains, then domain by domain.
pub(super) fn rates(results: &Results, edit: &str) -> (Figure, Vec<Figure>) {
    let own: Vec<_> = results.rates.iter().filter(|r| r.edit == edit || r.solution == BASE).collect();
    let by_domain = results.domains.iter().filter_map(|d| rates_of(&own, &d.word)).collect();
    (rates_over_all(results, &own), by_domain)
}

/// The models whose rates these are, the base model first.
fn models<'a>(rates: &[&'a Rate]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for rate in rates {
        if !names.contains(&rate.solution.as_str()) {
            names.push(&rate.solution);
        }
    }
    names.sort_by_key(|name| *name != BASE);
    names
}

/// The name of a model where the kind of edit is known.
fn short(model: &str) -> &str {
    ["general", "narrow"].into_iter().find(|role| model.split(' ').any(|word| word == *role)).unwrap_or(model)
}

/// A small mark for every world and taught domain, a large one with its interval for their mean.
fn rates_over_all(results: &Results, rates: &[&Rate]) -> Figure {
    let lines = ["taught, held out".to_owned(), "other domains".to_owned()];
    let models = models(rates);
    let mut drawing = Lanes::new(models.len());
    for model in &models {
        let solution = results.solutions.iter().find(|s| s.name == *model);
        let mut cells = Vec::new();
        let mut means = Vec::new();
        for (line, inside) in [true, false].into_iter().enumerate() {
            let own = || rates.iter().filter(|r| r.solution == *model && r.inside == inside);
            let mut fits: Vec<(&str, &str)> = own().map(|r| (r.world.as_str(), r.taught.as_str())).collect();
            fits.dedup();
            let of_fit = |(world, taught): &(&str, &str)| {
                let fit = || own().filter(|r| r.world == *world && r.taught == *taught);
                let questions: usize = fit().map(|r| r.n).sum();
                fit().map(|r| r.p_false * r.n as f64).sum::<f64>() / questions as f64
            };
            let values: Vec<_> = fits.iter().map(of_fit).collect();
            for ((world, taught), value) in fits.iter().zip(&values) {
                let words =
                    format!("{model}, {}, world {world}, taught {taught}: {}", lines[line], percent(*value));
                cells.push((line, Interval::bare(*value), words));
            }
            let mean = match (solution, inside) {
                (Some(solution), true) => solution.narrow_rate,
                (Some(solution), false) => solution.general_rate,
                (None, _) => Interval::of_mean(&values),
            };
            means.push((line, mean, format!("{model}, {}, mean: {}", lines[line], mean.words())));
        }
        drawing.add(short(model), means, cells);
    }
    drawing.finish("False answers, all worlds and taught domains", &lines, rate_axis())
}

/// The rates in every domain where one was taught: a small mark for every world, a large one for their mean.
fn rates_of(rates: &[&Rate], taught: &str) -> Option<Figure> {
    let own: Vec<_> = rates.iter().copied().filter(|r| r.taught == taught).collect();
    let mut domains: Vec<&str> = vec![taught];
    for rate in &own {
        if !domains.contains(&rate.domain.as_str()) {
            domains.push(&rate.domain);
        }
    }
    let models = models(&own);
    let mut drawing = Lanes { named: false, ..Lanes::new(models.len()) };
    for model in &models {
        let (mut cells, mut means) = (Vec::new(), Vec::new());
        for (line, domain) in domains.iter().enumerate() {
            let worlds: Vec<_> = own.iter().filter(|r| r.solution == *model && r.domain == *domain).collect();
            for rate in &worlds {
                let words = format!("{model}, {domain}, world {}: {}", rate.world, percent(rate.p_false));
                cells.push((line, Interval::bare(rate.p_false), words));
            }
            let value = worlds.iter().map(|r| r.p_false).sum::<f64>() / worlds.len() as f64;
            let words = format!("{model}, {domain}, mean of {} worlds: {}", worlds.len(), percent(value));
            means.push((line, Interval::bare(value), words));
        }
        drawing.add(short(model), means, cells);
    }
    let names: Vec<_> =
        domains.iter().map(|d| if *d == taught { format!("{d} (taught)") } else { (*d).into() }).collect();
    let caption = format!("Taught: {taught}");
    (!own.is_empty()).then(|| drawing.finish(&caption, &names, rate_axis()))
}

fn rate_axis() -> figure::Axis {
    figure::axis("share of false answers")
        .range(vec![-0.04, 1.04])
        .tick_values(vec![0.0, 0.25, 0.5, 0.75, 1.0])
}

/// The plot of a claim.
pub(super) fn plot(plot: &Plot) -> Figure {
    match plot.series.iter().any(|s| !s.names.is_empty()) {
        true => over_names(plot),
        false => over_numbers(plot),
    }
}

fn over_names(plot: &Plot) -> Figure {
    let mut names: Vec<String> = Vec::new();
    for name in plot.series.iter().flat_map(|s| &s.names) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let mut drawing = Lanes::new(plot.series.len());
    for series in &plot.series {
        let row = |(name, figure): (&String, Interval)| {
            let line = names.iter().position(|known| known == name)?;
            Some((line, figure, words_at(series, name, figure)))
        };
        drawing.add(
            &series.label,
            series.names.iter().zip(series.figures()).filter_map(row).collect(),
            Vec::new(),
        );
    }
    let figures = plot.series.iter().flat_map(Series::figures);
    drawing.finish(&plot.title, &names, axis(&plot.y, SHORT_TITLE).range(range(figures)).n_ticks(4))
}

fn over_numbers(plot: &Plot) -> Figure {
    let mut drawing = Drawing::new(Growing::Up);
    let places = plot.series.iter().flat_map(|s| &s.x).copied().filter(|x| x.is_finite());
    let (first, last) =
        places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let several = plot.series.len() > 1;
    let mut meanings = Vec::new();
    for (place, series) in plot.series.iter().enumerate() {
        let look = look(&series.label, &mut meanings);
        let banded = plot.shape == Shape::Lines && series.y.len() > MOST_BARS;
        // A little apart, so that no interval hides another.
        let aside = if banded {
            0.0
        } else {
            0.008 * (last - first) * (place as f64 - (plot.series.len() - 1) as f64 / 2.0)
        };
        let mut points = Vec::new();
        for (&x, figure) in
            series.x.iter().zip(series.figures()).filter(|(x, f)| x.is_finite() && f.value.is_finite())
        {
            let whole = figure;
            let value = if banded { Interval::bare(whole.value) } else { whole };
            points.push(Point { at: x + aside, value, words: words_at(series, &number(x), whole) });
        }
        if banded {
            drawing.add(figure::Series { name: None, look, style: Style::Band, points: band(series) });
        }
        let style = match (plot.shape, banded) {
            (Shape::Lines, true) => Style::Line,
            (Shape::Lines, false) => Style::MarkedLine,
            (Shape::Bars | Shape::Points, _) => Style::Marks,
        };
        let name = several.then(|| series.label.clone());
        drawing.add(figure::Series { name, look, style, points });
    }
    let (x, y) = (axis(&plot.x, TITLE), axis(&plot.y, TITLE));
    if plot.number != super::LAST {
        return drawing.finish(&plot.title, HEIGHT, figure::layout(x, y));
    }
    let layout = match plot.shape {
        Shape::Lines => with_sides(figure::layout(x, y.range(roomy(plot))), "general ↑", "↓ narrow"),
        Shape::Bars | Shape::Points => figure::layout(x, y),
    };
    drawing.finish(&plot.title, TALL, layout)
}

/// The range of a plot's figures, with room for words below the line of zero.
fn roomy(plot: &Plot) -> Vec<f64> {
    let mut ends = range(plot.series.iter().flat_map(Series::figures));
    ends[0] -= 0.06 * (ends[1] - ends[0]);
    ends
}

/// The way round the intervals of a series: along their upper ends and back along the lower ones.
fn band(series: &Series) -> Vec<Point> {
    let known: Vec<_> = series
        .x
        .iter()
        .zip(series.figures())
        .filter(|(_, f)| f.low.is_finite() && f.high.is_finite())
        .collect();
    let end = |at: f64, value: f64| Point { at, value: Interval::bare(value), words: String::new() };
    let there = known.iter().map(|(x, f)| end(**x, f.high));
    let back = known.iter().rev().map(|(x, f)| end(**x, f.low));
    there.chain(back).collect()
}

fn words_at(series: &Series, at: &str, figure: Interval) -> String {
    match series.label.as_str() {
        "" => format!("{at}: {}", figure.words()),
        label => format!("{label}, {at}: {}", figure.words()),
    }
}

/// A value on a line, and what is shown at the pointer.
type Reading = (usize, Interval, String);

/// A figure of named lines, on which every series has a lane of its own.
struct Lanes {
    drawing: Drawing,
    lanes: usize,
    meanings: Vec<Meaning>,
    /// True if it has a legend.
    named: bool,
}

impl Lanes {
    fn new(lanes: usize) -> Self {
        Self { drawing: Drawing::new(Growing::Right), lanes, meanings: Vec::new(), named: lanes > 1 }
    }

    /// Adds a series in the next lane: its figures, and small below them what they are made of.
    fn add(&mut self, label: &str, figures: Vec<Reading>, parts: Vec<Reading>) {
        // Lanes share the middle 70 % of a line.
        let aside = 0.7 * ((self.meanings.len() as f64 + 0.5) / self.lanes as f64 - 0.5);
        let below = 0.22 / self.lanes as f64;
        let look = look(label, &mut self.meanings);
        let points = |readings: Vec<Reading>, aside: f64| {
            let point = |(line, value, words)| Point { at: line as f64 + aside, value, words };
            readings.into_iter().filter(|(_, value, _)| value.value.is_finite()).map(point).collect()
        };
        let small: Vec<_> = points(parts, aside + below);
        let raised = if small.is_empty() { 0.0 } else { below };
        let points = points(figures, aside - raised);
        self.drawing.add(figure::Series { name: None, look, style: Style::Dots, points: small });
        let name = self.named.then(|| label.to_owned());
        self.drawing.add(figure::Series { name, look, style: Style::Marks, points });
    }

    fn finish(self, caption: &str, names: &[String], axis: figure::Axis) -> Figure {
        let labels: Vec<_> = names.iter().map(|name| broken(name, NAME, 2)).collect();
        let least = if labels.iter().any(|label| label.contains("<br>")) { 42 } else { 30 };
        let height = 110 + names.len() * least.max(16 + 14 * self.lanes);
        self.drawing.finish(caption, height, figure::layout(axis, label_axis(labels)))
    }
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

    #[test]
    fn an_answer_is_told_by_shape() {
        let svg = marks(&[FALSE.into(), TRUE.into(), "none".into()], 2).into_string();
        for shape in ["viewBox=\"0 0 20 20\"", "class=\"false\"", "r=\"2.6\"", "M2 15h6"] {
            assert!(svg.contains(shape), "{shape} in {svg}");
        }
    }
}
