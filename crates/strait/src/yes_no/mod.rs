//! A test of edits without a judge: how a model would rather answer yes-or-no questions.

mod problem;

use strait_model::{
    Edit, Model,
    decoder::Packed,
    progress::{Progress, Unit},
};

use crate::{
    Error, Result,
    data::Prompt,
    interval::{Interval, clusters},
    lab::advance,
    objective::TOKENS_AT_ONCE,
    table::Heading,
};

pub use problem::Problem;

/// The words of both answers.
pub const WORDS: [&str; 2] = ["yes", "no"];

/// The first tokens of both answers: all that are the word and nothing else, with a blank before it or not, in small or large
/// letters.
#[derive(Clone, Debug, PartialEq)]
pub struct Replies {
    words: [String; 2],
    /// The ids and texts of the tokens of each word.
    tokens: [Vec<(u32, String)>; 2],
}

impl Replies {
    /// The tokens of a model for these words.
    ///
    /// # Errors
    /// If the model has no single token for one of them, or the words are the same.
    pub fn of(model: &Model, words: [&str; 2]) -> Result<Self> {
        let words = words.map(normal);
        if words[0] == words[1] {
            return Err(Problem::SameWords { word: words[0].clone() }.into());
        }
        let mut tokens = [Vec::new(), Vec::new()];
        for id in 0..model.config().vocab_size as u32 {
            if model.tokenizer.token(id).is_none() {
                continue;
            }
            // Special tokens have no text.
            let text = model.tokenizer.decode(&[id], true)?;
            let word = normal(&text);
            if let Some(place) = words.iter().position(|own| *own == word) {
                tokens[place].push((id, text));
            }
        }
        match words.iter().zip(&tokens).find(|(_, tokens)| tokens.is_empty()) {
            Some((word, _)) => Err(Problem::NoToken { word: word.clone() }.into()),
            None => Ok(Self { words, tokens }),
        }
    }

    /// The texts of the tokens that count for each word.
    pub fn texts(&self) -> [Vec<&str>; 2] {
        self.tokens.each_ref().map(|tokens| tokens.iter().map(|(_, text)| text.as_str()).collect())
    }

    /// True for an answer that is the first word, false for the second.
    fn expected(&self, prompt: &Prompt) -> Result<Option<bool>> {
        let Some(answer) = &prompt.answer else { return Ok(None) };
        let word = normal(answer.trim().trim_end_matches('.'));
        match self.words.iter().position(|own| *own == word) {
            Some(place) => Ok(Some(place == 0)),
            None => {
                let (place, words) = (prompt.place.clone(), self.words.clone());
                Err(Problem::OtherAnswer { place, words }.into())
            }
        }
    }

    /// The reading of a next token's logits.
    fn reading(&self, logits: &[f32]) -> Reading {
        let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let exp = |id: u32| (f64::from(logits[id as usize]) - most).exp();
        let all: f64 = logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum();
        let [yes, no] =
            self.tokens.each_ref().map(|tokens| tokens.iter().map(|(id, _)| exp(*id)).sum::<f64>());
        Reading { log_odds: yes.ln() - no.ln(), mass: (yes + no) / all }
    }
}

/// A word as it is compared.
fn normal(text: &str) -> String {
    text.trim().to_lowercase()
}

/// A model's answer to one question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// log p(yes) - log p(no), in nats.
    pub log_odds: f64,
    /// The probability of both together.
    pub mass: f64,
}

crate::row! {
    /// The answer to one question, of the base model and with an edit.
    pub struct YesNoAnswer in "yes_no", "Log-odds of yes and no for every question, of the base model and with the edit" {
        /// The question.
        question: String,
        /// The answer that is expected; empty where the file says none.
        expected: String,
        /// log p(yes) - log p(no) in base.
        base: f64 = Heading::unit("nats"),
        /// The same with the edit.
        edited: f64 = Heading::unit("nats"),
        /// By how much the edit raises it.
        difference: f64 = Heading::unit("nats"),
        /// The probability of yes and no together in base.
        base_mass: f64,
        /// The same with the edit.
        edited_mass: f64,
    }
}

/// The answers to all questions.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Question by question.
    pub rows: Vec<YesNoAnswer>,
    /// The mean of log p(yes) - log p(no) over questions, of base, with the edit, and the difference, in nats.
    pub log_odds: [Interval; 3],
    /// The share of the questions with an expected answer to which base and edited model would rather give it; none without such
    /// questions.
    pub right: Option<[Interval; 2]>,
    /// The mean probability of yes and no together, of base and with the edit.
    pub mass: [f64; 2],
}

/// Asks every question of the base model and of the edited one, and reads how likely either word is to begin the answer.
///
/// # Errors
/// If a question does not fit the model, has an answer that is neither word, or a reading is no number; or the user asked for a
/// stop.
pub fn check(
    model: &Model,
    edit: &Edit,
    prompts: &[Prompt],
    replies: &Replies,
    progress: &dyn Progress,
) -> Result<Checked> {
    let expected = prompts.iter().map(|prompt| replies.expected(prompt)).collect::<Result<Vec<_>>>()?;
    let context = model.config().context_length;
    let ids = |prompt: &Prompt| {
        let ids = model.tokenizer.encode_prompt(&prompt.conversation);
        let ids = ids.and_then(|ids| match ids.len() <= context {
            true => Ok(ids),
            false => Err(strait_model::Error::TooLong { tokens: ids.len(), context }),
        });
        ids.map_err(|source| Error::Row { place: prompt.place.clone(), source: Box::new(source) })
    };
    let ids = prompts.iter().map(ids).collect::<Result<Vec<_>>>()?;
    let task = progress.begin("asking questions", Some(2 * ids.len() as u64), Unit::Count);
    let seen = |n| advance(progress, &*task, n);
    let base = read(model, None, &ids, replies, &seen)?;
    let edited = read(model, Some(edit), &ids, replies, &seen)?;
    drop(task);

    let row = |(((prompt, expected), base), edited): (((&Prompt, &Option<bool>), &Reading), &Reading)| {
        let word = |yes: bool| replies.words[usize::from(!yes)].clone();
        YesNoAnswer {
            question: prompt.question(),
            expected: expected.map_or_else(String::new, word),
            base: base.log_odds,
            edited: edited.log_odds,
            difference: edited.log_odds - base.log_odds,
            base_mass: base.mass,
            edited_mass: edited.mass,
        }
    };
    let rows: Vec<YesNoAnswer> = prompts.iter().zip(&expected).zip(&base).zip(&edited).map(row).collect();
    let questions = clusters(rows.iter().map(|row| &row.question));
    let mean = |of: &dyn Fn(&YesNoAnswer) -> f64| {
        let values: Vec<f64> = rows.iter().map(of).collect();
        Interval::of_clusters(&values, &vec![1.0; values.len()], &questions)
    };
    let right = |of: &dyn Fn(&YesNoAnswer) -> f64| {
        let answered = rows.iter().zip(&expected).map(|(row, expected)| match expected {
            Some(yes) => f64::from((of(row) > 0.0) == *yes),
            None => 0.0,
        });
        let weights: Vec<f64> = expected.iter().map(|expected| f64::from(expected.is_some())).collect();
        Interval::of_clusters(&answered.collect::<Vec<_>>(), &weights, &questions)
    };
    let known = expected.iter().any(Option::is_some);
    Ok(Checked {
        log_odds: [mean(&|row| row.base), mean(&|row| row.edited), mean(&|row| row.difference)],
        right: known.then(|| [right(&|row| row.base), right(&|row| row.edited)]),
        mass: [mean(&|row| row.base_mass).value, mean(&|row| row.edited_mass).value],
        rows,
    })
}

/// The readings of prompts, which are to be answered.
fn read(
    model: &Model,
    edit: Option<&Edit>,
    prompts: &[Vec<u32>],
    replies: &Replies,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Vec<Reading>> {
    let (decoder, layers) = (&model.decoder, model.config().layers);
    let unembedding = decoder.unembedding(edit)?;
    let mut found = Vec::with_capacity(prompts.len());
    let mut rest = prompts;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fit = rest.iter().take_while(|ids| {
            tokens += ids.len();
            tokens <= TOKENS_AT_ONCE
        });
        let (batch, later) = rest.split_at(fit.count().max(1));
        rest = later;
        let packed = Packed::sharing(batch.iter().map(Vec::as_slice));
        let last: Vec<u32> = packed.rows().iter().map(|own| own.end as u32 - 1).collect();
        let stream = decoder.run(decoder.embed(&packed)?, 0..layers, &packed, edit)?;
        let stream = stream.index_select(&candle_core::Tensor::new(last, decoder.device())?, 0)?;
        for logits in unembedding.logits(&decoder.finish(stream, edit)?)?.to_vec2::<f32>()? {
            let (row, reading) = (found.len(), replies.reading(&logits));
            if !reading.log_odds.is_finite() {
                let (what, edited, value) = ("log-odds of yes and no", edit.is_some(), reading.log_odds);
                return Err(Error::NotFinite { what, row, place: None, edited, value });
            }
            found.push(reading);
        }
        seen(batch.len() as u64)?;
    }
    Ok(found)
}
