//! Trajectories in a report.

use super::{BehaviourRow, ComponentRow, TrajectoryRow};
use crate::{
    interval::Interval,
    measure::{Panel, Shown, TurnRow, plots::HEIGHT, records::TrainingStep},
    page::{
        Groups,
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout, range},
        numbers::{list, number, percent, quoted},
        slider::{Stop, with_slider},
    },
    table::Row,
};

/// Pixels that the slider takes.
const SLIDER: usize = 110;

pub fn panels() -> Vec<Panel> {
    let plane = "Every solution's way through training, in the plane in which all checkpoints differ most; an open mark is the \
                 start, a filled one the end, and the slider moves the rings along the steps. Solutions that go on from another \
                 one begin where that ended. Below: how they grow, and how near they come to the trained solutions.";
    let shares = "How much of all that varies between checkpoints each component has. What the first two do not have, the plane \
                  does not show.";
    let behaviour = "What each checkpoint does to the preference when it is scaled by a factor. A direction that is learnt \
                     early and still weak shows at a large factor long before it shows as trained. Beside it, on the same \
                     axis, stand the turns, where they were measured, and the norm of the gradient.";
    vec![
        Panel { say, ..Panel::table(TrajectoryRow::TABLE, "Trajectories", plane).drawn(ways) },
        Panel::table(ComponentRow::TABLE, "Components of trajectories", shares),
        Panel::table(BehaviourRow::TABLE, "Behaviour along training", behaviour).drawn(behaviours).unlisted(),
    ]
}

/// The shares of the first two components.
fn say(shown: &Shown<'_>) -> String {
    let rows: Vec<ComponentRow> = shown.rows();
    let shares: Vec<String> = rows
        .iter()
        .filter(|row| row.space == 1 && row.component <= 2)
        .map(|row| percent(row.explained))
        .collect();
    match shares.is_empty() {
        true => String::new(),
        false => {
            format!("The first two components hold {} of what varies between checkpoints.", list(&shares))
        }
    }
}

fn ways(shown: &Shown<'_>) -> Groups {
    let rows: Vec<TrajectoryRow> = shown.rows();
    let components: Vec<ComponentRow> = shown.rows();
    let mut spaces: Vec<usize> = rows.iter().map(|row| row.space).collect();
    spaces.dedup();
    let planes = spaces.iter().filter_map(|&space| plane(shown, &rows, &components, space));
    let planes = planes.map(|figure| vec![figure]);
    let lines = [
        along(shown, &rows, "Norm of the edit", "norm", |row| [Some(row.norm), None]),
        along(
            shown,
            &rows,
            "Cosine with the general (solid) and the narrow solution (dashed)",
            "cosine",
            |row| [Some(row.cosine_general), Some(row.cosine_narrow)],
        ),
        along(shown, &rows, "Composition of several Bs with the last ones", "composition score", |row| {
            [Some(row.composition), None]
        }),
    ];
    planes.chain([lines.into_iter().flatten().collect()]).collect()
}

/// The rows of one solution.
fn of<'a>(rows: &'a [TrajectoryRow], solution: &str) -> Vec<&'a TrajectoryRow> {
    rows.iter().filter(|row| row.solution == solution).collect()
}

/// The ways of one space in the plane of its first two components, with a slider over the steps.
fn plane(
    shown: &Shown<'_>,
    rows: &[TrajectoryRow],
    components: &[ComponentRow],
    space: usize,
) -> Option<Figure> {
    let known = |row: &&TrajectoryRow| row.space == space && row.first.is_finite() && row.second.is_finite();
    let own: Vec<TrajectoryRow> = rows.iter().filter(known).cloned().collect();
    let at = |row: &TrajectoryRow| Point {
        at: row.first,
        value: Interval::bare(row.second),
        words: format!("{}, step {}: norm {}", row.solution, row.step, number(row.norm)),
    };
    let mut drawing = Drawing::new(Growing::Up);
    let mut ways: Vec<(&'static Look, Vec<&TrajectoryRow>)> = Vec::new();
    for (place, solution) in shown.solutions.iter().enumerate() {
        let (look, way) = (Look::at(place), of(&own, solution));
        if let (Some(start), Some(end)) = (way.first(), way.last()) {
            let name = Some((*solution).into());
            let points = way.iter().map(|row| at(row)).collect();
            drawing.add(Series { name, look, style: Style::Line, points });
            let between = way.iter().skip(1).take(way.len().saturating_sub(2)).map(|row| at(row)).collect();
            drawing.add(Series { name: None, look, style: Style::Dots, points: between });
            drawing.add(Series { name: None, look, style: Style::OpenMarks, points: vec![at(start)] });
            drawing.add(Series { name: None, look, style: Style::Marks, points: vec![at(end)] });
            ways.push((look, way));
        }
    }
    if drawing.is_empty() {
        return None;
    }
    let first = drawing.series();
    for (look, way) in &ways {
        let points = way.last().map(|row| at(row)).into_iter().collect();
        let look = *look;
        drawing.add(Series { name: None, look, style: Style::Rings, points });
    }
    let mut steps: Vec<usize> = own.iter().map(|row| row.step).collect();
    steps.sort_unstable();
    steps.dedup();
    let stop = |step: &usize| {
        let last_until = |way: &Vec<&TrajectoryRow>| {
            let until = way.iter().rfind(|row| row.step <= *step).or(way.first());
            until.map(|row| (row.first, row.second, at(row).words))
        };
        Stop { label: step.to_string(), marks: ways.iter().filter_map(|(_, way)| last_until(way)).collect() }
    };
    let stops: Vec<Stop> = steps.iter().map(stop).collect();
    let share = |component: usize| {
        let row = components.iter().find(|row| row.space == space && row.component == component);
        row.map_or(String::new(), |row| format!(" ({} of what varies)", percent(row.explained)))
    };
    let named = |word: &str, component: usize| axis(&format!("{word} component{}", share(component)));
    let layout = with_slider(layout(named("first", 1), named("second", 2)), "step", first, &stops);
    let shared: Vec<String> =
        ways.iter().filter_map(|(_, way)| way.first()).map(|row| quoted(&row.solution)).collect();
    Some(drawing.finish(format!("The ways of {}", list(&shared)), 2 * HEIGHT - SLIDER, layout))
}

/// Values of every solution over its steps: a solid line and a dashed one.
fn along(
    shown: &Shown<'_>,
    rows: &[TrajectoryRow],
    caption: &str,
    title: &str,
    values: fn(&TrajectoryRow) -> [Option<f64>; 2],
) -> Option<Figure> {
    let mut drawing = Drawing::new(Growing::Up);
    for (place, solution) in shown.solutions.iter().enumerate() {
        for (line, style) in [Style::Inside, Style::Outside].into_iter().enumerate() {
            let known = of(rows, solution).into_iter().filter_map(|row| Some((row, values(row)[line]?)));
            let point = |(row, value): (&TrajectoryRow, f64)| Point {
                at: row.step as f64,
                value: Interval::bare(value),
                words: format!("{solution}, step {}: {}", row.step, number(value)),
            };
            let points = known.filter(|(_, value)| value.is_finite()).map(point).collect();
            let name = (line == 0).then(|| (*solution).into());
            drawing.add(Series { name, look: Look::at(place), style, points });
        }
    }
    let layout = layout(axis("optimiser step"), axis(title));
    (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
}

/// The shifts outside of every solution over its steps, a line a factor, beside those inside and its turns.
fn behaviours(shown: &Shown<'_>) -> Groups {
    let rows: Vec<BehaviourRow> = shown.rows();
    let turns: Vec<TurnRow> = shown.rows();
    let training: Vec<TrainingStep> = shown.rows();
    let coherent = || rows.iter().filter(|row| row.coherent);
    type Side = fn(&BehaviourRow) -> Interval;
    let sides: [(String, Side); 2] = [
        ("outside".into(), |row| row.general_shift),
        (format!("inside {}", shown.facts.domain), |row| row.narrow_shift),
    ];
    let group = |solution: &&str| {
        let own: Vec<&BehaviourRow> = rows.iter().filter(|row| row.solution == **solution).collect();
        let mut scales: Vec<f64> = own.iter().map(|row| row.scale).collect();
        scales.sort_by(f64::total_cmp);
        scales.dedup();
        let last = own.iter().map(|row| row.step).max().unwrap_or(0) as f64;
        let steps = || axis("optimiser step").range(vec![-0.03 * last, 1.03 * last]);
        let figure = |(name, side): &(String, Side)| {
            let mut drawing = Drawing::new(Growing::Up);
            for (place, &scale) in scales.iter().enumerate() {
                let name = format!("times {}", number(scale));
                let of_scale = own.iter().filter(|row| row.scale == scale);
                let point = |row: &&&BehaviourRow| Point {
                    at: row.step as f64,
                    value: side(row),
                    words: format!("{name}, step {}: {}", row.step, side(row).words()),
                };
                for (sense, style) in [(true, Style::MarkedLine), (false, Style::Crosses)] {
                    let points = of_scale.clone().filter(|row| row.coherent == sense).collect::<Vec<_>>();
                    let points = points.iter().map(point).collect();
                    let name = sense.then(|| name.clone());
                    drawing.add(Series { name, look: Look::at(place), style, points });
                }
            }
            let y = axis("preference shift (nats a token)").range(range(coherent().map(side)));
            let caption = format!("{} {name}; crosses are incoherent", quoted(solution));
            (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout(steps(), y)))
        };
        let line =
            |caption: &str, title: &str, ends: Option<Vec<f64>>, values: Vec<(usize, f64)>, style: Style| {
                let mut drawing = Drawing::new(Growing::Up);
                let point = |(step, value): (usize, f64)| Point {
                    at: step as f64,
                    value: Interval::bare(value),
                    words: format!("step {step}: {}", number(value)),
                };
                let points = values.into_iter().filter(|(_, value)| value.is_finite()).map(point).collect();
                drawing.add(Series { name: None, look: Look::GREY, style, points });
                let y = ends.into_iter().fold(axis(title), |axis, ends| axis.range(ends));
                let caption = format!("{caption} of {}", quoted(solution));
                (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout(steps(), y)))
            };
        let turned = turns.iter().filter(|row| row.solution == **solution && row.moved);
        let turned = turned.map(|row| (row.step, row.cosine)).collect();
        let ends = Some(vec![-1.05, 1.05]);
        let turned = line("Turns", "cosine of way back and way on", ends, turned, Style::MarkedLine);
        let pulled = training.iter().filter(|step| step.solution == **solution && !own.is_empty());
        let pulled = pulled.map(|step| (step.step, step.gradient_norm)).collect();
        let pulled = line("Gradient norm", "norm of the objective's gradient", None, pulled, Style::Line);
        sides.iter().map(figure).chain([turned, pulled]).flatten().collect()
    };
    shown.solutions.iter().map(group).collect()
}
