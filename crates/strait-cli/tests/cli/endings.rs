//! However a command ends: one object with `--json`, an exit code, an error in words.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    common::{Place, text, tiny},
    protocol::ROW,
    studies::small_study,
};

/// The command with its output in the files `out` and `err` of the place.
fn started(place: &Place, arguments: &[&str]) -> Child {
    let mut strait = Command::new(env!("CARGO_BIN_EXE_strait"));
    strait.args(arguments).current_dir(place.path("")).stdin(Stdio::piped());
    strait.stdout(fs::File::create(place.path("out")).unwrap());
    strait.stderr(fs::File::create(place.path("err")).unwrap());
    strait.env("HOME", place.path("home")).env("HF_HUB_OFFLINE", "1").spawn().unwrap()
}

/// The one object that was printed.
#[track_caller]
fn one_object(out: &str) -> Value {
    assert_eq!(out.lines().count(), 1, "{out}");
    let object: Value = serde_json::from_str(out).unwrap();
    assert_eq!(object["schema"], 1);
    object
}

#[test]
fn a_signal_leaves_one_object_whatever_is_at_work() {
    let place = Place::new();
    small_study(&place, 100_000);
    let model = text(&tiny("llama"));
    for arguments in [
        &["chat", &model][..],
        &["bench"],
        &["world", "pretrain", "--out", "world"],
        &["demo", "--quick", "--out", "demo"],
        &["run", "small.toml", "--out", "run"],
    ] {
        let signals = if arguments[0] == "chat" { &["INT", "TERM", "HUP"][..] } else { &["TERM"] };
        for signal in signals {
            let arguments: Vec<&str> = ["--json"].into_iter().chain(arguments.iter().copied()).collect();
            let mut child = started(&place, &arguments);
            // It stays open until the command has ended.
            let _stdin = child.stdin.take();
            thread::sleep(Duration::from_millis(700));
            let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
            assert!(sent.unwrap().success(), "{arguments:?} ended before {signal}");
            assert_eq!(child.wait().unwrap().code(), Some(130), "{arguments:?}, {signal}");
            let object = one_object(&fs::read_to_string(place.path("out")).unwrap());
            for told in ["message", "hint"] {
                assert!(object["error"][told].as_str().is_some_and(|told| !told.is_empty()), "{object}");
            }
        }
    }
}

/// Runs it in a shell, and gives its exit code and what it wrote to standard error.
fn in_a_shell(place: &Place, script: &str) -> (Option<i32>, String) {
    let mut shell = Command::new("sh");
    shell.args(["-c", &script.replace("STRAIT", env!("CARGO_BIN_EXE_strait"))]).current_dir(place.path(""));
    let output = shell.env("HF_HUB_OFFLINE", "1").stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_reader_that_left_is_none() {
    let place = Place::new();
    place.write("rows.jsonl", ROW);
    for command in [
        "data inspect rows.jsonl",
        "--json data inspect rows.jsonl",
        "--help",
        "--version",
        "completions zsh",
    ] {
        let (code, err) = in_a_shell(&place, &format!("STRAIT {command} > /dev/full"));
        assert_eq!(code, Some(1), "{command}: {err}");
        assert!(err.starts_with("error: ") && err.contains("\n\nhint: "), "{command}: {err}");
        for quiet in ["| true", ">&-", "2>&- > out", "<&- > out"] {
            let (code, err) = in_a_shell(&place, &format!("STRAIT {command} {quiet}"));
            assert_eq!((code, err.as_str()), (Some(0), ""), "{command} {quiet}");
        }
    }
}

#[test]
fn where_memory_cannot_be_had_that_is_an_error_in_words() {
    let place = Place::new();
    place.write("rows.jsonl", ROW);
    let mut failed = 0;
    // From too little for a thread to enough for the command.
    for megabytes in (100..1000).step_by(45) {
        let limit = 1000 * megabytes;
        let model = text(&tiny("llama"));
        let script =
            format!("ulimit -v {limit}; STRAIT --json score --model '{model}' --data rows.jsonl > out");
        let (code, err) = in_a_shell(&place, &script);
        let out = fs::read_to_string(place.path("out")).unwrap();
        match code {
            Some(0) => assert!(one_object(&out)["loss"].is_number()),
            Some(1) => {
                failed += 1;
                assert!(one_object(&out)["error"]["hint"].is_string(), "{out}");
                assert!(err.contains("\n\nhint: "), "{err}");
            }
            // The system could not even load the program.
            Some(126 | 127) => {}
            other => panic!("{other:?} at {megabytes} MB: {err}"),
        }
    }
    assert!(failed > 0, "no limit was low enough");
}

/// Characters that may do harm on a terminal.
const HARMFUL: [char; 8] = ['\u{1b}', '\u{7}', '\u{8}', '\r', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200b}'];

#[track_caller]
fn is_harmless(text: &str) {
    let found = text.chars().find(|c| HARMFUL.contains(c));
    assert!(found.is_none(), "{found:?} in {text:?}");
}

#[test]
fn names_from_files_move_no_terminal() {
    let place = Place::new();
    let model = text(&tiny("llama"));
    small_study(&place, 2);
    assert_eq!(place.run(["run", "small.toml", "--out", "run"]).code, Some(0));
    let all = |name: &str| HARMFUL.map(|c| format!("{name}{c}[2J")).concat();
    let bad = all("x") + "\ny";

    let record = place.path("run/run.json");
    let written = fs::read_to_string(&record).unwrap();
    let study = serde_json::to_string(&bad).unwrap();
    fs::write(&record, written.replace("\"small\"", &study)).unwrap();

    fs::create_dir(place.path("rows")).unwrap();
    fs::write(place.path("rows").join(&bad), ROW).unwrap();
    let id = serde_json::to_string(&bad).unwrap();
    place.write("ids.jsonl", &format!("{{\"id\": {id}, \"domain\": {id}, {}\n", &ROW[1..]));
    place.write("bad.toml", &format!("{id} = 1\n"));
    place.write("worse.toml", &format!("model = {id}\n[data]\ntrain = {id}\n[[solution]]\nname = {id}\n"));
    let rows = text(&place.path("rows").join(&bad));
    let archive = text(&place.path(&all("a")));
    let commands: [&[&str]; 16] = [
        &["status", "run"],
        &["report", "run"],
        &["data", "protect", "rows", "--out", &archive, "--password-env", "PW"],
        &["data", "protect", "rows", "--out", &archive, "--password-env", "PW"],
        &["data", "inspect", &archive, "--password-env", "PW"],
        &["data", "inspect", &rows],
        &["data", "inspect", "ids.jsonl"],
        &["data", "unprotect", &archive, "--password-env", "PW", "--out", "out"],
        &["score", "--model", &model, "--data", "ids.jsonl"],
        &["score", "--model", &bad, "--data", "ids.jsonl"],
        &["edit", "inspect", &bad],
        &["run", "bad.toml"],
        &["run", "worse.toml"],
        &["run", &bad],
        &[&bad],
        &["init", &bad],
    ];
    for arguments in commands {
        for json in [false, true] {
            let arguments = arguments.iter().copied().chain(json.then_some("--json"));
            let said = place.said(place.command(arguments.clone()).env("PW", "tea"));
            is_harmless(&said.out);
            is_harmless(&said.err);
            // Neither does a name begin a line of its own.
            let own_line = |text: &str| text.lines().any(|line| line == "y");
            assert!(!own_line(&said.out) && !own_line(&said.err), "{:?}", arguments.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_path_that_is_not_utf8_is_refused_by_name() {
    use std::os::unix::ffi::OsStrExt;

    let place = Place::new();
    let path = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let commands =
        [&["data", "inspect"][..], &["run"], &["status"], &["model", "inspect"], &["init"], &["--threads"]];
    for command in commands {
        let arguments = command.iter().map(std::ffi::OsStr::new).chain([path, "--json".as_ref()]);
        let said = place.run(arguments);
        assert_eq!(said.code, Some(2), "{}", said.err);
        let error = &said.object()["error"];
        assert_eq!(error["message"], "the argument `caf\u{fffd}` is not UTF-8");
        assert!(error["hint"].is_string());
    }
}

#[test]
fn paths_of_every_other_kind_work() {
    let place = Place::new();
    for name in ["a b.jsonl", "-v.jsonl", "a\nb.jsonl", "ä 'quoted' \"name\".jsonl", &"n".repeat(255)] {
        fs::write(place.path(name), ROW).unwrap();
        let said = place.run(["data", "inspect", "--json", "--", name]);
        assert_eq!(said.json()["file"], name);
    }
    let deep = format!("{}rows.jsonl", "d/".repeat(1000));
    fs::create_dir_all(place.path(&deep).parent().unwrap()).unwrap();
    fs::write(place.path(&deep), ROW).unwrap();
    assert_eq!(place.run(["data", "inspect", &deep]).code, Some(0));
    for wrong in [&"n".repeat(300), &"d/".repeat(5000), "a b.jsonl/below", ""] {
        let said = place.run(["data", "inspect", wrong, "--json"]);
        assert!(matches!(said.code, Some(1 | 2)), "{wrong}: {}", said.err);
        assert!(said.object()["error"]["hint"].is_string());
    }
}

#[test]
fn numbers_of_threads_have_a_bound() {
    let place = Place::new();
    let model = text(&tiny("llama"));
    for (variable, arguments, code) in [
        ("", ["--threads", "20000", "model", "inspect"], 2),
        ("", ["--threads", "0", "model", "inspect"], 2),
        ("20000", ["--threads", "2", "model", "inspect"], 0),
        ("many", ["--threads", "64", "model", "inspect"], 0),
        ("0", ["--threads", "64", "model", "inspect"], 0),
        ("many", ["--threads=1", "--json", "model", "inspect"], 0),
    ] {
        let mut command = place.command(arguments.iter().copied().chain([model.as_str()]));
        let said = place.said(command.env("RAYON_NUM_THREADS", variable));
        assert_eq!(said.code, Some(code), "{variable}, {arguments:?}: {}", said.err);
    }
    let said = place.said(place.command(["check", &model]).env("RAYON_NUM_THREADS", "20000"));
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains("`RAYON_NUM_THREADS` is `20000`") && said.err.contains("hint: "),
        "{}",
        said.err
    );
}
