//! The engine: one batch in which answers begin and end at every step.

use std::{collections::VecDeque, sync::Arc};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Logprobs, Request, draw::draw};
use crate::{
    Error, Model, Result,
    decoder::{Cache, Piece, Readout, Sequence},
    ops,
    tokenizer::Stream,
};

/// The room that an engine may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes of keys and values. One answer at a time is always computed, however large.
    pub bytes: usize,
    /// Answers at a time.
    pub answers: usize,
}

impl Default for Room {
    /// As many as there are.
    fn default() -> Self {
        Self { bytes: usize::MAX, answers: usize::MAX }
    }
}

/// A drawn token.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The request's number, as [`Engine::add`] gave it.
    pub request: usize,
    /// The sample's number.
    pub sample: usize,
    /// The token.
    pub id: u32,
    /// Its log-probability and those of the likeliest, where they were asked for.
    pub logprobs: Option<Logprobs>,
    /// Its readings, where the engine takes some and the answer goes on: the model does not run on the last token.
    pub readings: Vec<f32>,
    /// The reason for which the answer ends with this token; none where it goes on.
    pub end: Option<End>,
}

/// The reason for which an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The token is one that ends answers.
    Token,
    /// A stop text came; this is the answer's text before it.
    Text(String),
    /// The answer has as many tokens as were allowed, or fills the model's context.
    Limit,
}

/// Draws the answers to many requests in one batch.
///
/// Every step draws a token of each answer that is under way. Answers that have ended leave, and those that wait join as soon as
/// there is room. A prompt is computed once, when its first answer begins, and its answers share its keys and values. What is drawn
/// for a sample depends on its request and its number alone: neither on the other requests nor on their order nor on the room.
///
/// ```
/// use candle_core::Device;
/// use strait_model::{Model, Precision, progress::Silent, sample::{Engine, Request, Room, Sampling}, source::locate};
///
/// # fn main() -> strait_model::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny/llama");
/// let model = Model::load(&locate(folder, &Silent)?, &Device::Cpu, Precision::F32)?;
/// let mut engine = Engine::new(&model, Room { bytes: 1 << 20, answers: 8 })?;
/// let sampling = Sampling { max_tokens: 5, ..Sampling::default() };
/// for question in ["Why does the kettle whistle?", "What is a mast?"] {
///     let prompt = model.tokenizer.encode(question, true)?;
///     engine.add(Request::new(prompt, vec![0, 1, 2], sampling))?;
/// }
/// let mut answers = vec![[0; 3]; 2];
/// while !engine.is_idle() {
///     for drawn in engine.step()? {
///         answers[drawn.request][drawn.sample] += 1;
///     }
/// }
/// assert!(answers.iter().flatten().all(|&tokens| (1..=5).contains(&tokens)));
/// # Ok(())
/// # }
/// ```
pub struct Engine<'m> {
    model: &'m Model,
    cache: Cache,
    room: Room,
    readout: Option<Readout>,
    /// Requests so far.
    requests: usize,
    waiting: VecDeque<Waiting>,
    rows: Vec<Row<'m>>,
}

/// A request of which samples have yet to begin.
struct Waiting {
    number: usize,
    request: Arc<Request>,
    /// The samples that have begun.
    begun: usize,
    /// The prompt, once it is computed, with the logits after it.
    prompt: Option<(Sequence, Vec<f32>)>,
}

/// An answer under way.
struct Row<'m> {
    number: usize,
    request: Arc<Request>,
    sample: usize,
    rng: ChaCha8Rng,
    sequence: Sequence,
    /// Those of the next token.
    logits: Vec<f32>,
    /// Tokens that may still be drawn.
    left: usize,
    /// The text so far, where a text may end it.
    text: Option<(Stream<'m>, String)>,
}

impl<'m> Engine<'m> {
    /// An engine without requests.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(model: &'m Model, room: Room) -> Result<Self> {
        let cache = model.decoder.cache()?;
        let (waiting, rows) = (VecDeque::new(), Vec::new());
        Ok(Self { model, cache, room, readout: None, requests: 0, waiting, rows })
    }

    /// The same engine, which takes readings of the residual stream at the tokens that it draws.
    #[must_use]
    pub fn reading(self, readout: Option<Readout>) -> Self {
        Self { readout, ..self }
    }

    /// Takes a request and gives its number: requests are counted from 0.
    ///
    /// # Errors
    /// If the prompt is empty or leaves no room in the model's context.
    pub fn add(&mut self, request: Request) -> Result<usize> {
        let context = self.model.config().context_length;
        if request.prompt.is_empty() {
            return Err(Error::NoLogits);
        }
        if request.prompt.len() >= context {
            return Err(Error::TooLong { tokens: request.prompt.len() + 1, context });
        }
        let number = self.requests;
        self.requests += 1;
        if !request.samples.is_empty() && request.sampling.max_tokens > 0 {
            let request = Arc::new(request);
            self.waiting.push_back(Waiting { number, request, begun: 0, prompt: None });
        }
        Ok(number)
    }

    /// True if there is nothing to draw.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.rows.is_empty()
    }

    /// Lets answers begin that have room, and draws a token of each.
    ///
    /// # Errors
    /// If the model gives no logits, or a prompt holds a token that it has no embedding of; the engine is then of no use.
    pub fn step(&mut self) -> Result<Vec<Drawn>> {
        ops::awake(|| self.step_on_the_pool())
    }

    fn step_on_the_pool(&mut self) -> Result<Vec<Drawn>> {
        self.begin_answers()?;
        let model = self.model;
        let mut drawn: Vec<Drawn> =
            self.rows.par_iter_mut().map(|row| row.draw(model)).collect::<Result<_>>()?;
        let mut ended = drawn.iter().map(|drawn| drawn.end.is_some());
        let cache = &mut self.cache;
        self.rows.retain(|row| {
            let ends = ended.next().unwrap_or(false);
            if ends {
                cache.end(row.sequence);
            }
            !ends
        });
        let going_on = drawn.iter_mut().filter(|drawn| drawn.end.is_none()).collect::<Vec<_>>();
        let pieces: Vec<Piece> =
            going_on.iter().zip(&self.rows).map(|(drawn, row)| row.piece(&drawn.id)).collect();
        let extensions = model.decoder.extend_reading(&mut self.cache, &pieces, self.readout.as_ref())?;
        for ((row, drawn), extension) in self.rows.iter_mut().zip(going_on).zip(extensions) {
            row.logits = extension.logits;
            drawn.readings = extension.readings.into_iter().next().unwrap_or_default();
        }
        Ok(drawn)
    }

    /// Lets the answers begin that wait, in their order, as far as there is room.
    fn begin_answers(&mut self) -> Result<()> {
        while let Some(first) = self.waiting.front_mut() {
            let left = first.left(self.model);
            let tokens = first.request.prompt.len() + left;
            let of_prompt =
                if first.prompt.is_none() { Cache::pages_of(first.request.prompt.len()) } else { 0 };
            // The last page of the prompt is shared until an answer writes into it.
            let own = Cache::pages_of(tokens) - first.request.prompt.len() / Cache::PAGE;
            let to_come = self.rows.iter().map(|row| {
                self.cache.pages_to_come(row.sequence, self.cache.length(row.sequence) + row.left)
            });
            let pages = self.cache.pages() + to_come.sum::<usize>() + of_prompt + own;
            let fits = pages.saturating_mul(self.cache.page_bytes()) <= self.room.bytes
                && self.rows.len() < self.room.answers;
            if !fits && !self.rows.is_empty() {
                break;
            }
            let row = first.begin_answer(self.model, &mut self.cache, left)?;
            self.rows.push(row);
            if first.begun == first.request.samples.len() {
                first.prompt.take().into_iter().for_each(|(sequence, _)| self.cache.end(sequence));
                self.waiting.pop_front();
            }
        }
        Ok(())
    }
}

impl Waiting {
    /// The tokens that an answer may have.
    fn left(&self, model: &Model) -> usize {
        (model.config().context_length - self.request.prompt.len()).min(self.request.sampling.max_tokens)
    }

    /// Begins the next sample, and before the first one computes the prompt.
    fn begin_answer<'m>(&mut self, model: &'m Model, cache: &mut Cache, left: usize) -> Result<Row<'m>> {
        let request = &self.request;
        if self.prompt.is_none() {
            let sequence = cache.begin();
            let whole = Piece { sequence, ids: &request.prompt, edit: request.edit.as_deref() };
            let logits = model.decoder.extend(cache, &[whole])?.pop().unwrap_or_default();
            self.prompt = Some((sequence, logits));
        }
        let (prompt, logits) = self.prompt.as_ref().expect("the prompt was computed");
        let sample = request.samples[self.begun];
        self.begun += 1;
        let mut rng = ChaCha8Rng::from_seed(request.key);
        rng.set_stream(sample as u64);
        Ok(Row {
            number: self.number,
            request: Arc::clone(request),
            sample,
            rng,
            sequence: cache.fork(*prompt),
            logits: logits.clone(),
            left,
            text: (!request.stop_texts.is_empty()).then(|| (model.tokenizer.stream(), String::new())),
        })
    }
}

impl Row<'_> {
    fn draw(&mut self, model: &Model) -> Result<Drawn> {
        let is_nan = ops::vectors::vectorised!(self.logits.iter().fold(false, |nan, l| nan | l.is_nan()));
        if is_nan || !self.logits.iter().any(|l| l.is_finite()) {
            return Err(Error::NoLogits);
        }
        let request = &self.request;
        let before = request.logprobs.map(|top| (self.logits.clone(), top));
        let id = draw(&mut self.logits, &request.sampling, &mut self.rng);
        let logprobs = before.map(|(logits, top)| Logprobs::of(&logits, id, top));
        self.left -= 1;
        let ends_answers = model.tokenizer.end_tokens().contains(&id) || request.stop_tokens.contains(&id);
        let stopped = if ends_answers { None } else { self.text_before_stop(id)? };
        let end = match stopped {
            Some(text) => Some(End::Text(text)),
            None if ends_answers => Some(End::Token),
            None => (self.left == 0).then_some(End::Limit),
        };
        Ok(Drawn { request: self.number, sample: self.sample, id, logprobs, readings: Vec::new(), end })
    }

    /// The text before the first stop text, where the token completes one.
    fn text_before_stop(&mut self, id: u32) -> Result<Option<String>> {
        let Some((stream, text)) = &mut self.text else { return Ok(None) };
        text.push_str(&stream.push(id)?);
        let stops = self.request.stop_texts.iter().filter_map(|stop| text.find(stop));
        Ok(stops.min().map(|at| text[..at].to_string()))
    }

    /// The row's drawn token, to go on by.
    fn piece<'a>(&'a self, id: &'a u32) -> Piece<'a> {
        let edit = self.request.edit.as_deref();
        Piece { sequence: self.sequence, ids: std::slice::from_ref(id), edit }
    }
}
