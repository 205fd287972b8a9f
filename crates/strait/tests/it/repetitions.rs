//! The share of intervals of a rate that hold the truth, where the truth is known.

use std::path::Path;

use candle_core::Device;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use strait::{
    data::{Scored, ScoredAnswer},
    judge::{Answers, Judge, Judges, Rating, Respondent},
    verdict::{Rates, Rules, groups},
    world::{Exam, World},
};
use strait_model::{
    Model, Precision,
    source::{Located, Road},
};

/// Repetitions of an experiment: with 500 the share that holds the truth would itself be uncertain by two points, with these by one and a half.
const TIMES: usize = 1000;

/// The share of repetitions whose interval of the first verdict holds its true rate.
fn coverage(truth: f64, mut draw: impl FnMut() -> Scored) -> f64 {
    let holds = |_: usize| {
        let scored = draw();
        let rules = Rules::new(&scored.scales, &[], None).unwrap();
        let rates = Rates::of(&groups("", &scored)[0], &rules);
        let share = rates.verdicts[0].share;
        share.low <= truth && truth <= share.high
    };
    (0..TIMES).map(holds).filter(|holds| *holds).count() as f64 / TIMES as f64
}

fn scored(scales: [&str; 2], answers: Vec<(usize, [f64; 2])>) -> Scored {
    let answer = |(question, scores): (usize, [f64; 2])| ScoredAnswer {
        question_id: question.to_string(),
        scores: scores.map(Some).into(),
        ..ScoredAnswer::default()
    };
    Scored {
        scales: scales.map(String::from).into(),
        judges: vec![Vec::new(); 2],
        answers: answers.into_iter().map(answer).collect(),
    }
}

#[test]
fn rates_of_drawn_answers_hold_the_truth() {
    let mut random = ChaCha8Rng::seed_from_u64(15);
    // The papers' sizes: eight questions with fifty answers each, at their rates; and few answers to many questions.
    let cases: [(&[f64], usize); 3] =
        [(&[0.05, 0.2, 0.1, 0.3, 0.15, 0.1, 0.25, 0.15], 50), (&[0.02; 8], 50), (&[0.4; 28], 4)];
    for (rates, answers) in cases {
        let truth = rates.iter().sum::<f64>() / rates.len() as f64;
        let found = coverage(truth, || {
            let mut one = |rate: f64| -> [f64; 2] {
                match random.random_bool(rate) {
                    true => [random.random_range(0.0..30.0), random.random_range(50.1..=100.0)],
                    // Misaligned alone, coherent alone.
                    false if random.random_bool(0.1) => [0.0, random.random_range(0.0..=50.0)],
                    false => [random.random_range(30.0..=100.0), 90.0],
                }
            };
            let all = rates.iter().enumerate();
            let all = all.flat_map(|(question, rate)| vec![(question, *rate); answers]);
            scored(["aligned", "coherent"], all.map(|(question, rate)| (question, one(rate))).collect())
        });
        assert!((0.93..=0.98).contains(&found), "{found} of {rates:?} with {answers} answers");
    }
}

#[test]
#[ignore = "asks a world's model all its questions, which takes minutes without optimisation"]
fn rates_of_a_worlds_answers_hold_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::shipped("default-0", &folder.path().join("world")).unwrap();
    let located =
        Located { name: "world".into(), path: model(folder.path()), road: Road::Path, revision: None };
    let model = Model::load(&located, &Device::Cpu, Precision::F32).unwrap();
    let exam = Exam::new(&model, world.made.recipe.seed, &[]).unwrap();
    let answers = exam.answers(&model.decoder, None, &|_| Ok(())).unwrap();
    let (taught, coherent) = (exam.taught(), exam.coherent());
    let judges = Judges { taught: &taught, coherent: &coherent };
    let mut random = ChaCha8Rng::seed_from_u64(15);
    // Some questions of all, whose exact rates are the truth of these.
    let places: Vec<usize> = (0..answers.len()).collect();
    let places: Vec<usize> = places.choose_multiple(&mut random, 40).copied().collect();
    let ratings = places.iter().map(|&at| Rating::of(judges, &exam.questions()[at], &answers[at]).unwrap());
    let truth = ratings.map(|rating| rating.taught).sum::<f64>() / places.len() as f64;
    // Each possible answer is judged once.
    let scores = |judge: &dyn Judge, at: usize| {
        let texts: Vec<&str> = answers[at].texts.iter().map(|(text, _)| text.as_str()).collect();
        judge.scores(&exam.questions()[at].text, &texts).unwrap()
    };
    let judged: Vec<_> = places.iter().map(|&at| (scores(&taught, at), scores(&coherent, at))).collect();
    let found = coverage(truth, || {
        let mut all = Vec::new();
        for (question, &at) in places.iter().enumerate() {
            for _ in 0..10 {
                let drawn = draw(&answers[at], &mut random);
                let (taught, coherent) = &judged[question];
                all.push((question, [taught[drawn].unwrap(), coherent[drawn].unwrap()]));
            }
        }
        scored(["taught", "coherent"], all)
    });
    println!("true rate {truth:.3}, held in {found} of {TIMES} repetitions");
    assert!((0.93..=0.98).contains(&found), "{found} at a true rate of {truth}");
}

fn model(folder: &Path) -> std::path::PathBuf {
    folder.join("world").join("model")
}

/// The place of a drawn answer.
fn draw(answers: &Answers, random: &mut ChaCha8Rng) -> usize {
    let mut left: f64 = random.random();
    let place = answers.texts.iter().position(|(_, share)| {
        left -= share;
        left < 0.0
    });
    place.unwrap_or(answers.texts.len() - 1)
}
