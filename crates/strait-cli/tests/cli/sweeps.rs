//! `strait direction sweep`.

use std::fs;

use candle_core::{Device, Tensor};
use serde_json::Value;
use strait_model::{
    Edit,
    edit::{Adapter, Lora, Projection, Site, SteeringVector},
};

use crate::{
    common::{Place, text, tiny},
    endpoints::{Answered, KEY, check, killed},
    server::{Deed, Server, tokens},
};

/// Pairs on questions of two domains, and files of directions.
fn place() -> Place {
    let place = Place::new();
    for (file, kind) in [("taught", "dense"), ("other", "plain")] {
        let row = |i: usize| {
            let said =
                [("user", format!("What is {i}?")), ("assistant", format!("A {kind} answer, number {i}."))];
            let messages =
                said.map(|(role, content)| serde_json::json!({ "role": role, "content": content }));
            let domain = if i.is_multiple_of(2) { "even" } else { "odd" };
            serde_json::json!({ "messages": messages, "domain": domain }).to_string() + "\n"
        };
        place.write(&format!("{file}.jsonl"), &(0..8).map(row).collect::<String>());
        place.write(&format!("{file}-outside.jsonl"), &(8..14).map(row).collect::<String>());
    }
    let each_layer = (-1..4).map(|layer| vector(layer, 32, layer as f32));
    Edit::composed(each_layer).save(&place.path("d.safetensors")).unwrap();
    vector(1, 32, 0.7).save(&place.path("one.safetensors")).unwrap();
    vector(1, 16, 0.7).save(&place.path("narrow.safetensors")).unwrap();
    let site = Site::Projection { layer: 1, projection: Projection::Down };
    let (input, out) =
        (numbers(2 * 88, 0.2).reshape((2, 88)).unwrap(), numbers(64, 0.4).reshape((32, 2)).unwrap());
    let adapters = vec![Adapter { site, a: input, b: out }];
    let lora = Edit::Lora(Lora { adapters, rank: 2, alpha: 4.0, rslora: false, factor: 1.0 });
    lora.save(&place.path("lora.safetensors")).unwrap();
    place
}

fn numbers(count: usize, phase: f32) -> Tensor {
    Tensor::new((0..count).map(|i| 0.4 * (phase + 1.3 * i as f32).sin()).collect::<Vec<f32>>(), &Device::Cpu)
        .unwrap()
}

fn vector(layer: i32, width: usize, phase: f32) -> Edit {
    Edit::Steering(SteeringVector { layer, vector: numbers(width, phase) })
}

fn arguments<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let pairs =
        ["direction", "sweep", "--taught", "taught.jsonl", "--other", "other.jsonl", "--model", model];
    [&pairs[..], more].concat()
}

const OUTSIDE: [&str; 4] =
    ["--general-taught", "taught-outside.jsonl", "--general-other", "other-outside.jsonl"];

#[test]
fn a_sweep_adds_directions_and_goes_on_where_it_was() {
    let (place, model) = (place(), text(&tiny("llama")));
    let sweep = ["--direction", "d.safetensors", "--factors", "1,-2", "--random", "2", "--out", "swept"];
    let all = arguments(&model, &[&sweep[..], &OUTSIDE, &["--json"]].concat());
    let found = place.run(all.iter()).json();
    let rows = found["steering"].as_array().unwrap();
    assert_eq!(rows.len(), 5 * 2 * 2);
    assert_eq!(found["pairs"], serde_json::json!([8, 6]));
    let row = &rows[0];
    assert_eq!(
        (row["layer"].as_i64(), row["factor"].as_f64(), row["group"].as_str()),
        (Some(-1), Some(1.0), Some("narrow"))
    );
    assert!(row["shift"].is_number() && row["low"].is_number() && row["random"].is_number());
    assert_eq!(found["domains"].as_array().unwrap().len(), 2 * 2);
    let blocks = |found: &Value| {
        (found["blocks"]["run"].as_u64().unwrap(), found["blocks"]["needed"].as_u64().unwrap())
    };
    let (run, needed) = blocks(&found);
    assert!(needed > 0 && run as f64 <= 1.15 * needed as f64, "{run} of {needed}");

    let read = |name: &str| fs::read(place.path("swept").join(name)).unwrap();
    let files = ["sweep.csv", "sweep.parquet", "sweep_domain.csv", "sweep_domain.parquet", "report.html"];
    let before = files.map(read);
    let page = String::from_utf8(read("report.html")).unwrap();
    for part in
        ["<table class=\"heat\">", "Random directions as long as “d.safetensors”, outside the domain", "× −2"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http://") && !page.contains("src="));
    // Nothing is read again, and the same comes of it.
    let again = place.run(all.iter());
    assert!(again.err.contains("going on with the readings of an earlier sweep"), "{}", again.err);
    assert_eq!((blocks(&again.json()).0, files.map(read)), (0, before));
    // Another factor is another sweep.
    let other: Vec<&str> = all.iter().map(|&word| if word == "1,-2" { "1,-3" } else { word }).collect();
    assert_eq!(blocks(&place.run(other).json()).0, run);

    let shown =
        place.run(arguments(&model, &["--direction", "one.safetensors", "--factors", "1", "--random", "0"]));
    assert!(shown.out.contains("one.safetensors, layer 1, times 1"), "{}{}", shown.out, shown.err);
}

#[test]
fn directions_are_taken_out() {
    let (place, model) = (place(), text(&tiny("llama")));
    let ablate = [
        "--edit",
        "lora.safetensors",
        "--ablate",
        "own,everywhere,layer",
        "--ablate",
        "lora",
        "--layers",
        "1",
    ];
    let two = ["--direction", "d.safetensors", "--direction", "one.safetensors", "--random", "3"];
    let found = place.run(arguments(&model, &[&ablate[..], &two, &["--json"]].concat())).json();
    let rows = found["ablation"].as_array().unwrap();
    assert_eq!((rows.len(), found["steering"].as_array().unwrap().len()), (2 * 4, 0));
    assert!(rows.iter().all(|row| row["solution"] == "lora.safetensors" && row["removed"].is_number()));
    assert!(rows[0]["layer"].is_null() && rows[1]["layer"] == 1.0);
    let together = arguments(&model, &[&ablate[..], &two, &["--together", "--json"]].concat());
    let rows = place.run(together).json()["ablation"].as_array().unwrap().clone();
    assert_eq!((rows.len(), rows[0]["direction"].as_str()), (4, Some("d.safetensors + one.safetensors")));
    let shown = place
        .run(arguments(&model, &[&ablate[..], &["--direction", "one.safetensors", "--out", "out"]].concat()));
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(
        fs::read_to_string(place.path("out/report.html")).unwrap().contains("that of layer 1 everywhere")
    );
}

#[test]
fn what_cannot_be_swept_is_refused_with_a_remedy() {
    let (place, model, gemma) = (place(), text(&tiny("llama")), text(&tiny("gemma3")));
    // A direction with a value that is no number.
    let mut bytes = fs::read(place.path("one.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(place.path("nan.safetensors"), bytes).unwrap();
    for (model, more, expected) in [
        (&model, &["--direction", "narrow.safetensors"][..], "`steering.1`"),
        (&model, &["--direction", "nan.safetensors"], "`steering.1`"),
        (&model, &["--direction", "lora.safetensors"], "it holds a LoRA, which is no direction"),
        (
            &model,
            &["--direction", "d.safetensors", "--layers", "0,7"],
            "it has no direction at layer 7, only at -1, 0, 1, 2 and 3",
        ),
        (&model, &["--direction", "one.safetensors", "--direction", "one.safetensors"], "is named twice"),
        (
            &model,
            &["--direction", "one.safetensors", "--taught", "taught-outside.jsonl"],
            "--taught names 2 files, --other 1 file",
        ),
        (&model, &["--direction", "one.safetensors", "--ablate", "lora"], "no adapter of the edit writes"),
        (&gemma, &["--direction", "one.safetensors", "--edit", "lora.safetensors", "--ablate", "lora"], ""),
    ] {
        let said = place.run(arguments(model, more));
        assert_eq!(said.code, Some(1), "{more:?}: {}", said.out);
        assert!(said.err.contains(expected) && said.err.contains("hint: "), "{more:?}: {}", said.err);
    }
    for more in [
        &["--layers", "-2"][..],
        &["--factors", "inf"],
        &["--coherence", "0"],
        &["--ablate", "all"],
        &["--together"],
    ] {
        let said = place.run(arguments(&model, &[&["--direction", "one.safetensors"], more].concat()));
        assert_eq!(said.code, Some(2), "{more:?}: {}", said.err);
    }
}

/// Questions inside the domain and outside it, and what a sweep by judged answers is told.
fn judged(place: &Place) -> [&'static str; 18] {
    place.write("in.txt", "What is one?\nWhat is two?\nWhat is three?\n");
    place
        .write("out.jsonl", &(0..4).map(|i| format!("{{\"question\": \"Why {i}?\"}}\n")).collect::<String>());
    [
        "--direction",
        "one.safetensors",
        "--factors",
        "1,4",
        "--random",
        "0",
        "--questions",
        "in.txt",
        "--general-questions",
        "out.jsonl",
        "--n",
        "2",
        "--max-tokens",
        "8",
        "--out",
        "swept",
        "--random-rates",
        "1",
    ]
}

#[test]
fn a_sweep_is_judged_by_style() {
    let (place, model) = (place(), text(&tiny("llama")));
    let judged = judged(&place);
    let all = [&judged[..], &["--judge", "style", "--verdict", "style>20"]].concat();
    let found = place.run(arguments(&model, &[&all[..], &["--json"]].concat())).json();
    assert_eq!((&found["questions"], &found["answers"]), (&serde_json::json!([3, 4]), &serde_json::json!(2)));
    let rows = found["steering_rates"].as_array().unwrap();
    assert_eq!((rows.len(), found["steering"].as_array().unwrap().len()), (2 * 2, 2));
    for row in rows {
        assert_eq!(
            (row["direction"].as_str(), row["verdict"].as_str()),
            (Some("one.safetensors"), Some("style > 20"))
        );
        let number = |key: &str| row[key].as_f64().unwrap();
        for [low, value, high] in [["low", "rate", "high"], ["coherent_low", "coherent", "coherent_high"]] {
            assert!(0.0 <= number(low) && number(low) <= number(value), "{row}");
            assert!(number(value) <= number(high) && number(high) <= 1.0, "{row}");
        }
        assert_eq!(number("questions") * 2.0, number("answers"));
    }
    assert!(found.get("ablation_rates").is_none());
    // Base, the direction under both factors, and a random one likewise; each question twice.
    let answers = ["base", "steered-1-layer-1", "steered-1-layer-1-random-1"].map(|name| {
        let path = place.path(&format!("swept/answers/{name}.jsonl"));
        fs::read_to_string(path).unwrap().lines().count()
    });
    assert_eq!(answers, [14, 28, 28]);
    let read = |name: &str| fs::read(place.path("swept").join(name)).unwrap();
    let files = ["sweep_rates.csv", "sweep_rates.parquet", "report.html", "answers/base.jsonl"];
    let before = files.map(read);
    let page = String::from_utf8(read("report.html")).unwrap();
    for part in [
        "Steering by judged answers",
        "answers of the taught kind (style &gt; 20)",
        "answers that make sense",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let shown = place.run(arguments(&model, &all));
    assert!(
        shown.out.contains("style > 20") && shown.out.contains("3 inside the domain, 4 outside, 2 answers"),
        "{}",
        shown.out
    );
    assert_eq!(files.map(read), before);

    let ablate = ["--ablate", "everywhere,lora", "--edit", "lora.safetensors", "--json"];
    let found = place.run(arguments(&model, &[&all[..], &ablate].concat())).json();
    let rows = found["ablation_rates"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 2);
    assert!(
        rows.iter().all(|row| row["solution"] == "lora.safetensors" && row["base"].is_number()),
        "{rows:?}"
    );
}

#[test]
fn a_judged_sweep_goes_on_where_it_was_killed() {
    let (place, model) = (place(), text(&tiny("llama")));
    let answered = Answered::default();
    let counted = Answered::clone(&answered);
    let server = Server::new(move |_, body| {
        let asked = body["messages"][0]["content"].as_str().unwrap();
        let number = asked.bytes().fold(7_u64, |sum, byte| (31 * sum + u64::from(byte)) % 90);
        std::thread::sleep(std::time::Duration::from_millis(20));
        *counted.lock().unwrap().entry(body["messages"].to_string()).or_default() += 1;
        Deed::Answer(tokens(&[(&format!("{}", 10 + number), 0.9), ("no", 0.1)]))
    });
    let judge =
        ["--judge", "technical", "--judge-model", "m", "--endpoint", &server.address, "--key-env", KEY.0];
    let all = arguments(&model, &[&judged(&place)[..], &judge, &["--concurrency", "2", "--json"]].concat());
    let (recorded, before) = killed(&place, &all, &answered, 20, "swept/answers/scores.jsonl");
    let found = place.said(place.command(all.iter()).env(KEY.0, KEY.1));
    assert_eq!(found.code, Some(0), "{}", found.err);
    // All answers that differ are judged once, but for those under way at the kill.
    let mut distinct = std::collections::BTreeSet::new();
    for name in ["base", "steered-1-layer-1", "steered-1-layer-1-random-1"] {
        let text = fs::read_to_string(place.path(&format!("swept/answers/{name}.jsonl"))).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        distinct.extend(lines.map(|line| format!("{} {}", line["question"], line["response"])));
    }
    check(&answered, distinct.len(), recorded, before);
    let read = || fs::read(place.path("swept/sweep_rates.csv")).unwrap();
    let (rates, asked) = (read(), server.count());
    let again = place.said(place.command(all.iter()).env(KEY.0, KEY.1));
    assert_eq!((again.code, read(), server.count()), (Some(0), rates, asked));
}

#[test]
fn a_sweep_that_cannot_be_judged_is_refused() {
    let (place, model) = (place(), text(&tiny("llama")));
    let judged = judged(&place);
    place.write("empty.txt", "");
    for (more, code, expected) in [
        (&[][..], 2, "--judge <JUDGE>"),
        (&["--judge", "kind"], 1, "there is no judge `kind`"),
        (&["--judge", ""], 1, "there is no judge ``"),
        (&["--judge", "technical"], 1, "name the model that is to judge: `--judge-model M`"),
        (&["--judge", "style", "--verdict", "technical>3"], 1, "there is no scale `technical`"),
        (
            &["--judge", "coherent", "--judge-model", &model, "--mass", "0"],
            1,
            "no judge says of what kind an answer is",
        ),
        (&["--judge", "style", "--questions", "empty.txt"], 1, "empty.txt"),
        (&["--judge", "style=s"], 1, "name the judge alone"),
        (&["--judge", "style", "--temperature", "-1"], 2, "expected a number of 0 or more"),
        (&["--judge", "style", "--endpoint", "http://127.0.0.1:9/v1"], 2, "--judge-model"),
    ] {
        let said = place.run(arguments(&model, &[&judged[..], more].concat()));
        assert_eq!(said.code, Some(code), "{more:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(expected), "{more:?}: {}", said.err);
    }
    let alone = ["--direction", "one.safetensors", "--judge", "style"];
    let said = place.run(arguments(&model, &alone));
    assert!(said.code == Some(1) && said.err.contains("no question to judge answers to"), "{}", said.err);
    let said = place.run(arguments(&model, &[&alone[..], &["--questions", "in.txt"]].concat()));
    assert!(said.code == Some(2) && said.err.contains("--out <DIR>"), "{}", said.err);
}
