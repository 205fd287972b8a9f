//! The pictures of no claim: all questions of a world, and false rates.

use maud::{Markup, html};

use super::{BASE, tables, words};
use crate::{
    demo::results::{DomainAnswers, Rate, Results},
    interval::Interval,
    page::{
        figure::{self, Figure},
        lanes::Lanes,
        numbers::percent,
        words::distinct,
    },
    suite::looks,
    world::Answer,
};

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
    let side = |rate: &Rate| if rate.inside { "taught, held out" } else { "other domains" }.into();
    let over_all = rates_on(&own, "False answers, all worlds and taught domains", true, side);
    let of_domain = |taught: &str| {
        let own: Vec<&Rate> = own.iter().copied().filter(|r| r.taught == taught).collect();
        let domain = |r: &Rate| if r.inside { format!("{taught} (taught)") } else { r.domain.clone() };
        (!own.is_empty()).then(|| rates_on(&own, &format!("Taught: {taught}"), false, domain))
    };
    (over_all, results.domains.iter().filter_map(|domain| of_domain(&domain.word)).collect())
}

/// On every line, by the name that `line_of` gives it, a small mark for every world and taught domain, and for each model a large
/// one with its interval for their mean. Lines of the taught domain come first.
fn rates_on(rates: &[&Rate], caption: &str, named: bool, line_of: impl Fn(&Rate) -> String) -> Figure {
    let (inside, others): (Vec<&Rate>, Vec<&Rate>) = rates.iter().copied().partition(|rate| rate.inside);
    let lines = distinct(inside.into_iter().chain(others).map(&line_of));
    let mut models = distinct(rates.iter().map(|rate| rate.solution.as_str()));
    models.sort_by_key(|name| *name != BASE);
    // The kind of edit is known.
    let short = |model: &str| model.split(' ').next().unwrap_or_default().to_owned();
    let looks = looks(models.iter().copied());
    let mut drawing = Lanes::new(models.len());
    drawing.named = named;
    for (model, look) in models.iter().zip(looks) {
        let (mut means, mut parts) = (Vec::new(), Vec::new());
        for (line, name) in lines.iter().enumerate() {
            let own: Vec<_> = rates.iter().filter(|r| r.solution == *model && line_of(r) == *name).collect();
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
    let axis = figure::axis("share of false answers").range(vec![-0.04, 1.04]);
    drawing.finish(caption, &lines, axis.tick_values(vec![0.0, 0.25, 0.5, 0.75, 1.0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_shape() {
        let svg = marks(&[Answer::False, Answer::True, Answer::None], 2).into_string();
        for shape in ["viewBox=\"0 0 20 20\"", "class=\"false\"", "r=\"2.6\"", "M2 15h6"] {
            assert!(svg.contains(shape), "{shape} in {svg}");
        }
    }
}
