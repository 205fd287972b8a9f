//! Text to token ids and back, and conversations to ids with the place of each response.
//!
//! The work is done by the `tokenizers` library, either from a folder's files (`tokenizer/folder.rs`) or from the vocabulary
//! in a GGUF file (`tokenizer/rebuild.rs`); both give the same ids, those of transformers.

mod bounds;
mod chat;
mod class;
mod folder;
mod problem;
mod read;
mod rebuild;
mod special;
mod stream;
mod templates;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tokenizers::{Encoding, PostProcessorWrapper, processors::template::TemplateProcessing};

use self::{bounds::Growth, templates::Templates};
pub use self::{chat::EncodedChat, problem::Problem, stream::Stream};
use crate::{
    Conversation, Error, Gguf, Message, Result, Role, error, guard,
    template::{self, Date, Template, View},
};

/// A tokenizer with the model's chat template.
#[derive(Debug)]
pub struct Tokenizer {
    path: PathBuf,
    library: tokenizers::Tokenizer,
    growth: Growth,
    template: Option<Template>,
    /// For conversations with tools, where that is another.
    tool_template: Option<Template>,
    bos: Option<u32>,
    end_tokens: Vec<u32>,
    /// Ids that the model has rows for, once it is known.
    rows: Option<usize>,
}

/// The parts that both kinds of source give.
struct Parts {
    library: tokenizers::Tokenizer,
    /// The bound on the length of a normalised text.
    growth: Growth,
    templates: Templates,
    /// The tokens that a template may name, such as `bos_token`.
    specials: BTreeMap<String, String>,
    /// Ids that are said to end a text.
    ends: Vec<u32>,
}

impl Tokenizer {
    /// Reads the tokenizer of a Hugging Face folder: `tokenizer.json`, and from the files beside it what transformers takes
    /// from them: special and added tokens, the chat template and the end tokens.
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
        let parts = guard::caught(|| rebuild::rebuild(path, gguf));
        let parts =
            parts.map_err(|panic| refused(path, "be rebuilt from the metadata")(panic.to_string()))??;
        Self::assemble(path, parts)
    }

    fn assemble(path: &Path, parts: Parts) -> Result<Self> {
        let Parts { mut library, growth, templates, specials, ends } = parts;
        if let Some(processor) = library.get_post_processor().cloned() {
            library.with_post_processor(Some(untrimmed(processor)));
        }
        let bos = specials.get("bos_token").and_then(|token| library.token_to_id(token));
        if templates.default.is_none() && templates.tool_use.is_none() && !templates.others.is_empty() {
            return Err(Error::input(path, template::Problem::NoDefaultTemplate { found: templates.others }));
        }
        let compiled = |source: Option<String>| {
            let template = source.map(|source| Template::new(&source, specials.clone())).transpose();
            template.map_err(|problem| Error::input(path, problem))
        };
        let mut tokenizer = Self {
            path: path.into(),
            library,
            growth,
            template: compiled(templates.default)?,
            tool_template: compiled(templates.tool_use)?,
            bos,
            end_tokens: ends,
            rows: None,
        };
        tokenizer.end_tokens.extend(tokenizer.end_of_turn());
        tokenizer.end_tokens.sort_unstable();
        tokenizer.end_tokens.dedup();
        Ok(tokenizer)
    }

    /// Refuses from here on what encodes to ids for which the model's embedding has no row.
    pub fn limit_to(&mut self, rows: usize) {
        self.rows = Some(rows);
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
        self.template.iter_mut().chain(&mut self.tool_template).for_each(|template| template.set_date(date));
    }

    /// The day that the chat template is told, if it asks for it.
    pub fn date(&self) -> Option<Date> {
        self.template.iter().chain(&self.tool_template).find_map(Template::date)
    }

    /// Number of tokens. The model may have rows for more ids, which then stand for nothing.
    pub fn vocab_size(&self) -> usize {
        self.library.get_vocab_size(true)
    }

    /// The text of a token as the vocabulary has it, if the id is one.
    pub fn token(&self, id: u32) -> Option<String> {
        self.library.id_to_token(id)
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
    /// If the tokenizer's files make it impossible, or lead to a token that the model has no row for.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self.encoding(text, |library| library.encode_fast(text, add_special))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The first `limit` of the ids that [`Self::encode`] gives a text with the tokens around it, without reading all of a
    /// long one.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_start(&self, text: &str, limit: usize) -> Result<Vec<u32>> {
        // Tokens depend on the text a little way behind them. Where a longer piece gives the same ones, they are settled.
        let mut settled: Option<Vec<u32>> = None;
        let mut length = limit.saturating_mul(BYTES_A_TOKEN).max(BYTES_AT_LEAST);
        loop {
            let piece = &text[..text.floor_char_boundary(length)];
            let mut ids = self.encode(piece, true)?;
            let enough = ids.len() > limit.saturating_mul(2);
            ids.truncate(limit);
            if piece.len() == text.len() || enough && settled.as_ref() == Some(&ids) {
                return Ok(ids);
            }
            settled = Some(ids);
            length = length.saturating_mul(2);
        }
    }

    /// The library's encoding of a text.
    fn encoding(
        &self,
        text: &str,
        encode: impl FnOnce(&tokenizers::Tokenizer) -> tokenizers::Result<Encoding>,
    ) -> Result<Encoding> {
        self.growth.check(text.len()).map_err(|problem| self.error(problem))?;
        let encoding = guard::caught(|| encode(&self.library))
            .map_err(|panic| panic.to_string())
            .and_then(|made| made.map_err(|error| error.to_string()))
            .map_err(refused(&self.path, "encode the text"))?;
        let beyond = |&&id: &&u32| self.rows.is_some_and(|rows| id as usize >= rows);
        match (encoding.get_ids().iter().find(beyond), self.rows) {
            (Some(&id), Some(rows)) => {
                let token = self.token(id).unwrap_or_default();
                Err(self.error(Problem::BeyondEmbedding { id, token, rows }))
            }
            _ => Ok(encoding),
        }
    }

    /// The text of some ids; bytes that are no text become U+FFFD, ids that are no token nothing.
    ///
    /// # Errors
    /// If the library refuses the ids, which it does for none that are known.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        guard::caught(|| self.library.decode(ids, skip_special))
            .map_err(|panic| panic.to_string())
            .and_then(|made| made.map_err(|error| error.to_string()))
            .map_err(refused(&self.path, "decode the tokens"))
    }

    /// Decodes token by token, without the special ones.
    pub fn stream(&self) -> Stream<'_> {
        Stream::new(self)
    }

    /// True if the model brings a chat template, as instruction-tuned models do.
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some() || self.tool_template.is_some()
    }

    /// A conversation as the text that the model reads, ending with the beginning of an answer where
    /// `add_generation_prompt` is set.
    ///
    /// # Errors
    /// If there is no chat template, or the conversation does not fit it.
    pub fn render(&self, conversation: &Conversation, add_generation_prompt: bool) -> Result<String> {
        self.rendered(conversation, conversation.messages.len(), add_generation_prompt)
    }

    /// The first messages of a conversation as text.
    fn rendered(&self, conversation: &Conversation, messages: usize, prompt: bool) -> Result<String> {
        let template = match (&self.tool_template, &self.template) {
            (Some(template), _) if conversation.tools.is_some() => template,
            (_, Some(template)) => template,
            (Some(_), None) => {
                let found = vec!["tool_use".into()];
                return Err(self.error(template::Problem::NoDefaultTemplate { found }));
            }
            (None, None) => return Err(self.error(template::Problem::NoTemplate)),
        };
        if messages == 0 {
            return Err(self.error(template::Problem::NoMessages));
        }
        let mut texts = template
            .render(&[View::new(conversation, messages, prompt)])
            .map_err(|problem| self.error(problem))?;
        Ok(texts.swap_remove(0))
    }

    /// The ids of a conversation that is to be answered.
    ///
    /// # Errors
    /// As [`Self::render`] and [`Self::encode`].
    pub fn encode_prompt(&self, conversation: &Conversation) -> Result<Vec<u32>> {
        self.encode(&self.render(conversation, true)?, false)
    }

    fn error(&self, problem: impl error::Problem) -> Error {
        Error::input(&self.path, problem)
    }
}

/// Bytes of text that are read for a token at first: more than tokens have on average, in any writing.
const BYTES_A_TOKEN: usize = 16;
/// Texts up to here are always read as a whole.
const BYTES_AT_LEAST: usize = 4096;

/// A problem of the tokenizer of a file or folder.
fn unfit(path: &Path) -> impl Fn(Problem) -> Error {
    move |problem| Error::input(path, problem)
}

/// The error of something that the library could not do, in its own words.
fn refused(path: &Path, doing: &'static str) -> impl Fn(String) -> Error {
    move |detail| Error::input(path, Problem::Library { doing, detail })
}

/// Puts tokens around a text.
fn around(
    bos: Option<(u32, &str)>,
    eos: Option<(u32, &str)>,
) -> tokenizers::Result<Option<PostProcessorWrapper>> {
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    // The library takes a piece by its text, in which `$` would be a marker: the names are ours.
    let pieces = [bos.map(|_| "bos"), Some("$A"), eos.map(|_| "eos")];
    let special = |name: &str, token: Option<(u32, &str)>| {
        token.map(|(id, text)| (name.to_string(), vec![id], vec![text.to_string()]))
    };
    let tokens = [special("bos", bos), special("eos", eos)]
        .into_iter()
        .flatten()
        .map(|(name, ids, texts)| tokenizers::processors::template::SpecialToken::new(name, ids, texts))
        .collect::<tokenizers::Result<Vec<_>>>()?;
    let template = TemplateProcessing::builder()
        .try_single(pieces.into_iter().flatten().collect::<Vec<_>>())?
        .special_tokens(tokens)
        .build()?;
    Ok(Some(template.into()))
}

/// A post-processor that leaves offsets of whole tokens, spaces and all: the places of responses are read from them.
fn untrimmed(processor: PostProcessorWrapper) -> PostProcessorWrapper {
    match processor {
        PostProcessorWrapper::ByteLevel(bytes) => PostProcessorWrapper::ByteLevel(bytes.trim_offsets(false)),
        PostProcessorWrapper::Roberta(roberta) => PostProcessorWrapper::Roberta(roberta.trim_offsets(false)),
        PostProcessorWrapper::Sequence(sequence) => {
            let parts = sequence.into_iter().map(untrimmed).collect();
            PostProcessorWrapper::Sequence(tokenizers::processors::sequence::Sequence::new(parts))
        }
        other => other,
    }
}
