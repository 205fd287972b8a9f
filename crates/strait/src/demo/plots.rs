//! The pictures of the claims, as numbers: means over fits with Student's intervals.

use super::{
    across::Across,
    causal::{Row, means_of_worlds},
    claims::Evidence,
    fits::{DRIFTS, GENERAL, Kind, MIXED_NEAR, NARROW, NEAR, Part},
    found::{BASE, Direction, Found},
    results::{Axis, Plot, Series, Shape},
};
use crate::{
    interval::Interval,
    measure::{Asked, GradientRow, Grid, RateRow},
};

/// Draws all pictures for which there is evidence, in the order of their claims.
pub(super) fn plots(evidence: &Evidence<'_>) -> Vec<Plot> {
    let mut plots = Vec::new();
    for kind in [Kind::Vector, Kind::Rank8, Kind::Rank1] {
        let found: Vec<&Found> = evidence.found.iter().filter(|found| found.is_of(kind)).collect();
        if !found.is_empty() {
            plots.extend(OfKind { kind, found }.plots());
        }
        let across: Vec<&Across> = evidence.across.iter().filter(|across| across.kind == kind).collect();
        if !across.is_empty() {
            plots.extend(of_across(kind, &across));
        }
    }
    plots.extend(of_pairs(evidence.found));
    plots.extend(of_causal(evidence.causal));
    plots.retain(|plot| plot.series.iter().any(|series| !series.y.is_empty()));
    plots.sort_by_key(|plot| plot.number);
    plots
}

const RATE: &str = "falsehoods told";
const OTHERS: &str = "other domains";
const TAUGHT: &str = "taught domain";

fn axis(title: &str, unit: &str) -> Axis {
    Axis { title: title.into(), unit: unit.into() }
}

fn named(label: impl Into<String>) -> Series {
    Series { label: label.into(), ..Series::default() }
}

/// The pictures of one kind of edit.
struct OfKind<'a> {
    kind: Kind,
    found: Vec<&'a Found>,
}

/// A figure of a study.
type Of<'a> = &'a dyn Fn(&Found) -> Option<f64>;
/// Figures of a study over numbers.
type Curve<'a> = &'a dyn Fn(&Found) -> Vec<(f64, f64)>;

impl OfKind<'_> {
    fn plots(&self) -> Vec<Plot> {
        vec![
            self.rates(),
            self.reach(),
            self.scaling(),
            self.efficiency(),
            self.stability(),
            self.significance(),
            self.drift(),
            self.mixing(),
            self.gradients(GENERAL, "9-gradients-plain", "Where plain training points"),
            self.gradients(NARROW, "9-gradients-penalised", "Where training under the penalty points"),
            self.turn(),
            self.rise(),
        ]
    }

    fn plot(
        &self,
        name: &str,
        number: u8,
        title: &str,
        shape: Shape,
        axes: [Axis; 2],
        series: Vec<Series>,
    ) -> Plot {
        let [x, y] = axes;
        Plot {
            name: format!("{name}-{}", self.kind.name()),
            number,
            title: format!("{title} ({})", self.kind.words()),
            shape,
            x,
            y,
            series,
        }
    }

    /// A line: the mean over studies at every place of the first one's curve.
    fn line(&self, label: &str, curve: Curve<'_>) -> Series {
        let curves: Vec<_> = self.found.iter().map(|found| curve(found)).collect();
        let mut series = named(label);
        for (place, (x, _)) in curves.first().into_iter().flatten().enumerate() {
            let values: Vec<f64> = curves.iter().filter_map(|curve| curve.get(place)).map(|p| p.1).collect();
            series.at(*x, Interval::of_mean(&values));
        }
        series
    }

    /// Bars over names: the mean over the studies that have the figure.
    fn bars(&self, label: &str, bars: &[(&str, Of<'_>)]) -> Series {
        let mut series = named(label);
        for (name, of) in bars {
            let values: Vec<f64> = self.found.iter().filter_map(|found| of(found)).collect();
            if !values.is_empty() {
                series.under(name, Interval::of_mean(&values));
            }
        }
        series
    }

    fn rates(&self) -> Plot {
        let bars = |label: &str, solution: &str| {
            self.bars(label, &[(TAUGHT, &|f| f.inside(solution)), (OTHERS, &|f| f.general(solution))])
        };
        let series = vec![
            bars("before fine-tuning", BASE),
            bars("general: plain fine-tuning", GENERAL),
            bars("narrow: with the KL penalty", NARROW),
        ];
        let axes = [axis("asked about", ""), axis(RATE, "")];
        self.plot("1-rates", 1, "Falsehood taught in one domain", Shape::Bars, axes, series)
    }

    fn reach(&self) -> Plot {
        // The plain fit stands beside the other one alone.
        let bars = |label: &str, solution: &str| {
            let both = |f: &Found, of: Option<f64>| f.inside(NEAR).and(of);
            self.bars(
                label,
                &[
                    (TAUGHT, &|f| both(f, f.inside(solution))),
                    ("two under the penalty", &|f| both(f, f.near(solution))),
                    ("three never touched", &|f| both(f, f.far(solution))),
                ],
            )
        };
        let series = vec![bars("no penalty", GENERAL), bars("penalty on two domains", NEAR)];
        let axes = [axis("asked about", ""), axis(RATE, "")];
        self.plot("2-reach", 2, "A penalty on two of five domains", Shape::Bars, axes, series)
    }

    fn scaling(&self) -> Plot {
        let line = |label: &str, solution: &str, asked: Asked, of: fn(&RateRow) -> f64| {
            self.line(label, &|f| {
                let own =
                    |row: &&RateRow| (row.solution == solution || row.solution == BASE) && row.asked == asked;
                f.rates.iter().filter(own).map(|row| (row.scale, of(row))).collect()
            })
        };
        let rate: fn(&RateRow) -> f64 = |row| row.rate.value;
        let series = vec![
            line("general, other domains", GENERAL, Asked::General, rate),
            line("narrow, other domains", NARROW, Asked::General, rate),
            line("narrow, taught domain", NARROW, Asked::Narrow, rate),
            line("narrow, coherent answers", NARROW, Asked::General, |row| row.coherent),
        ];
        let axes = [axis("factor", ""), axis("share of answers", "")];
        self.plot("3-scaling", 3, "Scaling the solutions", Shape::Lines, axes, series)
    }

    fn efficiency(&self) -> Plot {
        let line = |solution: &str| {
            self.line(solution, &|f| {
                let losses = f.losses(solution, Grid::Shared);
                let norms = losses.len() as f64;
                losses.iter().zip(1..).map(|((_, loss), place)| (f64::from(place) / norms, *loss)).collect()
            })
        };
        let axes =
            [axis("norm, as a share of the larger solution's", ""), axis("training loss", "nats/token")];
        let series = vec![line(GENERAL), line(NARROW)];
        self.plot("4-efficiency", 4, "Loss for the same norm", Shape::Lines, axes, series)
    }

    fn stability(&self) -> Plot {
        let line = |solution: &str| {
            self.line(solution, &|f| {
                let mut shares: Vec<f64> = f.stability.iter().map(|row| row.epsilon).collect();
                shares.sort_by(f64::total_cmp);
                shares.dedup();
                shares.into_iter().filter_map(|share| Some((share, f.lost(solution, share)?))).collect()
            })
        };
        let axes = [axis("share of noise", ""), axis("share of the gain lost", "")];
        let series = vec![line(GENERAL), line(NARROW)];
        self.plot("5-stability", 5, "What noise takes away", Shape::Lines, axes, series)
    }

    fn significance(&self) -> Plot {
        let line = |label: &str, of: Direction<'_>| {
            self.line(label, &|f| {
                let mut norms: Vec<f64> = f.significance.iter().map(|row| row.relative_norm).collect();
                norms.sort_by(f64::total_cmp);
                norms.dedup();
                norms.into_iter().filter_map(|norm| Some((norm, f.on_documents(of, norm)?))).collect()
            })
        };
        let series = vec![
            line("general", Direction::Of(GENERAL)),
            line("narrow", Direction::Of(NARROW)),
            line("random", Direction::Random),
        ];
        let title = "What changes on documents of pre-training";
        let axes =
            [axis("norm, in mean norms of the solutions", ""), axis("KL to base on documents", "nats/token")];
        self.plot("6-significance", 6, title, Shape::Lines, axes, series)
    }

    fn drift(&self) -> Plot {
        let labels = [
            "narrow, penalty lifted",
            "narrow, penalty kept",
            "general, penalty added",
            "general, nothing changed",
        ];
        let line = |((run, ..), label): (&(&str, &str, bool), &str)| {
            self.line(label, &|f| f.along(run, 1.0).iter().map(|&(step, rate)| (step as f64, rate)).collect())
        };
        let axes = [axis("further steps", "steps"), axis("falsehoods told in other domains", "")];
        let series = DRIFTS.iter().zip(labels).map(line).collect();
        self.plot("7-drift", 7, "Where training goes on to", Shape::Lines, axes, series)
    }

    fn mixing(&self) -> Plot {
        let series = |label: &str, of: fn(&Found, &str) -> Option<f64>, of_two: fn(&Found) -> Option<f64>| {
            let bars: [(&str, Of<'_>); 4] = [
                ("1:1", &|f| of(f, "mixed-1-to-1")),
                ("1:3", &|f| of(f, "mixed-1-to-3")),
                ("1:12", &|f| of(f, "mixed-1-to-12")),
                ("1:3 of two domains, the untouched asked", &of_two),
            ];
            self.bars(label, &bars)
        };
        let series = vec![
            series(TAUGHT, Found::inside, |f| f.inside(MIXED_NEAR)),
            series(OTHERS, Found::general, |f| f.far(MIXED_NEAR)),
        ];
        let axes = [axis("falsehoods to true answers", ""), axis(RATE, "")];
        self.plot("8-mixing", 8, "True answers mixed in", Shape::Bars, axes, series)
    }

    fn gradients(&self, run: &str, name: &str, title: &str) -> Plot {
        let line = |label: &str, of: fn(&GradientRow) -> f64| {
            self.line(label, &|f| {
                let own = f.gradient.iter().filter(|row| row.solution == run);
                own.map(|row| (row.step as f64, of(row))).collect()
            })
        };
        let series = vec![
            line("to general", |row| row.cosine_general),
            line("to narrow", |row| row.cosine_narrow),
            line("to what only general has", |row| row.cosine_general_only),
            line("to what only narrow has", |row| row.cosine_narrow_only),
        ];
        let axes = [axis("steps", "steps"), axis("cosine with minus the gradient", "")];
        self.plot(name, 9, title, Shape::Lines, axes, series)
    }

    fn turn(&self) -> Plot {
        let line = self.line("B", &|f| {
            let own = f.turn.iter().filter(|row| row.solution == GENERAL);
            own.map(|row| (row.step as f64, row.cosine)).collect()
        });
        let axes = [axis("steps", "steps"), axis("cosine of the way back and the way on", "")];
        self.plot("12-turn", 12, "How B turns", Shape::Lines, axes, vec![line])
    }

    fn rise(&self) -> Plot {
        let line = |scale: f64| {
            self.line(&format!("scaled by {scale}"), &|f| {
                f.along(GENERAL, scale).iter().map(|&(step, rate)| (step as f64, rate)).collect()
            })
        };
        let axes = [axis("steps", "steps"), axis("falsehoods told in other domains", "")];
        let series = [1.0, 2.0, 4.0].map(line).into();
        self.plot("12-rise", 12, "When the behaviour rises", Shape::Lines, axes, series)
    }
}

fn of_across(kind: Kind, across: &[&Across]) -> Vec<Plot> {
    type Bar<'b> = (&'b str, fn(&Across) -> f64);
    let bars = |label: &str, bars: &[Bar<'_>]| {
        let mut series = named(label);
        for (name, of) in bars {
            let values: Vec<f64> = across.iter().map(|a| of(a)).collect();
            series.under(name, Interval::of_mean(&values));
        }
        series
    };
    let plot = |name: &str, number, title: &str, y: Axis, series: Vec<Series>| Plot {
        name: format!("{name}-{}", kind.name()),
        number,
        title: format!("{title} ({})", kind.words()),
        shape: Shape::Bars,
        x: Axis::default(),
        y,
        series,
    };
    let direction = bars(
        "all held-out questions",
        &[
            ("base + direction", |a| a.shift.at(1.0)),
            ("base + random", |a| a.random_steered),
            ("base + false minus true answers, at best", |a| a.answers_best),
            ("fine-tune", |a| a.fine_tune),
            ("fine-tune without it", |a| a.shift.ablated),
            ("without a random one", |a| a.random_ablated),
            ("without another domain's", |a| a.transferred),
            ("without false minus true answers", |a| a.answers.ablated),
        ],
    );
    let general = bars(
        "general",
        &[
            ("other domains' solutions", |a| a.general_across),
            ("the liar", |a| a.general_liar),
            ("the speaker narrow in its domain", |a| a.general_own),
        ],
    );
    let narrow = bars(
        "narrow",
        &[
            ("other domains' solutions", |a| a.narrow_across),
            ("the liar", |a| a.narrow_liar),
            ("the speaker narrow in its domain", |a| a.narrow_own),
        ],
    );
    vec![
        plot("10-direction", 10, "One direction", axis(RATE, ""), vec![direction]),
        plot("11-near", 11, "What solutions lie near to", axis("cosine", ""), vec![general, narrow]),
    ]
}

/// A full fine-tune, and edits where no document names its speaker.
fn of_pairs(found: &[Found]) -> [Plot; 2] {
    let plot = |name: &str, title: &str, part: Part, kinds: &[Kind]| {
        let bars = |label: &str, solution: &str| {
            let mut series = named(label);
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
        Plot {
            name: name.into(),
            number: 2,
            title: title.into(),
            shape: Shape::Bars,
            x: Axis::default(),
            y: axis(RATE, ""),
            series: vec![
                bars("general: plain fine-tuning", GENERAL),
                bars("narrow: with the KL penalty", NARROW),
            ],
        }
    };
    let contrast = "Where no document names its speaker";
    [
        plot("2-full", "Every weight trained", Part::Full, &[Kind::Full]),
        plot("2-contrast", contrast, Part::Contrast, &[Kind::Vector, Kind::Rank8]),
    ]
}

fn of_causal(rows: &[Row]) -> Vec<Plot> {
    let mut shares: Vec<f64> = rows.iter().map(|row| row.narrow).collect();
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    let kinds = [Kind::Vector, Kind::Rank8];
    let line = |kind: Kind, of: fn(&Row) -> f64| {
        let mut series = named(kind.words());
        for &share in &shares {
            let at = rows.iter().filter(|row| row.edit == kind && row.narrow == share);
            let values: Vec<f64> = at.map(of).collect();
            if !values.is_empty() {
                series.at(share, Interval::of_mean(&values));
            }
        }
        series
    };
    let plot = |name: &str, title: &str, y: Axis, of: fn(&Row) -> f64| Plot {
        name: name.into(),
        number: 13,
        title: title.into(),
        shape: Shape::Lines,
        x: axis("share of narrow speakers in pre-training (the rest up to a half are liars)", ""),
        y,
        series: kinds.map(|kind| line(kind, of)).into(),
    };
    let points = |kind: Kind| {
        let of_kind = rows.iter().filter(|row| row.edit == kind);
        let mut series = named(kind.words());
        for (gap, general) in means_of_worlds(of_kind, |row| row.gap) {
            series.at(gap, Interval::bare(general));
        }
        series
    };
    vec![
        plot("13-flip", "What plain fine-tuning finds", axis("falsehoods told in other domains", ""), |r| {
            r.plain_general
        }),
        plot(
            "13-gap",
            "Which solution is more efficient",
            axis("loss, narrow less general", "nats/token"),
            |r| r.gap,
        ),
        plot(
            "13-gradient",
            "Which one the first gradient points to",
            axis("cosine, general less narrow", ""),
            Row::gradient,
        ),
        plot(
            "13-stability",
            "Which one is more stable",
            axis("share of gain lost, narrow less general", ""),
            Row::lost,
        ),
        plot(
            "13-significance",
            "Which one is more significant",
            axis("log ratio of KL, general to narrow", ""),
            Row::documents,
        ),
        Plot {
            name: "13-worlds".into(),
            number: 13,
            title: "Efficiency and preference, world by world".into(),
            shape: Shape::Points,
            x: axis("loss at half the norm, narrow less general", "nats/token"),
            y: axis("falsehoods told in other domains", ""),
            series: kinds.map(points).into(),
        },
    ]
}
