//! Python scripts that know how transformers does it.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Failed { error: String },
    Given(T),
}

/// Runs a script about a model with the interpreter that `STRAIT_PYTHON` names, or `python3`, and gives its answer or the
/// words that say why there is none.
pub fn ask<T: DeserializeOwned>(script: &str, model: &Path, question: &Value) -> Result<T, String> {
    let python = std::env::var("STRAIT_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut child = Command::new(&python)
        .args(["-c", script])
        .arg(model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| {
            format!("`{python}` cannot be started ({e}); STRAIT_PYTHON may name another interpreter")
        })?;
    if let Some(mut input) = child.stdin.take() {
        // A script that ends early closes its input; its answer says why.
        input.write_all(question.to_string().as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(|e| format!("`{python}` gave no answer ({e})"))?;
    // Compiled libraries print past Python; the answer is the last line.
    let last = output.stdout.trim_ascii_end().rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    match serde_json::from_slice(last) {
        Ok(Answer::Given(answer)) => Ok(answer),
        Ok(Answer::Failed { error }) => Err(error),
        Err(_) => Err(format!("`{python}` gave no readable answer ({})", output.status)),
    }
}
