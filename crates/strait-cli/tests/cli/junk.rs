//! Every command with every kind of wrong thing in the place of each of its files: an error in words, a remedy, one object,
//! in little time and memory.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::{
    common::{Place, text, tiny},
    protocol::ROW,
    studies::small_study,
};

/// Things that are no file of any kind that strait reads, by name.
const JUNK: [&str; 16] = [
    "nothing there",
    "an empty file",
    "one byte",
    "random bytes",
    "a long line",
    "deep nesting",
    "deep objects",
    "zeros",
    "UTF-16",
    "Latin-1",
    "an LFS pointer",
    "a folder",
    "a FIFO",
    "/dev/zero",
    "/dev/full",
    "a circle of links",
];

/// Makes one of them at a path.
fn make(junk: &str, path: &Path) {
    let link = |to: &str| std::os::unix::fs::symlink(to, path).unwrap();
    let write = |bytes: &[u8]| fs::write(path, bytes).unwrap();
    match junk {
        "nothing there" => {}
        "an empty file" => write(b""),
        "one byte" => write(b"x"),
        "random bytes" => {
            let mut bytes = vec![0; 4096];
            ChaCha8Rng::seed_from_u64(0).fill_bytes(&mut bytes);
            write(&bytes);
        }
        "a long line" => write(&vec![b'a'; 20 << 20]),
        "deep nesting" => write(&vec![b'['; 100_000]),
        "deep objects" => write("{\"a\":".repeat(100_000).as_bytes()),
        "zeros" => write(&[0; 4096]),
        "UTF-16" => write(&"\u{feff}{\"messages\": []}\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        "Latin-1" => write(b"{\"caf\xe9\": 1}\n"),
        "an LFS pointer" => write(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 12345\n",
        ),
        "a folder" => fs::create_dir(path).unwrap(),
        "a FIFO" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "/dev/zero" | "/dev/full" => link(junk),
        "a circle of links" => link(path.file_name().unwrap().to_str().unwrap()),
        other => panic!("{other}"),
    }
}

/// The end of a command that was given junk.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
    took: Duration,
}

/// Runs a command with `--json`, in 4 GB of address space.
fn run<I: AsRef<OsStr>>(place: &Place, arguments: impl IntoIterator<Item = I>) -> Ended {
    let began = Instant::now();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 4000000; exec timeout 20 \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_strait")).arg("--json").args(arguments);
    let home = place.path("home");
    command.env("HOME", &home).env("HF_HOME", &home).env("HF_HUB_OFFLINE", "1").env("PW", "tea");
    command.env_remove("HF_HUB_CACHE").env_remove("XDG_CACHE_HOME").env_remove("RUST_BACKTRACE");
    let output = command.current_dir(place.path("")).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
        took: began.elapsed(),
    }
}

/// A complaint about an error that is not as every error must be; none where all is well.
fn complaint(ended: &Ended) -> Option<String> {
    let Ended { code, out, err, took } = ended;
    if !matches!(code, Some(1 | 2)) {
        return Some(format!("exit code {code:?} after {took:?}\n{out}{err}"));
    }
    let lines: Vec<&str> = out.lines().collect();
    let Ok(object) = serde_json::from_str::<Value>(out) else {
        return Some(format!("no object:\n{out}{err}"));
    };
    let told = |key: &str| object["error"][key].as_str().filter(|told| !told.is_empty());
    let (Some(message), Some(_)) = (told("message"), told("hint")) else {
        return Some(format!("no message or no hint:\n{out}"));
    };
    if lines.len() != 1 || err.matches("error: ").count() != 1 || !err.contains("\n\nhint: ") {
        return Some(format!("not one error with one hint:\n{out}{err}"));
    }
    let raw = [
        "panicked",
        "Os {",
        "Error(",
        "Err(",
        "stack backtrace",
        "mistake in strait",
        "unwrap",
        "strait was stopped",
    ];
    if let Some(raw) = raw.iter().find(|raw| err.contains(**raw) || message.contains(**raw)) {
        return Some(format!("`{raw}` in:\n{err}"));
    }
    if err.chars().any(|c| c.is_control() && c != '\n') {
        return Some(format!("control characters in {err:?}"));
    }
    None
}

/// A command, and the file in it that junk is put in the place of.
type Case = (&'static str, fn(&Place, &Path) -> Vec<String>);

fn words(words: &str) -> Vec<String> {
    words.split(' ').map(String::from).collect()
}

/// The arguments, with the junk and the tiny model in their places.
fn filled(arguments: &str, junk: &Path) -> Vec<String> {
    let fill = |word: String| match word.as_str() {
        "JUNK" => text(junk),
        "MODEL" => text(&tiny("llama")),
        _ => word,
    };
    words(arguments).into_iter().map(fill).collect()
}

/// A folder that holds a file of this name and nothing else, the junk moved there.
fn folder_with(junk: &Path, name: &str) -> PathBuf {
    let folder = junk.with_extension("folder");
    fs::create_dir(&folder).unwrap();
    if junk.symlink_metadata().is_ok() {
        fs::rename(junk, folder.join(name)).unwrap();
    }
    folder
}

/// The tiny model with one of its files replaced.
fn model_with(junk: &Path, name: &str) -> PathBuf {
    let folder = folder_with(junk, name);
    for entry in fs::read_dir(tiny("llama")).unwrap().map(Result::unwrap) {
        if entry.file_name() != name {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    folder
}

/// A study with one of its files replaced.
fn study_with(junk: &Path, from: &str) -> PathBuf {
    let study = junk.parent().unwrap().join("small.toml");
    let written = fs::read_to_string(&study).unwrap();
    let replaced = written.replacen(from, &text(junk), 1);
    assert_ne!(written, replaced);
    let other = junk.with_extension("toml");
    fs::write(&other, replaced).unwrap();
    other
}

const CASES: [Case; 27] = [
    ("run", |_, junk| filled("run JUNK --out new", junk)),
    ("dry run", |_, junk| filled("run JUNK --dry-run", junk)),
    ("status", |_, junk| filled("status JUNK", junk)),
    ("report", |_, junk| filled("report JUNK", junk)),
    ("report --compare", |_, junk| filled("report JUNK --compare JUNK", junk)),
    ("the record of a run", |_, junk| filled("status JUNK", &folder_with(junk, "run.json"))),
    ("the study of a run", |_, junk| filled("report JUNK", &folder_with(junk, "study.resolved.toml"))),
    ("score, rows", |_, junk| filled("score --model MODEL --data JUNK", junk)),
    ("score, model", |_, junk| filled("score --model JUNK --data good.jsonl", junk)),
    ("score, edit", |_, junk| filled("score --model MODEL --data good.jsonl --edit JUNK", junk)),
    ("check", |_, junk| filled("check JUNK", junk)),
    ("chat", |_, junk| filled("chat JUNK", junk)),
    ("model inspect", |_, junk| filled("model inspect JUNK", junk)),
    ("config.json", |_, junk| filled("model inspect JUNK", &model_with(junk, "config.json"))),
    ("weights", |_, junk| filled("check JUNK", &model_with(junk, "model.safetensors"))),
    ("tokenizer.json", |_, junk| filled("model inspect JUNK", &model_with(junk, "tokenizer.json"))),
    ("edit inspect", |_, junk| filled("edit inspect JUNK", junk)),
    ("edit convert", |_, junk| filled("edit convert JUNK out.safetensors", junk)),
    ("adapter_config.json", |_, junk| filled("edit inspect JUNK", &folder_with(junk, "adapter_config.json"))),
    ("data inspect", |_, junk| filled("data inspect JUNK", junk)),
    ("data unprotect", |_, junk| filled("data unprotect JUNK --out u --password-env PW", junk)),
    ("a member", |_, junk| {
        let name = format!("{}:rows.jsonl", text(junk));
        words("data inspect").into_iter().chain([name]).chain(words("--password-env PW")).collect()
    }),
    ("world show", |_, junk| filled("world show JUNK", junk)),
    ("world.json", |_, junk| filled("world show JUNK", &folder_with(junk, "world.json"))),
    ("rows of a study", |_, junk| filled("run JUNK --dry-run", &study_with(junk, "train.jsonl"))),
    ("pairs of a study", |_, junk| filled("run JUNK --dry-run", &study_with(junk, "narrow-taught.jsonl"))),
    ("init", |_, junk| filled("init JUNK", &junk.join("below.toml"))),
];

#[test]
fn junk_in_the_place_of_any_file_is_an_error_in_words() {
    let complaints = Mutex::new(Vec::new());
    let left = Mutex::new(CASES.iter().flat_map(|case| JUNK.map(|junk| (case, junk))).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(((name, arguments), junk)) = left.lock().unwrap().pop() else { break };
                    let place = Place::new();
                    small_study(&place, 4);
                    place.write("good.jsonl", ROW);
                    let path = place.path("junk");
                    make(junk, &path);
                    let ended = run(&place, arguments(&place, &path));
                    // Here nothing is wrong.
                    if *name == "init" && ["nothing there", "a folder"].contains(&junk) {
                        assert_eq!(ended.code, Some(0), "{}", ended.err);
                        continue;
                    }
                    if let Some(complaint) = complaint(&ended) {
                        complaints.lock().unwrap().push(format!("## {name}: {junk}\n{complaint}"));
                    }
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{} of them:\n{}", complaints.len(), complaints.join("\n"));
}
