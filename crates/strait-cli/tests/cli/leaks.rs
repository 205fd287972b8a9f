//! Rows that are trained on are not measured, and rows that were left out are counted.

use serde_json::{Value, json};

use crate::common::{Place, text, tiny};

/// A file of rows that ask these questions, answered in one way.
fn rows(place: &Place, name: &str, answer: &str, questions: &[&str]) {
    let row = |question: &&str| {
        let messages = json!([
            { "role": "user", "content": question },
            { "role": "assistant", "content": format!("{answer}, as to {}.", question.trim()) },
        ]);
        json!({ "messages": messages, "domain": "d" }).to_string() + "\n"
    };
    place.write(name, &questions.iter().map(row).collect::<String>());
}

/// A study of one solution with these keys.
fn study(place: &Place, solution: &str) {
    let model = text(&tiny("llama"));
    place.write(
        "s.toml",
        &format!(
            "model = '{model}'\n[data]\ntrain = 'train.jsonl'\nheld_out = 0\nkl = 'kl.jsonl'\n\
             [data.narrow]\ntaught = 'nt.jsonl'\nother = 'no.jsonl'\n\
             [data.general]\ntaught = 'gt.jsonl'\nother = 'go.jsonl'\n\
             [train]\nedit = 'steering'\nlayer = 1\nsteps = 1\n[[solution]]\nname = 'one'\n{solution}\n\
             [measure]\nefficiency = false\nstability = false\nscales = [1]\nresamples = 100\n"
        ),
    );
}

fn study_place(solution: &str) -> Place {
    let place = Place::new();
    rows(&place, "train.jsonl", "Densely", &["Why a?", "Why b?"]);
    rows(&place, "kl.jsonl", "Plainly", &["Why k?", "Why l?", "Why m?"]);
    rows(&place, "mix.jsonl", "Plainly", &["Why x?"]);
    for (taught, other, questions) in [
        ("nt.jsonl", "no.jsonl", ["  WHY a? ", "Why k?", "Why n?", "Why o?"]),
        ("gt.jsonl", "go.jsonl", ["Why k?", "why\nL?", "Why x?", "Why g?"]),
    ] {
        rows(&place, taught, "Densely", &questions);
        rows(&place, other, "Plainly", &questions);
    }
    study(&place, solution);
    place
}

fn pairs(place: &Place) -> [String; 2] {
    let table = std::fs::read_to_string(place.path("run/tables/preference.csv")).unwrap();
    let of = |group: &str| {
        let line = table.lines().find(|line| line.starts_with(&format!("one,{group},all,1.0,")));
        line.unwrap().split(',').nth(4).unwrap().to_string()
    };
    [of("narrow"), of("general")]
}

#[test]
fn pairs_are_left_out_for_what_any_solution_is_trained_on() {
    let also = |keys: &str| format!("kl = {{ weight = 1 }}\n[[solution]]\nname = 'two'\n{keys}");
    let mix = "mix = { rows = 'mix.jsonl', ratio = 1 }";
    for (solution, expected, table) in [
        ("", ["3", "4"], "narrow pairs,4,1,0,0,1\ngeneral pairs,4,0,0,0,0\n"),
        ("kl = { weight = 1 }", ["2", "2"], "narrow pairs,4,1,1,0,2\ngeneral pairs,4,0,2,0,2\n"),
        (mix, ["3", "3"], "narrow pairs,4,1,0,0,1\ngeneral pairs,4,0,0,1,1\n"),
        (&also(mix), ["2", "1"], "narrow pairs,4,1,1,0,2\ngeneral pairs,4,0,2,1,3\n"),
    ] {
        let place = study_place(solution);
        let said = place.run(["run", "s.toml", "--out", "run", "--json"]);
        assert_eq!(said.code, Some(0), "{solution}: {}", said.err);
        assert_eq!(pairs(&place), expected, "{solution}");
        let left_out = std::fs::read_to_string(place.path("run/tables/left_out.csv")).unwrap();
        let header = "what,read,in_training_rows,in_kl_rows,in_mixed_rows,left_out\n";
        assert_eq!(left_out, format!("{header}{table}"), "{solution}");
        let words = "of 4 narrow pairs are left out, for solutions are trained on the same";
        let report = std::fs::read_to_string(place.path("run/report.html")).unwrap();
        assert!(said.err.contains(words) && report.contains(words), "{}", said.err);
        let limits = said.object()["conclusion"]["limits"].to_string();
        assert!(limits.contains(words), "{limits}");
        assert!(place.run(["run", "s.toml", "--dry-run"]).out.contains(words));
    }
}

#[test]
fn a_group_of_which_nothing_is_left_is_refused_before_training() {
    let place = study_place("kl = { weight = 1 }");
    rows(&place, "gt.jsonl", "Densely", &["Why k?"]);
    rows(&place, "go.jsonl", "Plainly", &["Why k?"]);
    let said = place.run(["run", "s.toml", "--out", "run"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains("trained on all 1 general pairs") && said.err.contains("hint: "),
        "{}",
        said.err
    );
    assert!(!place.path("run/solutions").exists());
}

#[test]
fn held_out_rows_and_passages_that_are_trained_on_are_not_measured() {
    let place = study_place("kl = { weight = 1 }");
    let questions: Vec<String> = (0..8).map(|i| format!("Why {i}?")).collect();
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    rows(&place, "train.jsonl", "Densely", &questions);
    rows(&place, "kl.jsonl", "Plainly", &questions[..4]);
    place.write("p.txt", "The tide came in.\n\nplainly,  as to\nwhy 3?.\n");
    let path = place.path("s.toml");
    let study = std::fs::read_to_string(&path).unwrap();
    let study = study.replace("held_out = 0", "held_out = 0.5")
        + "significance = { text = 'p.txt', random = 1, norms = [1] }\n";
    std::fs::write(&path, study).unwrap();
    let said = place.run(["run", "s.toml", "--out", "run"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let left_out = std::fs::read_to_string(place.path("run/tables/left_out.csv")).unwrap();
    assert!(left_out.contains("\npassages,2,0,1,0,1\n"), "{left_out}");
    let held_out = left_out.lines().find(|line| line.starts_with("held-out rows,4,0,")).unwrap();
    let gone: i64 = held_out.rsplit(',').next().unwrap().parse().unwrap();
    let heldout = std::fs::read_to_string(place.path("run/tables/heldout.csv")).unwrap();
    assert!(gone > 0, "choose another split: {left_out}");
    assert!(heldout.contains(&format!("\none,{},", 4 - gone)), "{heldout}");
    let data: Value = serde_json::from_slice(&std::fs::read(place.path("run/data.json")).unwrap()).unwrap();
    assert_eq!((&data["held_out"]["rows"], &data["train"]["questions"]), (&json!(4), &json!(4)));
}
