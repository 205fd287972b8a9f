//! Text to token ids and back, and conversations to ids with the place of each response.
//!
//! The work is done by the `tokenizers` library, either from a `tokenizer.json` (`tokenizer/folder.rs`) or from the vocabulary
//! in a GGUF file (`tokenizer/rebuild.rs`); both give the same ids, those of transformers.

mod folder;
mod rebuild;

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    Conversation, Error, Gguf, Message, Result, Role,
    template::{Date, Problem, Template, View},
};

/// Tokens that one character may be spread over: no more than it has bytes.
const MAX_HELD: usize = 4;

/// A conversation as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedChat {
    /// The ids of the whole conversation.
    pub ids: Vec<u32>,
    /// For each assistant turn in order, where its response lies in `ids`: all that the chat template writes after
    /// the generation prompt, which is the text, its end token and what follows it.
    pub responses: Vec<Range<usize>>,
}

/// A tokenizer with the model's chat template.
#[derive(Debug)]
pub struct Tokenizer {
    path: PathBuf,
    library: tokenizers::Tokenizer,
    template: Option<Template>,
    bos: Option<u32>,
    end_tokens: Vec<u32>,
}

/// What both kinds of source give.
struct Parts {
    library: tokenizers::Tokenizer,
    template: Option<String>,
    /// The tokens that a template may name, such as `bos_token`.
    specials: BTreeMap<String, String>,
    /// Ids that are said to end a text.
    ends: Vec<u32>,
}

impl Tokenizer {
    /// Reads the tokenizer of a Hugging Face folder: `tokenizer.json`, and from the files beside it the chat
    /// template and the end tokens.
    ///
    /// # Errors
    /// If `tokenizer.json` is missing or a file is malformed.
    pub fn from_folder(path: &Path) -> Result<Self> {
        Self::assemble(path, folder::read(path)?)
    }

    /// Rebuilds the tokenizer from a GGUF file's metadata.
    ///
    /// # Errors
    /// If the metadata is incomplete or contradicts itself, or the kind of tokenizer is not known.
    pub fn from_gguf(path: &Path, gguf: &Gguf) -> Result<Self> {
        Self::assemble(path, rebuild::rebuild(path, gguf)?)
    }

    fn assemble(path: &Path, parts: Parts) -> Result<Self> {
        let bos = parts.specials.get("bos_token").and_then(|token| parts.library.token_to_id(token));
        let template = parts
            .template
            .map(|source| Template::new(&source, parts.specials))
            .transpose()
            .map_err(|problem| at(path, problem))?;
        let mut tokenizer =
            Self { path: path.into(), library: parts.library, template, bos, end_tokens: parts.ends };
        tokenizer.end_tokens.extend(tokenizer.end_of_turn());
        tokenizer.end_tokens.sort_unstable();
        tokenizer.end_tokens.dedup();
        Ok(tokenizer)
    }

    /// The special token that the chat template writes after a response. Files often declare only the end of a
    /// document, or nothing, where the model was tuned to end its turn with another token.
    fn end_of_turn(&self) -> Option<u32> {
        let messages = vec![Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")];
        let chat = self.encode_chat(&messages.into()).ok()?;
        chat.ids[chat.responses.first()?.clone()].iter().copied().find(|&id| self.is_special(id))
    }

    fn is_special(&self, id: u32) -> bool {
        let added = self.library.get_added_vocabulary().get_added_tokens_decoder();
        added.get(&id).is_some_and(|token| token.special)
    }

    /// Tells the chat template another day than [`Date`]'s default.
    pub fn set_date(&mut self, date: Date) {
        self.template.iter_mut().for_each(|template| template.set_date(date));
    }

    /// The day that the chat template is told, if it asks for it.
    pub fn date(&self) -> Option<Date> {
        self.template.as_ref()?.date()
    }

    /// Number of tokens. The model may have rows for more ids, which then stand for nothing.
    pub fn vocab_size(&self) -> usize {
        self.library.get_vocab_size(true)
    }

    /// The token that begins a text, if the model has one. [`Self::encode`] adds it where the model wants it.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The ids that end a response, in rising order.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// The ids of a text. With `add_special`, with the tokens around it that the model wants around a document;
    /// rendered conversations bring their own.
    ///
    /// # Errors
    /// If the library refuses the text, which it does for none that is known.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding =
            self.library.encode_fast(text, add_special).map_err(self.refused("encode the text"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of some ids; bytes that are no text become U+FFFD, ids that are no token nothing.
    ///
    /// # Errors
    /// If the library refuses the ids, which it does for none that are known.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.library.decode(ids, skip_special).map_err(self.refused("decode the tokens"))
    }

    /// Decodes token by token, without the special ones.
    pub fn stream(&self) -> Stream<'_> {
        Stream { tokenizer: self, ids: Vec::new(), context: 0, given: String::new() }
    }

    /// Whether the model brings a chat template, as instruction-tuned models do.
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// A conversation as the text that the model reads, ending with the beginning of an answer where
    /// `add_generation_prompt` is set.
    ///
    /// # Errors
    /// If there is no chat template, or the conversation does not fit it.
    pub fn render(&self, conversation: &Conversation, add_generation_prompt: bool) -> Result<String> {
        let view = View::new(conversation, conversation.messages.len(), add_generation_prompt);
        let mut texts = self.render_all(&[view])?;
        Ok(texts.swap_remove(0))
    }

    /// The ids of a conversation that is to be answered.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn encode_prompt(&self, conversation: &Conversation) -> Result<Vec<u32>> {
        self.encode(&self.render(conversation, true)?, false)
    }

    /// The ids of a whole conversation with the place of each assistant turn's response.
    ///
    /// The text is rendered once and its ids are those of the whole; the places are found by rendering the
    /// conversation up to each turn. A token on both sides of a place belongs to what follows.
    ///
    /// # Errors
    /// As [`Self::render`]; also if there is no assistant turn, or the template writes earlier turns differently
    /// once later ones follow, so that a response is not what the model would have been asked for.
    pub fn encode_chat(&self, conversation: &Conversation) -> Result<EncodedChat> {
        let messages = &conversation.messages;
        let turns: Vec<_> = (0..messages.len()).filter(|&i| messages[i].is_answer()).collect();
        if turns.is_empty() {
            return Err(self.wrong(Problem::NoAssistant));
        }
        let views: Vec<_> = turns
            .iter()
            .flat_map(|&turn| [(turn, true), (turn + 1, false)])
            .chain([(messages.len(), false)])
            .map(|(messages, prompt)| View::new(conversation, messages, prompt))
            .collect();
        let mut texts = self.render_all(&views)?;
        let whole = texts.pop().unwrap_or_default();
        let encoding = self.library.encode(whole.as_str(), false).map_err(self.refused("encode the text"))?;
        // A token belongs to a part of the text if it ends in it.
        let place = |byte: usize| encoding.get_offsets().partition_point(|&(_, end)| end <= byte);
        let mut responses = Vec::with_capacity(turns.len());
        for (&turn, bounds) in turns.iter().zip(texts.chunks_exact(2)) {
            for part in bounds {
                let byte = common_prefix(part, &whole);
                if byte < part.len() {
                    return Err(self.wrong(Problem::Rewritten { message: turn + 1, byte }));
                }
            }
            let response = place(bounds[0].len())..place(bounds[1].len());
            if response.is_empty() {
                return Err(self.wrong(Problem::EmptyResponse { message: turn + 1 }));
            }
            responses.push(response);
        }
        Ok(EncodedChat { ids: encoding.get_ids().to_vec(), responses })
    }

    fn render_all(&self, views: &[View]) -> Result<Vec<String>> {
        let template = self.template.as_ref().ok_or_else(|| self.wrong(Problem::NoTemplate))?;
        for view in views {
            check_roles(view.messages()).map_err(|problem| self.wrong(problem))?;
        }
        template.render(views).map_err(|problem| self.wrong(problem))
    }

    fn wrong(&self, problem: Problem) -> Error {
        at(&self.path, problem)
    }

    fn refused(&self, doing: &'static str) -> impl FnOnce(tokenizers::Error) -> Error {
        move |error| self.wrong(Problem::Library { doing, detail: error.to_string() })
    }
}

/// A problem of the file or folder that the tokenizer came from.
fn at(path: &Path, problem: Problem) -> Error {
    Error::Template { path: path.into(), problem: Box::new(problem) }
}

fn check_roles(messages: &[Message]) -> Result<(), Problem> {
    if messages.is_empty() {
        return Err(Problem::NoMessages);
    }
    match messages.iter().skip(1).position(|message| message.role() == Role::System) {
        Some(index) => Err(Problem::LateSystem { message: index + 2 }),
        None => Ok(()),
    }
}

/// Bytes that two texts have in common at their start.
fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// Decodes an answer while it is sampled: each token gives the text that is certain with it.
///
/// A character whose bytes are spread over several tokens comes whole with the last of them. Only what is no text,
/// and U+FFFD itself, may come out otherwise than from [`Tokenizer::decode`] where the model spells bytes as tokens.
#[derive(Clone, Debug)]
pub struct Stream<'t> {
    tokenizer: &'t Tokenizer,
    /// The tokens of the last piece, since some decoders treat a text's first token apart, and those held back.
    ids: Vec<u32>,
    /// How many of `ids` are of the last piece.
    context: usize,
    /// The text of those.
    given: String,
}

impl Stream<'_> {
    /// Takes the next token and gives the text that it completes, which may be none.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String> {
        if self.tokenizer.is_special(id) || self.tokenizer.library.id_to_token(id).is_none() {
            return Ok(String::new());
        }
        self.ids.push(id);
        let text = self.decode(&self.ids)?;
        let held = &self.ids[self.context..];
        let whole = text.strip_prefix(&self.given).filter(|_| !text.ends_with(char::REPLACEMENT_CHARACTER));
        let (piece, tokens) = match whole {
            Some(piece) => (piece.to_string(), held.len()),
            None if held.len() < MAX_HELD => return Ok(String::new()),
            None => self.broken(held)?,
        };
        self.ids.drain(..self.context);
        self.context = tokens;
        self.given = self.decode(&self.ids[..tokens])?;
        Ok(piece)
    }

    /// The text that was held back, with U+FFFD in place of what is no text.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self) -> Result<String> {
        let text = self.decode(&self.ids)?;
        match text.strip_prefix(&self.given) {
            Some(piece) => Ok(piece.into()),
            None => self.decode(&self.ids[self.context..]),
        }
    }

    /// The text of as many of these tokens as cannot be the beginning of a character that the rest completes, and
    /// their number. There are more tokens than a character has bytes, so some are broken.
    fn broken(&self, held: &[u32]) -> Result<(String, usize)> {
        let text = self.decode(held)?;
        for tokens in (1..held.len()).rev() {
            let (first, rest) = held.split_at(tokens);
            let first = self.decode(first)?;
            if text.strip_prefix(&first) == Some(&self.decode(rest)?) {
                return Ok((first, tokens));
            }
        }
        Ok((text, held.len()))
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true)
    }
}
