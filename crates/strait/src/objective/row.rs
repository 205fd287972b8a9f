//! Tokenised texts, and the batches in which passes take them.

use std::ops::Range;

use strait_model::{Conversation, EncodedChat, Model, decoder::Packed, progress::Progress};

use crate::{Error, Result, data::Chat};

/// A tokenised text and which of its tokens are responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Ranges of response tokens, one per assistant turn; none begins at the first token.
    pub responses: Vec<Range<usize>>,
}

impl Row {
    /// A chat as the model's template renders it; `place` says in errors where it stands.
    ///
    /// # Errors
    /// If the template refuses the chat, or its tokens do not fit the model's context.
    pub fn from_chat(model: &Model, conversation: &Conversation, place: &str) -> Result<Self> {
        Ok(Self::from_encoded(encoded(model, conversation, place)?))
    }

    /// The rows of some chats. A note says how many of their turns are no responses, because the template writes them
    /// otherwise once others follow.
    ///
    /// # Errors
    /// As [`Self::from_chat`].
    pub fn from_chats(model: &Model, chats: &[Chat], progress: &dyn Progress) -> Result<Vec<Self>> {
        let mut rows = Vec::with_capacity(chats.len());
        let (mut turns, mut shortened, mut first) = (0, 0, None);
        for chat in chats {
            let encoded = encoded(model, &chat.conversation, &chat.place)?;
            if !encoded.left_out.is_empty() {
                turns += encoded.left_out.len();
                shortened += 1;
                first.get_or_insert(&chat.place);
            }
            rows.push(Self::from_encoded(encoded));
        }
        if let Some(first) = first {
            progress.note(&format!(
                "assistant turns that are read but are no responses: {turns}, in {shortened} of {} rows (first: {first}); \
                 the chat template writes them otherwise once others follow, as where it drops their thoughts",
                chats.len()
            ));
        }
        Ok(rows)
    }

    fn from_encoded(chat: EncodedChat) -> Self {
        Self { ids: chat.ids, responses: chat.responses }
    }

    /// The beginning of a plain text, `limit` tokens at most; no token of it is a response.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn of_text(model: &Model, text: &str, limit: usize) -> Result<Self> {
        let limit = limit.min(model.config().context_length);
        Ok(Self { ids: model.tokenizer.encode_start(text, limit)?, responses: Vec::new() })
    }

    /// What it asks: the tokens before its first response, or all of them where it has none.
    pub fn question(&self) -> &[u32] {
        &self.ids[..self.responses.first().map_or(self.ids.len(), |response| response.start)]
    }

    /// Number of response tokens.
    pub fn response_tokens(&self) -> usize {
        self.responses.iter().map(ExactSizeIterator::len).sum()
    }
}

fn encoded(model: &Model, conversation: &Conversation, place: &str) -> Result<EncodedChat> {
    let context = model.config().context_length;
    let chat = model.tokenizer.encode_chat_within(conversation, context);
    chat.map_err(|source| Error::Row { place: place.into(), source: Box::new(source) })
}

/// Tokens that a pass over many rows takes at once: enough for full matrix products, little memory.
pub const TOKENS_AT_ONCE: usize = 1024;

/// Some rows, in their order, in batches of a good size for a pass.
pub fn batches(rows: &[Row], some: &[usize]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for &row in some {
        let length = rows[row].ids.len();
        if batches.is_empty() || tokens + length > TOKENS_AT_ONCE {
            batches.push(Vec::new());
            tokens = 0;
        }
        tokens += length;
        if let Some(batch) = batches.last_mut() {
            batch.push(row);
        }
    }
    batches
}

/// A batch of rows as passes compute it: what all of them begin with once.
pub fn packed(rows: &[Row], batch: &[usize]) -> Packed {
    Packed::sharing(batch.iter().map(|&row| rows[row].ids.as_slice()))
}

/// The rows of a packed batch's tensors at which the response tokens of each of its rows stand, in their order.
pub fn response_places(rows: &[Row], batch: &[usize], packed: &Packed) -> Vec<Vec<usize>> {
    let every_token = packed.every_token();
    let mut start = 0;
    let of_row = |&row: &usize| {
        let responses = rows[row].responses.iter().flat_map(Clone::clone);
        let places = responses.map(|token| every_token[start + token] as usize).collect();
        start += rows[row].ids.len();
        places
    };
    batch.iter().map(of_row).collect()
}
