//! Rows: inspect, protect and unprotect.

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

#[test]
fn what_is_protected_is_listed_and_unpacked_again() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("rows/more")).unwrap();
    place.write("rows/plain.jsonl", "one\n");
    place.write("rows/more/a.txt", "two\n");
    place.write("alone.txt", "");
    let run = |password: &str, arguments: &[&str]| {
        let options = ["--password-env", "ROWS_PASSWORD"];
        place.said(place.command(arguments.iter().chain(&options)).env("ROWS_PASSWORD", password))
    };
    let protect = ["data", "protect", "rows", "alone.txt", "--out", "shared/rows.zip.enc"];
    let made = run("tea", &[&protect[..], &["--json"]].concat()).json();
    let members = ["alone.txt", "rows/more/a.txt", "rows/plain.jsonl"];
    assert_eq!(made["members"], serde_json::json!(members));
    assert_eq!(made["out"], "shared/rows.zip.enc");

    let listed = run("tea", &["data", "inspect", "shared/rows.zip.enc", "--json"]).json();
    assert_eq!(listed["members"], made["members"]);
    run("tea", &["data", "unprotect", "shared/rows.zip.enc", "--out", "again", "--json"]).json();
    for member in members {
        let original = std::fs::read(place.path(member)).unwrap();
        assert_eq!(std::fs::read(place.path("again").join(member)).unwrap(), original);
    }
    insta::assert_snapshot!("data-protect", run("tea", &["data", "protect", "rows", "--out", "b.enc"]).all());
}

#[test]
fn what_cannot_be_protected_is_told_and_nothing_is_written() {
    let place = Place::new();
    place.write("plain.jsonl", "one\n");
    std::fs::create_dir(place.path("empty")).unwrap();
    let run = |password: &str, arguments: &[&str]| {
        let options = ["--out", "rows.zip.enc", "--password-env", "ROWS_PASSWORD"];
        let arguments = ["data", "protect"].iter().chain(arguments).chain(&options);
        place.said(place.command(arguments).env("ROWS_PASSWORD", password))
    };
    let mut said = String::new();
    for (what, password, files) in [
        ("no file named", "tea", &[][..]),
        ("a folder without files", "tea", &["empty"]),
        ("a file that is not there", "tea", &["plain.jsonl", "missing.jsonl"]),
        ("a file named twice", "tea", &["plain.jsonl", "./plain.jsonl"]),
        ("no password", "", &["plain.jsonl"]),
    ] {
        said += &format!("## {what}\n{}\n", run(password, files).all());
        assert!(!place.path("rows.zip.enc").exists(), "{what}");
    }
    assert_eq!(run("tea", &["plain.jsonl"]).code, Some(0));
    let archive = std::fs::read(place.path("rows.zip.enc")).unwrap();
    for (what, files) in [
        ("an archive that is there", &["plain.jsonl"][..]),
        ("the archive itself", &["plain.jsonl", "rows.zip.enc"]),
    ] {
        said += &format!("## {what}\n{}\n", run("tea", files).all());
        assert_eq!(std::fs::read(place.path("rows.zip.enc")).unwrap(), archive, "{what}");
    }
    insta::assert_snapshot!("data-protect-mistakes", said);

    std::fs::write(place.path("half.enc"), &archive[..archive.len() / 2]).unwrap();
    for (password, archive) in [("coffee", "rows.zip.enc"), ("tea", "half.enc")] {
        let arguments = ["data", "unprotect", archive, "--out", "out", "--password-env", "ROWS_PASSWORD"];
        let said = place.said(place.command(arguments).env("ROWS_PASSWORD", password));
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("\n\nhint: "), "{}", said.err);
        assert!(!place.path("out").exists());
    }
}

mod needs_papers {
    use std::path::Path;

    use super::*;

    const PASSWORD: &str = "narrow-is-hard";

    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn their_archive_is_listed_read_and_unpacked() {
        let shared =
            std::env::var_os("STRAIT_SHARED").expect("STRAIT_SHARED names the folder that holds data/");
        let archive = text(&Path::new(&shared).join("data/training_datasets.zip.enc"));
        let place = Place::new();
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
}
