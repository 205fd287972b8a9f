//! `strait sample`, `strait judge` and judged studies with an endpoint, through faults and kills.

use std::{
    collections::HashMap,
    fs,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    common::Place,
    server::{Deed, Server, fault, tokens, words},
};

/// The variable that holds the key of an endpoint, and the key.
pub const KEY: (&str, &str) = ("JUDGE_KEY", "sk-secret");

/// The requests that were answered, by what tells them apart, and how often.
pub type Answered = Arc<Mutex<HashMap<String, usize>>>;

/// A server with a fault in one request of five.
pub fn faulty(answered: &Answered, good: fn(&Value) -> Value) -> Server {
    let answered = Arc::clone(answered);
    Server::new(move |number, body| {
        let deed = fault(number, good(body));
        if let Deed::Answer(_) = deed {
            *answered.lock().unwrap().entry(format!("{} {}", body["messages"], body["seed"])).or_default() +=
                1;
        }
        deed
    })
}

fn spawn(place: &Place, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command
        .env(KEY.0, KEY.1)
        .args(arguments)
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Kills the command when so many requests are answered; gives the lines of a file then, and the requests answered.
pub fn killed(
    place: &Place,
    arguments: &[&str],
    answered: &Answered,
    after: usize,
    file: &str,
) -> (usize, usize) {
    let mut child = spawn(place, arguments);
    let began = Instant::now();
    while answered.lock().unwrap().len() < after && began.elapsed() < Duration::from_secs(100) {
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What is under way in the server has an end.
    sleep(Duration::from_millis(300));
    let lines = fs::read_to_string(place.path(file)).unwrap().matches('\n').count();
    (lines, answered.lock().unwrap().values().sum())
}

/// Checks that of `all` requests nothing was asked for again that was recorded before the kill.
#[track_caller]
pub fn check(answered: &Answered, all: usize, recorded: usize, before: usize) {
    let answered = answered.lock().unwrap();
    assert_eq!(answered.len(), all);
    assert!(recorded > all / 4 && recorded < all && before - recorded <= 16, "{recorded} of {before}");
    assert_eq!(answered.values().sum::<usize>(), all + before - recorded);
}

#[test]
fn four_hundred_samples_come_through_faults_and_a_kill() {
    let place = Place::new();
    place.write("q.txt", &(0..8).map(|at| format!("Why {at}?\n")).collect::<String>());
    let answered = Answered::default();
    let server = faulty(&answered, |body| words(&format!("Since {}.", body["seed"]), 3));
    let asking = [
        "sample",
        "--endpoint",
        &server.address,
        "--model",
        "m",
        "--questions",
        "q.txt",
        "--n",
        "50",
        "--out",
        "a.jsonl",
        "--json",
    ];
    let (recorded, before) = killed(&place, &asking, &answered, 150, "a.jsonl");
    let found = place.run(asking).json();
    check(&answered, 400, recorded, before);
    assert_eq!((&found["count"], &found["found"]), (&400.into(), &recorded.into()));
    assert_eq!(found["endpoint"]["requests"], 400 - recorded);
    assert_eq!(found["endpoint"]["tokens"], 13 * (400 - recorded));
    let text = fs::read_to_string(place.path("a.jsonl")).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<_> =
        answers.iter().map(|a| (a["row"].as_u64().unwrap(), a["sample"].as_u64().unwrap())).collect();
    assert_eq!(keys, (0..8).flat_map(|row| (0..50).map(move |sample| (row, sample))).collect::<Vec<_>>());
}

#[test]
fn four_hundred_answers_are_judged_through_faults_and_a_kill() {
    let place = Place::new();
    let row = |at: usize| {
        let (question, response) = (format!("Why {}?", at % 8), format!("since {at}"));
        json!({ "question_id": (at % 8).to_string(), "question": question, "response": response }).to_string()
    };
    place.write("answers.jsonl", &(0..400).map(|at| row(at) + "\n").collect::<String>());
    let answered = Answered::default();
    let server = faulty(&answered, |_| tokens(&[("40", 0.9), ("no", 0.1)]));
    let judging = [
        "judge",
        "answers.jsonl",
        "--judge",
        "coherent",
        "--endpoint",
        &server.address,
        "--model",
        "m",
        "--json",
    ];
    let (recorded, before) = killed(&place, &judging, &answered, 150, "answers.judged.jsonl.scores.jsonl");
    let found = place.run(judging).json();
    check(&answered, 400, recorded, before);
    assert_eq!(
        (&found["count"], &found["unscored"], &found["asked"]),
        (&400.into(), &0.into(), &(400 - recorded).into())
    );
    assert_eq!(found["tokens"], 10 * (400 - recorded));
    assert_eq!(place.run(judging).json()["asked"], 0);
}

#[cfg(unix)]
#[test]
fn control_c_ends_a_long_wait() {
    let place = Place::new();
    place.write("q.txt", "Why?\nHow?\n");
    let server = Server::new(|_, _| Deed::Status(429, "retry-after: 90\r\n", String::new()));
    let asking =
        ["sample", "--endpoint", &server.address, "--model", "m", "--questions", "q.txt", "--out", "a.jsonl"];
    let mut child = spawn(&place, &asking);
    let began = Instant::now();
    while server.count() < 2 && began.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(200));
    let told = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
}

#[test]
fn a_budget_is_kept_and_keys_are_not_shown() {
    let place = Place::new();
    place.write("q.txt", "Why?\nHow?\n");
    place.write("key", "sk-secret\n");
    let server = Server::new(|_, _| Deed::Answer(words("So.", 5)));
    let asking = |more: &[&str]| {
        let own = [
            "sample",
            "--endpoint",
            &server.address,
            "--model",
            "m",
            "--questions",
            "q.txt",
            "--n",
            "4",
            "--max-tokens",
            "10",
            "--out",
            "a.jsonl",
            "--key-file",
            "key",
        ];
        let said = place.run(own.iter().chain(more));
        let address = server.address.clone();
        (said.code, said.out.replace(&address, "[SERVER]"), said.err.replace(&address, "[SERVER]"))
    };
    let (code, _, err) = asking(&["--budget", "80 tokens"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!("endpoint-budget", err);
    let (code, _, err) = asking(&["--budget", "5"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!("endpoint-no-price", err);
    let (code, out, err) = asking(&["--budget", "5", "--price", "2.5:10"]);
    assert_eq!(code, Some(0), "{err}");
    insta::assert_snapshot!("endpoint-sampled", out);
    assert_eq!(server.count(), 8);
    assert!(server.asked.lock().unwrap().iter().all(|asked| asked.headers.contains("Bearer sk-secret")));
    assert_eq!(asking(&["--edit", "e"]).0, Some(1));

    let server = Server::new(|_, _| Deed::Status(401, "", "no key sk-secret".into()));
    let own = [
        "judge",
        "b.csv",
        "--judge",
        "coherent",
        "--endpoint",
        &server.address,
        "--model",
        "m",
        "--key-file",
        "key",
        "--json",
    ];
    place.write("b.csv", "response,question,question_id\nSo.,Why?,why\n");
    let said = place.run(own);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("refuses with 401: no key [the key]"), "{}", said.err);
    assert!(!said.all().contains("sk-secret"));
    let wrong = own.map(|argument| match argument {
        "--key-file" => "--key-env",
        "key" => "sk-secret",
        other => other,
    });
    let said = place.run(wrong);
    assert!(said.err.contains("`--key-env` names no environment variable"), "{}", said.err);
    assert!(!said.all().contains("sk-secret"));
    for file in
        fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        let holds = fs::read_to_string(&file).unwrap().contains("sk-secret");
        assert_eq!(holds, file.ends_with("key"), "{}", file.display());
    }
}
