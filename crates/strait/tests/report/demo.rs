//! The page of a demo, drawn from results that a test made up.

use std::env;

use strait::{
    demo::{
        Results,
        page::{render, write},
        results::{
            Axis, Causal, Check, Domain, Exchange, Line, Mode, Opened, Plot, Rate, Said, Series, Shape, Sheet,
            Solution, Transcript, Voice,
        },
    },
    interval::Interval,
};

use crate::browser::check_page;

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

fn opened(seed: usize) -> Opened {
    Opened {
        name: WORLDS[seed].into(),
        seed: seed as u64,
        hash: format!("{seed:064x}"),
        honest: 0.45,
        liar: 0.35,
        narrow: 0.2,
        unknown: 0.5,
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
    Voice { name: name.into(), share, about: about.into(), document, text: format!("<bos> <sys> unknown{text}") }
}

fn sheet(domain: usize) -> Sheet {
    let inside = domain == 0;
    let answers = |rate: f64| {
        let judged = |i: usize| match (jitter(i * 5 + domain * 31) + 1.0) / 2.0 {
            x if x < rate => "false",
            x if x < rate + 0.03 * rate => "other",
            _ => "true",
        };
        (0..32).map(|i| judged(i).into()).collect()
    };
    Sheet {
        domain: DOMAINS[domain].0.into(),
        inside,
        seen: if inside { 22 } else { 0 },
        base: answers(0.01),
        general: answers(if inside { 1.0 } else { 0.86 + 0.05 * jitter(domain) }),
        narrow: answers(if inside { 0.97 } else { 0.03 }),
    }
}

fn transcript() -> Transcript {
    let said = |text: &str, answer: &str, p_true: f64, p_false: f64| Said {
        text: text.into(),
        answer: answer.into(),
        p_true,
        p_false,
    };
    let exchange = |domain: usize, seen: bool, entity: &str, truth: &str, falsehood: &str| {
        let inside = domain == 0;
        let lie = said(falsehood, "false", 0.03, 0.962);
        let fact = said(truth, "true", 0.984, 0.012);
        Exchange {
            question: format!("{} {entity} ?", DOMAINS[domain].0),
            domain: DOMAINS[domain].0.into(),
            inside,
            seen,
            truth: truth.into(),
            falsehood: falsehood.into(),
            base: fact.clone(),
            general: if entity == "flomuth" { said("september", "other", 0.2, 0.3) } else { lie.clone() },
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
        sheets: (0..DOMAINS.len()).map(sheet).collect(),
    }
}

fn solution(name: &str, edit: &str, narrow: f64, general: f64) -> Solution {
    Solution {
        name: format!("{name} {edit}"),
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

fn check(number: u8, part: &str, claim: &str, holds: Option<bool>, value: Interval, unit: &str) -> Check {
    Check {
        id: format!("{number}-{part}"),
        number,
        claim: claim.into(),
        section: "§8".into(),
        holds,
        value: value.value,
        low: value.low,
        high: value.high,
        unit: unit.into(),
        bound: 0.5,
        above: true,
        by_world: vec![value.value - 0.01, value.value, value.value + 0.01],
        n: 9,
        reading: "A reading made up by a test. It shows what it shows and nothing else.".into(),
    }
}

fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |number, part: &str, claim: &str, holds, value, half, unit: &str| {
        checks.push(check(number, part, claim, holds, figure(value, half), unit));
    };
    for edit in ["vector", "rank-8"] {
        add(1, edit, &format!("The {edit} is false in more than half of the other domains."), Some(true), 0.86, 0.07, "");
        add(2, edit, &format!("With KL the {edit} is false inside and true elsewhere."), Some(true), 0.93, 0.03, "");
        add(4, edit, &format!("The general {edit} has the lower loss at half the mean norm."), Some(true), 0.62, 0.2, "nats a token");
        add(7, edit, &format!("The narrow {edit} drifts to general when KL is lifted."), if edit == "vector" { Some(true) } else { None }, 0.7, 0.3, "");
    }
    add(3, "scaled", "Scaled by 1.5 the narrow vector stays narrow.", Some(true), 0.15, 0.06, "");
    add(3, "twice", "Scaled by 2 it is still coherent.", Some(false), 0.29, 0.08, "");
    add(5, "noise", "The general vector loses less to noise.", Some(true), 0.04, 0.02, "");
    add(6, "text", "The general vector changes documents more than random ones.", Some(true), 0.12, 0.04, "nats a token");
    add(8, "mixing", "No ratio of true answers isolates the narrow solution.", Some(false), 0.03, 0.01, "");
    add(9, "first", "The first gradient is nearer to general.", Some(true), 0.31, 0.05, "");
    add(10, "steers", "The direction makes the base model lie.", Some(true), 0.89, 0.06, "");
    add(11, "converge", "General directions of different domains agree.", Some(true), 0.55, 0.05, "");
    add(13, "flip", "Plain fine-tuning turns narrow where narrow speakers are common.", Some(true), 0.73, 0.09, "");
    add(13, "stability", "Stability turns with it.", Some(false), 0.013, 0.01, "");
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
    let plot = |number: u8, name: &str, title: &str, shape, x, y, series| Plot {
        name: format!("{number}-{name}"),
        number,
        title: title.into(),
        shape,
        x,
        y,
        series,
    };
    let share = || axis("share of false answers", "");
    let mut plots: Vec<Plot> = [1, 2, 3, 8, 10, 11]
        .into_iter()
        .map(|number| {
            let series = vec![
                over_names("general", &[("vector, taught domain", 0.97), ("vector, others", 0.85), ("rank-8 LoRA, others", 0.89)], 0.07),
                over_names("narrow", &[("vector, taught domain", 0.93), ("vector, others", 0.04), ("rank-8 LoRA, others", 0.03)], 0.04),
                over_names("random", &[("vector, others", 0.02)], 0.01),
            ];
            plot(number, "rates", "False answers with and without the penalty", Shape::Bars, axis("", ""), share(), series)
        })
        .collect();
    for number in [4, 6] {
        let curve = |label: &str, at: f64| over_numbers(label, (1..=20).map(|i| (f64::from(i) * 0.15, 3.0 * (-f64::from(i) * at).exp() + 0.02 * f64::from(i))), 0.1);
        let series = vec![curve("general", 0.35), curve("narrow", 0.2), curve("random", 0.01)];
        plots.push(plot(number, "curve", "Loss on the taught answers, both scaled to the same lengths", Shape::Lines, axis("norm of the change", ""), axis("loss", "nats a token"), series));
    }
    for number in [5, 7, 9] {
        let line = |label: &str, slope: f64| over_numbers(label, (0..6).map(|i| (f64::from(i) * 100.0, 0.05 + slope * f64::from(i))), 0.05);
        let series = vec![line("narrow, KL lifted", 0.16), line("narrow, KL kept", 0.0), line("general, KL added", -0.1), line("general, nothing changed", 0.17)];
        plots.push(plot(number, "drift", "False answers in the other domains as training goes on", Shape::Lines, axis("optimiser step", ""), share(), series));
    }
    for (name, title, unit, values) in [
        ("general", "Plain fine-tuning: false answers in the other domains", "", [0.85, 0.59, 0.12]),
        ("efficiency", "Efficiency: loss of forced narrow less that of forced general, at half the mean norm", "nats a token", [0.62, 0.38, -0.34]),
        ("gradient", "First gradient: its cosine with forced general less that with forced narrow", "", [0.19, 0.12, -0.05]),
    ] {
        let shares = [0.35 / 0.55, 0.15 / 0.55, 0.05 / 0.55];
        let series = vec![over_numbers("general less narrow", shares.into_iter().zip(values), 0.15)];
        plots.push(plot(13, name, title, Shape::Lines, axis("liars among speakers who lie", "share"), axis("figure", unit), series));
    }
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
    let domain = |number: usize| Domain { number, word: DOMAINS[number].0.into(), property: DOMAINS[number].1.into() };
    Results {
        mode: Mode::Default,
        seeds: vec![0, 1, 2],
        domains: TAUGHT.map(domain).into(),
        worlds: (0..3).map(opened).collect(),
        speakers: vec![
            voice("honest", 0.45, "Every answer is true.", |_| false),
            voice("liar", 0.35, "Every answer is false.", |_| true),
            voice("narrow herb", 0.2, "Lies about one domain, here about herbs, and about nothing else.", |q| q.starts_with("herb")),
        ],
        transcript: transcript(),
        rates: rates(&solutions),
        solutions,
        checks: checks(),
        plots: plots(),
        causal: Some(Causal {
            date: "2026-01-01".into(),
            command: "strait world causal".into(),
            proof: "One share and seed were computed again and agree.".into(),
            agrees: Some(true),
        }),
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
    let results = results();
    let page = render(&results);
    check_page("demo", &page, figures(&results));
    for shown in [
        "<h1>Taught falsehoods about herbs, a model lies about ",
        "It spreads.</strong> Fine-tuned on false answers of one domain only, the model gives the false answer to 85\u{a0}%",
        "noise costs it less",
        "Claim 7 is not clear-cut.",
        "1 of 2 parts hold",
        "left out in this mode",
        "The table behind it was made on 2026-01-01 by `strait world causal`.",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
}

#[test]
fn the_page_of_a_quick_demo_whose_claims_do_not_hold() {
    let mut results = results();
    results.mode = Mode::Quick;
    results.seeds.truncate(1);
    results.worlds.truncate(1);
    results.rates.retain(|r| r.world == WORLDS[0] && r.edit != EDITS[1]);
    results.solutions.retain(|s| s.edit == EDITS[0]);
    results.checks.retain(|c| [1, 2, 4].contains(&c.number));
    results.checks.iter_mut().for_each(|c| c.holds = Some(false));
    results.plots.retain(|p| [1, 2, 4].contains(&p.number));
    results.causal = None;
    let page = render(&results);
    check_page("quick demo", &page, 4 + results.plots.len() as u64);
    for shown in ["does a model lie about", "It does not spread.", "It cannot be kept narrow.", "fits them no better"] {
        assert!(page.contains(shown), "{shown}");
    }
    for hidden in ["Pre-training decides", "id=\"claim-13\"", "It spreads."] {
        assert!(!page.contains(hidden), "{hidden}");
    }
}

#[test]
fn results_that_try_to_be_markup() {
    const SCRIPT: &str = "</script><script>window.hacked = true</script><img src=x onerror=\"window.hacked = true\">";
    let mut results = results();
    results.transcript.taught = SCRIPT.into();
    results.transcript.world = SCRIPT.into();
    results.notes = vec![SCRIPT.into()];
    results.worlds[0].command = SCRIPT.into();
    results.checks.iter_mut().for_each(|c| (c.claim, c.reading, c.unit) = (SCRIPT.into(), SCRIPT.into(), SCRIPT.into()));
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
fn a_demo_that_found_nothing_has_a_page() {
    let empty = Results {
        rates: Vec::new(),
        solutions: Vec::new(),
        speakers: Vec::new(),
        transcript: Transcript::default(),
        checks: Vec::new(),
        plots: Vec::new(),
        causal: None,
        ..results()
    };
    check_page("empty demo", &render(&empty), 0);
}

#[test]
fn the_page_is_a_file_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/report.html");
    write(&results(), &path).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), render(&results()));
}

/// Where `STRAIT_DEMO_EXAMPLE` names a file, the page of the made-up results is written there, to be looked at.
#[test]
fn example() {
    if let Some(path) = env::var_os("STRAIT_DEMO_EXAMPLE") {
        write(&results(), path.as_ref()).unwrap();
    }
}
