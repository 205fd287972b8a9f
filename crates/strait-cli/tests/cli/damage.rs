//! Results that are no longer what a finished step made are noticed, named and made again.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    common::{Place, Said},
    studies::small_study,
};

/// A kind of damage to a file.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Removed,
    Emptied,
    /// One byte in its middle is another one.
    Bent,
    /// Cut to half.
    Cut,
    /// Lines are added.
    Grown,
    /// A folder stands in its place.
    Buried,
}

fn befall(path: &Path, fate: Fate) {
    let bytes = fs::read(path).unwrap();
    match fate {
        Fate::Removed => fs::remove_file(path).unwrap(),
        Fate::Emptied => fs::write(path, "").unwrap(),
        Fate::Cut => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        Fate::Grown => fs::write(path, [&bytes[..], b"1,2,3\n"].concat()).unwrap(),
        Fate::Bent => {
            let mut bent = bytes.clone();
            bent[bytes.len() / 2] ^= 1;
            fs::write(path, bent).unwrap();
        }
        Fate::Buried => {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }
    }
}

fn state_of(said: &Said, step: &str) -> Value {
    let steps = said.object()["steps"].as_array().unwrap().clone();
    steps.into_iter().find(|s| s["name"] == step).unwrap()
}

/// A small study that has been run into `run`.
fn finished() -> Place {
    let place = Place::new();
    small_study(&place, 4);
    let path = place.path("small.toml");
    let study = fs::read_to_string(&path).unwrap();
    fs::write(&path, study.replace("checkpoint_every = 100", "checkpoint_every = 2")).unwrap();
    let said = place.run(["run", "small.toml", "--out", "run"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    place
}

fn checked(place: &Place, step: &str, file: &str, fate: Fate) {
    let path = place.path("run").join(file);
    let whole = fs::read(&path).unwrap();
    befall(&path, fate);

    let status = place.run(["status", "run", "--json"]);
    let stands = state_of(&status, step);
    assert_eq!((status.code, &stands["state"]), (Some(1), &Value::from("damaged")), "{file} {fate:?}");
    assert!(stands["error"].as_str().unwrap().contains(file), "{file} {fate:?}: {stands}");
    let report = place.run(["report", "run"]);
    if file == "report.html" {
        if !matches!(fate, Fate::Buried) {
            assert_eq!((report.code, fs::read(&path).unwrap()), (Some(0), whole), "{fate:?}: {}", report.err);
            assert_eq!(place.run(["status", "run"]).code, Some(0));
        }
        return;
    }
    assert_eq!(report.code, Some(1), "{file} {fate:?}: {}", report.out);
    assert!(report.err.contains(file) && report.err.contains("hint: run the study again"), "{}", report.err);

    if matches!(fate, Fate::Buried) {
        fs::remove_dir(&path).unwrap();
    }
    let ran = place.run(["run", "small.toml", "--out", "run"]);
    assert_eq!(ran.code, Some(0), "{file} {fate:?}: {}", ran.err);
    assert!(ran.err.contains(file) && ran.err.contains("the step is done again"), "{}", ran.err);
    assert!(fs::read(&path).unwrap() == whole, "{file} {fate:?} came out otherwise");
    assert_eq!(place.run(["status", "run"]).code, Some(0), "{file} {fate:?}");
}

#[test]
fn damaged_results_are_noticed_named_and_made_again() {
    let place = finished();
    use Fate::*;
    let cases = [
        ("model", "model.json", Emptied),
        ("data", "data.json", Removed),
        ("preference", "tables/preference.csv", Grown),
        ("kl", "tables/kl.parquet", Bent),
        ("heldout", "tables/heldout.csv", Cut),
        ("efficiency", "tables/efficiency_difference.parquet", Removed),
        ("significance", "tables/significance.csv", Buried),
        ("report", "tables/certificate.csv", Bent),
        ("report", "tables/left_out.parquet", Removed),
        ("report", "report.html", Emptied),
        ("report", "report.html", Removed),
        ("train-general", "solutions/general/edit.safetensors", Emptied),
        ("train-narrow", "solutions/narrow/metrics.jsonl", Emptied),
        ("train-narrow", "solutions/narrow/metrics.jsonl", Grown),
        ("train-general", "solutions/general/checkpoints/step-000002.safetensors", Bent),
        ("train-general", "solutions/general/state.safetensors", Cut),
    ];
    for (step, file, fate) in cases {
        checked(&place, step, file, fate);
    }
}

#[test]
fn whole_folders_and_records_that_are_gone_are_made_again() {
    let place = finished();
    let tables = |place: &Place| {
        let read = |name: &str| fs::read(place.path("run/tables").join(name)).unwrap();
        ["training.csv", "preference.csv", "solutions.parquet"].map(read)
    };
    let whole = tables(&place);
    let run = || {
        let said = place.run(["run", "small.toml", "--out", "run"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(tables(&place), whole);
        assert_eq!(place.run(["status", "run"]).code, Some(0));
        said
    };
    for folder in ["solutions/narrow", "solutions/general/checkpoints", "tables", "solutions", "steps"] {
        fs::remove_dir_all(place.path("run").join(folder)).unwrap();
        run();
    }
    // A record that is none is damage of its step.
    fs::write(place.path("run/steps/kl.json"), "").unwrap();
    let status = place.run(["status", "run", "--json"]);
    assert_eq!((status.code, &state_of(&status, "kl")["state"]), (Some(1), &Value::from("damaged")));
    assert!(run().err.contains("steps/kl.json"));
    // What nobody made is noticed too, where steps would take it for theirs.
    fs::write(place.path("run/solutions/general/checkpoints/step-000003.safetensors"), "").unwrap();
    assert!(run().err.contains("was put there since"));
    // The resolved study decides what the report says.
    let path = place.path("run/study.resolved.toml");
    let resolved = fs::read_to_string(&path).unwrap();
    fs::write(&path, resolved.replace("certificate = 0.25", "certificate = 0.9")).unwrap();
    let report = place.run(["report", "run"]);
    assert!(report.code == Some(1) && report.err.contains("study.resolved.toml"), "{}", report.err);
    run();
    assert_eq!(place.run(["report", "run"]).code, Some(0));
}

#[test]
fn what_rests_on_a_result_that_came_out_otherwise_is_done_again() {
    let place = finished();
    let before = fs::read(place.path("run/tables/kl.csv")).unwrap();
    // As if another machine had trained it: a finished training whose edit is another one.
    let path = place.path("run/steps/train-general.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["made"]["solutions/general/edit.safetensors"] = "0000".into();
    fs::write(&path, record.to_string()).unwrap();
    let session = |step: &str| {
        let record = fs::read(place.path(&format!("run/steps/{step}.json"))).unwrap();
        serde_json::from_slice::<Value>(&record).unwrap()["session"].clone()
    };
    // The edit that is there is damage; made again it is another one than the measures were told of.
    let said = place.run(["run", "small.toml", "--out", "run"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!([session("train-general"), session("kl"), session("report")], [2, 2, 2]);
    assert_eq!([session("model"), session("train-narrow")], [1, 1]);
    assert_eq!(fs::read(place.path("run/tables/kl.csv")).unwrap(), before);
}
