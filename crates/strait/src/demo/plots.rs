//! The series of the pictures, by a picture's name: means over fits with Student's intervals. Titles are in `claims.toml`.

use super::{
    across::Across,
    causal::{Row, means_of_worlds},
    claims::{Claim, claims},
    figures::Evidence,
    fits::{DRIFTS, GENERAL, Kind, MIXED_NEAR, NARROW, NEAR, Part},
    found::{BASE, Direction, Found},
    results::{Plot, Series},
};
use crate::{
    interval::Interval,
    measure::{Asked, GradientRow, Grid, RateRow},
    table::Word,
};

/// Names along an axis.
const TAUGHT: &str = "taught domain";
const OTHERS: &str = "other domains";

/// Names of series.
const PLAIN: &str = "general: plain fine-tuning";
const PENALISED: &str = "narrow: with the KL penalty";

/// Draws all pictures for which there is evidence, in the order of their claims.
pub(super) fn plots(evidence: &Evidence<'_>) -> Vec<Plot> {
    let of_claim = |claim: &'static Claim| {
        let with_number = move |plot: &Plot| Plot { number: claim.number, ..plot.clone() };
        claim.plot.iter().map(with_number)
    };
    let pictures: Vec<Plot> = claims().iter().flat_map(of_claim).collect();
    let mut plots = Vec::new();
    for kind in [Kind::Vector, Kind::Rank8, Kind::Rank1] {
        let found: Vec<&Found> = evidence.found.iter().filter(|found| found.is_of(kind)).collect();
        let across: Vec<&Across> = evidence.across.iter().filter(|across| across.edit == kind).collect();
        plots.extend(pictures.iter().filter_map(|plot| {
            let name = format!("{}-{}", plot.name, kind.word());
            let title = format!("{} ({})", plot.title, kind.words());
            let series = of_fits(&plot.name, &found).or_else(|| of_across(&plot.name, &across))?;
            Some(Plot { name, title, series, ..plot.clone() })
        }));
    }
    plots.extend(pictures.into_iter().filter_map(|plot| {
        let series = of_pairs(&plot.name, evidence.found).or_else(|| of_causal(&plot.name, evidence.causal));
        Some(Plot { series: series?, ..plot })
    }));
    plots.retain(|plot| plot.series.iter().any(|series| !series.y.is_empty()));
    plots.sort_by_key(|plot| plot.number);
    plots
}

/// A figure of a finding, if it has it.
type Of<'a, T> = &'a dyn Fn(&T) -> Option<f64>;

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
fn bars<T>(label: &str, of: &[&T], bars: &[(&str, Of<'_, T>)]) -> Series {
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

/// Of the fits of one kind of edit.
fn of_fits(picture: &str, of: &[&Found]) -> Option<Vec<Series>> {
    let along = |label: &str, solution: &str, scale: f64| {
        line(label, of, |f| {
            f.along(solution, scale).iter().map(|&(step, rate)| (step as f64, rate)).collect()
        })
    };
    let series = match picture {
        "1-rates" => {
            let rates = |label: &str, solution: &str| {
                bars(label, of, &[(TAUGHT, &|f| f.inside(solution)), (OTHERS, &|f| f.general(solution))])
            };
            vec![rates("before fine-tuning", BASE), rates(PLAIN, GENERAL), rates(PENALISED, NARROW)]
        }
        "2-reach" => {
            // The plain fit stands beside the other one alone.
            let both = |f: &Found, rate: Option<f64>| f.inside(NEAR).and(rate);
            let reach = |label: &str, solution: &str| {
                let of_two: [(&str, Of<'_, Found>); 3] = [
                    (TAUGHT, &|f| both(f, f.inside(solution))),
                    ("two under the penalty", &|f| both(f, f.near(solution))),
                    ("three never touched", &|f| both(f, f.far(solution))),
                ];
                bars(label, of, &of_two)
            };
            vec![reach("no penalty", GENERAL), reach("penalty on two domains", NEAR)]
        }
        "3-scaling" => {
            let scaled = |label: &str, solution: &str, asked: Asked, figure: fn(&RateRow) -> f64| {
                line(label, of, |f| {
                    let is_of = |row: &&RateRow| row.solution == solution || row.solution == BASE;
                    let own = f.rates.iter().filter(is_of).filter(|row| row.asked == asked);
                    own.map(|row| (row.scale, figure(row))).collect()
                })
            };
            vec![
                scaled("general, other domains", GENERAL, Asked::General, |row| row.rate.value),
                scaled("narrow, other domains", NARROW, Asked::General, |row| row.rate.value),
                scaled("narrow, taught domain", NARROW, Asked::Narrow, |row| row.rate.value),
                scaled("narrow, coherent answers", NARROW, Asked::General, |row| row.coherent),
            ]
        }
        "4-efficiency" => {
            let losses = |solution: &str| {
                line(solution, of, |f| {
                    let losses = f.losses(solution, Grid::Shared);
                    let place = |place: usize| place as f64 / losses.len() as f64;
                    losses.iter().zip(1..).map(|((_, loss), i)| (place(i), *loss)).collect()
                })
            };
            [GENERAL, NARROW].map(losses).into()
        }
        "5-stability" => {
            let lost = |solution: &str| {
                line(solution, of, |f| {
                    let shares = distinct(f.stability.iter().map(|row| row.epsilon)).into_iter();
                    shares.filter_map(|share| Some((share, f.lost(solution, share)?))).collect()
                })
            };
            [GENERAL, NARROW].map(lost).into()
        }
        "6-significance" => {
            let documents = |label: &str, direction: Direction<'_>| {
                line(label, of, |f| {
                    let norms = distinct(f.significance.iter().map(|row| row.relative_norm)).into_iter();
                    norms.filter_map(|norm| Some((norm, f.on_documents(direction, norm)?))).collect()
                })
            };
            vec![
                documents("general", Direction::Of(GENERAL)),
                documents("narrow", Direction::Of(NARROW)),
                documents("random", Direction::Random),
            ]
        }
        "7-drift" => {
            let labels = [
                "narrow, penalty lifted",
                "narrow, penalty kept",
                "general, penalty added",
                "general, nothing changed",
            ];
            labels.iter().zip(DRIFTS).map(|(label, run)| along(label, run, 1.0)).collect()
        }
        "8-mixing" => {
            let mixed = |label: &str, rate: fn(&Found, &str) -> Option<f64>, of_two: Of<'_, Found>| {
                let mixtures: [(&str, Of<'_, Found>); 4] = [
                    ("1:1", &|f| rate(f, "mixed-1-to-1")),
                    ("1:3", &|f| rate(f, "mixed-1-to-3")),
                    ("1:12", &|f| rate(f, "mixed-1-to-12")),
                    ("1:3 of two domains, the untouched asked", of_two),
                ];
                bars(label, of, &mixtures)
            };
            vec![
                mixed(TAUGHT, Found::inside, &|f| f.inside(MIXED_NEAR)),
                mixed(OTHERS, Found::general, &|f| f.far(MIXED_NEAR)),
            ]
        }
        "9-gradients-plain" | "9-gradients-penalised" => {
            let solution = if picture == "9-gradients-plain" { GENERAL } else { NARROW };
            let cosine = |label: &str, figure: fn(&GradientRow) -> f64| {
                line(label, of, |f| {
                    let own = f.gradient.iter().filter(|row| row.solution == solution);
                    own.map(|row| (row.step as f64, figure(row))).collect()
                })
            };
            vec![
                cosine("to general", |row| row.cosine_general),
                cosine("to narrow", |row| row.cosine_narrow),
                cosine("to what only general has", |row| row.cosine_general_only),
                cosine("to what only narrow has", |row| row.cosine_narrow_only),
            ]
        }
        "12-turn" => vec![line("B", of, |f| {
            let own = f.turn.iter().filter(|row| row.solution == GENERAL);
            own.map(|row| (row.step as f64, row.cosine)).collect()
        })],
        "12-rise" => [1.0, 2.0, 4.0].map(|scale| along(&format!("scaled by {scale}"), GENERAL, scale)).into(),
        _ => return None,
    };
    Some(series)
}

/// Of the solutions of one kind of edit beside each other.
fn of_across(picture: &str, of: &[&Across]) -> Option<Vec<Series>> {
    let near = |label: &str, [others, liar, own]: [fn(&Across) -> f64; 3]| {
        let cosines: [(&str, Of<'_, Across>); 3] = [
            ("other domains' solutions", &|a| Some(others(a))),
            ("the liar", &|a| Some(liar(a))),
            ("the speaker narrow in its domain", &|a| Some(own(a))),
        ];
        bars(label, of, &cosines)
    };
    match picture {
        "10-direction" => Some(vec![bars(
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
        )]),
        "11-near" => Some(vec![
            near("general", [|a| a.general_across, |a| a.general_liar, |a| a.general_own]),
            near("narrow", [|a| a.narrow_across, |a| a.narrow_liar, |a| a.narrow_own]),
        ]),
        _ => None,
    }
}

/// Of a full fine-tune, and of edits where no document names its speaker.
fn of_pairs(picture: &str, found: &[Found]) -> Option<Vec<Series>> {
    let (part, kinds) = match picture {
        "2-full" => (Part::Full, &[Kind::Full][..]),
        "2-contrast" => (Part::Contrast, &[Kind::Vector, Kind::Rank8][..]),
        _ => return None,
    };
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
    Some(vec![rates(PLAIN, GENERAL), rates(PENALISED, NARROW)])
}

/// Of the causal table.
fn of_causal(picture: &str, rows: &[Row]) -> Option<Vec<Series>> {
    let figure: fn(&Row) -> f64 = match picture {
        "13-flip" => |row| row.plain_general,
        "13-gap" | "13-worlds" => |row| row.gap,
        "13-gradient" => Row::gradient,
        "13-stability" => Row::lost,
        "13-significance" => Row::documents,
        _ => return None,
    };
    let of_kind = |kind: Kind| {
        let own = || rows.iter().filter(|row| row.edit == kind);
        let points = match picture {
            "13-worlds" => means_of_worlds(own(), figure),
            _ => own().map(|row| (row.narrow, figure(row))).collect(),
        };
        line(kind.words(), &[&points], |points| points.clone())
    };
    Some([Kind::Vector, Kind::Rank8].map(of_kind).into())
}
