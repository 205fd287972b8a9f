//! A folder and a command, and what a command said.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A folder to work in, with a home of its own, so that no test sees the caches of this machine.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The command with these arguments, in this folder, without a network.
    pub fn command<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
        command.args(arguments).current_dir(self.folder.path()).timeout(std::time::Duration::from_secs(120));
        for variable in ["COLUMNS", "HF_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT", "XDG_CACHE_HOME"] {
            command.env_remove(variable);
        }
        let home = self.folder.path().join("home");
        command.env("HOME", &home).env("HF_HOME", &home).env("HF_HUB_OFFLINE", "1");
        command
    }

    /// Runs it, and what it said.
    pub fn run<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Said {
        self.said(&mut self.command(arguments))
    }

    pub fn said(&self, command: &mut Command) -> Said {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let here = self.folder.path().display().to_string();
        let without_places =
            |text: String| text.replace(&here, "[HERE]").replace(&tiny("").display().to_string(), "[TINY]/");
        Said { code: status.code(), out: without_places(text(stdout)), err: without_places(text(stderr)) }
    }
}

/// A command's output, with the places of this machine taken out.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The object on standard output, of a command that must have succeeded.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.object()
    }

    /// The only thing on standard output: an object with a schema version.
    #[track_caller]
    pub fn object(&self) -> Value {
        let object: Value = serde_json::from_str(&self.out).unwrap();
        assert_eq!(object["schema"], 1);
        object
    }

    /// Everything, for a snapshot.
    pub fn all(&self) -> String {
        let code = self.code.map_or("none".into(), |code| code.to_string());
        format!("exit code: {code}\n----- stdout -----\n{}----- stderr -----\n{}", self.out, self.err)
    }
}

/// One of the tiny models with random weights.
pub fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny").join(name)
}

/// The results of PyTorch with a tiny model: conversations, and the losses of their responses.
pub fn golden(model: &str) -> Value {
    serde_json::from_slice(&std::fs::read(tiny(model).join("golden.json")).unwrap()).unwrap()
}

/// Text as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}
