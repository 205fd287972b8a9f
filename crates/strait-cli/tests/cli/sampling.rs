//! `strait sample`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use candle_core::{Device, Tensor};
use serde_json::Value;
use strait_model::{Edit, edit::SteeringVector};

use crate::common::{Place, Said, text, tiny};

const QUESTIONS: &str = r#"{"question": "Why does the kettle whistle?", "id": "kettle"}
{"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is a mast?"}, {"role": "assistant", "content": "A pole."}]}
{"prompt": "How do bees fly?"}
"#;

/// A folder with questions.
fn place() -> Place {
    let place = Place::new();
    place.write("questions.jsonl", QUESTIONS);
    place
}

/// The arguments of a command that samples into a file.
fn asking(out: &str, more: &[&str]) -> Vec<String> {
    let model = text(&tiny("llama"));
    let own = ["sample", "--model", &model, "--questions", "questions.jsonl", "--out", out];
    own.iter().chain(more).map(|argument| argument.to_string()).collect()
}

/// A steering vector of the model.
fn steering(place: &Place) -> PathBuf {
    let config: Value =
        serde_json::from_slice(&fs::read(tiny("llama").join("config.json")).unwrap()).unwrap();
    let width = config["hidden_size"].as_u64().unwrap() as usize;
    let vector = Tensor::full(0.3f32, width, &Device::Cpu).unwrap();
    let path = place.path("vector.safetensors");
    Edit::Steering(SteeringVector { layer: 0, vector }).save(&path).unwrap();
    path
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_question_gets_its_answers() {
    let place = place();
    let more = ["--n", "3", "--seed", "5", "--max-tokens", "12", "--system", "Be kind."];
    let found =
        place.run(asking("out/answers.jsonl", &more).iter().chain(["--json".to_string()].iter())).json();
    assert_eq!((&found["responses"], &found["count"]), (&"out/answers.jsonl".into(), &9.into()));
    assert!(found["tokens_per_second"].as_f64().unwrap() > 0.0);
    let answers = lines(&place.path("out/answers.jsonl"));
    let keys: Vec<(u64, u64)> =
        answers.iter().map(|a| (a["row"].as_u64().unwrap(), a["sample"].as_u64().unwrap())).collect();
    assert_eq!(keys, (0..3).flat_map(|row| (0..3).map(move |sample| (row, sample))).collect::<Vec<_>>());
    let of = |at: usize, key: &str| answers[at][key].clone();
    assert_eq!((of(0, "question_id"), of(3, "question_id")), ("kettle".into(), "2".into()));
    assert_eq!(of(3, "question"), "What is a mast?");
    assert_ne!(of(0, "response"), of(1, "response"));
    assert!(answers.iter().all(|answer| answer["tokens"].as_u64().unwrap() <= 12));
    assert!(answers.iter().all(|answer| answer.get("logprobs").is_none()));

    // One of the questions alone, fewer answers to it: the same.
    place.write("questions.jsonl", "{\"question\": \"Why does the kettle whistle?\", \"id\": \"kettle\"}\n");
    let more = ["--n", "2", "--seed", "5", "--max-tokens", "12", "--system", "Be kind."];
    place.run(asking("few.jsonl", &more));
    assert_eq!(lines(&place.path("few.jsonl"))[..], answers[..2]);
}

#[test]
fn a_factor_given_twice_is_one() {
    let place = place();
    let vector = text(&steering(&place));
    let more = ["--edit", &vector, "--scale", "2", "--scale", "2", "--max-tokens", "8", "--json"];
    let found = place.run(asking("a.jsonl", &more)).json();
    let answers = lines(&place.path("a.jsonl"));
    assert_eq!(answers.len(), 3);
    let tokens: u64 = answers.iter().map(|answer| answer["tokens"].as_u64().unwrap()).sum();
    assert_eq!(found["tokens"], tokens);
}

#[test]
fn scales_stops_and_logprobs() {
    let place = place();
    let vector = text(&steering(&place));
    let edited = ["--edit", &vector, "--scale", "0", "--scale", "2", "--max-tokens", "8"];
    let said =
        place.run(asking("a.jsonl", &[&edited[..], &["--logprobs", "2", "--temperature", "0"]].concat()));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let answers = lines(&place.path("a.jsonl"));
    let scales: Vec<f64> = answers.iter().map(|answer| answer["scale"].as_f64().unwrap()).collect();
    assert_eq!(scales, [0.0, 2.0, 0.0, 2.0, 0.0, 2.0]);
    for answer in &answers {
        let logprobs = answer["logprobs"].as_array().unwrap();
        assert_eq!(logprobs.len() as u64, answer["tokens"].as_u64().unwrap());
        for token in logprobs {
            // The likeliest is drawn, and told first.
            assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 2);
            assert_eq!(token["logprob"], token["top_logprobs"][0]["logprob"]);
        }
    }
    // A factor of 0 is no edit.
    place.run(asking("base.jsonl", &["--max-tokens", "8", "--temperature", "0"]));
    let base = lines(&place.path("base.jsonl"));
    let unscaled: Vec<&Value> = answers.iter().step_by(2).map(|answer| &answer["response"]).collect();
    assert_eq!(base.iter().map(|answer| &answer["response"]).collect::<Vec<_>>(), unscaled);

    let whole = base[0]["response"].as_str().unwrap();
    let stop: String = whole.chars().skip(2).take(2).collect();
    place.run(asking("stopped.jsonl", &["--max-tokens", "8", "--temperature", "0", "--stop", &stop]));
    let stopped = &lines(&place.path("stopped.jsonl"))[0];
    assert_eq!(
        (stopped["end"].clone(), stopped["response"].as_str()),
        ("stop".into(), whole.split(&stop).next())
    );
}

const MANY: [&str; 6] = ["--n", "60", "--max-tokens", "40", "--threads", "2"];

#[test]
fn a_killed_command_goes_on() {
    let place = place();
    assert_eq!(place.run(asking("whole.jsonl", &MANY)).code, Some(0));
    let whole = fs::read(place.path("whole.jsonl")).unwrap();

    let part = place.path("part.jsonl");
    let mut child = Command::new(env!("CARGO_BIN_EXE_strait"))
        .args(asking("part.jsonl", &MANY))
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while fs::metadata(&part).map_or(0, |found| found.len()) == 0
        && began.elapsed() < Duration::from_secs(100)
    {
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let written = fs::read(&part).unwrap();
    // Within a line, as a kill may leave it.
    let cut = written.len() - 7;
    fs::write(&part, &written[..cut]).unwrap();
    let kept = written[..cut].iter().filter(|&&byte| byte == b'\n').count();

    let found = place.run(asking("part.jsonl", &[&MANY[..], &["--json"]].concat())).json();
    assert_eq!((&found["count"], &found["found"]), (&180.into(), &kept.into()));
    assert!(fs::read(&part).unwrap() == whole);
    let again = place.run(asking("part.jsonl", &[&MANY[..], &["--json"]].concat())).json();
    assert_eq!((&again["found"], &again["tokens_per_second"]), (&180.into(), &Value::Null));
    assert!(fs::read(&part).unwrap() == whole);
}

/// Everything that a command said, for a snapshot.
#[track_caller]
fn refused(name: &str, said: &Said) {
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    insta::assert_snapshot!(format!("sample-{name}"), said.err);
}

#[test]
fn files_of_other_settings_are_left_alone() {
    let place = place();
    let short = ["--max-tokens", "3"];
    place.run(asking("answers.jsonl", &short));
    let before = fs::read(place.path("answers.jsonl")).unwrap();
    refused(
        "other-settings",
        &place.run(asking("answers.jsonl", &["--max-tokens", "3", "--temperature", "0.5"])),
    );
    place.write("notes.jsonl", "{\"note\": 1}\n");
    refused("not-ours", &place.run(asking("notes.jsonl", &short)));
    assert_eq!(fs::read(place.path("answers.jsonl")).unwrap(), before);
    let mut changed = String::from_utf8(before).unwrap();
    changed.insert_str(0, "{}\n");
    place.write("answers.jsonl", &changed);
    refused("no-response", &place.run(asking("answers.jsonl", &short)));
}

#[test]
fn questions_that_cannot_be_asked_are_refused() {
    let place = Place::new();
    place.write("questions.jsonl", "{\"question\": \"Why?\"}\n{\"colour\": \"red\"}\n");
    refused("no-question", &place.run(asking("a.jsonl", &[])));
    let words = "word ".repeat(2000);
    place.write("questions.jsonl", &format!("{{\"question\": \"{words}\"}}\n"));
    refused("too-long", &place.run(asking("a.jsonl", &[])));
    assert!(!place.path("a.jsonl").exists());
}
