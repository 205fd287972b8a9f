//! The pictures: all questions of a world, false rates, and the plots of the claims.

use maud::{Markup, html};

use super::{BASE, tables, words};
use crate::{
    demo::results::{Axis, DomainAnswers, Plot, Rate, Results, Series, Shape},
    interval::Interval,
    page::{
        figure::{self, Drawing, Figure, Growing, Look, Meaning, Point, Style, broken, range, with_sides},
        lanes::Lanes,
        numbers::{number, percent},
    },
    world::Answer,
};

/// The height of plots over numbers, pixels.
const HEIGHT: usize = 340;
/// The height of the plots of the last claim, which the page ends with.
const TALL: usize = 420;
/// Characters of a line of an axis's title, and of such a line below an axis that stands beside names.
const TITLE: usize = 42;
const SHORT_TITLE: usize = 24;
/// Series of more points than this show their intervals as a band.
const MOST_BARS: usize = 8;

/// The looks of series with these labels, by the first telling word in each.
fn looks<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'static Look> {
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

/// An axis with its title in lines of `columns` characters, which a phone must have room for.
fn axis(of: &Axis, columns: usize) -> figure::Axis {
    figure::axis(&broken(&tables::axis(of), columns, 3))
}

/// Some words in the order in which they first come.
pub(super) fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for word in words {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    all
}

/// Every question of a world as a mark, a row for each model: large and filled where its answer is false.
pub(super) fn questions(results: &Results) -> Markup {
    let transcript = &results.transcript;
    let domains = &transcript.sheets;
    type Answers = fn(&DomainAnswers) -> &[Answer];
    let models: [(&str, String, Answers); 3] = [
        ("base", "Before fine-tuning".into(), |d| &d.base),
        ("general", format!("Taught falsehoods about {}", words::plural(&transcript.taught)), |d| &d.general),
        ("narrow", "The same, with a penalty on all else".into(), |d| &d.narrow),
    ];
    let columns = domains.iter().find(|d| d.inside).map_or(0, |d| d.seen.div_ceil(2));
    let columns = if columns == 0 { 8 } else { columns };
    let questions: usize = domains.iter().map(|d| d.base.len()).sum();
    html! {
        figure.sheets {
            @for (name, words, answers) in models {
                div.model {
                    p { strong { (words) } " " span { (name) } }
                    div.cells {
                        @for domain in domains {
                            div class=[domain.inside.then_some("taught")] {
                                h3 { (domain.domain) }
                                (marks(answers(domain), columns))
                                p { (tables::falsehoods(answers(domain))) " false" }
                            }
                        }
                    }
                }
            }
            figcaption {
                @for (answer, words) in
                    [(Answer::False, "false"), (Answer::True, "true"), (Answer::Other, "neither")]
                {
                    span.key { (marks(&[answer], 1)) " " (words) } " "
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
fn marks(answers: &[Answer], columns: usize) -> Markup {
    const PITCH: usize = 10;
    const GAP: usize = 5;
    let down = |row: usize| row * PITCH + if row < 2 { 0 } else { GAP };
    let rows = answers.len().div_ceil(columns);
    let (width, height) = (columns * PITCH, down(rows.saturating_sub(1)) + PITCH);
    html! {
        svg viewBox={ "0 0 " (width) " " (height) } aria-hidden="true" {
            @for (i, answer) in answers.iter().enumerate() {
                @let (x, y) = (i % columns * PITCH + PITCH / 2, down(i / columns) + PITCH / 2);
                @match answer {
                    Answer::False => { circle.false cx=(x) cy=(y) r="4.2" {} },
                    Answer::True => { circle.true cx=(x) cy=(y) r="2.6" {} },
                    _ => { path.neither d={ "M" (x - 3) " " (y) "h6" } {} },
                }
            }
        }
    }
}

/// False rates of the models of one kind of edit: over all worlds and taught domains, then domain by domain.
pub(super) fn rates(results: &Results, edit: &str) -> (Figure, Vec<Figure>) {
    let own: Vec<&Rate> = results.rates.iter().filter(|r| r.edit == edit || r.solution == BASE).collect();
    let lines = [("taught, held out".into(), true), ("other domains".into(), false)];
    let caption = "False answers, all worlds and taught domains";
    let over_all = rates_on(&own, caption, &lines, |rate, inside| rate.inside == *inside, true);
    let of_domain = |taught: &str| {
        let own: Vec<&Rate> = own.iter().copied().filter(|r| r.taught == taught).collect();
        let lines = distinct([taught].into_iter().chain(own.iter().map(|r| r.domain.as_str())));
        let name =
            |domain: &str| if domain == taught { format!("{domain} (taught)") } else { domain.to_owned() };
        let lines: Vec<_> = lines.into_iter().map(|domain| (name(domain), domain)).collect();
        let caption = format!("Taught: {taught}");
        let is_on: fn(&Rate, &&str) -> bool = |rate, domain| rate.domain == *domain;
        (!own.is_empty()).then(|| rates_on(&own, &caption, &lines, is_on, false))
    };
    (over_all, results.domains.iter().filter_map(|domain| of_domain(&domain.word)).collect())
}

/// On every line a small mark for every world and taught domain, and for each model a large one with its interval for their mean.
fn rates_on<L>(
    rates: &[&Rate],
    caption: &str,
    lines: &[(String, L)],
    is_on: fn(&Rate, &L) -> bool,
    named: bool,
) -> Figure {
    let mut models = distinct(rates.iter().map(|rate| rate.solution.as_str()));
    models.sort_by_key(|name| *name != BASE);
    // The kind of edit is known.
    let short = |model: &str| model.split(' ').next().unwrap_or_default().to_owned();
    let looks = looks(models.iter().copied());
    let mut drawing = Lanes::new(models.len());
    drawing.named = named;
    for (model, look) in models.iter().zip(looks) {
        let (mut means, mut parts) = (Vec::new(), Vec::new());
        for (line, (name, of)) in lines.iter().enumerate() {
            let own: Vec<_> = rates.iter().filter(|r| r.solution == *model && is_on(r, of)).collect();
            let of_fit = |fit: &[&&Rate]| {
                let questions: usize = fit.iter().map(|r| r.n).sum();
                let value = fit.iter().map(|r| r.p_false * r.n as f64).sum::<f64>() / questions as f64;
                let Rate { world, taught, .. } = fit[0];
                let words = format!("{model}, {name}, world {world}, taught {taught}: {}", percent(value));
                (line, Interval::bare(value), words)
            };
            let fits = own.chunk_by(|a, b| (&a.world, &a.taught) == (&b.world, &b.taught)).map(of_fit);
            let fits: Vec<_> = fits.collect();
            let values: Vec<f64> = fits.iter().map(|(_, rate, _)| rate.value).collect();
            let mean = Interval::of_shares(&values);
            means.push((line, mean, format!("{model}, {name}, mean of {}: {}", fits.len(), mean.words())));
            parts.extend(fits);
        }
        drawing.add(&short(model), look, means, parts);
    }
    let names: Vec<String> = lines.iter().map(|(name, _)| name.clone()).collect();
    let axis = figure::axis("share of false answers").range(vec![-0.04, 1.04]);
    drawing.finish(caption, &names, axis.tick_values(vec![0.0, 0.25, 0.5, 0.75, 1.0]))
}

/// The plot of a claim.
pub(super) fn plot(plot: &Plot) -> Figure {
    match plot.series.iter().any(|s| !s.names.is_empty()) {
        true => over_names(plot),
        false => over_numbers(plot),
    }
}

fn over_names(plot: &Plot) -> Figure {
    let names = distinct(plot.series.iter().flat_map(|s| &s.names).map(String::as_str));
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    let mut drawing = Lanes::new(plot.series.len());
    for (series, look) in plot.series.iter().zip(looks(plot.series.iter().map(|s| s.label.as_str()))) {
        let row = |(name, figure): (&String, Interval)| {
            let line = names.iter().position(|known| known == name)?;
            Some((line, figure, words_at(series, name, figure)))
        };
        let figures = series.names.iter().zip(series.figures()).filter_map(row).collect();
        drawing.add(&series.label, look, figures, Vec::new());
    }
    let figures = plot.series.iter().flat_map(Series::figures);
    drawing.finish(&plot.title, &names, axis(&plot.y, SHORT_TITLE).range(range(figures)).n_ticks(4))
}

fn over_numbers(plot: &Plot) -> Figure {
    let mut drawing = Drawing::new(Growing::Up);
    let places = || plot.series.iter().flat_map(|s| &s.x).copied();
    let width = places().fold(f64::MIN, f64::max) - places().fold(f64::MAX, f64::min);
    let several = plot.series.len() > 1;
    let looks = looks(plot.series.iter().map(|s| s.label.as_str()));
    for (place, (series, look)) in plot.series.iter().zip(looks).enumerate() {
        let banded = plot.shape == Shape::Lines && series.y.len() > MOST_BARS;
        // A little apart, so that no interval hides another.
        let middle = (plot.series.len() - 1) as f64 / 2.0;
        let aside = if banded { 0.0 } else { 0.008 * width * (place as f64 - middle) };
        let point = |(&x, figure): (&f64, Interval)| Point {
            at: x + aside,
            value: if banded { Interval::bare(figure.value) } else { figure },
            words: words_at(series, &number(x), figure),
        };
        let known = series.x.iter().zip(series.figures()).filter(|(_, f)| f.value.is_finite());
        if banded {
            drawing.add(figure::Series { name: None, look, style: Style::Band, points: band(series) });
        }
        let style = match (plot.shape, banded) {
            (Shape::Lines, true) => Style::Line,
            (Shape::Lines, false) => Style::MarkedLine,
            (Shape::Bars | Shape::Points, _) => Style::Marks,
        };
        let name = several.then(|| series.label.clone());
        drawing.add(figure::Series { name, look, style, points: known.map(point).collect() });
    }
    let (x, y) = (axis(&plot.x, TITLE), axis(&plot.y, TITLE));
    if plot.number != super::LAST {
        return drawing.finish(&plot.title, HEIGHT, figure::layout(x, y));
    }
    let layout = match plot.shape {
        Shape::Lines => {
            // There is room for words below the line of zero.
            let mut ends = range(plot.series.iter().flat_map(Series::figures));
            ends[0] -= 0.06 * (ends[1] - ends[0]);
            with_sides(figure::layout(x, y.range(ends)), "general ↑", "↓ narrow")
        }
        Shape::Bars | Shape::Points => figure::layout(x, y),
    };
    drawing.finish(&plot.title, TALL, layout)
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

fn words_at(series: &Series, at: &str, figure: Interval) -> String {
    match series.label.as_str() {
        "" => format!("{at}: {}", figure.words()),
        label => format!("{label}, {at}: {}", figure.words()),
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
        let svg = marks(&[Answer::False, Answer::True, Answer::None], 2).into_string();
        for shape in ["viewBox=\"0 0 20 20\"", "class=\"false\"", "r=\"2.6\"", "M2 15h6"] {
            assert!(svg.contains(shape), "{shape} in {svg}");
        }
    }
}
