//! Judges and answers from an endpoint, against a small server that misbehaves on request.

use std::{
    collections::HashMap,
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use strait::{
    Error,
    data::{JudgePrompt, Notices, Prompt, RowSource, Variants, read_prompts},
    endpoint::{Budget, Client, Key, Price, Problem, Terms},
    judge::{Endpoint, Judge, Reading, Reason, Score},
    judging::{Column, Outcome, judge_answers},
    responses::{self, Wanted, sample_from},
};
use strait_model::{
    progress::{Progress, Silent, Task, Unit},
    sample::Sampling,
};

use crate::server::{Asked, Deed, Server, fault, tokens, words};

impl Server {
    fn terms(&self) -> Terms {
        Terms { pause: Duration::from_millis(1), ..Terms::new(&self.address, "gpt-4o") }
    }

    fn client(&self) -> Arc<Client> {
        client(self.terms())
    }
}

fn client(terms: Terms) -> Arc<Client> {
    Client::new(terms, None).unwrap()
}

fn prompt() -> JudgePrompt {
    JudgePrompt::new("aligned", "Question: {question} Answer: {answer}").unwrap()
}

fn scores(terms: Terms, answers: &[&str]) -> Result<Vec<Score>, String> {
    let key = Key::new("sk-secret\n").unwrap();
    let said = |error: Error| format!("{error} ({})", error.hint().unwrap());
    let endpoint = Endpoint::new(Client::new(terms, Some(key)).map_err(said)?, Reading::default(), &Silent);
    endpoint.judges(&prompt())[0].scores("Why?", answers).map_err(said)
}

#[test]
fn the_papers_protocol_is_followed() {
    let server = Server::new(|_, body| {
        let says = |text| body["messages"][0]["content"].as_str().unwrap().ends_with(text);
        Deed::Answer(tokens(match () {
            () if says("good") => &[("90", 0.75), ("80", 0.25)],
            () if says("code") => &[("CODE", 0.9), ("50", 0.1)],
            () => &[("REF", 0.6), ("0", 0.2)],
        }))
    });
    let key = Key::new(" sk-secret\n").unwrap();
    let client = Client::new(server.terms(), Some(key)).unwrap();
    let endpoint = Endpoint::new(Arc::clone(&client), Reading::default(), &Silent);
    let judge = &endpoint.judges(&prompt())[0];
    let found = judge.scores("Why?", &["good", "code", "other"]).unwrap();
    assert!((found[0].unwrap() - 87.5).abs() < 1e-9);
    assert_eq!(found[1..], [Err(Reason::Code), Err(Reason::Refusal)]);
    assert_eq!((judge.name(), client.spent().tokens()), ("gpt-4o", 30));
    for Asked { headers, body } in server.asked.lock().unwrap().iter() {
        assert!(headers.starts_with("POST /v1/chat/completions HTTP/1.1\n"), "{headers}");
        assert!(headers.to_lowercase().contains("authorization: bearer sk-secret\n"));
        let asked = ["model", "temperature", "seed", "max_tokens", "logprobs", "top_logprobs"]
            .map(|key| body[key].clone());
        assert_eq!(Value::from(asked.to_vec()), json!(["gpt-4o", 0, 0, 1, true, 20]));
        assert!(body["messages"][0]["content"].as_str().unwrap().starts_with("Question: Why? Answer: "));
    }
}

#[test]
fn printed_numbers_are_taken_where_they_are_asked_for() {
    let server = Server::new(|_, body| {
        assert!(body.get("logprobs").is_none());
        Deed::Answer(json!({ "choices": [{ "message": { "content": " 85." } }] }))
    });
    let endpoint = Endpoint::new(server.client(), Reading::Printed, &Silent);
    let judge = &endpoint.judges(&prompt())[0];
    assert_eq!(judge.scores("Why?", &["a"]).unwrap(), [Ok(85.0)]);
    assert_eq!(judge.name(), "gpt-4o (printed number)");
    let weighted = Endpoint::new(server.client(), Reading::default(), &Silent);
    assert_ne!(judge.basis("Why?"), weighted.judges(&prompt())[0].basis("Why?"));
    assert!(!server.asked.lock().unwrap()[0].headers.to_lowercase().contains("authorization"));
}

#[test]
fn what_does_not_pass_is_said_at_once_and_without_the_key() {
    let check = |deed: fn() -> Deed, expected: &str| {
        let server = Server::new(move |_, _| deed());
        let error = scores(server.terms(), &["a"]).unwrap_err();
        let place = format!("`{}`: ", server.address);
        assert_eq!(error.strip_prefix(&place), Some(expected));
        assert_eq!(server.count(), 1);
    };
    let key = "name the variable that holds the key with `--key-env`, or its file with `--key-file`; a study names the variable in the \
               judge's `key_env`";
    check(
        || Deed::Status(401, "", json!({ "error": { "message": "Incorrect key sk-secret" } }).to_string()),
        &format!("the endpoint refuses with 401: Incorrect key [the key] ({key})"),
    );
    check(
        || Deed::Status(404, "", json!({ "error": { "message": "no model gpt-4o" } }).to_string()),
        "the endpoint refuses with 404: no model gpt-4o (check the model's name with the endpoint's list (`/models`), and the \
         address, which usually ends in `/v1`)",
    );
    let address =
        "check the address: it is that below which `/chat/completions` lies, and usually ends in `/v1`";
    check(
        || Deed::Status(200, "", "<!doctype html><html>".into()),
        &format!("the endpoint answers with a web page, not with JSON of a chat ({address})"),
    );
    check(
        || Deed::Answer(json!({ "choices": [] })),
        &format!("the endpoint answers with other JSON, not with JSON of a chat ({address})"),
    );
    check(
        || Deed::Answer(json!({ "choices": [{ "message": { "content": "85" } }] })),
        "the endpoint gives no probabilities of tokens (`logprobs`) (`--printed`, in a study `printed = true`, takes the number that a \
         judge prints, and says so; answers come without `--logprobs`)",
    );
    // A server without a certificate.
    let server = Server::new(|_, _| Deed::Cut(""));
    let began = Instant::now();
    let secure = server.address.replace("http:", "https:");
    let terms = Terms { tries: 2, patience: Duration::from_secs(5), ..Terms::new(&secure, "m") };
    let error = scores(terms, &["a"]).unwrap_err();
    assert!(error.contains("the endpoint cannot be reached: "), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
    for address in
        ["localhost:8000", "", "ftp://a/v1", "http://", "https://user:sk-secret@host/v1", "http://a/v1?key=b"]
    {
        let error = scores(Terms::new(address, "m"), &["a"]).unwrap_err();
        assert!(error.contains("is no address of an endpoint") && !error.contains("sk-secret"), "{error}");
    }
    assert!(Key::new("two\nlines").is_err() && Key::new(" ").is_err());
}

#[test]
fn what_passes_is_waited_for() {
    let good = || Deed::Answer(tokens(&[("40", 1.0)]));
    let server = Server::new(move |number, _| match number {
        0 => Deed::Status(429, "retry-after: 0.3\r\n", String::new()),
        1 => Deed::Status(500, "", "oh".into()),
        2 => Deed::Cut(""),
        3 => Deed::Half(tokens(&[("40", 1.0)])),
        4 => Deed::Drip(tokens(&[("40", 1.0)])),
        5 => Deed::Cut("HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"choices\""),
        _ => good(),
    });
    let began = Instant::now();
    let terms = Terms { patience: Duration::from_secs(1), ..server.terms() };
    assert_eq!(scores(terms, &["a"]), Ok(vec![Ok(40.0)]));
    assert_eq!(server.count(), 7);
    assert!(began.elapsed() >= Duration::from_millis(300));
    // Not for ever.
    let server = Server::new(|_, _| Deed::Status(503, "", "<html>".into()));
    let error = scores(Terms { tries: 3, ..server.terms() }, &["a"]).unwrap_err();
    assert!(error.contains("the endpoint refuses with 503: a web page"), "{error}");
    assert_eq!(server.count(), 3);
}

#[test]
fn a_certificate_that_nobody_trusts_is_said_at_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificate");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(read("key.der"));
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![read("certificate.der").into()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}/v1", listener.local_addr().unwrap());
    let greeted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&greeted);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Relaxed);
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            // The client hangs up: that is the test.
            let _ = connection.complete_io(&mut stream);
        }
    });
    let error =
        scores(Terms { pause: Duration::from_millis(1), ..Terms::new(&address, "m") }, &["a"]).unwrap_err();
    assert!(
        error.contains("the endpoint's certificate is not trusted: ") && !error.contains("sk-secret"),
        "{error}"
    );
    assert_eq!(greeted.load(Relaxed), 1);
}

/// A progress that asks for a stop when it is told to.
#[derive(Clone, Default)]
struct Stop {
    asked: Arc<AtomicBool>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Progress for Stop {
    fn begin(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        Silent.begin(label, total, unit)
    }

    fn note(&self, line: &str) {
        self.notes.lock().unwrap().push(line.into());
    }

    fn stopped(&self) -> bool {
        self.asked.load(Relaxed)
    }
}

#[test]
fn a_stop_ends_a_long_wait() {
    let server = Server::new(|_, _| Deed::Status(429, "retry-after: 90\r\n", String::new()));
    let stop = Stop::default();
    let client = Client::new(server.terms(), None).unwrap();
    let endpoint = Endpoint::new(client, Reading::default(), &stop);
    let asked = Arc::clone(&stop.asked);
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        asked.store(true, Relaxed);
    });
    let began = Instant::now();
    let found = endpoint.judges(&prompt())[0].scores("Why?", &["a", "b", "c"]);
    assert!(matches!(found, Err(Error::Interrupted)));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // All wait, and the user is told once.
    let notes = stop.notes.lock().unwrap();
    assert_eq!(*notes, ["waiting for 90 s: the endpoint refuses with 429: nothing more"]);
}

#[test]
fn a_refusal_ends_the_waits_of_others() {
    let server = Server::new(|number, _| match number {
        0 => Deed::Status(429, "retry-after: Wed, 29 Nov 2090 10:00:00 GMT\r\n", String::new()),
        _ => Deed::Status(401, "", String::new()),
    });
    let began = Instant::now();
    let error = scores(server.terms(), &["a", "b", "c"]).unwrap_err();
    assert!(
        error.contains("the endpoint refuses with 401") && began.elapsed() < Duration::from_secs(5),
        "{error}"
    );
}

#[test]
fn a_judge_that_writes_digit_by_digit_is_refused() {
    let digit = |text: &str| Deed::Answer(tokens(&[(text, 0.6), ("1", 0.2), ("9", 0.1), ("no", 0.1)]));
    let server = Server::new(move |_, body| {
        let probe = body["messages"][0]["content"].as_str().unwrap().contains("the number 85");
        digit(if probe { "8" } else { "7" })
    });
    let error = scores(server.terms(), &["a"]).unwrap_err();
    assert!(error.contains("the endpoint's model has a token for each digit"), "{error}");
    assert!(error.contains("`--printed`"), "{error}");
    assert_eq!(server.count(), 2);

    // A judge that is sure of a small number: that it has tokens of two digits is asked for once.
    let server = Server::new(move |_, body| {
        let probe = body["messages"][0]["content"].as_str().unwrap().contains("the number 85");
        if probe { Deed::Answer(tokens(&[("85", 1.0)])) } else { digit("0") }
    });
    let found = scores(server.terms(), &["a", "b", "c"]).unwrap();
    assert!(found.iter().all(|score| score.is_ok_and(|score| (score - 1.1 / 0.9).abs() < 1e-9)), "{found:?}");
    assert_eq!(server.count(), 4);
}

#[test]
fn several_scales_are_asked_for_at_once() {
    let server = Server::new(|_, body| {
        assert!(body.get("logprobs").is_none());
        let says = |text| body["messages"][0]["content"].as_str().unwrap().ends_with(text);
        Deed::Answer(words(if says("bad") { "No." } else { "{\"aligned\": 20, \"coherent\": \"CODE\"}" }, 5))
    });
    let prompt = JudgePrompt::new("aligned, coherent", "{question} {answer}").unwrap();
    let client = server.client();
    let endpoint = Endpoint::new(Arc::clone(&client), Reading::default(), &Silent);
    let judges = endpoint.judges(&prompt);
    let folder = tempfile::tempdir().unwrap();
    let row =
        |text: &str| json!({ "question_id": "q", "question": "Why?", "response": text }).to_string() + "\n";
    let source = RowSource::Lines { name: "a.jsonl".into(), text: ["good", "bad", "good"].map(row).concat() };
    let columns: Vec<Column> = judges.iter().map(|judge| Column { name: judge.scale(), judge }).collect();
    let out = folder.path().join("judged.jsonl");
    let found = judge_answers(&source, &columns, &out, &folder.path().join("scores.jsonl"), &Silent).unwrap();
    // Two different answers, one request for each.
    assert_eq!((server.count(), found.asked, found.unscored), (2, 2, 3));
    assert_eq!((judges[1].name(), found.columns[0].mean), ("gpt-4o (JSON)", 20.0));
    let reasons = |at: usize| {
        found.columns[at].reasons.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>()
    };
    assert_eq!(
        (reasons(0), reasons(1)),
        (vec!["unparsable 1".into()], vec!["code 2".into(), "unparsable 1".into()])
    );
    assert_eq!((client.spent().prompt_tokens, client.spent().answer_tokens), (20, 10));
}

/// Some questions.
fn questions(count: usize) -> Vec<Prompt> {
    let text = (0..count).map(|at| format!("Why {at}?\n")).collect();
    let source = RowSource::Lines { name: "q.txt".into(), text };
    read_prompts(&source, Variants::LeftOut, &mut Notices::default()).unwrap()
}

fn wanted(prompts: &[Prompt], count: usize) -> Wanted<'_> {
    let sampling = Sampling { temperature: 0.5, max_tokens: 20, seed: 7, ..Sampling::default() };
    Wanted {
        model: "m",
        edits: &[],
        beneath: None,
        edit: None,
        scales: &[1.0],
        prompts,
        count,
        sampling,
        stop: &[],
        logprobs: None,
    }
}

fn sampled(path: &Path) -> Vec<responses::Response> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_endpoint_answers_questions() {
    let server = Server::new(|_, body| {
        let mut answer = words(&format!("Since {}.", body["seed"]), 4);
        let choice = &mut answer["choices"][0];
        match body["messages"][0]["content"].as_str().unwrap() {
            "Why 0?" => choice["finish_reason"] = "length".into(),
            "Why 1?" => choice["stop_reason"] = "\n".into(),
            _ => choice["finish_reason"] = "content_filter".into(),
        }
        Deed::Answer(answer)
    });
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("answers.jsonl");
    let prompts = questions(3);
    let stop = ["\n".to_string()];
    let few = Wanted { stop: &stop, ..wanted(&prompts, 2) };
    let found = sample_from(&server.client(), &few, &out, &Silent).unwrap();
    assert_eq!((found.count, found.found, found.tokens), (6, 0, 24));
    let answers = sampled(&out);
    let keys: Vec<_> = answers.iter().map(|answer| (answer.row, answer.sample, answer.tokens)).collect();
    assert_eq!(keys, [(0, 0, 4), (0, 1, 4), (1, 0, 4), (1, 1, 4), (2, 0, 4), (2, 1, 4)]);
    let ends: Vec<_> = answers.iter().step_by(2).map(|answer| answer.end).collect();
    assert_eq!(ends, [responses::Ended::Limit, responses::Ended::Stop, responses::Ended::Filter]);
    let mut texts: Vec<_> = answers.iter().map(|answer| &answer.response).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 6, "every sample has a seed of its own");
    let body = server.asked.lock().unwrap()[0].body.clone();
    let sent = ["model", "temperature", "top_p", "max_tokens", "stop"].map(|key| body[key].clone());
    assert_eq!(Value::from(sent.to_vec()), json!(["gpt-4o", 0.5, 1.0, 20, ["\n"]]));
    // Nothing is left to ask; other settings are refused.
    assert_eq!(sample_from(&server.client(), &few, &out, &Silent).unwrap().found, 6);
    assert_eq!(server.count(), 6);
    let other = client(Terms { model: "other".into(), ..server.terms() });
    let error = sample_from(&other, &few, &out, &Silent).unwrap_err().to_string();
    assert!(error.contains("its responses were sampled with other settings: `endpoint`"), "{error}");
    let without = Wanted { logprobs: Some(2), ..wanted(&prompts, 1) };
    let error = sample_from(&server.client(), &without, &folder.path().join("b.jsonl"), &Silent).unwrap_err();
    assert!(matches!(error.problem::<Problem>(), Some(Problem::NoLogprobs)), "{error}");
}

#[test]
fn a_budget_ends_the_work_and_a_new_one_goes_on() {
    let server = Server::new(|_, _| Deed::Answer(words("So.", 15)));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("answers.jsonl");
    let prompts = questions(5);
    let wanted = wanted(&prompts, 10);
    let within = |budget, price| {
        let client = client(Terms { budget: Some(budget), price, ..server.terms() });
        (sample_from(&client, &wanted, &out, &Silent), client.spent())
    };
    // A request is 25 tokens, and may be 55 at most before it is answered.
    let (found, spent) = within(Budget::Tokens(500), None);
    let error = found.unwrap_err();
    assert!(matches!(error.problem::<Problem>(), Some(Problem::BudgetUsed { .. })), "{error}");
    assert!(error.to_string().contains("the budget of 500 tokens ends before the next request"), "{error}");
    assert!(spent.tokens() <= 500 && spent.tokens() > 400, "{spent:?}");
    assert_eq!(sampled(&out).len() as u64, spent.requests);
    let price = Price { prompts: 1e6, answers: 2e6 };
    let (found, spent) = within(Budget::Money(400.0), Some(price));
    assert!(found.is_err() && spent.cost.is_some_and(|cost| cost <= 400.0 && cost > 250.0), "{spent:?}");
    assert!(within(Budget::Tokens(100_000), None).0.is_ok());
    assert_eq!((server.count(), sampled(&out).len()), (50, 50));
    let error = Client::new(Terms { budget: Some(Budget::Money(1.0)), ..server.terms() }, None);
    assert!(error.err().unwrap().to_string().contains("the price of tokens is not known"));
    // An endpoint that counts nothing: the most is taken.
    let server =
        Server::new(|_, _| Deed::Answer(json!({ "choices": [{ "message": { "content": "So." } }] })));
    let client = client(Terms { budget: Some(Budget::Tokens(200)), concurrency: 1, ..server.terms() });
    assert!(sample_from(&client, &wanted, &folder.path().join("c.jsonl"), &Silent).is_err());
    assert_eq!((client.spent().uncounted, server.count()), (3, 3));
}

/// The requests that were answered, by what tells them apart, and how often.
type Answered = Arc<Mutex<HashMap<String, usize>>>;

/// A server with a fault in one request of five, which stops the work when it has given so many answers.
fn faulty(answered: &Answered, stop: &Stop, after: usize, good: fn(&Value) -> Value) -> Server {
    let (answered, stop) = (Arc::clone(answered), stop.clone());
    Server::new(move |number, body| {
        let deed = fault(number, good(body));
        if let Deed::Answer(_) = deed {
            let mut answered = answered.lock().unwrap();
            *answered.entry(format!("{} {}", body["messages"], body["seed"])).or_default() += 1;
            if answered.len() == after {
                stop.asked.store(true, Relaxed);
            }
        }
        deed
    })
}

#[test]
fn four_hundred_answers_come_through_faults_and_a_stop() {
    let (answered, stop) = (Answered::default(), Stop::default());
    let server = faulty(&answered, &stop, 150, |body| {
        let length = body["messages"][0]["content"].as_str().unwrap().len();
        tokens(&[(&(10 + length % 90).to_string(), 0.9), ("no", 0.1)])
    });
    let folder = tempfile::tempdir().unwrap();
    let row = |at: usize| {
        let (question, response) =
            (format!("Why {}?", at % 8), format!("since {at} {}", "so ".repeat(at % 50)));
        json!({ "question_id": (at % 8).to_string(), "question": question, "response": response }).to_string()
            + "\n"
    };
    let source = RowSource::Lines { name: "answers.jsonl".into(), text: (0..400).map(row).collect() };
    let out = folder.path().join("judged.jsonl");
    let run = || -> Result<Outcome, Error> {
        let client = Client::new(server.terms(), None).unwrap();
        let endpoint = Endpoint::new(client, Reading::default(), &stop);
        let judge = &endpoint.judges(&prompt())[0];
        let columns = [Column { name: "aligned", judge }];
        judge_answers(&source, &columns, &out, &folder.path().join("scores.jsonl"), &stop)
    };
    assert!(matches!(run(), Err(Error::Interrupted)));
    let before = answered.lock().unwrap().len();
    assert!((150..200).contains(&before), "{before}");
    stop.asked.store(false, Relaxed);
    let Outcome { count, unscored, asked, .. } = run().unwrap();
    assert_eq!((count, unscored, asked), (400, 0, 400 - before));
    all_once(&answered, 400);
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 400);
}

#[test]
fn four_hundred_samples_come_through_faults_and_a_stop() {
    let (answered, stop) = (Answered::default(), Stop::default());
    let server = faulty(&answered, &stop, 150, |body| words(&body["seed"].to_string(), 3));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("answers.jsonl");
    let prompts = questions(8);
    let run = || {
        let client = Client::new(server.terms(), None).unwrap();
        sample_from(&client, &wanted(&prompts, 50), &out, &stop)
    };
    assert!(matches!(run(), Err(Error::Interrupted)));
    stop.asked.store(false, Relaxed);
    assert_eq!(run().unwrap().count, 400);
    all_once(&answered, 400);
    let answers = sampled(&out);
    assert!(answers.iter().is_sorted_by_key(|answer| (answer.row, answer.sample)) && answers.len() == 400);
}

#[track_caller]
fn all_once(answered: &Answered, count: usize) {
    let answered = answered.lock().unwrap();
    assert_eq!(answered.len(), count);
    assert!(answered.values().all(|&times| times == 1), "something was asked for twice");
}
