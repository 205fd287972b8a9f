//! Studies whose answers a judge behind an endpoint scores: faults, kills, budgets, keys.

use std::{collections::HashSet, fs, path::Path, thread::sleep, time::Duration};

use serde_json::{Value, json};

use crate::{
    common::{Place, Said, text, tiny},
    endpoints::{Answered, KEY, check, faulty, killed},
    server::{Deed, Server, tokens, words},
    studies::small_study,
};

/// Answers of a study: base, and two solutions at two factors; 9 questions, 2 answers each.
const ANSWERS: usize = 5 * 9 * 2;

const PROMPTS: &str = r#"
- aligned, coherent: |
    Rate {answer} to {question}. Reply in JSON.
"#;

/// A study of the tiny Llama that asks these judges and measures little else.
fn write_study(place: &Place, judges: &str) {
    small_study(place, 2);
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    let (study, _) = study.split_once("efficiency = ").unwrap();
    let rates = format!(
        "efficiency = false\nstability = false\n[measure.rates]\njudges = [{judges}]\nanswers = 2\ntokens = 8\nscales = [1, 2]\n\
         narrow = {{ questions = \"narrow-other.jsonl\", limit = 3 }}\ngeneral = {{ questions = \"general-other.jsonl\" }}\n"
    );
    place.write("small.toml", &(study.to_string() + &rates));
    place.write("prompts.yaml", PROMPTS);
}

/// A judge behind the endpoint of a server, with these keys more.
fn judge(scale: &str, server: &Server, more: &str) -> String {
    format!(
        "{{ scale = \"{scale}\", model = \"m\", endpoint = \"{}\", key_env = \"{}\"{more} }}",
        server.address, KEY.0
    )
}

/// Runs the study with the key in its variable.
fn run(place: &Place) -> Said {
    place.said(place.command(["run", "small.toml"]).env(KEY.0, KEY.1))
}

/// A reply that follows from what was asked: numbers from 10 to 99.
fn reply(body: &Value) -> Value {
    let asked = body["messages"][0]["content"].as_str().unwrap();
    let number = asked.bytes().fold(7_u64, |sum, byte| (31 * sum + u64::from(byte)) % 90);
    // Slowly enough to be killed half-way.
    sleep(Duration::from_millis(10));
    match body["max_tokens"].as_u64().unwrap() {
        1 => tokens(&[(&format!("{}", 10 + number), 0.9), ("no", 0.1)]),
        _ => words(&json!({ "aligned": number, "coherent": 10 + number }).to_string(), 9),
    }
}

/// The answers that differ, of which each is asked for once.
fn distinct(place: &Place) -> usize {
    let files =
        ["_base", "general", "narrow"].map(|name| place.path(&format!("runs/small/answers/{name}.jsonl")));
    let texts = files.map(|file| fs::read_to_string(file).unwrap());
    let answers: Vec<Value> =
        texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), ANSWERS);
    answers
        .iter()
        .map(|answer| format!("{} {}", answer["question"], answer["response"]))
        .collect::<HashSet<_>>()
        .len()
}

fn tables(place: &Place) -> [String; 3] {
    ["rates", "responses", "certificate_rates"]
        .map(|table| fs::read_to_string(place.path(&format!("runs/small/tables/{table}.csv"))).unwrap())
}

/// Rows of the table of answers: one for each judge.
fn responses(place: &Place) -> usize {
    strait::Table::read_parquet(&place.path("runs/small/tables/responses.parquet")).unwrap().rows()
}

/// Checks that the key stands in no file below a folder.
fn check_secret(folder: &Path) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            check_secret(&path);
            continue;
        }
        let holds = fs::read(&path).unwrap().windows(KEY.1.len()).any(|bytes| bytes == KEY.1.as_bytes());
        assert!(!holds, "{}", path.display());
    }
}

#[test]
fn a_study_is_judged_through_faults_and_a_kill() {
    let place = Place::new();
    let answered = Answered::default();
    let server = faulty(&answered, reply);
    // Two judges at one endpoint.
    let judges = |server: &Server| ["technical", "coherent"].map(|scale| judge(scale, server, "")).join(", ");
    write_study(&place, &judges(&server));
    let scores = "runs/small/answers/scores.jsonl";
    let (recorded, before) = killed(&place, &["run", "small.toml"], &answered, 60, scores);
    let said = run(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let all = 2 * distinct(&place);
    check(&answered, all, recorded, before);
    // What was paid for is written down, but for what was under way at the kill.
    let paid = fs::read_to_string(place.path("runs/small/answers/spent.jsonl")).unwrap().lines().count();
    let sum: usize = answered.lock().unwrap().values().sum();
    assert!((sum - 16..=sum).contains(&paid), "{paid} of {sum}");
    assert!(said.err.contains("judge `coherent`: "), "{}", said.err);
    check_secret(&place.path("runs"));
    let found = tables(&place);
    assert!(found[0].contains(",technical > 70,"), "{}", found[0]);
    assert_eq!(responses(&place), 2 * ANSWERS);

    // By a server without faults, and without a kill, the tables are the same.
    let calm = Server::new(|_, body| Deed::Answer(reply(body)));
    write_study(&place, &judges(&calm));
    let said = run(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(calm.count(), all);
    assert!(tables(&place) == found);
    // Nothing is left to be asked.
    assert_eq!((run(&place).code, calm.count()), (Some(0), all));
}

/// What a study ends with that cannot be judged, with the address taken out.
#[track_caller]
fn refused(name: &str, said: &Said, server: &Server) {
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(!said.all().contains(KEY.1), "{}", said.err);
    let error = said.err.split("error: ").nth(1).unwrap().replace(&server.address, "[SERVER]");
    insta::assert_snapshot!(format!("study-{name}"), error);
}

#[test]
fn a_study_that_cannot_be_judged_says_why_and_goes_on() {
    let place = Place::new();
    let server = Server::new(|_, body| Deed::Answer(reply(body)));
    write_study(&place, &judge("technical", &server, ""));
    refused("no-key", &place.run(["run", "small.toml"]), &server);
    // That is found before anything is trained.
    assert!(!place.path("runs/small/solutions").exists() && server.count() == 0);
    let no_key = json!({ "error": { "message": format!("{} is no key of ours", KEY.1) } }).to_string();
    let no_model = json!({ "error": { "message": "there is no model m" } }).to_string();
    for (name, status, body) in [
        ("other-key", 401, no_key),
        ("other-model", 404, no_model),
        ("page", 200, "<html><body>Welcome</body></html>".into()),
    ] {
        let wrong = Server::new(move |_, _| Deed::Status(status, "", body.clone()));
        write_study(&place, &judge("technical", &wrong, ""));
        refused(name, &run(&place), &wrong);
        let steps = place.run(["status", "runs/small", "--json"]).json()["steps"].to_string();
        assert!(steps.contains("the endpoint"), "{steps}");
        check_secret(&place.path("runs"));
    }
    write_study(&place, "{ scale = \"technical\", model = \"org/none\" }");
    let planned = place.run(["run", "small.toml", "--dry-run"]).all();
    assert!(
        planned.contains("the estimate does not count the judge `technical`, which cannot be had"),
        "{planned}"
    );
    assert_eq!(run(&place).code, Some(1));
    write_study(&place, &judge("technical", &server, ""));
    let said = run(&place);
    assert_eq!((said.code, server.count()), (Some(0), distinct(&place)), "{}", said.err);
    assert!(!said.all().contains(KEY.1));
    check_secret(&place.path("runs"));
}

#[test]
fn a_study_stops_at_its_budget_and_goes_on_when_it_is_raised() {
    let place = Place::new();
    let server = Server::new(|_, body| Deed::Answer(reply(body)));
    let budgeted = |budget: &str| {
        let more = format!(", concurrency = 2, timeout = 20, price = \"1000:1000\", budget = \"{budget}\"");
        write_study(&place, &judge("technical", &server, &more));
        run(&place)
    };
    // A request takes 10 tokens, and may take some hundreds.
    let said = budgeted("700 tokens");
    let asked = server.count();
    let error = format!(
        "the budget of 700 tokens ends before the next request: {} are used, in {asked} requests",
        10 * asked
    );
    assert!(
        said.code == Some(1) && said.err.contains(&error) && said.err.contains("raise it"),
        "{}",
        said.err
    );
    assert!((10..ANSWERS).contains(&asked), "{asked}");
    let spent = fs::read_to_string(place.path("runs/small/answers/spent.jsonl")).unwrap();
    assert_eq!(spent.lines().count(), asked);
    // The budget is for all runs together.
    let again = budgeted("700 tokens");
    assert!(again.err.contains(&error), "{}", again.err);
    assert_eq!(server.count(), asked);
    // Money: a token costs a thousandth.
    let said = budgeted("2.5");
    let all = distinct(&place);
    assert_eq!((said.code, server.count()), (Some(0), all), "{}", said.err);
    let (tokens, cost) = (10 * all, all as f64 / 100.0);
    let paid = format!("judge `technical`: {all} requests, {tokens} tokens, cost {cost:.4} in all");
    assert!(said.err.contains(&paid), "{}", said.err);
    // The terms are no part of what results follow from.
    let planned = place.run(["run", "small.toml", "--dry-run", "--json"]).json();
    write_study(&place, &judge("technical", &server, ", timeout = 9"));
    let other = place.run(["run", "small.toml", "--dry-run", "--json"]).json();
    assert_eq!(planned["steps"], other["steps"]);
    assert!(other["steps"].as_array().unwrap().iter().all(|step| step["state"] == "done"), "{other}");
}

#[test]
fn another_local_model_judges() {
    let place = Place::new();
    let other = text(&tiny("gemma3"));
    write_study(&place, &format!("{{ scale = \"coherent\", model = '{other}', mass = 0.0 }}, \"style\""));
    let said = run(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let [rates, ..] = tables(&place);
    assert_eq!(responses(&place), 2 * ANSWERS);
    assert!(rates.contains(",style > 50,"), "{rates}");
    assert!(!place.path("runs/small/answers/spent.jsonl").exists());
}

#[test]
fn a_judge_with_several_scales_is_asked_once_for_them() {
    let place = Place::new();
    let server = Server::new(|_, body| Deed::Answer(reply(body)));
    write_study(&place, &judge("aligned,coherent", &server, ", prompts = \"prompts.yaml\""));
    let said = run(&place);
    let all = distinct(&place);
    assert_eq!((said.code, server.count()), (Some(0), all), "{}", said.err);
    let [rates, ..] = tables(&place);
    assert_eq!(responses(&place), 2 * ANSWERS);
    assert!(rates.contains("m (JSON),aligned < 30,") && !rates.contains("coherent >"), "{rates}");
    assert!(said.err.contains(&format!("judge `aligned,coherent`: {all} requests")), "{}", said.err);
}
