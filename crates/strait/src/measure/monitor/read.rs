//! The arithmetic of monitors: everything that is read of an answer is linear in its mean stream.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{MonitorBaselineRow, MonitorRow, Monitors};
use crate::{
    Result,
    interval::{Interval, clusters},
    lab::{Group, PairRows},
    monitor::{Labels, Method, PROBE},
};

/// The mean stream of every answer of the pairs inside the domain, and of those outside.
pub(super) type Streams = [Vec<Vec<f64>>; 2];

/// The pairs outside the domain by the use that is made of them, and the answers that test a monitor.
pub(super) struct Parts {
    /// Pairs that give the direction.
    directing: Vec<usize>,
    /// Pairs whose plain answers give the threshold.
    calibrating: Vec<usize>,
    /// Pairs that test, inside the domain and outside.
    tested: [Vec<usize>; 2],
    /// The labels of their answers.
    labels: [Labels; 2],
    /// The lengths of the answers outside, in tokens.
    lengths: Vec<f64>,
    /// True if those outside are of domains that give neither direction nor threshold.
    unseen_domains: bool,
}

impl Parts {
    /// Every other domain tests; where there is one alone, every other question does.
    pub fn of([narrow, general]: &[PairRows; 2]) -> Self {
        let domains = clusters(&general.domains);
        let unseen_domains = domains.iter().any(|domain| *domain > 0);
        let side = if unseen_domains { &domains } else { &general.questions };
        let of_side = |odd: usize| (0..general.len()).filter(move |&pair| side[pair] % 2 == odd);
        let known: Vec<usize> = of_side(0).collect();
        let questions = clusters(known.iter().map(|&pair| general.questions[pair]));
        let part = |calibrates: bool| {
            let own = known.iter().zip(&questions).filter(|(_, question)| (**question % 5 > 2) == calibrates);
            own.map(|(pair, _)| *pair).collect()
        };
        let tested = [(0..narrow.len()).collect(), of_side(1).collect::<Vec<_>>()];
        let labels = |pairs: &PairRows, some: &[usize]| Labels {
            behaviour: some.iter().flat_map(|_| [true, false]).collect(),
            groups: some
                .iter()
                .flat_map(|&pair| [pairs.domains[pair].clone(), pairs.domains[pair].clone()])
                .collect(),
            questions: some.iter().flat_map(|&pair| [pairs.questions[pair]; 2]).collect(),
        };
        let lengths: Vec<[usize; 2]> = general.lengths().collect();
        Self {
            directing: part(false),
            calibrating: part(true),
            labels: [labels(narrow, &tested[0]), labels(general, &tested[1])],
            lengths: tested[1].iter().flat_map(|&pair| lengths[pair].map(|tokens| tokens as f64)).collect(),
            tested,
            unseen_domains,
        }
    }

    /// True if there are pairs to make a monitor of and pairs to test it on.
    pub fn are_enough(&self) -> bool {
        !self.directing.is_empty() && !self.tested[1].is_empty()
    }
}

/// The rows of some pairs' answers, the taught one first.
fn answers(pairs: &[usize]) -> impl Iterator<Item = usize> {
    pairs.iter().flat_map(|&pair| [2 * pair, 2 * pair + 1])
}

/// A monitor's direction and threshold; NaN where there are too few clean answers for one.
struct Made {
    direction: Vec<f64>,
    threshold: f64,
}

fn along(stream: &[f64], direction: &[f64]) -> f64 {
    stream.iter().zip(direction).map(|(x, d)| x * d).sum()
}

impl Monitors {
    /// The monitor of one solution: the mean stream of its taught answers less that of its plain ones, every answer of one weight, at
    /// length 1.
    fn make(&self, outside: &[Vec<f64>], parts: &Parts) -> Made {
        let mut direction = vec![0.0; outside[0].len()];
        for &pair in &parts.directing {
            let (taught, plain) = (&outside[2 * pair], &outside[2 * pair + 1]);
            direction.iter_mut().zip(taught.iter().zip(plain)).for_each(|(d, (t, p))| *d += t - p);
        }
        let norm = along(&direction, &direction).sqrt();
        direction.iter_mut().for_each(|x| *x /= norm);
        let clean: Vec<f64> =
            parts.calibrating.iter().map(|&pair| along(&outside[2 * pair + 1], &direction)).collect();
        Made { threshold: Interval::of_upper_quantile(&clean, self.alarm_rate).value, direction }
    }

    /// Every monitor on the answers as every solution reads them, and each solution's own beside the baselines.
    pub(super) fn compare(
        &self,
        names: &[&str],
        layer: i64,
        streams: &[Streams],
        parts: &Parts,
        losses: &[f64],
        seed: u64,
    ) -> Result<(Vec<MonitorRow>, Vec<MonitorBaselineRow>)> {
        let made: Vec<Made> = streams.iter().map(|[_, outside]| self.make(outside, parts)).collect();
        let (mut rows, mut baselines) = (Vec::new(), Vec::new());
        for (name, streams) in names.iter().zip(streams) {
            for (monitor, made) in names.iter().zip(&made) {
                for (side, group) in [Group::Narrow, Group::General].into_iter().enumerate() {
                    let (labels, streams) = (&parts.labels[side], &streams[side]);
                    let readings: Vec<f64> = answers(&parts.tested[side])
                        .map(|row| along(&streams[row], &made.direction))
                        .collect();
                    let (all, groups) = labels.outcomes(&readings, made.threshold);
                    // One domain alone is all there is.
                    let groups = if groups.len() > 1 { groups } else { Vec::new() };
                    for outcome in std::iter::once(all).chain(groups).filter(|outcome| outcome.behaviour > 0)
                    {
                        rows.push(MonitorRow {
                            solution: (*name).into(),
                            monitor: (*monitor).into(),
                            group,
                            domain: outcome.group.unwrap_or_default(),
                            layer,
                            taught: outcome.behaviour,
                            plain: outcome.clean,
                            questions: outcome.questions,
                            auroc: outcome.auroc,
                            detection: outcome.detection,
                            false_alarms: outcome.false_alarms,
                            alarm_rate: self.alarm_rate,
                            calibrated: parts.calibrating.len(),
                            unseen_domain: group == Group::Narrow || parts.unseen_domains,
                        });
                    }
                }
                if name == monitor {
                    baselines.extend(self.baselines(name, made, &streams[1], parts, losses, seed)?);
                }
            }
        }
        Ok((rows, baselines))
    }

    fn baselines(
        &self,
        name: &str,
        made: &Made,
        outside: &[Vec<f64>],
        parts: &Parts,
        losses: &[f64],
        seed: u64,
    ) -> Result<Vec<MonitorBaselineRow>> {
        let labels = &parts.labels[1];
        let tested: Vec<usize> = answers(&parts.tested[1]).collect();
        let readings = |direction: &[f64]| -> Vec<f64> {
            tested.iter().map(|&row| along(&outside[row], direction)).collect()
        };
        let own = readings(&made.direction);
        let random = |seed: u64| {
            let drawn = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed));
            readings(&drawn.take(made.direction.len()).collect::<Vec<f64>>())
        };
        let randoms: Vec<_> = (seed..).take(self.random).map(random).collect();
        let losses: Vec<f64> = tested.iter().map(|&row| losses[row]).collect();
        let learnt: Vec<Vec<f64>> = answers(&parts.directing).map(|row| outside[row].clone()).collect();
        let kinds: Vec<bool> = parts.directing.iter().flat_map(|_| [true, false]).collect();
        let probe = PROBE.learn(&learnt, &kinds)?;
        let probed: Vec<f64> = tested.iter().map(|&row| probe.score(&outside[row])).collect();
        let found = [
            labels.random_baseline(&own, &randoms),
            labels.baseline(Method::Length, &own, &parts.lengths),
            labels.baseline(Method::Loss, &own, &losses),
            labels.baseline(Method::Probe, &own, &probed),
        ];
        let row = |found: crate::monitor::Baseline| MonitorBaselineRow {
            solution: name.into(),
            method: found.method,
            auroc: found.auroc,
            least: found.least,
            greatest: found.greatest,
            beyond: found.beyond,
            seed,
        };
        Ok(found.map(row).into())
    }
}
