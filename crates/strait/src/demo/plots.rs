//! The pictures of the claims, as numbers: means over fits with Student's intervals.

use super::{
    across::Across,
    bench::{Kind, far},
    causal,
    claims::{Evidence, rate_in, rate_near},
    pair::{How, Pair},
    piece::{GENERAL, Mixed, NARROW, NEAR_RATIO, Piece, RATIOS},
    results::{Axis, Plot, Series, Shape},
};
use crate::interval::Interval;

/// Draws all pictures for which there is evidence, in the order of their claims.
pub(super) fn plots(evidence: &Evidence<'_>) -> Vec<Plot> {
    let mut plots = Vec::new();
    for kind in [Kind::Vector, Kind::Rank8, Kind::Rank1] {
        let pieces: Vec<&Piece> = evidence.pieces.iter().filter(|piece| piece.kind == kind).collect();
        if !pieces.is_empty() {
            plots.extend(OfPieces { kind, pieces }.plots());
        }
        let across: Vec<&Across> = evidence.across.iter().filter(|across| across.kind == kind).collect();
        if !across.is_empty() {
            plots.extend(of_across(kind, &across));
        }
    }
    plots.extend(of_pairs(evidence.pairs));
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
struct OfPieces<'a> {
    kind: Kind,
    pieces: Vec<&'a Piece>,
}

/// A figure of a piece.
type Of<'a> = &'a dyn Fn(&Piece) -> Option<f64>;

impl OfPieces<'_> {
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

    /// The mean over the pieces that have the figure; none where no piece has.
    fn over(&self, of: Of<'_>) -> Option<Interval> {
        let values: Vec<f64> = self.pieces.iter().filter_map(|piece| of(piece)).collect();
        (!values.is_empty()).then(|| Interval::of_mean(&values))
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

    /// A line over the places where the first piece was read.
    fn line(&self, label: &str, places: &[f64], of: &dyn Fn(&Piece, usize) -> Option<f64>) -> Series {
        let mut series = named(label);
        for (place, &x) in places.iter().enumerate() {
            if let Some(figure) = self.over(&|piece| of(piece, place)) {
                series.at(x, figure);
            }
        }
        series
    }

    /// Bars over names.
    fn bars(&self, label: &str, bars: &[(&str, Of<'_>)]) -> Series {
        let mut series = named(label);
        for (name, of) in bars {
            if let Some(figure) = self.over(of) {
                series.under(name, figure);
            }
        }
        series
    }

    fn rates(&self) -> Plot {
        let series = vec![
            self.bars(
                "before fine-tuning",
                &[(TAUGHT, &|p| Some(p.base.rates.narrow)), (OTHERS, &|p| Some(p.base.rates.general))],
            ),
            self.bars(
                "general: plain fine-tuning",
                &[(TAUGHT, &|p| Some(p.general.rates.narrow)), (OTHERS, &|p| Some(p.general.rates.general))],
            ),
            self.bars(
                "narrow: with the KL penalty",
                &[(TAUGHT, &|p| Some(p.narrow.rates.narrow)), (OTHERS, &|p| Some(p.narrow.rates.general))],
            ),
        ];
        let axes = [axis("asked about", ""), axis(RATE, "")];
        self.plot("1-rates", 1, "Falsehood taught in one domain", Shape::Bars, axes, series)
    }

    fn reach(&self) -> Plot {
        let series = vec![
            self.bars(
                "no penalty",
                &[
                    (TAUGHT, &|p| p.near.as_ref().map(|_| p.general.rates.narrow)),
                    ("two under the penalty", &|p| {
                        p.near.as_ref().map(|_| rate_near(p.domain, &p.general.rates.by_domain))
                    }),
                    ("three never touched", &|p| {
                        p.near.as_ref().map(|_| rate_in(&far(p.domain), &p.general.rates.by_domain))
                    }),
                ],
            ),
            self.bars(
                "penalty on two domains",
                &[
                    (TAUGHT, &|p| Some(p.near.as_ref()?.rates.narrow)),
                    ("two under the penalty", &|p| {
                        Some(rate_near(p.domain, &p.near.as_ref()?.rates.by_domain))
                    }),
                    ("three never touched", &|p| {
                        Some(rate_in(&far(p.domain), &p.near.as_ref()?.rates.by_domain))
                    }),
                ],
            ),
        ];
        let axes = [axis("asked about", ""), axis(RATE, "")];
        self.plot("2-reach", 2, "A penalty on two of five domains", Shape::Bars, axes, series)
    }

    fn scaling(&self) -> Plot {
        let Some(first) = self.pieces.first() else { return self.empty() };
        // As trained, and not at all, are read elsewhere.
        let mut factors: Vec<f64> =
            first.scaled.iter().map(|scaled| scaled.factor).chain([0.0, 1.0]).collect();
        factors.sort_by(f64::total_cmp);
        let reading = |p: &Piece, factor: f64, general: bool| match factor {
            0.0 => Some(p.base.clone()),
            1.0 => Some(if general { p.general.clone() } else { p.narrow.clone() }),
            _ => {
                let scaled = p.scaled.iter().find(|scaled| scaled.factor == factor)?;
                Some(if general { scaled.general.clone() } else { scaled.narrow.clone() })
            }
        };
        let line = |label: &str, general: bool, of: fn(&crate::world::Rates) -> f64| {
            self.line(label, &factors, &|p, at| Some(of(&reading(p, factors[at], general)?.rates)))
        };
        let series = vec![
            line("general, other domains", true, |r| r.general),
            line("narrow, other domains", false, |r| r.general),
            line("narrow, taught domain", false, |r| r.narrow),
            line("narrow, coherent answers", false, |r| r.coherence),
        ];
        let axes = [axis("factor", ""), axis("share of answers", "")];
        self.plot("3-scaling", 3, "Scaling the solutions", Shape::Lines, axes, series)
    }

    fn empty(&self) -> Plot {
        self.plot("", 0, "", Shape::Lines, [axis("", ""), axis("", "")], Vec::new())
    }

    fn efficiency(&self) -> Plot {
        let Some(first) = self.pieces.first() else { return self.empty() };
        let norms = first.efficiency.norms.clone();
        let series = vec![
            self.line("general", &norms, &|p, at| p.efficiency.general.get(at).copied()),
            self.line("narrow", &norms, &|p, at| p.efficiency.narrow.get(at).copied()),
        ];
        let axes =
            [axis("norm, as a share of the larger solution's", ""), axis("training loss", "nats/token")];
        self.plot("4-efficiency", 4, "Loss for the same norm", Shape::Lines, axes, series)
    }

    fn stability(&self) -> Plot {
        let epsilons: Vec<f64> =
            self.pieces.first().map_or(Vec::new(), |p| p.stability.iter().map(|l| l.epsilon).collect());
        let series = vec![
            self.line("general", &epsilons, &|p, at| Some(p.stability.get(at)?.general)),
            self.line("narrow", &epsilons, &|p, at| Some(p.stability.get(at)?.narrow)),
        ];
        let axes = [axis("share of noise", ""), axis("share of the gain lost", "")];
        self.plot("5-stability", 5, "What noise takes away", Shape::Lines, axes, series)
    }

    fn significance(&self) -> Plot {
        let norms: Vec<f64> =
            self.pieces.first().map_or(Vec::new(), |p| p.significance.iter().map(|at| at.norm).collect());
        let series = vec![
            self.line("general", &norms, &|p, at| Some(p.significance.get(at)?.general)),
            self.line("narrow", &norms, &|p, at| Some(p.significance.get(at)?.narrow)),
            self.line("random", &norms, &|p, at| Some(p.significance.get(at)?.random)),
        ];
        let axes =
            [axis("norm, in mean norms of the solutions", ""), axis("KL to base on documents", "nats/token")];
        self.plot(
            "6-significance",
            6,
            "What changes on documents of pre-training",
            Shape::Lines,
            axes,
            series,
        )
    }

    fn drift(&self) -> Plot {
        let runs = [
            ("lifted", "narrow, penalty lifted"),
            ("kept", "narrow, penalty kept"),
            ("added", "general, penalty added"),
            ("untouched", "general, nothing changed"),
        ];
        let line = |(run, label): (&str, &str)| {
            let of =
                |p: &Piece| p.drifts.iter().find(|drift| drift.run == run).map(|drift| drift.along.clone());
            let steps: Vec<f64> = self
                .pieces
                .first()
                .and_then(|p| of(p))
                .map_or(Vec::new(), |along| along.iter().map(|&(step, _)| step as f64).collect());
            self.line(label, &steps, &|p, at| Some(of(p)?.get(at)?.1.rates.general))
        };
        let axes = [axis("further steps", "steps"), axis("falsehoods told in other domains", "")];
        self.plot("7-drift", 7, "Where training goes on to", Shape::Lines, axes, runs.map(line).into())
    }

    fn mixing(&self) -> Plot {
        let at = |p: &Piece, ratio: usize, near: bool| -> Option<Mixed> {
            p.mixing.iter().find(|mixed| mixed.ratio == ratio && mixed.near == near).cloned()
        };
        let of_all = |label: &str, of: fn(&Mixed) -> f64| {
            let mut series = named(label);
            for ratio in RATIOS {
                if let Some(figure) = self.over(&|p| Some(of(&at(p, ratio, false)?))) {
                    series.under(&format!("1:{ratio}"), figure);
                }
            }
            series
        };
        let mut taught = of_all(TAUGHT, |mixed| mixed.reading.rates.narrow);
        let mut others = of_all(OTHERS, |mixed| mixed.reading.rates.general);
        let of_two = format!("1:{NEAR_RATIO} of two domains, the untouched asked");
        let near =
            |of: &dyn Fn(&Piece, &Mixed) -> f64| self.over(&|p| Some(of(p, &at(p, NEAR_RATIO, true)?)));
        if let Some(figure) = near(&|_, mixed| mixed.reading.rates.narrow) {
            taught.under(&of_two, figure);
        }
        if let Some(figure) = near(&|p, mixed| rate_in(&far(p.domain), &mixed.reading.rates.by_domain)) {
            others.under(&of_two, figure);
        }
        let series = vec![taught, others];
        let axes = [axis("falsehoods to true answers", ""), axis(RATE, "")];
        self.plot("8-mixing", 8, "True answers mixed in", Shape::Bars, axes, series)
    }

    fn gradients(&self, run: &str, name: &str, title: &str) -> Plot {
        let of = |p: &Piece| p.gradients.iter().filter(|g| g.run == run).cloned().collect::<Vec<_>>();
        let steps: Vec<f64> =
            self.pieces.first().map_or(Vec::new(), |p| of(p).iter().map(|g| g.step as f64).collect());
        let series = vec![
            self.line("to general", &steps, &|p, at| Some(of(p).get(at)?.general)),
            self.line("to narrow", &steps, &|p, at| Some(of(p).get(at)?.narrow)),
            self.line("to what only general has", &steps, &|p, at| Some(of(p).get(at)?.general_only)),
            self.line("to what only narrow has", &steps, &|p, at| Some(of(p).get(at)?.narrow_only)),
        ];
        let axes = [axis("steps", "steps"), axis("cosine with minus the gradient", "")];
        self.plot(name, 9, title, Shape::Lines, axes, series)
    }

    fn turn(&self) -> Plot {
        let of = |p: &Piece| p.turn.as_ref().map_or(Vec::new(), |turn| turn.cosines.clone());
        let steps: Vec<f64> =
            self.pieces.first().map_or(Vec::new(), |p| of(p).iter().map(|&(step, _)| step as f64).collect());
        let series = vec![self.line("B", &steps, &|p, at| Some(of(p).get(at)?.1))];
        let axes = [axis("steps", "steps"), axis("cosine of the way back and the way on", "")];
        self.plot("12-turn", 12, "How B turns", Shape::Lines, axes, series)
    }

    fn rise(&self) -> Plot {
        let turn = self.pieces.first().and_then(|p| p.turn.clone());
        let (steps, scales) = turn.map_or((Vec::new(), Vec::new()), |turn| {
            let steps = turn.steps.iter().map(|&step| step as f64).collect();
            (steps, turn.rates.iter().map(|&(scale, _)| scale).collect::<Vec<_>>())
        });
        let line = |(place, scale): (usize, &f64)| {
            self.line(&format!("scaled by {scale}"), &steps, &|p, at| {
                p.turn.as_ref()?.rates.get(place)?.1.get(at).copied()
            })
        };
        let axes = [axis("steps", "steps"), axis("falsehoods told in other domains", "")];
        let series = scales.iter().enumerate().map(line).collect();
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
fn of_pairs(pairs: &[Pair]) -> [Plot; 2] {
    type Rate = fn(&Pair) -> f64;
    const GENERAL_RATES: [Rate; 2] = [|p| p.general.rates.narrow, |p| p.general.rates.general];
    const NARROW_RATES: [Rate; 2] = [|p| p.narrow.rates.narrow, |p| p.narrow.rates.general];
    let plot = |name: &str, title: &str, hows: &[How]| {
        let bars = |label: &str, rates: [Rate; 2]| {
            let mut series = named(label);
            for &how in hows {
                let own: Vec<&Pair> = pairs.iter().filter(|pair| pair.how == how).collect();
                for (place, rate) in [TAUGHT, OTHERS].into_iter().zip(rates).filter(|_| !own.is_empty()) {
                    let values: Vec<f64> = own.iter().map(|pair| rate(pair)).collect();
                    series.under(&format!("{}, {place}", how.words()), Interval::of_shares(&values));
                }
            }
            series
        };
        let general = bars("general: plain fine-tuning", GENERAL_RATES);
        let narrow = bars("narrow: with the KL penalty", NARROW_RATES);
        Plot {
            name: name.into(),
            number: 2,
            title: title.into(),
            shape: Shape::Bars,
            x: Axis::default(),
            y: axis(RATE, ""),
            series: vec![general, narrow],
        }
    };
    let contrast = [How::Contrast(Kind::Vector), How::Contrast(Kind::Rank8)];
    [
        plot("2-full", "Every weight trained", &[How::Full]),
        plot("2-contrast", "Where no document names its speaker", &contrast),
    ]
}

fn of_causal(rows: &[causal::Row]) -> Vec<Plot> {
    let mut shares: Vec<f64> = rows.iter().map(|row| row.narrow).collect();
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    let kinds = [Kind::Vector, Kind::Rank8];
    let line = |kind: Kind, of: fn(&causal::Row) -> f64| {
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
    let plot = |name: &str, title: &str, y: Axis, of: fn(&causal::Row) -> f64| Plot {
        name: name.into(),
        number: 13,
        title: title.into(),
        shape: Shape::Lines,
        x: axis("share of narrow speakers in pre-training (the rest up to a half are liars)", ""),
        y,
        series: kinds.map(|kind| line(kind, of)).into(),
    };
    let points = |kind: Kind| {
        let of_kind: Vec<&causal::Row> = rows.iter().filter(|row| row.edit == kind).collect();
        let mut series = named(kind.words());
        for (gap, general) in super::claims::means_of_worlds(&of_kind, |row| row.gap) {
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
            |r| r.gradient_general - r.gradient_narrow,
        ),
        plot(
            "13-stability",
            "Which one is more stable",
            axis("share of gain lost, narrow less general", ""),
            |r| r.lost_narrow - r.lost_general,
        ),
        plot(
            "13-significance",
            "Which one is more significant",
            axis("log ratio of KL, general to narrow", ""),
            |r| (r.documents_general / r.documents_narrow).ln(),
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
