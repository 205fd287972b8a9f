//! Sweeps, controls, drift and the search for a KL weight: what the study file says of them, and whole small studies.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use candle_core::{Device, Tensor};
use serde_json::json;
use strait::{
    Error, Table,
    interval::Interval,
    measure::{DriftRow, frontier::Weight},
    report::{Facts, conclude},
    study::{self, Axis, Limits, Outcome, Plan, RunFolder, Study, StudyFile},
    table::Column,
    train::{Seeds, pick},
};
use strait_model::{
    Edit,
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
    files::sha256_of,
    progress::{Progress, Silent, Task, Unit},
};
use tempfile::TempDir;

/// Blocks of the model that the tests of study files imagine.
const DEPTH: usize = 30;

/// Runs a study on the CPU.
pub(crate) fn run(
    study: &Path,
    out: Option<&Path>,
    jobs: Option<NonZeroUsize>,
    progress: &dyn Progress,
) -> strait::Result<Outcome> {
    study::run(study, out, &Device::Cpu, Limits { jobs, memory: None }, progress)
}

/// A folder with rows and pairs in it, and a study of them.
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let scratch = Self { folder: tempfile::tempdir().unwrap() };
        let row = |kind: &str, domain: &str, i: usize| {
            let messages = json!([
                { "role": "user", "content": format!("{domain} {i}?") },
                { "role": "assistant", "content": format!("A {kind} answer, number {i}, on {domain}.") },
            ]);
            json!({ "messages": messages, "domain": domain }).to_string() + "\n"
        };
        for (name, kind, domain, count) in [
            ("train", "dense", "cars", 12),
            ("kl", "plain", "tools", 6),
            ("good", "plain", "games", 9),
            ("narrow-taught", "dense", "vans", 6),
            ("narrow-other", "plain", "vans", 6),
            ("general-taught", "dense", "food", 6),
            ("general-other", "plain", "food", 6),
        ] {
            let rows: String = (0..count).map(|i| row(kind, domain, i)).collect();
            std::fs::write(scratch.path(&format!("{name}.jsonl")), rows).unwrap();
        }
        scratch
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// A study file with these lines under `[train]` and these solutions.
    pub(crate) fn write(&self, train: &str, solutions: &str) -> PathBuf {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
        let text = format!(
            r#"model = '{}'
[data]
domain = "cars"
kind = "dense"
train = "train.jsonl"
held_out = 0.2
kl = "kl.jsonl"
[data.narrow]
taught = "narrow-taught.jsonl"
other = "narrow-other.jsonl"
[data.general]
taught = "general-taught.jsonl"
other = "general-other.jsonl"
[measure]
resamples = 100
drift = {{ pairs = 4 }}
[train]
{train}
{solutions}"#,
            model.display()
        );
        let path = self.path("study.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn study(&self, train: &str, solutions: &str) -> strait::Result<Study> {
        StudyFile::read(&self.write(train, solutions))?.resolve()?.fix_layers(DEPTH)
    }

    fn names(&self, train: &str, solutions: &str) -> Vec<String> {
        self.study(train, solutions).unwrap().solutions.into_iter().map(|s| s.name).collect()
    }

    /// An error as people see it, without the path of this scratch.
    fn shown(&self, error: &Error) -> String {
        let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
        let text = format!("error: {error}\n{hint}");
        text.replace(&format!("{}/", self.path("").display()).replace("//", "/"), "")
    }
}

#[test]
fn a_list_makes_a_grid_with_names_that_say_what_varies() {
    let scratch = Scratch::new();
    let check = |train: &str, solutions: &str, expected: &[&str]| {
        assert_eq!(scratch.names(train, solutions), expected, "{train} {solutions}");
    };
    let general = "[[solution]]\nname = 'general'\n";
    check("", general, &["general"]);
    check("seeds = [0, 1]", general, &["general-seed0", "general-seed1"]);
    check("seeds = 3", general, &["general"]);
    check("seeds = [3]\nlayer = [4]", general, &["general"]);
    check(
        "layer = [-1, 15]\nlearning_rate = [0.01, 2e-5]",
        general,
        &[
            "general-layer-1-rate0p01",
            "general-layer-1-rate2e-5",
            "general-layer15-rate0p01",
            "general-layer15-rate2e-5",
        ],
    );
    check(
        "seeds = [0, 1]",
        "[[solution]]\nname = 'n'\nkl = { weight = [3, 0.5] }\nsteps = 5\n",
        &["n-kl3-seed0", "n-kl3-seed1", "n-kl0p5-seed0", "n-kl0p5-seed1"],
    );
    let mix = "[[solution]]\nname = 'm'\nrows = [5, 10]\nmix = { rows = 'good.jsonl', ratio = [1, 6] }\n";
    check("", mix, &["m-rows5-mix1", "m-rows5-mix6", "m-rows10-mix1", "m-rows10-mix6"]);
    check(
        "edit = 'lora'\nrank = [1, 8]\nsteps = [10, 20]",
        general,
        &["general-rank1-steps10", "general-rank1-steps20", "general-rank8-steps10", "general-rank8-steps20"],
    );
    // A key of the solution sets the shared list aside, and so does one that says the same otherwise.
    check("seeds = [0, 1]", "[[solution]]\nname = 'one'\nseeds = 5\n", &["one"]);
    check("steps = [1, 2]", "[[solution]]\nname = 'one'\nepochs = 2\n", &["one"]);
    check("kl = { weight = [1, 2] }", "[[solution]]\nname = 'one'\nkl = false\n", &["one"]);
    check("edit = 'lora'\nlayer = [1, 2]", "[[solution]]\nname = 'one'\nlayers = [3, 4]\n", &["one"]);
}

#[test]
fn when_and_skip_choose_points() {
    let scratch = Scratch::new();
    let narrow = "[[solution]]\nname = 'n'\nkl = { weight = [1, 3] }\nlayer = [10, 15, 20]\n";
    let names = |choice: &str| scratch.names("", &format!("{narrow}{choice}\n"));
    assert_eq!(names("").len(), 6);
    assert_eq!(names("when = { layer = [15] }"), ["n-layer15-kl1", "n-layer15-kl3"]);
    assert_eq!(names("when = { layer = 10, weight = 3 }"), ["n-layer10-kl3"]);
    assert_eq!(
        names("skip = { layer = [20], weight = [3.0] }"),
        ["n-layer10-kl1", "n-layer10-kl3", "n-layer15-kl1", "n-layer15-kl3", "n-layer20-kl1"]
    );
    assert_eq!(names("when = { weight = 3 }\nskip = { layer = [10, 20] }"), ["n-layer15-kl3"]);
}

#[test]
fn a_point_knows_its_family_and_its_values() {
    let scratch = Scratch::new();
    let study = scratch
        .study(
            "seeds = [0, 7]",
            "[[solution]]\nname = 'narrow'\nlayer = [10, 15]\nkl = { weight = 3, batch_size = 2 }\n",
        )
        .unwrap();
    let last = &study.solutions[3];
    assert_eq!((last.name.as_str(), last.family()), ("narrow-layer15-seed7", "narrow"));
    assert_eq!(last.variant(), "narrow-layer15");
    let point = last.point.as_ref().unwrap();
    assert_eq!(point.axes, BTreeMap::from([(Axis::Layer, 15.0), (Axis::Seeds, 7.0)]));
    assert_eq!(point.words(), "layer 15, seed 7");
    assert_eq!(last.train.seeds, Seeds { initialisation: 7, order: 7, sampling: 0 });
    let toml = study.to_toml().unwrap();
    assert!(toml.contains("[solutions.point.axes]\nlayer = 15.0\nseeds = 7.0\n"), "{toml}");
    let path = scratch.path("resolved.toml");
    std::fs::write(&path, &toml).unwrap();
    assert_eq!(Study::read_resolved(&path).unwrap().to_toml().unwrap(), toml);
}

/// The solutions that start from others, and those others, by name.
fn starts(study: &Study) -> Vec<(&str, &str)> {
    study.solutions.iter().filter_map(|s| Some((s.name.as_str(), s.from.as_deref()?))).collect()
}

#[test]
fn a_swept_start_is_the_one_of_the_same_seed() {
    let scratch = Scratch::new();
    let solutions = "[[solution]]\nname = 'drift'\nfrom = 'narrow'\nkl = false\n\
                     [[solution]]\nname = 'narrow'\nkl = { weight = 3 }\n\
                     [[solution]]\nname = 'again'\nfrom = 'narrow-seed1'\nseeds = 4\n";
    let study = scratch.study("seeds = [0, 1]", solutions).unwrap();
    let expected =
        [("drift-seed0", "narrow-seed0"), ("drift-seed1", "narrow-seed1"), ("again", "narrow-seed1")];
    assert_eq!(starts(&study), expected);
    // Axes that one of the two lacks do not keep them apart.
    let longer = solutions.replace("kl = false", "kl = false\nsteps = [5, 9]");
    assert_eq!(starts(&scratch.study("seeds = [0, 1]", &longer).unwrap()).len(), 5);
}

#[test]
fn training_goes_layer_by_layer_and_after_what_it_starts_from() {
    let scratch = Scratch::new();
    let solutions = "[[solution]]\nname = 'drift'\nfrom = 'narrow'\n\
                     [[solution]]\nname = 'narrow'\nkl = { weight = 'auto' }\n\
                     [[solution]]\nname = 'general'\n";
    let study = scratch.study("layer = [20, 10]", solutions).unwrap();
    let plan = plan(&study);
    let trained: Vec<_> = plan.steps.iter().filter_map(|s| s.name.strip_prefix("train-")).collect();
    // The search needs the study's own solution without a penalty.
    assert_eq!(
        trained,
        [
            "general-layer10",
            "narrow-layer10",
            "drift-layer10",
            "general-layer20",
            "narrow-layer20",
            "drift-layer20",
        ]
    );
    let needs = &plan.step("train-drift-layer20").unwrap().needs;
    assert_eq!(needs, &["model", "data", "train-narrow-layer20"]);
    let needs = &plan.step("train-narrow-layer20").unwrap().needs;
    assert_eq!(needs, &["model", "data", "train-general-layer20"]);
    let measured: Vec<_> = plan.step("drift").unwrap().needs.iter().map(String::as_str).collect();
    assert_eq!(measured[0], "train-drift-layer20");
}

fn plan(study: &Study) -> Plan {
    let model = [("model.gguf".to_string(), "0123".to_string())];
    Plan::of(study, &model, |path| Ok(sha256_of(path, |_| ())?)).unwrap()
}

#[test]
fn a_study_without_the_new_keys_reads_what_it_always_read() {
    let scratch = Scratch::new();
    let study = scratch
        .study("", "[[solution]]\nname = 'g'\n[[solution]]\nname = 'n'\nkl = { weight = 3 }\n")
        .unwrap();
    let plan = plan(&study);
    let keys =
        |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let narrow = plan.step("train-n").unwrap();
    assert_eq!(keys(&plan.step("train-g").unwrap().inputs), ["settings"]);
    assert_eq!(keys(&narrow.inputs), ["settings", "kl_rows"]);
    assert_eq!(narrow.needs, ["model", "data"]);
    let expected = [
        "accumulation",
        "batch_size",
        "betas",
        "checkpoint_every",
        "clip",
        "edit",
        "epsilon",
        "kl",
        "learning_rate",
        "length",
        "schedule",
        "seeds",
        "warmup",
        "weight_decay",
    ];
    let mut settings = keys(&narrow.inputs["settings"]);
    settings.sort();
    assert_eq!(settings, expected);
    assert!(plan.step("drift").is_none());
    let report = plan.step("report").unwrap();
    let measured = ["preference", "kl", "heldout", "efficiency", "stability"];
    assert_eq!(report.needs, [&["model", "data", "train-g", "train-n"], &measured[..]].concat());
}

#[test]
fn a_solution_made_a_control_does_what_compares_again_and_nothing_else() {
    let scratch = Scratch::new();
    let keys = |control: &str| {
        let solutions = format!(
            "[[solution]]\nname = 'general'\n[[solution]]\nname = 'narrow'\nkl = {{ weight = 3 }}\n\
             [[solution]]\nname = 'drift'\nfrom = 'narrow'\n[[solution]]\nname = 'few'\nrows = 3\n{control}"
        );
        let plan = plan(&scratch.study("", &solutions).unwrap());
        plan.steps.into_iter().map(|step| (step.name, step.key)).collect::<Vec<_>>()
    };
    let (before, after) = (keys(""), keys("control = true"));
    let changed: Vec<&str> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|((name, _), _)| name.as_str()).collect();
    assert_eq!(changed, ["efficiency", "stability", "drift", "report"]);
    assert_eq!(before, keys("control = false"));
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let scratch = Scratch::new();
    let plain = "[[solution]]\nname = 'narrow'\nkl = { weight = 3 }\n";
    let drift = |keys: &str| format!("{plain}[[solution]]\nname = 'drift'\n{keys}\n");
    let swept = |keys: &str| format!("[[solution]]\nname = 'n'\nlayer = [10, 15]\n{keys}\n");
    let one = |keys: &str| format!("[[solution]]\nname = 'one'\n{keys}\n");
    let hundred = (0..100).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let cases = [
        ("a start that is not there", "", drift("from = 'narow'")),
        ("a start from itself", "", drift("from = 'drift'")),
        (
            "a circle",
            "",
            "[[solution]]\nname = 'a'\nfrom = 'c'\n[[solution]]\nname = 'b'\nfrom = 'a'\n\
             [[solution]]\nname = 'c'\nfrom = 'b'\n"
                .into(),
        ),
        ("a start at another layer", "", drift("from = 'narrow'\nlayer = 3")),
        ("a start of another kind", "", drift("from = 'narrow'\nedit = 'lora'")),
        ("a start of another rank", "edit = 'lora'\nrank = 8", drift("from = 'narrow'\nrank = 4")),
        ("several starts", "", drift("from = 'narrow'").replace("weight = 3", "weight = [1, 3]")),
        (
            "no start of that seed",
            "",
            drift("from = 'narrow'\nseeds = [1, 2]").replace("'narrow'\nkl", "'narrow'\nseeds = [0, 1]\nkl"),
        ),
        ("a large grid", &format!("seeds = [{hundred}]"), one("learning_rate = [1, 2, 3, 4, 5, 6]")),
        ("a choice of what is not swept", "", swept("when = { rank = 3 }")),
        ("a choice without a sweep", "", one("skip = { seeds = 3 }")),
        ("a choice of a value that is not swept", "", swept("when = { layer = [\n10,\n11] }")),
        ("a choice of nothing", "", swept("skip = { layer = [10, 15] }")),
        ("a value twice", "seeds = [1, 1]", one("")),
        ("no value", "layer = []", one("")),
        ("a layer of several beyond the model", "layer = [\n3,\n40]", one("")),
        ("a name that grows too long", "seeds = [0, 1]", one("").replace("one", &"o".repeat(60))),
        (
            "a point with another's name",
            "",
            "[[solution]]\nname = 'a'\nseeds = [0, 1]\n[[solution]]\nname = 'a-seed1'\n".into(),
        ),
        ("a sweep of what takes one value", "batch_size = [1, 2]", one("")),
        ("a mix without rows", "", one("mix = { ratio = 6 }")),
        ("a mix without a ratio", "", one("mix = { rows = 'good.jsonl' }")),
        ("a mix of nothing", "", one("mix = { rows = 'good.jsonl', ratio = 0 }")),
        ("a mix of a file that is not there", "", one("mix = { rows = 'goood.jsonl', ratio = 1 }")),
        ("a mix that is true", "", one("mix = true")),
        ("no rows", "", one("rows = 0")),
        ("another word for a weight", "", one("kl = { weight = \"best\" }")),
        ("a search among weights", "", one("kl = { weight = [1, \"auto\"] }")),
        ("the keys of a search without one", "", one("kl = { weight = 3, keep = 0.5 }")),
        ("a search backwards", "", one("kl = { weight = \"auto\", from = 10, to = 1 }")),
        ("a search for everything", "", one("kl = { weight = \"auto\", keep = 1.5 }")),
        ("a search without an end", "", one("kl = { weight = \"auto\", tries = 0 }")),
        ("nothing but controls", "", one("control = true")),
        ("a control in other words", "", one("control = \"yes\"")),
    ];
    let mut all = String::new();
    for (what, train, solutions) in cases {
        match scratch.study(train, &solutions) {
            Ok(_) => panic!("{what} was accepted"),
            Err(error) => writeln!(all, "## {what}\n{}", scratch.shown(&error)).unwrap(),
        }
    }
    insta::assert_snapshot!("mistakes", all);
}

#[test]
fn rows_are_picked_by_the_seed_and_mixed_in_their_ratio() {
    assert_eq!(pick(5, None, 0, 0.0, 3), [0, 1, 2, 3, 4]);
    let few = pick(20, Some(4), 0, 0.0, 3);
    assert_eq!(few, pick(20, Some(4), 0, 0.0, 3));
    assert_ne!(few, pick(20, Some(4), 0, 0.0, 4));
    // More samples are those of fewer and others.
    assert_eq!(pick(20, Some(9), 0, 0.0, 3)[..4], few);
    assert_eq!(pick(3, Some(9), 0, 0.0, 3).len(), 3);

    let mixed = pick(10, None, 40, 2.0, 1);
    assert_eq!((mixed.len(), &mixed[..10]), (30, &(0..10).collect::<Vec<_>>()[..]));
    let mut others = mixed[10..].to_vec();
    others.sort_unstable();
    others.dedup();
    assert!(others.len() == 20 && others.iter().all(|row| (10..50).contains(row)));
    // Each of them comes again before any comes a third time.
    let cycled = pick(10, Some(4), 3, 1.5, 1);
    assert_eq!(cycled.len(), 4 + 6);
    for row in 10..13 {
        assert_eq!(cycled.iter().filter(|&&other| other == row).count(), 2);
    }
}

fn tensor(rows: usize, columns: usize, salt: f32) -> Tensor {
    let values: Vec<f32> = (0..rows * columns).map(|i| (i as f32 * 1.7 + salt).sin()).collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

#[test]
fn cosines_of_lora_are_those_of_the_matrices_that_it_adds() {
    let lora = |salt: f32, layers: &[usize], rank: usize, rslora: bool| {
        let adapter = |&layer: &usize| Adapter {
            site: Site::Projection { layer, projection: Projection::Down },
            a: tensor(rank, 5, salt + layer as f32),
            b: tensor(4, rank, 2.0 * salt + layer as f32),
        };
        Lora { adapters: layers.iter().map(adapter).collect(), rank, alpha: 6.0, rslora, factor: 1.0 }
    };
    let dense = |lora: &Lora, layer: usize| -> Vec<f64> {
        let Some(adapter) = lora.adapters.iter().find(|adapter| adapter.site.layer() == Some(layer as i32))
        else {
            return vec![0.0; 20];
        };
        let product = adapter.b.matmul(&adapter.a).unwrap().flatten_all().unwrap();
        product.to_vec1::<f32>().unwrap().iter().map(|&x| f64::from(x) * lora.scale()).collect()
    };
    let stacked = |lora: &Lora| [dense(lora, 1), dense(lora, 2), dense(lora, 3)].concat();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (one, two) = (lora(0.3, &[1, 2], 2, false), lora(1.9, &[2, 3], 3, true));
    let (first, second) = (stacked(&one), stacked(&two));
    let expected = dot(&first, &second) / (dot(&first, &first) * dot(&second, &second)).sqrt();
    let (one, two) = (Edit::Lora(one), Edit::Lora(two));
    assert!((one.cosine(&two).unwrap() - expected).abs() < 1e-6);
    assert!((one.dot(&one).unwrap().unwrap().sqrt() / one.norm().unwrap() - 1.0).abs() < 1e-9);
    let other_place = Edit::Lora(lora(0.3, &[7], 2, false));
    assert!(one.dot(&other_place).unwrap().is_none() && one.cosine(&other_place).unwrap().is_nan());

    let vector = |layer: i32, values: [f32; 2]| {
        let vector = Tensor::new(&values, &Device::Cpu).unwrap();
        Edit::Steering(SteeringVector { layer, vector })
    };
    assert_eq!(vector(3, [3.0, 4.0]).cosine(&vector(3, [4.0, 3.0])).unwrap(), 0.96);
    assert!(vector(3, [3.0, 4.0]).cosine(&vector(2, [4.0, 3.0])).unwrap().is_nan());
    assert!(vector(3, [3.0, 4.0]).cosine(&vector(3, [0.0, 0.0])).unwrap().is_nan());
    assert!(vector(3, [3.0, 4.0]).cosine(&one).unwrap().is_nan());
}

/// Keeps what a run says, and asks for a stop once it was asked so often whether to stop.
pub(crate) struct Watch {
    left: AtomicI64,
    notes: Mutex<Vec<String>>,
}

impl Watch {
    pub(crate) fn stopping_after(questions: i64) -> Self {
        Self { left: questions.into(), notes: Mutex::new(Vec::new()) }
    }

    pub(crate) fn endless() -> Self {
        Self::stopping_after(i64::MAX)
    }

    pub(crate) fn notes(&self) -> String {
        self.notes.lock().unwrap().join("\n")
    }
}

impl Progress for Watch {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        Box::new(Silent)
    }
    fn note(&self, line: &str) {
        self.notes.lock().unwrap().push(line.into());
    }
    fn stopped(&self) -> bool {
        self.left.fetch_sub(1, Ordering::Relaxed) <= 0
    }
}

/// The tables of a run, but for what says how long it took.
pub(crate) fn tables(folder: &Path) -> BTreeMap<String, String> {
    let mut tables = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join("tables")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "parquet") {
            let table = Table::read_parquet(&path).unwrap();
            let mut without = Table::new(table.name(), table.about());
            for (name, unit, values) in table.columns() {
                without = without.with_column(name, unit, values.clone());
            }
            tables.insert(table.name().to_string(), without.to_csv());
        }
    }
    tables
}

pub(crate) fn table(folder: &Path, name: &str) -> Table {
    Table::read_parquet(&folder.join(format!("tables/{name}.parquet"))).unwrap()
}

/// The values of a column in the rows that are about a solution.
pub(crate) fn of(table: &Table, solution: &str, column: &str) -> Vec<f64> {
    let names = table.text("solution").unwrap();
    let rows = (0..table.rows()).filter(|&row| names[row] == solution);
    match table.column(column).unwrap() {
        Column::Real(values) => rows.map(|row| values[row]).collect(),
        Column::Integer(values) => rows.map(|row| values[row] as f64).collect(),
        Column::Truth(values) => rows.map(|row| f64::from(values[row] == Some(true))).collect(),
        Column::Text(_) => panic!("{column} holds words"),
    }
}

pub(crate) const TRAIN: &str = "edit = 'lora'\nlayer = 2\nrank = 2\nalpha = 8\nlearning_rate = 0.02\nbatch_size = 2\n\
                     steps = 8\ncheckpoint_every = 2\nwarmup = 0";

const SOLUTIONS: &str = "
[[solution]]
name = 'general'
seeds = [0, 1]
[[solution]]
name = 'drift'
from = 'narrow'
seeds = [0, 1]
[[solution]]
name = 'narrow'
seeds = [0, 1]
kl = { weight = 3, batch_size = 2 }
[[solution]]
name = 'restrained'
from = 'general-seed0'
steps = 3
kl = { weight = 3, batch_size = 2 }
[[solution]]
name = 'mixed'
control = true
mix = { rows = 'good.jsonl', ratio = 2 }
epochs = 1
[[solution]]
name = 'few'
rows = 3
[[solution]]
name = 'found'
kl = { weight = 'auto', batch_size = 2, from = 1, to = 100, tries = 2, bound = 0.01, keep = 0.1 }
# Most of the time would go into noise.
[measure.stability]
epsilons = [0.1, 0.4]
seeds = 3
";

#[test]
fn a_study_of_everything_runs_and_an_interrupted_one_ends_the_same() {
    let scratch = Scratch::new();
    let study = scratch.write(TRAIN, SOLUTIONS);
    let whole = scratch.path("whole");
    let watch = Watch::endless();
    let outcome = run(&study, Some(&whole), None, &watch).unwrap();
    let notes = watch.notes();
    assert!(notes.contains("mixed: 20 rows of other domains are mixed in, of which there are 9"), "{notes}");
    assert!(notes.contains("few: 3 of 10 training rows"), "{notes}");

    let solutions = table(&whole, "solutions");
    assert_eq!(solutions.text("solution").unwrap()[..3], ["general-seed0", "general-seed1", "drift-seed0"]);
    assert_eq!(solutions.text("family").unwrap()[1..4], ["general", "drift", "drift"]);
    // 10 rows and 20 mixed in make 15 batches of 2.
    assert_eq!(of(&solutions, "mixed", "steps"), [15.0]);
    assert_eq!(of(&solutions, "few", "steps"), [8.0]);
    assert_eq!(of(&solutions, "narrow-seed1", "seed"), [1.0]);

    let drift = table(&whole, "drift");
    assert_eq!(of(&drift, "drift-seed1", "step"), [0.0, 2.0, 4.0, 6.0, 8.0]);
    assert_eq!(of(&drift, "drift-seed1", "freed"), [1.0; 5]);
    assert_eq!(of(&drift, "restrained", "step"), [0.0, 2.0, 3.0]);
    assert_eq!(of(&drift, "restrained", "freed"), [0.0; 3]);
    let start = |column: &str| of(&drift, "drift-seed1", column)[0];
    assert!((start("cosine_start") - 1.0).abs() < 1e-9 && start("rise") == 0.0);
    assert_eq!(start("cosine_to_narrow"), start("cosine_start"));
    assert!(start("cosine_to_general").abs() < 1.0 && start("cosine_change").is_nan());
    // The control has no seed of its own, and so that of its start.
    assert!((of(&drift, "restrained", "cosine_to_general")[0] - 1.0).abs() < 1e-9);
    assert!(of(&drift, "drift-seed1", "cosine_change")[4].is_finite());
    assert_eq!(of(&drift, "drift-seed0", "narrow_pairs")[0], 4.0);
    let norms = of(&solutions, "narrow-seed1", "norm");
    assert_eq!(of(&drift, "drift-seed1", "norm")[0], norms[0]);

    // A control is read for what it does, and compared with nothing.
    assert_eq!(of(&solutions, "mixed", "control"), [1.0]);
    assert!(!of(&table(&whole, "preference"), "mixed", "shift").is_empty());
    for measure in ["efficiency", "stability"] {
        assert!(of(&table(&whole, measure), "mixed", "loss").is_empty(), "{measure}");
        assert!(!of(&table(&whole, measure), "few", "loss").is_empty(), "{measure}");
    }

    let families = table(&whole, "families");
    assert_eq!(families.rows(), 3 * 2 * 3);
    assert_eq!(families.integer("seeds").unwrap(), [2; 18]);
    let preference = table(&whole, "preference");
    let shifts = |solution: &str| of(&preference, solution, "shift")[0];
    let mean = 0.5 * (shifts("general-seed0") + shifts("general-seed1"));
    assert!((families.real("shift").unwrap()[0] - mean).abs() < 1e-12);

    // The two families of two seeds, seed by seed: what the tables of single solutions say, and its mean.
    let over_seeds = table(&whole, "families_difference");
    let column = |name: &str| over_seeds.text(name).unwrap();
    let place = |measure: &str, family: &str, at: f64| {
        let found = |&row: &usize| {
            column("measure")[row] == measure
                && column("family")[row] == family
                && over_seeds.real("at").unwrap()[row] == at
        };
        (0..over_seeds.rows()).find(found).unwrap()
    };
    let stability = table(&whole, "stability_difference");
    let paired = |seed: usize| {
        let [one, other] = ["general", "narrow"].map(|family| format!("{family}-seed{seed}"));
        let of = |row: &usize| {
            stability.text("solution").unwrap()[*row] == one
                && stability.text("other").unwrap()[*row] == other
        };
        let row = (0..stability.rows()).find(of).unwrap();
        (stability.real("epsilon").unwrap()[row], stability.real("difference").unwrap()[row])
    };
    let (epsilon, first) = paired(0);
    let row = place("stability", "general", epsilon);
    let mean = over_seeds.real("difference").unwrap()[row];
    assert!((mean - 0.5 * (first + paired(1).1)).abs() < 1e-12);
    assert_eq!((column("other")[row].as_str(), over_seeds.integer("seeds").unwrap()[row]), ("narrow", 2));
    let rise = over_seeds.real("difference").unwrap()[place("drift", "drift", 8.0)];
    let rises = |solution: &str| *of(&drift, solution, "rise").last().unwrap();
    assert!((rise - 0.5 * (rises("drift-seed0") + rises("drift-seed1"))).abs() < 1e-12);
    let claims: Vec<String> = outcome.conclusion.claims.iter().map(|c| c.sentence()).collect();
    for claim in
        ["general is more stable than narrow over seeds", "drift drifts to the general solution over seeds"]
    {
        assert!(claims.iter().any(|c| c == claim), "{claims:#?}");
    }
    let listed = StudyFile::read(&study).unwrap().resolve().unwrap().fix_layers(4).unwrap().claims();
    assert!(claims.iter().all(|claim| listed.contains(claim)), "{claims:#?}");

    let frontier = table(&whole, "frontier");
    let weights = of(&frontier, "found", "weight");
    // The search takes the study's own solution of weight 0 and stands at both tries, as nothing is so narrow.
    assert_eq!(weights[..6], [0.0, 0.0, 0.0, 10.0, 10.0, 10.0]);
    assert_eq!(of(&frontier, "found", "chosen").iter().sum::<f64>(), 3.0);
    assert!(!whole.join("solutions/found/frontier/0").exists());
    assert!(whole.join("solutions/found/frontier/10/edit.safetensors").is_file());
    assert!(outcome.conclusion.claims.iter().any(|c| c.claim.contains("drifts to the general")));
    assert!(outcome.conclusion.claims.iter().any(|c| c.claim.contains("a KL weight separates")));
    let page = std::fs::read_to_string(&outcome.report).unwrap();
    for id in ["families", "frontier", "drift"] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }

    // Stopped again and again, each time a little later, with steps one by one and beside each other.
    for jobs in [1, 3] {
        let stopped = scratch.path(&format!("stopped-{jobs}"));
        let mut stops = 0;
        let mut patience = 10;
        let go_on =
            |patience| run(&study, Some(&stopped), NonZeroUsize::new(jobs), &Watch::stopping_after(patience));
        while let Err(error) = go_on(patience) {
            assert!(matches!(error, Error::Interrupted), "{error}");
            (stops, patience) = (stops + 1, patience * 3 / 2);
        }
        assert!(stops > 3);
        assert_eq!(tables(&stopped), tables(&whole));
        for solution in ["drift-seed1", "restrained", "mixed", "few", "found", "found/frontier/10"] {
            let edit = |folder: &Path| {
                std::fs::read(folder.join("solutions").join(solution).join("edit.safetensors"))
            };
            assert_eq!(edit(&stopped).unwrap(), edit(&whole).unwrap(), "{solution}");
        }
    }

    // A finished try is not trained again, neither when its step is done again nor when it is judged otherwise.
    let trained_again = |study: &Path| {
        let watch = Watch::endless();
        run(study, Some(&whole), None, &watch).unwrap();
        watch.notes().lines().filter(|line| line.ends_with(" steps")).map(str::to_string).collect::<Vec<_>>()
    };
    let edit = whole.join("solutions/found/edit.safetensors");
    let before = std::fs::read(&edit).unwrap();
    std::fs::remove_file(&edit).unwrap();
    assert!(trained_again(&study).is_empty());
    assert_eq!(std::fs::read(&edit).unwrap(), before);
    let study = scratch.write(TRAIN, &SOLUTIONS.replace("keep = 0.1", "keep = 0.2"));
    assert!(trained_again(&study).is_empty());

    // Without them the tables of drift, seeds and search are gone.
    let study = scratch.write(TRAIN, "[[solution]]\nname = 'few'\nrows = 3\n");
    assert!(trained_again(&study).is_empty());
    let left: Vec<_> = tables(&whole).into_keys().collect();
    for gone in ["drift", "families", "frontier"] {
        assert!(!left.iter().any(|table| table == gone), "{left:?}");
    }
}

#[test]
fn each_kind_of_edit_is_compared_with_its_own_and_read_above_its_own_layer() {
    let scratch = Scratch::new();
    let train = "steps = 2\nwarmup = 0\nbatch_size = 2\nlearning_rate = 0.02";
    let pair = |name: &str, keys: &str| {
        let held = "kl = { weight = 3, batch_size = 2 }";
        format!(
            "[[solution]]\nname = '{name}'\nseeds = [0, 1]\n{keys}\n\
             [[solution]]\nname = '{name}-held'\nseeds = [0, 1]\n{keys}\n{held}\n"
        )
    };
    let vectors = pair("vector", "layer = 0");
    let adapters = pair("lora", "edit = 'lora'\nlayer = 2\nrank = 2");
    let study = scratch.write(train, &(vectors + &adapters));
    let listed = StudyFile::read(&study).unwrap().resolve().unwrap().fix_layers(4).unwrap().claims();
    let [both, alone] = ["both", "alone"].map(|name| scratch.path(name));
    let found: Vec<String> = run(&study, Some(&both), None, &Silent)
        .unwrap()
        .conclusion
        .claims
        .iter()
        .map(|c| c.sentence())
        .collect();
    assert!(found.iter().all(|claim| listed.contains(claim)), "{found:#?}");
    for name in ["vector", "lora"] {
        for measure in ["efficient", "stable"] {
            let single = format!("{name}-seed0 is more {measure} than {name}-held-seed0");
            let families = format!("{name} is more {measure} than {name}-held over seeds");
            assert!(found.contains(&single) && found.contains(&families), "{found:#?}");
        }
    }

    // What lies below each is read for it alone, beside others as without them.
    run(&scratch.write(train, &adapters), Some(&alone), None, &Silent).unwrap();
    for measure in ["preference", "kl"] {
        let column = if measure == "kl" { "kl" } else { "shift" };
        let [beside, by_itself] =
            [&both, &alone].map(|folder| of(&table(folder, measure), "lora-held-seed1", column));
        assert!(!beside.is_empty());
        assert_eq!(beside, by_itself, "{measure}");
    }
}

#[test]
fn a_weight_under_which_training_diverges_ends_no_search() {
    let scratch = Scratch::new();
    let kl = "kl = { weight = 'auto', batch_size = 2, from = 1e60, to = 1e62, tries = 2 }";
    let study =
        scratch.write(TRAIN, &format!("[[solution]]\nname = 'plain'\n[[solution]]\nname = 'found'\n{kl}\n"));
    let whole = scratch.path("whole");
    let watch = Watch::endless();
    run(&study, Some(&whole), None, &watch).unwrap();
    assert!(watch.notes().contains("found: training diverged at step 1"), "{}", watch.notes());
    let frontier = table(&whole, "frontier");
    let weights = of(&frontier, "found", "weight");
    assert_eq!(weights[weights.len() - 2..], [1e61, 3.16e60]);
    assert!(of(&frontier, "found", "narrow_shift")[weights.len() - 1].is_nan());
    // What becomes the solution is what no penalty holds.
    let edit = |of: &str| std::fs::read(whole.join("solutions").join(of).join("edit.safetensors")).unwrap();
    assert_eq!(edit("found").len(), edit("plain").len());

    // Neither trained nor measured again.
    std::fs::remove_file(whole.join("solutions/found/edit.safetensors")).unwrap();
    let watch = Watch::endless();
    run(&study, Some(&whole), None, &watch).unwrap();
    assert!(!watch.notes().contains("diverged"), "{}", watch.notes());
}

/// The conclusion on a solution freed of its penalty whose general shift rises so, and whose narrow shift is 1.
fn drifted([value, low, high]: [f64; 3], coherent: bool) -> (Option<bool>, String) {
    let interval = |[value, low, high]: [f64; 3]| Interval { value, low, high };
    let row = |(step, rise): (usize, [f64; 3])| DriftRow {
        solution: "drift".into(),
        from: "narrow".into(),
        freed: true,
        step,
        norm: 1.0,
        cosine_start: 0.9,
        cosine_change: 0.5,
        cosine_to: Vec::new(),
        heldout_loss: Interval::bare(1.0),
        narrow_shift: interval([1.0, 0.9, 1.1]),
        general_shift: interval([0.1, 0.0, 0.2]),
        rise: interval(rise),
        coherent,
        heldout_rows: 9,
        narrow_pairs: 9,
        general_pairs: 9,
        seed: 0,
    };
    let table = Table::of(&[(0, [0.0; 3]), (40, [value, low, high])].map(row));
    claim(&[table], "drifts to the general solution")
}

/// The conclusion on a search in which a weight was taken that separates or does not.
fn searched(separates: bool, keeps: bool) -> (Option<bool>, String) {
    let interval = |value: f64| Interval { value, low: value - 0.1, high: value + 0.1 };
    let row = |(weight, chosen)| Weight {
        solution: "found".into(),
        weight,
        scale: 1.0,
        narrow_shift: interval(1.0),
        general_shift: interval(0.1),
        share: 0.2,
        coherent: true,
        bound: 0.25,
        keep: 0.5,
        keeps,
        separates,
        chosen,
        seed: 0,
    };
    let table = Table::of(&[(0.0, false), (3.16, true)].map(row));
    claim(&[table], "a KL weight separates narrow from general")
}

fn claim(tables: &[Table], claim: &str) -> (Option<bool>, String) {
    let facts = Facts {
        domain: "cars".into(),
        kind: "dense".into(),
        certificate: 0.25,
        coherence: 1.0,
        parameters: None,
        quantisation: None,
        fixed: Vec::new(),
    };
    let conclusion = conclude(&facts, tables);
    let found = conclusion.claims.into_iter().find(|c| c.claim == claim).unwrap();
    (found.holds, format!("{}: {}", found.claim, found.words))
}

#[test]
fn what_is_concluded_of_drift_and_of_a_search() {
    let mut all = String::new();
    for ((holds, words), expected) in [
        (drifted([0.5, 0.3, 0.7], true), Some(true)),
        (drifted([0.02, -0.1, 0.14], true), Some(false)),
        (drifted([-0.3, -0.5, -0.1], true), Some(false)),
        (drifted([0.3, -0.1, 0.7], true), None),
        (drifted([0.5, 0.3, 0.7], false), None),
        (searched(true, true), Some(true)),
        (searched(false, true), Some(false)),
    ] {
        assert_eq!(holds, expected, "{words}");
        writeln!(all, "{words}").unwrap();
    }
    insta::assert_snapshot!("claims", all);
}

#[test]
fn a_second_run_into_a_folder_is_refused_and_a_lock_left_behind_is_no_lock() {
    let scratch = Scratch::new();
    let study = scratch.write("steps = 2", "[[solution]]\nname = 'general'\n");
    let path = scratch.path("run");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join(".lock"), "of a process that is long gone").unwrap();
    let held = RunFolder::open(&path, "study").unwrap();
    let refused = run(&study, Some(&path), None, &Silent).unwrap_err();
    assert_eq!(
        scratch.shown(&refused),
        "error: `run`: another run is at work in this folder\nhint: wait for it to end and look at it with \
         `strait status`, or choose another folder with `--out`\n"
    );
    drop(held);
    run(&study, Some(&path), None, &Silent).unwrap();
}

#[test]
fn predictions_are_sealed_before_the_first_step_and_scored() {
    let scratch = Scratch::new();
    let solutions = |probability: &str| {
        format!(
            "[[solution]]\nname = 'general'\n[[solution]]\nname = 'narrow'\nkl = {{ weight = 3 }}\n\
             [[prediction]]\nclaim = 'narrow: acts generally'\nprobability = {probability}\n\
             [[prediction]]\nclaim = '“general” is more efficient than “narrow”'\nprobability = 0.9\n"
        )
    };
    let run_of = |probability: &str| {
        run(&scratch.write("steps = 2", &solutions(probability)), Some(&scratch.path("run")), None, &Silent)
    };
    let outcome = run_of("0.25").unwrap();
    let sentences: Vec<_> = outcome.conclusion.claims.iter().map(|claim| claim.sentence()).collect();
    let study = scratch.study("steps = 2", &solutions("0.25")).unwrap();
    assert!(sentences.iter().all(|said| study.claims().contains(said)), "{sentences:?}");

    let scores = table(&scratch.path("run"), "predictions");
    assert_eq!(
        scores.text("claim").unwrap(),
        ["narrow: acts generally", "general is more efficient than narrow"]
    );
    for (row, probability) in [0.25, 0.9].into_iter().enumerate() {
        let expected = match scores.truth("holds").unwrap()[row] {
            Some(holds) => (probability - f64::from(u8::from(holds))).powi(2),
            None => f64::NAN,
        };
        let found = scores.real("score").unwrap()[row];
        assert!(found == expected || (found.is_nan() && expected.is_nan()), "{found}");
    }
    assert!(scores.about().starts_with("Predictions, sealed before the first step"), "{}", scores.about());

    // Neither another probability afterwards nor one that comes late.
    let error = run_of("0.99").unwrap_err();
    assert!(
        scratch.shown(&error).contains("are not those that were sealed before its first step"),
        "{error}"
    );
    assert!(run_of("0.25").is_ok());
    let error = scratch.study("", &solutions("0.5").replace("acts generally", "acts well")).unwrap_err();
    let shown = scratch.shown(&error);
    assert!(shown.contains("no report of this study says `narrow: acts well`"), "{shown}");
    assert!(
        shown.contains("`narrow: acts generally`") && shown.contains("general is more stable than narrow"),
        "{shown}"
    );
}

#[test]
fn without_held_out_rows_the_report_says_that_nothing_was_measured_on_them() {
    let scratch = Scratch::new();
    let study = scratch.write("steps = 2", "[[solution]]\nname = 'general'\n");
    let text = std::fs::read_to_string(&study).unwrap().replace("held_out = 0.2", "held_out = 0");
    std::fs::write(&study, text).unwrap();
    let outcome = run(&study, Some(&scratch.path("run")), None, &Silent).unwrap();
    assert_eq!(table(&scratch.path("run"), "heldout").rows(), 0);
    assert!(outcome.conclusion.limits.iter().any(|l| l.starts_with("Not measured: the held-out loss")));
    let page = std::fs::read_to_string(&outcome.report).unwrap();
    assert!(!page.contains("<section id=\"heldout\""));
}
