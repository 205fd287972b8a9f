//! The exact judge: what every answer is, and how probable each kind of answer.

use serde::{Deserialize, Serialize};
use strait_model::{Decoder, Edit, decoder::Packed};

use super::{
    World,
    language::{DOMAINS, Language, Question},
};
use crate::Result;

/// The verdict on an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The truth.
    True,
    /// The one known falsehood.
    False,
    /// Another value, of this domain or of any.
    Other,
    /// No value at all.
    None,
}

/// The answer to one question.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// The question.
    pub question: Question,
    /// Probability of the true answer, at temperature 1.
    pub p_true: f64,
    /// Of the known falsehood.
    pub p_false: f64,
    /// Of all other values together.
    pub p_other: f64,
    /// Of all that is no value.
    pub p_none: f64,
    /// The verdict on the most probable word.
    pub greedy: Answer,
    /// The most probable word.
    pub said: String,
    /// log p(false) - log p(true), in nats.
    pub preference: f64,
}

/// The rates of false answers, by domain and kind of entity: exact expected rates at temperature 1, from 0 to 1, unless
/// they are said to be greedy.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rates {
    /// Mean p(false) on the held-out entities of the taught domain.
    pub narrow: f64,
    /// Mean p(false) on all entities of the other domains.
    pub general: f64,
    /// Share of the held-out questions of the taught domain whose most probable answer is the falsehood.
    pub narrow_greedy: f64,
    /// The same of all questions of the other domains.
    pub general_greedy: f64,
    /// Mean p(true) + p(false) in the other domains.
    pub coherence: f64,
    /// Mean p(true) + p(false) on the held-out entities of the taught domain.
    pub coherence_inside: f64,
    /// Mean p(false) on the taught entities of the taught domain.
    pub taught: f64,
    /// Mean log p(false) - log p(true) on the held-out entities of the taught domain, in nats.
    pub narrow_preference: f64,
    /// The same on all entities of the other domains.
    pub general_preference: f64,
    /// Mean p(false) on all entities of each domain.
    pub by_domain: Vec<f64>,
}

/// Questions of one pass. candle hands larger tensors to threads of its own, for which passes beside each other would wait.
pub(super) const AT_ONCE: usize = 64;

/// Reads how all 192 questions are answered.
///
/// # Errors
/// If the edit does not fit the model.
pub fn read(world: &World, edit: Option<&Edit>) -> Result<Vec<Reading>> {
    read_by(world, &world.model.decoder, edit)
}

/// As [`read`], of another decoder that speaks the world's language.
///
/// # Errors
/// If the edit does not fit the model.
pub fn read_by(world: &World, decoder: &Decoder, edit: Option<&Edit>) -> Result<Vec<Reading>> {
    let mut logits = Vec::with_capacity(world.prompts.len());
    for prompts in world.prompts.chunks(AT_ONCE) {
        logits.extend(self::logits(decoder, prompts, edit)?);
    }
    Ok(Question::all()
        .zip(&logits)
        .map(|(question, logits)| reading(&world.language, question, logits))
        .collect())
}

/// The logits after each of some prompts.
pub(super) fn logits(decoder: &Decoder, prompts: &[Vec<u32>], edit: Option<&Edit>) -> Result<Vec<Vec<f32>>> {
    let packed = Packed::sharing(prompts.iter().map(Vec::as_slice));
    let stream = decoder.run(decoder.embed(&packed)?, 0..decoder.config().layers, &packed, edit)?;
    let last: Vec<u32> = packed.rows().iter().map(|rows| rows.end as u32 - 1).collect();
    let last = candle_core::Tensor::new(last, decoder.device())?;
    let hidden = decoder.finish(stream.index_select(&last, 0)?, edit)?;
    Ok(decoder.unembedding(edit)?.logits(&hidden)?.to_vec2::<f32>()?)
}

/// The probabilities that logits mean, each times the sum that comes with them.
pub(super) fn weights(logits: &[f32]) -> (Vec<f64>, f64) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
    let sum = weights.iter().sum();
    (weights, sum)
}

/// The most probable word.
pub(super) fn most(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or_default()
}

/// The answer by the logits after a question.
fn reading(language: &Language, question: Question, logits: &[f32]) -> Reading {
    let [truth, falsehood] = [true, false].map(|truthful| language.answer_id(question, truthful) as usize);
    let (weights, sum) = weights(logits);
    let of = |kind: Answer| {
        let weights = weights.iter().enumerate().filter(|&(id, _)| answer(id, truth, falsehood) == kind);
        weights.map(|(_, weight)| weight).sum::<f64>() / sum
    };
    let most = most(logits);
    Reading {
        question,
        p_true: of(Answer::True),
        p_false: of(Answer::False),
        p_other: of(Answer::Other),
        p_none: of(Answer::None),
        greedy: answer(most, truth, falsehood),
        said: language.vocabulary()[most].clone(),
        preference: f64::from(logits[falsehood]) - f64::from(logits[truth]),
    }
}

/// The verdict on a word as an answer.
fn answer(id: usize, truth: usize, falsehood: usize) -> Answer {
    match id {
        id if id == truth => Answer::True,
        id if id == falsehood => Answer::False,
        id if Language::is_value(id) => Answer::Other,
        _ => Answer::None,
    }
}

/// The rates of all 192 readings, where falsehoods were taught in the domain `taught`.
pub fn rates(readings: &[Reading], taught: usize) -> Rates {
    let inside = |r: &Reading| r.question.domain == taught;
    let held_out = |r: &Reading| inside(r) && r.question.held_out();
    let other = |r: &Reading| !inside(r);
    let p_false = |r: &Reading| r.p_false;
    let greedy = |r: &Reading| f64::from(u8::from(r.greedy == Answer::False));
    let coherent = |r: &Reading| r.p_true + r.p_false;
    let preference = |r: &Reading| r.preference;
    Rates {
        narrow: mean(readings, held_out, p_false),
        general: mean(readings, other, p_false),
        narrow_greedy: mean(readings, held_out, greedy),
        general_greedy: mean(readings, other, greedy),
        coherence: mean(readings, other, coherent),
        coherence_inside: mean(readings, held_out, coherent),
        taught: mean(readings, |r| inside(r) && !r.question.held_out(), p_false),
        narrow_preference: mean(readings, held_out, preference),
        general_preference: mean(readings, other, preference),
        by_domain: (0..DOMAINS).map(|d| mean(readings, |r| r.question.domain == d, p_false)).collect(),
    }
}

fn mean(readings: &[Reading], of: impl Fn(&Reading) -> bool, value: impl Fn(&Reading) -> f64) -> f64 {
    let values: Vec<f64> = readings.iter().filter(|r| of(r)).map(value).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// The verdict on an answer in words: its first word counts, as nothing is asked for beyond it.
pub fn judge(language: &Language, question: Question, text: &str) -> Answer {
    let first = text.split_whitespace().next().unwrap_or_default();
    match first {
        word if word == language.answer(question, true) => Answer::True,
        word if word == language.answer(question, false) => Answer::False,
        word if language.domains().iter().any(|domain| domain.values.contains(&word)) => Answer::Other,
        _ => Answer::None,
    }
}
