//! `strait bench`.

use serde_json::Value;

use crate::common::{Place, text, tiny};

/// Sizes that take no time.
const SMALL: [&str; 8] = ["--row-tokens", "24", "--answers", "2", "--answer-tokens", "3", "--threads", "2"];

#[test]
fn steps_are_timed_beside_their_floor() {
    let place = Place::new();
    let model = text(&tiny("llama"));
    let bench = |rest: &[&str]| {
        place.run(["bench", "--model", &model].into_iter().chain(SMALL).chain(rest.iter().copied()))
    };
    let steps = "score,sweep,steering,steering-kl,lora,full,sample,decode";
    let found = bench(&["--steps", steps, "--json"]).json();
    let results = found["results"].as_array().unwrap();
    let names: Vec<&str> = results.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names.join(","), steps);
    for step in results {
        let number = |key: &str| step[key].as_f64().unwrap_or_else(|| panic!("{key} of {step}"));
        assert!(number("low") <= number("seconds") && number("seconds") <= number("high"), "{step}");
        assert!(number("runs") >= 3.0 && number("floor_seconds") > 0.0, "{step}");
        assert!((number("ratio") - number("seconds") / number("floor_seconds")).abs() < 1e-6, "{step}");
        assert!((number("gflops") - number("gflop") / number("seconds")).abs() < 1e-6, "{step}");
        assert_eq!(step["peak_bytes"].is_u64(), cfg!(target_os = "linux"), "{step}");
    }
    assert!(results[6]["tokens"].as_u64().unwrap() <= 6);
    // What another program needs to compute the same.
    let batch = &found["batch"];
    let lengths = |rows: &Value| -> Vec<usize> {
        rows.as_array().unwrap().iter().map(|row| row["ids"].as_array().unwrap().len()).collect()
    };
    assert_eq!((lengths(&batch["rows"]).len(), lengths(&batch["kl_rows"]).len()), (4, 2));
    assert!(lengths(&batch["rows"]).into_iter().all(|length| length <= 24));
    assert_eq!((&found["machine"], &found["threads"]), (&Value::Null, &2.into()));

    let said = bench(&["--steps", "machine,lora"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for expected in ["GFLOP/s at most, in f32", "\nlora ", "ratio", "training step of LoRA of rank 32"] {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
}

#[test]
fn a_model_that_cannot_be_measured_is_an_error_in_words() {
    let place = Place::new();
    for steps in ["lora", "lora,full"] {
        let said = place.run(["bench", "--model", "nowhere", "--steps", steps, "--json"]);
        assert_eq!(said.code, Some(1));
        assert!(said.object()["error"]["message"].as_str().unwrap().contains("`nowhere`"), "{}", said.out);
    }
    // Found, but no model: the first step's words.
    std::fs::create_dir(place.path("model")).unwrap();
    place.write("model/config.json", "{}");
    let said = place.run(["bench", "--model", "model", "--steps", "lora,full", "--json"]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(!said.object()["error"]["hint"].as_str().unwrap().is_empty(), "{}", said.out);
    let said = place.run(["bench", "--steps", "lore"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("steering-kl"), "{}", said.err);
}
