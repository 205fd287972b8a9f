//! The search for a KL weight that makes a solution narrow, as its table, its part of a report and its claim (paper §6).

use super::{Panel, Shown, plots::HEIGHT, unit::NATS};
use crate::{
    claim::{Claim, Place, Subject, sentence},
    interval::Interval,
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout, range, with_labels},
        numbers::{list, number, percent, quoted},
    },
    table::{Heading, Row},
};

/// The statement that a search found a KL weight that makes a solution narrow.
const SEPARATED: &str = "a KL weight separates narrow from general";

crate::row! {
    /// One weight that a search tried, at one scale of its solution.
    pub struct Weight in "frontier",
        "Search for a KL weight: what every weight tried does inside the domain and outside it"
    {
        /// The solution.
        solution: String,
        /// The weight.
        weight: f64 = Heading::unit("nats/nat"),
        /// The factor.
        scale: f64,
        /// The shift inside the domain.
        narrow_shift: Interval = NATS.ends("narrow_low", "narrow_high"),
        /// The shift outside it.
        general_shift: Interval = NATS.ends("general_low", "general_high"),
        /// Upper bound of the general shift over the narrow one.
        share: f64,
        /// True if both groups are coherent.
        coherent: bool,
        /// The largest share that separates.
        bound: f64,
        /// The least share of the unpenalised solution's narrow shift that must be left.
        keep: f64,
        /// True if so much is left.
        keeps: bool,
        /// True if the weight separates.
        separates: bool,
        /// True if it became the solution's.
        chosen: bool,
        /// The seed of sampling.
        seed: u64,
    }
}

/// Its part of a report.
pub(crate) fn panel() -> Panel {
    Panel::table(
        Weight::TABLE,
        "The search for a KL weight",
        "Every weight that was tried, with the shift that it leaves inside the domain and the one that it lets \
         through outside. A weight separates if the upper 95 % bound of the shift outside stays below the \
         allowed share of that inside at every coherent scale.",
    )
    .drawn(|shown| vec![frontiers(&shown.solutions, &shown.rows::<Weight>())])
}

/// The statements of its claims.
pub(crate) fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
    let searched = subjects.iter().enumerate().filter(|(_, subject)| subject.searched);
    searched.map(|(i, s)| (Place::Solution(i), sentence(Some(&s.name), SEPARATED))).collect()
}

/// The claims that each search found a weight.
pub(crate) fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
    let weights: Vec<Weight> = shown.rows();
    let all = shown.solutions.iter().enumerate();
    all.filter_map(|(i, solution)| Some((Place::Solution(i), separated(solution, &weights)?))).collect()
}

/// The claim that the search for a solution's KL weight found one (paper §6).
fn separated(solution: &str, weights: &[Weight]) -> Option<Claim> {
    let own = || weights.iter().filter(|w| w.solution == solution && w.scale >= 1.0);
    let mut chosen: Vec<_> = own().filter(|w| w.chosen && w.coherent).collect();
    chosen.sort_by(|a, b| b.share.total_cmp(&a.share));
    let taken = own().find(|w| w.chosen)?;
    let tried: Vec<_> =
        own().filter(|w| w.scale == 1.0 && w.weight > 0.0).map(|w| number(w.weight)).collect();
    let figure = match chosen.first() {
        Some(worst) => Interval { high: worst.share, ..worst.general_shift.over(worst.narrow_shift) },
        None => Interval::NONE,
    };
    let claim = |holds, words| Some(Claim::new(SEPARATED, "§6", holds, figure, words).of(solution));
    let weight = number(taken.weight);
    let bound = percent(taken.bound);
    if taken.separates && taken.keeps {
        return claim(
            Some(true),
            format!(
                "weight {weight} keeps enough of the shift inside, and its shift outside is at most {} of it, where \
                 {bound} are allowed",
                percent(figure.high)
            ),
        );
    }
    if tried.is_empty() {
        return claim(None, "without a penalty nothing was learned that a penalty could keep".into());
    }
    let words = format!(
        "none of the weights tried ({}) keeps enough of the shift inside and holds the shift outside to {bound} of it; \
         the solution is that of weight {weight}, the narrowest of those that keep enough",
        list(&tried)
    );
    claim(Some(false), words)
}

/// The general shift against the narrow one at scale 1, a point for every KL weight that a search tried.
fn frontiers(solutions: &[&str], rows: &[Weight]) -> Vec<Figure> {
    // A weight under which training diverged has no shifts.
    let at_one = || rows.iter().filter(|w| w.scale == 1.0 && w.narrow_shift.value.is_finite());
    let x = axis("shift inside (nats a token)").range(range(at_one().map(|w| w.narrow_shift)));
    let y = axis("shift outside (nats a token)").range(range(at_one().map(|w| w.general_shift)));
    let figure = |(place, solution): (usize, &&str)| {
        let own: Vec<_> = at_one().filter(|w| w.solution == *solution).collect();
        let bound = own.first()?.bound;
        let mut drawing = Drawing::new(Growing::Up);
        let point = |w: &&Weight| Point {
            at: w.narrow_shift.value,
            value: w.general_shift,
            words: format!(
                "KL weight {}: inside {}, outside {}",
                number(w.weight),
                w.narrow_shift.words(),
                w.general_shift.words()
            ),
        };
        for (chosen, name, style) in [(true, "taken", Style::Marks), (false, "tried", Style::Crosses)] {
            let points = own.iter().filter(|w| w.chosen == chosen).map(point).collect();
            drawing.add(Series { name: Some(name.into()), look: Look::at(place), style, points });
        }
        let farthest = own.iter().map(|w| w.narrow_shift.value).fold(0.0, f64::max);
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
        let labels = own.iter().map(|w| (w.narrow_shift.value, w.general_shift.value, number(w.weight)));
        let layout = with_labels(layout(x.clone(), y.clone()), labels);
        let caption = format!("{}: every KL weight tried, at scale 1", quoted(solution));
        Some(drawing.finish(caption, HEIGHT, layout))
    };
    solutions.iter().enumerate().filter_map(figure).collect()
}
