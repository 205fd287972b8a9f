//! Decoding token by token.

use super::Tokenizer;
use crate::Result;

/// Tokens that one character may be spread over: no more than it has bytes.
const MAX_HELD: usize = 4;

/// Decodes an answer while it is sampled: each token gives the text that is certain with it.
///
/// A character whose bytes are spread over several tokens comes whole with the last of them. Only what is no text,
/// and U+FFFD itself, may come out otherwise than from [`Tokenizer::decode`] where the model spells bytes as tokens.
#[derive(Clone, Debug)]
pub struct Stream<'t> {
    tokenizer: &'t Tokenizer,
    /// The tokens of the last piece, since some decoders treat a text's first token apart, and those held back.
    ids: Vec<u32>,
    /// The number of `ids` that are of the last piece.
    context: usize,
    /// The text of those.
    given: String,
}

impl<'t> Stream<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer, ids: Vec::new(), context: 0, given: String::new() }
    }

    /// Takes the next token and gives the text that it completes, which may be none.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String> {
        if self.tokenizer.is_special(id) || self.tokenizer.token(id).is_none() {
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

    /// The text that was held back, with U+FFFD in place of bytes that are no text.
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
