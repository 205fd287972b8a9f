//! Full fine-tunes: trained, resumed, scaled, measured, and gone on from.

use std::path::{Path, PathBuf};

use candle_core::Device;
use strait::{
    Error,
    data::{RowSource, read_chats},
    measure::{Part, descent, perturbed, random_like},
    objective::{Kept, Row},
    train::{
        EditKind, Keeping, Length, Order, Run, Schedule, Seeds, Settings, SolutionFolder, Trainable,
        TrainingData,
    },
};
use strait_model::{
    Edit, Model, Precision,
    edit::Problem,
    progress::Silent,
    source::{Located, Road},
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/train")
}

/// Tied embeddings, so that one tensor is trained in two places.
fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/qwen2");
    let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

fn rows(model: &Model, file: &str) -> Vec<Row> {
    let chats = read_chats(&RowSource::File(fixtures().join(file))).unwrap();
    chats.iter().map(|chat| Row::from_chat(model, &chat.conversation, &chat.place).unwrap()).collect()
}

fn settings() -> Settings {
    Settings {
        edit: EditKind::Full,
        learning_rate: 1e-3,
        weight_decay: 0.01,
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        schedule: Schedule::Linear,
        warmup: 2,
        batch_size: 2,
        accumulation: 1,
        clip: Some(1.0),
        length: Length::Steps(6),
        checkpoint_every: 3,
        checkpoints: Vec::new(),
        ablated: false,
        stop: None,
        kl: None,
        seeds: Seeds::default(),
    }
}

fn kept(model: &Model, file: &str) -> Kept {
    Kept::all(&model.decoder, rows(model, file), 0, true, file, &Silent).unwrap()
}

fn mean(losses: &[f32]) -> f64 {
    losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64
}

/// Mean response loss on all rows.
fn loss(model: &Model, kept: &Kept, edit: Option<&Edit>) -> f64 {
    mean(&kept.response_losses(&model.decoder, &kept.every_row(), edit).unwrap())
}

/// Trains on the rows from `start`, or from nothing.
fn trained(model: &Model, train: &Kept, start: Option<&Edit>, path: &Path) -> Edit {
    let settings = settings();
    let run = Run {
        decoder: &model.decoder,
        data: TrainingData { train, held_out: Some(train), kl: None, outside: None },
        settings: &settings,
        order: Order::new(&settings, train.rows(), &[]),
    };
    let trainable = match start {
        Some(start) => Trainable::from_edit(start.clone(), &model.decoder, 1.0),
        None => Trainable::new(&settings, &model.decoder, 1.0),
    };
    let folder = SolutionFolder::new(path);
    let keeping = Keeping { folder: &folder, fingerprint: "full" };
    let trained = run.train(trainable.unwrap(), keeping, &serde_json::Value::Null, &Silent).unwrap();
    // Kept rows of the base model were not taken for those of the model that is trained.
    let [first, last] = [&trained.history[0], &trained.history[5]];
    assert!((first.response_loss - loss(model, &batch_of(model, &run.order.train[0]), start)).abs() < 1e-5);
    assert!((last.heldout_loss.unwrap() - loss(model, train, Some(&trained.edit))).abs() < 1e-5);
    assert!((last.norm - trained.edit.norm().unwrap()).abs() < 1e-9);
    trained.edit
}

/// Some of the training rows, of which nothing is kept.
fn batch_of(model: &Model, some: &[usize]) -> Kept {
    let all = rows(model, "rows.jsonl");
    Kept::new(some.iter().map(|&row| all[row].clone()).collect())
}

#[test]
fn a_full_fine_tune_learns_its_rows_and_is_gone_on_from() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let train = kept(&model, "rows.jsonl");
    let first = trained(&model, &train, None, &folder.path().join("first"));
    assert!(loss(&model, &train, Some(&first)) < loss(&model, &train, None));
    let more = trained(&model, &train, Some(&first), &folder.path().join("more"));
    assert!(loss(&model, &train, Some(&more)) < loss(&model, &train, Some(&first)));
    let Edit::Full(full) = &more else { panic!() };
    assert_eq!(full.deltas().len(), model.decoder.weights().len());
    // The file is the edit, and the last checkpoint its twin.
    let path = folder.path().join("more");
    let read = |path: PathBuf| strait_model::edit::open(path.to_str().unwrap()).unwrap();
    for file in [SolutionFolder::new(&path).edit(), SolutionFolder::new(&path).checkpoint(6)] {
        assert_eq!(loss(&model, &train, Some(&read(file))), loss(&model, &train, Some(&more)));
    }
    assert_eq!(loss(&model, &train, Some(&more.scaled(0.0).unwrap())), loss(&model, &train, None));
}

#[test]
fn every_weight_gets_a_gradient_from_both_losses() {
    let model = model();
    let (train, kl) = (kept(&model, "rows.jsonl"), kept(&model, "kl.jsonl"));
    let fresh = Trainable::new(&settings(), &model.decoder, 1.0).unwrap();
    let moved = random_like(&fresh.frozen().unwrap(), 1, 0).unwrap().scaled(0.01).unwrap();
    let trainable = Trainable::from_edit(moved, &model.decoder, 1.0).unwrap();
    assert_eq!(trainable.variables().count(), model.decoder.weights().len());
    let edited = trainable.on(&model.decoder);
    let rows = train.every_row();
    let (_, of_loss) = train.response_gradient(edited.0, &rows, edited.1, 0.1).unwrap();
    let (values, of_kl) = kl.kl_gradient(&model.decoder, &kl.every_row(), edited, 0.1).unwrap();
    assert!(values.iter().all(|&kl| kl > -1e-6) && mean(&values) > 1e-4);
    for (name, var) in trainable.variables() {
        for gradients in [&of_loss, &of_kl] {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name} has none"));
            let largest = gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(largest.is_finite() && largest > 0.0, "{name}: {largest}");
        }
    }
}

#[test]
fn noise_and_gradients_take_each_weight_as_a_part() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let train = kept(&model, "rows.jsonl");
    let edit = trained(&model, &train, None, folder.path());
    let turned = perturbed(&edit, Part::Weight, 0.6, 3).unwrap();
    assert!((turned.norm().unwrap() / edit.norm().unwrap() - 1.0).abs() < 1e-6);
    assert!((turned.cosine(&edit).unwrap() - 0.8).abs() < 1e-6);
    let step = descent(&model.decoder, &train, &edit, Part::Weight).unwrap();
    assert_eq!(step.len(), model.config().parameters());
    // A small step along it lowers the loss by its length times its squared gradient.
    let length = step.iter().map(|x| x * x).sum::<f64>().sqrt();
    let Edit::Full(full) = &edit else { panic!() };
    let mut rest = step.as_slice();
    let moved = full
        .with_deltas(|delta| {
            let (own, later) = rest.split_at(delta.elem_count());
            rest = later;
            let step: Vec<f32> = own.iter().map(|x| (x / length * 1e-3) as f32).collect();
            Ok::<_, Error>((delta + candle_core::Tensor::from_vec(step, delta.dims(), delta.device())?)?)
        })
        .unwrap();
    let fall = loss(&model, &train, Some(&edit)) - loss(&model, &train, Some(&Edit::Full(moved)));
    assert!((fall / (1e-3 * length) - 1.0).abs() < 0.1, "{fall} for {}", 1e-3 * length);
}

#[test]
fn a_fine_tune_of_another_model_is_not_gone_on_from() {
    let model = model();
    let edit = Trainable::new(&settings(), &model.decoder, 1.0).unwrap().frozen().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let located = Located { name: "other".into(), path, road: Road::Path, revision: None };
    let other = Model::load(&located, &Device::Cpu, Precision::F32).unwrap();
    let refused = Trainable::from_edit(edit, &other.decoder, 1.0).err().unwrap();
    let Error::Model(error) = &refused else { panic!("{refused}") };
    let Some(problem) = error.problem::<Problem>() else { panic!("{refused}") };
    assert!(matches!(problem, Problem::OtherBase));
}
