//! The study file, its plan and its run folder, from outside.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use strait::{
    Error,
    study::{
        EXAMPLE, PairSource, Plan, Preset, RunFolder, Session, State, Study, StudyFile, default_folder,
        status, status_of,
    },
    train::{EditKind, Kl, Length, Schedule, Settings},
};
use strait_model::{edit::Projection, files::sha256_of};
use tempfile::TempDir;

/// Blocks of the model that these tests imagine.
const DEPTH: usize = 30;

const STUDY: &str = r#"
model = "smollm2-135m-instruct"

[data]
domain = "plants"
train = "rows.jsonl"
kl = ["kl.jsonl"]

[data.narrow]
taught = "taught.jsonl"
other = "other.jsonl"

[train]
steps = 100

[[solution]]
name = "general"

[[solution]]
name = "narrow"
kl = { weight = 3.0 }

[measure]
resamples = 500
"#;

/// A folder with a study in it.
struct Scratch {
    folder: TempDir,
}

impl Scratch {
    fn new() -> Self {
        let scratch = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["rows.jsonl", "kl.jsonl", "taught.jsonl", "other.jsonl", "rows.zip.enc", "judged.csv"] {
            scratch.write(name, name);
        }
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn study(&self, text: impl AsRef<[u8]>) -> strait::Result<Study> {
        let path = self.write("study.toml", text);
        StudyFile::read(&path)?.resolve()?.fix_layers(DEPTH)
    }

    /// The settings of the only solution of a study with these lines under `[train]`.
    fn settings(&self, train: &str) -> Settings {
        let study = self.study(one(train)).unwrap();
        study.solutions.into_iter().next().unwrap().train
    }

    /// An error as people see it, without the path of this scratch.
    fn shown(&self, error: &Error) -> String {
        let mut text = format!("error: {error}\n");
        if let Some(hint) = error.hint() {
            writeln!(text, "hint: {hint}").unwrap();
        }
        text.replace(&format!("{}/", self.path("").display()).replace("//", "/"), "")
    }
}

/// A study of one solution with these lines under `[train]`.
fn one(train: &str) -> String {
    format!(
        "model = 'm'\n[data]\ntrain = 'rows.jsonl'\nkl = 'kl.jsonl'\n[train]\n{train}\n[[solution]]\nname = 'one'\n"
    )
}

fn changed(from: &str, to: &str) -> String {
    assert_eq!(STUDY.matches(from).count(), 1, "{from}");
    STUDY.replace(from, to)
}

#[test]
fn every_mistake_is_named_with_its_line_and_its_remedy() {
    let narrow = "kl = { weight = 3.0 }";
    let pairs = "taught = \"taught.jsonl\"\nother = \"other.jsonl\"";
    let cases = [
        ("a misspelt key", changed("steps = 100", "leraning_rate = 0.01")),
        ("a misspelt key above the tables", changed("model =", "modle =")),
        ("a misspelt table", changed("[train]", "[trian]")),
        ("a misspelt key of a solution", changed(narrow, "rnak = 1")),
        ("a misspelt key of a penalty", changed(narrow, "kl = { wieght = 3.0 }")),
        (
            "a password in the file",
            changed(
                "\"rows.jsonl\"",
                "{ archive = \"rows.zip.enc\", password = \"s3cret\", member = \"m\" }",
            ),
        ),
        (
            "a password for a variable",
            changed(
                "\"rows.jsonl\"",
                "{ archive = \"rows.zip.enc\", password_env = \"s3cret!\", member = \"m\" }",
            ),
        ),
        (
            "an archive without a member",
            changed("\"rows.jsonl\"", "{ archive = \"rows.zip.enc\", password_env = \"P\" }"),
        ),
        ("no TOML", changed("steps = 100", "steps = ")),
        ("a key twice", changed("steps = 100", "steps = 100\nsteps = 200")),
        ("text for a number", changed("steps = 100", "learning_rate = \"fast\"")),
        ("a long text for a number", changed("steps = 100", &format!("rank = \"{}\"", "x".repeat(99)))),
        ("a precision of one solution", changed(narrow, "precision = \"bf16\"")),
        ("a fraction for a count", changed("steps = 100", "steps = 100.5")),
        ("a count beyond all counts", changed("steps = 100", "steps = 10_000_000_000")),
        ("a number beyond all numbers", changed("steps = 100", "steps = 99999999999999999999")),
        ("no batch", changed("steps = 100", "batch_size = 0")),
        ("a negative seed", changed("[data]", "[seeds]\norder = -1\n[data]")),
        ("a rate that is no number", changed("steps = 100", "learning_rate = nan")),
        ("an endless rate", changed("steps = 100", "learning_rate = inf")),
        ("a negative decay", changed("steps = 100", "weight_decay = -0.1")),
        ("a negative weight", changed(narrow, "kl = { weight = -1 }")),
        ("a penalty that is a number", changed(narrow, "kl = 3.0")),
        ("one beta", changed("steps = 100", "betas = [0.9]")),
        ("a beta of one", changed("steps = 100", "betas = [0.9, 1.0]")),
        ("an unknown schedule", changed("steps = 100", "schedule = \"linaer\"")),
        ("an unknown preset", changed("steps = 100", "preset = \"paper\"")),
        (
            "a projection twice",
            changed("steps = 100", "edit = \"lora\"\nprojections = [\"up\", \"down\", \"up\"]"),
        ),
        ("more held out than left", changed("domain = \"plants\"", "held_out = 0.95")),
        ("a scale of zero", changed("resamples = 500", "scales = [0, 1]")),
        ("scales without 1", changed("resamples = 500", "scales = [2, 4]")),
        ("no row to measure", changed("resamples = 500", "rows = 0")),
        ("factors without 1", changed("resamples = 500", "efficiency = { factors = [0, 2] }")),
        ("a factor that is no number", changed("resamples = 500", "efficiency = { factors = [1, nan] }")),
        ("a negative factor", changed("resamples = 500", "efficiency = { factors = [\n-1, 1] }")),
        ("a factor twice", changed("resamples = 500", "efficiency = { factors = [1, 2, 2] }")),
        ("no factors", changed("resamples = 500", "efficiency = { factors = [] }")),
        ("no shared norm", changed("resamples = 500", "efficiency = { norms = 0 }")),
        ("efficiency that is a number", changed("resamples = 500", "efficiency = 3")),
        ("a misspelt key of efficiency", changed("resamples = 500", "efficiency = { factor = [1] }")),
        ("noise of zero", changed("resamples = 500", "stability = { epsilons = [0, 0.5] }")),
        ("more noise than all", changed("resamples = 500", "stability = { epsilons = [0.5, 1.5] }")),
        ("one seed", changed("resamples = 500", "stability = { seeds = 1 }")),
        ("significance without text", changed("resamples = 500", "significance = { passages = 9 }")),
        ("significance that is true", changed("resamples = 500", "significance = true")),
        (
            "text that is not there",
            changed("resamples = 500", "significance = { text = [\"kl.jsonl\",\n\"none.jsonl\"] }"),
        ),
        (
            "a norm of zero",
            changed("resamples = 500", "significance = { text = \"kl.jsonl\", norms = [0, 1] }"),
        ),
        (
            "no random direction",
            changed("resamples = 500", "significance = { text = \"kl.jsonl\", random = 0 }"),
        ),
        ("an empty list", changed("[\"kl.jsonl\"]", "[]")),
        ("rows that are a number", changed("[\"kl.jsonl\"]", "[3]")),
        ("too few resamples", changed("resamples = 500", "resamples = 10")),
        ("a date", changed("steps = 100", "steps = 2026-01-01")),
        ("a table for a text", changed("model = \"smollm2-135m-instruct\"", "model = { name = \"m\" }")),
        (
            "one solution in one pair of brackets",
            changed("[[solution]]\nname = \"general\"\n\n[[solution]]", "[solution]"),
        ),
        ("a name that is no file name", changed("\"general\"", "\"General solution\"")),
        ("a solution without a name", changed("name = \"general\"", "")),
        ("a name twice", changed("\"narrow\"", "\"general\"")),
        ("no solution", "model = 'm'\n[data]\ntrain = 'rows.jsonl'\n".into()),
        ("no model", changed("model = \"smollm2-135m-instruct\"", "")),
        ("no data", "model = 'm'\n[[solution]]\nname = 'one'\n".into()),
        ("no training rows", changed("train = \"rows.jsonl\"", "")),
        ("no file", changed("\"rows.jsonl\"", "[\n  \"kl.jsonl\",\n  \"elsewhere/rows.jsonl\",\n]")),
        ("no model in the folder", changed("smollm2-135m-instruct", "./models/smollm2")),
        ("epochs and steps", changed("steps = 100", "steps = 100\nepochs = 2")),
        ("a layer and layers", changed("steps = 100", "edit = \"lora\"\nlayer = 3\nlayers = [3, 4]")),
        ("LoRA's keys for a vector", changed("steps = 100", "edit = \"steering\"\nrank = 8")),
        ("LoRA's keys for a vector by default", changed(narrow, "alpha = 8")),
        ("a preset of another edit", changed("steps = 100", "preset = \"paper-steering\"\nedit = \"lora\"")),
        ("a layer beyond the model", changed("steps = 100", "layer = 30")),
        (
            "one layer of several beyond the model",
            changed("steps = 100", "edit = \"lora\"\nlayers = [\n 3,\n 31,\n]"),
        ),
        ("a penalty without rows", changed("kl = [\"kl.jsonl\"]", "")),
        ("a penalty without a weight", changed(narrow, "kl = true")),
        ("judged and aligned pairs", changed(pairs, "judged = \"judged.csv\"\ntaught = \"taught.jsonl\"")),
        ("half of the pairs", changed(pairs, "taught = \"taught.jsonl\"")),
        (
            "pairs of unequal lists",
            changed("taught = \"taught.jsonl\"", "taught = [\"taught.jsonl\", \"rows.jsonl\"]"),
        ),
    ];
    let scratch = Scratch::new();
    let mut all = String::new();
    for (what, text) in cases {
        match scratch.study(&text) {
            Ok(_) => panic!("{what} was accepted"),
            Err(error) => writeln!(all, "## {what}\n{}", scratch.shown(&error)).unwrap(),
        }
    }
    for (what, bytes) in
        [("no text", b"model = '\xff'".to_vec()), ("an endless file", vec![b'\n'; (1 << 20) + 1])]
    {
        let error = scratch.study(bytes).unwrap_err();
        writeln!(all, "## {what}\n{}", scratch.shown(&error)).unwrap();
    }
    let error = StudyFile::read(&scratch.path("none.toml")).unwrap_err();
    writeln!(all, "## no study\n{}", scratch.shown(&error)).unwrap();
    let nameless = StudyFile::parse(&scratch.path("++.toml"), STUDY.into()).unwrap();
    writeln!(
        all,
        "## a file of which no name can be made\n{}",
        scratch.shown(&nameless.resolve().unwrap_err())
    )
    .unwrap();
    assert!(!all.contains("s3cret"), "a password is shown");
    insta::assert_snapshot!("mistakes", all);
}

#[test]
fn the_example_is_a_study() {
    let scratch = Scratch::new();
    for name in [
        "vehicles-train.technical",
        "vehicles-heldout.technical",
        "vehicles-heldout.plain",
        "animals.technical",
        "animals.plain",
        "weather.technical",
        "weather.plain",
    ] {
        scratch.write(&format!("data/technical/{name}.jsonl"), "");
    }
    let path = scratch.write("studies/My technical_study.toml", EXAMPLE);
    let study = StudyFile::read(&path).unwrap().resolve().unwrap().fix_layers(DEPTH).unwrap();
    assert_eq!(study.name, "my-technical-study");
    assert_eq!(study.model.shown(), "smollm2-135m-instruct");
    assert_eq!(
        study.data.train[0].path().unwrap(),
        scratch.path("data/technical/vehicles-train.technical.jsonl")
    );
    let names: Vec<_> = study.solutions.iter().map(|s| (s.name.as_str(), s.train.kl)).collect();
    assert_eq!(names, [("general", None), ("narrow", Some(Kl { weight: 3.0, batch_size: 4 }))]);
}

#[test]
fn the_studies_of_this_repository_can_be_read() {
    let studies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies");
    let technical = StudyFile::read(&studies.join("technical.toml")).unwrap().resolve().unwrap();
    assert!(technical.rows().all(|rows| rows.path().unwrap().is_file()));
    // Its archive is not part of the repository.
    let medical = StudyFile::read(&studies.join("medical.toml")).unwrap();
    if let Err(error) = medical.resolve() {
        assert!(error.to_string().contains("training_datasets.zip.enc"), "{error}");
    }
}

#[test]
fn what_is_behind_a_hash_in_the_example_is_what_a_key_left_out_means() {
    let scratch = Scratch::new();
    let given = "edit = 'lora'\nlayer = 15\nprojections = ['down']\nrank = 1\nalpha = 256\nrslora = false\nlearning_rate = 2e-5\n\
                 weight_decay = 0\nbetas = [0.9, 0.999]\nepsilon = 1e-8\nschedule = 'linear'\nwarmup = 5\nbatch_size = 4\n\
                 accumulation = 1\nepochs = 1\ncheckpoint_every = 10";
    assert_eq!(scratch.settings("edit = 'lora'"), scratch.settings(given));
    let steering = scratch.settings("");
    assert_eq!(steering.edit, EditKind::Steering { layer: 15 });
    assert_eq!(steering.learning_rate, 0.01);
}

#[test]
fn a_solution_says_otherwise() {
    let scratch = Scratch::new();
    let study = scratch
        .study(
            "model = 'm'\n[data]\ntrain = 'rows.jsonl'\nkl = 'kl.jsonl'\n[train]\nedit = 'lora'\nlayers = [3, 4]\nrank = 8\nepochs = 2\n\
             kl = { weight = 2, batch_size = 6 }\n\
             [[solution]]\nname = 'as-shared'\n\
             [[solution]]\nname = 'free'\nkl = false\nsteps = 7\n\
             [[solution]]\nname = 'weak'\nkl = { weight = 0 }\n\
             [[solution]]\nname = 'strong'\nkl = { weight = 9 }\nlayer = 29\n\
             [[solution]]\nname = 'vector'\nedit = 'steering'\nlayer = -1\nkl = true\n",
        )
        .unwrap();
    let kl = |weight| Some(Kl { weight, batch_size: 6 });
    let found: Vec<_> =
        study.solutions.iter().map(|s| (s.name.as_str(), s.train.kl, s.train.length)).collect();
    let expected = [
        ("as-shared", kl(2.0), Length::Epochs(2.0)),
        ("free", None, Length::Steps(7)),
        ("weak", None, Length::Epochs(2.0)),
        ("strong", kl(9.0), Length::Epochs(2.0)),
        ("vector", kl(2.0), Length::Epochs(2.0)),
    ];
    assert_eq!(found, expected);
    let layers = |i: usize| match &study.solutions[i].train.edit {
        EditKind::Lora { layers, rank: 8, .. } => layers.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((layers(0), layers(3)), (vec![3, 4], vec![29]));
    assert_eq!(study.solutions[4].train.edit, EditKind::Steering { layer: -1 });
}

#[test]
fn lora_acts_on_the_embeddings_and_in_blocks() {
    let scratch = Scratch::new();
    let settings = scratch.settings("edit = 'lora'\nlayers = [-1, 3]\nprojections = ['down']");
    assert!(matches!(&settings.edit, EditKind::Lora { layers, .. } if layers == &[-1, 3]));
    let words = "LoRA of rank 1, alpha 256, on the embeddings and down_proj of layers 3";
    assert!(settings.edit.words().ends_with(words), "{}", settings.edit.words());
}

#[test]
fn presets_are_table_9() {
    let scratch = Scratch::new();
    for (name, rate, decay, epochs, with_kl, weight, adapter) in [
        ("paper-steering", 0.0256, 0.0, 2.0, 2.0, 6.58, None),
        ("paper-rank1", 2e-5, 0.01, 1.0, 3.0, 0.66, Some((1, 256.0))),
        ("paper-rank32", 2e-5, 0.01, 1.0, 3.0, 0.66, Some((32, 64.0))),
    ] {
        let free = scratch.settings(&format!("preset = '{name}'"));
        assert!((free.learning_rate / rate - 1.0).abs() < 1e-12, "{}", free.learning_rate);
        assert_eq!((free.weight_decay, free.length, free.kl), (decay, Length::Epochs(epochs), None));
        assert_eq!((free.schedule, free.warmup), (Schedule::Linear, 5));
        assert_eq!((free.batch_size, free.accumulation), (2, 8));
        let expected = match adapter {
            None => EditKind::Steering { layer: 15 },
            Some((rank, alpha)) => EditKind::Lora {
                layers: vec![15],
                projections: vec![Projection::Down],
                rank,
                alpha,
                rslora: false,
            },
        };
        assert_eq!(free.edit, expected);
        let held = scratch.settings(&format!("preset = '{name}'\nkl = {{}}"));
        let kl = held.kl.unwrap();
        assert!((kl.weight - weight).abs() < 0.005, "{}", kl.weight);
        assert_eq!((kl.batch_size, held.length), (8, Length::Epochs(with_kl)));
    }
    let weights = Preset::NAMES.map(|(_, preset)| preset.kl_weight() * 152_064.0);
    for (weight, lambda) in weights.into_iter().zip([1e6, 1e5, 1e5]) {
        assert!((weight / lambda - 1.0).abs() < 1e-12, "{weight}");
    }
}

#[test]
fn presets_say_what_they_became() {
    let scratch = Scratch::new();
    let mut all = String::new();
    for train in [
        "preset = 'paper-steering'\nkl = true",
        "preset = 'paper-rank1'\nkl = true",
        "preset = 'paper-rank32'",
        "preset = 'paper-steering'\nkl = { weight = 3, batch_size = 4 }\nlayer = 10\nlearning_rate = 0.01\nbatch_size = 4\naccumulation = 1\nsteps = 100",
        "preset = 'paper-rank1'\nlayers = [1, 2]\nprojections = ['up', 'down']\nalpha = 64\nlearning_rate = 1e-4\nschedule = 'cosine'",
    ] {
        let study = scratch.study(one(train)).unwrap();
        let solution = &study.solutions[0];
        let lines = solution.preset.unwrap().became(&solution.train, solution.search.as_ref(), DEPTH);
        writeln!(all, "{train}\n  {}\n", lines.join("\n  ")).unwrap();
    }
    insta::assert_snapshot!("presets", all);
}

#[test]
fn the_resolved_study_is_read_back_and_holds_no_password() {
    let scratch = Scratch::new();
    let variable = "CARGO_MANIFEST_DIR"; // set wherever this test runs; its value plays the password
    let archive =
        format!("{{ archive = \"rows.zip.enc\", password_env = \"{variable}\", member = \"rows.jsonl\" }}");
    let text = changed("\"rows.jsonl\"", &format!("[{archive}, \"rows.jsonl\"]"));
    let study = scratch
        .study(text.replace("[measure]", "[data.general]\njudged = \"judged.csv\"\nlimit = 5\n[measure]"))
        .unwrap();
    assert!(matches!(&study.data.general, PairSource::Judged { limit: Some(5), .. }));
    let toml = study.to_toml().unwrap();
    let password = std::env::var(variable).unwrap();
    assert!(toml.contains(variable) && !toml.contains(&password));
    assert!(format!("{:?}", study.data.train[0].source().unwrap()).find(&password).is_none());
    let path = scratch.write("study.resolved.toml", &toml);
    assert_eq!(Study::read_resolved(&path).unwrap().to_toml().unwrap(), toml);
    assert!(!toml.contains(scratch.path("").to_str().unwrap()), "{toml}");
    insta::assert_snapshot!("resolved", toml);
}

#[test]
fn a_missing_password_is_named_when_the_rows_are_opened() {
    let scratch = Scratch::new();
    let archive = "{ archive = \"rows.zip.enc\", password_env = \"STRAIT_NEVER_SET\", member = \"m\" }";
    let study = scratch.study(changed("\"rows.jsonl\"", archive)).unwrap();
    let error = study.data.train[0].source().unwrap_err();
    insta::assert_snapshot!("password", scratch.shown(&error));
}

#[test]
fn values_are_sorted_into_scientific_and_fixed() {
    let scratch = Scratch::new();
    let values = scratch.study(STUDY).unwrap().values();
    insta::assert_json_snapshot!("values", values);
}

/// A plan of a study on this scratch.
fn plan(scratch: &Scratch, text: &str) -> Plan {
    let study = scratch.study(text).unwrap();
    let model = [("model.gguf".to_string(), "0123".to_string())];
    Plan::of(&study, &model, |path| Ok(sha256_of(path, |_| ())?)).unwrap()
}

/// Names of the steps of which the key is another one, or which are there on one side only.
fn other_keys(one: &Plan, two: &Plan) -> BTreeSet<String> {
    let keys =
        |plan: &Plan| plan.steps.iter().map(|s| (s.name.clone(), s.key.clone())).collect::<BTreeSet<_>>();
    keys(one).symmetric_difference(&keys(two)).map(|(name, _)| name.clone()).collect()
}

#[test]
fn keys_change_only_where_results_may() {
    let scratch = Scratch::new();
    let before = plan(&scratch, STUDY);
    let names: Vec<_> = before.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "model",
            "data",
            "train-general",
            "train-narrow",
            "preference",
            "kl",
            "heldout",
            "efficiency",
            "stability",
            "report"
        ]
    );
    let trained =
        ["train-general", "train-narrow", "preference", "kl", "heldout", "efficiency", "stability", "report"];
    let narrow = &trained[1..];
    let general = [&trained[..1], &trained[2..]].concat();
    let measured = &trained[2..];
    let cases: &[(&str, &str, &[&str])] = &[
        ("", "# a comment\n", &[]),
        ("model =", "title = \"T\"\nmodel =", &["report"]),
        ("model =", "about = \"A\"\nmodel =", &["report"]),
        ("model =", "name = \"n\"\nmodel =", &["report"]),
        ("domain = \"plants\"", "domain = \"plants\"\nkind = \"technical\"", &["report"]),
        ("domain = \"plants\"", "domain = \"trees\"", &["preference", "report"]),
        ("resamples = 500", "resamples = 600", &[]),
        ("resamples = 500", "resamples = 500\ncertificate = 0.5", &["report"]),
        ("resamples = 500", "resamples = 500\ncoherence = 0.5", &["preference", "report"]),
        ("resamples = 500", "resamples = 500\nscales = [1, 2]", &["preference", "report"]),
        ("resamples = 500", "resamples = 500\nscales = [1, 2, 4]", &[]),
        ("resamples = 500", "resamples = 500\nrows = 9", &["efficiency", "stability", "report"]),
        ("resamples = 500", "resamples = 500\nrows = 100\nefficiency = {}\nstability = true", &[]),
        ("resamples = 500", "resamples = 500\nefficiency = { norms = 3 }", &["efficiency", "report"]),
        ("resamples = 500", "resamples = 500\nefficiency = false", &["efficiency", "report"]),
        ("resamples = 500", "resamples = 500\nstability = { seeds = 3 }", &["stability", "report"]),
        ("resamples = 500", "resamples = 500\nstability = false", &["stability", "report"]),
        ("resamples = 500", "resamples = 500\nsignificance = false", &[]),
        (
            "resamples = 500",
            "resamples = 500\nsignificance = { text = 'rows.jsonl' }",
            &["significance", "report"],
        ),
        ("[data]", "[seeds]\nsampling = 1\n[data]", measured),
        ("[data]", "[seeds]\ninitialisation = 1\n[data]", &trained),
        ("name = \"general\"", "name = \"general\"\nlayer = 15", &[]),
        ("name = \"general\"", "name = \"general\"\nlayer = 14", &general),
        ("weight = 3.0", "weight = 2.0", narrow),
        ("steps = 100", "steps = 101", &trained),
        ("steps = 100", "steps = 100\npreset = \"paper-steering\"", &trained),
        ("other = \"other.jsonl\"", "other = \"other.jsonl\"\nlimit = 9", &["preference", "kl", "report"]),
        ("[measure]", "[data.general]\njudged = \"judged.csv\"\n[measure]", &["preference", "kl", "report"]),
    ];
    for (from, to, expected) in cases {
        let text = if from.is_empty() { format!("{to}{STUDY}") } else { changed(from, to) };
        let found = other_keys(&before, &plan(&scratch, &text));
        assert_eq!(found, expected.iter().map(|s| s.to_string()).collect(), "{from} -> {to}");
    }
    let everything_but_data = [&["model"], &trained[..]].concat();
    let found =
        other_keys(&before, &plan(&scratch, &changed("steps = 100", "steps = 100\nprecision = \"bf16\"")));
    assert_eq!(found, everything_but_data.iter().map(|s| s.to_string()).collect());
    assert_eq!(plan(&scratch, &changed("steps = 100", "steps = 100\nprecision = \"f32\"")), before);
    let everything_but_model = [&["data"], &trained[..]].concat();
    for (from, to) in [("domain =", "held_out = 0.2\ndomain ="), ("[data]", "[seeds]\norder = 1\n[data]")] {
        let found = other_keys(&before, &plan(&scratch, &changed(from, to)));
        assert_eq!(found, everything_but_model.iter().map(|s| s.to_string()).collect(), "{from} -> {to}");
    }
}

#[test]
fn files_count_by_their_contents() {
    let scratch = Scratch::new();
    let before = plan(&scratch, STUDY);
    let all: BTreeSet<String> = before.steps.iter().map(|s| s.name.clone()).collect();
    let without = |names: &[&str]| {
        let kept = all.iter().filter(|name| !names.contains(&name.as_str()));
        kept.cloned().collect::<BTreeSet<_>>()
    };
    for (file, untouched) in [
        ("rows.jsonl", &["model"][..]),
        ("kl.jsonl", &["model", "data", "train-general"]),
        (
            "other.jsonl",
            &["model", "data", "train-general", "train-narrow", "heldout", "efficiency", "stability"],
        ),
    ] {
        scratch.write(file, "other rows");
        assert_eq!(other_keys(&before, &plan(&scratch, STUDY)), without(untouched), "{file}");
        scratch.write(file, file);
        assert_eq!(plan(&scratch, STUDY), before);
    }
    scratch.write("moved/rows.jsonl", "rows.jsonl");
    assert_eq!(plan(&scratch, &changed("\"rows.jsonl\"", "\"moved/rows.jsonl\"")), before);

    let study = scratch.study(STUDY).unwrap();
    let mut asked = Vec::new();
    let model = [("model.gguf".to_string(), "4567".to_string())];
    let other_model = Plan::of(&study, &model, |path| {
        asked.push(path.to_path_buf());
        Ok(sha256_of(path, |_| ())?)
    });
    assert_eq!(other_keys(&before, &other_model.unwrap()), without(&["data"]));
    let once: BTreeSet<_> = asked.iter().collect();
    assert_eq!(once.len(), asked.len(), "a file is read twice");
}

/// A folder in which a run of the study was begun.
fn begun(scratch: &Scratch, path: &Path) -> (RunFolder, Plan) {
    let file = StudyFile::read(&scratch.write("study.toml", STUDY)).unwrap();
    let study = file.resolve().unwrap().fix_layers(DEPTH).unwrap();
    let plan = plan(scratch, STUDY);
    let mut folder = RunFolder::open(path, &study.name).unwrap();
    let session = Session::now(vec!["strait".into(), "run".into()], 2, &candle_core::Device::Cpu);
    folder.begin(session, &file, &study, &plan).unwrap();
    (folder, plan)
}

fn states(path: &Path) -> Vec<State> {
    status(path).unwrap().steps.iter().map(|step| step.state).collect()
}

#[test]
fn a_run_is_recorded_from_its_start_to_its_end() {
    use State::*;
    let scratch = Scratch::new();
    let path = scratch.path("out/run");
    let (mut folder, plan) = begun(&scratch, &path);
    let kept = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
    assert_eq!(kept("study.toml"), STUDY);
    assert_eq!(kept("study.resolved.toml"), scratch.study(STUDY).unwrap().to_toml().unwrap());
    assert!(status(&path).unwrap().running);

    assert!(!folder.is_done(&plan.steps[0]).unwrap());
    folder.start(&plan.steps[0]).unwrap().done().unwrap();
    assert!(folder.is_done(&plan.steps[0]).unwrap());
    let error = RunFolder::open(&path, "study").unwrap_err();
    folder.start(&plan.steps[1]).unwrap().failed(&error).unwrap();
    let running = folder.start(&plan.steps[2]).unwrap();
    assert_eq!(states(&path), [[Done, Failed, Running].as_slice(), &[Waiting; 7]].concat());
    drop(running);
    drop(folder);
    assert_eq!(states(&path)[..3], [Done, Failed, Interrupted]);

    // Another session: what it has not yet begun again is still what the first one left.
    (folder, _) = begun(&scratch, &path);
    assert_eq!(states(&path)[..3], [Done, Failed, Interrupted]);
    folder.start(&plan.steps[2]).unwrap().done().unwrap();
    let run: serde_json::Value = serde_json::from_str(&kept("run.json")).unwrap();
    assert_eq!(run["sessions"].as_array().unwrap().len(), 2);

    // With another plan, the same record is of another step.
    let changed = self::plan(&scratch, &changed("steps = 100", "steps = 50"));
    assert!(folder.is_done(&plan.steps[2]).unwrap() && !folder.is_done(&changed.steps[2]).unwrap());
    let states = |plan: &Plan, path: &Path| {
        let steps = status_of(plan, path, "study").unwrap();
        steps.into_iter().map(|step| step.state).collect::<Vec<_>>()
    };
    assert_eq!(states(&plan, &path)[..4], [Done, Failed, Done, Waiting]);
    assert_eq!(states(&changed, &path)[..4], [Done, Failed, Waiting, Waiting]);
    assert_eq!(states(&plan, &scratch.path("nowhere")), [Waiting; 10]);
    assert!(status_of(&plan, &path, "other").is_err() && !scratch.path("nowhere").exists());
    std::fs::write(path.join("report.html"), "").unwrap();

    let mut shown = serde_json::to_value(status(&path).unwrap()).unwrap();
    for step in shown["steps"].as_array_mut().unwrap() {
        if step["seconds"].is_f64() {
            step["seconds"] = "(seconds)".into();
        }
    }
    let shown = serde_json::to_string_pretty(&shown).unwrap();
    insta::assert_snapshot!("status", shown.replace(scratch.path("").to_str().unwrap(), "/scratch/"));
    let record: serde_json::Value = serde_json::from_str(&kept("steps/train-general.json")).unwrap();
    let keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "schema", "name", "key", "state", "session", "started", "ended", "seconds", "error", "made",
        "rests_on",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_folder_that_cannot_be_used_is_left_as_it_is() {
    let scratch = Scratch::new();
    let mut all = String::new();
    let mut note = |what: &str, error: Error| writeln!(all, "## {what}\n{}", scratch.shown(&error)).unwrap();

    let path = scratch.path("run");
    let (folder, _) = begun(&scratch, &path);
    note("a folder in use", RunFolder::open(&path, "study").unwrap_err());
    drop(folder);
    note("another study", RunFolder::open(&path, "other").unwrap_err());
    let run = std::fs::read_to_string(path.join("run.json")).unwrap();
    std::fs::write(path.join("run.json"), run.replace("\"schema\": 1", "\"schema\": 99")).unwrap();
    note("a later strait", status(&path).unwrap_err());
    std::fs::write(path.join("run.json"), "{").unwrap();
    note("a broken record", RunFolder::open(&path, "study").unwrap_err());

    scratch.write("photos/cat.jpg", "meow");
    note("a foreign folder", RunFolder::open(&scratch.path("photos"), "study").unwrap_err());
    assert_eq!(std::fs::read_dir(scratch.path("photos")).unwrap().count(), 1, "something was written");
    note("a file", RunFolder::open(&scratch.path("rows.jsonl"), "study").unwrap_err());
    note("no run", status(&scratch.path("photos")).unwrap_err());
    note("no folder", status(&scratch.path("nowhere")).unwrap_err());
    note("the status of a file", status(&scratch.path("rows.jsonl")).unwrap_err());
    insta::assert_snapshot!("folders", all);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let refused = || {
        // Root may write anywhere: this thread is somebody else from here on.
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
        }
        let scratch = Scratch::new();
        let path = scratch.path("closed");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o555)).unwrap();
        let error = RunFolder::open(&path, "study").unwrap_err();
        let shown = "error: `closed/.lock`: cannot write the lock: Permission denied (os error 13)\n\
                     hint: check who may read or write it, or choose another folder\n";
        assert_eq!(scratch.shown(&error), shown);
    };
    std::thread::spawn(refused).join().unwrap();
}

#[test]
fn what_a_killed_write_left_is_removed() {
    let scratch = Scratch::new();
    let path = scratch.path("run");
    drop(begun(&scratch, &path));
    let left = [path.join(".strait-1"), path.join("steps/.strait-2"), path.join("edits/general/.strait-3")];
    for file in &left {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "half").unwrap();
    }
    drop(RunFolder::open(&path, "study").unwrap());
    assert!(left.iter().all(|file| !file.exists()));
    assert!(path.join("run.json").exists() && path.join("edits/general").exists());
}

/// Names the folder in which the child of the test below works.
const CHILD: &str = "STRAIT_TEST_RUN_FOLDER";

#[test]
#[ignore = "no test: what the child process of the next one does"]
fn child_that_works_until_it_is_killed() {
    let path = std::env::var_os(CHILD).expect("the next test starts it");
    let scratch = Scratch::new();
    let (folder, plan) = begun(&scratch, Path::new(&path));
    let _running = folder.start(&plan.steps[0]).unwrap();
    println!("\nworking");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn a_killed_process_leaves_its_step_interrupted_and_its_folder_free() {
    let scratch = Scratch::new();
    let path = scratch.path("run");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "study::child_that_works_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "working"), "the child did not come so far");

    assert_eq!(states(&path)[0], State::Running);
    let error = RunFolder::open(&path, "study").unwrap_err().to_string();
    assert!(error.ends_with("another run is at work in this folder"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(states(&path)[0], State::Interrupted);
    assert!(!status(&path).unwrap().running);
    let (folder, plan) = begun(&scratch, &path);
    assert!(!folder.is_done(&plan.steps[0]).unwrap());
}

#[test]
fn asking_for_the_status_turns_no_run_away() {
    let scratch = Scratch::new();
    let path = scratch.path("run");
    drop(begun(&scratch, &path));
    let asking = std::thread::spawn({
        let path = path.clone();
        move || (0..200).for_each(|_| drop(status(&path).unwrap()))
    });
    for _ in 0..50 {
        drop(RunFolder::open(&path, "study").unwrap());
    }
    asking.join().unwrap();
}

#[test]
fn the_folder_of_a_study_is_named_after_it() {
    assert_eq!(default_folder("technical"), Path::new("runs/technical"));
}
