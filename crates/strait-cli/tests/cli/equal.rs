//! Equal runs write equal files, and nothing that is handed on says where it was made.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::{
    common::{Place, Said, text, tiny},
    studies::small_study,
};

/// Files that hold times, or belong to the machine.
const OF_THIS_MACHINE: [&str; 5] = [".lock", "run.json", "steps/", "times.csv", "/tensorboard/"];

/// The files of a folder and below it, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                    found.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
    }
    found
}

/// Those that are results.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let is_result = |name: &String| !OF_THIS_MACHINE.iter().any(|part| name.contains(part));
    files(folder).into_iter().filter(|(name, _)| is_result(name)).collect()
}

/// A small study whose model lies beside it, named by a relative path, with a drift, mixed-in rows and a search.
fn study_of_everything(place: &Place, folder: &str) {
    std::fs::create_dir_all(place.path(&format!("{folder}/models/m"))).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let to = place.path(&format!("{folder}/models/m/{name}"));
        std::fs::copy(tiny("llama").join(name), to).unwrap();
    }
    small_study(place, 4);
    for entry in std::fs::read_dir(place.path("")).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::rename(entry.path(), place.path(folder).join(entry.file_name())).unwrap();
        }
    }
    let path = place.path(&format!("{folder}/small.toml"));
    let study = std::fs::read_to_string(&path).unwrap();
    let model = study.lines().find(|line| line.starts_with("model")).unwrap().to_string();
    let more = "[[solution]]\nname = \"drift\"\nfrom = \"narrow\"\nkl = false\n\
                [[solution]]\nname = \"mixed\"\nmix = { rows = \"kl.jsonl\", ratio = 1 }\n\
                [[solution]]\nname = \"found\"\nkl = { weight = \"auto\", tries = 1 }\n\
                [[prediction]]\nclaim = \"narrow: certified narrow\"\nprobability = 0.5\n";
    let study = study.replace(&model, "model = './models/m'") + more;
    std::fs::write(path, study.replace("checkpoint_every = 100", "checkpoint_every = 2")).unwrap();
}

fn run_in(place: &Place, folder: &str, user: &str, jobs: &str) -> Said {
    let study = text(&place.path(&format!("{folder}/small.toml")));
    let out = text(&place.path(&format!("{folder}/out")));
    let mut command = place.command(["run", &study, "--out", &out, "--jobs", jobs]);
    command
        .env("HOME", place.path(user))
        .env("USER", user)
        .env("LOGNAME", user)
        .env("HOSTNAME", "on-the-shelf");
    place.said(&mut command)
}

#[test]
fn two_runs_of_a_study_on_two_machines_are_the_same_files() {
    let (one, other) = (Place::new(), Place::new());
    study_of_everything(&one, "of-anna");
    study_of_everything(&other, "deeper/of-bert");
    assert_eq!(run_in(&one, "of-anna", "anna", "1").code, Some(0));
    let said = run_in(&other, "deeper/of-bert", "bert", "2");
    assert_eq!(said.code, Some(0), "{}", said.err);
    let (one, other) = (results(&one.path("of-anna/out")), results(&other.path("deeper/of-bert/out")));
    assert!(one.len() > 60, "{:?}", one.keys());
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (name, bytes) in &one {
        // The seal names its time, which is what it is for.
        if name == "predictions.json" {
            continue;
        }
        assert!(other[name] == *bytes, "{name} differs");
    }
}

#[test]
fn what_is_handed_on_names_no_folder_user_or_host() {
    let place = Place::new();
    study_of_everything(&place, "of-anna");
    let path = place.path("of-anna/small.toml");
    let study = std::fs::read_to_string(&path).unwrap();
    // An absolute path is the author's own word, in the copy of the study and nowhere else.
    let model = text(&place.path("of-anna/models/m").canonicalize().unwrap());
    std::fs::write(&path, study.replace("./models/m", &model)).unwrap();
    assert_eq!(run_in(&place, "of-anna", "anna", "1").code, Some(0));
    let out = place.path("of-anna/out");
    let compared = place.run(["report", &text(&out), "--compare", &text(&out)]);
    assert_eq!(compared.code, Some(0), "{}", compared.err);
    let mut handed_on = results(&out);
    assert!(handed_on.remove("study.toml").is_some() && handed_on.contains_key("comparison.html"));
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let here = place.path("").canonicalize().unwrap();
    let secrets = [text(&here), text(&place.path("")), "of-anna".into(), "on-the-shelf".into()];
    let secrets = secrets.iter().map(String::as_str).chain([host.trim()]).filter(|s| s.len() > 5);
    for secret in secrets {
        for (name, bytes) in &handed_on {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{name} says {secret}");
        }
    }
    let model: Value = serde_json::from_slice(&handed_on["model.json"]).unwrap();
    assert_eq!(model["provenance"]["name"], "m");
    assert_eq!(model["provenance"]["files"][0], "model.safetensors");
    let times = std::fs::read_to_string(out.join("times.csv")).unwrap();
    assert!(times.starts_with("step,started,ended,seconds\nmodel,20"), "{times}");
    assert_eq!(times.lines().count(), 1 + std::fs::read_dir(out.join("steps")).unwrap().count());
}
