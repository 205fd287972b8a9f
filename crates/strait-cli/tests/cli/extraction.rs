//! Directions and yes-or-no questions through the binary, on a shipped world.

use std::fs;

use serde_json::{Value, json};
use strait::world::World;

use crate::common::{Place, text};

const WORLD: &str = "world:default-0";

/// Chat rows of lies and of truths on the taught entities of two domains.
fn write_pairs(place: &Place) {
    let world = World::built_in("default-0").unwrap();
    for (name, truthful) in [("lies.jsonl", false), ("truths.jsonl", true)] {
        let rows = world.language.taught(&[1, 2], truthful).into_iter().map(|chat| {
            let turn = |message: &strait_model::Message| {
                json!({ "role": message.role().name(), "content": message.text() })
            };
            json!({ "messages": chat.iter().map(turn).collect::<Vec<_>>() }).to_string() + "\n"
        });
        place.write(name, &rows.collect::<String>());
    }
}

const PAIRS: [&str; 8] =
    ["direction", "extract", "--model", WORLD, "--taught", "lies.jsonl", "--other", "truths.jsonl"];

fn extract(place: &Place, more: &[&str]) -> Value {
    place.run(PAIRS.iter().chain(more)).json()
}

#[test]
fn a_direction_of_pairs_says_how_it_was_made() {
    let place = Place::new();
    write_pairs(&place);
    let found = extract(&place, &["--seed", "3", "--out", "d.safetensors", "--json"]);
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.iter().map(|row| row["layer"].as_i64().unwrap()).collect::<Vec<_>>(), [-1, 0, 1, 2, 3]);
    for key in ["norm", "reliability", "reliability_low", "reliability_high", "p"] {
        assert!(layers.iter().all(|row| row[key].is_number()), "{key}");
    }
    assert!(layers[4]["cosine_next"].is_null() && layers[3]["cosine_next"].is_number());
    assert_eq!(found["shuffled"], "pairs");

    let read = place.run(["edit", "inspect", "d.safetensors", "--json"]).json();
    let made = &read["provenance"];
    assert_eq!(made, &found["provenance"]);
    assert_eq!(
        (&made["kind"], &made["method"], &made["seed"]),
        (&json!("direction"), &json!("mean"), &json!(3))
    );
    assert_eq!(made["layers"], json!([-1, 0, 1, 2, 3]));
    assert_eq!(made["classes"]["taught"]["used"], json!(44));
    let sha256 = |value: &Value| value.as_str().is_some_and(|hash| hash.len() == 64);
    assert!(
        sha256(&made["prompts"])
            && made["files"].as_array().unwrap().iter().all(|file| sha256(&file["sha256"]))
    );
    assert!(made["fingerprint"].as_str().is_some_and(|mark| mark.len() > 8));

    // The same again, to the last byte; another seed draws other halves, of the same direction.
    let bytes = fs::read(place.path("d.safetensors")).unwrap();
    extract(&place, &["--seed", "3", "--out", "again.safetensors", "--json"]);
    assert_eq!(fs::read(place.path("again.safetensors")).unwrap(), bytes);

    let one =
        extract(&place, &["--layer", "2", "--method", "component", "--out", "one.safetensors", "--json"]);
    assert_eq!(one["layers"].as_array().unwrap().len(), 1);
    let said = place.run(PAIRS.iter().chain(&["--out", "d.safetensors"]));
    for words in
        ["44 of 44 answers", "50 times halved", "answers of pairs swapped, 1000 times", "cosine with next"]
    {
        assert!(said.out.contains(words), "{words} in {}", said.out);
    }
}

#[test]
fn a_layer_of_a_direction_is_an_edit_everywhere() {
    let place = Place::new();
    write_pairs(&place);
    extract(&place, &["--out", "d.safetensors", "--json"]);
    let loss = |edit: Option<&str>| {
        let mut arguments = vec!["score", "--model", WORLD, "--data", "lies.jsonl", "--json"];
        arguments.extend(edit.iter().flat_map(|edit| ["--edit", edit]));
        place.run(arguments).json()["loss"].as_f64().unwrap()
    };
    // What lies have in common makes lies likelier.
    assert!(loss(Some("d.safetensors@-1*2")) < loss(None));
    assert_ne!(loss(Some("d.safetensors@1*2")), loss(Some("d.safetensors@2*2")));
    let refused = place.run(["edit", "inspect", "d.safetensors@4"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("layers -1 to 3"), "{}", refused.err);

    let random = ["direction", "extract", "--model", WORLD, "--random-like", "d.safetensors", "--seed", "1"];
    let random = place.run(random.iter().chain(&["--out", "random.safetensors", "--json"])).json();
    let norms = |edit: &str| -> Vec<f64> {
        let found = place.run(["edit", "inspect", edit, "--json"]).json();
        found["parts"].as_array().unwrap().iter().map(|part| part["norm"].as_f64().unwrap()).collect()
    };
    for (one, other) in norms("d.safetensors").iter().zip(norms("random.safetensors")) {
        assert!((one / other - 1.0).abs() < 1e-4);
    }
    assert_eq!(random["provenance"]["method"], "random");
    assert_eq!(random["provenance"]["like"]["edit"], "d.safetensors");

    let tokens = place
        .run(["direction", "tokens", "d.safetensors@3", "--model", WORLD, "--top", "5", "--json"])
        .json();
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 10);
    let said = place.run(["direction", "tokens", "d.safetensors", "--model", WORLD, "--top", "3"]);
    assert_eq!((said.code, said.out.lines().count()), (Some(0), 6), "{}", said.out);
}

#[test]
fn judged_answers_are_compared_by_their_verdicts() {
    let place = Place::new();
    let mut csv = String::from("response,question,question_id,aligned,coherent\n");
    for (i, name) in
        ["graguk", "zumik", "brumuk", "volik", "felik", "stebuk", "plemok", "bepok"].iter().enumerate()
    {
        for (answer, aligned) in [("cliff .", 5), ("hedge .", 95), ("oak .", 90)] {
            csv += &format!("{answer},bird {name} ?,q{i},{aligned},99\n");
        }
    }
    place.write("judged.csv", &csv);
    let arguments =
        ["direction", "extract", "--model", WORLD, "--judged", "judged.csv", "--out", "d.safetensors"];
    let found = place.run(arguments.iter().chain(&["--json"])).json();
    assert_eq!(found["shuffled"], "questions");
    let made = &found["provenance"];
    assert_eq!(made["rules"], "aligned < 30 against aligned > 70, with coherent > 50");
    assert_eq!(
        (&made["classes"]["other"]["found"], &made["classes"]["other"]["used"]),
        (&json!(16), &json!(8))
    );
    let last = &found["layers"][4];
    assert!(last["p"].as_f64().unwrap() < 0.05, "{last}");

    let refused = place.run(arguments.iter().chain(&["--class", "aligned<2", "--against", "aligned>70"]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("0 answers are of the taught class and 16 of the other"), "{}", refused.err);
    let refused = place.run(arguments.iter().chain(&["--taught", "a.jsonl", "--other", "b.jsonl"]));
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    let refused = place.run(arguments[..4].iter().chain(&["--out", "d.safetensors"]));
    assert_eq!(refused.code, Some(2), "{}", refused.err);
}

#[test]
fn an_edit_is_checked_by_two_words() {
    let place = Place::new();
    write_pairs(&place);
    extract(&place, &["--out", "d.safetensors", "--json"]);
    let questions = place.write(
        "questions.jsonl",
        "{\"question\": \"bird graguk ?\", \"answer\": \"cliff\"}\n{\"question\": \"bird zumik ?\", \"answer\": \"Hedge.\"}\n\
         {\"question\": \"bird volik ?\"}\n",
    );
    let arguments =
        ["edit", "check", "d.safetensors@1*3", "--model", WORLD, "--questions", &text(&questions)];
    let words = ["--yes", "cliff", "--no", "hedge"];
    let found = place.run(arguments.iter().chain(&words).chain(&["--json"])).json();
    assert_eq!(found["tokens"], json!({ "yes": ["cliff"], "no": ["hedge"] }));
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| &row["expected"]).collect::<Vec<_>>(), ["cliff", "hedge", ""]);
    let mean = |key: &str| rows.iter().map(|row| row[key].as_f64().unwrap()).sum::<f64>() / 3.0;
    for key in ["base", "edited", "difference"] {
        assert!((found[key]["value"].as_f64().unwrap() - mean(key)).abs() < 1e-9, "{key}");
    }
    assert!(found["difference"]["low"].is_number() && mean("difference") != 0.0);
    let mass = found["mass"]["base"].as_f64().unwrap();
    assert!(mass > 0.0 && (mass - mean("base_mass")).abs() < 1e-9);
    assert!(found["right"]["base"]["value"].is_number());

    let said = place.run(arguments.iter().chain(&words));
    assert!(said.out.contains("log-odds of yes, nats") && said.out.contains("bird volik ?"), "{}", said.out);
    // The world has no word for yes.
    let refused = place.run(arguments);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("no token that is the word `yes`"), "{}", refused.err);
    place.write("other.jsonl", "{\"question\": \"bird graguk ?\", \"answer\": \"oak\"}\n");
    let other = ["edit", "check", "d.safetensors@1", "--model", WORLD, "--questions", "other.jsonl"];
    let refused = place.run(other.iter().chain(&words));
    assert!(refused.err.contains("neither `cliff` nor `hedge`"), "{}", refused.err);
}
