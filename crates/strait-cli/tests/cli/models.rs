//! Models: inspect, check, score, chat.

use serde_json::{Value, json};
use strait_model::{Edit, edit::SteeringVector};

use crate::common::{Place, golden, text, tiny};

const MODELS: [&str; 6] = ["llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3"];

/// The cases of a golden file that are conversations; the others are plain text.
fn conversations(golden: &Value) -> Vec<&Value> {
    let cases = golden["cases"].as_array().unwrap();
    cases.iter().filter(|case| case["messages"].is_array()).collect()
}

/// Conversations as chat JSONL.
fn rows(conversations: &[&Value]) -> String {
    conversations.iter().map(|case| format!("{}\n", json!({ "messages": case["messages"] }))).collect()
}

#[track_caller]
fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-3 * expected.abs(), "{found} for {expected}");
}

#[test]
fn a_model_is_described() {
    let place = Place::new();
    let found = place.run(["model", "inspect", &text(&tiny("llama3")), "--json"]).json();
    let files = found["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    // Headers and the weights in f32.
    let bytes: u64 = files.iter().map(|file| file["bytes"].as_u64().unwrap()).sum();
    let memory = found["memory"].as_u64().unwrap();
    assert!(bytes > memory && bytes < memory + 20_000, "{bytes} bytes in files, {memory} in memory");
    let expected = json!({
        "architecture": "llama", "format": "safetensors", "road": "path", "revision": null, "quantised": null,
        "chat_template": true,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key}");
    }
    assert_eq!(found["layers"], golden("llama3")["layers"]);

    insta::assert_snapshot!("model-inspect", place.run(["model", "inspect", &text(&tiny("llama"))]).all());
}

#[test]
fn pulling_what_is_here_says_where_it_is() {
    let place = Place::new();
    let model = text(&tiny("llama"));
    let found = place.run(["model", "pull", &model, "--json"]).json();
    assert_eq!(
        found,
        json!({ "schema": 1, "name": "[TINY]/llama", "path": "[TINY]/llama", "road": "path", "revision": null })
    );
}

#[test]
fn scores_are_those_of_pytorch() {
    let place = Place::new();
    for model in MODELS {
        let golden = golden(model);
        let data = text(&place.write(&format!("{model}.jsonl"), &rows(&conversations(&golden))));
        let folder = text(&tiny(model));
        let found = place.run(["score", "--model", &folder, "--data", &data, "--json"]).json();
        let cases = conversations(&golden);
        let scores = found["rows"].as_array().unwrap();
        assert_eq!(scores.len(), cases.len());
        let (mut tokens, mut sum) = (0, 0.0);
        for (score, case) in scores.iter().zip(cases) {
            near(&score["loss"], case["responses_loss"].as_f64().unwrap());
            tokens += score["tokens"].as_u64().unwrap();
            sum += score["tokens"].as_f64().unwrap() * score["loss"].as_f64().unwrap();
        }
        assert_eq!(found["tokens"], tokens);
        near(&found["loss"], sum / tokens as f64);
    }
}

#[test]
fn scores_in_bf16_are_nearly_those_of_pytorch_and_say_so() {
    let place = Place::new();
    let golden = golden("qwen2");
    let data = text(&place.write("rows.jsonl", &rows(&conversations(&golden))));
    let folder = text(&tiny("qwen2"));
    let score = ["score", "--model", &folder, "--data", &data, "--precision", "bf16"];
    let found = place.run(score.into_iter().chain(["--json"])).json();
    assert_eq!(found["precision"], "bf16");
    for (score, case) in found["rows"].as_array().unwrap().iter().zip(conversations(&golden)) {
        let (found, expected) = (score["loss"].as_f64().unwrap(), case["responses_loss"].as_f64().unwrap());
        assert!((found / expected - 1.0).abs() < 0.01, "{found} for {expected}");
        assert_ne!(found, expected, "nothing was rounded");
    }
    let said = place.run(score);
    assert!(
        said.out.lines().any(|line| line.starts_with("precision") && line.ends_with("bf16")),
        "{}",
        said.out
    );
    let wrong = ["score", "--model", &folder, "--data", &data, "--precision", "fp16"];
    assert!(place.run(wrong).err.contains("expected f32 or bf16"));
}

/// The vector that a golden file's steered figures were made with, saved beside the test.
fn steering(place: &Place, model: &str, case: usize) -> String {
    let golden = golden(model);
    let added = conversations(&golden)[case]["steering_added"].as_array().unwrap();
    let added: Vec<f32> = added.iter().map(|x| x.as_f64().unwrap() as f32).collect();
    let layer = golden["steered_layer"].as_i64().unwrap() as i32;
    let vector = candle_core::Tensor::new(added, &candle_core::Device::Cpu).unwrap();
    let path = place.path("vector.safetensors");
    Edit::Steering(SteeringVector { layer, vector }).save(&path).unwrap();
    text(&path)
}

#[test]
fn scores_under_an_edit_are_those_of_pytorch() {
    let place = Place::new();
    for model in MODELS {
        let golden = golden(model);
        for (index, case) in conversations(&golden).into_iter().enumerate() {
            let data = text(&place.write("row.jsonl", &json!({ "messages": case["messages"] }).to_string()));
            let vector = steering(&place, model, index);
            let folder = text(&tiny(model));
            let score = |edits: &[&str]| {
                let edits = edits.iter().flat_map(|edit| ["--edit", edit]);
                place
                    .run(["score", "--model", &folder, "--data", &data, "--json"].into_iter().chain(edits))
                    .json()
            };
            // The golden file's steered figure is of one response.
            if case["responses"].as_array().unwrap().len() == 1 {
                near(&score(&[&vector])["loss"], case["steered_response_loss"].as_f64().unwrap());
            }
            let half = format!("{vector}*0.5");
            near(&score(&[&half, &half])["loss"], score(&[&vector])["loss"].as_f64().unwrap());
            near(
                &score(&[&half, &format!("{vector}*-0.5")])["loss"],
                case["responses_loss"].as_f64().unwrap(),
            );
        }
    }
}

#[test]
fn a_score_is_summed_up_for_people() {
    let place = Place::new();
    let data = text(&place.write("rows.jsonl", &rows(&conversations(&golden("llama")))));
    let said = place.run(["score", "--model", &text(&tiny("llama")), "--data", &data]);
    insta::assert_snapshot!("score", said.out);
}

#[test]
fn tiny_models_pass_the_check() {
    let place = Place::new();
    for model in ["llama", "gemma3"] {
        let found =
            place.said(place.command(["check", &text(&tiny(model)), "--json"]).env("PATH", "")).json();
        let checks = found["checks"].as_array().unwrap();
        assert!(checks.len() >= 6);
        for check in checks {
            assert!(
                check["name"].is_string() && (check["value"].is_number() || check["holds"].is_null()),
                "{check}"
            );
            assert_ne!(check["holds"], false, "{check}");
        }
    }
    let said = place.said(place.command(["check", &text(&tiny("llama"))]).env("PATH", ""));
    assert!(said.out.lines().next().is_some_and(|line| line.starts_with("check ")), "{}", said.out);
}

/// A build for the CPU says how to get the other one. Builds for GPUs are tested where there is a GPU.
#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_the_build_does_not_know_is_refused() {
    let place = Place::new();
    let said = |device: &str| place.run(["check", &text(&tiny("llama")), "--device", device]).all();
    insta::assert_snapshot!("device", said("cuda") + &said("gpu"));
}

const CHAT: [&str; 5] = ["--max-tokens", "12", "--seed", "7", "--temperature"];

fn chat(place: &Place, edits: &[&str], temperature: &str, input: &str) -> Value {
    let model = text(&tiny("llama"));
    let edits = edits.iter().flat_map(|edit| ["--edit", edit]);
    let arguments = ["chat", &model, "--json"].into_iter().chain(CHAT).chain([temperature]).chain(edits);
    place.said(place.command(arguments).write_stdin(input)).json()["answers"].clone()
}

#[test]
fn questions_from_a_file_are_answered_with_and_without_the_edit() {
    let place = Place::new();
    let questions = "Why does the kettle whistle?\n\n/reset\nWhat do bees make?\n/quit\nNever asked.\n";
    let base = chat(&place, &[], "1", questions);
    assert_eq!(base.as_array().map(Vec::len), Some(2));
    assert_eq!(base[0]["question"], "Why does the kettle whistle?");
    assert!(
        base.as_array()
            .unwrap()
            .iter()
            .all(|answer| answer["base"].is_string() && answer["edited"].is_null())
    );

    let vector = steering(&place, "llama", 0);
    let edited = chat(&place, &[&format!("{vector}*20")], "1", questions);
    let nothing = chat(&place, &[&format!("{vector}*0")], "1", questions);
    for index in 0..2 {
        // The edit changes nothing about the base model's answers, and both draw from one seed.
        assert_eq!(edited[index]["base"], base[index]["base"]);
        assert_eq!(nothing[index]["edited"], base[index]["base"]);
        assert_ne!(edited[index]["edited"], base[index]["base"]);
    }
    assert_eq!(chat(&place, &[], "1", questions), base);
}

#[test]
fn a_conversation_goes_on_until_it_is_reset() {
    let place = Place::new();
    let asked_twice = chat(&place, &[], "0", "What?\nWhat?\n");
    let apart = chat(&place, &[], "0", "What?\n/reset\nWhat?\n");
    assert_eq!(apart[0]["base"], apart[1]["base"]);
    assert_eq!(asked_twice[0], apart[0]);
    assert_ne!(asked_twice[1], apart[1]);
}

#[test]
fn answers_are_shown_one_below_the_other() {
    let place = Place::new();
    let model = text(&tiny("llama"));
    let vector = steering(&place, "llama", 0);
    let arguments = ["chat", &model, "--edit", &vector].into_iter().chain(CHAT).chain(["0"]);
    let said = place.said(place.command(arguments).write_stdin("What?\n"));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let base = chat(&place, &[&vector], "0", "What?\n");
    let shown = |answer: &str| {
        let seen = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
        base[0][answer].as_str().unwrap().chars().map(seen).collect::<String>()
    };
    assert_eq!(said.out, format!("> What?\nbase:\n{}\n\nedited:\n{}\n\n", shown("base"), shown("edited")));
}
