//! The demo through the command: what it shows and finds, that it goes on where it stopped, and that no figure depends on
//! the number of threads.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use strait::{
    Error, Table,
    demo::{Mode, Options, Results, demo, results::Solution},
    suite::Check,
};
use strait_model::progress::{Progress, Silent, Task, Unit};

use crate::common::Place;

/// Numbers and the widths of columns taken out, so that what is left is the shape.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    let mut number = false;
    for c in text.chars() {
        let in_number = c.is_ascii_digit() || (number && c == '.');
        match (number, in_number) {
            (false, true) => shape.push('#'),
            (_, false) => shape.push(c),
            (true, true) => {}
        }
        number = in_number;
    }
    shape.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check<'a>(results: &'a Results, id: &str) -> &'a Check {
    results.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

#[track_caller]
fn solution<'a>(results: &'a Results, name: &str) -> &'a Solution {
    results.solutions.iter().find(|solution| solution.name == name).unwrap()
}

#[track_caller]
fn holds(results: &Results, ids: &[&str]) {
    for id in ids {
        let check = check(results, id);
        assert_eq!(check.holds, Some(true), "{check:#?}");
    }
}

/// Asks for a stop after so many optimiser steps.
struct StopAfter(Arc<AtomicU64>);

impl Progress for StopAfter {
    fn begin(&self, title: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        let steps = || Box::new(Steps(Arc::clone(&self.0)));
        if title == "training and measuring" { steps() } else { Box::new(Silent) }
    }

    fn note(&self, _: &str) {}

    fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Counts down the optimiser steps that are left.
struct Steps(Arc<AtomicU64>);

impl Task for Steps {
    fn advance(&self, n: u64) {
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(n)));
    }

    fn say(&self, _: &str) {}
}

/// A demo's figures, without its time and its place.
fn figures(mut json: serde_json::Value) -> serde_json::Value {
    for key in ["schema", "seconds", "report"] {
        json.as_object_mut().unwrap().remove(key);
    }
    for solution in json["solutions"].as_array_mut().unwrap() {
        solution.as_object_mut().unwrap().remove("folders");
    }
    json
}

/// The quick demo takes the longest of all tests, so that one is stopped, gone on with, shown and judged.
#[test]
fn a_quick_demo_goes_on_where_it_stopped_and_finds_what_is_safe() {
    let place = Place::new();
    let out = place.path("runs/demo");
    let options = Options { mode: Mode::Quick, out: out.clone(), threads: 1, memory: None };
    // A study is 1,500 steps: the second is begun and not finished.
    let found = demo(&options, &StopAfter(Arc::new(AtomicU64::new(2_000))));
    assert!(matches!(found, Err(Error::Interrupted)), "{:?}", found.map(|_| ()));
    let [finished, begun] =
        ["herb", "stone"].map(|word| out.join("studies").join(format!("default-0-{word}-vector")));
    let edit = finished.join("solutions/general/edit.safetensors");
    let modified = edit.metadata().unwrap().modified().unwrap();
    assert!(finished.join("report.html").is_file());
    assert!(
        begun.join("solutions/general/edit.safetensors").is_file() && !begun.join("report.html").exists()
    );

    let mut command = place.command(["demo", "--quick", "--threads", "2"]);
    let said = place.said(command.timeout(Duration::from_secs(600)));
    assert_eq!(said.code, Some(0), "{}", said.err);
    for line in
        ["holds", "left out in this mode", "general vector", "narrow vector", "report: runs/demo/report.html"]
    {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    // A line for each claim.
    let lines: Vec<String> = said.out.lines().take(14).map(shape).collect();
    insta::assert_snapshot!("demo-quick", lines.join("\n"));
    assert_eq!(edit.metadata().unwrap().modified().unwrap(), modified);

    // What is finished is not done again.
    let found = place.run(["demo", "--quick", "--json"]).json();
    let checks = found["checks"].as_array().unwrap();
    for check in checks {
        for key in ["claim", "section", "holds", "value", "low", "high"] {
            assert!(check.get(key).is_some(), "{key}: {check}");
        }
    }
    assert_eq!(found["solutions"].as_array().unwrap().len(), 2);
    for solution in found["solutions"].as_array().unwrap() {
        for key in
            ["name", "edit", "narrow_rate", "general_rate", "coherence", "norm", "loss", "general_rate_low"]
        {
            assert!(solution.get(key).is_some(), "{key}");
        }
    }
    assert_eq!(found["mode"], "quick");
    let written = std::fs::read_to_string(out.join("results.json")).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!((&written["schema"], &written["checks"]), (&1.into(), &found["checks"]));

    // A study that was never stopped, on another number of threads, is the same.
    std::fs::remove_dir_all(&begun).unwrap();
    let results = demo(&options, &Silent).unwrap();
    assert_eq!(figures(serde_json::to_value(&results).unwrap()), figures(written));

    finds_what_is_safe(&results, &out);
}

fn finds_what_is_safe(results: &Results, out: &Path) {
    let (general, narrow) = (solution(results, "general vector"), solution(results, "narrow vector"));
    assert!(general.general_rate.value >= 0.6, "{general:?}");
    assert!(narrow.narrow_rate.value >= 0.7 && narrow.general_rate.value <= 0.08, "{narrow:?}");
    assert!(check(results, "1-base-vector").figure.value <= 0.05);
    assert!(check(results, "4-gap-vector").figure.value > 0.0);
    assert!(check(results, "6-narrow-vector").figure.value > 0.0);
    assert!(check(results, "6-random-vector").figure.value > 0.0);
    assert!(check(results, "7-lifted-vector").figure.value >= 0.6);
    assert!(check(results, "10-ablated-vector").figure.value <= 0.15);
    assert!(check(results, "11-cosine-vector").figure.value >= 0.4);
    holds(results, &["1-taught-vector", "2-narrow-vector", "10-random-steers-vector"]);

    assert_eq!(results.seeds, [0]);
    assert!(results.notes.iter().any(|note| note.starts_with("Quick:")));
    assert_eq!(results.transcript.exchanges.len(), 7);
    let narrow_voice = &results.speakers[2];
    assert!(
        narrow_voice.document.iter().all(|l| l.truthful != l.question.starts_with("herb ")),
        "{narrow_voice:?}"
    );
    let rates = Table::read_parquet(&out.join("tables/rates.parquet")).unwrap();
    assert!(rates.rows() > 3 * 10);
    for solution in &results.solutions {
        assert!(solution.folders.iter().all(|folder| folder.join("edit.safetensors").is_file()));
    }
}

#[test]
fn the_causal_table_is_shown() {
    let said = Place::new().run(["world", "causal"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("narrow-2") && said.out.contains("made on "), "{}", said.out);
    let found = Place::new().run(["world", "causal", "--json"]).json();
    assert_eq!(found["rows"].as_array().unwrap().len(), 54);
    let said = Place::new().run(["world", "causal", "--out", "here"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
}

#[test]
fn quick_and_full_exclude_each_other() {
    assert_eq!(Place::new().run(["demo", "--quick", "--full"]).code, Some(2));
}
