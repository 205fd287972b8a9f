//! A file's tensors, held against those that its config asks for: all of them, of these shapes, and no others.
//!
//! transformers passes over what it finds too much and fills what it misses with random numbers, with a warning each. Here
//! both are errors: such a file computes something else than its makers meant.

use std::collections::{HashMap, HashSet};

use super::{Problem, Weights, check_shape};
use crate::{Error, Result, config::Architecture};

/// Endings of tensors that older checkpoints carry and that follow from the config.
const COMPUTED: [&str; 3] = ["rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached"];
/// Beginnings of what is not part of the text model: eyes, and the heads that reinforcement learning puts beside the model's.
const EYES: [&str; 4] =
    ["vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."];
const VALUE_HEAD: &str = "v_head.";
const HEAD: &str = "lm_head.weight";
/// GGUF's factors of the rotary embedding, which the config reads.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A tensor as a file describes it.
pub(super) struct Stored<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
    /// The type of its numbers, where these are not read.
    pub(super) unread: Option<String>,
}

/// Checks the tensors against the config; returns the names of those that are rightly left out.
pub(super) fn check(weights: &Weights) -> Result<Vec<String>> {
    let config = weights.config();
    let stored = weights.stored();
    let known: HashMap<&str, &Stored> = stored.iter().map(|tensor| (tensor.name, tensor)).collect();
    let mut used = HashSet::new();
    for (name, shape) in config.tensors() {
        let own = weights.names.stored(&name).unwrap_or(name);
        let problem = |problem| Error::input(&weights.path, problem);
        let Some(found) = known.get(own.as_str()) else {
            return Err(problem(Problem::NoTensor { tensor: own }));
        };
        check_shape(&own, &shape, found.shape).map_err(problem)?;
        if let Some(found) = found.unread.clone() {
            return Err(problem(Problem::Dtype { tensor: own, found }));
        }
        used.insert(own);
    }
    let (idle, foreign): (Vec<&str>, Vec<&str>) =
        stored.iter().map(|tensor| tensor.name).filter(|name| !used.contains(*name)).partition(|name| {
            is_idle(name, config.architecture, config.tied_embeddings, weights.gguf().is_some())
        });
    match foreign.iter().min() {
        Some(&first) => Err(Error::input(
            &weights.path,
            Problem::LeftOver { tensor: first.into(), others: foreign.len() - 1 },
        )),
        None => Ok(idle.into_iter().map(str::to_string).collect()),
    }
}

/// True if a tensor that the decoder does not ask for changes nothing of what the model computes.
fn is_idle(name: &str, architecture: Architecture, tied: bool, gguf: bool) -> bool {
    if gguf {
        return name == ROPE_FACTORS;
    }
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    COMPUTED.iter().any(|ending| name.ends_with(ending))
        || begins(&[VALUE_HEAD])
        || (tied && (name == HEAD || name.ends_with(".lm_head.weight")))
        || (architecture == Architecture::Gemma3 && begins(&EYES))
}
