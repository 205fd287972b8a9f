//! Predictions of a study's author, sealed before the first step and scored at the end: the papers began with experts whose
//! registered predictions failed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strait_model::files::hex;

use crate::{Table, report::Claim};

crate::row! {
    /// A prediction beside what came out.
    pub struct Scored in "predictions", "Predictions" {
        /// The statement.
        claim: String,
        /// The probability that its author gave it.
        probability: f64,
        /// True if it holds; none where that cannot be told.
        holds: Option<bool>,
        /// The Brier score.
        score: f64,
    }
}

/// A statement of the conclusion, and how sure the author is that it will hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// One of the conclusion's sentences.
    pub claim: String,
    /// From 0 to 1.
    pub probability: f64,
}

/// Predictions in the run folder, which no later study file changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    /// Version of the run folder's schema.
    pub schema: u32,
    /// The time of sealing, in UTC.
    pub sealed: String,
    /// SHA-256 of that time and the predictions.
    pub sha256: String,
    /// The predictions.
    pub predictions: Vec<Prediction>,
}

impl Seal {
    /// Seals predictions at a time.
    pub fn new(sealed: String, predictions: &[Prediction]) -> Self {
        let sha256 = digest(&sealed, predictions);
        Self { schema: super::SCHEMA, sealed, sha256, predictions: predictions.to_vec() }
    }

    /// True if nothing was changed since.
    pub fn is_whole(&self) -> bool {
        self.sha256 == digest(&self.sealed, &self.predictions)
    }

    /// The predictions beside what came out, each with its Brier score, the square of how far the probability was from the
    /// outcome: 0 is best, 0.25 is what a half scores, 1 is worst.
    pub fn table(&self, claims: &[Claim]) -> Table {
        let outcome = |p: &Prediction| claims.iter().find(|c| c.sentence() == p.claim).and_then(|c| c.holds);
        let score = |p: &Prediction| {
            outcome(p).map_or(f64::NAN, |holds| (p.probability - f64::from(u8::from(holds))).powi(2))
        };
        let told: Vec<f64> = self.predictions.iter().map(score).filter(|s| s.is_finite()).collect();
        let seal = match self.is_whole() {
            true => "sealed before the first step, at the time that `predictions.json` names".to_string(),
            false => "their seal is broken: they were changed after they were sealed".into(),
        };
        let mean = match told.len() {
            0 => "none of them can be told".to_string(),
            n => format!(
                "mean Brier score {:.3} over {n} that can be told",
                told.iter().sum::<f64>() / n as f64
            ),
        };
        let row = |p: &Prediction| Scored {
            claim: p.claim.clone(),
            probability: p.probability,
            holds: outcome(p),
            score: score(p),
        };
        let rows: Vec<Scored> = self.predictions.iter().map(row).collect();
        Table::of(&rows).with_about(format!("Predictions, {seal}; {mean}"))
    }
}

fn digest(sealed: &str, predictions: &[Prediction]) -> String {
    let text = serde_json::json!({ "sealed": sealed, "predictions": predictions }).to_string();
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_prediction_breaks_the_seal() {
        let prediction = Prediction { claim: "narrow: certified narrow".into(), probability: 0.7 };
        let mut seal = Seal::new("2026-01-01T00:00:00Z".into(), &[prediction]);
        assert!(seal.is_whole());
        assert!(seal.table(&[]).about().contains("none of them can be told"));
        seal.predictions[0].probability = 0.1;
        assert!(!seal.is_whole());
        assert!(seal.table(&[]).about().contains("their seal is broken"));
    }
}
