//! Sweeps of directions: beside plain passes, on a built-in world, and in a small study.

use std::path::Path;

use candle_core::{Device, Tensor};
use strait::{
    Error,
    data::pairs::Pair,
    direction::sweep::{
        Ablated, Bench, Mode, Notebook, Of, Problem, Removal, Set, Steered, Sweep, best, without,
    },
    lab::{Group, PairRows},
    measure::{DirectionSweep, Solution},
    study::StudyFile,
    world::{Question, Speaker, World},
};
use strait_model::{
    Edit, Message, Model, Precision, Role,
    decoder::Packed,
    edit::{Ablation, Adapter, Lora, Projection, Site, SteeringVector},
    progress::Silent,
    source::{Located, Road},
};

use crate::sweeps::{Scratch, TRAIN, Watch, run, table, tables};

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny").join(name);
    let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

fn tensor(width: usize, phase: f32) -> Tensor {
    let values: Vec<f32> =
        (0..width).map(|i| 0.4 * (phase + (1.3 + 0.37 * phase) * i as f32).sin()).collect();
    Tensor::new(values, &Device::Cpu).unwrap()
}

fn vector(model: &Model, layer: i32, phase: f32) -> SteeringVector {
    SteeringVector { layer, vector: tensor(model.config().hidden_size, phase) }
}

fn lora(model: &Model, layer: usize, projection: Projection) -> Edit {
    let site = Site::Projection { layer, projection };
    let (input, out) = site.size(model.config());
    let adapter = Adapter {
        site,
        a: tensor(2 * input, 0.3).reshape((2, input)).unwrap(),
        b: tensor(2 * out, 0.9).reshape((out, 2)).unwrap(),
    };
    Edit::Lora(Lora { adapters: vec![adapter], rank: 2, alpha: 2.0, rslora: false, factor: 1.0 })
}

fn pairs(model: &Model, group: Group) -> PairRows {
    let pair = |i: usize| Pair {
        id: i.to_string(),
        domain: format!("domain {}", i % 2),
        question: vec![Message::new(Role::User, format!("What is {i}?"))].into(),
        taught: Message::new(Role::Assistant, format!("A dense answer, number {i}.")),
        other: Message::new(Role::Assistant, format!("A plain one, {i}.")),
    };
    PairRows::new(model, group, &(0..8).map(pair).collect::<Vec<_>>()).unwrap()
}

fn settings(layers: &[i32], factors: &[f64], random: usize) -> Sweep {
    Sweep { layers: layers.into(), factors: factors.into(), random, coherence: 1.0, seed: 5 }
}

/// The preference of every pair, in nats a token, in passes of their own with nothing kept.
fn preferences(model: &Model, pairs: &PairRows, edit: Option<&Edit>) -> Vec<f64> {
    let loss = |ids: &[u32], responses: &[std::ops::Range<usize>]| {
        let logits = model.decoder.logits(&Packed::new([ids]), edit).unwrap().to_vec2::<f32>().unwrap();
        let losses = responses.iter().flat_map(Clone::clone).map(|token| {
            let row = &logits[token - 1];
            let sum = row.iter().map(|&l| f64::from(l).exp()).sum::<f64>().ln();
            sum - f64::from(row[ids[token] as usize])
        });
        let losses: Vec<f64> = losses.collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    };
    let both = pairs.kept.rows().chunks_exact(2);
    both.map(|pair| loss(&pair[1].ids, &pair[1].responses) - loss(&pair[0].ids, &pair[0].responses)).collect()
}

/// The mean shift from base to an edit.
fn shift(model: &Model, pairs: &PairRows, edit: Option<&Edit>, base: Option<&Edit>) -> f64 {
    let (edited, base) = (preferences(model, pairs, edit), preferences(model, pairs, base));
    edited.iter().zip(&base).map(|(e, b)| e - b).sum::<f64>() / base.len() as f64
}

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} for {expected}");
}

#[test]
fn steering_is_what_passes_of_its_own_find() {
    let model = tiny("llama");
    let pairs = [PairRows::none(Group::Narrow), pairs(&model, Group::General)];
    let set = Set::new("d", [3, -1, 1].map(|layer| vector(&model, layer, layer as f32))).unwrap();
    for edit in [None, Some(&lora(&model, 1, Projection::Down))] {
        let sweep = settings(&[], &[1.0, -2.0], 2);
        let mut notebook = Notebook::none();
        let mut bench = Bench { pairs: &pairs, notebook: &mut notebook, progress: &Silent };
        let (rows, domains, blocks) =
            sweep.steer(&model, edit, std::slice::from_ref(&set), &mut bench).unwrap();
        let places: Vec<_> = rows.iter().map(|row| (row.layer, row.factor)).collect();
        assert_eq!(places, [(-1, 1.0), (-1, -2.0), (1, 1.0), (1, -2.0), (3, 1.0), (3, -2.0)]);
        let randoms = [5, 6].map(|seed| set.random_like(seed).unwrap());
        for row in &rows {
            let steered = |set: &Set| {
                let added =
                    Edit::Steering(set.at(row.layer as i32).unwrap().clone()).scaled(row.factor).unwrap();
                let whole = Edit::composed(edit.cloned().into_iter().chain([added]));
                shift(&model, &pairs[1], Some(&whole), edit)
            };
            near(row.shift.value, steered(&set), 1e-4);
            let random = randoms.each_ref().map(steered);
            near(row.random.value, (random[0] + random[1]) / 2.0, 1e-4);
            near(row.beyond_random.value, row.shift.value - row.random.value, 1e-9);
            assert!((row.group, row.pairs, row.randoms) == (Group::General, 8, 2));
        }
        let best = best(&rows, "d").unwrap();
        assert!(rows.iter().all(|row| !row.coherent || row.shift.value <= best.shift.value));
        let by_domain: Vec<_> = domains.iter().map(|row| (row.domain.as_str(), row.pairs)).collect();
        assert_eq!(by_domain, [("domain 0", 4), ("domain 1", 4)]);
        near(domains.iter().map(|row| row.shift.value).sum::<f64>() / 2.0, best.shift.value, 1e-9);
        assert!(blocks.run as f64 <= 1.15 * blocks.needed as f64);
    }
}

/// The largest component along a direction of the stream at a point, as a share of that without the ablation.
fn left_along(model: &Model, edit: &Edit, before: Option<&Edit>, layer: i32, direction: &Tensor) -> f32 {
    let ids: Vec<u32> = (1..20).collect();
    let unit = direction.broadcast_div(&direction.sqr().unwrap().sum_all().unwrap().sqrt().unwrap()).unwrap();
    let along = |edit: Option<&Edit>| {
        let stream =
            &model.decoder.residuals(&Packed::new([ids.as_slice()]), edit).unwrap()[(layer + 1) as usize];
        let along = stream.broadcast_mul(&unit.unsqueeze(0).unwrap()).unwrap().sum(1).unwrap();
        along.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
    };
    along(Some(edit)) / along(before)
}

#[test]
fn nothing_is_left_along_what_is_taken_out_where_it_is_taken_out() {
    let model = tiny("llama");
    let depth = model.config().layers as i32;
    let edit = lora(&model, 1, Projection::Down);
    let one = Set::new("one", (-1..depth).map(|layer| vector(&model, layer, layer as f32))).unwrap();
    let other =
        Set::new("other", (-1..depth).map(|layer| vector(&model, layer, 0.3 + 1.2 * layer as f32))).unwrap();
    for sets in [vec![one.clone()], vec![one.clone(), other.clone()]] {
        for (mode, layers, source) in [
            (Mode::Own, -1..depth, None),
            (Mode::Everywhere, -1..depth, Some(1)),
            (Mode::Layer, 1..2, Some(1)),
        ] {
            let found = without(Some(&edit), &sets, mode, 1, model.config()).unwrap().unwrap();
            let whole = found.edit.unwrap();
            for layer in layers {
                for set in &sets {
                    let direction = &set.at(source.unwrap_or(layer)).unwrap().vector;
                    let left = left_along(&model, &whole, Some(&edit), layer, direction);
                    assert!(left < 1e-4, "{mode:?}, layer {layer}: {left}");
                }
            }
            let elsewhere = left_along(&model, &whole, Some(&edit), 3, &one.at(1).unwrap().vector);
            assert_eq!(elsewhere > 1e-3, mode != Mode::Everywhere, "{mode:?}: {elsewhere}");
        }
    }

    // Out of B: what the adapter writes has nothing along it, and the stream keeps what it had.
    let changed =
        without(Some(&edit), std::slice::from_ref(&one), Mode::Lora, 1, model.config()).unwrap().unwrap();
    assert_eq!(changed.from, 1);
    let Some(Edit::Lora(changed)) = &changed.edit else { panic!() };
    let direction = one.at(1).unwrap().vector.unsqueeze(0).unwrap();
    let along = direction.matmul(&changed.adapters[0].b).unwrap().abs().unwrap().max_all().unwrap();
    assert!(along.to_scalar::<f32>().unwrap() < 1e-5);
    assert!(left_along(&model, &Edit::Lora(changed.clone()), None, 1, &one.at(1).unwrap().vector) > 0.9);
}

#[test]
fn what_cannot_be_swept_is_refused() {
    let model = tiny("llama");
    let problem = |error: Error| error.to_string();
    let of = |edit: Edit| Set::of("d", &edit).map_err(problem).unwrap_err();
    let two = Edit::composed([vector(&model, 1, 0.0), vector(&model, 1, 1.0)].map(Edit::Steering));
    assert_eq!(of(two), "`d`: it has two vectors at layer 1");
    assert_eq!(of(lora(&model, 1, Projection::O)), "`d`: it holds a LoRA, which is no direction");
    let zero = SteeringVector { layer: 0, vector: tensor(4, 0.0).zeros_like().unwrap() };
    assert_eq!(of(Edit::Steering(zero)), "`d`: every vector in it is zero, which is no direction");

    let set = Set::new("d", [vector(&model, 1, 0.0)]).unwrap();
    let pairs = [PairRows::none(Group::Narrow), pairs(&model, Group::General)];
    let mut notebook = Notebook::none();
    let mut bench = Bench { pairs: &pairs, notebook: &mut notebook, progress: &Silent };
    let sweep = settings(&[2], &[1.0], 1);
    let error = sweep.steer(&model, None, std::slice::from_ref(&set), &mut bench).unwrap_err();
    assert_eq!(error.to_string(), "`d`: it has no direction at layer 2, only at 1");
    assert_eq!(
        sweep.removals(std::slice::from_ref(&set), false, &[Mode::Own]).unwrap_err().to_string(),
        error.to_string()
    );

    // A LoRA that writes nothing into the stream, none at all, and a model that norms what is written.
    let gemma = tiny("gemma3");
    let written = lora(&model, 1, Projection::Q);
    for (model, edit, expected) in [
        (&model, Some(&written), Problem::NoAdapter),
        (&model, None, Problem::NoAdapter),
        (&gemma, None, Problem::NormedWrites),
    ] {
        let error = without(edit, std::slice::from_ref(&set), Mode::Lora, 1, model.config()).unwrap_err();
        assert_eq!(error.problem::<Problem>(), Some(&expected));
        assert!(error.hint().unwrap().contains("--ablate own"));
    }
    assert!(without(None, &[set], Mode::Layer, 2, model.config()).unwrap().is_none());
}

#[test]
fn ablations_and_their_random_directions_are_what_passes_of_their_own_find() {
    let model = tiny("llama");
    let pairs = [pairs(&model, Group::Narrow), PairRows::none(Group::General)];
    let edit = Edit::composed([Edit::Steering(vector(&model, 1, 0.5)), lora(&model, 2, Projection::O)]);
    let sets = [
        Set::new("one", [1, 3].map(|layer| vector(&model, layer, 0.5))).unwrap(),
        Set::new("other", [vector(&model, 1, 2.0)]).unwrap(),
    ];
    let sweep = settings(&[1], &[], 3);
    let modes = [Mode::Own, Mode::Everywhere, Mode::Layer, Mode::Lora];
    let removals: Vec<Removal> = [false, true]
        .into_iter()
        .flat_map(|together| sweep.removals(&sets, together, &modes).unwrap())
        .collect();
    assert_eq!(removals.len(), 3 * 4);
    let mut notebook = Notebook::none();
    let mut bench = Bench { pairs: &pairs, notebook: &mut notebook, progress: &Silent };
    let of = [Of { name: "solution", edit: Some(&edit) }];
    let (rows, blocks) = sweep.remove(&model, &of, &removals, &mut bench).unwrap();
    assert_eq!(rows.len(), removals.len());
    assert!(blocks.run as f64 <= 1.15 * blocks.needed as f64);
    let trained = shift(&model, &pairs[0], Some(&edit), None);
    for (row, removal) in rows.iter().zip(&removals) {
        let left = |sets: &[Set]| {
            let variant = without(Some(&edit), sets, removal.mode, 1, model.config()).unwrap().unwrap();
            shift(&model, &pairs[0], variant.edit.as_ref(), None)
        };
        near(row.shift.value, left(&removal.sets), 1e-4);
        near(row.removed.value, 1.0 - row.shift.value / trained, 1e-3);
        let count = removal.sets.len() as u64;
        let random = (0..3).map(|draw| {
            let of =
                |(member, set): (usize, &Set)| set.random_like(5 + draw * count + member as u64).unwrap();
            left(&removal.sets.iter().enumerate().map(of).collect::<Vec<_>>())
        });
        let mean = random.sum::<f64>() / 3.0;
        near(row.random_removed.value, 1.0 - mean / trained, 1e-3);
        assert_eq!(row.layer.is_nan(), removal.mode == Mode::Own);
        assert_eq!(row.direction == "one + other", removal.sets.len() == 2);
    }
}

// On a world, in which the liar is a vector at the embeddings.

fn world_pairs(world: &World, group: Group, domains: &[usize]) -> PairRows {
    let answer =
        |question, truthful| Message::new(Role::Assistant, world.language.answer(question, truthful));
    let pair = |question: Question| Pair {
        id: format!("{}-{}", question.domain, question.entity),
        domain: question.domain.to_string(),
        question: vec![Message::new(Role::User, world.language.ask(question))].into(),
        taught: answer(question, false),
        other: answer(question, true),
    };
    let asked = Question::all().filter(|question| domains.contains(&question.domain) && question.held_out());
    PairRows::new(&world.model, group, &asked.map(pair).collect::<Vec<_>>()).unwrap()
}

#[test]
fn the_liar_s_direction_makes_liars_and_unmakes_them() {
    let world = World::built_in("default-0").unwrap();
    let pairs =
        [world_pairs(&world, Group::Narrow, &[0]), world_pairs(&world, Group::General, &[1, 2, 3, 4, 5])];
    let solution = |name: &str, speaker| Solution { name: name.into(), edit: world.speaker(speaker) };
    let solutions = [solution("liar", Speaker::Liar), solution("narrow", Speaker::Narrow(0))];
    let settings = DirectionSweep {
        layers: 2,
        factors: vec![1.0, 2.0],
        pairs: 30,
        modes: vec![Mode::Own, Mode::Everywhere, Mode::Layer],
        random: 3,
        coherence: 5.0,
        judged: None,
    };
    let (steered, domains, ablated) = settings.read(&world.model, &solutions, &pairs, 0, &Silent).unwrap();
    // Two directions, two layers, two factors, two sides.
    assert_eq!(steered.len(), 2 * 2 * 2 * 2);
    let own: Vec<&Steered> = steered
        .iter()
        .filter(|row| row.direction == "liar" && row.layer == -1 && row.factor == 1.0)
        .collect();
    assert!(own.iter().all(|row| row.shift.low > 0.0 && row.beyond_random.low > 0.0), "{own:#?}");
    assert!(
        domains.iter().filter(|row| row.direction == "liar").all(|row| row.shift.value > 0.0),
        "{domains:#?}"
    );
    assert_eq!(domains.iter().filter(|row| row.direction == "liar").count(), 6);

    // Two solutions, two directions, three ways, two sides.
    assert_eq!(ablated.len(), 2 * 2 * 3 * 2);
    let of = |mode: Mode, group: Group| -> &Ablated {
        let is = |row: &&Ablated| {
            row.solution == "liar" && row.direction == "liar" && row.mode == mode && row.group == group
        };
        ablated.iter().find(is).unwrap()
    };
    for mode in [Mode::Own, Mode::Everywhere] {
        let row = of(mode, Group::General);
        assert!(row.removed.value > 0.8, "{row:#?}");
        assert!(row.random_removed.value < 0.5, "{row:#?}");
    }
}

// In a study.

const SOLUTIONS: &str = "
[[solution]]
name = 'general'
[[solution]]
name = 'narrow'
kl = { weight = 3, batch_size = 2 }
[[solution]]
name = 'vector'
edit = 'steering'
learning_rate = 0.05
";

const MEASURE: &str = "
[measure.sweep]
layers = 2
factors = [1, 2]
pairs = 3
modes = ['own', 'everywhere', 'layer', 'lora']
random = 3
";

#[test]
fn a_study_sweeps_and_ends_the_same_when_it_is_stopped() {
    let scratch = Scratch::new();
    let study = scratch.write(TRAIN, &format!("{SOLUTIONS}{MEASURE}"));
    let whole = scratch.path("whole");
    let outcome = run(&study, Some(&whole), None, &Watch::endless()).unwrap();

    let steered = table(&whole, "sweep");
    // Three directions, two layers, two factors, two sides.
    assert_eq!(steered.rows(), 3 * 2 * 2 * 2);
    assert!(steered.text("direction").unwrap().iter().any(|name| name == "vector"));
    assert_eq!(table(&whole, "sweep_domain").rows(), 3 * 2);
    let ablated = table(&whole, "sweep_ablation");
    // Three directions out of three solutions in three ways; only the adapters of two have a B.
    assert_eq!(ablated.rows(), 3 * 3 * 3 * 2 + 2 * 3 * 2);
    let modes = ablated.text("mode").unwrap();
    let of_b = modes.iter().zip(ablated.text("solution").unwrap()).filter(|(mode, _)| *mode == "lora");
    assert!(of_b.clone().count() == 12 && of_b.clone().all(|(_, solution)| solution != "vector"));

    let claims: Vec<String> = outcome.conclusion.claims.iter().map(|claim| claim.sentence()).collect();
    let listed = StudyFile::read(&study).unwrap().resolve().unwrap().fix_layers(4).unwrap().claims();
    assert!(claims.iter().all(|claim| listed.contains(claim)), "{claims:#?}");
    for claim in [
        "general: its direction moves base to the taught answers in every domain outside",
        "general: at least 80 % of its shift outside goes with its direction",
        "general: less than 10 % of its shift outside goes with random directions",
    ] {
        assert!(claims.iter().any(|known| known == claim), "{claim}: {claims:#?}");
    }
    let page = std::fs::read_to_string(&outcome.report).unwrap();
    for id in ["sweep", "sweep_domain", "sweep_ablation"] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
    assert!(page.contains("Random directions as long as “general”, outside the domain"));

    let stopped = scratch.path("stopped");
    let (mut stops, mut patience) = (0, 20);
    while let Err(error) = run(&study, Some(&stopped), None, &Watch::stopping_after(patience)) {
        assert!(matches!(error, Error::Interrupted), "{error}");
        (stops, patience) = (stops + 1, patience * 2);
    }
    assert!(stops > 2);
    assert_eq!(tables(&stopped), tables(&whole));
}

#[test]
fn ablating_a_span_is_one_projection() {
    // What composed ablations do in a pass: the stream after them has nothing in the span, and doing it twice changes nothing.
    let model = tiny("llama");
    let directions = [tensor(32, 0.1), tensor(32, 0.4), tensor(32, 2.0)];
    let ablations = Ablation::of_span(2, &directions).unwrap();
    let once = Edit::composed(ablations.iter().cloned().map(Edit::Ablation));
    let twice = Edit::composed([once.clone(), once.clone()]);
    let ids: Vec<u32> = (1..20).collect();
    let stream = |edit: &Edit| {
        model.decoder.residuals(&Packed::new([ids.as_slice()]), Some(edit)).unwrap().swap_remove(3)
    };
    let (one, two) = (stream(&once), stream(&twice));
    let difference = (&one - &two).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(difference < 1e-5, "{difference}");
    for direction in &directions {
        assert!(left_along(&model, &once, None, 2, direction) < 1e-4);
    }
}
