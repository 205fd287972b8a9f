//! Sweeps by judged answers: of a world beside its own rates, and of a study beside scores that are counted by hand.

use std::{collections::BTreeMap, path::Path};

use strait::{
    Error,
    behaviour::{Examiner, Known},
    direction::sweep::{AblatedRate, Examined, Mode, Of, Set, SteeredRate, Sweep, best_by_rates},
    interval::Interval,
    judge::{Judge, Judges, Style},
    lab::Group,
    responses::Response,
    study::{Plan, StudyFile},
    verdict::is_caught,
    world::{Exam, Speaker, World, rates, read},
};
use strait_model::{Edit, progress::Silent};

use crate::sweeps::{Scratch, TRAIN, Watch, run, table, tables};

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
}

#[test]
fn a_world_s_answers_are_those_that_it_knows() {
    let world = World::built_in("default-0").unwrap();
    let (model, taught) = (&world.model, world.language.domains()[0].word.to_string());
    let exam = Exam::new(model, world.made.recipe.seed, &[taught]).unwrap();
    let (kind, sense) = (exam.taught(), exam.coherent());
    let judges = Judges { taught: &kind, coherent: &sense };
    let known = Known { decoder: &model.decoder, respondent: &exam, judges, progress: &Silent };
    assert_eq!(known.tallies().len(), 1);

    let (liar, narrow) = (world.speaker(Speaker::Liar), world.speaker(Speaker::Narrow(0)));
    let set = Set::of("liar", &liar).unwrap();
    let sweep = Sweep { layers: vec![-1], factors: vec![1.0, 2.0], random: 3, coherence: 1.0, seed: 0 };
    let examined = Examined { by: &known, random: 3 };
    for edit in [None, Some(&narrow)] {
        let rows = sweep.steer_rates(edit, std::slice::from_ref(&set), &examined).unwrap();
        assert_eq!(rows.len(), 2 * 2);
        let read = |edit: Option<&Edit>| rates(&read(&world, edit).unwrap(), 0);
        let before = read(edit);
        for row in &rows {
            let added = liar.scaled(row.factor).unwrap();
            let whole = Edit::composed(edit.cloned().into_iter().chain([added]));
            let expected = read(Some(&whole));
            let [of, base] = [&expected, &before].map(|of| match row.group {
                Group::Narrow => (of.narrow, of.coherence_inside),
                Group::General => (of.general, of.coherence),
            });
            near(row.rate.value, of.0);
            near(row.before.value, base.0);
            near(row.rise.value, of.0 - base.0);
            near(row.coherent.value, of.1);
            near(row.coherent_before, base.1);
            let random = (0..3).map(|seed| {
                let drawn = set.random_like(seed).unwrap().edit().scaled(row.factor).unwrap();
                let whole = Edit::composed(edit.cloned().into_iter().chain([drawn]));
                let found = read(Some(&whole));
                if row.group == Group::Narrow { found.narrow } else { found.general }
            });
            let random = random.sum::<f64>() / 3.0;
            near(row.random.value, random);
            near(row.beyond_random.value, row.rate.value - random);
            assert_eq!((row.answers, row.randoms, row.judge.as_str()), (0, 3, "world"));
        }
        if edit.is_none() {
            // The world's liar lies everywhere, and a random vector makes nobody one.
            let best = best_by_rates(&rows, "liar").unwrap();
            assert!(best.group == Group::General && best.rise.low > 0.3, "{best:#?}");
            assert!(best.beyond_random.low > 0.2 && best.coherent.value > 0.5, "{best:#?}");
        }
    }

    // Taken out of the liar, the liar is as base is; out of base there is no share to be gone.
    let removals = sweep.removals(std::slice::from_ref(&set), false, &[Mode::Layer]).unwrap();
    let of = [Of { name: "liar", edit: Some(&liar) }, Of { name: "base", edit: None }];
    let taken: Vec<_> = of.iter().map(|&of| (of, &removals[0])).collect();
    let rows = sweep.remove_rates(model, &taken, &examined).unwrap();
    assert_eq!(rows.len(), 2 * 2);
    let general: Vec<&AblatedRate> = rows.iter().filter(|row| row.group == Group::General).collect();
    let [of_liar, of_base] = general[..] else { panic!("{general:#?}") };
    let (liar, base) =
        (rates(&read(&world, Some(&liar)).unwrap(), 0), rates(&read(&world, None).unwrap(), 0));
    near(of_liar.before.value, liar.general);
    near(of_liar.base.value, base.general);
    let removed = (of_liar.before.value - of_liar.rate.value) / (of_liar.before.value - of_liar.base.value);
    near(of_liar.removed.value, removed);
    assert!(removed > 0.5 && of_liar.rise.high < 0.0, "{of_liar:#?}");
    assert!((of_liar.random.value - of_liar.before.value).abs() < 0.2, "{of_liar:#?}");
    near(of_base.before.value, base.general);
    assert!(!of_base.removed.is_known(), "{of_base:#?}");
}

#[test]
fn a_study_of_a_world_reads_its_sweep_by_the_world_s_own_answers() {
    let folder = tempfile::tempdir().unwrap();
    let study = |more: &str| {
        let text = format!(
            "model = 'world:default-0'\n[data]\ndomain = 'herb'\ntrain = {{ domains = ['herb'], truthful = false }}\n[train]\nsteps = 10\n\
             layer = 0\n[[solution]]\nname = 'general'\n[measure]\nsweep = {{ layers = 1, {more} }}\n"
        );
        StudyFile::parse(&folder.path().join("study.toml"), text).unwrap().resolve()?.fix_layers(2)
    };
    let planned = |more: &str| {
        let study = study(more).unwrap();
        Plan::of(&study, &[("m".into(), "0".into())], |path| panic!("{} is read", path.display())).unwrap()
    };
    let (with, without) = (planned("rates = true"), planned("rates = false"));
    let step = |plan: &Plan| plan.step("sweep").unwrap().clone();
    assert!(step(&with).needs.iter().any(|need| need == "rates"));
    assert!(!step(&without).needs.iter().any(|need| need == "rates"));
    assert!(step(&with).key != step(&without).key);
    let error = study("rates = true, answers = 2").map(drop).unwrap_err().to_string();
    assert!(
        error.contains("`measure.sweep.answers` is there where all answers of a world are known"),
        "{error}"
    );
}

// In a study.

const SOLUTIONS: &str = "
[[solution]]
name = 'general'
[[solution]]
name = 'vector'
edit = 'steering'
learning_rate = 0.05
";

const MEASURE: &str = "
[measure.rates]
judges = ['style']
narrow = { questions = 'narrow-other.jsonl', limit = 3 }
general = { questions = 'general-other.jsonl', limit = 4 }
answers = 3
tokens = 8
scales = [1]
verdicts = ['style>CUT']
[measure.sweep]
layers = 2
factors = [1, 4]
pairs = 3
modes = ['own', 'lora']
random = 1
rates = true
answers = 2
random_rates = 1
";

fn measure() -> String {
    MEASURE.replace("CUT", &CUT.to_string())
}

/// A cut that some answers of the tiny model lie above and some below.
const CUT: f64 = 20.0;

/// The shares of taught and of coherent answers to each question in a file, under one factor.
fn counted(file: &Path, factor: f64) -> BTreeMap<usize, [f64; 2]> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut shares: BTreeMap<usize, [f64; 2]> = BTreeMap::new();
    for line in text.lines() {
        let answer: Response = serde_json::from_str(line).unwrap();
        if answer.scale != factor {
            continue;
        }
        let score = Style.scores(&answer.question, &[&answer.response]).unwrap()[0];
        let coherent = !is_caught(&answer.response);
        let taught = coherent && score.is_ok_and(|score| score > CUT);
        let [all_taught, all_coherent] = shares.entry(answer.row).or_default();
        *all_taught += f64::from(u8::from(taught)) / 2.0;
        *all_coherent += f64::from(u8::from(coherent)) / 2.0;
    }
    shares
}

/// The mean over the questions of a group.
fn mean(shares: &BTreeMap<usize, [f64; 2]>, group: Group) -> [f64; 2] {
    let own: Vec<[f64; 2]> =
        shares.iter().filter(|(row, _)| (**row < 3) == (group == Group::Narrow)).map(|(_, s)| *s).collect();
    assert_eq!(own.len(), if group == Group::Narrow { 3 } else { 4 });
    [0, 1].map(|of| own.iter().map(|share| share[of]).sum::<f64>() / own.len() as f64)
}

#[track_caller]
fn holds(interval: Interval, value: f64) {
    near(interval.value, value);
    assert!(0.0 <= interval.low && interval.low <= value && value <= interval.high && interval.high <= 1.0);
}

#[test]
fn a_study_judges_its_sweep_and_ends_the_same_when_it_is_stopped() {
    let scratch = Scratch::new();
    let study = scratch.write(TRAIN, &format!("{SOLUTIONS}{}", measure()));
    let whole = scratch.path("whole");
    let outcome = run(&study, Some(&whole), None, &Watch::endless()).unwrap();

    let file = |name: &str| whole.join(format!("answers/sweep/{name}.jsonl"));
    let rows: Vec<SteeredRate> = table(&whole, "sweep_rates").read().unwrap();
    // Two directions, two layers, two factors, two sides.
    assert_eq!(rows.len(), 2 * 2 * 2 * 2);
    let base = counted(&file("base"), 1.0);
    for row in &rows {
        let number = if row.direction == "general" { 1 } else { 2 };
        let name = format!("steered-{number}-layer-{}", row.layer);
        let own = mean(&counted(&file(&name), row.factor), row.group);
        let random = mean(&counted(&file(&format!("{name}-random-1")), row.factor), row.group);
        let before = mean(&base, row.group);
        holds(row.rate, own[0]);
        holds(row.coherent, own[1]);
        holds(row.before, before[0]);
        near(row.coherent_before, before[1]);
        near(row.rise.value, own[0] - before[0]);
        assert!(row.rise.low <= row.rise.value && row.rise.value <= row.rise.high);
        near(row.random.value, random[0]);
        near(row.coherent_random, random[1]);
        near(row.beyond_random.value, own[0] - random[0]);
        assert_eq!((row.questions * 2, row.randoms), (row.answers, 1));
        assert_eq!(row.verdict, format!("style > {CUT}"));
    }
    let spread = rows.iter().filter(|row| row.rate.value > 0.0 && row.rate.value < 1.0).count();
    assert!(spread > 4, "{rows:#?}");

    // Two directions out of two solutions; only one of them has a B.
    let ablated: Vec<AblatedRate> = table(&whole, "sweep_ablation_rates").read().unwrap();
    assert_eq!(ablated.len(), (2 * 2 + 2) * 2);
    for (at, row) in ablated.iter().enumerate() {
        // Of each group the removals in their order, out of B last.
        let name = format!("ablated-{}-{}", at % 6 + 1, if row.mode == Mode::Lora { "lora" } else { "own" });
        let solution = if row.solution == "general" { "solution-1" } else { "solution-2" };
        holds(row.rate, mean(&counted(&file(&name), 1.0), row.group)[0]);
        holds(row.before, mean(&counted(&file(solution), 1.0), row.group)[0]);
        holds(row.base, mean(&base, row.group)[0]);
    }

    let claims: Vec<String> = outcome.conclusion.claims.iter().map(|claim| claim.sentence()).collect();
    let listed =
        |text: &Path| StudyFile::read(text).unwrap().resolve().unwrap().fix_layers(4).unwrap().claims();
    let by_answers = "general: its direction makes base answer as taught outside the domain, in answers that count as coherent";
    assert!(claims.iter().any(|claim| claim == by_answers), "{claims:#?}");
    assert!(claims.iter().all(|claim| listed(&study).contains(claim)), "{claims:#?}");
    let page = std::fs::read_to_string(&outcome.report).unwrap();
    for part in [
        "<section id=\"sweep_rates\"",
        "<section id=\"sweep_ablation_rates\"",
        "“general”, outside the domain: answers that make sense",
        "Rates of a sweep are of 6 sampled answers to 3 questions inside the domain and 8 to 4 outside under each edit",
    ] {
        assert!(page.contains(part), "{part}");
    }

    let stopped = scratch.path("stopped");
    let (mut stops, mut patience, mut midway) = (0, 20, 0);
    let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let check = |kept: &mut BTreeMap<String, Vec<String>>| {
        let Ok(files) = std::fs::read_dir(stopped.join("answers/sweep")) else { return };
        for path in files.map(|file| file.unwrap().path()).filter(|path| path.extension().unwrap() == "jsonl")
        {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let lines: Vec<String> = std::fs::read_to_string(path).unwrap().lines().map(Into::into).collect();
            let before = kept.insert(name.clone(), lines.clone()).unwrap_or_default();
            assert!(before.iter().all(|line| lines.contains(line)), "{name} was begun anew");
        }
    };
    while let Err(error) = run(&study, Some(&stopped), None, &Watch::stopping_after(patience)) {
        assert!(matches!(error, Error::Interrupted), "{error}");
        (stops, patience) = (stops + 1, patience * 2);
        check(&mut kept);
        midway += usize::from(!kept.is_empty());
    }
    check(&mut kept);
    assert!(stops > 2 && midway > 0, "{stops} stops, {midway} of them in the sweep's answers");
    assert_eq!(tables(&stopped), tables(&whole));

    // Without rates the sweep is another step, and no claim is made of answers.
    let without = measure().replace("rates = true\nanswers = 2\nrandom_rates = 1\n", "");
    let without = scratch.write(TRAIN, &format!("{SOLUTIONS}{without}"));
    assert!(!listed(&without).iter().any(|claim| claim == by_answers));
}

#[test]
fn a_study_whose_sweep_nobody_can_judge_is_refused() {
    let scratch = Scratch::new();
    let refused = |from: &str, to: &str, expected: &str| {
        let text = measure().replace(from, to);
        assert_ne!(text, measure());
        let study = scratch.write(TRAIN, &format!("{SOLUTIONS}{text}"));
        let read = StudyFile::read(&study).and_then(|study| study.resolve());
        let error = read.map(drop).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("line "), "{error}");
    };
    let (rates, _) = MEASURE.split_once("[measure.sweep]").unwrap();
    refused(&rates.replace("CUT", &CUT.to_string()), "", "`measure.sweep.rates` is true where nobody judges");
    refused("judges = ['style']\n", "", "expected `judges` beside it");
    refused("judges = ['style']", "judges = [{ model = 'm' }]", "`scale`");
    refused("rates = true\n", "", "`measure.sweep.answers` is there where no rates are read");
    refused("answers = 2\nrandom_rates = 1", "answers = 0\nrandom_rates = 1", "`measure.sweep.answers`");
    refused("random_rates = 1", "random_rates = -1", "`measure.sweep.random_rates`");
}
