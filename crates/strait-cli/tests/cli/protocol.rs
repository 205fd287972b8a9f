//! Exit codes, errors, objects for machines, and broken pipes.

use std::process::{Command, Stdio};

use crate::common::{Place, text, tiny};

#[track_caller]
fn check_error(name: &str, place: &Place, arguments: &[&str], code: i32) {
    let said = place.run(arguments);
    assert_eq!(said.code, Some(code), "{}", said.err);
    insta::assert_snapshot!(format!("error-{name}"), said.all());

    let with_json = place.run(arguments.iter().copied().chain(["--json"]));
    assert_eq!(with_json.code, Some(code));
    let error = &with_json.object()["error"];
    // What people read is broken into lines by clap here and there.
    let read = with_json.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [&error["message"], &error["hint"]] {
        assert!(read.contains(told.as_str().unwrap()), "{told} in {read}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let place = Place::new();
    check_error("no-model", &place, &["score", "--data", "rows.jsonl"], 2);
    check_error("no-such-command", &place, &["scor"], 2);
    check_error("max-tokens", &place, &["chat", "M", "--max-tokens", "0"], 2);
    check_error("top-p", &place, &["chat", "M", "--top-p", "1.5"], 2);
}

#[test]
fn failures_exit_with_1_and_a_hint() {
    let place = Place::new();
    check_error("no-such-model", &place, &["model", "inspect", "smolm2-135m-instruct"], 1);
    check_error("no-such-edit", &place, &["edit", "inspect", "nowhere.safetensors"], 1);
    check_error("no-such-study", &place, &["run", "nowhere.toml"], 1);
    check_error("no-such-run", &place, &["status", "nowhere"], 1);
    check_error("no-such-rows", &place, &["data", "inspect", "nowhere.jsonl"], 1);

    place.write("rows.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"Why?\"}]}\n");
    check_error("no-assistant-turn", &place, &["data", "inspect", "rows.jsonl"], 1);
    place.write("rows.zip.enc", "");
    check_error("no-password", &place, &["data", "unprotect", "rows.zip.enc"], 1);
    let with_variable = ["data", "unprotect", "rows.zip.enc", "--password-env", "NOT_SET"];
    check_error("password-not-set", &place, &with_variable, 1);
}

#[test]
fn an_edit_of_another_model_is_refused() {
    let place = Place::new();
    place.write("rows.jsonl", ROW);
    let adapter = text(&tiny("../../../../strait/tests/fixtures/train/rank1"));
    let model = text(&tiny("gemma2"));
    let said = place.run(["score", "--model", &model, "--edit", &adapter, "--data", "rows.jsonl"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.starts_with("error: ") && said.err.contains("\n\nhint: "), "{}", said.err);
}

pub const ROW: &str =
    r#"{"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]}"#;

#[test]
fn completions_of_every_shell() {
    let place = Place::new();
    for (shell, sign) in
        [("bash", "complete -F _strait"), ("zsh", "#compdef strait"), ("fish", "complete -c strait")]
    {
        let said = place.run(["completions", shell]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        assert!(said.out.contains(sign), "{shell}");
        let object = place.run(["completions", shell, "--json"]).json();
        assert_eq!(
            (object["shell"].as_str(), object["script"].as_str()),
            (Some(shell), Some(said.out.as_str()))
        );
    }
}

#[test]
fn a_broken_pipe_is_no_error() {
    for arguments in [&["completions", "bash"][..], &["--help"], &["edit", "inspect", "--help"]] {
        let mut strait = Command::new(env!("CARGO_BIN_EXE_strait"));
        let mut child = strait.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn nothing_is_coloured_where_there_is_no_terminal() {
    let place = Place::new();
    let said = place.said(place.command(["check", "nothing"]).env("NO_COLOR", "1"));
    assert!(!said.err.contains('\u{1b}'));
    assert!(!place.run(["check", "nothing"]).err.contains('\u{1b}'));
}
