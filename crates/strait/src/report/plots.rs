//! The figures of each measure.

use super::{
    Facts,
    conclusion::quoted,
    figure::{
        Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout, name_axis, range, scale_axis,
        with_labels, with_limit,
    },
    numbers::{number, percent},
    rows::{
        Certificate, Divergence, Drift, Family, HeldOut, Scaled, Shift, Significant, Step, Turned, Weight,
    },
};
use crate::interval::Interval;

/// The height of figures whose values go up, pixels.
const HEIGHT: usize = 340;
/// A share of the narrow shift above this is off the certificate's plot.
const MOST_SHARE: f64 = 2.0;

/// One reading of a solution at one scale, inside the taught domain or outside.
struct Reading<'a> {
    solution: &'a str,
    inside: bool,
    scale: f64,
    value: Interval,
    coherent: bool,
}

/// The preference shift over the scale, one figure a solution, all on one axis.
pub(super) fn shifts(facts: &Facts, solutions: &[&str], rows: &[Shift<'_>]) -> Vec<Figure> {
    let all = rows.iter().filter(|s| s.domain.is_none());
    let readings: Vec<_> = all
        .map(|s| Reading {
            solution: s.solution,
            inside: s.inside,
            scale: s.scale,
            value: s.shift,
            coherent: s.coherent,
        })
        .collect();
    let names = [format!("inside {}", facts.domain), "outside".into()];
    over_scale(solutions, &readings, names, "preference shift (nats a token)")
}

/// KL to base: over the scale, one figure a solution, all on one axis; where it was measured at one scale only, one figure
/// of all solutions.
pub(super) fn divergences(facts: &Facts, solutions: &[&str], rows: &[Divergence<'_>]) -> Vec<Figure> {
    let readings: Vec<_> = rows
        .iter()
        .map(|d| Reading {
            solution: d.solution,
            inside: d.inside,
            scale: d.scale,
            value: d.kl,
            coherent: true,
        })
        .collect();
    let names = [format!("inside {}", facts.domain), "general text".into()];
    let title = "KL(base ‖ edited) (nats a token)";
    match readings.first() {
        Some(first) if readings.iter().all(|r| r.scale == first.scale) => {
            let values: Vec<_> =
                readings.iter().map(|r| (r.solution, usize::from(!r.inside), r.value)).collect();
            let caption = format!("KL(base ‖ edited) at scale {}", number(first.scale));
            vec![dots(&caption, solutions, &names, &values, "nats a token")]
        }
        _ => over_scale(solutions, &readings, names, title),
    }
}

fn over_scale(solutions: &[&str], readings: &[Reading<'_>], names: [String; 2], title: &str) -> Vec<Figure> {
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
            let point = |r: &Reading<'_>| Point {
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

/// The preference shift at scale 1, domain by domain; the taught one stands first.
pub(super) fn domains(facts: &Facts, solutions: &[&str], rows: &[Shift<'_>]) -> Option<Figure> {
    let at_one = || rows.iter().filter(|s| s.scale == 1.0);
    let taught_by_name = at_one().any(|s| s.inside && s.domain.is_some());
    let shown: Vec<_> = at_one()
        .filter(|s| s.domain.is_some() || (s.inside && !taught_by_name))
        .map(|s| (s.domain.unwrap_or(&facts.domain), s))
        .collect();
    let mut domains: Vec<(&str, bool)> = Vec::new();
    for (domain, row) in &shown {
        if !domains.iter().any(|(known, _)| known == domain) {
            domains.push((domain, row.inside));
        }
    }
    if domains.len() < 2 {
        return None;
    }
    domains.sort_by_key(|(_, inside)| !inside);
    let name = |(domain, inside): &(&str, bool)| match inside {
        true => format!("{domain} (taught)"),
        false => (*domain).into(),
    };
    let readings = shown.iter().filter_map(|(domain, row)| {
        let line = domains.iter().position(|(known, _)| known == domain)?;
        Some((row.solution, line, row.shift))
    });
    let names: Vec<_> = domains.iter().map(name).collect();
    Some(dots(
        "Preference shift at scale 1, domain by domain",
        solutions,
        &names,
        &readings.collect::<Vec<_>>(),
        "nats a token",
    ))
}

/// The shifts at scale 1 beside those at equal length, where these were measured.
pub(super) fn lengths(facts: &Facts, solutions: &[&str], rows: &[Shift<'_>]) -> Option<Figure> {
    let at_one = || rows.iter().filter(|s| s.scale == 1.0 && s.domain.is_none());
    let inside = format!("inside {}", facts.domain);
    let place = |line: usize| if line < 2 { inside.as_str() } else { "outside" };
    let names: Vec<String> = (0..4)
        .map(|line| format!("{}{}", place(line), if line % 2 == 0 { "" } else { ", at equal length" }))
        .collect();
    let readings: Vec<_> = at_one()
        .flat_map(|s| {
            let first = if s.inside { 0 } else { 2 };
            [(s.solution, first, s.shift), (s.solution, first + 1, s.equal_shift)]
        })
        .collect();
    let is_measured = at_one().any(|s| s.equal_shift.value.is_finite());
    is_measured.then(|| {
        dots("Preference shift at scale 1 and at equal length", solutions, &names, &readings, "nats a token")
    })
}

/// The change of the held-out loss.
pub(super) fn held_out(solutions: &[&str], rows: &[HeldOut<'_>]) -> Figure {
    let names: Vec<_> = rows.iter().map(|r| r.solution.to_owned()).collect();
    let readings: Vec<_> =
        rows.iter().enumerate().map(|(line, row)| (row.solution, line, row.difference)).collect();
    dots("Held-out loss less that of base", solutions, &names, &readings, "nats a response token")
}

/// A solution, the name of its line, and its value there.
pub(super) type Line<'a> = (&'a str, String, Interval);

/// Readings on lines that are named in the order in which they first come.
pub(super) fn lines(caption: &str, solutions: &[&str], lines: &[Line<'_>], title: &str) -> Figure {
    let mut names: Vec<String> = Vec::new();
    let mut readings = Vec::new();
    for (solution, name, value) in lines {
        let line = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.clone());
            names.len() - 1
        });
        readings.push((*solution, line, *value));
    }
    dots(caption, solutions, &names, &readings, title)
}

/// One line a name; each reading is a solution, its line and its value.
fn dots(
    caption: &str,
    solutions: &[&str],
    names: &[String],
    readings: &[(&str, usize, Interval)],
    title: &str,
) -> Figure {
    let mut drawn: Vec<_> = solutions.iter().enumerate().collect();
    drawn.retain(|(_, solution)| readings.iter().any(|(of, ..)| of == *solution));
    let lanes = if readings.len() > names.len() { drawn.len() } else { 1 };
    let mut drawing = Drawing::new(Growing::Right);
    for (lane, (place, solution)) in drawn.into_iter().enumerate() {
        // Lanes share the middle 60 % of a line.
        let aside = 0.6 * (((lane % lanes) as f64 + 0.5) / lanes as f64 - 0.5);
        let point = |(_, line, value): &(&str, usize, Interval)| Point {
            at: *line as f64 + aside,
            value: *value,
            words: format!("{solution}, {}: {}", names[*line], value.words()),
        };
        let points = readings.iter().filter(|(of, ..)| of == solution).map(point).collect();
        let name = (lanes > 1).then(|| (*solution).into());
        drawing.add(Series { name, look: Look::at(place), style: Style::Marks, points });
    }
    // Long names leave little room for numbers.
    let x = axis(title).range(range(readings.iter().map(|(.., value)| *value))).n_ticks(4);
    let height = 110 + names.len() * (16 + 12 * lanes);
    drawing.finish(caption, height, layout(x, name_axis(names)))
}

/// The upper bound of the general shift as a share of the narrow shift, over the scale.
pub(super) fn certificates(facts: &Facts, solutions: &[&str], rows: &[Certificate<'_>]) -> Figure {
    let mut drawing = Drawing::new(Growing::Up);
    for (place, solution) in solutions.iter().enumerate() {
        for (coherent, name, style) in
            [(true, Some((*solution).into()), Style::MarkedLine), (false, None, Style::Crosses)]
        {
            let point = |c: &Certificate<'_>| Point {
                at: c.scale,
                value: Interval::bare(c.share * 100.0),
                words: format!("{solution}, scale {}: {}", number(c.scale), percent(c.share)),
            };
            let own = rows.iter().filter(|c| c.solution == *solution && c.coherent == coherent);
            let mut points: Vec<_> = own.map(point).collect();
            points.sort_by(|a, b| a.at.total_cmp(&b.at));
            drawing.add(Series { name, look: Look::at(place), style, points });
        }
    }
    let shares = || rows.iter().map(|c| c.share).filter(|share| share.is_finite());
    let room = facts.certificate * 1.6;
    let top = shares().fold(room, f64::max).min(MOST_SHARE.max(room));
    let bottom = shares().fold(0.0, f64::min).max(-MOST_SHARE);
    let mut caption = String::from("Narrow is below the dashed line at every scale");
    if rows.iter().any(|c| !c.coherent) {
        caption += "; crosses are incoherent and do not count";
    }
    if shares().any(|share| share > top || share < bottom) {
        caption += "; what lies beyond the plot is in the table";
    }
    let x = scale_axis(rows.iter().map(|c| c.scale), number);
    let y = axis("share outside, upper bound (%)").range(vec![bottom * 108.0, top * 108.0]);
    let allowed = format!("allowed: {}", percent(facts.certificate));
    drawing.finish(caption, HEIGHT, with_limit(layout(x, y), facts.certificate * 100.0, allowed))
}

/// The loss over the norm of solutions as they are scaled, one figure a kind of edit: norms of different kinds do not
/// compare.
pub(super) fn efficiency(solutions: &[&str], rows: &[Scaled<'_>]) -> Vec<Figure> {
    let figure = |&(edit, kind): &(&str, &str)| {
        let mut drawing = Drawing::new(Growing::Up);
        for (place, solution) in solutions.iter().enumerate() {
            let own = |wanted: &dyn Fn(&Scaled<'_>) -> bool, of: &str| {
                let own = rows.iter().filter(|r| r.edit == edit && r.solution == *solution && wanted(r));
                let point = |r: &Scaled<'_>| Point {
                    at: r.norm,
                    value: r.loss,
                    words: format!(
                        "{solution}{of}, norm {}, factor {}: {}{}",
                        number(r.norm),
                        number(r.factor),
                        r.loss.words(),
                        if r.at_edge { ", on the edge of its grid" } else { "" }
                    ),
                };
                let mut points: Vec<_> = own.map(point).collect();
                points.sort_by(|a, b| a.at.total_cmp(&b.at));
                points
            };
            let look = Look::at(place);
            // The intervals of so many points would hide the curves.
            let mut curve = own(&|r| r.kind != "optimum", "");
            curve.iter_mut().for_each(|point| point.value = Interval::bare(point.value.value));
            drawing.add(Series { name: Some((*solution).into()), look, style: Style::Line, points: curve });
            let trained = own(&|r| r.kind == "scale" && r.factor == 1.0, ", as trained");
            drawing.add(Series { name: None, look, style: Style::OpenMarks, points: trained });
            let optimum = own(&|r| r.kind == "optimum", ", optimum");
            drawing.add(Series { name: None, look, style: Style::Marks, points: optimum });
        }
        let caption = format!("Loss of {} as they are scaled (filled: optimum; open: as trained)", kind);
        let layout = layout(axis("norm of the edit"), axis("nats a response token").zero_line(false));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    KINDS.iter().filter_map(figure).collect()
}

/// Kinds of edits as tables have them, and what they are called.
const KINDS: [(&str, &str); 3] =
    [("steering", "vectors"), ("lora", "adapters"), ("composed", "compositions")];

/// The share of the gain that noise takes, one figure a part of the edit.
pub(super) fn stability(solutions: &[&str], rows: &[Turned<'_>]) -> Vec<Figure> {
    let figure = |part: &str| {
        let mut drawing = Drawing::new(Growing::Up);
        for (place, solution) in solutions.iter().enumerate() {
            let mut own: Vec<_> = rows.iter().filter(|r| r.part == part && r.solution == *solution).collect();
            own.sort_by(|a, b| a.epsilon.total_cmp(&b.epsilon));
            let percent_at = |epsilon: f64, share: f64, words: String| Point {
                at: epsilon,
                value: Interval::bare(100.0 * share),
                words,
            };
            let edge = |sign: f64| {
                let known = own.iter().filter(|r| r.deviation.is_finite() && r.share.value.is_finite());
                known.map(move |r| percent_at(r.epsilon, r.share.value + sign * r.deviation, String::new()))
            };
            let band = edge(1.0).chain(edge(-1.0).rev()).collect();
            let mean = |r: &&Turned<'_>| {
                let words = format!(
                    "{solution}, share of noise {}: {} of its gain lost ({} to {}), standard deviation {}",
                    number(r.epsilon),
                    percent(r.share.value),
                    percent(r.share.low),
                    percent(r.share.high),
                    percent(r.deviation)
                );
                percent_at(r.epsilon, r.share.value, words)
            };
            let look = Look::at(place);
            drawing.add(Series { name: None, look, style: Style::Band, points: band });
            let name = Some((*solution).into());
            let points = own.iter().filter(|r| r.share.value.is_finite()).map(mean).collect();
            drawing.add(Series { name, look, style: Style::MarkedLine, points });
        }
        let caption = match part {
            "vector" => "Noise on the vector".to_owned(),
            part => format!("Noise on each {part}"),
        };
        let layout = layout(axis("share of noise ε"), axis("share of the gain lost (%)"));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    ["vector", "A", "B"].into_iter().filter_map(figure).collect()
}

/// KL to base over the norm that all directions are brought to, one figure a kind of edit.
pub(super) fn significance(solutions: &[&str], rows: &[Significant<'_>]) -> Vec<Figure> {
    let figure = |(edit, words): &(&str, &str)| {
        let mut drawing = Drawing::new(Growing::Up);
        let points = |direction: &str, random: bool| {
            let own =
                rows.iter().filter(|r| r.edit == *edit && r.direction == direction && r.random == random);
            let point = |r: &Significant<'_>| Point {
                at: r.relative_norm,
                value: if random { Interval::bare(r.kl.value) } else { r.kl },
                words: format!("{direction}, norm {}: {}", number(r.relative_norm), r.kl.words()),
            };
            let mut points: Vec<_> = own.map(point).collect();
            points.sort_by(|a, b| a.at.total_cmp(&b.at));
            points
        };
        let mut random: Vec<&str> =
            rows.iter().filter(|r| r.random && r.edit == *edit).map(|r| r.direction).collect();
        random.sort_unstable();
        random.dedup();
        for (i, direction) in random.into_iter().enumerate() {
            let name = (i == 0).then(|| "random".to_owned());
            let points = points(direction, true);
            drawing.add(Series { name, look: Look::of_random(), style: Style::Line, points });
        }
        for (place, solution) in solutions.iter().enumerate() {
            let name = Some((*solution).into());
            let points = points(solution, false);
            drawing.add(Series { name, look: Look::at(place), style: Style::MarkedLine, points });
        }
        let text = if *edit == "lora" { "base's own continuations" } else { "passages" };
        let caption = format!("KL(base ‖ edited) of {words} on {text}");
        let layout = layout(axis("norm (mean norms of the solutions)"), axis("nats a token"));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    KINDS.iter().filter_map(figure).collect()
}

/// The preference shift over the scale as its mean over seeds, one figure a family, all on one axis.
pub(super) fn families(facts: &Facts, rows: &[Family<'_>]) -> Vec<Figure> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.family) {
            names.push(row.family);
        }
    }
    let readings: Vec<_> = rows
        .iter()
        .map(|f| Reading {
            solution: f.family,
            inside: f.inside,
            scale: f.scale,
            value: f.shift,
            coherent: f.coherent,
        })
        .collect();
    let inside = [format!("inside {}", facts.domain), "outside".into()];
    over_scale(&names, &readings, inside, "mean preference shift over seeds (nats a token)")
}

/// The preference shift along the checkpoints of every solution that started from another one, and the cosines.
pub(super) fn drifts(facts: &Facts, solutions: &[&str], rows: &[Drift<'_>]) -> Vec<Vec<Figure>> {
    let inside = format!("inside {}", facts.domain);
    let y =
        axis("preference shift (nats a token)").range(range(rows.iter().flat_map(|d| [d.narrow, d.general])));
    let mut groups = Vec::new();
    for (place, solution) in solutions.iter().enumerate() {
        let own: Vec<_> = rows.iter().filter(|d| d.solution == *solution).collect();
        let Some(first) = own.first() else { continue };
        let mut shifts = Drawing::new(Growing::Up);
        type Side = fn(&Drift<'_>) -> Interval;
        let sides: [(&str, Style, Side); 2] =
            [(&inside, Style::Inside, |d| d.narrow), ("outside", Style::Outside, |d| d.general)];
        for (name, style, side) in sides {
            let point = |d: &&Drift<'_>| Point {
                at: d.step as f64,
                value: side(d),
                words: format!("{name}, step {}: {}", d.step, side(d).words()),
            };
            let points = own.iter().map(point).collect();
            shifts.add(Series { name: Some(name.into()), look: Look::at(place), style, points });
        }
        let mut cosines = Drawing::new(Growing::Up);
        let change = ("change since the start", own.iter().map(|d| d.cosine_change).collect());
        // The family that it started from is its start again.
        let is_start = |i: usize| i > 0 && own.iter().all(|d| d.cosines[i].1 == d.cosines[0].1);
        let others = (0..first.cosines.len())
            .filter(|&i| !is_start(i))
            .map(|i| (first.cosines[i].0, own.iter().map(|d| d.cosines[i].1).collect::<Vec<_>>()));
        for (i, (name, values)) in others.chain([change]).enumerate() {
            let known = own.iter().zip(values).filter(|(_, cosine)| cosine.is_finite());
            let point = |(d, value): (&&Drift<'_>, f64)| Point {
                at: d.step as f64,
                value: Interval::bare(value),
                words: format!("{name}, step {}: {}", d.step, number(value)),
            };
            let points = known.map(point).collect();
            let name = Some(name.into());
            cosines.add(Series { name, look: Look::at(i), style: Style::MarkedLine, points });
        }
        let steps = || axis("optimiser step");
        let caption = format!("{} from {}", quoted(solution), quoted(first.from));
        let mut group = vec![shifts.finish(caption, HEIGHT, layout(steps(), y.clone()))];
        if !cosines.is_empty() {
            let caption = format!("Cosines of {}", quoted(solution));
            let y = axis("cosine").range(vec![-1.05, 1.05]);
            group.push(cosines.finish(caption, HEIGHT, layout(steps(), y)));
        }
        groups.push(group);
    }
    groups
}

/// The general shift against the narrow one at scale 1, a point for every KL weight that a search tried.
pub(super) fn frontiers(solutions: &[&str], rows: &[Weight<'_>]) -> Vec<Figure> {
    // A weight under which training diverged has no shifts.
    let at_one = || rows.iter().filter(|w| w.scale == 1.0 && w.narrow.value.is_finite());
    let x = axis("shift inside (nats a token)").range(range(at_one().map(|w| w.narrow)));
    let y = axis("shift outside (nats a token)").range(range(at_one().map(|w| w.general)));
    let figure = |(place, solution): (usize, &&str)| {
        let own: Vec<_> = at_one().filter(|w| w.solution == *solution).collect();
        let bound = own.first()?.bound;
        let mut drawing = Drawing::new(Growing::Up);
        let point = |w: &&Weight<'_>| Point {
            at: w.narrow.value,
            value: w.general,
            words: format!(
                "KL weight {}: inside {}, outside {}",
                number(w.weight),
                w.narrow.words(),
                w.general.words()
            ),
        };
        for (chosen, name, style) in [(true, "taken", Style::Marks), (false, "tried", Style::Crosses)] {
            let points = own.iter().filter(|w| w.chosen == chosen).map(point).collect();
            drawing.add(Series { name: Some(name.into()), look: Look::at(place), style, points });
        }
        let farthest = own.iter().map(|w| w.narrow.value).fold(0.0, f64::max);
        let end = |at: f64| Point {
            at,
            value: Interval::bare(bound * at),
            words: format!("{} of the shift inside", percent(bound)),
        };
        drawing.add(Series {
            name: Some(format!("allowed: {}", percent(bound))),
            look: Look::GREY,
            style: Style::Line,
            points: vec![end(0.0), end(farthest)],
        });
        let labels = own.iter().map(|w| (w.narrow.value, w.general.value, number(w.weight)));
        let layout = with_labels(layout(x.clone(), y.clone()), labels);
        let caption = format!("{}: every KL weight tried, at scale 1", quoted(solution));
        Some(drawing.finish(caption, HEIGHT, layout))
    };
    solutions.iter().enumerate().filter_map(figure).collect()
}

/// Loss, KL and norm over the optimiser's steps.
pub(super) fn training(solutions: &[&str], rows: &[Step<'_>]) -> Vec<Figure> {
    type Quantity = fn(&Step<'_>) -> f64;
    let curve = |caption: &str, title: &str, line: Quantity, marks: Option<Quantity>| {
        let mut drawing = Drawing::new(Growing::Up);
        for (place, solution) in solutions.iter().enumerate() {
            let points = |quantity: Quantity, of: &str| {
                let own = rows.iter().filter(|s| s.solution == *solution);
                let known = own.map(|s| (s.step, quantity(s))).filter(|(_, value)| value.is_finite());
                let point = |(step, value): (i64, f64)| Point {
                    at: step as f64,
                    value: Interval::bare(value),
                    words: format!("{solution}{of}, step {step}: {}", number(value)),
                };
                known.map(point).collect()
            };
            let look = Look::at(place);
            let name = Some((*solution).into());
            drawing.add(Series { name, look, style: Style::Line, points: points(line, "") });
            if let Some(marks) = marks {
                drawing.add(Series {
                    name: None,
                    look,
                    style: Style::Marks,
                    points: points(marks, ", held out"),
                });
            }
        }
        let layout = layout(axis("optimiser step"), axis(title));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    let loss = curve(
        "Loss (markers: held out)",
        "nats a response token",
        |s| s.response_loss,
        Some(|s| s.heldout_loss),
    );
    let kl = curve("KL on the KL set", "KL(base ‖ edited) (nats a token)", |s| s.kl, None);
    let norm = curve("Norm of the edit", "norm", |s| s.norm, None);
    [loss, kl, norm].into_iter().flatten().collect()
}
