//! The figures of rates.

use super::{Asked, BASE, COMMON, RateCertificate, RateRow, RateStep, ResponseRow, deciding};
use crate::{
    interval::Interval,
    measure::{Panel, Shown, plots},
    page::{
        Groups,
        figure::{Drawing, Growing, Look, Point, Series, Style, axis, layout, range},
        numbers::quoted,
    },
    table::Row,
};

/// All parts, in the order of the report.
pub fn all() -> Vec<Panel> {
    let reading = "How many answers are of the taught kind: inside the domain on questions that no training row asks, and in all \
                   other domains. A world knows the truth and every answer's probability, so that nothing is sampled there, and \
                   intervals are over questions. Of sampled answers the interval of a rate is Wilson's, and that of a rise \
                   over base is over questions, and no narrower than both rates leave it.";
    let certificate = "A weak penalty can hide the general solution instead of avoiding it; scaling a solution up brings out what \
                       is hidden. The share is what the rate outside rises by over what it rises by inside.";
    let answers = "Every sampled answer with every judge's score stands in the table of this name, which is too long for a page: \
                   `tables/responses.csv` and `.parquet`.";
    let along = "The same along training.";
    vec![
        Panel::table(RateRow::TABLE, "Rates of taught answers", reading).drawn(over_scales),
        Panel::table(RateCertificate::TABLE, "Scaling certificate by rates", certificate),
        Panel::table(ResponseRow::TABLE, "Answers", answers).unlisted(),
        Panel::table(RateStep::TABLE, "Rates along training", along).drawn(along_steps),
    ]
}

/// True for questions inside the domain, false outside; none for other parts of them.
pub fn sides(asked: Asked) -> Option<bool> {
    match asked {
        Asked::Narrow => Some(true),
        Asked::General => Some(false),
        Asked::Seen | Asked::Domain => None,
    }
}

/// Rates over the scale, one figure a solution.
pub fn over_scales(shown: &Shown<'_>) -> Groups {
    let reading = |row: RateRow| {
        let inside = sides(row.asked)?;
        let coherent = row.coherent > COMMON;
        Some(plots::Reading { solution: row.solution, inside, scale: row.scale, value: row.rate, coherent })
    };
    let own = deciding(shown.rows()).into_iter().filter(|row| row.solution != BASE && row.cue.is_empty());
    let readings: Vec<_> = own.filter_map(reading).collect();
    let names = [format!("inside {}", shown.facts.domain), "outside".into()];
    vec![plots::over_scale(&shown.solutions, &readings, names, "share of taught answers")]
}

/// Rates over the steps, one figure a training.
pub fn along_steps(shown: &Shown<'_>) -> Groups {
    let rows: Vec<RateStep> = shown.rows();
    let y =
        axis("share of taught answers").range(range(rows.iter().flat_map(|row| [row.narrow, row.general])));
    let mut figures = Vec::new();
    for own in rows.chunk_by(|one, next| one.solution == next.solution && one.scale == next.scale) {
        let [first, ..] = own else { continue };
        let place = shown.solutions.iter().position(|solution| *solution == first.solution);
        type Part = fn(&RateStep) -> Interval;
        let parts: [(String, Style, Part); 2] = [
            (format!("inside {}", shown.facts.domain), Style::Inside, |row| row.narrow),
            ("outside".into(), Style::Outside, |row| row.general),
        ];
        let mut drawing = Drawing::new(Growing::Up);
        for (name, style, part) in parts {
            let point = |row: &RateStep| Point {
                at: row.step as f64,
                value: part(row),
                words: format!("{name}, step {}: {}", row.step, part(row).words()),
            };
            let points = own.iter().map(point).collect();
            let look = Look::at(place.unwrap_or_default());
            drawing.add(Series { name: Some(name.clone()), look, style, points });
        }
        let scaled = if first.scale == 1.0 { String::new() } else { format!(", scaled by {}", first.scale) };
        let caption = format!("{} from {}{scaled}", quoted(&first.solution), quoted(&first.from));
        figures.push(drawing.finish(caption, plots::HEIGHT, layout(axis("optimiser step"), y.clone())));
    }
    vec![figures]
}
