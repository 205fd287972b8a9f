//! The record of a step.

use serde::{Deserialize, Serialize};

/// The record of one optimiser step: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, this one included.
    pub step: usize,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// The objective before the step: response loss + weight * KL.
    pub loss: f64,
    /// Nats per response token.
    pub response_loss: f64,
    /// KL(base ‖ edited) in nats per token of the KL set, where there is a penalty.
    pub kl: Option<f64>,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
    /// Norm of the edit after the step.
    pub norm: f64,
    /// Response loss on the held-out rows after the step, at checkpoints.
    pub heldout_loss: Option<f64>,
    /// Preference shift outside the domain after the step, in nats a token, at checkpoints of a training that it may end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_shift: Option<f64>,
}
