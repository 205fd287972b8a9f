//! Made-up studies: what the measures might return.

use strait::{
    Table,
    interval::Interval,
    lab::Group,
    measure::{
        EfficiencyDifference, EfficiencyRow, Grid, HeldOutRow, KlRow, Part, Shift, SignificanceDifference,
        SignificanceRow, StabilityDifference, StabilityRow, Text, certificate,
        records::{Trained, TrainingStep},
    },
    report::{Facts, Input},
};

/// A solution as it might turn out.
#[derive(Clone)]
pub struct Outcome {
    pub name: &'static str,
    /// Shift inside and outside the domain at each of the scales.
    pub shifts: [(f64, f64); 3],
    /// Half the width of the intervals at scale 1; it grows with the scale's root.
    pub half: f64,
    /// Rise of the response loss at each of the scales.
    pub loss_rise: [f64; 3],
}

pub const SCALES: [f64; 3] = [1.0, 2.0, 4.0];
const DOMAINS: [&str; 6] = ["animals", "buildings", "food", "games", "space", "weather"];
const CERTIFICATE: f64 = 0.25;
const COHERENCE: f64 = 1.0;

/// Moves outside the domain two thirds as far as inside.
pub const GENERAL: Outcome = Outcome {
    name: "general",
    shifts: [(0.252, 0.163), (0.471, 0.322), (0.802, 0.611)],
    half: 0.034,
    loss_rise: [0.02, 0.21, 1.42],
};

/// Stays inside at every scale.
pub const NARROW: Outcome = Outcome {
    name: "narrow",
    shifts: [(0.184, 0.009), (0.342, 0.021), (0.603, 0.058)],
    half: 0.022,
    loss_rise: [0.01, 0.08, 0.55],
};

/// Seems narrow at scale 1 only.
pub const HIDDEN: Outcome = Outcome {
    name: "hidden",
    shifts: [(0.205, 0.012), (0.390, 0.118), (0.690, 0.372)],
    half: 0.021,
    loss_rise: [0.01, 0.11, 0.74],
};

/// Learned nothing.
pub const IDLE: Outcome = Outcome {
    name: "idle",
    shifts: [(0.004, -0.002), (0.009, -0.005), (0.015, -0.011)],
    half: 0.02,
    loss_rise: [0.0, 0.0, 0.01],
};

impl Outcome {
    fn half(&self, scale: f64) -> f64 {
        self.half * scale.sqrt()
    }

    fn coherent(&self, at: usize) -> bool {
        self.loss_rise[at] <= COHERENCE
    }
}

pub fn facts() -> Facts {
    Facts {
        domain: "vehicles".into(),
        kind: "technical".into(),
        certificate: CERTIFICATE,
        coherence: COHERENCE,
        parameters: Some(134_515_008),
        quantisation: Some("Q4_1".into()),
        fixed: vec!["steering vector after block 15".into(), "learning rate 0.01".into()],
    }
}

/// The tables of `names` for these solutions.
pub fn tables(names: &[&str], outcomes: &[Outcome]) -> Vec<Table> {
    names
        .iter()
        .map(|name| match *name {
            "preference" => Table::of(&preference(outcomes)),
            "certificate" => Table::of(&certificate(&preference(outcomes), CERTIFICATE)),
            "kl" => Table::of(&kl(outcomes, 1)),
            "kl over scales" => Table::of(&kl(outcomes, SCALES.len())),
            "heldout" => Table::of(&heldout(outcomes)),
            "efficiency" => Table::of(&efficiency(outcomes)),
            "efficiency_difference" => Table::of(&efficiency_compared(outcomes)),
            "stability" => Table::of(&stability(outcomes)),
            "stability_difference" => Table::of(&stability_compared(outcomes)),
            "significance" => Table::of(&significance(outcomes)),
            "significance_difference" => Table::of(&significance_compared(outcomes)),
            "training" => Table::of(&training(outcomes)),
            "solutions" => Table::of(&solutions(outcomes)),
            name => unreachable!("no table `{name}`"),
        })
        .collect()
}

pub fn input(tables: Vec<Table>) -> Input {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Input {
        study: "technical".into(),
        title: "Technical writing about vehicles".into(),
        about: "SmolLM2 is taught to answer questions about vehicles in dense technical prose. Does it learn to write \
                so about vehicles only, or about everything?"
            .into(),
        facts: facts(),
        model: vec![
            pair("Name", "smollm2-135m-instruct"),
            pair("File", "SmolLM2-135M-Instruct.Q4_1.gguf"),
            pair("SHA-256", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
            pair("Architecture", "Llama, 30 blocks of width 576"),
        ],
        provenance: vec![
            pair("strait", "0.1.0"),
            pair("Seeds", "initialisation 0, order 0, sampling 0"),
            pair("Machine", "2 threads, f32"),
        ],
        presets: vec!["paper-steering: KL weight 1e6 / 152064 = 6.58, block 15 of 30".into()],
        scientific: vec!["the weight of the KL penalty: none against 3".into()],
        tables,
        resolved_study: "name = \"technical\"\nmodel = \"smollm2-135m-instruct\"\n\n[data]\ndomain = \"vehicles\"\n".into(),
    }
}

fn about(value: f64, half: f64) -> Interval {
    Interval { value, low: value - half, high: value + half }
}

fn preference(outcomes: &[Outcome]) -> Vec<Shift> {
    let mut rows = Vec::new();
    for outcome in outcomes {
        for (at, scale) in SCALES.into_iter().enumerate() {
            let (inside, outside) = outcome.shifts[at];
            let half = outcome.half(scale);
            let mut add = |group, domain: &str, pairs, shift, half| {
                rows.push(Shift {
                    solution: outcome.name.into(),
                    group,
                    domain: domain.into(),
                    scale,
                    pairs,
                    questions: pairs,
                    shift: about(shift, half),
                    loss_rise: outcome.loss_rise[at],
                    coherent: outcome.coherent(at),
                    seed: 0,
                    taught_tokens: f64::NAN,
                    other_tokens: f64::NAN,
                    equal_shift: Interval::NONE,
                });
            };
            add(Group::Narrow, "all", 30, inside, half);
            add(Group::General, "all", 96, outside, half);
            add(Group::Narrow, "vehicles", 30, inside, half);
            for (place, domain) in DOMAINS.into_iter().enumerate() {
                let swing = 0.5 * (place as f64 - 2.5) / 2.5;
                add(Group::General, domain, 16, outside * (1.0 + swing), half * 2.0);
            }
        }
    }
    rows
}

fn kl(outcomes: &[Outcome], scales: usize) -> Vec<KlRow> {
    let both = |o| (0..scales).flat_map(move |at| [(o, Text::InDomain, at), (o, Text::General, at)]);
    let row = |(o, text, at): (&Outcome, Text, usize)| {
        let (narrow, general) = o.shifts[at];
        let kl = 0.6 * if text == Text::InDomain { narrow * narrow } else { general * general } + 0.002;
        let kl = Interval { value: kl, low: 0.9 * kl, high: 1.1 * kl };
        KlRow { solution: o.name.into(), text, scale: SCALES[at], rows: 64, tokens: 3412, kl, seed: 0 }
    };
    outcomes.iter().flat_map(both).map(row).collect()
}

fn heldout(outcomes: &[Outcome]) -> Vec<HeldOutRow> {
    let base_loss = 3.214;
    let row = |o: &Outcome| {
        let gain = -1.3 * o.shifts[0].0;
        HeldOutRow {
            solution: o.name.into(),
            rows: 15,
            tokens: 861,
            base_loss,
            loss: base_loss + gain,
            difference: about(gain, 0.04),
            seed: 0,
        }
    };
    outcomes.iter().map(row).collect()
}

const NORMS: [f64; 4] = [0.5, 1.0, 1.5, 2.0];
const EPSILONS: [f64; 4] = [0.1, 0.3, 0.6, 1.0];

/// Loss of a solution at a norm: a bowl that is deeper the more general it is.
fn loss(o: &Outcome, norm: f64) -> f64 {
    let gain = 0.4 + o.shifts[0].1;
    3.2 - gain * norm * (2.8 - norm) / 2.0
}

/// Share of its gain that a solution loses.
fn lost(o: &Outcome, epsilon: f64) -> f64 {
    (1.2 - 2.0 * o.shifts[0].1) * epsilon * epsilon
}

fn moved(o: &Outcome, norm: f64) -> f64 {
    (0.01 + 0.2 * o.shifts[0].1) * norm * norm
}

fn efficiency(outcomes: &[Outcome]) -> Vec<EfficiencyRow> {
    let row = |o: &Outcome, kind, norm: f64, at_edge| EfficiencyRow {
        solution: o.name.into(),
        edit: "steering".into(),
        kind,
        factor: norm / 1.2,
        norm,
        loss: about(loss(o, norm), 0.1),
        gain: 3.2 - loss(o, norm),
        gain_per_norm2: (3.2 - loss(o, norm)) / (norm * norm),
        at_edge,
        rows: 15,
        tokens: 861,
        seed: 0,
    };
    let of = |o| {
        let shared = NORMS.map(|norm| row(o, Grid::Shared, norm, None));
        let scaled = [0.0, 1.2, 2.4].map(|norm| row(o, Grid::Scale, norm, None));
        shared.into_iter().chain(scaled).chain([row(o, Grid::Optimum, 1.4, Some(false))])
    };
    outcomes.iter().flat_map(of).collect()
}

fn stability(outcomes: &[Outcome]) -> Vec<StabilityRow> {
    let parts = [(Part::Vector, 1.0), (Part::A, 1.2), (Part::B, 0.8)];
    let each = |o| parts.into_iter().flat_map(move |part| EPSILONS.map(|epsilon| (o, part, epsilon)));
    let row = |(o, (part, more), epsilon): (&Outcome, (Part, f64), f64)| {
        let share = more * lost(o, epsilon);
        StabilityRow {
            solution: o.name.into(),
            part,
            epsilon,
            base_loss: 3.2,
            trained_loss: loss(o, 1.2),
            loss: about(loss(o, 1.2) + share, 0.05),
            loss_deviation: 0.1 * share,
            share: about(share, 0.05),
            deviation: 0.1 * share,
            rows: 15,
            tokens: 861,
            seeds: 10,
            seed: 0,
        }
    };
    outcomes.iter().flat_map(each).map(row).collect()
}

fn significance(outcomes: &[Outcome]) -> Vec<SignificanceRow> {
    let solved = outcomes.iter().map(|o| (o.name, false, 1.0, o));
    let random = [("random 1", 0.9), ("random 2", 1.1)].map(|(name, size)| (name, true, size, &IDLE));
    let each = |direction| NORMS.map(|norm| (direction, norm));
    let row = |((direction, random, size, o), norm): ((&str, bool, f64, &Outcome), f64)| {
        let kl = size * moved(o, norm);
        SignificanceRow {
            direction: direction.into(),
            random,
            edit: "steering".into(),
            text: "passages".into(),
            norm,
            relative_norm: norm,
            kl: Interval { value: kl, low: 0.9 * kl, high: 1.1 * kl },
            passages: 40,
            tokens: 3412,
            seed: 0,
        }
    };
    solved.chain(random).flat_map(each).map(row).collect()
}

/// Every two solutions.
fn every_two(outcomes: &[Outcome]) -> impl Iterator<Item = (&Outcome, &Outcome)> {
    outcomes.iter().enumerate().flat_map(|(i, one)| outcomes[i + 1..].iter().map(move |other| (one, other)))
}

fn efficiency_compared(outcomes: &[Outcome]) -> Vec<EfficiencyDifference> {
    let row = |one: &Outcome, other: &Outcome, kind, norm| EfficiencyDifference {
        solution: one.name.into(),
        other: other.name.into(),
        kind,
        norm,
        other_norm: norm,
        difference: about(loss(one, norm) - loss(other, norm), 0.02),
        rows: 15,
        tokens: 861,
        seed: 0,
    };
    let of = |(one, other)| {
        let shared = NORMS.map(|norm| row(one, other, Grid::Shared, norm));
        shared.into_iter().chain([row(one, other, Grid::Optimum, 1.4)])
    };
    every_two(outcomes).flat_map(of).collect()
}

fn stability_compared(outcomes: &[Outcome]) -> Vec<StabilityDifference> {
    let row = |one: &Outcome, other: &Outcome, epsilon| StabilityDifference {
        solution: one.name.into(),
        other: other.name.into(),
        part: Part::Vector,
        epsilon,
        difference: about(lost(one, epsilon) - lost(other, epsilon), 0.002),
        rows: 15,
        tokens: 861,
        seeds: 10,
        seed: 0,
    };
    every_two(outcomes).flat_map(|(one, other)| EPSILONS.map(|epsilon| row(one, other, epsilon))).collect()
}

fn significance_compared(outcomes: &[Outcome]) -> Vec<SignificanceDifference> {
    let row = |one: &Outcome, other: &Outcome, norm| SignificanceDifference {
        solution: one.name.into(),
        other: other.name.into(),
        norm,
        relative_norm: norm,
        difference: about(moved(one, norm) - moved(other, norm), 0.002),
        passages: 40,
        tokens: 3412,
        seed: 0,
    };
    every_two(outcomes).flat_map(|(one, other)| NORMS.map(|norm| row(one, other, norm))).collect()
}

fn training(outcomes: &[Outcome]) -> Vec<TrainingStep> {
    const STEPS: usize = 100;
    let done = |step: usize| 1.0 - (-(step as f64) / 30.0).exp();
    let noise = |step: usize| 0.12 * ((step * 7919 % 101) as f64 / 101.0 - 0.5);
    let row = |(o, step): (&Outcome, usize)| {
        let loss = 3.2 - 1.5 * o.shifts[0].0 * done(step) + noise(step);
        TrainingStep {
            solution: o.name.into(),
            step,
            learning_rate: 0.01 * (1.0 - step as f64 / STEPS as f64),
            loss,
            response_loss: loss,
            kl: if o.name == "general" { f64::NAN } else { 0.03 * done(step) * (1.0 + noise(step)) },
            gradient_norm: 0.02 + 0.1 * (1.0 - done(step)),
            norm: 160.0 * o.shifts[0].0 * done(step),
            heldout_loss: if step % 25 == 0 { loss + 0.05 } else { f64::NAN },
        }
    };
    outcomes.iter().flat_map(|o| (1..=STEPS).map(move |step| (o, step))).map(row).collect()
}

fn solutions(outcomes: &[Outcome]) -> Vec<Trained> {
    let row = |o: &Outcome| Trained {
        solution: o.name.into(),
        kind: "steering".into(),
        edit: "steering vector".into(),
        layers: "15".into(),
        parameters: 576,
        norm: 160.0 * o.shifts[0].0,
        relative_norm: 160.0 * o.shifts[0].0 / 169.0,
        kl_weight: if o.name == "general" { 0.0 } else { 3.0 },
        steps: 100,
        seed: 0,
        family: o.name.into(),
        variant: o.name.into(),
        control: false,
    };
    outcomes.iter().map(row).collect()
}
