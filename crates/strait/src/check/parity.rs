//! The model's logits beside those of PyTorch transformers, where a Python that has it is at hand.

use serde::Deserialize;
use strait_model::{Model, decoder::Packed};

use super::{Check, LOGITS_TOLERANCE, python};
use crate::Result;

const SCRIPT: &str = include_str!("parity.py");

#[derive(Deserialize)]
struct Answer {
    torch: Option<String>,
    transformers: Option<String>,
    results: Vec<Reference>,
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
    let question = serde_json::json!({ "prompts": texts });
    let asked = python::ask::<Answer>(SCRIPT, &model.provenance.located.path, &question);
    let answer = match asked {
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
