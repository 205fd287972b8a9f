//! The model's logits beside those of PyTorch transformers, where a Python that has it is at hand.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde::Deserialize;
use strait_model::{Model, decoder::Packed};

use super::{Check, LOGITS_TOLERANCE};
use crate::Result;

const SCRIPT: &str = include_str!("parity.py");

#[derive(Deserialize)]
struct Answer {
    torch: Option<String>,
    transformers: Option<String>,
    #[serde(default)]
    results: Vec<Reference>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    last_logits: Vec<f32>,
    argmax: Vec<u32>,
}

/// Compares the last position's logits of each text, and the likeliest token everywhere.
///
/// # Errors
/// If strait's own pass fails; a Python that fails makes the check one that could not be tried.
pub fn with_transformers(model: &Model, texts: &[Vec<u32>]) -> Result<Check> {
    let name = "logits agree with transformers".to_string();
    let answer = match ask(model, texts) {
        Ok(answer) => answer,
        Err(why) => {
            return Ok(Check { name, holds: None, value: f64::NAN, words: format!("not tried: {why}") });
        }
    };
    let (mut worst, mut likeliest) = (0f64, (0, 0));
    for (ids, reference) in texts.iter().zip(&answer.results) {
        let logits = model.decoder.logits(&Packed::new([ids.as_slice()]), None)?;
        let argmax = logits.argmax(1)?.to_vec1::<u32>()?;
        likeliest.0 += argmax.iter().zip(&reference.argmax).filter(|(a, b)| a == b).count();
        likeliest.1 += argmax.len();
        let own = logits.get(ids.len() - 1)?.to_vec1::<f32>()?;
        let scale = reference.last_logits.iter().fold(f64::MIN_POSITIVE, |m, &l| m.max((l as f64).abs()));
        let difference = own.iter().zip(&reference.last_logits).map(|(&a, &b)| (a as f64 - b as f64).abs());
        worst = worst.max(difference.fold(0.0, f64::max) / scale);
    }
    let versions = format!(
        "transformers {}, PyTorch {}",
        answer.transformers.as_deref().unwrap_or("?"),
        answer.torch.as_deref().unwrap_or("?")
    );
    Ok(Check {
        name,
        holds: Some(worst <= LOGITS_TOLERANCE && answer.results.len() == texts.len()),
        value: worst,
        words: format!(
            "largest difference relative to the largest logit, at most {LOGITS_TOLERANCE}; \
             likeliest token equal at {} of {} positions ({versions})",
            likeliest.0, likeliest.1
        ),
    })
}

/// Runs the script with the interpreter that `STRAIT_PYTHON` names, or `python3`.
fn ask(model: &Model, texts: &[Vec<u32>]) -> Result<Answer, String> {
    let python = std::env::var("STRAIT_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut child = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(&model.provenance.located.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| {
            format!("`{python}` cannot be started ({e}); STRAIT_PYTHON may name another interpreter")
        })?;
    let prompts = serde_json::json!({ "prompts": texts }).to_string();
    if let Some(mut input) = child.stdin.take() {
        // A script that ends early closes its input; its answer says why.
        input.write_all(prompts.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(|e| format!("`{python}` gave no answer ({e})"))?;
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("`{python}` gave no readable answer ({})", output.status))?;
    match answer.error {
        Some(error) => Err(error),
        None => Ok(answer),
    }
}
