//! Gradients, turns, directions and norms as measures, against plain computations, and in a small study.

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use candle_core::{Device, Tensor};
use strait::{
    Error, Lab,
    claim::Subject,
    data::{RowSource, pairs::read_pairs, read_chats},
    direction::{cosine, random_like},
    interval::Interval,
    lab::{Group, PairRows, Solved},
    measure::{
        Convergence, DirectionEffect, Directions, Gradient, Measure, Part, Pull, Solution, Source,
        Trajectories, TrajectoryRow, Turn, Use, descent, flat, norm::Norm, pull,
    },
    objective::{Kept, Row},
    study::StudyFile,
};
use strait_model::{
    Edit, Model, Precision,
    decoder::Packed,
    edit::{Ablation, SteeringVector},
    progress::Silent,
    source::{Located, Road},
};

use crate::sweeps::{Scratch, TRAIN, Watch, of, run, table, tables};

const WIDTH: usize = 32;
const SEED: u64 = 3;

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

fn vector(layer: i32, of: impl Fn(usize) -> f32) -> SteeringVector {
    let values: Vec<f32> = (0..WIDTH).map(of).collect();
    SteeringVector { layer, vector: Tensor::from_vec(values, WIDTH, &Device::Cpu).unwrap() }
}

fn solution(name: &str, edit: Edit) -> Solution {
    Solution { name: name.into(), edit }
}

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found} for {expected}");
}

/// Solutions that were kept on the way: each name with its edit after each of some steps, the last of them its end.
struct Courses(Vec<(&'static str, Vec<(usize, Edit)>)>);

impl Courses {
    fn steps_of(&self, solution: &str) -> &[(usize, Edit)] {
        &self.0.iter().find(|(name, _)| *name == solution).unwrap().1
    }
}

impl Solved for Courses {
    fn every(&self) -> strait::Result<Vec<Solution>> {
        Ok(self.0.iter().map(|(name, course)| solution(name, course.last().unwrap().1.clone())).collect())
    }

    fn subjects(&self) -> Vec<Subject> {
        let subject = |(name, _): &(&str, Vec<_>)| Subject {
            name: (*name).into(),
            kind: "steering".into(),
            control: false,
            own_rows: false,
            penalised: name.starts_with("narrow"),
            searched: false,
            freed: false,
            variant: (*name).into(),
            seed: 0,
        };
        self.0.iter().map(subject).collect()
    }

    fn steps(&self, solution: &str) -> strait::Result<Vec<usize>> {
        Ok(self.steps_of(solution).iter().map(|(step, _)| *step).collect())
    }

    fn after(&self, solution: &str, step: usize) -> strait::Result<Option<Edit>> {
        Ok(self.steps_of(solution).iter().find(|(at, _)| *at == step).map(|(_, edit)| edit.clone()))
    }
}

// Gradients.

#[test]
fn gradients_are_those_of_the_whole_loss_and_intervals_those_of_what_is_left() {
    let model = model();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/train/rows.jsonl");
    let chats = read_chats(&RowSource::File(file)).unwrap();
    let row = |chat: &strait::data::Chat| Row::from_chat(&model, &chat.conversation, &chat.place).unwrap();
    let rows: Vec<Row> = chats.iter().map(row).collect();
    let course = |layer: i32, phase: f32| -> Vec<(usize, Edit)> {
        let at = |step: usize| vector(layer, |i| 0.02 * step as f32 * (phase + i as f32).sin());
        [0, 2, 4, 6, 8].map(|step| (step, Edit::Steering(at(step)))).into()
    };
    // One at another layer lies in no space with the two.
    let solved =
        Courses(vec![("general", course(1, 0.0)), ("narrow", course(1, 0.5)), ("low", course(0, 1.0))]);
    let mut kept = Kept::new(rows.clone());
    let settings = Gradient { checkpoints: 2, steps: None, every: None };
    let (found, compared) = settings.read(&model.decoder, &solved, &mut kept, SEED, &Silent).unwrap();
    let read: Vec<_> = found.iter().map(|row| (row.solution.as_str(), row.step)).collect();
    let expected = ["general", "narrow"].map(|name| [(name, 0), (name, 4), (name, 8)]).concat();
    assert_eq!(read, expected);
    let every = Gradient { every: Some(3), ..settings };
    let (rows_of, _) = every.read(&model.decoder, &solved, &mut kept, SEED, &Silent).unwrap();
    assert_eq!(rows_of.iter().map(|row| row.step).collect::<Vec<_>>(), [0, 6, 0, 6]);

    let end = |name: &str| flat(&solved.steps_of(name).last().unwrap().1, Part::Vector).unwrap();
    let (general, narrow) = (end("general"), end("narrow"));
    let questions = kept.questions();
    for (row, compared) in found.iter().zip(&compared) {
        let edit = solved.after(&row.solution, row.step).unwrap().unwrap();
        let of = |rows: Vec<Row>| -> (Vec<f64>, Pull) {
            let kept = Kept::all(&model.decoder, rows, 0, false, "", &Silent).unwrap();
            let step = descent(&model.decoder, &kept, &edit, Part::Vector).unwrap();
            let pull = pull(&step, &general, &narrow);
            (step, pull)
        };
        let (step, whole) = of(rows.clone());
        near(row.length, step.iter().map(|x| x * x).sum::<f64>().sqrt(), 1e-4);
        near(row.cosine_general.value, cosine(&step, &general), 1e-4);
        near(row.cosine_narrow.value, whole.narrow, 1e-4);
        near(row.cosine_general_only.value, whole.general_only, 1e-4);
        near(row.cosine_narrow_only.value, whole.narrow_only, 1e-4);
        // Eight questions are eight parts.
        let without = |part: usize| {
            let others = rows.iter().zip(&questions).filter(|(_, question)| **question != part);
            let (_, pull) = of(others.map(|(row, _)| row.clone()).collect());
            pull
        };
        let without: Vec<Pull> = (0..=*questions.iter().max().unwrap()).map(without).collect();
        let bounds = |of: fn(&Pull) -> f64| {
            Interval::of_left_out(of(&whole), &without.iter().map(of).collect::<Vec<_>>())
        };
        for (found, expected) in [
            (row.cosine_general, bounds(|pull| pull.general)),
            (row.cosine_narrow_only, bounds(|pull| pull.narrow_only)),
            (compared.only_difference, bounds(|pull| pull.general_only - pull.narrow_only)),
        ] {
            near(found.low, expected.low, 1e-2);
            near(found.high, expected.high, 1e-2);
        }
        let without: Vec<f64> = without.iter().map(|pull| pull.general - pull.narrow).collect();
        let expected = Interval::of_left_out(whole.general - whole.narrow, &without);
        assert_eq!((compared.parts, compared.along.as_str()), (without.len(), row.solution.as_str()));
        near(compared.difference.value, expected.value, 1e-3);
        near(compared.difference.low, expected.low, 1e-2);
        near(compared.difference.high, expected.high, 1e-2);
        assert!(compared.difference.is_known());
    }
}

// Turns.

#[test]
fn the_sharpest_turn_is_where_the_way_bends() {
    // Straight along one axis up to step 40, then along another; the last checkpoint lies nearer to the one before.
    let at = |step: usize| match step {
        0..=40 => [step as f32, 0.0],
        _ => [40.0, step as f32 - 40.0],
    };
    let steps: Vec<usize> = (0..=8).map(|i| 10 * i).chain([83]).collect();
    let edit = |step: &usize| {
        let [x, y] = at(*step);
        (
            *step,
            Edit::Steering(vector(1, |i| {
                if i == 0 {
                    x
                } else if i == 1 {
                    y
                } else {
                    0.0
                }
            })),
        )
    };
    let still = |step: &usize| (*step, Edit::Steering(vector(1, |_| 1.0)));
    let solved = Courses(vec![
        ("general", steps.iter().map(edit).collect()),
        ("still", steps.iter().map(still).collect()),
    ]);
    for (gap, places) in [(None, vec![10, 20, 30, 40, 50, 60, 70]), (Some(29), vec![20, 30, 40, 50, 60])] {
        let found = Turn { gap, least: None }.read(&solved, &Silent).unwrap();
        let own: Vec<_> = found.iter().filter(|row| row.solution == "general").collect();
        assert_eq!(own.iter().map(|row| row.step).collect::<Vec<_>>(), places);
        let sharpest: Vec<_> = own.iter().filter(|row| row.sharpest).collect();
        assert_eq!(sharpest.len(), 1);
        assert_eq!((sharpest[0].step, sharpest[0].gap), (40, if gap.is_some() { 20 } else { 10 }));
        near(sharpest[0].cosine, 0.0, 1e-6);
        near(sharpest[0].back, sharpest[0].gap as f64, 1e-6);
        near(own[0].cosine, -1.0, 1e-6);
        assert!(own.iter().all(|row| row.moved));
        // What does not move has no direction.
        let still = found.iter().filter(|row| row.solution == "still");
        assert!(still.clone().all(|row| !row.moved && !row.sharpest) && still.count() == places.len());
        // Nothing moves by more than the longer way.
        let way = sharpest[0].gap as f64;
        let moved = |least: f64| {
            let found = Turn { gap, least: Some(least) }.read(&solved, &Silent).unwrap();
            found.iter().filter(|row| row.moved).count()
        };
        assert_eq!((moved(0.9 * way), moved(1.1 * way)), (places.len(), 0));
    }
}

// Trajectories.

#[test]
fn checkpoints_of_all_solutions_lie_in_one_plane_and_do_what_whole_passes_do() {
    let (scratch, model) = (Scratch::new(), Arc::new(model()));
    let groups = [(Group::Narrow, "narrow"), (Group::General, "general")];
    let of_group = |(group, name)| pairs(&scratch, &model, group, name);
    // Both go straight on, along directions at a right angle.
    let at = |step: usize, place: usize| {
        Edit::Steering(vector(1, |i| if i == place { 0.1 * step as f32 } else { 0.0 }))
    };
    let course = |place: usize| [0, 10, 20, 30, 40].map(|step| (step, at(step, place))).to_vec();
    let solved = Courses(vec![("general", course(0)), ("narrow", course(1))]);
    let mut lab = Lab::new(Arc::clone(&model), &Silent);
    lab.pairs = groups.map(of_group);
    let settings =
        Trajectories { checkpoints: 4, standardise: false, scales: vec![1.0, 5.0], pairs: 3, coherence: 1.0 };
    let (rows, components, shifts) = settings.run(&mut lab, &solved).unwrap();
    let read: Vec<_> = rows.iter().map(|row| (row.solution.as_str(), row.space, row.step)).collect();
    let expected = |name| [0, 10, 20, 30, 40].map(|step| (name, 1, step));
    assert_eq!(read, [expected("general"), expected("narrow")].concat());
    for row in &rows {
        near(row.norm, 0.1 * row.step as f64, 1e-6);
        let (own, other) = match row.solution.as_str() {
            "general" => (row.cosine_general, row.cosine_narrow),
            _ => (row.cosine_narrow, row.cosine_general),
        };
        assert!(row.step == 0 || (own - 1.0).abs() < 1e-9 && other.abs() < 1e-9);
        assert!(row.composition.is_nan() && row.from.is_empty());
    }
    // Five points on each of two axes: as far apart in the plane as they are.
    let distance = |one: &TrajectoryRow, other: &TrajectoryRow| {
        (one.first - other.first).hypot(one.second - other.second)
    };
    near(distance(&rows[0], &rows[4]), 4.0, 1e-6);
    near(distance(&rows[4], &rows[9]), 32f64.sqrt(), 1e-6);
    near(components[0].explained + components[1].explained, 1.0, 1e-9);
    // (t, 0) and (0, t), t from 0 to 4: x - y varies three times as much as x + y.
    near(components[0].explained, 0.75, 1e-6);
    assert_eq!((components[0].checkpoints, components[0].component), (10, 1));

    assert_eq!(shifts.len(), 2 * 5 * 2);
    for row in shifts.iter().filter(|row| [0, 20].contains(&row.step)) {
        let edit = at(row.step, usize::from(row.solution == "narrow")).scaled(row.scale).unwrap();
        for (pairs, found) in lab.pairs.iter().zip([row.narrow_shift, row.general_shift]) {
            let pairs = pairs.some(3);
            let expected = preference(&model, &pairs, Some(&edit)) - preference(&model, &pairs, None);
            near(found.value, expected, 1e-3);
        }
    }
    // Without pairs nothing but the checkpoints is read.
    let (_, _, shifts) = Trajectories { pairs: 0, ..settings }.run(&mut lab, &solved).unwrap();
    assert!(shifts.is_empty());
}

// Convergence.

#[test]
fn changes_are_as_alike_as_vectors_where_these_act_and_one_direction_there() {
    let (scratch, model) = (Scratch::new(), model());
    let pairs = [
        pairs(&scratch, &model, Group::Narrow, "narrow"),
        pairs(&scratch, &model, Group::General, "general"),
    ];
    let one = Edit::Steering(vector(1, |i| 0.5 * (1.7 * i as f32).sin()));
    let other = Edit::Steering(vector(1, |i| 0.4 * (1.0 + 0.9 * i as f32).cos()));
    let solutions = [solution("one", one.clone()), solution("other", other.clone())];
    let settings = Convergence { pairs: 3 };
    let (alike, ranks) = settings.read(&model.decoder, &solutions, &pairs, SEED, &Silent).unwrap();
    assert_eq!((alike.len(), ranks.len()), (2 * 5, 2 * 2 * 5));
    for row in &alike {
        match row.layer {
            ..1 => assert!(row.cosine.value.is_nan(), "nothing changes below"),
            1 => near(row.cosine.value, one.cosine(&other).unwrap(), 1e-4),
            _ => {
                // Prompt by prompt, from whole passes.
                let prompts = pairs[row.group as usize].some(3).prompts();
                let cosines = prompts.iter().map(|prompt| {
                    let packed = Packed::new([prompt.ids.as_slice()]);
                    let stream = |edit| -> Vec<f64> {
                        let all = model.decoder.residuals(&packed, edit).unwrap();
                        let flat = all[(row.layer + 1) as usize].flatten_all().unwrap();
                        flat.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
                    };
                    let base = stream(None);
                    let change = |edit| -> Vec<f64> {
                        stream(Some(edit)).iter().zip(&base).map(|(x, y)| x - y).collect()
                    };
                    cosine(&change(&one), &change(&other))
                });
                near(row.cosine.value, cosines.sum::<f64>() / prompts.len() as f64, 1e-3);
                assert_eq!(row.prompts, prompts.len());
            }
        }
    }
    for row in &ranks {
        match row.layer {
            ..1 => assert!(row.rank.is_nan() && row.random.is_nan()),
            1 => {
                near(row.rank, 1.0, 1e-2);
                near(row.random, 1.0, 1e-2);
            }
            _ => assert!((1.0..=3.0).contains(&row.rank) && (1.0..=3.0).contains(&row.random), "{row:?}"),
        }
    }
}

// Directions.

fn pairs(scratch: &Scratch, model: &Model, group: Group, name: &str) -> PairRows {
    let source = |kind: &str| RowSource::File(scratch.path(&format!("{name}-{kind}.jsonl")));
    let pairs = read_pairs(&source("taught"), &source("other"), None).unwrap();
    PairRows::new(model, group, &pairs).unwrap()
}

/// The mean loss of the responses of a row, in one pass with nothing kept.
fn loss(model: &Model, row: &Row, edit: Option<&Edit>) -> f64 {
    let decoder = &model.decoder;
    let packed = Packed::new([row.ids.as_slice()]);
    let stream = decoder.embed(&packed).unwrap();
    let stream = decoder.run(stream, 0..model.config().layers, &packed, edit).unwrap();
    let hidden = decoder.finish(stream, edit).unwrap();
    let logits: Vec<Vec<f32>> =
        decoder.unembedding(None).unwrap().logits(&hidden).unwrap().to_vec2().unwrap();
    let tokens = row.responses.iter().flat_map(Clone::clone);
    let losses = tokens.map(|token| {
        let logits = &logits[token - 1];
        let sum = logits.iter().map(|&l| f64::from(l).exp()).sum::<f64>().ln();
        sum - f64::from(logits[row.ids[token] as usize])
    });
    losses.sum::<f64>() / row.response_tokens() as f64
}

fn preference(model: &Model, pairs: &PairRows, edit: Option<&Edit>) -> f64 {
    let of = |pair: &[Row]| loss(model, &pair[1], edit) - loss(model, &pair[0], edit);
    let all: Vec<f64> = pairs.kept.rows().chunks_exact(2).map(of).collect();
    all.iter().sum::<f64>() / all.len() as f64
}

#[test]
fn a_direction_does_what_a_whole_pass_with_it_does() {
    let (scratch, model) = (Scratch::new(), model());
    let pairs = [
        pairs(&scratch, &model, Group::Narrow, "narrow"),
        pairs(&scratch, &model, Group::General, "general"),
    ];
    let general = vector(1, |i| 0.5 * (1.7 * i as f32).sin());
    let narrow = vector(1, |i| 0.4 * (1.0 + 0.9 * i as f32).cos());
    let solutions =
        [solution("general", Edit::Steering(general.clone())), solution("narrow", Edit::Steering(narrow))];
    let settings = Directions { layers: 2, pairs: 2, factors: vec![1.0, 2.0], coherence: 1.0 };
    let (rows, cosines, effects) = settings.read(&model, &solutions, &pairs, SEED, &Silent).unwrap();
    // Two solutions, two sources, the layer where they act and the last one.
    let layers: Vec<_> = rows.iter().map(|row| row.layer).collect();
    assert_eq!(layers, [1, 3, 1, 3, 1, 3, 1, 3]);
    assert!(rows.iter().all(|row| row.pairs == 2 && row.questions == 2));
    let shift = &rows[0];
    near(shift.cosine_solution, 1.0, 1e-5);
    near(shift.norm, general.norm().unwrap(), 1e-4);
    assert!(rows[1].cosine_solution < 0.999 && rows[2].source == Source::Answers);
    // Each of eight directions lies beside three others that differ in one thing.
    assert_eq!(cosines.len(), 8 * 3 / 2);
    let between = cosines.iter().find(|c| c.source == Source::Shift && c.layer == 1 && c.other == "narrow");
    let expected = solutions[0].edit.cosine(&solutions[1].edit).unwrap();
    near(between.unwrap().cosine, expected, 1e-4);

    // Two groups; two factors and an ablation, each beside a random direction; and the ablation from the other solution.
    assert_eq!(effects.len(), 8 * 2 * (2 * 3 + 1));
    let on = [pairs[0].some(2), pairs[1].halves()[1].some(2)];
    let taken_out = |from: &Edit, direction: &SteeringVector| {
        let (layer, direction) = (direction.layer, direction.vector.clone());
        Edit::composed([from.clone(), Edit::Ablation(Ablation { layer, direction, factor: 1.0 })])
    };
    let of = |solution: &str, direction: &str, usage: Use, factor: f64, group: Group| -> &DirectionEffect {
        let is = |row: &&DirectionEffect| {
            (row.solution.as_str(), row.direction.as_str()) == (solution, direction)
                && (row.usage, row.factor, row.group) == (usage, factor, group)
                && (row.source, row.layer) == (Source::Shift, 1)
        };
        effects.iter().find(is).unwrap()
    };
    // The directions as they were found differ from the vectors by rounding alone.
    let random = random_like(&general, SEED).unwrap();
    for (group, pairs) in [(Group::Narrow, &on[0]), (Group::General, &on[1])] {
        let shift = |edit: &Edit| preference(&model, pairs, Some(edit)) - preference(&model, pairs, None);
        let steered = |factor: f64| shift(&solutions[0].edit.scaled(factor).unwrap());
        for factor in [1.0, 2.0] {
            let row = of("general", "general", Use::Steering, factor, group);
            near(row.shift.value, steered(factor), 1e-3);
            near(row.share.value, steered(factor) / steered(1.0), 1e-2);
            let random = shift(&Edit::Steering(random.clone()).scaled(factor).unwrap());
            near(of("general", "random direction", Use::Steering, factor, group).shift.value, random, 1e-3);
            near(row.beyond_random.value, steered(factor) - random, 1e-3);
        }
        let left = shift(&taken_out(&solutions[0].edit, &general));
        let left_of_random = shift(&taken_out(&solutions[0].edit, &random));
        let row = of("general", "general", Use::Ablation, 1.0, group);
        near(row.shift.value, left, 1e-3);
        near(row.beyond_random.value, left - left_of_random, 1e-3);
        let transferred = shift(&taken_out(&solutions[1].edit, &general));
        let row = of("narrow", "general", Use::Ablation, 1.0, group);
        near(row.shift.value, transferred, 1e-3);
        let of_random = of("narrow", "random direction", Use::Ablation, 1.0, group).shift.value;
        near(row.beyond_random.value, transferred - of_random, 1e-3);
        assert!(of("narrow", "random direction", Use::Ablation, 1.0, group).beyond_random.value.is_nan());
    }
}

// Norms.

#[test]
fn a_vector_changes_the_stream_by_its_length_where_it_acts_and_nothing_below() {
    let (scratch, model) = (Scratch::new(), model());
    let pairs = [
        pairs(&scratch, &model, Group::Narrow, "narrow"),
        pairs(&scratch, &model, Group::General, "general"),
    ];
    let acting = vector(1, |i| 0.5 * (1.7 * i as f32).sin());
    let solutions = [solution("vector", Edit::Steering(acting.clone()))];
    let found = Norm { pairs: 4 }.read(&model.decoder, &solutions, &pairs, &Silent).unwrap();
    let read: Vec<_> = found.iter().map(|row| (row.group, row.layer)).collect();
    let layers = || -1..model.config().layers as i64;
    assert_eq!(
        read,
        [Group::Narrow, Group::General]
            .map(|group| layers().map(move |at| (group, at)))
            .map(Vec::from_iter)
            .concat()
    );
    for row in &found {
        let pairs = pairs[row.group as usize].some(4);
        // The norms of base and of the solution, and the share that is changed, of every response token, row by row.
        let mut tokens: Vec<[f64; 3]> = Vec::new();
        for row_of in pairs.kept.rows() {
            let packed = Packed::new([row_of.ids.as_slice()]);
            let stream = |edit| -> Vec<Vec<f32>> {
                model.decoder.residuals(&packed, edit).unwrap()[(row.layer + 1) as usize].to_vec2().unwrap()
            };
            let (base, edited) = (stream(None), stream(Some(&solutions[0].edit)));
            let length = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            tokens.extend(row_of.responses.iter().flat_map(Clone::clone).map(|token| {
                let (base, edited) = (&base[token], &edited[token]);
                let change: Vec<f32> = edited.iter().zip(base).map(|(e, b)| e - b).collect();
                [length(base), length(edited), length(&change) / length(base)]
            }));
        }
        let mean = |of: usize| tokens.iter().map(|token| token[of]).sum::<f64>() / tokens.len() as f64;
        assert_eq!((row.rows, row.tokens), (8, tokens.len()));
        near(row.base_norm, mean(0), 1e-4);
        near(row.norm, mean(1), 1e-4);
        near(row.rise.value, mean(1) - mean(0), 1e-4);
        near(row.change.value, mean(2), 1e-4);
        assert_eq!(row.change.value > 0.0, row.layer >= 1, "{row:?}");
        if row.layer == 1 {
            let whole = tokens.iter().map(|token| acting.norm().unwrap() / token[0]).sum::<f64>();
            near(row.change.value, whole / tokens.len() as f64, 1e-4);
        }
    }
}

// In a study.

const SOLUTIONS: &str = "
[[solution]]
name = 'general'
seeds = [0, 1]
[[solution]]
name = 'narrow'
seeds = [0, 1]
kl = { weight = 3, batch_size = 2 }
[[solution]]
name = 'vector'
edit = 'steering'
learning_rate = 0.05
[[solution]]
name = 'drift'
from = 'narrow-seed0'
";

const MEASURES: &str = "
[measure.gradient]
checkpoints = 2
[measure.turn]
gap = 2
[measure.direction]
layers = 2
pairs = 2
factors = [1]
[measure.norm]
pairs = 4
[measure.trajectory]
checkpoints = 2
scales = [1, 5]
pairs = 2
[measure.convergence]
pairs = 2
";

#[test]
fn a_study_reads_gradients_turns_directions_and_norms_and_ends_the_same_when_it_is_stopped() {
    let scratch = Scratch::new();
    let study = scratch.write(TRAIN, &format!("{SOLUTIONS}{MEASURES}"));
    let whole = scratch.path("whole");
    let outcome = run(&study, Some(&whole), None, &Watch::endless()).unwrap();

    // Four adapters along their own training, each beside those of its seed; a vector has no opposite.
    let gradient = table(&whole, "gradient");
    assert_eq!(gradient.rows(), 4 * 3);
    assert_eq!(of(&gradient, "narrow-seed1", "step"), [0.0, 4.0, 8.0]);
    let of_seed =
        |seed: &str| gradient.text("general").unwrap().iter().filter(|name| name.ends_with(seed)).count();
    assert_eq!((of_seed("seed0"), of_seed("seed1")), (6, 6));
    assert!(of(&gradient, "general-seed0", "cosine_general").iter().all(|cosine| cosine.abs() < 1.0));
    // B is nothing at first, and everything that training adds comes of the gradient.
    assert!(of(&gradient, "general-seed0", "cosine_general")[0] > 0.0);

    let turn = table(&whole, "turn");
    assert_eq!(of(&turn, "general-seed0", "step"), [2.0, 4.0, 6.0]);
    assert_eq!(of(&turn, "vector", "sharpest").iter().sum::<f64>(), 1.0);

    let direction = table(&whole, "direction");
    assert_eq!(of(&direction, "vector", "layer"), [2.0, 3.0, 2.0, 3.0]);
    assert!((of(&direction, "vector", "cosine_solution")[0] - 1.0).abs() < 1e-4);
    assert!(of(&direction, "general-seed0", "cosine_solution")[0].is_nan(), "rank 2 is no one direction");
    let effects = table(&whole, "direction_effect");
    let names = effects.text("solution").unwrap();
    assert!(names.iter().all(|name| name != "drift"), "what starts from another solution is not compared");
    // Five solutions, two sources and two layers, two groups: added and taken out, each with a random one; four others.
    assert_eq!(effects.rows(), 5 * 2 * 2 * 2 * (4 + 4));

    // Six solutions, two groups, the embeddings and four blocks; what starts from another solution is read too.
    let norm = table(&whole, "norm");
    assert_eq!(norm.rows(), 6 * 2 * 5);
    assert_eq!(of(&norm, "drift", "rows")[0], 8.0);

    // Six solutions at their start and two checkpoints; adapters of rank 2 lie in another space than the vector.
    let trajectory = table(&whole, "trajectory");
    assert_eq!(trajectory.rows(), 6 * 3);
    assert_eq!(of(&trajectory, "vector", "space"), [2.0; 3]);
    assert_eq!(of(&trajectory, "general-seed0", "step"), [0.0, 4.0, 8.0]);
    assert!((of(&trajectory, "general-seed0", "cosine_general")[2] - 1.0).abs() < 1e-9);
    assert!(
        (of(&trajectory, "drift", "cosine_narrow")[0] - 1.0).abs() < 1e-9,
        "it starts from the narrow one"
    );
    assert!(of(&trajectory, "vector", "cosine_general")[0].is_nan());
    let shift = table(&whole, "trajectory_shift");
    assert_eq!(shift.rows(), 6 * 3 * 2);
    assert_eq!(of(&shift, "general-seed0", "general_shift")[..2], [0.0, 0.0], "B is nothing at first");
    // Five solutions are ten pairs: two groups, the embeddings and four blocks.
    assert_eq!(table(&whole, "convergence").rows(), 10 * 2 * 5);
    assert_eq!(table(&whole, "convergence_rank").rows(), 5 * 2 * 5);

    // All that is claimed could be predicted, and stands in the report with its panels.
    let claims: Vec<String> = outcome.conclusion.claims.iter().map(|claim| claim.sentence()).collect();
    let listed = StudyFile::read(&study).unwrap().resolve().unwrap().fix_layers(4).unwrap().claims();
    assert!(claims.iter().all(|claim| listed.contains(claim)), "{claims:#?}");
    for claim in [
        "general-seed0 is nearer to where training points than narrow-seed0",
        "general is nearer to where training points than narrow over seeds",
        "general turns by a right angle or more along its training over seeds",
        "general-seed0: its direction moves base to the taught answers outside the domain, more than a random one",
        "general-seed0: without its direction it shifts less outside the domain than without a random one",
    ] {
        assert!(claims.iter().any(|known| known == claim), "{claim}: {claims:#?}");
    }
    let page = std::fs::read_to_string(&outcome.report).unwrap();
    for id in [
        "gradient",
        "turn",
        "trajectory",
        "trajectory_shift",
        "direction",
        "direction_cosine",
        "direction_effect",
        "convergence",
        "convergence_rank",
        "norm",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }

    let stopped = scratch.path("stopped");
    let (mut stops, mut patience) = (0, 10);
    let go_on =
        |patience| run(&study, Some(&stopped), NonZeroUsize::new(2), &Watch::stopping_after(patience));
    while let Err(error) = go_on(patience) {
        assert!(matches!(error, Error::Interrupted), "{error}");
        (stops, patience) = (stops + 1, patience * 3 / 2);
    }
    assert!(stops > 3);
    assert_eq!(tables(&stopped), tables(&whole));

    // Without them their tables and claims are gone, and nothing else is done again.
    let study = scratch.write(TRAIN, SOLUTIONS);
    let watch = Watch::endless();
    let outcome = run(&study, Some(&whole), None, &watch).unwrap();
    let gone = ["§12", "§13", "§14"];
    let left = outcome.conclusion.claims.iter().filter(|claim| gone.contains(&claim.section.as_str()));
    let left: Vec<String> = left.map(|claim| claim.sentence()).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert!(watch.notes().lines().all(|line| !line.ends_with(" steps")), "{}", watch.notes());
    assert!(!std::fs::read_to_string(&outcome.report).unwrap().contains("<section id=\"direction\""));
}
