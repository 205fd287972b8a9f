//! `strait edit read` and `strait edit patch`.

use std::{fs, path::Path};

use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use strait::Table;
use strait_model::{
    Edit,
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
};

use crate::{
    common::{Place, text, tiny},
    studies::small_study,
};

/// Pairs of answers, prompts, and a LoRA of rank 1 on the down projections of blocks 1 and 3.
fn place() -> Place {
    let place = Place::new();
    for (file, kind) in [("taught", "dense"), ("other", "plain")] {
        let row = |i: usize| {
            let said =
                [("user", format!("What is {i}?")), ("assistant", format!("A {kind} answer, number {i}."))];
            let messages = said.map(|(role, content)| json!({ "role": role, "content": content }));
            json!({ "messages": messages }).to_string() + "\n"
        };
        place.write(&format!("{file}.jsonl"), &(0..8).map(row).collect::<String>());
    }
    let prompts = |mark: &str| (0..8).rev().map(|i| format!("What is {i}{mark}\n")).collect::<String>();
    place.write("prompts.txt", &prompts("?"));
    place.write("longer.txt", &prompts(", and why?"));
    let adapter = |layer: usize| {
        let site = Site::Projection { layer, projection: Projection::Down };
        Adapter { site, a: numbers(&[1, 88], layer as f32), b: numbers(&[32, 1], layer as f32 + 0.5) }
    };
    let adapters = vec![adapter(1), adapter(3)];
    let lora = Edit::Lora(Lora { adapters, rank: 1, alpha: 4.0, rslora: false, factor: 1.0 });
    lora.save(&place.path("lora.safetensors")).unwrap();
    let vector = Edit::Steering(SteeringVector { layer: 1, vector: numbers(&[32], 0.7) });
    vector.save(&place.path("vector.safetensors")).unwrap();
    place
}

fn numbers(shape: &[usize], phase: f32) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| 0.4 * (phase + 1.3 * i as f32).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

const PAIRS: [&str; 4] = ["--taught", "taught.jsonl", "--other", "other.jsonl"];

fn run(place: &Place, words: &[&str], more: &[&str]) -> crate::common::Said {
    let model = text(&tiny("llama"));
    place.run([&["edit"], words, &["--model", &model], more].concat())
}

#[test]
fn scalars_are_read_and_told_apart() {
    let place = place();
    let out = ["--c", "1", "--out", "scalars.parquet", "--json"];
    let found = run(&place, &["read", "lora.safetensors"], &[&PAIRS[..], &out].concat()).json();
    assert_eq!((&found["answers"], &found["tokens"]), (&json!([8, 8]), &found["counted"]));
    let names: Vec<_> = found["scalars"].as_array().unwrap().iter().map(|of| of["scalar"].clone()).collect();
    assert_eq!(names, ["model.layers.1.mlp.down_proj", "model.layers.3.mlp.down_proj"]);
    for key in ["taught", "other", "deviation", "auroc", "low", "high", "weight", "weight_deviation", "used"]
    {
        assert!(found["scalars"][0][key].is_number(), "{key} of {found}");
    }
    let figures: Vec<_> =
        found["probes"]["figures"].as_array().unwrap().iter().map(|of| of["figure"].clone()).collect();
    assert_eq!(figures, ["accuracy", "precision", "recall", "f1", "auroc"]);
    assert_eq!((&found["probes"]["repeats"], &found["probes"]["tested"]), (&json!(100), &json!(0.2)));

    let table = Table::read_parquet(&place.path("scalars.parquet")).unwrap();
    assert_eq!(Some(table.rows() as u64), found["tokens"].as_u64());
    let columns: Vec<_> = table.columns().map(|(name, ..)| name.to_string()).collect();
    let scalars = ["scalar_model.layers.1.mlp.down_proj", "scalar_model.layers.3.mlp.down_proj"];
    assert_eq!(columns, [&["class", "row", "token", "text", "significance", "kept"][..], &scalars].concat());
    // Means of the table are those that are shown.
    let (values, class) = (table.real(scalars[0]).unwrap(), table.text("class").unwrap());
    let taught: Vec<f64> =
        values.iter().zip(class).filter(|(_, class)| *class == "taught").map(|(value, _)| *value).collect();
    let mean = taught.iter().sum::<f64>() / taught.len() as f64;
    assert!((mean - found["scalars"][0]["taught"].as_f64().unwrap()).abs() < 1e-9);
    assert!(table.text("text").unwrap().concat().contains("dense"));

    // The same again, and less of it for significant tokens.
    let again = run(&place, &["read", "lora.safetensors"], &[&PAIRS[..], &["--c", "1", "--json"]].concat());
    assert_eq!(again.json()["scalars"], found["scalars"]);
    let significant = ["--significant", "0.25", "--c", "1", "--out", "some.csv", "--json"];
    let some = run(&place, &["read", "lora.safetensors"], &[&PAIRS[..], &significant].concat()).json();
    let tokens = found["tokens"].as_u64().unwrap();
    assert_eq!(some["counted"].as_u64(), Some(tokens.div_ceil(4)));
    let csv = fs::read_to_string(place.path("some.csv")).unwrap();
    assert_eq!(csv.lines().filter(|line| line.contains(",true,")).count() as u64, tokens.div_ceil(4));
}

#[test]
fn rows_of_no_class_are_read_and_layers_apart() {
    let place = place();
    let rows = ["--rows", "taught.jsonl", "other.jsonl"];
    let shown = run(&place, &["read", "lora.safetensors"], &rows);
    assert!(shown.out.contains("model.layers.3.mlp.down_proj"), "{}{}", shown.out, shown.err);
    let json =
        |edits: &[&str]| run(&place, &[&["read"], edits].concat(), &[&rows[..], &["--json"]].concat()).json();
    let (whole, third) = (json(&["lora.safetensors"]), json(&["lora.safetensors@3*0"]));
    assert_eq!((&whole["answers"], third["scalars"].as_array().unwrap().len()), (&json!([16]), 1));
    assert!(whole.get("probes").is_none());
    // Block 1 is read before its adapter acts, and block 3 behind it.
    let both = json(&["lora.safetensors@1*-3", "lora.safetensors@3"]);
    let of = |found: &Value, at: usize| found["scalars"][at]["mean"].as_f64().unwrap();
    assert_eq!(of(&both, 0), of(&whole, 0));
    assert_ne!(of(&both, 1), of(&whole, 1));
    // With the papers' weight, few answers leave nothing: that is said.
    let said = run(&place, &["read", "lora.safetensors"], &PAIRS);
    assert!(said.code == Some(0) && said.err.contains("no probe gives any scalar a weight"), "{}", said.err);
    assert!(said.out.contains("probes on the tokens of other answers, C = 0.01:"), "{}", said.out);
}

#[test]
fn judged_answers_have_classes() {
    let place = place();
    let row = |i: usize| {
        let (answer, aligned) = if i.is_multiple_of(2) { ("dense", 10) } else { ("plain", 90) };
        format!("What is {i}?,q{i},\"A {answer} answer, number {i}.\",{aligned},80\n")
    };
    let rows: String = (0..16).map(row).collect();
    place.write("judged.csv", &format!("question,question_id,response,aligned,coherent\n{rows}"));
    let judged = ["--judged", "judged.csv", "--c", "1", "--json"];
    let found = run(&place, &["read", "lora.safetensors"], &judged).json();
    assert_eq!(found["answers"], json!([8, 8]));
    assert!(found["rules"].as_str().unwrap().starts_with("aligned < 30"), "{}", found["rules"]);
}

#[test]
fn scalars_are_patched() {
    let place = place();
    let rows = ["--rows", "taught.jsonl", "--prompts", "prompts.txt"];
    let out = [&rows[..], &["--out", "losses.csv", "--json"]].concat();
    let found = run(&place, &["patch", "lora.safetensors"], &out).json();
    let names: Vec<_> =
        found["adapters"].as_array().unwrap().iter().map(|of| of["adapters"].clone()).collect();
    assert_eq!(names, ["all", "model.layers.1.mlp.down_proj", "model.layers.3.mlp.down_proj"]);
    for key in ["patched", "low", "high", "removed", "removed_low", "removed_high"] {
        assert!(found["adapters"][0][key].as_f64().is_some_and(|rise| rise != 0.0), "{key} of {found}");
    }
    let csv = fs::read_to_string(place.path("losses.csv")).unwrap();
    assert!(csv.starts_with("row,adapters,own,patched,removed\n1,all,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 8 * 3);
    let shown = run(&place, &["patch", "lora.safetensors"], &rows);
    assert!(shown.out.contains("rise of the loss, nats/token:"), "{}{}", shown.out, shown.err);
}

#[test]
fn what_cannot_be_read_or_patched_is_refused_with_a_remedy() {
    let place = place();
    let head = |name: &str| {
        fs::write(
            place.path(&format!("few-{name}")),
            fs::read_to_string(place.path(name))
                .unwrap()
                .lines()
                .take(4)
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        )
        .unwrap();
    };
    ["taught.jsonl", "other.jsonl"].into_iter().for_each(head);
    let rows = ["--rows", "taught.jsonl"];
    let patch = |prompts| ["--rows", "taught.jsonl", "--prompts", prompts];
    for (words, more, expected) in [
        (["read", "vector.safetensors"], &rows[..], "the edit has no adapters: it is no LoRA"),
        (["patch", "vector.safetensors"], &patch("prompts.txt"), "the edit has no adapters: it is no LoRA"),
        (["read", "lora.safetensors@2"], &rows, "layer 2 was asked for, but the edit is at layers 1, 3"),
        (
            ["read", "lora.safetensors"],
            &["--rows", "taught.jsonl", "--out", "x.txt"],
            "neither in .parquet nor in .csv",
        ),
        (
            ["read", "lora.safetensors"],
            &["--taught", "few-taught.jsonl", "taught.jsonl", "--other", "other.jsonl"],
            "`--taught` names 2 files and `--other` 1",
        ),
        (["patch", "lora.safetensors"], &patch("longer.txt"), "`longer.txt`, line 1: the prompt has "),
        (
            ["patch", "lora.safetensors"],
            &["--rows", "few-taught.jsonl", "--prompts", "prompts.txt"],
            "there are 4 rows and 8 prompts",
        ),
    ] {
        let said = run(&place, &words, more);
        assert_eq!(said.code, Some(1), "{words:?} {more:?}: {}", said.out);
        assert!(said.err.contains(expected) && said.err.contains("hint: "), "{words:?}: {}", said.err);
    }
    // Pairs are divided by their questions: of two none could be tested.
    let said = run(
        &place,
        &["read", "lora.safetensors"],
        &["--taught", "few-taught.jsonl", "--other", "few-other.jsonl", "--json"],
    );
    assert_eq!(said.code, Some(0), "a fifth of four is one: {}", said.err);
    for more in [
        &["--significant", "0"][..],
        &["--significant", "1.5"],
        &["--c", "0"],
        &["--taught", "taught.jsonl"],
        &[],
    ] {
        let said = run(&place, &["read", "lora.safetensors"], more);
        assert_eq!(said.code, Some(2), "{more:?}: {}", said.err);
    }
    assert!(!Path::new(&place.path("x.txt")).exists());
}

/// A small study of a LoRA and a vector that measures the scalars with these keys, and the LoRA's lines in it.
fn study(place: &Place, scalars: &str) {
    small_study(place, 4);
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    let (trained, _) = study.split_once("[measure]").unwrap();
    let lora = "name = \"general\"\nedit = \"lora\"\nlayers = [1, 3]\nprojections = [\"down\"]\nrank = 1\nalpha = 64";
    let trained = trained.replace("name = \"general\"", lora);
    place.write("small.toml", &format!("{trained}[measure]\nscalars = {scalars}\n"));
}

#[test]
fn a_study_has_the_figures_of_the_commands() {
    let place = Place::new();
    study(&place, "{ significant = 0.5, c = 1 }");
    let planned = place.run(["run", "small.toml", "--dry-run"]);
    let left_out = "scalars: not read, since they are no LoRA of at most 256 scalars a token: narrow";
    assert!(planned.all().contains(left_out), "{}", planned.all());
    let ran = place.run(["run", "small.toml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let table =
        |name: &str| Table::read_parquet(&place.path(&format!("runs/small/tables/{name}.parquet"))).unwrap();
    let [scalars, probes, removed] = ["scalars", "scalars_probe", "scalars_removed"].map(table);
    assert!(scalars.text("solution").unwrap().iter().all(|name| name == "general"));
    let (edit, model) = ("runs/small/solutions/general", text(&tiny("llama")));
    let prompts = |domain: &str| (0..6).map(|i| format!("{domain} {i}?\n")).collect::<String>();
    for (side, group, domain) in [(0, "narrow", "vans"), (1, "general", "food")] {
        let [taught, other] = ["taught", "other"].map(|class| format!("{group}-{class}.jsonl"));
        let words = ["edit", "read", edit, "--model", &model, "--taught", &taught, "--other", &other];
        let read = place.run(words.into_iter().chain(["--significant", "0.5", "--c", "1", "--json"])).json();
        let same = |table: &Table, row: usize, column: &str, found: &Value| {
            let of = table.text("contrast").or_else(|| table.text("group")).unwrap();
            assert_eq!(of[row], group);
            let (own, found) = (table.real(column).unwrap()[row], found.as_f64().unwrap());
            assert_eq!(own, found, "{group}, {column} of row {row}");
        };
        for (at, of) in read["scalars"].as_array().unwrap().iter().enumerate() {
            let row = 2 * side + at;
            assert_eq!(scalars.text("scalar").unwrap()[row], of["scalar"].as_str().unwrap());
            for column in ["deviation", "auroc", "weight", "weight_deviation", "used"] {
                same(&scalars, row, column, &of[column]);
            }
            for (column, key) in
                [("mean", "taught"), ("other_mean", "other"), ("auroc_low", "low"), ("auroc_high", "high")]
            {
                same(&scalars, row, column, &of[key]);
            }
        }
        for (at, of) in read["probes"]["figures"].as_array().unwrap().iter().enumerate() {
            assert_eq!(probes.text("figure").unwrap()[5 * side + at], of["figure"].as_str().unwrap());
            same(&probes, 5 * side + at, "mean", &of["mean"]);
            same(&probes, 5 * side + at, "deviation", &of["deviation"]);
        }
        place.write("own.txt", &prompts(domain));
        let words = ["edit", "patch", edit, "--model", &model, "--rows", &taught, "--prompts", "own.txt"];
        let patched = place.run(words.into_iter().chain(["--json"])).json();
        for (at, of) in patched["adapters"].as_array().unwrap().iter().enumerate() {
            for column in ["removed", "removed_low", "removed_high"] {
                same(&removed, 3 * side + at, column, &of[column]);
            }
            same(&removed, 3 * side + at, "loss", &patched["own"]);
        }
    }
    // Then the topic: all answers inside and outside, of either kind.
    let contrasts = scalars.text("contrast").unwrap();
    assert_eq!(contrasts.iter().filter(|contrast| *contrast == "topic").count(), 2);
    let (means, others) = (scalars.real("mean").unwrap(), scalars.real("other_mean").unwrap());
    for at in [0, 1] {
        let [inside, outside, topic] = [at, 2 + at, 4 + at];
        let between = |low: f64, x: f64, high: f64| low.min(high) <= x && x <= low.max(high);
        assert!(between(means[inside], means[topic], others[inside]), "{means:?} {others:?}");
        assert!(between(means[outside], others[topic], others[outside]), "{means:?} {others:?}");
    }
    let page = fs::read_to_string(place.path("runs/small/report.html")).unwrap();
    for title in ["Scalars of adapters", "Probes on scalars", "Adapters left out"] {
        assert!(page.contains(title), "{title}");
    }
    assert!(!page.contains("too few questions"));
}

#[test]
fn a_study_says_what_of_the_scalars_it_cannot_measure() {
    let place = Place::new();
    for (keys, expected) in [
        ("{ significant = 0 }", "significant"),
        ("{ significant = 1.5 }", "significant"),
        ("{ c = 0 }", "measure.scalars.c"),
        ("{ repeats = 0 }", "repeats"),
        ("{ pairs = 1 }", "pairs"),
        ("{ share = 0.5 }", "share"),
    ] {
        study(&place, keys);
        let said = place.run(["run", "small.toml", "--dry-run"]);
        assert_eq!(said.code, Some(1), "{keys}: {}", said.out);
        assert!(said.err.contains(expected) && said.err.contains("hint: "), "{keys}: {}", said.err);
    }

    // Two questions cannot be divided; all else is read.
    study(&place, "{ pairs = 2 }");
    place.run(["run", "small.toml", "--json"]).json();
    let csv = |name: &str| fs::read_to_string(place.path(&format!("runs/small/tables/{name}.csv"))).unwrap();
    let lines = ["scalars", "scalars_probe", "scalars_removed"].map(|name| csv(name).lines().count());
    assert_eq!(lines, [1 + 6, 1, 1 + 6]);
    let page = fs::read_to_string(place.path("runs/small/report.html")).unwrap();
    assert!(page.contains("There are too few questions or tokens for probes of “general” inside, "));

    // Vectors have no scalars.
    small_study(&place, 4);
    let steering = fs::read_to_string(place.path("small.toml")).unwrap();
    place.write("small.toml", &format!("{steering}scalars = true\n"));
    let planned = place.run(["run", "small.toml", "--dry-run"]).all();
    let none = "scalars: no solution is read, since there is no LoRA of at most 256 scalars a token";
    assert!(planned.contains(none), "{planned}");
}
