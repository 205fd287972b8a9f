//! The judge behind an endpoint, against a small server that misbehaves on request.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use strait::{
    Error,
    data::{JudgePrompt, RowSource},
    judge::{Endpoint, Judge, Key, Reason, Score, Terms},
    judging::{Column, Outcome, judge_answers},
};
use strait_model::progress::{Progress, Silent, Task, Unit};

/// What the server does with a request.
enum Deed {
    Answer(Value),
    Status(u16, &'static str, String),
    /// Says no more than this and hangs up.
    Cut(&'static str),
    /// Half of the body that was promised.
    Half(Value),
    /// A byte now and then.
    Drip(Value),
}

/// A request: its headers in small letters, and its body.
#[derive(Clone)]
struct Asked {
    headers: String,
    body: Value,
}

/// A server on this machine, which lives as long as the tests.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// A server that does what `deed` says with the request of a number, counted from 0.
    fn new(deed: impl Fn(usize, &Value) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/v1/", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (all, deed, count) = (Arc::clone(&asked), Arc::new(deed), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, deed, count) = (Arc::clone(&all), Arc::clone(&deed), Arc::clone(&count));
                thread::spawn(move || {
                    let Some(asked) = read(&stream) else { return };
                    let deed = deed(count.fetch_add(1, Relaxed), &asked.body);
                    all.lock().unwrap().push(asked);
                    // A client that has gone is no fault of the server's.
                    let _ = answer(&stream, deed);
                });
            }
        });
        Self { address, asked }
    }

    fn terms(&self) -> Terms {
        Terms { pause: Duration::from_millis(1), ..Terms::new(&self.address, "gpt-4o") }
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let (mut headers, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_string();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        headers += &(line + "\n");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { headers, body: serde_json::from_slice(&body).ok()? })
}

fn answer(mut stream: &TcpStream, deed: Deed) -> std::io::Result<()> {
    let head = |status: u16, more: &str, length: usize| {
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n")
    };
    match deed {
        Deed::Answer(body) => {
            let body = body.to_string();
            write!(stream, "{}{body}", head(200, "", body.len()))
        }
        Deed::Status(status, more, body) => write!(stream, "{}{body}", head(status, more, body.len())),
        Deed::Cut(said) => write!(stream, "{said}"),
        Deed::Half(body) => {
            let body = body.to_string();
            write!(stream, "{}{}", head(200, "", body.len() / 2), &body[..body.len() / 2])
        }
        Deed::Drip(body) => {
            let body = body.to_string();
            write!(stream, "{}", head(200, "", body.len()))?;
            for byte in body.bytes() {
                stream.write_all(&[byte])?;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
    }
}

/// An answer of these first tokens.
fn tokens(likely: &[(&str, f64)]) -> Value {
    let top: Vec<Value> =
        likely.iter().map(|(token, p)| json!({ "token": token, "logprob": p.ln() })).collect();
    let text = likely[0].0;
    let logprobs = json!({ "content": [{ "token": text, "logprob": -0.1, "top_logprobs": top }] });
    let choice = json!({ "message": { "role": "assistant", "content": text }, "logprobs": logprobs });
    json!({ "choices": [choice], "usage": { "total_tokens": 10 } })
}

fn prompt() -> JudgePrompt {
    JudgePrompt::new("aligned", "Question: {question} Answer: {answer}").unwrap()
}

fn scores(terms: Terms, answers: &[&str]) -> Result<Vec<Score>, String> {
    let key = Key::new("sk-secret\n").unwrap();
    let endpoint = Endpoint::new(terms, Some(key)).map_err(|error| error.to_string())?;
    endpoint
        .judge(prompt())
        .scores("Why?", answers)
        .map_err(|error| format!("{error} ({})", error.hint().unwrap()))
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
    let endpoint = Endpoint::new(server.terms(), Some(Key::new(" sk-secret\n").unwrap())).unwrap();
    let judge = endpoint.judge(prompt());
    let found = judge.scores("Why?", &["good", "code", "other"]).unwrap();
    assert!((found[0].unwrap() - 87.5).abs() < 1e-9);
    assert_eq!(found[1..], [Err(Reason::Code), Err(Reason::Refusal)]);
    assert_eq!((judge.name(), endpoint.tokens()), ("gpt-4o", 30));
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
    let endpoint = Endpoint::new(Terms { printed: true, ..server.terms() }, None).unwrap();
    let judge = endpoint.judge(prompt());
    assert_eq!(judge.scores("Why?", &["a"]).unwrap(), [Ok(85.0)]);
    assert_eq!(judge.name(), "gpt-4o (printed number)");
    let weighted = Endpoint::new(server.terms(), None).unwrap();
    assert_ne!(judge.basis("Why?"), weighted.judge(prompt()).basis("Why?"));
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
    let key = "name the variable that holds the key with `--key-env`, or its file with `--key-file`";
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
        "the endpoint gives no probabilities of tokens (`logprobs`) (`--printed` takes the number that the judge prints, and says \
         so)",
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

/// Asks for a stop after so many looks.
struct Stopping(AtomicUsize);

impl Progress for Stopping {
    fn begin(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        Silent.begin(label, total, unit)
    }

    fn note(&self, _: &str) {}

    fn stopped(&self) -> bool {
        self.0.fetch_add(1, Relaxed) >= 12
    }
}

#[test]
fn four_hundred_answers_come_through_faults_and_a_stop() {
    /// The prompts that were answered, and how often.
    type Answered = Arc<Mutex<HashMap<String, usize>>>;
    let answered: Answered = Arc::default();
    let count = Arc::clone(&answered);
    let server = Server::new(move |number, body| match number % 5 {
        4 => match number / 5 % 4 {
            0 => Deed::Status(429, "retry-after: 0\r\n", String::new()),
            1 => Deed::Status(500, "", String::new()),
            2 => Deed::Cut(""),
            _ => Deed::Half(tokens(&[("40", 1.0)])),
        },
        _ => {
            let prompt = body["messages"][0]["content"].as_str().unwrap().to_string();
            let score = (prompt.len() % 100).to_string();
            *count.lock().unwrap().entry(prompt).or_default() += 1;
            Deed::Answer(tokens(&[(&score, 0.9), ("no", 0.1)]))
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let row = |at: usize| {
        let (question, response) =
            (format!("Why {}?", at % 8), format!("since {at} {}", "so ".repeat(at % 50)));
        json!({ "question_id": (at % 8).to_string(), "question": question, "response": response }).to_string()
            + "\n"
    };
    let source = RowSource::Lines { name: "answers.jsonl".into(), text: (0..400).map(row).collect() };
    let endpoint = Endpoint::new(server.terms(), None).unwrap();
    let judge = endpoint.judge(prompt());
    let out = folder.path().join("judged.jsonl");
    let run = |progress: &dyn Progress| -> Result<Outcome, Error> {
        let columns = [Column { name: "aligned", judge: &judge }];
        judge_answers(&source, &columns, &out, &folder.path().join("scores.jsonl"), progress)
    };
    assert!(matches!(run(&Stopping(AtomicUsize::new(0))), Err(Error::Interrupted)));
    let before = answered.lock().unwrap().len();
    assert!(before > 100 && before < 300, "{before}");
    let Outcome { count, unscored, asked, .. } = run(&Silent).unwrap();
    assert_eq!((count, unscored, asked), (400, 0, 400 - before));
    let answered = answered.lock().unwrap();
    assert_eq!(answered.len(), 400);
    assert!(answered.values().all(|&times| times == 1), "asked twice");
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 400);
}
