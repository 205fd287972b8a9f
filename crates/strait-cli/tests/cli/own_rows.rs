//! Solutions that train on rows of their own: their directions are held against the others', and nothing else is.

use std::{fs, path::Path};

use serde_json::json;
use strait::Table;

use crate::{common::Place, studies::small_study};

fn table(folder: &Path, name: &str) -> Table {
    Table::read_parquet(&folder.join(format!("tables/{name}.parquet"))).unwrap()
}

/// True if a row of a table has these words in these columns.
fn has(table: &Table, columns: [&str; 2], words: [&str; 2]) -> bool {
    let [one, other] = columns.map(|name| table.text(name).unwrap());
    one.iter().zip(other).any(|(one, other)| [one.as_str(), other] == words)
}

#[test]
fn directions_of_other_data_are_held_against_those_of_the_study() {
    let place = Place::new();
    small_study(&place, 4);
    let row = |i: usize| {
        let messages = json!([
            { "role": "user", "content": format!("boats {i}?") },
            { "role": "assistant", "content": format!("A dense answer, number {i}, on boats.") },
        ]);
        json!({ "messages": messages, "domain": "boats" }).to_string() + "\n"
    };
    place.write("boats.jsonl", &(0..6).map(row).collect::<String>());
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    let solution = "[[solution]]\nname = \"boats\"\ntrain_on = \"boats.jsonl\"\nmix = { rows = \"kl.jsonl\", ratio = 1 }\n[measure]\n\
        direction = { layers = 2, pairs = 4, factors = [1] }\nsweep = { layers = 1, factors = [1], pairs = 4, random = 1 }\n\
        convergence = { pairs = 4 }\ntrajectory = { checkpoints = 2, pairs = 0 }\ngradient = { checkpoints = 2 }\n";
    place.write("small.toml", &study.replace("[measure]\n", solution));

    let ran = place.run(["run", "small.toml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("boats: 6 rows of its own, in place of the training rows"), "{}", ran.err);
    assert!(ran.err.contains("boats: 6 rows of other domains are mixed in"), "{}", ran.err);
    let out = place.path("runs/small");
    for (name, columns, words) in [
        ("direction_cosine", ["solution", "other"], ["general", "boats"]),
        ("direction_effect", ["solution", "direction"], ["general", "boats"]),
        ("sweep_ablation", ["solution", "direction"], ["general", "boats"]),
        ("sweep_ablation", ["solution", "direction"], ["boats", "general"]),
        ("convergence", ["solution", "other"], ["general", "boats"]),
        ("trajectory", ["solution", "solution"], ["boats", "boats"]),
        ("preference", ["solution", "solution"], ["boats", "boats"]),
    ] {
        assert!(has(&table(&out, name), columns, words), "{name}: {words:?}");
    }
    // What reads the study's own training rows compares those that were trained on them.
    for name in ["efficiency", "stability", "gradient"] {
        assert!(!has(&table(&out, name), ["solution", "solution"], ["boats", "boats"]), "{name}");
    }
    let said = place.run(["run", "small.toml", "--json"]).json();
    let claims = said["conclusion"]["claims"].as_array().unwrap();
    assert!(!claims.is_empty() && claims.iter().all(|claim| claim["solution"] != "boats"), "{claims:?}");
    assert!(!said["conclusion"]["headline"].as_str().unwrap().contains("boats"), "{said}");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("own_rows"));

    // Its training follows from its rows, that of the others does not.
    let hash = |name: &str| fs::read(out.join(format!("solutions/{name}/edit.safetensors"))).unwrap();
    let before = ["general", "boats"].map(hash);
    let rows =
        fs::read_to_string(place.path("boats.jsonl")).unwrap().replace("A dense answer", "One long answer");
    place.write("boats.jsonl", &rows);
    place.run(["run", "small.toml", "--json"]).json();
    assert_eq!(hash("general"), before[0]);
    assert_ne!(hash("boats"), before[1]);
}
