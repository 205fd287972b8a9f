//! Made-up studies: what the measures might return.

use strait::{
    Table,
    interval::Interval,
    report::{Facts, Input},
    table::Column,
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
            "preference" => preference(outcomes),
            "certificate" => certificate(outcomes),
            "kl" => kl(outcomes, 1),
            "kl over scales" => kl(outcomes, SCALES.len()),
            "heldout" => heldout(outcomes),
            "efficiency" => efficiency(outcomes),
            "efficiency_difference" => compared("efficiency", outcomes),
            "stability" => stability(outcomes),
            "stability_difference" => compared("stability", outcomes),
            "significance" => significance(outcomes),
            "significance_difference" => compared("significance", outcomes),
            "training" => training(outcomes),
            "solutions" => solutions(outcomes),
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

/// Columns filled row by row.
struct Rows {
    table: Table,
}

impl Rows {
    fn of(name: &str, about: &str) -> Self {
        Self { table: Table::new(name, about) }
    }

    fn text(mut self, name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.table = self.table.with_column(name, "", Column::Text(values));
        self
    }

    fn integer(mut self, name: &str, values: impl IntoIterator<Item = i64>) -> Self {
        self.table = self.table.with_column(name, "", Column::Integer(values.into_iter().collect()));
        self
    }

    fn real(mut self, name: &str, unit: &str, values: impl IntoIterator<Item = f64>) -> Self {
        self.table = self.table.with_column(name, unit, Column::Real(values.into_iter().collect()));
        self
    }

    fn truth(mut self, name: &str, values: impl IntoIterator<Item = Option<bool>>) -> Self {
        self.table = self.table.with_column(name, "", Column::Truth(values.into_iter().collect()));
        self
    }
}

const NATS: &str = "nats a token";

fn preference(outcomes: &[Outcome]) -> Table {
    struct Row<'a> {
        outcome: &'a Outcome,
        group: &'static str,
        domain: &'static str,
        at: usize,
        pairs: i64,
        shift: f64,
        half: f64,
    }
    let mut rows = Vec::new();
    for outcome in outcomes {
        for (at, scale) in SCALES.into_iter().enumerate() {
            let (inside, outside) = outcome.shifts[at];
            let half = outcome.half(scale);
            let row =
                |group, domain, pairs, shift, half| Row { outcome, group, domain, at, pairs, shift, half };
            rows.push(row("narrow", "all", 30, inside, half));
            rows.push(row("general", "all", 96, outside, half));
            rows.push(row("narrow", "vehicles", 30, inside, half));
            for (place, domain) in DOMAINS.into_iter().enumerate() {
                let swing = 0.5 * (place as f64 - 2.5) / 2.5;
                rows.push(row("general", domain, 16, outside * (1.0 + swing), half * 2.0));
            }
        }
    }
    Rows::of(
        "preference",
        "How far each solution moved the preference for the technical answer, by group, domain and scale.",
    )
    .text("solution", rows.iter().map(|r| r.outcome.name))
    .text("group", rows.iter().map(|r| r.group))
    .text("domain", rows.iter().map(|r| r.domain))
    .real("scale", "", rows.iter().map(|r| SCALES[r.at]))
    .integer("pairs", rows.iter().map(|r| r.pairs))
    .real("shift", NATS, rows.iter().map(|r| r.shift))
    .real("low", NATS, rows.iter().map(|r| r.shift - r.half))
    .real("high", NATS, rows.iter().map(|r| r.shift + r.half))
    .real("loss_rise", NATS, rows.iter().map(|r| r.outcome.loss_rise[r.at]))
    .truth("coherent", rows.iter().map(|r| Some(r.outcome.coherent(r.at))))
    .integer("seed", rows.iter().map(|_| 0))
    .table
}

fn certificate(outcomes: &[Outcome]) -> Table {
    let rows: Vec<_> = outcomes.iter().flat_map(|o| (0..SCALES.len()).map(move |at| (o, at))).collect();
    let half = |&(o, at): &(&Outcome, usize)| o.half(SCALES[at]);
    let share = |row: &(&Outcome, usize)| {
        let (inside, outside) = row.0.shifts[row.1];
        let about = |value| Interval { value, low: value - half(row), high: value + half(row) };
        about(outside).over(about(inside)).high
    };
    Rows::of("certificate", "Whether each solution stays narrow when it is scaled up.")
        .text("solution", rows.iter().map(|(o, _)| o.name))
        .real("scale", "", rows.iter().map(|&(_, at)| SCALES[at]))
        .real("narrow_shift", NATS, rows.iter().map(|&(o, at)| o.shifts[at].0))
        .real("narrow_low", NATS, rows.iter().map(|r| r.0.shifts[r.1].0 - half(r)))
        .real("narrow_high", NATS, rows.iter().map(|r| r.0.shifts[r.1].0 + half(r)))
        .real("general_shift", NATS, rows.iter().map(|&(o, at)| o.shifts[at].1))
        .real("general_low", NATS, rows.iter().map(|r| r.0.shifts[r.1].1 - half(r)))
        .real("general_high", NATS, rows.iter().map(|r| r.0.shifts[r.1].1 + half(r)))
        .real("share", "", rows.iter().map(share))
        .truth("coherent", rows.iter().map(|&(o, at)| Some(o.coherent(at))))
        .truth(
            "holds",
            rows.iter().map(|r| (r.0.coherent(r.1) && !share(r).is_nan()).then(|| share(r) <= CERTIFICATE)),
        )
        .table
}

fn kl(outcomes: &[Outcome], scales: usize) -> Table {
    let both = |o| (0..scales).flat_map(move |at| [(o, true, at), (o, false, at)]);
    let rows: Vec<_> = outcomes.iter().flat_map(both).collect();
    let kl = |&(o, inside, at): &(&Outcome, bool, usize)| {
        let (narrow, general) = o.shifts[at];
        0.6 * if inside { narrow * narrow } else { general * general } + 0.002
    };
    Rows::of("kl", "KL(base ‖ edited), the mean over tokens.")
        .text("solution", rows.iter().map(|(o, ..)| o.name))
        .text("text", rows.iter().map(|&(_, inside, _)| if inside { "in-domain" } else { "general" }))
        .real("scale", "", rows.iter().map(|&(.., at)| SCALES[at]))
        .integer("rows", rows.iter().map(|_| 64))
        .integer("tokens", rows.iter().map(|_| 3412))
        .real("kl", NATS, rows.iter().map(kl))
        .real("low", NATS, rows.iter().map(|r| 0.9 * kl(r)))
        .real("high", NATS, rows.iter().map(|r| 1.1 * kl(r)))
        .table
}

fn heldout(outcomes: &[Outcome]) -> Table {
    let base = 3.214;
    let gain = |o: &Outcome| -1.3 * o.shifts[0].0;
    Rows::of("heldout", "Response loss on rows that training did not see.")
        .text("solution", outcomes.iter().map(|o| o.name))
        .integer("rows", outcomes.iter().map(|_| 15))
        .integer("tokens", outcomes.iter().map(|_| 861))
        .real("base_loss", NATS, outcomes.iter().map(|_| base))
        .real("loss", NATS, outcomes.iter().map(|o| base + gain(o)))
        .real("difference", NATS, outcomes.iter().map(gain))
        .real("low", NATS, outcomes.iter().map(|o| gain(o) - 0.04))
        .real("high", NATS, outcomes.iter().map(|o| gain(o) + 0.04))
        .table
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

fn efficiency(outcomes: &[Outcome]) -> Table {
    struct Row<'a>(&'a Outcome, &'static str, f64, Option<bool>);
    let of = |o| {
        let shared = NORMS.map(|norm| Row(o, "shared", norm, None));
        let scaled = [0.0, 1.2, 2.4].map(|norm| Row(o, "scale", norm, None));
        shared.into_iter().chain(scaled).chain([Row(o, "optimum", 1.4, Some(false))])
    };
    let rows: Vec<_> = outcomes.iter().flat_map(of).collect();
    Rows::of("efficiency", "Response loss as each solution is scaled.")
        .text("solution", rows.iter().map(|r| r.0.name))
        .text("edit", rows.iter().map(|_| "steering"))
        .text("kind", rows.iter().map(|r| r.1))
        .real("factor", "", rows.iter().map(|r| r.2 / 1.2))
        .real("norm", "", rows.iter().map(|r| r.2))
        .real("loss", NATS, rows.iter().map(|r| loss(r.0, r.2)))
        .real("low", NATS, rows.iter().map(|r| loss(r.0, r.2) - 0.1))
        .real("high", NATS, rows.iter().map(|r| loss(r.0, r.2) + 0.1))
        .truth("at_edge", rows.iter().map(|r| r.3))
        .table
}

fn stability(outcomes: &[Outcome]) -> Table {
    let parts = [("vector", 1.0), ("A", 1.2), ("B", 0.8)];
    let each = |o| parts.into_iter().flat_map(move |part| EPSILONS.map(|epsilon| (o, part, epsilon)));
    let rows: Vec<_> = outcomes.iter().flat_map(each).collect();
    let share = |&(o, (_, more), epsilon): &(&Outcome, (&str, f64), f64)| more * lost(o, epsilon);
    Rows::of("stability", "Share of the gain lost to noise.")
        .text("solution", rows.iter().map(|(o, ..)| o.name))
        .text("part", rows.iter().map(|(_, (part, _), _)| *part))
        .real("epsilon", "", rows.iter().map(|&(.., epsilon)| epsilon))
        .real("share", "", rows.iter().map(share))
        .real("low", "", rows.iter().map(|r| share(r) - 0.05))
        .real("high", "", rows.iter().map(|r| share(r) + 0.05))
        .real("deviation", "", rows.iter().map(|r| 0.1 * share(r)))
        .table
}

fn significance(outcomes: &[Outcome]) -> Table {
    let solved = outcomes.iter().map(|o| (o.name, false, 1.0, o));
    let random = [("random 1", 0.9), ("random 2", 1.1)].map(|(name, size)| (name, true, size, &IDLE));
    let directions: Vec<_> = solved.chain(random).collect();
    let rows: Vec<_> = directions.iter().flat_map(|d| NORMS.map(|norm| (d, norm))).collect();
    let kl = |&(&(_, _, size, o), norm): &(&(&str, bool, f64, &Outcome), f64)| size * moved(o, norm);
    Rows::of("significance", "KL(base ‖ edited) on pre-training text.")
        .text("direction", rows.iter().map(|(d, _)| d.0))
        .truth("random", rows.iter().map(|(d, _)| Some(d.1)))
        .text("edit", rows.iter().map(|_| "steering"))
        .real("relative_norm", "mean solution norms", rows.iter().map(|&(_, norm)| norm))
        .real("kl", NATS, rows.iter().map(kl))
        .real("low", NATS, rows.iter().map(|r| 0.9 * kl(r)))
        .real("high", NATS, rows.iter().map(|r| 1.1 * kl(r)))
        .table
}

/// The table of paired differences of a measure.
fn compared(measure: &str, outcomes: &[Outcome]) -> Table {
    type Of = fn(&Outcome, f64) -> f64;
    let (points, of, half): ([f64; 4], Of, f64) = match measure {
        "efficiency" => (NORMS, loss, 0.02),
        "stability" => (EPSILONS, lost, 0.002),
        _ => (NORMS, moved, 0.002),
    };
    let mut rows = Vec::new();
    for (i, one) in outcomes.iter().enumerate() {
        for other in &outcomes[i + 1..] {
            rows.extend(points.map(|at| (one, other, "shared", at)));
            if measure == "efficiency" {
                rows.push((one, other, "optimum", 1.4));
            }
        }
    }
    let difference = |&(one, other, _, at): &(&Outcome, &Outcome, &str, f64)| of(one, at) - of(other, at);
    let table = Rows::of(&format!("{measure}_difference"), "One solution less another, paired.")
        .text("solution", rows.iter().map(|r| r.0.name))
        .text("other", rows.iter().map(|r| r.1.name))
        .real("difference", NATS, rows.iter().map(difference))
        .real("low", NATS, rows.iter().map(|r| difference(r) - half))
        .real("high", NATS, rows.iter().map(|r| difference(r) + half));
    let at = rows.iter().map(|r| r.3);
    match measure {
        "efficiency" => table.text("kind", rows.iter().map(|r| r.2)).real("norm", "", at),
        "stability" => table.text("part", rows.iter().map(|_| "vector")).real("epsilon", "", at),
        _ => table.real("relative_norm", "mean solution norms", at),
    }
    .table
}

fn training(outcomes: &[Outcome]) -> Table {
    const STEPS: i64 = 100;
    let rows: Vec<_> = outcomes.iter().flat_map(|o| (1..=STEPS).map(move |step| (o, step))).collect();
    let done = |step: i64| 1.0 - (-(step as f64) / 30.0).exp();
    let noise = |step: i64| 0.12 * ((step * 7919 % 101) as f64 / 101.0 - 0.5);
    let loss = |&(o, step): &(&Outcome, i64)| 3.2 - 1.5 * o.shifts[0].0 * done(step) + noise(step);
    Rows::of("training", "What each optimiser step saw.")
        .text("solution", rows.iter().map(|(o, _)| o.name))
        .integer("step", rows.iter().map(|&(_, step)| step))
        .real("learning_rate", "", rows.iter().map(|&(_, step)| 0.01 * (1.0 - step as f64 / STEPS as f64)))
        .real("loss", NATS, rows.iter().map(loss))
        .real("response_loss", NATS, rows.iter().map(loss))
        .real(
            "kl",
            NATS,
            rows.iter().map(|&(o, step)| match o.name {
                "general" => f64::NAN,
                _ => 0.03 * done(step) * (1.0 + noise(step)),
            }),
        )
        .real("gradient_norm", "", rows.iter().map(|&(_, step)| 0.02 + 0.1 * (1.0 - done(step))))
        .real("norm", "", rows.iter().map(|&(o, step)| 160.0 * o.shifts[0].0 * done(step)))
        .real(
            "heldout_loss",
            NATS,
            rows.iter().map(|r| match r.1 % 25 {
                0 => loss(r) + 0.05,
                _ => f64::NAN,
            }),
        )
        .table
}

fn solutions(outcomes: &[Outcome]) -> Table {
    Rows::of("solutions", "What was trained.")
        .text("solution", outcomes.iter().map(|o| o.name))
        .text("edit", outcomes.iter().map(|_| "steering vector"))
        .text("layers", outcomes.iter().map(|_| "15"))
        .integer("parameters", outcomes.iter().map(|_| 576))
        .real("norm", "", outcomes.iter().map(|o| 160.0 * o.shifts[0].0))
        .real("relative_norm", "", outcomes.iter().map(|o| 160.0 * o.shifts[0].0 / 169.0))
        .real("kl_weight", "", outcomes.iter().map(|o| if o.name == "general" { 0.0 } else { 3.0 }))
        .integer("steps", outcomes.iter().map(|_| 100))
        .real("seconds", "s", outcomes.iter().map(|_| 181.4))
        .integer("seed", outcomes.iter().map(|_| 0))
        .table
}
