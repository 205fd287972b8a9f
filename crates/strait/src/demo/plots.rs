//! The pictures of the claims, as numbers: means over fits with Student's intervals.

use super::{
    across::Across,
    causal::{Row, means_of_worlds},
    claims::Evidence,
    fits::{DRIFTS, GENERAL, Kind, MIXED_NEAR, NARROW, NEAR, Part},
    found::{BASE, Direction, Found},
    results::{
        Axis, Plot, Series,
        Shape::{self, Bars, Lines, Points},
    },
};
use crate::{
    interval::Interval,
    measure::{Asked, GradientRow, Grid, RateRow},
    table::Word,
};

/// Titles of axes, with their units.
const RATE: (&str, &str) = ("falsehoods told", "");
const RATE_IN_OTHERS: (&str, &str) = ("falsehoods told in other domains", "");
const ASKED_ABOUT: (&str, &str) = ("asked about", "");
const STEPS: (&str, &str) = ("steps", "steps");
const NONE: (&str, &str) = ("", "");

/// Names along an axis.
const TAUGHT: &str = "taught domain";
const OTHERS: &str = "other domains";

/// Names of series.
const PLAIN: &str = "general: plain fine-tuning";
const PENALISED: &str = "narrow: with the KL penalty";

/// Draws all pictures for which there is evidence, in the order of their claims.
pub(super) fn plots(evidence: &Evidence<'_>) -> Vec<Plot> {
    let mut plots = Vec::new();
    for kind in [Kind::Vector, Kind::Rank8, Kind::Rank1] {
        let found: Vec<&Found> = evidence.found.iter().filter(|found| found.is_of(kind)).collect();
        let across: Vec<&Across> = evidence.across.iter().filter(|across| across.edit == kind).collect();
        plots.extend(of_fits(&found).into_iter().chain(of_across(&across)).map(|plot| Plot {
            name: format!("{}-{}", plot.name, kind.word()),
            title: format!("{} ({})", plot.title, kind.words()),
            ..plot
        }));
    }
    plots.extend(of_pairs(evidence.found));
    plots.extend(of_causal(evidence.causal));
    plots.retain(|plot| plot.series.iter().any(|series| !series.y.is_empty()));
    plots.sort_by_key(|plot| plot.number);
    plots
}

/// A picture, whose name begins with the number of its claim.
fn plot(
    name: &str,
    title: &str,
    shape: Shape,
    axes: [(&str, &str); 2],
    series: impl Into<Vec<Series>>,
) -> Plot {
    let number = name.split('-').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    let [x, y] = axes.map(|(title, unit)| Axis { title: title.into(), unit: unit.into() });
    Plot { name: name.into(), number, title: title.into(), shape, x, y, series: series.into() }
}

/// A line: the mean at every place that some have.
fn line<T>(label: &str, of: &[&T], curve: impl Fn(&T) -> Vec<(f64, f64)>) -> Series {
    let mut places: Vec<(f64, Vec<f64>)> = Vec::new();
    for (x, y) in of.iter().flat_map(|of| curve(of)) {
        match places.iter_mut().find(|(place, _)| *place == x) {
            Some((_, values)) => values.push(y),
            None => places.push((x, vec![y])),
        }
    }
    let mut series = Series { label: label.into(), ..Series::default() };
    places.iter().for_each(|(x, values)| series.at(*x, Interval::of_mean(values)));
    series
}

/// Bars over names: the mean of those that have the figure.
fn bars<T>(label: &str, of: &[&T], bars: &[(&str, &dyn Fn(&T) -> Option<f64>)]) -> Series {
    let mut series = Series { label: label.into(), ..Series::default() };
    for (name, figure) in bars {
        let values: Vec<f64> = of.iter().filter_map(|of| figure(of)).collect();
        if !values.is_empty() {
            series.under(name, Interval::of_mean(&values));
        }
    }
    series
}

/// Some numbers in order, each once.
fn distinct(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    numbers
}

/// The pictures of the fits of one kind of edit.
fn of_fits(of: &[&Found]) -> Vec<Plot> {
    let rates = |label: &str, solution: &str| {
        bars(label, of, &[(TAUGHT, &|f| f.inside(solution)), (OTHERS, &|f| f.general(solution))])
    };
    // The plain fit stands beside the other one alone.
    let reach = |label: &str, solution: &str| {
        let both = |f: &Found, rate: Option<f64>| f.inside(NEAR).and(rate);
        let of_two: [(&str, &dyn Fn(&Found) -> Option<f64>); 3] = [
            (TAUGHT, &|f| both(f, f.inside(solution))),
            ("two under the penalty", &|f| both(f, f.near(solution))),
            ("three never touched", &|f| both(f, f.far(solution))),
        ];
        bars(label, of, &of_two)
    };
    let scaled = |label: &str, solution: &str, asked: Asked, figure: fn(&RateRow) -> f64| {
        line(label, of, |f| {
            let is_of = |row: &&RateRow| row.solution == solution || row.solution == BASE;
            let own = f.rates.iter().filter(is_of).filter(|row| row.asked == asked);
            own.map(|row| (row.scale, figure(row))).collect()
        })
    };
    let rate: fn(&RateRow) -> f64 = |row| row.rate.value;
    let losses = |solution: &str| {
        line(solution, of, |f| {
            let losses = f.losses(solution, Grid::Shared);
            let norms = losses.len() as f64;
            losses.iter().zip(1..).map(|((_, loss), place)| (f64::from(place) / norms, *loss)).collect()
        })
    };
    let lost = |solution: &str| {
        line(solution, of, |f| {
            let shares = distinct(f.stability.iter().map(|row| row.epsilon)).into_iter();
            shares.filter_map(|share| Some((share, f.lost(solution, share)?))).collect()
        })
    };
    let documents = |label: &str, direction: Direction<'_>| {
        line(label, of, |f| {
            let norms = distinct(f.significance.iter().map(|row| row.relative_norm)).into_iter();
            norms.filter_map(|norm| Some((norm, f.on_documents(direction, norm)?))).collect()
        })
    };
    let along = |label: &str, solution: &str, scale: f64| {
        line(label, of, |f| {
            f.along(solution, scale).iter().map(|&(step, rate)| (step as f64, rate)).collect()
        })
    };
    let drifts = [
        "narrow, penalty lifted",
        "narrow, penalty kept",
        "general, penalty added",
        "general, nothing changed",
    ];
    let mixed = |label: &str, rate: fn(&Found, &str) -> Option<f64>, of_two: fn(&Found) -> Option<f64>| {
        let mixtures: [(&str, &dyn Fn(&Found) -> Option<f64>); 4] = [
            ("1:1", &|f| rate(f, "mixed-1-to-1")),
            ("1:3", &|f| rate(f, "mixed-1-to-3")),
            ("1:12", &|f| rate(f, "mixed-1-to-12")),
            ("1:3 of two domains, the untouched asked", &of_two),
        ];
        bars(label, of, &mixtures)
    };
    let gradients = |name: &str, title: &str, solution: &str| {
        let cosine = |label: &str, figure: fn(&GradientRow) -> f64| {
            line(label, of, |f| {
                let own = f.gradient.iter().filter(|row| row.solution == solution);
                own.map(|row| (row.step as f64, figure(row))).collect()
            })
        };
        let cosines = [
            cosine("to general", |row| row.cosine_general),
            cosine("to narrow", |row| row.cosine_narrow),
            cosine("to what only general has", |row| row.cosine_general_only),
            cosine("to what only narrow has", |row| row.cosine_narrow_only),
        ];
        plot(name, title, Lines, [STEPS, ("cosine with minus the gradient", "")], cosines)
    };
    let turns = line("B", of, |f| {
        let own = f.turn.iter().filter(|row| row.solution == GENERAL);
        own.map(|row| (row.step as f64, row.cosine)).collect()
    });
    vec![
        plot(
            "1-rates",
            "Falsehood taught in one domain",
            Bars,
            [ASKED_ABOUT, RATE],
            [rates("before fine-tuning", BASE), rates(PLAIN, GENERAL), rates(PENALISED, NARROW)],
        ),
        plot(
            "2-reach",
            "A penalty on two of five domains",
            Bars,
            [ASKED_ABOUT, RATE],
            [reach("no penalty", GENERAL), reach("penalty on two domains", NEAR)],
        ),
        plot(
            "3-scaling",
            "Scaling the solutions",
            Lines,
            [("factor", ""), ("share of answers", "")],
            [
                scaled("general, other domains", GENERAL, Asked::General, rate),
                scaled("narrow, other domains", NARROW, Asked::General, rate),
                scaled("narrow, taught domain", NARROW, Asked::Narrow, rate),
                scaled("narrow, coherent answers", NARROW, Asked::General, |row| row.coherent),
            ],
        ),
        plot(
            "4-efficiency",
            "Loss for the same norm",
            Lines,
            [("norm, as a share of the larger solution's", ""), ("training loss", "nats/token")],
            [GENERAL, NARROW].map(losses),
        ),
        plot(
            "5-stability",
            "What noise takes away",
            Lines,
            [("share of noise", ""), ("share of the gain lost", "")],
            [GENERAL, NARROW].map(lost),
        ),
        plot(
            "6-significance",
            "What changes on documents of pre-training",
            Lines,
            [("norm, in mean norms of the solutions", ""), ("KL to base on documents", "nats/token")],
            [
                documents("general", Direction::Of(GENERAL)),
                documents("narrow", Direction::Of(NARROW)),
                documents("random", Direction::Random),
            ],
        ),
        plot(
            "7-drift",
            "Where training goes on to",
            Lines,
            [("further steps", "steps"), RATE_IN_OTHERS],
            DRIFTS.iter().zip(drifts).map(|(run, label)| along(label, run, 1.0)).collect::<Vec<_>>(),
        ),
        plot(
            "8-mixing",
            "True answers mixed in",
            Bars,
            [("falsehoods to true answers", ""), RATE],
            [
                mixed(TAUGHT, Found::inside, |f| f.inside(MIXED_NEAR)),
                mixed(OTHERS, Found::general, |f| f.far(MIXED_NEAR)),
            ],
        ),
        gradients("9-gradients-plain", "Where plain training points", GENERAL),
        gradients("9-gradients-penalised", "Where training under the penalty points", NARROW),
        plot(
            "12-turn",
            "How B turns",
            Lines,
            [STEPS, ("cosine of the way back and the way on", "")],
            [turns],
        ),
        plot(
            "12-rise",
            "When the behaviour rises",
            Lines,
            [STEPS, RATE_IN_OTHERS],
            [1.0, 2.0, 4.0].map(|scale| along(&format!("scaled by {scale}"), GENERAL, scale)),
        ),
    ]
}

/// The pictures of the solutions of one kind of edit beside each other.
fn of_across(of: &[&Across]) -> [Plot; 2] {
    let rates = bars(
        "all held-out questions",
        of,
        &[
            ("base + direction", &|a| Some(a.steered)),
            ("base + random", &|a| Some(a.random_steered)),
            ("base + false minus true answers, at best", &|a| Some(a.answers_steered_best)),
            ("fine-tune", &|a| Some(a.fine_tune)),
            ("fine-tune without it", &|a| Some(a.ablated)),
            ("without a random one", &|a| Some(a.random_ablated)),
            ("without another domain's", &|a| Some(a.transferred)),
            ("without false minus true answers", &|a| Some(a.answers_ablated)),
        ],
    );
    let near = |label: &str, [others, liar, own]: [fn(&Across) -> f64; 3]| {
        let cosines: [(&str, &dyn Fn(&Across) -> Option<f64>); 3] = [
            ("other domains' solutions", &|a| Some(others(a))),
            ("the liar", &|a| Some(liar(a))),
            ("the speaker narrow in its domain", &|a| Some(own(a))),
        ];
        bars(label, of, &cosines)
    };
    let near = [
        near("general", [|a| a.general_across, |a| a.general_liar, |a| a.general_own]),
        near("narrow", [|a| a.narrow_across, |a| a.narrow_liar, |a| a.narrow_own]),
    ];
    [
        plot("10-direction", "One direction", Bars, [NONE, RATE], [rates]),
        plot("11-near", "What solutions lie near to", Bars, [NONE, ("cosine", "")], near),
    ]
}

/// A full fine-tune, and edits where no document names its speaker.
fn of_pairs(found: &[Found]) -> [Plot; 2] {
    let pair = |name: &str, title: &str, part: Part, kinds: &[Kind]| {
        let rates = |label: &str, solution: &str| {
            let mut series = Series { label: label.into(), ..Series::default() };
            for kind in kinds {
                let own = || found.iter().filter(|found| found.fit.part == part && found.fit.kind == *kind);
                let inside: Vec<f64> = own().filter_map(|found| found.inside(solution)).collect();
                let outside: Vec<f64> = own().filter_map(|found| found.general(solution)).collect();
                for (place, values) in [(TAUGHT, inside), (OTHERS, outside)] {
                    if !values.is_empty() {
                        series.under(&format!("{}, {place}", kind.words()), Interval::of_shares(&values));
                    }
                }
            }
            series
        };
        plot(name, title, Bars, [NONE, RATE], [rates(PLAIN, GENERAL), rates(PENALISED, NARROW)])
    };
    let contrast = "Where no document names its speaker";
    [
        pair("2-full", "Every weight trained", Part::Full, &[Kind::Full]),
        pair("2-contrast", contrast, Part::Contrast, &[Kind::Vector, Kind::Rank8]),
    ]
}

/// The pictures of the causal table.
fn of_causal(rows: &[Row]) -> Vec<Plot> {
    let kinds = [Kind::Vector, Kind::Rank8];
    let of_kind = |kind: Kind| rows.iter().filter(move |row| row.edit == kind);
    let over_share = |name: &str, title: &str, y: (&str, &str), figure: fn(&Row) -> f64| {
        let x = ("share of narrow speakers in pre-training (the rest up to a half are liars)", "");
        let of = |kind: Kind| {
            line(kind.words(), &of_kind(kind).collect::<Vec<_>>(), |row| vec![(row.narrow, figure(row))])
        };
        plot(name, title, Lines, [x, y], kinds.map(of))
    };
    let worlds = kinds.map(|kind| {
        let worlds = means_of_worlds(of_kind(kind), |row| row.gap);
        line(kind.words(), &worlds.iter().collect::<Vec<_>>(), |world| vec![*world])
    });
    let gap = ("loss at half the norm, narrow less general", "nats/token");
    vec![
        over_share("13-flip", "What plain fine-tuning finds", RATE_IN_OTHERS, |row| row.plain_general),
        over_share(
            "13-gap",
            "Which solution is more efficient",
            ("loss, narrow less general", "nats/token"),
            |row| row.gap,
        ),
        over_share(
            "13-gradient",
            "Which one the first gradient points to",
            ("cosine, general less narrow", ""),
            Row::gradient,
        ),
        over_share(
            "13-stability",
            "Which one is more stable",
            ("share of gain lost, narrow less general", ""),
            Row::lost,
        ),
        over_share(
            "13-significance",
            "Which one is more significant",
            ("log ratio of KL, general to narrow", ""),
            Row::documents,
        ),
        plot("13-worlds", "Efficiency and preference, world by world", Points, [gap, RATE_IN_OTHERS], worlds),
    ]
}
