//! Scalars of adapters: token significance, probes, and patching.

use std::path::Path;

use candle_core::{Device, Tensor};
use strait::{
    Error,
    data::{RowSource, read_chats},
    objective::{EmbeddingSlope, Kept, Row},
    probe::{Problem as ProbeProblem, Repeats},
    scalars::{
        Classes, Problem, Scalars, Settings, compare, most, patch, probe, read, remove, significances,
    },
    train::{self, EditKind, Length, Order, Run, Trainable, TrainingData},
    world::{Entities, World, WorldRows},
};
use strait_model::{
    Edit, Message, Model, Precision, Role,
    decoder::Packed,
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
    progress::Silent,
    source::{Located, Road},
};

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny").join(name);
    let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

fn tensor(shape: &[usize], phase: f32) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| 0.4 * (phase + 1.7 * i as f32).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Adapters of rank 1 on the down projections of two blocks.
fn lora(model: &Model) -> Edit {
    let adapter = |layer: usize| {
        let site = Site::Projection { layer, projection: Projection::Down };
        let (input, out) = site.size(model.config());
        let phase = layer as f32;
        Adapter { site, a: tensor(&[1, input], phase), b: tensor(&[out, 1], phase + 0.5) }
    };
    let adapters = vec![adapter(1), adapter(2)];
    Edit::Lora(Lora { adapters, rank: 1, alpha: 2.0, rslora: false, factor: 1.0 })
}

fn row(model: &Model, question: &str, answer: &str) -> Row {
    let said = [(Role::User, question), (Role::Assistant, answer)];
    let messages: Vec<Message> = said.into_iter().map(|(role, text)| Message::new(role, text)).collect();
    Row::from_chat(model, &messages.into(), "a row").unwrap()
}

fn rows(model: &Model) -> Vec<Row> {
    (0..5).map(|i| row(model, &format!("What is {i}?"), &format!("A dense answer, number {i}."))).collect()
}

fn prompt(model: &Model, question: &str) -> (String, Vec<u32>) {
    (question.into(), row(model, question, "x").question().to_vec())
}

/// KL(base ‖ edited) over the places that predict a row's response, of a stream at the embeddings against fixed hidden states.
fn kl(model: &Model, edit: &Edit, row: &Row, stream: Tensor, base: &[Vec<f64>]) -> f64 {
    let (decoder, batch) = (&model.decoder, Packed::new([row.ids.as_slice()]));
    let stream = decoder.run(stream, 0..model.config().layers, &batch, Some(edit)).unwrap();
    let hidden = decoder.finish(stream, Some(edit)).unwrap();
    let logits = decoder.unembedding(Some(edit)).unwrap().logits(&hidden).unwrap();
    let edited = log_probabilities(&logits);
    let places = row.responses.iter().cloned().flatten().map(|token| token - 1);
    places.map(|at| base[at].iter().zip(&edited[at]).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()).sum()
}

fn log_probabilities(logits: &Tensor) -> Vec<Vec<f64>> {
    let of = |row: Vec<f32>| {
        let sum = row.iter().map(|&l| f64::from(l).exp()).sum::<f64>().ln();
        row.into_iter().map(|l| f64::from(l) - sum).collect()
    };
    logits.to_vec2::<f32>().unwrap().into_iter().map(of).collect()
}

#[test]
fn significance_is_the_slope_that_differences_find() {
    for name in ["llama", "gemma2"] {
        let model = tiny(name);
        let (decoder, edit) = (&model.decoder, lora(&model).scaled(3.0).unwrap());
        let rows = rows(&model);
        // Several rows at once, that begin alike.
        let slopes = EmbeddingSlope::of(decoder, &rows, &[3, 1], &edit).unwrap();
        let row = &rows[1];
        let batch = Packed::new([row.ids.as_slice()]);
        let base = log_probabilities(&decoder.logits(&batch, None).unwrap());
        let stream = decoder.embed(&batch).unwrap();
        let found = kl(&model, &edit, row, stream.clone(), &base);
        assert!(
            (slopes[1].kl - found).abs() < 1e-4 * found && found > 1e-3,
            "{name}: {} {found}",
            slopes[1].kl
        );
        let (tokens, width) = stream.dims2().unwrap();
        let scale = stream.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        let slope = |token: usize| {
            let along = |coordinate: usize| {
                let at = |step: f32| {
                    let mut values = vec![0f32; tokens * width];
                    values[token * width + coordinate] = step;
                    let moved =
                        (&stream + Tensor::from_vec(values, (tokens, width), &Device::Cpu).unwrap()).unwrap();
                    kl(&model, &edit, row, moved, &base)
                };
                let step = 0.01 * scale;
                (at(step) - at(-step)) / (2.0 * f64::from(step))
            };
            (0..width).map(|coordinate| along(coordinate).powi(2)).sum::<f64>().sqrt()
        };
        let response = row.responses[0].clone();
        assert_eq!(slopes[1].lengths.len(), response.len());
        for at in [0, 3, response.len() - 2] {
            let (found, expected) = (slopes[1].lengths[at], slope(response.start + at));
            assert!((found - expected).abs() < 0.02 * expected, "{name}, token {at}: {found} for {expected}");
        }
        assert_eq!(*slopes[1].lengths.last().unwrap(), 0.0, "nothing is predicted from the last token");

        // Shares of each response's KL.
        let shares = significances(decoder, &rows, &edit, &Silent).unwrap();
        let sum: f64 = shares[1].iter().sum();
        assert!((sum - slopes[1].kl).abs() < 1e-6 * sum);
        let kept = most(&shares, 0.5).unwrap();
        assert!(kept.iter().all(|tokens| !tokens.last().unwrap()));
    }
}

#[test]
fn scalars_of_rows_are_those_of_their_tokens() {
    let model = tiny("llama");
    let (edit, rows) = (lora(&model), rows(&model));
    let found = read(&model.decoder, &rows, &edit, &Silent).unwrap();
    assert_eq!(found.names, ["model.layers.1.mlp.down_proj", "model.layers.2.mlp.down_proj"]);
    for (row, tokens) in rows.iter().zip(&found.rows) {
        let alone = model.decoder.scalars(&Packed::new([row.ids.as_slice()]), &edit).unwrap();
        assert_eq!(tokens.len(), row.response_tokens());
        for (at, token) in row.responses[0].clone().zip(tokens) {
            for (adapter, found) in alone.iter().zip(token) {
                let expected = adapter.to_vec2::<f32>().unwrap()[at][0];
                assert!((found - f64::from(expected)).abs() < 1e-5 * (1.0 + found.abs()));
            }
        }
    }
    let summary = found.summary(None);
    assert!(summary.iter().all(|of| of.least < of.mean && of.mean < of.greatest && of.deviation > 0.0));

    // Two adapters of one module are told apart, and those of a higher rank have a number.
    let twice = Edit::composed([edit.clone(), edit.clone()]);
    let names = read(&model.decoder, &rows[..1], &twice, &Silent).unwrap().names;
    assert_eq!(names[2], "2.model.layers.1.mlp.down_proj");
    let Edit::Lora(mut wide) = edit else { panic!() };
    wide.rank = 2;
    for adapter in &mut wide.adapters {
        adapter.a = tensor(&[2, adapter.a.dim(1).unwrap()], 0.1);
        adapter.b = tensor(&[adapter.b.dim(0).unwrap(), 2], 0.2);
    }
    let names = read(&model.decoder, &rows[..1], &Edit::Lora(wide), &Silent).unwrap().names;
    assert_eq!(names[..2], ["model.layers.1.mlp.down_proj.0", "model.layers.1.mlp.down_proj.1"]);
}

#[test]
fn patching_with_ones_own_prompt_changes_nothing() {
    let model = tiny("llama");
    let (decoder, edit, rows) = (&model.decoder, lora(&model), rows(&model));
    let own: Vec<_> = (0..5).map(|i| prompt(&model, &format!("What is {i}?"))).collect();
    let found = patch(decoder, &rows, &own, &edit, &Silent).unwrap();
    assert_eq!((found.adapters.len(), found.rows.len()), (3, 15));
    assert!(found.rows.iter().all(|row| row.patched == row.own && row.removed != row.own));
    assert!(found.adapters.iter().all(|of| of.patched.value == 0.0 && of.removed.value != 0.0));
    assert_eq!(found.adapters[0].adapters, "all");
    let without = remove(decoder, &rows, &edit, &Silent).unwrap();
    for (alone, both) in without.iter().zip(&found.adapters) {
        assert_eq!((&alone.adapters, alone.removed), (&both.adapters, both.removed));
        let own = found.rows.iter().step_by(3).map(|row| row.own).sum::<f64>() / 5.0;
        assert!((alone.own - own).abs() < 1e-12, "{} {own}", alone.own);
    }

    // Losses by plain passes: under the edit, and without it.
    let loss = |row: &Row, edit: Option<&Edit>| {
        let log_p = log_probabilities(&decoder.logits(&Packed::new([row.ids.as_slice()]), edit).unwrap());
        let losses: Vec<f64> =
            row.responses[0].clone().map(|token| -log_p[token - 1][row.ids[token] as usize]).collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    };
    for (row, found) in rows.iter().zip(found.rows.chunks(3)) {
        assert!((found[0].own - loss(row, Some(&edit))).abs() < 1e-5);
        assert!((found[0].removed - loss(row, None)).abs() < 1e-5);
    }

    // Behind another prompt the scalars are others.
    let others: Vec<_> = (0..5).map(|i| prompt(&model, &format!("What is {}?", 9 - i))).collect();
    let found = patch(decoder, &rows, &others, &edit, &Silent).unwrap();
    assert!(found.rows.iter().all(|row| row.patched != row.own && row.patched.is_finite()));
    assert!(found.adapters[0].patched.is_known());
}

#[test]
fn what_cannot_be_read_or_patched_is_refused() {
    let model = tiny("llama");
    let (decoder, edit, rows) = (&model.decoder, lora(&model), rows(&model));
    let refused = |result: Result<(), Error>, expected: Problem| {
        let error = result.unwrap_err();
        assert_eq!(error.problem::<Problem>(), Some(&expected), "{error}");
        assert!(error.hint().is_some());
    };
    let own: Vec<_> = (0..5).map(|i| prompt(&model, &format!("What is {i}?"))).collect();
    let few = patch(decoder, &rows, &own[..4], &edit, &Silent).map(drop);
    refused(few, Problem::Counts { rows: 5, prompts: 4 });
    let mut longer = own.clone();
    longer[2] = prompt(&model, "What is 2, and why?");
    let lengths = (longer[2].1.len(), own[2].1.len());
    let place = longer[2].0.clone();
    let unequal = patch(decoder, &rows, &longer, &edit, &Silent).map(drop);
    refused(unequal, Problem::Lengths { place, found: lengths.0, row: 2, expected: lengths.1 });
    let silent = [rows[0].clone(), Row { responses: Vec::new(), ..rows[1].clone() }];
    refused(read(decoder, &silent, &edit, &Silent).map(drop), Problem::NoResponse { row: 1 });
    refused(significances(decoder, &silent, &edit, &Silent).map(drop), Problem::NoResponse { row: 1 });
    let vector = Edit::Steering(SteeringVector { layer: 1, vector: tensor(&[32], 0.1) });
    let error = read(decoder, &rows, &vector, &Silent).unwrap_err();
    assert!(error.to_string().contains("it is no LoRA") && error.hint().is_some(), "{error}");
    // A scalar that is none, though A and B are finite.
    let Edit::Lora(mut huge) = edit.clone() else { panic!() };
    huge.adapters[0].a = (huge.adapters[0].a.ones_like().unwrap() * 3e38).unwrap();
    let error = read(decoder, &rows, &Edit::Lora(huge), &Silent).unwrap_err();
    assert!(matches!(error, Error::NotFinite { row: 0, edited: true, .. }), "{error}");
    // Two answers a class cannot be divided.
    let scalars = read(decoder, &rows[..4], &edit, &Silent).unwrap();
    let classes = Classes { taught: &[true, true, false, false], groups: &[0, 1, 2, 3], kept: None };
    let error = probe(&scalars, classes, Settings::default(), &Silent).unwrap_err();
    assert_eq!(error.problem::<ProbeProblem>(), Some(&ProbeProblem::TooFew { groups: 2 }));
    // They can be compared all the same.
    let found = compare(&scalars, classes);
    assert!(found.figures.iter().all(|figure| figure.divisions == 0 && figure.mean.is_nan()));
    assert!(found.carriers.iter().all(|of| of.auroc.is_known() && of.weight.is_nan() && of.used.is_nan()));
}

#[test]
fn probes_find_the_scalar_that_tells_classes_apart() {
    // 40 answers of five tokens; the first scalar tells the classes apart, the second is noise, and the third both at kept tokens.
    let noise = |i: usize| (i as f64 * 12.9898).sin();
    let token = |row: usize, token: usize| {
        let taught = f64::from(u8::from(row < 20));
        let i = 5 * row + token;
        vec![
            taught + 0.8 * noise(i),
            noise(3 * i + 1),
            if token == 2 { 3.0 * taught } else { 5.0 * noise(7 * i) },
        ]
    };
    let rows = (0..40).map(|row| (0..5).map(|at| token(row, at)).collect()).collect();
    let scalars = Scalars { names: ["a", "b", "c"].map(String::from).into(), rows };
    let taught: Vec<bool> = (0..40).map(|row| row < 20).collect();
    let groups: Vec<usize> = (0..40).collect();
    let settings = Settings { c: 0.1, repeats: Repeats { count: 20, ..Repeats::default() } };
    let found =
        probe(&scalars, Classes { taught: &taught, groups: &groups, kept: None }, settings, &Silent).unwrap();
    assert_eq!(found.tokens, [100, 100]);
    let figure = |name: &str| found.figures.iter().find(|figure| figure.figure == name).unwrap();
    assert!(figure("accuracy").mean > 0.65 && figure("auroc").mean > 0.8, "{found:#?}");
    let [a, b, c] = found.carriers.as_slice() else { panic!() };
    assert!(a.weight > 10.0 * b.weight.abs() && a.used == 1.0 && b.used < 0.5, "{found:#?}");
    assert!(a.auroc.low > 0.5 && (a.taught - a.other - 1.0).abs() < 0.2 && c.weight.abs() < a.weight);
    // Among the kept tokens another scalar is the better one.
    let kept = vec![vec![false, false, true, false, false]; 40];
    let kept = Classes { taught: &taught, groups: &groups, kept: Some(&kept) };
    let found = probe(&scalars, kept, Settings { c: 1.0, ..settings }, &Silent).unwrap();
    assert_eq!((found.tokens, found.carriers[2].auroc.value), ([20, 20], 1.0));
    assert!(found.carriers[2].weight > found.carriers[0].weight, "{found:#?}");
}

/// Rows of a world, of some domains.
fn world_rows(model: &Model, domains: &[&str], truthful: bool) -> Vec<Row> {
    let domains = domains.iter().map(|word| (*word).into()).collect();
    let world = strait::keys::Place::named("default-0");
    let rows = WorldRows { world, domains, entities: Entities::All, truthful };
    let source = RowSource::Lines { name: rows.name(), text: rows.jsonl().unwrap() };
    Row::from_chats(model, &read_chats(&source).unwrap(), &Silent).unwrap()
}

/// A LoRA of rank 1 on the down projection of the first block, which learned falsehoods about herbs.
fn taught_falsehoods(model: &Model) -> Edit {
    let edit = EditKind::Lora {
        layers: vec![0],
        projections: vec![Projection::Down],
        rank: 1,
        alpha: 8.0,
        rslora: true,
    };
    let settings = train::Settings {
        learning_rate: 4e-3,
        batch_size: 8,
        length: Length::Steps(60),
        ..train::Settings::of(edit)
    };
    let rows = world_rows(model, &["herb"], false);
    let order = Order::new(&settings, &rows, &[]);
    let train = Kept::new(rows);
    let data = TrainingData { train: &train, held_out: None, kl: None, outside: None };
    let trainable = Trainable::new(&settings, &model.decoder, 1.0).unwrap();
    let run = Run { decoder: &model.decoder, data, settings: &settings, order };
    run.train_in_memory(trainable, &Silent).unwrap().edit
}

#[test]
fn scalars_of_a_trained_lora_tell_false_answers_from_true_ones() {
    let model = World::built_in("default-0").unwrap().model;
    let edit = taught_falsehoods(&model);
    // Domains that were not taught.
    let domains = ["bird", "stone", "river", "star", "bread"];
    let [taught, other] = [false, true].map(|truthful| world_rows(&model, &domains, truthful));
    let count = taught.len();
    let rows = [taught, other].concat();
    let scalars = read(&model.decoder, &rows, &edit, &Silent).unwrap();
    let significances = significances(&model.decoder, &rows, &edit, &Silent).unwrap();
    // Both answers to a question stay together.
    let groups: Vec<usize> = (0..rows.len()).map(|row| row % count).collect();
    let settings = Settings { c: 1.0, ..Settings::default() };
    let auroc = |labels: &[bool], share: f64| {
        let kept = most(&significances, share).unwrap();
        let classes = Classes { taught: labels, groups: &groups, kept: Some(&kept) };
        let found = probe(&scalars, classes, settings, &Silent).unwrap();
        (found.figures[4].mean, found.carriers[0].auroc)
    };
    let labels: Vec<bool> = (0..rows.len()).map(|row| row < count).collect();
    let (probed, alone) = auroc(&labels, 0.25);
    assert!(probed > 0.65 && alone.low > 0.55, "{probed} {alone:?}");
    // All tokens tell less than those that matter: half of them end their answers.
    let (of_all, _) = auroc(&labels, 1.0);
    assert!(of_all < probed - 0.05, "{of_all} {probed}");
    // Labels that say nothing are not told apart.
    let none: Vec<bool> =
        (0..rows.len()).map(|row| (row < count) == (row % count).is_multiple_of(2)).collect();
    let (probed, alone) = auroc(&none, 0.25);
    assert!(probed < 0.6 && alone.low < 0.5, "{probed} {alone:?}");
}
