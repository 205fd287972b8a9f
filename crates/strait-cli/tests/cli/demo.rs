//! The demo through the command.

use std::time::Duration;

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

#[test]
fn a_quick_demo_shows_its_claims_and_prints_them_as_an_object() {
    let place = Place::new();
    let said = place.said(place.command(["demo", "--quick"]).timeout(Duration::from_secs(600)));
    assert_eq!(said.code, Some(0), "{}", said.err);
    for line in ["holds", "general vector", "narrow vector", "report: runs/demo/report.html"] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    // What is finished is not done again.
    let found = place.run(["demo", "--quick", "--json"]).json();
    let checks = found["checks"].as_array().unwrap();
    for check in checks {
        for key in ["claim", "section", "holds", "value", "low", "high"] {
            assert!(check.get(key).is_some(), "{key}: {check}");
        }
        assert!(said.out.contains(check["claim"].as_str().unwrap()), "{check}");
    }
    let solutions = found["solutions"].as_array().unwrap();
    assert_eq!(solutions.len(), 2);
    for key in
        ["name", "edit", "narrow_rate", "general_rate", "coherence", "norm", "loss", "general_rate_low"]
    {
        assert!(solutions.iter().all(|solution| solution.get(key).is_some()), "{key}");
    }
    assert_eq!(found["mode"], "quick");
    let written = std::fs::read_to_string(place.path("runs/demo/results.json")).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!((&written["schema"], &written["checks"]), (&1.into(), &found["checks"]));
    let lines: Vec<String> = said.out.lines().take(3).map(shape).collect();
    insta::assert_snapshot!("demo-quick", lines.join("\n"));
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
