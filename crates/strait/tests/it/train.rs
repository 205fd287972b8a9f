//! Training against ten optimiser steps of PyTorch, and against itself after a kill.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use candle_core::Device;
use serde::Deserialize;
use strait::{
    Error,
    data::{RowSource, read_chats},
    objective::{Kept, Row},
    train::{
        EditKind, Keeping, Kl, Length, Order, Run, Schedule, Seeds, Settings, SolutionFolder, Trainable,
        Trained, TrainingData, learning_rate,
    },
};
use strait_model::{
    Edit, Model, Precision,
    edit::SteeringVector,
    progress::{Progress, Silent, Task, Unit},
    source::{Located, Road},
};

#[derive(Deserialize)]
struct Golden {
    rows: Vec<GoldenRow>,
    kl_rows: Vec<GoldenRow>,
    order: Vec<Vec<Vec<usize>>>,
    kl_order: Vec<Vec<Vec<usize>>>,
    cosine_rates: CosineRates,
    runs: Vec<GoldenRun>,
}

#[derive(Deserialize)]
struct GoldenRuns {
    runs: Vec<GoldenRun>,
}

#[derive(Deserialize)]
struct GoldenRow {
    ids: Vec<u32>,
    responses: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct CosineRates {
    lr: f64,
    rates: Vec<f64>,
}

#[derive(Deserialize)]
struct GoldenRun {
    name: String,
    edit: GoldenEdit,
    kl_weight: f64,
    lr: f64,
    steps: Vec<GoldenStep>,
    #[serde(rename = "final")]
    last: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct GoldenEdit {
    kind: String,
    layer: Option<i32>,
    folder: Option<String>,
}

#[derive(Deserialize)]
struct GoldenStep {
    lr: f64,
    loss: f64,
    response_loss: f64,
    kl: f64,
    grad_norm: f64,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/train")
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(fixtures().join("golden_train.json")).unwrap()).unwrap()
}

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

fn rows(model: &Model, file: &str) -> Vec<Row> {
    let chats = read_chats(&RowSource::File(fixtures().join(file))).unwrap();
    chats.iter().map(|chat| Row::from_chat(model, &chat.conversation, &chat.place).unwrap()).collect()
}

fn kept(model: &Model, file: &str, point: usize) -> Kept {
    Kept::all(&model.decoder, rows(model, file), point, true, file, &Silent).unwrap()
}

fn settings(edit: EditKind, kl_weight: f64, learning_rate: f64) -> Settings {
    Settings {
        edit,
        learning_rate,
        weight_decay: 0.01,
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        schedule: Schedule::Linear,
        warmup: 3,
        batch_size: 2,
        accumulation: 2,
        clip: Some(1.0),
        length: Length::Steps(10),
        checkpoint_every: 4,
        checkpoints: Vec::new(),
        ablated: false,
        stop: None,
        kl: (kl_weight > 0.0).then_some(Kl { weight: kl_weight, batch_size: 2 }),
        seeds: Seeds::default(),
    }
}

#[track_caller]
fn near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs().max(1e-3),
        "{what}: {found} for {expected}"
    );
}

#[test]
fn rows_are_tokenised_as_in_the_golden_file() {
    let (model, golden) = (model(), golden());
    for (file, expected) in [("rows.jsonl", &golden.rows), ("kl.jsonl", &golden.kl_rows)] {
        for (row, expected) in rows(&model, file).iter().zip(expected) {
            assert_eq!(row.ids, expected.ids);
            let responses: Vec<_> = row.responses.iter().map(|r| (r.start, r.end)).collect();
            assert_eq!(responses, expected.responses);
        }
    }
}

#[test]
fn ten_steps_as_pytorch_takes_them() {
    let (model, golden) = (model(), golden());
    let full: GoldenRuns =
        serde_json::from_slice(&std::fs::read(fixtures().join("golden_full.json")).unwrap()).unwrap();
    for run in golden.runs.iter().chain(&full.runs) {
        let edit = match run.edit.kind.as_str() {
            "full" => {
                let settings = settings(EditKind::Full, 0.0, 0.0);
                Trainable::new(&settings, &model.decoder, 1.0).unwrap().frozen().unwrap()
            }
            "steering" => {
                let layer = run.edit.layer.unwrap();
                let zeros = candle_core::Tensor::zeros(
                    model.config().hidden_size,
                    candle_core::DType::F32,
                    &Device::Cpu,
                );
                Edit::Steering(SteeringVector { layer, vector: zeros.unwrap() })
            }
            _ => {
                let folder = fixtures().join(run.edit.folder.as_deref().unwrap());
                strait_model::edit::open(folder.to_str().unwrap()).unwrap()
            }
        };
        let kind = EditKind::Steering { layer: 1 };
        let settings = settings(kind, run.kl_weight, run.lr);
        let (train, kl) = (kept(&model, "rows.jsonl", 0), kept(&model, "kl.jsonl", 0));
        let data =
            TrainingData { train: &train, held_out: None, kl: settings.kl.map(|_| &kl), outside: None };
        let kl_order = if settings.kl.is_some() { golden.kl_order.concat() } else { Vec::new() };
        let order = Order { train: golden.order.concat(), kl: kl_order, accumulation: 2 };
        let folder = tempfile::tempdir().unwrap();
        let folder = SolutionFolder::new(folder.path().join("solution"));
        let run_of = Run { decoder: &model.decoder, data, settings: &settings, order };
        let trainable = Trainable::from_edit(edit, &model.decoder, 1.0).unwrap();
        let keeping = Keeping { folder: &folder, fingerprint: "golden" };
        let trained = run_of.train(trainable, keeping, &serde_json::Value::Null, &Silent).unwrap();

        assert_eq!(trained.history.len(), run.steps.len());
        for (found, expected) in trained.history.iter().zip(&run.steps) {
            let what = |field: &str| format!("{}, step {}, {field}", run.name, found.step);
            near(&what("learning rate"), found.learning_rate, expected.lr, 1e-6);
            near(&what("loss"), found.loss, expected.loss, 1e-4);
            near(&what("response loss"), found.response_loss, expected.response_loss, 1e-4);
            near(&what("gradient norm"), found.gradient_norm, expected.grad_norm, 1e-3);
            if let Some(kl) = found.kl {
                near(&what("KL"), kl, expected.kl, 1e-3);
            }
        }
        let tensors = match &trained.edit {
            Edit::Full(_) => model.decoder.changed_tensors(&trained.edit).unwrap(),
            edit => edit.tensors(),
        };
        assert_eq!(tensors.len(), run.last.len(), "{}: {:?}", run.name, run.last.keys());
        for (name, tensor) in tensors {
            let key = run.last.keys().find(|key| same_tensor(key, &name)).unwrap_or_else(|| panic!("{name}"));
            let mut found = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            let expected = flat(&run.last[key]);
            if let Edit::Full(_) = trained.edit {
                // The file has the first numbers of each weight.
                found.truncate(expected.len());
            }
            assert_eq!(found.len(), expected.len(), "{}: {name}", run.name);
            let difference: Vec<f32> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
            assert!(norm(&difference) <= 2e-3 * norm(&found), "{}: {name}", run.name);
        }
    }
}

/// The numbers of nested lists, in order.
fn flat(value: &serde_json::Value) -> Vec<f32> {
    match value {
        serde_json::Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

/// True if two names of a tensor, PEFT's and strait's, end in the same site and letter.
fn same_tensor(golden: &str, own: &str) -> bool {
    let core = |name: &str| {
        let name = name.trim_start_matches("base_model.model.").trim_start_matches("model.");
        name.trim_end_matches(".weight").split(".default").collect::<String>()
    };
    core(golden) == core(own) || (golden == "steering" && own.starts_with("steering"))
}

#[test]
fn the_cosine_falls_as_pytorch_has_it() {
    let golden = golden().cosine_rates;
    let settings =
        Settings { schedule: Schedule::Cosine, ..settings(EditKind::Steering { layer: 1 }, 0.0, golden.lr) };
    for (step, &expected) in golden.rates.iter().enumerate() {
        near("rate", learning_rate(&settings, step, 10), expected, 1e-6);
    }
}

fn train_into(
    model: &Model,
    path: &Path,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Trained, Error> {
    let point = settings.edit.first_changed_point();
    let (train, kl) = (kept(model, "rows.jsonl", point), kept(model, "kl.jsonl", point));
    let data = TrainingData { train: &train, held_out: Some(&kl), kl: Some(&kl), outside: None };
    let order = Order::new(settings, train.rows(), kl.rows());
    let folder = SolutionFolder::new(path);
    let run = Run { decoder: &model.decoder, data, settings, order };
    let trainable = Trainable::new(settings, &model.decoder, 1.0)?;
    let keeping = Keeping { folder: &folder, fingerprint: "x" };
    run.train(trainable, keeping, &serde_json::Value::Null, progress)
}

/// Asks for a stop once so many steps are done.
struct StopAfter {
    steps: u64,
    stop: Arc<AtomicBool>,
}

struct Countdown {
    left: AtomicI64,
    stop: Arc<AtomicBool>,
}

impl Progress for StopAfter {
    fn begin(&self, title: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        if title == "training" {
            Box::new(Countdown { left: (self.steps as i64).into(), stop: self.stop.clone() })
        } else {
            Box::new(Silent)
        }
    }
    fn note(&self, _: &str) {}
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Task for Countdown {
    fn advance(&self, n: u64) {
        if self.left.fetch_sub(n as i64, Ordering::Relaxed) <= n as i64 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
    fn say(&self, _: &str) {}
}

/// Every file of a finished solution but TensorBoard's, which hold the time of day.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.to_string_lossy().contains("tfevents") {
                files.insert(path.strip_prefix(folder).unwrap().into(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// A steering vector, LoRA in blocks, LoRA on the embeddings, and a full fine-tune.
fn kinds() -> [EditKind; 4] {
    let projections = vec![strait_model::edit::Projection::Q, strait_model::edit::Projection::Down];
    let lora = EditKind::Lora { layers: vec![1, 2], projections, rank: 2, alpha: 4.0, rslora: true };
    let embedded =
        EditKind::Lora { layers: vec![-1], projections: vec![], rank: 2, alpha: 4.0, rslora: true };
    [EditKind::Steering { layer: 1 }, lora, embedded, EditKind::Full]
}

#[test]
fn a_run_that_was_stopped_anywhere_ends_with_the_same_bytes() {
    let model = model();
    for kind in kinds() {
        let settings = settings(kind, 0.5, 0.02);
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        train_into(&model, &whole, &settings, &Silent).unwrap();
        let expected = bytes(&whole);
        for steps in [1, 4, 9] {
            let stopped = folder.path().join(format!("stopped-{steps}"));
            let stop = Arc::new(AtomicBool::new(false));
            let progress = StopAfter { steps, stop };
            let interrupted = train_into(&model, &stopped, &settings, &progress);
            assert!(matches!(interrupted, Err(Error::Interrupted)));
            // What a kill -9 leaves beside the last state: a torn line, and a checkpoint of a step that is not saved.
            let metrics = stopped.join("metrics.jsonl");
            let mut torn = std::fs::read(&metrics).unwrap();
            torn.extend_from_slice(b"{\"step\": 10, \"learn");
            std::fs::write(&metrics, torn).unwrap();
            std::fs::create_dir_all(stopped.join("checkpoints")).unwrap();
            std::fs::write(stopped.join("checkpoints/step-000010.safetensors"), "torn").unwrap();
            train_into(&model, &stopped, &settings, &Silent).unwrap();
            assert_eq!(bytes(&stopped), expected, "stopped after {steps}");
        }
    }
}

#[test]
fn equal_seeds_give_equal_bits_and_others_do_not() {
    let model = model();
    let folder = tempfile::tempdir().unwrap();
    let [_, lora, ..] = kinds();
    let trained = |name: &str, seed: u64| {
        let mut settings = settings(lora.clone(), 0.5, 0.02);
        settings.seeds.initialisation = seed;
        let path = folder.path().join(name);
        train_into(&model, &path, &settings, &Silent).unwrap();
        std::fs::read(path.join("edit.safetensors")).unwrap()
    };
    let first = trained("a", 0);
    assert_eq!(first, trained("b", 0));
    assert_ne!(first, trained("c", 1));
}

#[test]
fn a_loss_that_explodes_stops_with_its_step_and_rows() {
    let model = model();
    let folder = tempfile::tempdir().unwrap();
    let [_, lora, ..] = kinds();
    let settings = settings(lora, 0.0, 1e30);
    let failed = train_into(&model, folder.path(), &settings, &Silent).err().unwrap();
    let Error::Diverged { step, ref rows, .. } = failed else { panic!("{failed}") };
    assert!(step > 1 && !rows.is_empty());
    assert!(failed.hint().unwrap().contains("learning_rate"));
    assert!(!folder.path().join("edit.safetensors").exists());
}
