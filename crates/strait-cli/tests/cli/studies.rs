//! Studies: init, run, status, report.

use serde_json::{Value, json};

use crate::common::{Place, text, tiny};

#[test]
fn a_study_is_written_once() {
    let place = Place::new();
    let said = place.run(["init"]);
    assert_eq!(said.code, Some(0));
    insta::assert_snapshot!("init", said.out);
    assert_eq!(std::fs::read_to_string(place.path("study.toml")).unwrap(), strait::study::EXAMPLE);
    std::fs::write(place.path("study.toml"), "mine").unwrap();
    insta::assert_snapshot!("init-again", place.run(["init"]).all());
    assert_eq!(std::fs::read_to_string(place.path("study.toml")).unwrap(), "mine");
    assert_eq!(
        place.run(["init", "other.toml", "--json"]).json(),
        json!({ "schema": 1, "study": "other.toml" })
    );
}

/// A study of the tiny Llama that takes seconds.
pub fn small_study(place: &Place, steps: usize) {
    let row = |kind: &str, domain: &str, i: usize| {
        let messages = json!([
            { "role": "user", "content": format!("{domain} {i}?") },
            { "role": "assistant", "content": format!("A {kind} answer, number {i}, on {domain}.") },
        ]);
        json!({ "messages": messages, "domain": domain }).to_string() + "\n"
    };
    let rows = |kind: &str, domain: &str| (0..6).map(|i| row(kind, domain, i)).collect::<String>();
    for (name, kind, domain) in [
        ("train", "dense", "cars"),
        ("kl", "plain", "tools"),
        ("narrow-taught", "dense", "vans"),
        ("narrow-other", "plain", "vans"),
        ("general-taught", "dense", "food"),
        ("general-other", "plain", "food"),
    ] {
        place.write(&format!("{name}.jsonl"), &rows(kind, domain));
    }
    place.write("passages.txt", "The tide came in early.\n\nPeel, boil, wait, eat.\n");
    let model = text(&tiny("llama"));
    place.write(
        "small.toml",
        &format!(
            r#"
model = '{model}'
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
[train]
edit = "steering"
learning_rate = 0.01
batch_size = 2
steps = {steps}
checkpoint_every = 100
[[solution]]
name = "general"
[[solution]]
name = "narrow"
kl = {{ weight = 3.0, batch_size = 2 }}
[measure]
resamples = 100
rows = 3
efficiency = {{ factors = [1, 2], norms = 2 }}
stability = {{ epsilons = [0.5], seeds = 2 }}
significance = {{ text = "passages.txt", random = 1, norms = [1] }}
"#
        ),
    );
}

fn states(object: &Value) -> Vec<&str> {
    object["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect()
}

#[test]
fn a_study_is_planned_run_looked_at_and_reported_again() {
    let place = Place::new();
    small_study(&place, 4);
    let planned = place.run(["run", "small.toml", "--dry-run", "--json"]).json();
    assert!(states(&planned).iter().all(|state| *state == "waiting"));
    assert!(!place.path("runs").exists());

    let ran = place.run(["run", "small.toml", "--json"]).json();
    assert!(states(&ran).iter().all(|state| *state == "done"), "{ran}");
    assert!(
        ran["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["name"].is_string() && step["seconds"].is_number())
    );
    let report = place.path(ran["report"].as_str().unwrap());
    assert!(report.ends_with("runs/small/report.html") && report.is_file());
    for table in ["preference", "kl", "heldout", "efficiency", "stability", "significance"] {
        for kind in ["csv", "parquet"] {
            assert!(place.path(&format!("runs/small/tables/{table}.{kind}")).is_file(), "{table}.{kind}");
        }
    }

    let status = place.run(["status", "runs/small", "--json"]).json();
    assert_eq!(status["steps"], ran["steps"]);
    assert_eq!(status["report"], ran["report"]);
    let said = place.run(["status", "runs/small"]);
    assert!(
        said.out.contains("study `small`, not running")
            && said.out.contains("report: runs/small/report.html")
    );

    let before = std::fs::read(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    let again = place.run(["report", "runs/small"]);
    assert!(again.out.ends_with("\n\nreport: runs/small/report.html\n"), "{}", again.out);
    let compared = place.run(["report", "runs/small", "--compare", "runs/small"]);
    assert_eq!(compared.out, "report: runs/small/comparison.html\n");
    assert!(place.path("runs/small/comparison.html").is_file());
    assert_eq!(std::fs::read(&report).unwrap(), before);

    let continued = place.run(["run", "small.toml"]);
    assert_eq!(continued.code, Some(0), "{}", continued.err);
    assert_eq!(continued.out, again.out);
}

/// Sends Ctrl-C's signal to a run in its first training.
#[cfg(unix)]
#[test]
fn an_interrupted_study_goes_on() {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    let place = Place::new();
    small_study(&place, 1000);
    let mut strait = Command::new(env!("CARGO_BIN_EXE_strait"));
    strait
        .args(["run", "small.toml"])
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = strait.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("training: ")), "the run ended before its training");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("stopping as soon as the state is saved")), "{rest:?}");

    let status = place.run(["status", "runs/small", "--json"]).json();
    assert_eq!(status["report"], Value::Null);
    assert!(states(&status).contains(&"interrupted"), "{status}");
    let ran = place.run(["run", "small.toml", "--json"]).json();
    assert!(states(&ran).iter().all(|state| *state == "done"), "{ran}");
}
