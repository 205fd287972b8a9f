//! Efficiency, stability and significance against plain computations, and passages.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering},
};

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use strait::{
    Error, Table,
    data::{RowSource, read_chats, read_passages},
    measure::{
        BEGINNING, CONTINUATION, Efficiency, Part, PlainText, Significance, Solution, Stability, Tables,
        continuations, efficiency_of, noise_across, perturbed, random_like, stability_of,
    },
    objective::{Kept, Row},
};
use strait_model::{
    Edit, Model, Precision,
    decoder::Packed,
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
    progress::{Progress, Silent, Task, Unit},
    source::{Located, Road},
};

const SEED: u64 = 3;

fn vector(layer: i32, values: &[f32]) -> Edit {
    Edit::Steering(SteeringVector { layer, vector: Tensor::new(values, &Device::Cpu).unwrap() })
}

fn significance(norms: Vec<f64>, random: usize) -> Significance {
    Significance { source: PlainText { text: Vec::new(), passages: 9, tokens: 24 }, norms, random }
}

/// A measure's rows, and those that compare.
fn both(found: strait::Result<impl Tables>) -> [Table; 2] {
    found.unwrap().tables().try_into().unwrap()
}

fn solution(name: &str, edit: Edit) -> Solution {
    Solution { name: name.into(), edit }
}

/// Numbers that look random and are the same everywhere.
fn wave(len: usize, scale: f32, phase: f32) -> Vec<f32> {
    (0..len).map(|i| scale * (phase + 1.7 * i as f32).sin()).collect()
}

fn numbers(edit: &Edit) -> Vec<Vec<f64>> {
    let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    edit.tensors().into_iter().map(|(_, tensor)| wide(flat(tensor))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The rows of a table for which a text column has one value.
fn where_is(table: &Table, column: &str, value: &str) -> Vec<usize> {
    let column = table.text(column).unwrap();
    (0..table.rows()).filter(|&row| column[row] == value).collect()
}

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found} for {expected}");
}

// Known losses.

/// Rows of which the loss is a bowl about a goal, each with a height of its own: h + |v - goal|^2.
struct Bowl {
    goal: Vec<f64>,
    heights: Vec<f64>,
}

impl Bowl {
    fn losses(&self, edit: Option<&Edit>) -> Vec<f64> {
        let v = edit.map_or_else(|| vec![0.0; self.goal.len()], |edit| numbers(edit)[0].clone());
        let apart: Vec<f64> = v.iter().zip(&self.goal).map(|(v, goal)| v - goal).collect();
        self.heights.iter().map(|height| height + dot(&apart, &apart)).collect()
    }
}

#[test]
fn the_optimum_of_a_bowl_is_found_in_closed_form() {
    let bowl = Bowl { goal: vec![3.0, 1.0], heights: vec![1.0, 2.0, 6.0] };
    let weights = [1.0, 2.0, 1.0];
    let height = (1.0 + 4.0 + 6.0) / 4.0;
    // Along (2, 0) the bowl is lowest at factor 1.5, along (0, 4) at 0.25.
    let solutions = [solution("one", vector(0, &[2.0, 0.0])), solution("two", vector(0, &[0.0, 4.0]))];
    let settings = Efficiency { factors: vec![0.0, 0.3, 1.0, 2.0], norms: 4, mean_norms: Vec::new() };
    let mut passes = 0;
    let mut losses = |edit: Option<&Edit>| {
        passes += 1;
        Ok(bowl.losses(edit))
    };
    let [table, differences] =
        both(efficiency_of(&solutions, &weights, &[0, 1, 2], &mut losses, &settings, SEED));
    assert!(passes <= 1 + 2 * settings.passes(), "{passes}");

    let column = |name| table.real(name).unwrap();
    for (place, factor, gain, length) in [(0, 1.5, 9.0, 2.0), (1, 0.25, 1.0, 4.0)] {
        let row = where_is(&table, "kind", "optimum")[place];
        near(column("factor")[row], factor, 1e-6);
        near(column("norm")[row], factor * length, 1e-6);
        near(column("gain")[row], gain, 1e-6);
        near(column("loss")[row], height + 10.0 - gain, 1e-6);
        near(column("gain_per_norm2")[row], gain / (factor * length).powi(2), 1e-6);
        assert_eq!(table.truth("at_edge").unwrap()[row], Some(false));
    }
    let shared = where_is(&table, "kind", "shared");
    let norms: Vec<f64> = shared.iter().map(|&row| column("norm")[row]).collect();
    assert_eq!(norms, [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
    for row in shared {
        let goal = if table.text("solution").unwrap()[row] == "one" { 3.0 } else { 1.0 };
        let norm = column("norm")[row];
        near(column("loss")[row], height + 10.0 - goal * goal + (norm - goal).powi(2), 1e-6);
        assert_eq!(table.truth("at_edge").unwrap()[row], None);
    }
    // On every row the second is above the first by the same, which says nothing of other rows.
    let difference = differences.interval(["difference", "low", "high"]).unwrap();
    assert_eq!(differences.text("kind").unwrap(), ["shared", "shared", "shared", "shared", "optimum"]);
    for (row, expected) in [-4.0, -8.0, -12.0, -16.0, -8.0].into_iter().enumerate() {
        near(difference[row].value, expected, 1e-6);
        assert!(!difference[row].is_known(), "{:?}", difference[row]);
    }
}

#[test]
fn an_optimum_on_the_edge_of_its_grid_is_marked() {
    let bowl = Bowl { goal: vec![3.0, 0.0], heights: vec![1.0, 2.0] };
    let solutions = [solution("short", vector(0, &[1.0, 0.0])), solution("away", vector(0, &[-1.0, 0.0]))];
    let settings = Efficiency { factors: vec![2.0, 1.0], norms: 2, mean_norms: Vec::new() };
    let mut losses = |edit: Option<&Edit>| Ok(bowl.losses(edit));
    let [table, _] = both(efficiency_of(&solutions, &[1.0, 1.0], &[0, 1], &mut losses, &settings, SEED));
    let best = where_is(&table, "kind", "optimum");
    let factors: Vec<f64> = best.iter().map(|&row| table.real("factor").unwrap()[row]).collect();
    assert_eq!(factors, [2.0, 0.0]);
    assert!(best.iter().all(|&row| table.truth("at_edge").unwrap()[row] == Some(true)));
}

#[test]
fn a_loss_that_is_no_parabola_is_refined_too() {
    // log cosh has its least value at 0.8 of the edit; between 0.5 and 1 no parabola meets it at once.
    let mut losses = |edit: Option<&Edit>| {
        let at = edit.map_or(0.0, |edit| numbers(edit)[0][0]);
        Ok(vec![(6.0 * (at - 0.8)).cosh().ln() + 1.0; 2])
    };
    let settings = Efficiency { factors: vec![0.5, 1.0, 2.0], norms: 1, mean_norms: Vec::new() };
    let solutions = [solution("one", vector(0, &[1.0]))];
    let [table, _] = both(efficiency_of(&solutions, &[1.0, 1.0], &[0, 1], &mut losses, &settings, SEED));
    let best = where_is(&table, "kind", "optimum")[0];
    near(table.real("factor").unwrap()[best], 0.8, 0.02);
}

#[test]
fn the_share_of_a_bowl_that_noise_takes_is_known() {
    // The solution is the goal: L' - L = |x' - x|^2 = 2 |x|^2 (1 - sqrt(1 - e^2)), and L_base - L = |x|^2.
    let x = wave(64, 2.0, 0.3);
    let bowl = Bowl { goal: x.iter().map(|&x| f64::from(x)).collect(), heights: vec![1.0, 3.0] };
    let solutions = [solution("one", vector(0, &x)), solution("half", vector(0, &x).scaled(0.5).unwrap())];
    let settings = Stability { epsilons: vec![0.1, 0.5, 1.0], seeds: 4 };
    let mut losses = |edit: Option<&Edit>| Ok(bowl.losses(edit));
    let [table, differences] = both(stability_of(&solutions, &[1.0, 1.0], &mut losses, &settings, 42));
    let share = table.interval(["share", "low", "high"]).unwrap();
    // Half of it gains 3/4 |x|^2 and loses |x|^2 (1 - c), c = sqrt(1 - e^2).
    for (place, &epsilon) in settings.epsilons.iter().enumerate() {
        let cosine = (1.0 - epsilon * epsilon).sqrt();
        let expected = 2.0 * (1.0 - cosine);
        near(share[place].value, expected, 1e-5);
        assert!(share[place].high - share[place].low < 1e-4, "noise is across x and of its length");
        let half = (1.0 - cosine) / 0.75;
        near(share[place + 3].value, half, 1e-5);
        let difference = differences.real("difference").unwrap()[place];
        near(difference, expected - half, 1e-5);
    }
    assert_eq!(table.text("part").unwrap(), ["vector"; 6]);
    assert_eq!(table.integer("seed").unwrap(), [42; 6]);
    assert_eq!(differences.rows(), 3);
}

#[test]
fn without_a_gain_no_share_is_told() {
    let bowl = Bowl { goal: vec![1.0, 0.0], heights: vec![1.0, 3.0] };
    let solutions = [solution("away", vector(0, &[-1.0, 0.0]))];
    let settings = Stability { epsilons: vec![0.5], seeds: 2 };
    let mut losses = |edit: Option<&Edit>| Ok(bowl.losses(edit));
    let [table, _] = both(stability_of(&solutions, &[1.0, 1.0], &mut losses, &settings, 0));
    assert!(table.real("share").unwrap()[0].is_nan() && table.real("loss").unwrap()[0].is_finite());
}

proptest! {
    #[test]
    fn noise_is_across_and_as_long(
        x in prop::collection::vec(-1e3f64..1e3, 2..200),
        scale in -6i32..6,
        seed: u64,
    ) {
        let x: Vec<f64> = x.iter().map(|x| x * 10f64.powi(scale)).collect();
        let y = noise_across(&x, &mut ChaCha8Rng::seed_from_u64(seed));
        let (length, across) = (dot(&x, &x).sqrt(), dot(&y, &y).sqrt());
        prop_assert!((across - length).abs() <= 1e-9 * length, "{} for {}", across, length);
        prop_assert!(dot(&x, &y).abs() <= 1e-9 * length * length);
        prop_assert_eq!(y, noise_across(&x, &mut ChaCha8Rng::seed_from_u64(seed)));
    }

    #[test]
    fn a_turned_edit_keeps_its_length(
        x in prop::collection::vec(-1e3f32..1e3, 8..100),
        epsilon in 0.01f64..1.0,
        seed: u64,
    ) {
        let edit = vector(0, &x);
        let turned = perturbed(&edit, Part::Vector, epsilon, seed).unwrap();
        let (before, after) = (edit.norm().unwrap(), turned.norm().unwrap());
        prop_assert!((before - after).abs() <= 1e-5 * before);
        let cosine = dot(&numbers(&edit)[0], &numbers(&turned)[0]) / (before * after);
        prop_assert!((cosine - (1.0 - epsilon * epsilon).sqrt()).abs() < 1e-5);
    }
}

#[test]
fn noise_across_nothing_or_a_single_number_is_none() {
    let noise = |x: &[f64]| noise_across(x, &mut ChaCha8Rng::seed_from_u64(1));
    assert_eq!(noise(&[0.0, 0.0]), [0.0, 0.0]);
    assert_eq!(noise(&[3.0]), [0.0]);
}

#[test]
fn solutions_of_one_shape_share_their_noise_and_only_the_asked_part_moves() {
    let (one, other) = (lora(0.3), lora(0.9));
    let moved = |edit: &Edit, part| {
        let turned = perturbed(edit, part, 1.0, 5).unwrap();
        numbers(edit).into_iter().zip(numbers(&turned)).collect::<Vec<_>>()
    };
    for (part, first) in [(Part::A, 0), (Part::B, 1)] {
        let moved = moved(&one, part);
        for (place, (before, after)) in moved.iter().enumerate() {
            assert_eq!(before != after, place % 2 == first, "{part:?}, {place}");
        }
    }
    // At share 1 only noise is left: Gaussian numbers less their part along x, which is small.
    let noise = |edit: &Edit| moved(edit, Part::B)[1].1.clone();
    let (a, b) = (noise(&one), noise(&other));
    let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
    assert!(cosine > 0.8, "{cosine}");
}

// The tiny Llama.

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/train")
}

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

fn rows(model: &Model) -> Vec<Row> {
    let chats = read_chats(&RowSource::File(fixtures().join("rows.jsonl"))).unwrap();
    chats.iter().map(|chat| Row::from_chat(model, &chat.conversation, &chat.place).unwrap()).collect()
}

fn passages(model: &Model) -> Vec<Row> {
    ["The tide came in early.", "A recipe for soup: peel, boil, wait, eat.", "Two and two make four, mostly."]
        .map(|text| Row::of_text(model, text, 24).unwrap())
        .into()
}

/// Two adapters of the tiny Llama.
fn lora(phase: f32) -> Edit {
    let tensor = |rows: usize, columns: usize, scale: f32, phase: f32| {
        Tensor::from_vec(wave(rows * columns, scale, phase), (rows, columns), &Device::Cpu).unwrap()
    };
    let adapter = |layer, projection, input, output| Adapter {
        site: Site::Projection { layer, projection },
        a: tensor(2, input, 0.4, phase),
        b: tensor(output, 2, 0.3, phase + 1.0),
    };
    let adapters = vec![adapter(1, Projection::Q, 32, 32), adapter(2, Projection::Down, 88, 32)];
    Edit::Lora(Lora { adapters, rank: 2, alpha: 4.0, rslora: false, factor: 1.0 })
}

fn steering() -> Vec<Solution> {
    // At other layers, so that what is kept for one does not serve the other.
    vec![solution("one", vector(1, &wave(32, 0.5, 0.0))), solution("two", vector(2, &wave(32, 0.8, 2.0)))]
}

/// Log probabilities of the next token at every position: the whole model in one pass, nothing kept.
fn next(model: &Model, ids: &[u32], edit: Option<&Edit>) -> Vec<Vec<f64>> {
    let decoder = &model.decoder;
    let packed = Packed::new([ids]);
    let stream = decoder.embed(&packed).unwrap();
    let stream = decoder.run(stream, 0..model.config().layers, &packed, edit).unwrap();
    let hidden = decoder.finish(stream, edit).unwrap();
    let logits: Vec<Vec<f32>> =
        decoder.unembedding(None).unwrap().logits(&hidden).unwrap().to_vec2().unwrap();
    let log_softmax = |logits: &Vec<f32>| {
        let logits: Vec<f64> = logits.iter().map(|&l| f64::from(l)).collect();
        let sum = logits.iter().map(|l| l.exp()).sum::<f64>().ln();
        logits.into_iter().map(|l| l - sum).collect()
    };
    logits.iter().map(log_softmax).collect()
}

/// Mean response loss over all tokens of all rows.
fn plain_loss(model: &Model, rows: &[Row], edit: Option<&Edit>) -> f64 {
    let (mut sum, mut tokens) = (0.0, 0.0);
    for row in rows {
        let next = next(model, &row.ids, edit);
        for token in row.responses.iter().flat_map(Clone::clone) {
            sum -= next[token - 1][row.ids[token] as usize];
            tokens += 1.0;
        }
    }
    sum / tokens
}

/// Mean KL(base ‖ edited) over the given positions of all rows.
fn plain_kl(model: &Model, rows: &[Row], edit: &Edit, positions: impl Fn(&Row) -> Vec<usize>) -> f64 {
    let (mut sum, mut tokens) = (0.0, 0.0);
    for row in rows {
        let (base, edited) = (next(model, &row.ids, None), next(model, &row.ids, Some(edit)));
        for at in positions(row) {
            sum += base[at].iter().zip(&edited[at]).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            tokens += 1.0;
        }
    }
    sum / tokens
}

#[test]
fn efficiency_reads_the_loss_that_a_whole_pass_has() {
    let (model, settings) =
        (model(), Efficiency { factors: vec![0.0, 1.0, 2.0], norms: 2, mean_norms: Vec::new() });
    let rows = rows(&model);
    for solutions in [steering(), vec![solution("lora", lora(0.3)), solution("other", lora(0.9))]] {
        let mut kept = Kept::new(rows.clone());
        let [table, differences] = both(settings.read(&model.decoder, &solutions, &mut kept, SEED, &Silent));
        let largest = solutions.iter().map(|s| s.edit.norm().unwrap()).fold(0.0, f64::max);
        let base = plain_loss(&model, &rows, None);
        let column = |name| table.real(name).unwrap();
        for row in 0..table.rows() {
            let name = &table.text("solution").unwrap()[row];
            let edit = &solutions.iter().find(|s| &s.name == name).unwrap().edit;
            let scaled = edit.scaled(column("factor")[row]).unwrap();
            near(column("norm")[row], scaled.norm().unwrap(), 1e-6);
            let loss = plain_loss(&model, &rows, Some(&scaled));
            near(column("loss")[row], loss, 1e-5);
            near(column("gain")[row], base - loss, 1e-4);
            assert!(column("low")[row] <= column("loss")[row] && column("loss")[row] <= column("high")[row]);
        }
        let norms = differences.real("norm").unwrap();
        near(norms[0], largest / 2.0, 1e-6);
        near(norms[1], largest, 1e-6);
        let at = |solution: &Solution| {
            let scaled = solution.edit.scaled(largest / solution.edit.norm().unwrap()).unwrap();
            plain_loss(&model, &rows, Some(&scaled))
        };
        near(differences.real("difference").unwrap()[1], at(&solutions[0]) - at(&solutions[1]), 1e-4);
        let tokens = rows.iter().map(Row::response_tokens).sum::<usize>() as i64;
        assert!(table.integer("tokens").unwrap().iter().all(|&n| n == tokens));
    }
}

#[test]
fn stability_reads_the_loss_that_a_whole_pass_has() {
    let (model, settings) = (model(), Stability { epsilons: vec![0.3, 1.0], seeds: 2 });
    let rows = rows(&model);
    let solutions = [solution("vector", vector(1, &wave(32, 0.5, 0.0))), solution("lora", lora(0.3))];
    let mut kept = Kept::new(rows.clone());
    let [table, differences] = both(settings.read(&model.decoder, &solutions, &mut kept, 7, &Silent));
    assert_eq!(table.text("part").unwrap(), ["vector", "vector", "A", "A", "B", "B"]);
    assert_eq!(differences.rows(), 0, "a vector and a LoRA have no part in common");
    let base = plain_loss(&model, &rows, None);
    let parts = [Part::Vector, Part::Vector, Part::A, Part::A, Part::B, Part::B];
    for (row, part) in parts.into_iter().enumerate() {
        let edit = &solutions[usize::from(row > 1)].edit;
        let trained = plain_loss(&model, &rows, Some(edit));
        let epsilon = table.real("epsilon").unwrap()[row];
        let loss = |seed| plain_loss(&model, &rows, Some(&perturbed(edit, part, epsilon, seed).unwrap()));
        let mean = (loss(7) + loss(8)) / 2.0;
        near(table.real("loss").unwrap()[row], mean, 1e-5);
        near(table.real("loss_deviation").unwrap()[row], (loss(7) - loss(8)).abs() / 2f64.sqrt(), 1e-4);
        near(table.real("base_loss").unwrap()[row], base, 1e-5);
        near(table.real("trained_loss").unwrap()[row], trained, 1e-5);
        let share = table.real("share").unwrap()[row];
        match base > trained {
            true => near(share, (mean - trained) / (base - trained), 1e-2),
            false => assert!(share.is_nan()),
        }
    }
}

#[test]
fn significance_of_vectors_is_the_kl_on_all_tokens_of_the_passages() {
    let model = model();
    let (passages, solutions) = (passages(&model), steering());
    let settings = significance(vec![0.5, 1.0], 2);
    let [table, differences] =
        both(settings.read(&model, &solutions, &Kept::new(passages.clone()), SEED, &Silent));
    let norms: Vec<f64> = solutions.iter().map(|s| s.edit.norm().unwrap()).collect();
    let unit = (norms[0] + norms[1]) / 2.0;
    // Two solutions, and for each of their layers two random directions, at two norms.
    assert_eq!(table.rows(), 12);
    let every_token = |row: &Row| (0..row.ids.len()).collect();
    let mut means = Vec::new();
    for row in 0..table.rows() {
        let direction = &table.text("direction").unwrap()[row];
        let random = table.truth("random").unwrap()[row].unwrap();
        let edit = match solutions.iter().find(|s| &s.name == direction) {
            Some(solution) => solution.edit.clone(),
            None => {
                let (number, like) = direction.strip_prefix("random ").unwrap().split_once(" like ").unwrap();
                let like = solutions.iter().find(|s| s.name == like).unwrap();
                random_like(&like.edit, SEED, number.parse().unwrap()).unwrap()
            }
        };
        assert_eq!(random, direction.contains("random"));
        let norm = unit * table.real("relative_norm").unwrap()[row];
        near(table.real("norm").unwrap()[row], norm, 1e-9);
        let scaled = edit.scaled(norm / edit.norm().unwrap()).unwrap();
        let kl = plain_kl(&model, &passages, &scaled, every_token);
        near(table.real("kl").unwrap()[row], kl, 1e-5);
        means.push(kl);
    }
    // At each norm: both solutions against random, then against each other.
    assert_eq!(differences.rows(), 6);
    let difference = differences.real("difference").unwrap();
    near(difference[0], means[0] - (means[2] + means[3]) / 2.0, 1e-4);
    near(difference[1], means[1] - (means[4] + means[5]) / 2.0, 1e-4);
    near(difference[2], means[0] - means[1], 1e-4);
    assert_eq!(differences.text("other").unwrap()[..3], ["mean of random", "mean of random", "two"]);
}

#[test]
fn significance_of_adapters_is_the_kl_on_what_base_writes_itself() {
    let model = model();
    let passages = passages(&model);
    let solutions = [solution("lora", lora(0.3))];
    let settings = significance(vec![1.0], 1);
    let [table, _] = both(settings.read(&model, &solutions, &Kept::new(passages.clone()), SEED, &Silent));
    let written = continuations(&model, &passages, SEED, &Silent).unwrap();
    for (row, passage) in written.iter().zip(&passages) {
        let start = passage.ids.len().min(BEGINNING);
        assert_eq!(row.ids[..start], passage.ids[..start]);
        assert_eq!(row.responses, std::slice::from_ref(&(start..row.ids.len())));
        assert!((1..=CONTINUATION).contains(&row.response_tokens()));
    }
    let predicting = |row: &Row| (row.responses[0].start - 1..row.responses[0].end - 1).collect();
    let random = random_like(&solutions[0].edit, SEED, 1).unwrap();
    let norm = solutions[0].edit.norm().unwrap();
    let random = random.scaled(norm / random.norm().unwrap()).unwrap();
    for (row, edit) in [&solutions[0].edit, &random].into_iter().enumerate() {
        let kl = plain_kl(&model, &written, edit, predicting);
        near(table.real("kl").unwrap()[row], kl, 1e-4);
    }
    assert_eq!(table.text("text").unwrap(), ["continuations", "continuations"]);
    assert_eq!(table.text("direction").unwrap(), ["lora", "random 1"]);
}

#[test]
fn equal_seeds_give_equal_tables_and_others_do_not() {
    let model = model();
    let (rows, passages) = (rows(&model), passages(&model));
    let mut solutions = steering();
    solutions.push(solution("lora", lora(0.3)));
    let tables = |seed: u64| {
        let grid = Efficiency { factors: vec![1.0], norms: 1, mean_norms: Vec::new() };
        let noise = Stability { epsilons: vec![0.5], seeds: 2 };
        let norms = significance(vec![1.0], 1);
        let decoder = &model.decoder;
        let mut kept = Kept::new(rows.clone());
        [
            both(grid.read(decoder, &solutions, &mut kept, seed, &Silent)),
            both(noise.read(decoder, &solutions, &mut kept, seed, &Silent)),
            both(norms.read(&model, &solutions, &Kept::new(passages.clone()), seed, &Silent)),
        ]
        .concat()
        .iter()
        .map(Table::to_csv)
        .collect::<Vec<_>>()
    };
    let first = tables(3);
    assert_eq!(first, tables(3));
    for (one, other) in first.iter().zip(tables(4)) {
        assert_ne!(one, &other);
    }
}

#[test]
fn an_edit_without_length_is_measured_where_that_has_a_meaning() {
    let model = model();
    let passages = passages(&model);
    let solutions =
        [solution("none", vector(1, &[0.0; 32])), solution("one", vector(1, &wave(32, 0.5, 0.0)))];
    let settings = significance(vec![1.0], 1);
    let [table, _] = both(settings.read(&model, &solutions, &Kept::new(passages.clone()), SEED, &Silent));
    assert_eq!(table.text("direction").unwrap(), ["one", "random 1"]);
    let grid = Efficiency { factors: vec![1.0], norms: 2, mean_norms: Vec::new() };
    let mut kept = Kept::new(rows(&model));
    let [table, _] = both(grid.read(&model.decoder, &solutions, &mut kept, SEED, &Silent));
    let shared = where_is(&table, "kind", "shared");
    assert_eq!(shared.len(), 1 + 3);
}

/// Asks for a stop once so many rows are done.
struct StopAfter {
    rows: AtomicI64,
}

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        Box::new(Silent)
    }
    fn note(&self, _: &str) {}
    fn stopped(&self) -> bool {
        self.rows.fetch_sub(1, Ordering::Relaxed) <= 0
    }
}

#[test]
fn every_measure_stops_where_it_is_asked_to() {
    let model = model();
    let (mut kept, passages) = (Kept::new(rows(&model)), passages(&model));
    let solutions = [solution("vector", vector(1, &wave(32, 0.5, 0.0))), solution("lora", lora(0.3))];
    let grid = Efficiency { factors: vec![1.0, 2.0], norms: 4, mean_norms: Vec::new() };
    let noise = Stability { epsilons: vec![0.5], seeds: 4 };
    let norms = significance(vec![1.0, 2.0], 2);
    for asked in [0, 2, 5] {
        let stop = || StopAfter { rows: asked.into() };
        let decoder = &model.decoder;
        let stopped = [
            grid.read(decoder, &solutions, &mut kept, SEED, &stop()).err(),
            noise.read(decoder, &solutions, &mut kept, 0, &stop()).err(),
            norms.read(&model, &solutions, &Kept::new(passages.clone()), SEED, &stop()).err(),
        ];
        assert!(
            stopped.iter().all(|error| matches!(error, Some(Error::Interrupted))),
            "{asked}: {stopped:?}"
        );
    }
}

// Passages.

#[test]
fn passages_are_read_from_text_lines_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let texts = |name: &str, most: usize| {
        let passages = read_passages(&path(name), most).unwrap();
        passages.into_iter().map(|passage| passage.text).collect::<Vec<_>>()
    };
    std::fs::write(path("a.txt"), "\u{feff}One\nline.\r\n\n \n\nTwo.\n\nThree.").unwrap();
    assert_eq!(texts("a.txt", 9), ["One\nline.", "Two.", "Three."]);
    assert_eq!(texts("a.txt", 1), ["One\nline."]);
    std::fs::write(path("a.jsonl"), "{\"id\": 1, \"text\": \"One.\"}\n\n{\"text\": \"Zwei: ü\"}\n").unwrap();
    assert_eq!(texts("a.jsonl", 9), ["One.", "Zwei: ü"]);
    assert_eq!(texts("a.jsonl", 1), ["One."]);
    assert!(read_passages(&path("a.jsonl"), 9).unwrap()[1].place.ends_with("a.jsonl`, line 3"));
    let table = Table::of_rows("t", "", &["One.", "Two."])
        .integer("id", "", |_| 1)
        .text("text", |text| text.to_string())
        .table();
    table.write_parquet(&path("a.parquet")).unwrap();
    assert_eq!(texts("a.parquet", 9), ["One.", "Two."]);
    assert_eq!(texts("a.parquet", 1), ["One."]);
}

#[test]
fn what_is_no_passage_is_named_with_its_place_and_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    Table::of_rows("t", "", &["a"])
        .text("words", |w| w.to_string())
        .table()
        .write_parquet(&path("no-column.parquet"))
        .unwrap();
    Table::of_rows("t", "", &["a", " "])
        .text("text", |w| w.to_string())
        .table()
        .write_parquet(&path("empty-row.parquet"))
        .unwrap();
    Table::of_rows("t", "", &[1.0])
        .real("text", "", |&x| x)
        .table()
        .write_parquet(&path("number.parquet"))
        .unwrap();
    for (name, bytes) in [
        ("empty.txt", &b"\n \n"[..]),
        ("bytes.txt", b"good\n\nbad \xff\n"),
        ("empty.jsonl", b""),
        ("bytes.jsonl", b"{\"text\": \"\xff\"}\n"),
        ("no-text.jsonl", b"{\"text\": \"a\"}\n{\"body\": \"a\"}\n"),
        ("blank.jsonl", b"{\"text\": \"  \"}\n"),
        ("number.jsonl", b"{\"text\": 3}\n"),
        ("list.jsonl", b"[\"text\"]\n"),
        ("cut.jsonl", b"{\"text\": \"a"),
        ("no.parquet", b"PAR1 or so"),
        ("rows.csv", b"text\na\n"),
    ] {
        std::fs::write(path(name), bytes).unwrap();
    }
    let mut all = String::new();
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.push(path("nowhere.txt"));
    names.sort();
    for name in names {
        let error = read_passages(&name, 9).unwrap_err();
        all += &format!("error: {error}\nhint: {}\n", error.hint().unwrap());
    }
    let shown = all.replace(&format!("{}/", folder.path().display()), "");
    insta::assert_snapshot!("passages", shown);
}

#[test]
fn a_passage_is_cut_to_its_limit_of_tokens() {
    let model = model();
    let row = Row::of_text(&model, "One two three four five six seven eight.", 5).unwrap();
    assert_eq!((row.ids.len(), row.response_tokens()), (5, 0));
    let long = "word ".repeat(2000);
    assert_eq!(Row::of_text(&model, &long, 100_000).unwrap().ids.len(), model.config().context_length);
}
