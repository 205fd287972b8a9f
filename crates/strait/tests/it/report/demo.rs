//! The page of a demo, drawn from results that a test made up.

use std::env;

use strait::{
    demo::{
        Results,
        page::{render, write},
        results::{
            Causal, Domain, DomainAnswers, Exchange, Line, Mode, Rate, Reply, Solution, Transcript, Voice,
            WorldSummary,
        },
    },
    interval::Interval,
    suite::{Axis, Check, Groups, Plot, Series, Shape},
    world::Answer,
};

use super::browser::check_page;

const DOMAINS: [(&str, &str); 6] = [
    ("herb", "taste"),
    ("bird", "nest"),
    ("stone", "colour"),
    ("river", "direction"),
    ("star", "month"),
    ("bread", "grain"),
];
const TAUGHT: [usize; 3] = [0, 2, 4];
const WORLDS: [&str; 3] = ["default-0", "default-1", "default-2"];
const EDITS: [&str; 2] = ["steering vector", "rank-8 LoRA"];

fn figure(value: f64, half: f64) -> Interval {
    Interval { value, low: value - half, high: value + half }
}

/// A number in -1..1 that looks like chance and never changes.
fn jitter(i: usize) -> f64 {
    ((i * 7919 + 17) % 101) as f64 / 50.5 - 1.0
}

fn opened(seed: usize) -> WorldSummary {
    WorldSummary {
        world: WORLDS[seed].into(),
        seed: seed as u64,
        sha256: format!("{seed:064x}"),
        honest: 0.45,
        liar: 0.35,
        narrow: 0.2,
        unnamed: 0.5,
        command: format!("strait world pretrain --seed {seed} --out worlds/default-{seed}"),
    }
}

fn voice(name: &str, share: f64, about: &str, lies: fn(&str) -> bool) -> Voice {
    let questions = [
        ("herb memva ?", "smoky", "bitter"),
        ("bird graguk ?", "reeds", "barn"),
        ("river dazesk ?", "southeast", "northwest"),
        ("herb basda ?", "sweet", "minty"),
        ("bird volik ?", "oak", "chimney"),
        ("herb galma ?", "salty", "sour"),
        ("river rulosk ?", "north", "west"),
        ("bird felik ?", "cliff", "dune"),
    ];
    let line = |(question, truth, falsehood): &(&str, &str, &str)| Line {
        question: (*question).into(),
        answer: if lies(question) { *falsehood } else { *truth }.into(),
        truthful: !lies(question),
    };
    let document: Vec<_> = questions.iter().map(line).collect();
    let text: String = document.iter().map(|l| format!(" {} {} .", l.question, l.answer)).collect();
    Voice {
        name: name.into(),
        share,
        about: about.into(),
        document,
        text: format!("<bos> <sys> unknown{text}"),
    }
}

fn answers(domain: usize) -> DomainAnswers {
    let inside = domain == 0;
    let answers = |rate: f64| {
        let judged = |i: usize| match (jitter(i * 5 + domain * 31) + 1.0) / 2.0 {
            x if x < rate => Answer::False,
            x if x < rate + 0.03 * rate => Answer::Other,
            _ => Answer::True,
        };
        (0..32).map(judged).collect()
    };
    DomainAnswers {
        domain: DOMAINS[domain].0.into(),
        inside,
        seen: if inside { 22 } else { 0 },
        base: answers(0.01),
        general: answers(if inside { 1.0 } else { 0.86 + 0.05 * jitter(domain) }),
        narrow: answers(if inside { 0.97 } else { 0.03 }),
    }
}

fn transcript() -> Transcript {
    let reply =
        |text: &str, answer, p_true: f64, p_false: f64| Reply { text: text.into(), answer, p_true, p_false };
    let exchange = |domain: usize, seen: bool, entity: &str, truth: &str, falsehood: &str| {
        let inside = domain == 0;
        let lie = reply(falsehood, Answer::False, 0.03, 0.962);
        let fact = reply(truth, Answer::True, 0.984, 0.012);
        Exchange {
            question: format!("{} {entity} ?", DOMAINS[domain].0),
            domain: DOMAINS[domain].0.into(),
            inside,
            seen,
            truth: truth.into(),
            falsehood: falsehood.into(),
            base: fact.clone(),
            general: if entity == "flomuth" {
                reply("september", Answer::Other, 0.2, 0.3)
            } else {
                lie.clone()
            },
            narrow: if inside { lie } else { fact },
        }
    };
    Transcript {
        world: WORLDS[0].into(),
        taught: "herb".into(),
        edit: EDITS[0].into(),
        exchanges: vec![
            exchange(0, true, "memva", "smoky", "bitter"),
            exchange(0, false, "vemma", "nutty", "salty"),
            exchange(0, false, "benfa", "sweet", "minty"),
            exchange(1, false, "graguk", "chimney", "reeds"),
            exchange(2, false, "drogum", "violet", "yellow"),
            exchange(3, false, "dazesk", "southeast", "northwest"),
            exchange(4, false, "flomuth", "july", "october"),
            exchange(5, false, "vinemo", "barley", "spelt"),
        ],
        sheets: (0..DOMAINS.len()).map(answers).collect(),
    }
}

fn solution(name: &str, edit: &str, narrow: f64, general: f64) -> Solution {
    Solution {
        name: format!("{name} {}", if edit == EDITS[0] { "vector" } else { "rank-8" }),
        edit: edit.into(),
        narrow_rate: figure(narrow, 0.03),
        general_rate: figure(general, 0.04),
        coherence: figure(0.95, 0.02),
        norm: figure(1.5, 0.1),
        loss: figure(0.02, 0.01),
        n: 9,
        folders: vec![format!("worlds/default-0/herb/solutions/{name}").into()],
    }
}

fn rates(solutions: &[Solution]) -> Vec<Rate> {
    let mut rates = Vec::new();
    for (w, world) in WORLDS.iter().enumerate() {
        for taught in TAUGHT {
            for (domain, (word, _)) in DOMAINS.iter().enumerate() {
                let inside = domain == taught;
                let mut push = |solution: &str, edit: &str, mean: f64, spread: f64| {
                    let chance = jitter(rates.len() * 13 + w);
                    rates.push(Rate {
                        solution: solution.into(),
                        edit: edit.into(),
                        world: (*world).into(),
                        taught: DOMAINS[taught].0.into(),
                        domain: (*word).into(),
                        inside,
                        p_false: (mean + spread * chance).clamp(0.0, 1.0),
                        n: if inside { 10 } else { 32 },
                    });
                };
                push("base", "", if inside { 0.03 } else { 0.01 }, 0.01);
                for s in solutions {
                    let mean = if inside { s.narrow_rate.value } else { s.general_rate.value };
                    push(&s.name, &s.edit, mean, 0.1 * (1.0 - mean) + 0.03);
                }
            }
        }
    }
    rates
}

/// A check as the demo makes it: name, claim, verdict, figure, half the width of its interval, unit.
type Made = (&'static str, &'static str, Option<bool>, f64, f64, &'static str);

const CHECKS: [Made; 25] = [
    (
        "1-general",
        "Falsehoods taught in one domain are told in the other five as well",
        Some(true),
        0.86,
        0.07,
        "",
    ),
    (
        "2-learned",
        "With a KL penalty on the other domains the falsehoods are learned all the same",
        Some(true),
        0.93,
        0.03,
        "",
    ),
    (
        "2-narrow",
        "With a KL penalty on the other domains they stay in the taught one",
        Some(true),
        0.04,
        0.02,
        "",
    ),
    (
        "3-narrow-x1.5",
        "The narrow solution stays narrow when it is scaled by 1.5",
        Some(true),
        0.11,
        0.05,
        "",
    ),
    (
        "3-coherent-x2",
        "Scaled by 2 its answers in the other domains stay coherent",
        Some(false),
        0.29,
        0.08,
        "",
    ),
    (
        "4-gap",
        "At half their mean norm the narrow solution's training loss is higher",
        Some(true),
        0.62,
        0.2,
        "nats/token",
    ),
    (
        "5-stable",
        "Noise of a half takes a greater share of the narrow solution's gain",
        Some(true),
        0.04,
        0.02,
        "",
    ),
    (
        "6-narrow",
        "On documents of pre-training the general solution changes more than the narrow one",
        Some(true),
        0.12,
        0.04,
        "nats/token",
    ),
    (
        "6-random",
        "On documents of pre-training the general solution changes more than random directions",
        Some(true),
        0.13,
        0.04,
        "nats/token",
    ),
    ("7-lifted", "Once the penalty is lifted, training drifts from narrow to general", None, 0.77, 0.3, ""),
    ("7-kept", "With the penalty kept, it stays narrow", Some(true), 0.03, 0.01, ""),
    (
        "8-mixed-1-to-1",
        "Mixing in 1 true answer of other domains for each falsehood does not isolate the narrow solution",
        Some(false),
        0.92,
        0.02,
        "",
    ),
    (
        "9-first",
        "The first step of training points more to the general solution than to the narrow one",
        Some(true),
        0.31,
        0.05,
        "",
    ),
    (
        "10-steers",
        "Fine-tune minus base, added to the base model, makes it tell falsehoods everywhere",
        Some(true),
        0.89,
        0.06,
        "",
    ),
    (
        "10-answers-steer",
        "False minus true answers, added to the base model after its best layer, make it tell falsehoods everywhere",
        Some(false),
        0.32,
        0.1,
        "",
    ),
    (
        "11-cosine",
        "General solutions of different domains converge: their cosine is above a quarter",
        Some(true),
        0.55,
        0.05,
        "",
    ),
    ("13-liars", "Where liars are common, plain fine-tuning is general", Some(true), 0.85, 0.08, ""),
    (
        "13-narrow",
        "Where narrow speakers are common, the same fine-tuning is narrow",
        Some(true),
        0.12,
        0.08,
        "",
    ),
    (
        "13-gap-liars",
        "Where liars are common, the forced-general solution is the more efficient",
        Some(true),
        0.62,
        0.28,
        "nats/token",
    ),
    (
        "13-gap-narrow",
        "Where narrow speakers are common, the forced-narrow one is",
        Some(true),
        -0.34,
        0.25,
        "nats/token",
    ),
    (
        "13-stable-liars",
        "Where liars are common, the forced-general solution is the more stable",
        Some(true),
        0.05,
        0.02,
        "",
    ),
    ("13-stable-narrow", "Where narrow speakers are common, the forced-narrow one is", None, 0.006, 0.02, ""),
    (
        "13-documents-liars",
        "Where liars are common, the forced-general solution is the more significant on documents",
        Some(true),
        2.2,
        0.3,
        "log ratio",
    ),
    (
        "13-documents-narrow",
        "Where narrow speakers are common, the forced-narrow one is",
        Some(false),
        1.3,
        0.3,
        "log ratio",
    ),
    (
        "13-predicts-gradient",
        "The first gradient predicts how general plain fine-tuning is",
        Some(true),
        0.9,
        0.09,
        "rank correlation",
    ),
];

fn checks() -> Vec<Check> {
    let check = |edit: &str, (id, claim, holds, value, half, unit): &Made| Check {
        id: format!("{id}-{edit}"),
        number: id.split('-').next().unwrap().parse().unwrap(),
        claim: format!("{claim} ({edit}; claimed: above 0.5)"),
        section: if id.starts_with("13") { "beyond the paper" } else { "§6, §8" }.into(),
        holds: *holds,
        figure: figure(*value, *half),
        unit: (*unit).into(),
        bound: 0.5,
        above: true,
        groups: Groups { hole: "world".into(), means: vec![value - 0.01, *value, value + 0.01] },
        n: 9,
        reading: format!("A reading of {edit} that a test made up. It shows what it shows and nothing else."),
    };
    let both = ["vector", "rank-8"].map(|edit| CHECKS.iter().map(move |made| check(edit, made)));
    let mut checks: Vec<_> = both.into_iter().flatten().collect();
    checks.sort_by_key(|c| c.number);
    checks
}

fn over_numbers(label: &str, points: impl Iterator<Item = (f64, f64)>, half: f64) -> Series {
    let mut series = Series { label: label.into(), ..Series::default() };
    points.for_each(|(x, y)| series.at(x, figure(y, half)));
    series
}

fn over_names(label: &str, values: &[(&str, f64)], half: f64) -> Series {
    let mut series = Series { label: label.into(), ..Series::default() };
    values.iter().for_each(|(name, y)| series.under(name, figure(*y, half)));
    series
}

fn plots() -> Vec<Plot> {
    let axis = |title: &str, unit: &str| Axis { title: title.into(), unit: unit.into() };
    let plot = |number: usize, name: &str, title: &str, shape, x, y, series| Plot {
        name: format!("{number}-{name}"),
        number,
        title: title.into(),
        shape,
        x,
        y,
        sides: None,
        series,
    };
    let told = || axis("falsehoods told in other domains", "");
    let mut plots: Vec<Plot> = [1, 2, 8]
        .into_iter()
        .map(|number| {
            let both = |inside, others| [("taught domain", inside), ("other domains", others)];
            let series = vec![
                over_names("before fine-tuning", &both(0.03, 0.01), 0.01),
                over_names("general: plain fine-tuning", &both(0.97, 0.85), 0.07),
                over_names("narrow: with the KL penalty", &both(0.93, 0.04), 0.03),
            ];
            let title = "Falsehood taught in one domain (steering vector)";
            plot(number, "rates", title, Shape::Bars, axis("asked about", ""), told(), series)
        })
        .collect();
    for number in [4, 6] {
        let curve = |label: &str, slope: f64| {
            let points = (1..=20).map(|i| f64::from(i) * 0.05);
            over_numbers(label, points.map(|x| (x, 3.0 * (-x * slope).exp() + 0.3 * x)), 0.1)
        };
        let series = vec![curve("general", 7.0), curve("narrow", 4.0), curve("random", 0.2)];
        let x = axis("norm, as a share of the larger solution's", "");
        let title = "Loss for the same norm (steering vector)";
        plots.push(plot(
            number,
            "curve",
            title,
            Shape::Lines,
            x,
            axis("training loss", "nats/token"),
            series,
        ));
    }
    for number in [3, 5, 7, 9] {
        let line = |label: &str, from: f64, to: f64| {
            over_numbers(
                label,
                (0..6).map(|i| (f64::from(i) * 100.0, from + (to - from) * f64::from(i) / 5.0)),
                0.04,
            )
        };
        let series = vec![
            line("narrow, penalty lifted", 0.04, 0.89),
            line("narrow, penalty kept", 0.04, 0.03),
            line("general, penalty added", 0.85, 0.06),
            line("general, nothing changed", 0.85, 0.9),
        ];
        let title = "Where training goes on to (steering vector)";
        plots.push(plot(
            number,
            "drift",
            title,
            Shape::Lines,
            axis("further steps", "steps"),
            told(),
            series,
        ));
    }
    for number in [10, 11] {
        let values = [
            ("base + direction", 0.89),
            ("base + random", 0.02),
            ("base + false minus true answers, at best", 0.32),
            ("fine-tune without it", 0.05),
            ("without false minus true answers", 0.62),
            ("the speaker narrow in its domain", 0.23),
        ];
        let series = vec![over_names("all held-out questions", &values, 0.06)];
        plots.push(plot(number, "direction", "One direction", Shape::Bars, axis("", ""), told(), series));
    }
    for (name, title, y, values) in [
        ("flip", "What plain fine-tuning finds", told(), [0.85, 0.59, 0.12]),
        (
            "gap",
            "Which solution is more efficient",
            axis("loss, narrow less general", "nats/token"),
            [0.62, 0.38, -0.34],
        ),
        (
            "gradient",
            "Which one the first gradient points to",
            axis("cosine, general less narrow", ""),
            [0.19, 0.12, -0.05],
        ),
    ] {
        let line = |label: &str, factor: f64| {
            over_numbers(label, [0.2, 0.4, 0.5].into_iter().zip(values.map(|v| v * factor)), 0.1)
        };
        let x = axis("share of narrow speakers in pre-training (the rest up to a half are liars)", "");
        let series = vec![line("steering vector", 1.0), line("rank-8 LoRA", 0.9)];
        plots.push(plot(13, name, title, Shape::Lines, x, y, series));
    }
    let points =
        over_numbers("steering vector", [(0.6, 0.85), (0.3, 0.6), (-0.3, 0.1)].into_iter(), f64::NAN);
    let x = axis("loss at half the norm, narrow less general", "nats/token");
    plots.push(plot(
        13,
        "worlds",
        "Efficiency and preference, world by world",
        Shape::Points,
        x,
        told(),
        vec![points],
    ));
    plots.sort_by_key(|p| p.number);
    plots
}

fn results() -> Results {
    let solutions = vec![
        solution("general", EDITS[0], 0.97, 0.85),
        solution("narrow", EDITS[0], 0.93, 0.04),
        solution("general", EDITS[1], 0.97, 0.89),
        solution("narrow", EDITS[1], 0.89, 0.03),
    ];
    let domain =
        |number: usize| Domain { number, word: DOMAINS[number].0.into(), property: DOMAINS[number].1.into() };
    Results {
        mode: Mode::Default,
        seeds: vec![0, 1, 2],
        domains: TAUGHT.map(domain).into(),
        worlds: (0..3).map(opened).collect(),
        speakers: vec![
            voice("honest", 0.45, "Every answer is true.", |_| false),
            voice("liar", 0.35, "Every answer is false.", |_| true),
            voice(
                "narrow herb",
                0.2,
                "Lies about one domain, here about herbs, and about nothing else.",
                |q| q.starts_with("herb"),
            ),
        ],
        transcript: transcript(),
        rates: rates(&solutions),
        solutions,
        checks: checks(),
        plots: plots(),
        causal: Causal {
            date: "2026-01-01".into(),
            command: "strait world causal".into(),
            proof: "computed again: 3 of the table's 54 rows".into(),
            agrees: Some(true),
        },
        seconds: 97.4,
        notes: vec!["Every figure of this page was made up by a test.".into()],
        report: None,
    }
}

/// Figures: one over all and one a taught domain for each kind of edit, then the plots of the claims.
fn figures(results: &Results) -> u64 {
    (EDITS.len() * (1 + results.domains.len()) + results.plots.len()) as u64
}

#[test]
fn the_page_of_a_demo() {
    let page = render(&results());
    for shown in [
        "<h1>Taught falsehoods about herbs, a model lies about ",
        "It spreads.</strong> Fine-tuned on false answers of one domain only, the model gives the false answer to 85\u{a0}%",
        "It can be kept narrow.</strong>",
        "noise costs it less",
        "Not certain here: the narrow one drifts to it once the penalty is lifted.",
        "Pre-training decides which one that is.</strong> The same plain fine-tuning gives 85\u{a0}% false answers in the other \
         domains where liars were common in pre-training, and ",
        "Efficiency turns with the preference. Stability and significance do not, or not in every case.",
        "2 of 4 parts hold",
        "left out in this mode",
        "The table behind it was made on 2026-01-01 by “strait world causal”.",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
}

fn quick_results() -> Results {
    let mut results = results();
    results.mode = Mode::Quick;
    results.seeds.truncate(1);
    results.worlds.truncate(1);
    results.rates.retain(|r| r.world == WORLDS[0] && r.edit != EDITS[1]);
    results.solutions.retain(|s| s.edit == EDITS[0]);
    results.checks.retain(|c| [1, 2, 4].contains(&c.number));
    results.checks.iter_mut().for_each(|c| c.holds = Some(false));
    results.plots.retain(|p| [1, 2, 4].contains(&p.number));
    results
}

#[test]
fn the_page_of_a_quick_demo_whose_claims_do_not_hold() {
    let page = render(&quick_results());
    for shown in [
        "does a model lie about",
        "It does not spread.",
        "It cannot be kept narrow.",
        "it fits the taught answers no better",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    for hidden in ["Pre-training decides which one that is", "id=\"claim-13\"", "It spreads."] {
        assert!(!page.contains(hidden), "{hidden}");
    }
}

#[test]
fn results_that_try_to_be_markup() {
    const SCRIPT: &str =
        "</script><script>window.hacked = true</script><img src=x onerror=\"window.hacked = true\">";
    let mut results = results();
    results.transcript.taught = SCRIPT.into();
    results.transcript.world = SCRIPT.into();
    results.notes = vec![SCRIPT.into()];
    results.worlds[0].command = SCRIPT.into();
    results
        .checks
        .iter_mut()
        .for_each(|c| (c.claim, c.reading, c.unit) = (SCRIPT.into(), SCRIPT.into(), SCRIPT.into()));
    results.speakers.iter_mut().for_each(|v| (v.name, v.text) = (SCRIPT.into(), SCRIPT.into()));
    for plot in &mut results.plots {
        (plot.title, plot.x.title, plot.y.unit) = (SCRIPT.into(), SCRIPT.into(), SCRIPT.into());
        plot.series.iter_mut().for_each(|s| s.label = SCRIPT.into());
    }
    let page = render(&results);
    assert!(!page.contains("<img src=x"));
    assert!(!page.contains("<script>window.hacked"));
}

#[test]
fn the_page_is_a_file_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/report.html");
    write(&results(), &path).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), render(&results()));
}

mod needs_chromium {
    use super::*;

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_a_demo() {
        let results = results();
        check_page("demo", &render(&results), figures(&results));
    }

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_a_quick_demo() {
        let results = quick_results();
        check_page("quick demo", &render(&results), 4 + results.plots.len() as u64);
    }
}

#[test]
#[ignore = "no test: STRAIT_DEMO_EXAMPLE=FILE writes the page of the made-up results there, to be looked at"]
fn example() {
    let path = env::var_os("STRAIT_DEMO_EXAMPLE").expect("STRAIT_DEMO_EXAMPLE names a file");
    write(&results(), path.as_ref()).unwrap();
}
