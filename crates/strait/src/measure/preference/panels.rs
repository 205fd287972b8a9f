//! The parts of a report on shifts: the shifts, their means over seeds, the scaling certificate.

use super::{Certificate, CuedShift, Shift, cued::by_form};
use crate::{
    interval::Interval,
    lab::Group,
    measure::{
        Facts, FamilyShift, Panel, Shown, SideBySide,
        plots::{self, HEIGHT, Line, Reading, on_lines, over_scale},
    },
    page::{
        figure::{
            Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout, scale_axis, with_limit,
        },
        numbers::{number, percent},
        words::distinct,
    },
    table::Row,
};

/// A share of the narrow shift above this is off the certificate's plot.
const MOST_SHARE: f64 = 2.0;

/// All parts, in the order of the report.
pub(super) fn all() -> Vec<Panel> {
    vec![
        Panel {
            say: mean_lengths,
            ..Panel::table(
                Shift::TABLE,
                "Preference shift",
                "For pairs of answers to one question: how much more than base a solution prefers the taught kind of \
                 answer, in mean log probability a token. Above zero it moved towards what it was taught; bars are \
                 95 % intervals. The shift at equal length is read over as many first tokens of both answers as the \
                 shorter one has: where it differs, length is part of the shift.",
            )
            .drawn(|shown| {
                let (facts, solutions, rows) = (shown.facts, &shown.solutions, shown.rows::<Shift>());
                let others = lengths(facts, solutions, &rows).into_iter().chain(domains(facts, solutions, &rows));
                vec![shifts(facts, solutions, &rows), others.collect()]
            })
            .missed("the preference shift")
        },
        Panel::table(
            FamilyShift::TABLE,
            "Over seeds",
            "The mean preference shift of solutions that differ in their seeds alone. Here the bars are 95 % intervals \
             over seeds: how far training once more might move the mean.",
        )
        .drawn(|shown| vec![families(shown.facts, &shown.rows::<FamilyShift>())]),
        Panel::table(
            Certificate::TABLE,
            "Scaling certificate",
            "A weak penalty can hide the general solution instead of avoiding it; scaling a solution up brings out \
             what is hidden. A solution is certified narrow if the upper 95 % bound of its shift outside the \
             domain, as a share of its shift inside, stays below the line at every coherent scale.",
        )
        .drawn(|shown| vec![vec![certificates(shown.facts, &shown.solutions, &shown.rows::<Certificate>())]])
        .missed("the scaling certificate"),
        Panel {
            say: by_form,
            ..Panel::table(
                CuedShift::TABLE,
                "Preference shift under cues",
                "A model that looks cured may act as taught where a question carries a trace of the training context. Here a \
                 cue stands around every question, for the solution and for base; a control has the form of its cue and other \
                 content. A certificate holds only if the shift outside stays small under all of them.",
            )
            .drawn(|shown| vec![cued(&shown.solutions, &shown.rows::<CuedShift>())])
        },
    ]
}

/// The shifts of several runs.
pub(super) fn side_by_side() -> SideBySide {
    SideBySide {
        title: "Preference shift at scale 1",
        reading: "How much more than base each run's solutions prefer the taught kind of answer, inside the taught domain and \
                  outside. Runs on other pairs, or on models with another tokeniser, share the unit but not the questions.",
        lines: |run, shown| {
            let at_one = shown.rows::<Shift>().into_iter().filter(|s| s.scale == 1.0 && s.is_whole());
            let line = |s: Shift| {
                let place = plots::place(run, s.is_inside(), shown.facts);
                (s.solution, place, s.shift)
            };
            at_one.map(line).collect()
        },
    }
}

/// The preference shift over the scale, one figure a solution, all on one axis.
fn shifts(facts: &Facts, solutions: &[&str], rows: &[Shift]) -> Vec<Figure> {
    let all = rows.iter().filter(|s| s.is_whole());
    let readings: Vec<_> = all
        .map(|s| Reading {
            solution: s.solution.clone(),
            inside: s.is_inside(),
            scale: s.scale,
            value: s.shift,
            coherent: s.coherent,
        })
        .collect();
    let names = [format!("inside {}", facts.domain), "outside".into()];
    over_scale(solutions, &readings, names, "preference shift (nats a token)")
}

/// The preference shift at scale 1, domain by domain; the taught one stands first.
fn domains(facts: &Facts, solutions: &[&str], rows: &[Shift]) -> Option<Figure> {
    let at_one = || rows.iter().filter(|s| s.scale == 1.0);
    let taught_by_name = at_one().any(|s| s.is_inside() && !s.is_whole());
    let shown: Vec<_> = at_one()
        .filter(|s| !s.is_whole() || (s.is_inside() && !taught_by_name))
        .map(|s| (if s.is_whole() { facts.domain.as_str() } else { s.domain.as_str() }, s))
        .collect();
    let mut domains = distinct(shown.iter().map(|(domain, row)| (*domain, row.is_inside())));
    if domains.len() < 2 {
        return None;
    }
    domains.sort_by_key(|(_, inside)| !inside);
    let name = |(domain, inside): &(&str, bool)| match inside {
        true => format!("{domain} (taught)"),
        false => (*domain).into(),
    };
    let line =
        |(domain, row): &(&str, &Shift)| (row.solution.clone(), name(&(*domain, row.is_inside())), row.shift);
    let lines: Vec<Line> = shown.iter().map(line).collect();
    let names: Vec<_> = domains.iter().map(name).collect();
    Some(on_lines("Preference shift at scale 1, domain by domain", solutions, &names, &lines, "nats a token"))
}

/// The shifts at scale 1 beside those at equal length, where these were measured.
fn lengths(facts: &Facts, solutions: &[&str], rows: &[Shift]) -> Option<Figure> {
    let at_one = || rows.iter().filter(|s| s.scale == 1.0 && s.is_whole());
    let inside = format!("inside {}", facts.domain);
    let place = |line: usize| if line < 2 { inside.as_str() } else { "outside" };
    let names: Vec<String> = (0..4)
        .map(|line| format!("{}{}", place(line), if line % 2 == 0 { "" } else { ", at equal length" }))
        .collect();
    let readings: Vec<_> = at_one()
        .flat_map(|s| {
            let first = if s.is_inside() { 0 } else { 2 };
            [(first, s.shift), (first + 1, s.equal_shift)]
                .map(|(line, shift)| (s.solution.clone(), names[line].clone(), shift))
        })
        .collect();
    let is_measured = at_one().any(|s| s.equal_shift.value.is_finite());
    is_measured.then(|| {
        on_lines(
            "Preference shift at scale 1 and at equal length",
            solutions,
            &names,
            &readings,
            "nats a token",
        )
    })
}

/// The upper bound of the general shift as a share of the narrow shift, over the scale.
fn certificates(facts: &Facts, solutions: &[&str], rows: &[Certificate]) -> Figure {
    let mut drawing = Drawing::new(Growing::Up);
    for (place, solution) in solutions.iter().enumerate() {
        for (coherent, name, style) in
            [(true, Some((*solution).into()), Style::MarkedLine), (false, None, Style::Crosses)]
        {
            let point = |c: &Certificate| Point {
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

/// The preference shift over the scale as its mean over seeds, one figure a family, all on one axis.
fn families(facts: &Facts, rows: &[FamilyShift]) -> Vec<Figure> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.family.as_str()) {
            names.push(&row.family);
        }
    }
    let readings: Vec<_> = rows
        .iter()
        .map(|f| Reading {
            solution: f.family.clone(),
            inside: f.group == Group::Narrow,
            scale: f.scale,
            value: f.shift,
            coherent: f.coherent,
        })
        .collect();
    let inside = [format!("inside {}", facts.domain), "outside".into()];
    over_scale(&names, &readings, inside, "mean preference shift over seeds (nats a token)")
}

/// The shifts outside the domain at scale 1, cue by cue, and those inside.
fn cued(solutions: &[&str], rows: &[CuedShift]) -> Vec<Figure> {
    let figure = |(group, title): (Group, &str)| {
        let own = rows.iter().filter(|row| row.group == group && row.scale == 1.0);
        let lines: Vec<Line> = own.map(|row| (row.solution.clone(), row.cue.clone(), row.shift)).collect();
        (!lines.is_empty()).then(|| plots::lines(title, solutions, &lines, "nats a token"))
    };
    let sides = [(Group::General, "Outside, under each cue"), (Group::Narrow, "Inside, under each cue")];
    sides.into_iter().filter_map(figure).collect()
}

/// The length of the answers that shifts are read on.
fn mean_lengths(shown: &Shown<'_>) -> String {
    let shifts: Vec<Shift> = shown.rows();
    let of = |inside: bool| {
        let row = shifts.iter().find(|s| s.is_inside() == inside && s.is_whole())?;
        let (taught, other) = (row.taught_tokens, row.other_tokens);
        let place = if inside { format!("inside {}", shown.facts.domain) } else { "outside".into() };
        taught.is_finite().then(|| format!("{place} {} and {}", number(taught), number(other)))
    };
    let both: Vec<String> = [true, false].into_iter().filter_map(of).collect();
    match both.as_slice() {
        [] => String::new(),
        both => format!("Mean length of the taught and the other answers, in tokens: {}.", both.join(", ")),
    }
}
