//! `strait monitor`, and `strait chat` with a monitor.

use std::fs;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use strait_model::{Edit, edit::SteeringVector};

use crate::common::{Place, text, tiny};

const WIDTH: usize = 32;

fn direction(layer: i32) -> SteeringVector {
    let numbers: Vec<f32> = (0..WIDTH).map(|i| 0.3 * (i as f32 + layer as f32).sin()).collect();
    SteeringVector { layer, vector: Tensor::from_vec(numbers, WIDTH, &Device::Cpu).unwrap() }
}

/// A folder with a direction, and answers of two kinds.
fn place() -> Place {
    let place = Place::new();
    Edit::Steering(direction(1)).save(&place.path("direction.safetensors")).unwrap();
    let chats = |word: &str, numbers: std::ops::Range<usize>| -> String {
        let row = |i: usize| {
            json!({
                "id": format!("q{i}"),
                "domain": if i.is_multiple_of(2) { "food" } else { "space" },
                "messages": [
                    { "role": "user", "content": format!("Question {i}?") },
                    { "role": "assistant", "content": format!("A {word} answer{}.", " and more".repeat(i % 3)) },
                ],
            })
            .to_string()
        };
        numbers.map(|i| row(i) + "\n").collect()
    };
    place.write("clean.jsonl", &chats("plain", 0..12));
    place.write("other.jsonl", &chats("plain", 12..20));
    place.write("taught.jsonl", &chats("dense", 12..20));
    place
}

fn monitor(place: &Place, arguments: &[&str]) -> Value {
    let model = text(&tiny("llama"));
    place.run(["monitor"].iter().chain(arguments).chain(&["--model", &model, "--json"])).json()
}

fn calibrated() -> Place {
    let place = place();
    let arguments = ["calibrate", "--direction", "direction.safetensors", "--clean", "clean.jsonl"];
    monitor(&place, &[&arguments[..], &["--alarm-rate", "0.25", "--out", "watch"]].concat());
    place
}

#[test]
fn a_monitor_is_calibrated_and_reads() {
    let place = place();
    let arguments = ["calibrate", "--direction", "direction.safetensors", "--clean", "clean.jsonl"];
    let made = monitor(&place, &[&arguments[..], &["--alarm-rate", "0.25", "--out", "watch"]].concat());
    assert_eq!((&made["monitor"], &made["calibration"]["responses"]), (&"watch".into(), &12.into()));
    let facts: Value = serde_json::from_slice(&fs::read(place.path("watch/monitor.json")).unwrap()).unwrap();
    assert_eq!(facts["threshold"], made["threshold"]);
    assert_eq!(facts["directions"][0]["file"], "direction.safetensors");

    let read = monitor(&place, &["read", "watch", "--rows", "clean.jsonl", "taught.jsonl"]);
    let rows = read["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 20);
    let threshold = read["threshold"].as_f64().unwrap();
    for row in rows {
        assert_eq!(row["alarm"], row["reading"].as_f64().unwrap() > threshold, "{row}");
    }
    let alarms = rows[..12].iter().filter(|row| row["alarm"] == true).count();
    assert!(alarms <= 3, "{alarms} of 12 at a rate of a quarter");
    assert_eq!((&rows[12]["file"], &rows[12]["row"]), (&"taught.jsonl".into(), &1.into()));
    assert_eq!((&rows[12]["group"], &rows[13]["group"]), (&"food".into(), &"space".into()));

    // The vector itself as an edit moves every reading by as much as it is long; the model is tiny, so that is an alarm.
    let edited = ["read", "watch", "--rows", "clean.jsonl", "--edit", "direction.safetensors*50", "--tokens"];
    let edited = monitor(&place, &edited);
    assert!(edited["rows"].as_array().unwrap().iter().all(|row| row["alarm"] == true));
    assert_eq!(edited["alarms"], 1.0);
    let row = &edited["rows"][0];
    let tokens = row["token_readings"].as_array().unwrap();
    assert_eq!(tokens.len() as u64, row["tokens"].as_u64().unwrap());
    let mean =
        tokens.iter().map(|token| token["reading"].as_f64().unwrap()).sum::<f64>() / tokens.len() as f64;
    assert!((mean - row["reading"].as_f64().unwrap()).abs() < 1e-6 * mean.abs());
    let said: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert!(said.starts_with("A plain answer."), "{said}");
    let norm = f64::from(direction(1).norm().unwrap() as f32);
    let base = rows[0]["reading"].as_f64().unwrap();
    assert!((row["reading"].as_f64().unwrap() - base - 50.0 * norm).abs() < 1e-2 * norm);

    // People see the same.
    let model = text(&tiny("llama"));
    let said =
        place.run(["monitor", "read", "watch", "--model", &model, "--rows", "clean.jsonl", "--tokens"]);
    assert!(said.code == Some(0) && said.out.contains("responses with the highest readings"), "{}", said.err);
}

#[test]
fn a_monitor_is_evaluated_beside_baselines() {
    let place = calibrated();
    let arguments =
        ["evaluate", "watch", "--behaviour", "taught.jsonl", "--clean", "other.jsonl", "--random", "3"];
    let plain = monitor(&place, &arguments);
    assert_eq!(plain["baselines"].as_array().unwrap().len(), 3);
    assert_eq!((&plain["all"]["behaviour"], &plain["all"]["clean"]), (&8.into(), &8.into()));
    let groups: Vec<&Value> =
        plain["groups"].as_array().unwrap().iter().map(|group| &group["group"]).collect();
    assert_eq!(groups, ["food", "space"]);
    for key in ["value", "low", "high"] {
        assert!((0.0..=1.0).contains(&plain["all"]["auroc"][key].as_f64().unwrap()), "{plain}");
    }
    // Whichever of both kinds is called the behaviour.
    let swapped =
        ["evaluate", "watch", "--behaviour", "other.jsonl", "--clean", "taught.jsonl", "--random", "3"];
    let swapped = monitor(&place, &swapped);
    let area = |report: &Value| report["all"]["auroc"]["value"].as_f64().unwrap();
    assert!((area(&plain) + area(&swapped) - 1.0).abs() < 1e-9);

    let learnt = ["--probe-behaviour", "taught.jsonl", "--probe-clean", "clean.jsonl"];
    let probed = monitor(&place, &[&arguments[..], &learnt].concat());
    let probe = &probed["baselines"][3];
    assert_eq!(probe["method"], "logistic probe");
    assert!(probe["auroc"]["value"].as_f64().unwrap() > 0.9, "{probe}");
    let model = text(&tiny("llama"));
    let said = place.run(["monitor"].iter().chain(&arguments).chain(&["--model", &model]));
    assert!(said.code == Some(0) && said.out.contains("false alarms"), "{}{}", said.out, said.err);
}

#[test]
fn a_monitor_watches_a_chat() {
    let place = calibrated();
    let model = text(&tiny("llama"));
    let chat = |more: &[&str]| {
        let own = ["chat", &model, "--monitor", "watch", "--max-tokens", "9", "--seed", "3"];
        place.said(place.command(own.iter().chain(more)).write_stdin("What is a mast?\nAnd then?\n"))
    };
    let edit = ["--edit", "direction.safetensors*50", "--json"];
    let found = chat(&edit).json();
    for answer in found["answers"].as_array().unwrap() {
        let watched = &answer["monitor"];
        assert!(watched["base"]["reading"].is_f64() && watched["base"]["alarm"].is_boolean(), "{answer}");
        assert_eq!(watched["edited"]["alarm"], true);
    }
    // The reading of an answer is that of the conversation as rows have it.
    let answer = &found["answers"][0];
    let row = json!({ "messages": [
        { "role": "user", "content": "What is a mast?" },
        { "role": "assistant", "content": answer["base"] },
    ]});
    place.write("said.jsonl", &row.to_string());
    let read = monitor(&place, &["read", "watch", "--rows", "said.jsonl"]);
    assert_eq!(read["rows"][0]["reading"], answer["monitor"]["base"]["reading"]);
    // Without a terminal there are no colours, and the line says it.
    let said = chat(&["--edit", "direction.safetensors*50"]);
    assert!(said.out.contains("monitor, base: ") && said.out.contains("monitor, edited: "), "{}", said.out);
    assert!(said.out.contains("ALARM, above") && !said.out.contains('\u{1b}'), "{}", said.out);
    // A monitor changes no answer.
    let alone = place
        .said(
            place
                .command(["chat", &model, "--max-tokens", "9", "--seed", "3", "--json"])
                .write_stdin("What is a mast?\n"),
        )
        .json();
    assert_eq!(alone["answers"][0]["base"], answer["base"]);
    assert!(alone["answers"][0].get("monitor").is_none());
}

#[test]
fn what_is_no_monitor_is_told_with_a_remedy() {
    let place = calibrated();
    let model = text(&tiny("llama"));
    let narrow =
        SteeringVector { layer: 1, vector: Tensor::ones(16, candle_core::DType::F32, &Device::Cpu).unwrap() };
    Edit::Steering(narrow).save(&place.path("narrow.safetensors")).unwrap();
    let calibrate = |direction: &'static str, more: &[&'static str]| -> Vec<&str> {
        [&["calibrate", "--direction", direction, "--clean", "clean.jsonl", "--out", "new"], more].concat()
    };
    for (arguments, expected) in [
        (calibrate("direction.safetensors", &[]), "needs 19 clean responses, and there are 12"),
        (calibrate("direction.safetensors", &["--alarm-rate", "2"]), "must lie above 0 and below 1"),
        (calibrate("narrow.safetensors", &["--alarm-rate", "0.5"]), "[16]"),
        (vec!["read", "nowhere", "--rows", "clean.jsonl"], "nowhere"),
        (vec!["read", "watch", "--rows", "nowhere.jsonl"], "nowhere.jsonl"),
        (
            vec![
                "calibrate",
                "--direction",
                "direction.safetensors",
                "--clean",
                "clean.jsonl",
                "--alarm-rate",
                "0.5",
                "--out",
                "watch",
            ],
            "`watch`: the folder is not empty",
        ),
    ] {
        let said = place.run(["monitor"].iter().chain(&arguments).chain(&["--model", &model, "--json"]));
        assert_eq!(said.code, Some(1), "{arguments:?}: {}", said.out);
        let error = &said.object()["error"];
        assert!(error["message"].as_str().unwrap().contains(expected), "{arguments:?}: {error}");
        assert!(!error["hint"].as_str().unwrap().is_empty());
    }
    assert!(!place.path("new").exists());
}
