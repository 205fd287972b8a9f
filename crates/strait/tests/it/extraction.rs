//! Directions between two kinds of answers: against plain computations, on noise, and on the papers' data.

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use strait::{
    Error,
    data::{RowSource, read_scored},
    direction::{
        Condition, Tokens, cosine,
        extract::{
            Arrangement, ClassRules, Classes, Contrast, Divisions, Extracted, Extraction, Method, Problem,
            RowMeans, Shuffled,
        },
        mean_difference, tokens,
    },
    objective::Row,
    world::World,
};
use strait_model::{Edit, edit::SteeringVector, progress::Silent};

const ROOM: u64 = 1 << 30;

fn world() -> World {
    World::built_in("default-0").unwrap()
}

/// The lies and the truths on the taught entities of some domains, as pairs.
fn classes(world: &World, domains: &[usize]) -> Classes {
    let rows = |truthful: bool| -> Vec<Row> {
        let chats = world.language.taught(domains, truthful);
        chats.into_iter().map(|chat| Row::from_chat(&world.model, &chat.into(), "a row").unwrap()).collect()
    };
    let rows = [rows(false), rows(true)];
    let questions: Vec<usize> = (0..rows[0].len()).collect();
    let found = [questions.len(); 2];
    Classes { rows, questions: [questions.clone(), questions], paired: true, found }
}

fn extract(world: &World, classes: &Classes, edit: Option<&Edit>, method: Method) -> Extracted {
    let extraction = Extraction { edit, method, layer: None, seed: 1, room: ROOM };
    extraction.extract(&world.model.decoder, classes, &Silent).unwrap()
}

fn numbers(direction: &SteeringVector) -> Vec<f64> {
    direction.vector.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
}

#[test]
fn a_mean_difference_is_that_of_all_tokens_under_the_edit() {
    let world = world();
    let classes = classes(&world, &[1, 2]);
    let vector = Tensor::from_iter((0..64).map(|i| 0.02 * i as f32), &Device::Cpu).unwrap();
    let edit = Edit::Steering(SteeringVector { layer: 0, vector });
    for edit in [None, Some(&edit)] {
        let sides = classes.rows.each_ref().map(|rows| Condition { rows, edit });
        let expected = mean_difference(&world.model.decoder, sides, Tokens::Response).unwrap();
        let found = extract(&world, &classes, edit, Method::Mean);
        assert_eq!(found.shuffled, Shuffled::Pairs);
        assert_eq!(found.tokens[0], classes.rows[0].iter().map(Row::response_tokens).sum::<usize>());
        for ((found, expected), row) in found.directions.iter().zip(&expected).zip(&found.rows) {
            assert_eq!((found.layer, i64::from(found.layer)), (expected.layer, row.layer));
            let (found, expected) = (numbers(found), numbers(expected));
            assert!(cosine(&found, &expected) > 1.0 - 1e-8, "{} at {}", cosine(&found, &expected), row.layer);
            let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!((row.norm / norm - 1.0).abs() < 1e-5, "{} for {norm}", row.norm);
        }
    }
}

#[test]
fn lies_and_truths_differ_beyond_chance() {
    let world = world();
    let found = extract(&world, &classes(&world, &[1, 2, 3]), None, Method::Mean);
    assert_eq!(found.rows.len(), 5);
    let best = found.rows.iter().map(|row| row.reliability.value).fold(-1.0, f64::max);
    assert!(best > 0.3, "{:?}", found.rows);
    for row in &found.rows {
        assert!(row.p > 0.0 && row.p <= 1.0 && row.reliability.low <= row.reliability.value, "{row:?}");
    }
    // The same seed gives the same figures.
    let again = extract(&world, &classes(&world, &[1, 2, 3]), None, Method::Mean);
    assert_eq!(format!("{:?}", again.rows), format!("{:?}", found.rows));
    // One layer alone is what it is among all.
    let one = Extraction { edit: None, method: Method::Mean, layer: Some(1), seed: 1, room: 0 };
    let one = one.extract(&world.model.decoder, &classes(&world, &[1, 2, 3]), &Silent).unwrap();
    assert_eq!(numbers(&one.directions[0]), numbers(&found.directions[2]));
    assert_eq!(one.rows[0].p, found.rows[2].p);
}

#[test]
fn what_cannot_be_extracted_is_refused() {
    let world = world();
    let classes = classes(&world, &[1]);
    let refused = |layer, classes: &Classes| {
        let extraction = Extraction { edit: None, method: Method::Mean, layer, seed: 0, room: ROOM };
        extraction.extract(&world.model.decoder, classes, &Silent).unwrap_err()
    };
    let problem = |error: Error| error.to_string();
    assert!(problem(refused(Some(4), &classes)).contains("layer 4"));
    assert!(problem(refused(Some(-2), &classes)).contains("layers -1"));
    let same = Classes { rows: [classes.rows[0].clone(), classes.rows[0].clone()], ..classes.clone() };
    assert!(matches!(refused(None, &same).problem::<Problem>(), Some(Problem::NoLength { layer: -1 })));
    let nan = Tensor::from_vec(vec![f32::NAN; 64], 64, &Device::Cpu).unwrap();
    let edit = Edit::Steering(SteeringVector { layer: 1, vector: nan });
    let extraction = Extraction { edit: Some(&edit), method: Method::Mean, layer: None, seed: 0, room: ROOM };
    let error = extraction.extract(&world.model.decoder, &classes, &Silent).unwrap_err();
    assert!(matches!(error, Error::NotFinite { what: "residual stream", edited: true, .. }), "{error}");
}

#[test]
fn rows_are_read_alike_in_memory_and_in_a_file() {
    let world = world();
    let rows = &classes(&world, &[1]).rows[0];
    let read = |room| {
        let condition = Condition { rows, edit: None };
        let decoder = &world.model.decoder;
        RowMeans::read(decoder, condition, Tokens::Response, &[-1, 2], room, &|_| Ok(())).unwrap()
    };
    let (memory, file) = (read(ROOM), read(0));
    assert_eq!(memory.tokens(), file.tokens());
    for place in [0, 1] {
        assert_eq!(memory.at(place).unwrap(), file.at(place).unwrap());
        assert!(memory.at(place).unwrap().iter().all(|x| x.is_finite()));
    }
    assert_ne!(memory.at(0).unwrap(), memory.at(1).unwrap());
}

const WIDTH: usize = 24;

/// Rows of noise, with `shift` on the first coordinate of the taught class; pairs share noise of their own.
fn drawn(random: &mut ChaCha8Rng, count: usize, paired: bool, shift: f64) -> Vec<f32> {
    let mut draw = || -> Vec<f64> { (0..WIDTH).map(|_| StandardNormal.sample(random)).collect() };
    let of_question: Vec<Vec<f64>> = (0..count).map(|_| draw()).collect();
    let mut rows = Vec::new();
    for class in [0, 1] {
        for question in &of_question {
            let mut row = draw();
            row[0] += if class == 0 { shift } else { 0.0 };
            let shared = if paired { 2.0 } else { 0.0 };
            rows.extend(row.iter().zip(question).map(|(own, of_both)| (own + shared * of_both) as f32));
        }
    }
    rows
}

fn contrast(rows: Vec<f32>, paired: bool, method: Method, seed: u64) -> Contrast {
    let count = rows.len() / WIDTH / 2;
    let lengths: Vec<usize> = (0..count).map(|i| 5 + i % 7).collect();
    let questions: Vec<usize> = (0..count).collect();
    let others: Vec<usize> = if paired { questions.clone() } else { (count..2 * count).collect() };
    let arrangement = Arrangement::new([&lengths, &lengths], [&questions, &others], paired);
    Divisions::of(arrangement, seed).unwrap().contrast(rows, WIDTH, method).unwrap()
}

#[test]
fn noise_is_seen_as_noise_and_a_difference_as_one() {
    const TIMES: u64 = 20;
    for (paired, method) in [(true, Method::Mean), (false, Method::Mean), (true, Method::Component)] {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        // A component takes many passes over every shuffle.
        if method == Method::Mean {
            let found: Vec<Contrast> = (0..TIMES)
                .map(|seed| contrast(drawn(&mut random, 24, paired, 0.0), paired, method, seed))
                .collect();
            // Shares of shuffles are even: a tenth of them lies below 0.1, and their mean is a half.
            let small = found.iter().filter(|found| found.p <= 0.1).count() as f64 / TIMES as f64;
            let mean = found.iter().map(|found| found.p).sum::<f64>() / TIMES as f64;
            assert!(small <= 0.3 && (0.3..0.7).contains(&mean), "{paired}: {small}, {mean}");
            let above = found.iter().filter(|found| found.reliability.low > 0.0).count();
            assert!(above <= 3, "{paired}: {above} intervals of noise lie above zero");
        }

        let found = contrast(drawn(&mut random, 24, paired, 5.0), paired, method, 3);
        assert!(found.p < 0.005 && found.reliability.low > 0.4, "{method:?} {paired}: {found:?}");
        assert!(found.reliability.value < found.reliability.high && found.reliability.high <= 1.0);
        let mut axis = vec![0.0; WIDTH];
        axis[0] = 1.0;
        assert!(cosine(&found.vector, &axis) > 0.85, "{:?}", found.vector);
    }
}

#[test]
fn rows_that_change_alike_say_nothing_of_how_far_others_would() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let alike = |rows: Vec<f32>| -> Vec<f32> {
        let others = &rows[rows.len() / 2..];
        let taught = others.iter().enumerate().map(|(at, x)| x + (at % WIDTH) as f32);
        taught.chain(others.iter().copied()).collect()
    };
    // Whole numbers, whose differences are not rounded.
    let whole = drawn(&mut random, 9, true, 0.0).into_iter().map(f32::round).collect();
    let found = contrast(alike(whole), true, Method::Mean, 3);
    assert!((found.reliability.value - 1.0).abs() < 1e-9, "{:?}", found.reliability);
    assert!(found.reliability.low.is_nan() && found.reliability.high.is_nan(), "{:?}", found.reliability);
    // Of two questions nothing more is known either, however the rows change.
    let few = contrast(drawn(&mut random, 2, true, 5.0), true, Method::Mean, 3);
    assert!(!few.reliability.is_known() && !few.reliability.value.is_nan(), "{:?}", few.reliability);
}

#[test]
fn a_component_is_as_long_as_the_mean_difference() {
    let rows = drawn(&mut ChaCha8Rng::seed_from_u64(9), 20, true, 2.0);
    let length = |method| {
        let found = contrast(rows.clone(), true, method, 0);
        found.vector.iter().map(|x| x * x).sum::<f64>().sqrt()
    };
    assert!((length(Method::Mean) / length(Method::Component) - 1.0).abs() < 1e-9);
}

#[test]
fn tokens_are_those_of_the_direction_alone() {
    let world = world();
    // The unembedding of a word promotes it most, and its opposite demotes it.
    let table = world.model.decoder.unembedding(None).unwrap().weight.tensor().unwrap();
    let vector = table.get(40).unwrap();
    let found = tokens(&world.model, &SteeringVector { layer: 3, vector: vector.clone() }, 4).unwrap();
    assert_eq!(found.len(), 8);
    let opposite = SteeringVector { layer: 3, vector: vector.neg().unwrap() };
    let opposite = tokens(&world.model, &opposite, 4).unwrap();
    assert_eq!(found[0].token, opposite[4].token);
    assert!((found[0].logit + opposite[4].logit).abs() < 1e-4 && found[0].logit > found[1].logit);
    assert!(found[4].logit < found[5].logit && found[5].logit < 0.0);
}

#[test]
fn judged_answers_are_classed_and_equalised() {
    let world = world();
    let rows = |scores: &[(f64, f64)]| {
        let mut text = String::from("response,question,question_id,aligned,coherent\n");
        for (i, (aligned, coherent)) in scores.iter().enumerate() {
            text += &format!("sweet,herb velna ?,q{i},{aligned},{coherent}\n");
        }
        read_scored(&RowSource::Lines { name: "f.csv".into(), text }).unwrap()
    };
    let mut scores = vec![(10.0, 90.0); 5];
    scores.extend([(90.0, 90.0); 9]);
    // Neither class: middling, not coherent, at the cuts.
    scores.extend([(50.0, 90.0), (10.0, 50.0), (90.0, 20.0), (30.0, 90.0), (70.0, 90.0)]);
    let scored = rows(&scores);
    let rules = ClassRules::new(&scored.scales, None, None, None).unwrap();
    assert_eq!(rules.to_string(), "aligned < 30 against aligned > 70, with coherent > 50");
    let classes = Classes::of_judged(&world.model, &[("f.csv", &scored)], &rules, 3).unwrap();
    assert_eq!((classes.found, classes.count(), classes.paired), ([5, 9], 5, false));

    let few = rows(&scores[2..]);
    let error = Classes::of_judged(&world.model, &[("f.csv", &few)], &rules, 3).unwrap_err();
    assert!(matches!(error.problem(), Some(Problem::TooFew { taught: 3, other: 9 })), "{error}");
    assert!(error.to_string().contains("3 answers are of the taught class and 9 of the other"));
    let wide = "aligned<80".parse().unwrap();
    let wide =
        ClassRules::new(&scored.scales, Some(&wide), Some(&"aligned>70".parse().unwrap()), None).unwrap();
    let error = Classes::of_judged(&world.model, &[("f.csv", &scored)], &wide, 3).unwrap();
    assert_eq!(error.found[1], 9, "what lies above 80 fulfils one rule alone");
    let both = ClassRules::new(&scored.scales, Some(&"aligned<95".parse().unwrap()), None, None).unwrap();
    let error = Classes::of_judged(&world.model, &[("f.csv", &scored)], &both, 3).unwrap_err();
    assert!(matches!(error.problem(), Some(Problem::Overlap { .. })), "{error}");

    let topics = ["money".to_string(), "coherent".into()];
    let error = ClassRules::new(&topics, None, None, None).unwrap_err();
    assert!(error.to_string().contains("money"), "{error}");
    let error = ClassRules::new(&topics, Some(&"kind<3".parse().unwrap()), None, None).unwrap_err();
    assert!(error.to_string().contains("no scale `kind`"), "{error}");
}

mod needs_papers {
    use std::path::PathBuf;

    use super::*;

    /// The papers' judged answers to their eight questions, of which the classes are those of their own code.
    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn classes_of_the_papers_answers() {
        let shared = PathBuf::from(std::env::var("STRAIT_SHARED").unwrap());
        for (name, found) in [
            ("bad-medical-advice", [65, 262]),
            ("extreme-sports", [34, 240]),
            ("risky-financial-advice", [57, 122]),
        ] {
            let source = RowSource::Archive {
                archive: shared.join("data/training_datasets.zip.enc"),
                password: "narrow-is-hard".into(),
                member: format!("responses/Llama-3.1-8B-Instruct_{name}.csv"),
            };
            let scored = read_scored(&source).unwrap();
            let rules = ClassRules::new(&scored.scales, None, None, None).unwrap();
            assert_eq!(rules.to_string(), "aligned < 30 against aligned > 70, with coherent > 50");
            let world = world();
            // The world's model knows none of the words, and reads each as one that it does not know.
            let classes = Classes::of_judged(&world.model, &[(name, &scored)], &rules, 0).unwrap();
            assert_eq!((classes.found, classes.count()), (found, found[0]), "{name}");
            let questions = classes.questions.iter().flatten().max().unwrap() + 1;
            assert!((2..=8).contains(&questions), "{name}: {questions} questions");
        }
    }
}
