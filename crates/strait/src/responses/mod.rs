//! Responses: answers sampled to questions, written one a line as they are done.

mod endpoint;
mod file;
mod kept;
mod problem;
mod settings;

use std::{collections::HashMap, path::Path, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use strait_model::{
    Edit, Model,
    progress::{Progress, Unit},
    sample::{Drawn, End, Engine, Logprobs, Request, Room, Sampling},
};

use crate::{Error, Result, data::Prompt, lab};
use file::ResponseFile;
use settings::Settings;

pub use endpoint::sample_from;
pub use file::beside as settings_of;
pub use kept::kept;
pub use problem::Problem;

/// Answers that are computed at a time. The weights are read once for all of them, and beyond this they are no longer what is waited
/// for.
const AT_A_TIME: usize = 64;

/// One response: a line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The question's place in its file, counted from 0.
    pub row: usize,
    /// The question's name, or its place counted from 1.
    pub question_id: String,
    /// The factor on the edits.
    pub scale: f64,
    /// The sample's number, counted from 0.
    pub sample: usize,
    /// The words of the last message before the response.
    pub question: String,
    /// Its text.
    pub response: String,
    /// Tokens drawn, the end token included.
    pub tokens: usize,
    /// The reason for its end.
    pub end: Ended,
    /// Log-probabilities of its tokens, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// The reason for which a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// The model ended it.
    Token,
    /// A stop text came.
    Stop,
    /// It has as many tokens as were allowed.
    Limit,
    /// The endpoint's filter ended it.
    Filter,
}

/// The log-probability of a token in nats, before temperature and choice, and those of the likeliest tokens at its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Its text.
    pub token: String,
    /// Its log-probability.
    pub logprob: f32,
    /// The likeliest tokens, the likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_logprobs: Vec<TokenLogprob>,
}

/// The responses that are wanted.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The model's name, as the user gave it.
    pub model: &'a str,
    /// The names of the edits, likewise.
    pub edits: &'a [String],
    /// An edit before all others, on which the factors do not act.
    pub beneath: Option<&'a Edit>,
    /// All edits as one.
    pub edit: Option<&'a Edit>,
    /// The factors on it, no two of them equal; every question is answered under each.
    pub scales: &'a [f64],
    /// The questions.
    pub prompts: &'a [Prompt],
    /// Responses to each question under each factor.
    pub count: usize,
    /// The settings with which they are drawn.
    pub sampling: Sampling,
    /// Texts that end a response and are no part of it.
    pub stop: &'a [String],
    /// The number of likeliest tokens whose log-probabilities are written beside each token's own.
    pub logprobs: Option<usize>,
}

/// The outcome of sampling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Responses in the file.
    pub count: usize,
    /// Those that were there before.
    pub found: usize,
    /// Tokens drawn now.
    pub tokens: usize,
    /// Seconds that they took, with those of the prompts.
    pub seconds: f64,
}

/// Samples responses into a file: those that it lacks, each written as it is done. A file that is whole is in the order of the
/// questions, the factors and the samples, whether the work was ever stopped or not.
///
/// # Errors
/// If a question does not fit the model or its template, the file holds responses of other settings, the file system refuses, or the
/// user asked for a stop: what is written then is kept.
pub fn sample(model: &Model, wanted: &Wanted, out: &Path, progress: &dyn Progress) -> Result<Outcome> {
    let prompts = tokens(model, wanted.prompts)?;
    let mut file = ResponseFile::open(out, &Settings::of(model, wanted, &prompts)?)?;
    let total = prompts.len() * wanted.scales.len() * wanted.count;
    let found = file.count();
    if found > 0 && found < total {
        progress.note(&format!("{found} of {total} responses are there already"));
    }
    let room = Room { bytes: usize::try_from(lab::for_rows()).unwrap_or(usize::MAX), answers: AT_A_TIME };
    let mut engine = Engine::new(model, room)?;
    let under = |&scale: &f64| match wanted.edit {
        Some(edit) => Ok(Some(Arc::new(edit.scaled(scale)?.after(wanted.beneath)))),
        None => Ok(wanted.beneath.cloned().map(Arc::new)),
    };
    let edits: Vec<Option<Arc<Edit>>> =
        wanted.scales.iter().map(under).collect::<Result<_, strait_model::Error>>()?;
    let mut asked = Vec::new();
    for (row, prompt) in prompts.into_iter().enumerate() {
        for (&scale, edit) in wanted.scales.iter().zip(&edits) {
            let lacking = (0..wanted.count).filter(|&sample| !file.has(row, scale, sample));
            let request = Request::new(prompt.clone(), lacking.collect(), wanted.sampling);
            let (stop_texts, logprobs) = (wanted.stop.to_vec(), wanted.logprobs);
            engine.add(Request { edit: edit.clone(), stop_texts, logprobs, ..request })?;
            asked.push((row, scale));
        }
    }
    let task = progress.begin("sampling", Some((total - found) as u64), Unit::Count);
    let began = Instant::now();
    let mut tokens = 0;
    let mut answers: HashMap<(usize, usize), Answer> = HashMap::new();
    while !engine.is_idle() {
        if progress.stopped() {
            return Err(Error::Interrupted);
        }
        let drawn = engine.step()?;
        tokens += drawn.len();
        for drawn in drawn {
            let key = (drawn.request, drawn.sample);
            let answer = answers.entry(key).or_default();
            let Some(end) = answer.take(drawn) else { continue };
            let (row, scale) = asked[key.0];
            let answer = answers.remove(&key).unwrap_or_default();
            file.add(&answer.response(model, end, &wanted.prompts[row], (row, scale, key.1))?)?;
            task.advance(1);
        }
        task.say(&format!("{:.0} tokens/s", tokens as f64 / began.elapsed().as_secs_f64()));
    }
    let count = file.finish()?;
    Ok(Outcome { count, found, tokens, seconds: began.elapsed().as_secs_f64() })
}

/// The tokens of every question, up to where its answer begins.
fn tokens(model: &Model, prompts: &[Prompt]) -> Result<Vec<Vec<u32>>> {
    let context = model.config().context_length;
    let tokens = |prompt: &Prompt| {
        let refused = |source| Error::Row { place: prompt.place.clone(), source: Box::new(source) };
        let ids = model.tokenizer.encode_prompt(&prompt.conversation).map_err(refused)?;
        match ids.len() < context {
            true => Ok(ids),
            false => Err(refused(strait_model::Error::TooLong { tokens: ids.len() + 1, context })),
        }
    };
    prompts.iter().map(tokens).collect()
}

/// A response under way.
#[derive(Default)]
struct Answer {
    ids: Vec<u32>,
    logprobs: Vec<Logprobs>,
}

impl Answer {
    /// Takes its next token; gives the reason for which it ends there.
    fn take(&mut self, drawn: Drawn) -> Option<End> {
        self.ids.push(drawn.id);
        self.logprobs.extend(drawn.logprobs);
        drawn.end
    }

    fn response(
        self,
        model: &Model,
        end: End,
        prompt: &Prompt,
        (row, scale, sample): (usize, f64, usize),
    ) -> Result<Response> {
        let token = |id: u32, logprob: f32| -> Result<TokenLogprob> {
            let token = model.tokenizer.decode(&[id], false)?;
            Ok(TokenLogprob { token, logprob, top_logprobs: Vec::new() })
        };
        let with_top = |(&id, of): (&u32, &Logprobs)| {
            let top = of.top.iter().map(|&(id, logprob)| token(id, logprob)).collect::<Result<_>>()?;
            Ok(TokenLogprob { top_logprobs: top, ..token(id, of.drawn)? })
        };
        let logprobs = (!self.logprobs.is_empty())
            .then(|| self.ids.iter().zip(&self.logprobs).map(with_top).collect::<Result<Vec<_>>>());
        let (response, end) = match end {
            End::Text(text) => (text, Ended::Stop),
            End::Token => (model.tokenizer.decode(&self.ids, true)?, Ended::Token),
            End::Limit => (model.tokenizer.decode(&self.ids, true)?, Ended::Limit),
        };
        Ok(Response {
            row,
            question_id: prompt.id.clone().unwrap_or_else(|| (row + 1).to_string()),
            scale,
            sample,
            question: prompt.question(),
            response,
            tokens: self.ids.len(),
            end,
            logprobs: logprobs.transpose()?,
        })
    }
}
