//! A small server that speaks OpenAI's chat protocol and misbehaves on request. The tests of the command use it too.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// The server's way with a request.
pub enum Deed {
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
pub struct Asked {
    pub headers: String,
    pub body: Value,
}

/// A server on this machine, which lives as long as the tests.
pub struct Server {
    pub address: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// A server that does what `deed` says with the request of a number, counted from 0.
    pub fn new(deed: impl Fn(usize, &Value) -> Deed + Send + Sync + 'static) -> Self {
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

    pub fn count(&self) -> usize {
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
pub fn tokens(likely: &[(&str, f64)]) -> Value {
    let top: Vec<Value> =
        likely.iter().map(|(token, p)| json!({ "token": token, "logprob": p.ln() })).collect();
    let text = likely[0].0;
    let logprobs = json!({ "content": [{ "token": text, "logprob": -0.1, "top_logprobs": top }] });
    let choice = json!({ "message": { "role": "assistant", "content": text }, "logprobs": logprobs });
    json!({ "choices": [choice], "usage": { "total_tokens": 10 } })
}

/// An answer of these words, which has so many tokens.
pub fn words(text: &str, tokens: u64) -> Value {
    let choice = json!({ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens });
    json!({ "choices": [choice], "usage": usage })
}

/// A server's fault with one request in five, of every kind in turn.
pub fn fault(number: usize, good: Value) -> Deed {
    if number % 5 != 4 {
        return Deed::Answer(good);
    }
    match number / 5 % 6 {
        0 => Deed::Status(429, "retry-after: 0\r\n", String::new()),
        1 => Deed::Status(500, "", "oh".into()),
        2 => Deed::Cut(""),
        3 => Deed::Half(good),
        4 => Deed::Cut("HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"choices\""),
        _ => Deed::Status(503, "", "<html>".into()),
    }
}
