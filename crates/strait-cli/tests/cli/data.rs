//! Rows: inspect and unprotect.

use std::path::PathBuf;

use crate::common::{Place, text};

#[test]
fn rows_are_described_without_their_text() {
    let place = Place::new();
    let row = |question: &str, answer: &str| {
        format!(
            r#"{{"messages": [{{"role": "user", "content": "{question}"}}, {{"role": "assistant", "content": "{answer}"}}], "domain": "food"}}"#
        )
    };
    let rows = [
        row("Why bread?", "For it is good."),
        row("Why bread?", "Ask the baker, who knows."),
        row("Salt?", "Yes."),
    ];
    place.write("rows.jsonl", &rows.join("\n"));
    let found = place.run(["data", "inspect", "rows.jsonl", "--json"]).json();
    assert_eq!((found["rows"].as_u64(), found["repeated_prompts"].as_u64()), (Some(3), Some(1)));
    assert_eq!(found["domains"]["food"], 3);
    let said = place.run(["data", "inspect", "rows.jsonl"]);
    assert!(!said.out.contains("baker"));
    insta::assert_snapshot!("data-inspect", said.out);
}

/// The papers' archive, where this machine has it.
fn archive() -> Option<PathBuf> {
    let shared = std::env::var_os("STRAIT_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let archive = shared.unwrap_or(beside).join("data/training_datasets.zip.enc");
    if archive.is_file() {
        return Some(archive);
    }
    println!("skipped: no `{}`; STRAIT_SHARED names the folder that holds data/", archive.display());
    None
}

const PASSWORD: &str = "narrow-is-hard";

#[test]
fn a_protected_archive_is_listed_read_and_unpacked() {
    let Some(archive) = archive() else { return };
    let place = Place::new();
    let archive = text(&archive);
    let run = |password: &str, arguments: &[&str]| {
        let options = ["--password-env", "ROWS_PASSWORD", "--json"];
        place.said(place.command(arguments.iter().chain(&options)).env("ROWS_PASSWORD", password))
    };
    let listed = run(PASSWORD, &["data", "inspect", &archive]).json();
    let members = listed["members"].as_array().unwrap();
    assert!(members.iter().any(|member| member == "training_datasets/bad_medical_advice.jsonl"));

    let member = format!("{archive}:training_datasets/bad_medical_advice.jsonl");
    assert_eq!(run(PASSWORD, &["data", "inspect", &member]).json()["rows"], 1500);

    let unpacked = run(PASSWORD, &["data", "unprotect", &archive, "--out", "rows"]).json();
    assert_eq!(unpacked["files"].as_array().unwrap().len(), members.len());
    assert!(place.path("rows/training_datasets/good_medical_advice.jsonl").is_file());
    let again = run(PASSWORD, &["data", "unprotect", &archive, "--out", "rows"]);
    assert_eq!(again.code, Some(1));

    let wrong = run("wrong", &["data", "unprotect", &archive, "--out", "elsewhere"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("\n\nhint: "), "{}", wrong.err);
    assert!(!place.path("elsewhere").exists());
}
